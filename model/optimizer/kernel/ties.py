"""Frames of a sequence tied together by accelerations: the steps of :mod:`model.optimizer.smoothing`, compiled.

The system is block pentadiagonal over time and is solved directly, in double precision: ties are stiff beside what
some angles are held by. Its blocks off the diagonal are diagonal themselves, which leaves two products of matrices and
an inverse for each frame.

Arrays hold a line of numbers for each unknown, one for each frame, with a block's room before and behind; so the same
frame a step earlier or later lies one number away.
"""

from __future__ import annotations

from model.optimizer.kernel.blocks import gather, gather_angles, gather_hands, gather_wanted, put_pose
from model.optimizer.kernel.flesh import gather_flesh, gather_goals, touch_terms
from model.optimizer.kernel.layout import (
    ANGLES,
    BEGIN,
    COUPLED_STEPS,
    END,
    FIRST,
    FORM,
    GOALS,
    LAST,
    LIMITS,
    N_ANGLES,
    N_LINES,
    N_NUMBERS,
    NUMBERS,
    PAIRS,
    PER_HAND,
    QUAD,
    R_ANGLES,
    R_FREE,
    R_GIVE,
    R_HAND,
    R_START,
    R_STATE,
    R_STEP,
    ROWS,
    SEARCHED,
    SKINS,
    SMOOTHNESS,
    SOFTENING,
    TOUCHES,
    UNKNOWNS,
)
from model.optimizer.kernel.skin import look
from model.optimizer.kernel.step import LONGEST_STEP, pulled
from model.optimizer.kernel.terms import clear, element, evaluate
from model.optimizer.touches import GIVES
from utils.vectors import (
    INTEGER,
    Rows,
    Variable,
    choose,
    double,
    function,
    largest,
    loop,
    memory,
    single,
    smallest,
    when,
)

DAMPING = 1e-3
COUNTS = (25, N_ANGLES)
"""Unknowns of a hand: a code for each."""


