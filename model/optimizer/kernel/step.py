"""One damped Gauss–Newton step within limits, frames side by side in lanes; see :mod:`model.optimizer.search`."""

from __future__ import annotations

from model.optimizer.kernel.layout import (
    N_NUMBERS,
    PER_HAND,
    R_ANGLES,
    R_DAMPING,
    R_FACTOR,
    R_FREE,
    R_HIGH,
    R_LOW,
    R_START,
    R_STEP,
    UNKNOWNS,
)
from model.optimizer.kernel.terms import element
from utils.vectors import Variable, choose, function, inverse_root, largest, loop, smallest

LONGEST_STEP = 0.4  # radians: beyond it the linear picture means little


@function
def pulled(form, settings, rows, angles, gradient, out, free):
    """The gradient with the pull to the start into ``out``; zero, as ``free``, where a limit holds the angle."""
    for i in loop(form[PER_HAND]):
        a = form[UNKNOWNS + i]
        angle = angles[a]
        slope = gradient[i] + settings[N_NUMBERS + a] * (angle - rows[R_START + a])
        # Angles at a limit that would be pushed beyond it stay there, and the others take over.
        held = ((angle <= rows[R_LOW + a]) & (slope > 0.0)) | ((angle >= rows[R_HIGH + a]) & (slope < 0.0))
        free[i] = choose(held, 0.0, 1.0)
        out[i] = choose(held, 0.0, slope)


@function
def factorise(count, factor):
    """Cholesky factor in place, row by row; the diagonal keeps its inverse."""
    for i in loop(count):
        row = factor + element(i, 0)
        for j in loop(i):
            other = factor + element(j, 0)
            rest = Variable(row[j])
            for k in loop(j):
                rest -= row[k] * other[k]
            row[j] = rest.value * other[j]
        rest = Variable(row[i])
        for k in loop(i):
            rest -= row[k] * row[k]
        row[i] = inverse_root(largest(rest.value, 1e-20))


@function
def solve(count, factor, x):
    """Solve in place with a factor of :func:`factorise`."""
    for i in loop(count):
        row = factor + element(i, 0)
        rest = Variable(x[i])
        for k in loop(i):
            rest -= row[k] * x[k]
        x[i] = rest.value * row[i]
    for i in loop(count - 1, -1, -1):
        row = factor + element(i, 0)
        y = x[i] * row[i]
        x[i] = y
        for k in loop(i):
            x[k] = x[k] - row[k] * y


@function
def propose(form, settings, rows, state, trial):
    """New angles into ``trial``; gives the longest change of any of them before the limits cut it."""
    count = form[PER_HAND]
    angles, free, step, factor = rows + R_ANGLES, rows + R_FREE, rows + R_STEP, rows + R_FACTOR
    matrix = state + (1 + count)
    damping = rows[R_DAMPING]
    pulled(form, settings, rows, angles, state + 1, step, free)
    for i in loop(count):
        loose = free[i]
        step[i] = -step[i]
        row = element(i, 0)
        for j in loop(i):
            factor[row + j] = matrix[row + j] * (loose * free[j])
        d = matrix[row + i]
        more = settings[N_NUMBERS + form[UNKNOWNS + i]] + damping * (d + 1.0)
        factor[row + i] = choose(loose > 0.0, d + more, 1.0)
    factorise(count, factor)
    solve(count, factor, step)
    longest = Variable(rows.zero)
    for i in loop(count):
        longest.set(largest(longest.value, largest(step[i], -step[i])))
    scale = LONGEST_STEP / largest(longest.value, LONGEST_STEP)
    for i in loop(count):
        a = form[UNKNOWNS + i]
        trial[a] = smallest(largest(angles[a] + step[i] * scale, rows[R_LOW + a]), rows[R_HIGH + a])
    return longest.value * scale


@function
def objective(form, settings, rows, value, angles):
    """The value with the pull to the start."""
    pull = Variable(rows.zero)
    for i in loop(form[PER_HAND]):
        a = form[UNKNOWNS + i]
        away = angles[a] - rows[R_START + a]
        pull += settings[N_NUMBERS + a] * away * away
    return value + 0.5 * pull.value