class Lines:
    """Arrays over the frames of a segment, and their matrices; ``count`` unknowns."""

    def __init__(self, rows: Rows, count: int, frames) -> None:
        self.lanes, self.count, self.frames = rows.lanes, count, frames
        self.blocks = (frames + (rows.lanes - 1)) // rows.lanes
        self.wide = (self.blocks + 2) * rows.lanes
        self.memory = (rows + ROWS).numbers
        size = self.wide * count
        self.triangle = count * (count + 1) // 2
        lines = (self.memory + (size * number + rows.lanes) for number in range(N_LINES))
        self.begin, self.now, self.change, self.residual, self.step, self.free, self.bent = lines
        self.matrices = (self.memory + size * N_LINES).wide(rows.lanes)
        # In double precision and padded to whole vectors: two matrices and two lines of numbers a frame.
        self.padded = -(-count // QUAD) * QUAD
        doubles = (self.matrices + self.triangle * self.blocks).doubles
        self.inverses = doubles + self.padded * count * 2
        self.couplings = self.inverses + self.padded * count * (frames + 1)
        self.solutions = self.couplings + self.padded * count * frames

    def at(self, line: Rows, unknown, frame) -> Rows:
        """Rows that begin at a frame of an unknown."""
        return (line + (self.wide * unknown + frame)).wide(self.lanes)

    def own(self, block) -> Rows:
        """A block's matrices, lower triangles."""
        return self.matrices + self.triangle * block

    def inverse(self, frame) -> Rows:
        """Rows of a frame's inverse."""
        return self.inverses + self.padded * self.count * frame

    def coupling(self, frame) -> Rows:
        """Rows of what couples a frame to the one before."""
        return self.couplings + self.padded * self.count * frame

    def solution(self, frame) -> Rows:
        return self.solutions + 2 * self.padded * frame

    def loose(self, unknown, frame):
        """One where an angle is free, otherwise zero, in double precision."""
        return double(self.free[self.wide * unknown + frame])


@function
def linearise(rows, arguments, count, frames):
    """Each frame's matrix and gradient at the angles as they are."""
    form, settings = memory(arguments[FORM], INTEGER), memory(arguments[NUMBERS])
    lines, last = Lines(rows, count, frames), arguments[LAST]
    angles, state, free, slope = rows + R_ANGLES, rows + R_STATE, rows + R_FREE, rows + R_STEP
    matrix = state + (1 + count)
    for block in loop(lines.blocks):
        t = block * lines.lanes
        first = arguments[FIRST] + t
        gather_hands(rows, arguments, first, last)
        gather_wanted(rows, arguments, settings, first, last)
        gather_angles(rows, arguments, first, last)
        for a in loop(N_ANGLES):
            angles[a] = rows[R_START + a]
        for i in loop(count):
            angles[form[UNKNOWNS + i]] = lines.at(lines.now, i, t)[0]
        evaluate(form, rows + R_HAND, angles, rows, state, settings[SOFTENING], arguments[TOUCHES] != 0, True)
        with when(arguments[GOALS] != 0):
            gather_flesh(rows, arguments, first, last)
            gather_goals(rows, arguments, settings, first, last)
            with when(arguments[SKINS] != 0):
                look(rows, memory(arguments[PAIRS], INTEGER), memory(arguments[SKINS]))
            touch_terms(form, settings, memory(arguments[PAIRS], INTEGER), rows, state, True)
        pulled(form, settings, rows, angles, state + 1, slope, free)
        own = lines.own(block)
        for i in loop(count):
            loose, row = free[i], element(i, 0)
            for j in loop(i):
                own[row + j] = matrix[row + j] * (loose * free[j])
            d = loose * (matrix[row + i] + settings[N_NUMBERS + form[UNKNOWNS + i]])
            own[row + i] = d + (1.0 - loose) + DAMPING * (d + 1.0)
            lines.at(lines.free, i, t)[0] = loose
            lines.at(lines.residual, i, t)[0] = -slope[i]


@function
def pull_straight(rows, count, frames, weight):
    """Add what accelerations of the change so far ask for to the residual."""
    lines = Lines(rows, count, frames)
    bent = lines.bent
    for unknown in loop(count):
        for block in loop(lines.blocks):
            t = block * lines.lanes
            before, now, after = (lines.at(lines.change, unknown, t + c)[0] for c in (-1, 0, 1))
            lines.at(bent, 0, t)[0] = before - 2.0 * now + after
        bent[-1] = 0.0
        bent[0] = 0.0
        for t in loop(frames - 1, lines.blocks * lines.lanes + 1):
            bent[t] = 0.0
        for block in loop(lines.blocks):
            t = block * lines.lanes
            before, now, after = (lines.at(bent, 0, t + c)[0] for c in (-1, 0, 1))
            place, free = lines.at(lines.residual, unknown, t), lines.at(lines.free, unknown, t)[0]
            place[0] = place[0] - free * weight * (before - 2.0 * now + after)


@function
def multiply(left, right, out, sign, count):
    """Matrices (count · padded): ``out += sign · left · right``."""
    padded = -(-count // QUAD) * QUAD
    for u in loop(count):
        line = (out + padded * u).wide(QUAD)
        sums = [Variable(line[c]) for c in range(padded // QUAD)]
        for v in loop(count):
            factor, row = sign * left[padded * u + v], (right + padded * v).wide(QUAD)
            for c, result in enumerate(sums):
                result += factor * row[c]
        for c, result in enumerate(sums):
            line[c] = result.value


@function
def invert(matrix, count):
    """The inverse of a symmetric positive definite matrix (count · padded), in place (Gauss–Jordan).

    Its lower triangle counts: what rounding makes unsymmetric would grow from frame to frame without bounds.
    """
    padded = -(-count // QUAD) * QUAD
    vectors = range(padded // QUAD)
    for u in loop(count):
        for v in loop(u):
            matrix[padded * v + u] = matrix[padded * u + v]
    for k in loop(count):
        pivot = matrix + padded * k
        scale = 1.0 / pivot[k]
        pivot[k] = 1.0
        pivot_row = pivot.wide(QUAD)
        for c in vectors:
            pivot_row[c] = pivot_row[c] * scale
        for part in ((0, k), (k + 1, count)):
            for i in loop(*part):
                row = matrix + padded * i
                factor = row[k]
                row[k] = 0.0
                row = row.wide(QUAD)
                for c in vectors:
                    row[c] = row[c] - factor * pivot_row[c]


@function
def apply(matrix, vector, out, sign, count):
    """Add ``sign · matrixᵀ · vector`` to ``out``; the matrix is (count · padded)."""
    padded = -(-count // QUAD) * QUAD
    out = out.wide(QUAD)
    sums = [Variable(out[c]) for c in range(padded // QUAD)]
    for v in loop(count):
        factor, row = sign * vector[v], (matrix + padded * v).wide(QUAD)
        for c, result in enumerate(sums):
            result += factor * row[c]
    for c, result in enumerate(sums):
        out[c] = result.value


@function
def eliminate(rows, count, frames, weight, t):
    """Forward: this frame's coupling to the one before, its inverse, and its part of the solution so far.

    With ``V`` the inverses and ``A₁``, ``A₂`` the (diagonal) ties to the last frame and the one before it, the
    coupling is ``K_t = B_t V_{t−1}`` with ``B_t = A₁ − A₂ K_{t−1}ᵀ``, and the inverse that of
    ``A₀ − K_t B_tᵀ − A₂ V_{t−2} A₂``.
    """
    lines = Lines(rows, count, frames)
    padded, last = lines.padded, frames - 1
    own = lines.own(t // lines.lanes).numbers
    lane = t % lines.lanes
    inverse, coupling, mixed = lines.inverse(t), lines.coupling(t), lines.inverse(-2)
    right, solved = lines.solution(t), lines.solution(t) + padded
    inside = choose((t >= 1) & (t < last), 1.0, 0.0 * weight)
    centre = weight * (choose(t + 2 <= last, 1.0, 0.0 * weight) + 4.0 * inside + choose(t >= 2, 1.0, 0.0 * weight))
    next_tie = -2.0 * weight * (inside + choose(t >= 2, 1.0, 0.0 * weight))
    for u in loop(count):
        for v in loop(u + 1):
            value = double(own[lines.lanes * element(u, v) + lane])
            inverse[padded * u + v] = value
            inverse[padded * v + u] = value
        for v in range(count, padded):
            inverse[padded * u + v] = 0.0
        place = inverse + (padded * u + u)
        place[0] = place[0] + lines.loose(u, t) * centre
        right[u] = double(lines.residual[lines.wide * u + t])
        solved[u] = 0.0
    for u in range(count, padded):
        right[u] = 0.0
        solved[u] = 0.0
    for k in loop(padded * count // QUAD):
        coupling.wide(QUAD)[k] = 0.0
        mixed.wide(QUAD)[k] = 0.0
    with when(t >= 1):
        for u in loop(count):
            mixed[padded * u + u] = next_tie * lines.loose(u, t) * lines.loose(u, t - 1)
    with when(t >= 2):
        before, far = lines.coupling(t - 1), lines.inverse(t - 2)
        tie = coupling  # not needed yet: the far tie, along a line
        for u in loop(count):
            tie[u] = weight * lines.loose(u, t) * lines.loose(u, t - 2)
        for v in loop(count):
            for c in range(padded // QUAD):
                line = (mixed + padded * v).wide(QUAD)
                line[c] = line[c] - (before + padded * v).wide(QUAD)[c] * tie.wide(QUAD)[c]
            for c in range(padded // QUAD):
                line = (inverse + padded * v).wide(QUAD)
                line[c] = line[c] - (far + padded * v).wide(QUAD)[c] * tie.wide(QUAD)[c] * tie[v]
        earlier = lines.solution(t - 2) + padded
        for u in loop(count):
            right[u] = right[u] - tie[u] * earlier[u]
        for c in range(padded // QUAD):
            tie.wide(QUAD)[c] = 0.0
    with when(t >= 1):
        transposed = lines.inverse(-1)
        for u in loop(count):
            for v in loop(count):
                transposed[padded * u + v] = mixed[padded * v + u]
        multiply(transposed, lines.inverse(t - 1), coupling, 1.0, count)
        multiply(coupling, mixed, inverse, -1.0, count)
        for u in loop(count):
            rest = Variable(right[u])
            for v in loop(count):
                rest -= coupling[padded * u + v] * lines.solution(t - 1)[v]
            right[u] = rest.value
    invert(inverse, count)
    apply(inverse, right, solved, 1.0, count)


@function
def substitute(rows, count, frames, weight, t):
    """Backward: this frame's step from those of the two frames behind it."""
    lines = Lines(rows, count, frames)
    solved = lines.solution(t) + lines.padded
    with when(t + 1 < frames):
        apply(lines.coupling(t + 1), lines.solution(t + 1) + lines.padded, solved, -1.0, count)
    with when(t + 2 < frames):
        tied, later = lines.solution(t), lines.solution(t + 2) + lines.padded  # the right side is not needed any more
        for u in loop(count):
            tied[u] = weight * lines.loose(u, t) * lines.loose(u, t + 2) * later[u]
        apply(lines.inverse(t), tied, solved, -1.0, count)
    for u in loop(count):
        lines.step[lines.wide * u + t] = single(solved[u] * lines.loose(u, t))


@function
def common_step(rows, arguments, count, frames):
    """The step of all frames together."""
    weight = memory(arguments[NUMBERS])[SMOOTHNESS]
    pull_straight(rows, count, frames, weight)
    weight = double(weight)
    for t in loop(frames):
        eliminate(rows, count, frames, weight, t)
    for t in loop(frames - 1, -1, -1):
        substitute(rows, count, frames, weight, t)


@function
def advance(rows, arguments, count, frames):
    """Take the step, within limits."""
    form, limits, lines = memory(arguments[FORM], INTEGER), memory(arguments[LIMITS]), Lines(rows, count, frames)
    for i in loop(count):
        a = form[UNKNOWNS + i]
        for block in loop(lines.blocks):
            t = block * rows.lanes
            now, begin = lines.at(lines.now, i, t), lines.at(lines.begin, i, t)[0]
            step = smallest(largest(lines.at(lines.step, i, t)[0], -LONGEST_STEP), LONGEST_STEP)
            low, high = smallest(begin, limits[a]), largest(begin, limits[N_ANGLES + a])
            angle = smallest(largest(now[0] + step, low), high)
            now[0] = angle
            lines.at(lines.change, i, t)[0] = angle - begin


@function
def smooth_segment(rows, arguments, count):
    """Make what was changed of frames first … last − 1 smooth, and give the poses of begin … end − 1."""
    form = memory(arguments[FORM], INTEGER)
    first, last = arguments[FIRST], arguments[LAST]
    frames = last - first
    lines = Lines(rows, count, frames)
    rows[R_GIVE] = GIVES[-1]
    clear(lines.memory.wide(rows.lanes), (lines.blocks + 2) * (N_LINES * count))
    for block in loop(lines.blocks):
        t = block * rows.lanes
        gather(rows + R_ANGLES, memory(arguments[SEARCHED]), first + t, last, N_ANGLES)
        gather_angles(rows, arguments, first + t, last)
        for i in loop(count):
            a = form[UNKNOWNS + i]
            lines.at(lines.begin, i, t)[0] = rows[R_START + a]
            lines.at(lines.now, i, t)[0] = rows[R_ANGLES + a]
            lines.at(lines.change, i, t)[0] = rows[R_ANGLES + a] - rows[R_START + a]
    for _ in loop(arguments[COUPLED_STEPS]):
        linearise(rows, arguments, count, frames)
        common_step(rows, arguments, count, frames)
        advance(rows, arguments, count, frames)
    give(rows, arguments, count, frames)


@function
def give(rows, arguments, count, frames):
    """Angles and poses of the frames that are wanted."""
    form, lines = memory(arguments[FORM], INTEGER), Lines(rows, count, frames)
    end, angles, searched = arguments[END], memory(arguments[ANGLES]), memory(arguments[SEARCHED])
    for frame in loop(arguments[BEGIN], end):
        for a in loop(N_ANGLES):
            angles[N_ANGLES * frame + a] = searched[N_ANGLES * frame + a]
        for i in loop(count):
            value = lines.now[lines.wide * i + (frame - arguments[FIRST])]
            angles[N_ANGLES * frame + form[UNKNOWNS + i]] = value
    for first in loop(arguments[BEGIN], end, rows.lanes):
        gather_hands(rows, arguments, first, end)
        gather(rows + R_ANGLES, angles, first, end, N_ANGLES)
        put_pose(rows, arguments, first, end)


def smooth(rows, arguments):
    """As :func:`smooth_segment`, for as many unknowns as there are."""
    unknowns = memory(arguments[FORM], INTEGER)[PER_HAND]
    for count in COUNTS:
        with when(unknowns == count):
            smooth_segment(rows, arguments, count)
