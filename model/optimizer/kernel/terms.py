"""The objective of :mod:`model.optimizer.curvature`, its gradient and Gauss–Newton matrix, frames in lanes.

The same numbers in another order. A finger's joints are gone through from the tip inwards; what a change of each point
does to the pairs that these joints see (six numbers of a symmetric 3×3 matrix, three of a force) is summed up on the
way. At each rotating joint the sum holds all observers that it turns, and meets the velocities that the joint's angles
give to the points. Points that are moved themselves, seen by observers that are not, come at the end.
"""

from __future__ import annotations

from model.optimizer.kernel.geometry import levers, pose, put, seen_levers, turned
from model.optimizer.kernel.layout import (
    FIRST_OF,
    JOINT_OF,
    N_POINTS,
    PER_FINGER,
    PER_HAND,
    R_AXES,
    R_FRAMES,
    R_INNER,
    R_LEVERS,
    R_OTHERS,
    R_POINTS,
    R_PUSHED,
    R_SEEN,
    R_SUMS,
    R_TOUCHES,
    R_WANTED,
)
from model.topology import JOINTS_PER_FINGER, N_FINGERS
from utils.vectors import Variable, choose, function, inverse_root, loop, when


@function
def clear(rows, count):
    """Zeros."""
    for r in loop(count):
        rows[r] = 0.0


@function
def seen_pairs(i, points, frames, wanted, sums, softening, derivatives):
    """Value of what joint ``i`` sees; its stiffnesses and forces are added to ``sums`` (29·9)."""
    soft = softening * softening
    value = Variable(points.zero)
    m = frames + 9 * i
    m0, m1, m2, m3, m4, m5, m6, m7, m8 = m[0], m[1], m[2], m[3], m[4], m[5], m[6], m[7], m[8]
    px, py, pz = points[3 * i], points[3 * i + 1], points[3 * i + 2]
    for j in loop(N_POINTS):
        goal = wanted + 4 * (i * N_POINTS + j)
        ux, uy, uz, weight = goal[0], goal[1], goal[2], goal[3]
        tx = m0 * ux + m1 * uy + m2 * uz
        ty = m3 * ux + m4 * uy + m5 * uz
        tz = m6 * ux + m7 * uy + m8 * uz
        x = points[3 * j] - px
        y = points[3 * j + 1] - py
        z = points[3 * j + 2] - pz
        inverse = inverse_root(x * x + y * y + z * z + soft)
        x = x * inverse
        y = y * inverse
        z = z * inverse
        squared = x * x + y * y + z * z
        cosine = x * tx + y * ty + z * tz
        value += weight * (0.5 * (squared + 1.0) - cosine)
        if derivatives:
            per_length = weight * inverse
            stiffness = per_length * inverse
            q = stiffness * (squared - 2.0)
            qx = q * x
            qy = q * y
            qz = q * z
            along = 1.0 - squared + cosine
            a = sums + 9 * j
            a[0] = a[0] + (stiffness + qx * x)
            a[1] = a[1] + qx * y
            a[2] = a[2] + qx * z
            a[3] = a[3] + (stiffness + qy * y)
            a[4] = a[4] + qy * z
            a[5] = a[5] + (stiffness + qz * z)
            a[6] = a[6] + per_length * (x * along - tx)
            a[7] = a[7] + per_length * (y * along - ty)
            a[8] = a[8] + per_length * (z * along - tz)
    return value


@function
def touches(f, points, frames, wanted, sums, derivatives):
    """The same of the fingertips that shall keep their distance to the tip of finger ``f``."""
    value = Variable(points.zero)
    i = JOINTS_PER_FINGER * f + 3
    for g in loop(N_FINGERS):
        with when(g != f):
            j = JOINTS_PER_FINGER * g + 3
            goal = wanted + 4 * (N_FINGERS * f + g)
            weight = goal[3]
            tx, ty, tz = turned(frames + 9 * i, goal[0], goal[1], goal[2])
            x = points[3 * j] - points[3 * i] - tx
            y = points[3 * j + 1] - points[3 * i + 1] - ty
            z = points[3 * j + 2] - points[3 * i + 2] - tz
            value += 0.5 * weight * (x * x + y * y + z * z)
            if derivatives:
                a = sums + 9 * j
                for c in (0, 3, 5):
                    a[c] = a[c] + weight
                a[6] = a[6] + weight * x
                a[7] = a[7] + weight * y
                a[8] = a[8] + weight * z
    return value


def stiffened(a, x, y, z):
    """The symmetric matrix at ``a`` times a vector."""
    return a[0] * x + a[1] * y + a[2] * z, a[1] * x + a[3] * y + a[4] * z, a[2] * x + a[4] * y + a[5] * z


def inner(a, x, y, z):
    """Product with the vector at ``a``."""
    return a[0] * x + a[1] * y + a[2] * z


def element(row, col):
    """Place of an element of a symmetric matrix of which the lower triangle is kept, row by row."""
    return row * (row + 1) // 2 + col


def span(a, b, first, last, result):
    """Add products of the vectors first … last − 1 to ``result``."""
    for j in loop(3 * first, 3 * last):
        result += a[j] * b[j]


@function
def of_observers(form, f, k, sums, seen, lever, pushed, gradient, matrix):
    """What the observers that joint ``k`` of finger ``f`` turns (their sums) give to the gradient and the matrix."""
    per_finger = form[PER_FINGER]
    begin = JOINTS_PER_FINGER * f
    still = ((0, begin + k), (begin + JOINTS_PER_FINGER, N_POINTS))  # points between turn along with the observers
    for v in loop(form[FIRST_OF + k], form[FIRST_OF + k + 1]):
        row = f * per_finger + v
        z = seen + 3 * N_POINTS * v
        force = Variable(sums.zero)
        for part in still:
            for j in loop(*part):
                a = sums + 9 * j
                zx, zy, zz = z[3 * j], z[3 * j + 1], z[3 * j + 2]
                put(pushed + 3 * j, *stiffened(a, zx, zy, zz))
                force += inner(a + 6, zx, zy, zz)
        gradient[row] = gradient[row] - force.value
        for u in loop(v + 1):  # with the angles of the same finger further in
            other = seen + 3 * N_POINTS * u
            pull = Variable(sums.zero)
            span(other, pushed, 0, begin + form[JOINT_OF + u], pull)
            span(other, pushed, begin + JOINTS_PER_FINGER, N_POINTS, pull)
            h = element(row, f * per_finger + u)
            matrix[h] = matrix[h] + pull.value
        for g in loop(N_FINGERS):  # with those of other fingers, which move the points
            with when(g != f):
                for w in loop(per_finger):
                    col = g * per_finger + w
                    pull = Variable(sums.zero)
                    for n in loop(form[JOINT_OF + w] + 1, JOINTS_PER_FINGER):
                        y = pushed + 3 * (JOINTS_PER_FINGER * g + n)
                        pull += inner(lever + (9 * col + 3 * (n - 1)), y[0], y[1], y[2])
                    h = choose(col < row, element(row, col), element(col, row))
                    matrix[h] = matrix[h] - pull.value


@function
def keep_inner(k, own, kept):
    """Sums ``own`` of a finger's points over the joints from ``k`` on, to those over the joints further in.

    ``kept``: of the second joint beyond the first one, of the tip beyond the first, and of the tip beyond the second.
    """
    second, tip = own + 18, own + 27
    for c in loop(9):
        with when(k == 2):
            kept[18 + c] = tip[c]
        with when(k == 1):
            kept[c] = second[c]
            kept[9 + c] = tip[c]
        with when(k == 0):
            kept[c] = second[c] - kept[c]
            kept[9 + c] = tip[c] - kept[9 + c]
            kept[18 + c] = tip[c] - kept[18 + c]


@function
def of_points(form, others, inside, lever, sums, gradient, matrix):
    """What points that their own finger moves give: seen by other fingers, and by joints further in."""
    per_finger = form[PER_FINGER]
    for f in loop(N_FINGERS):
        for n in range(1, JOINTS_PER_FINGER):
            outside = others + 9 * (3 * f + n - 1)
            for m in range(n):
                for c in range(9):
                    sums[c] = outside[c]
                if m > 0:
                    kept = inside + 9 * (3 * f + (0 if n == 2 else m))
                    for c in range(9):
                        sums[c] = sums[c] + kept[c]
                for v in loop(form[FIRST_OF + m], form[FIRST_OF + m + 1]):
                    col = f * per_finger + v
                    x = lever + (9 * col + 3 * (n - 1))
                    gradient[col] = gradient[col] + inner(sums + 6, x[0], x[1], x[2])
                    yx, yy, yz = stiffened(sums, x[0], x[1], x[2])
                    for u in loop(v, form[FIRST_OF + n]):
                        row = f * per_finger + u
                        h = element(row, col)
                        matrix[h] = matrix[h] + inner(lever + (9 * row + 3 * (n - 1)), yx, yy, yz)


@function
def evaluate(form, hand, angles, rows, out, softening, contacts, derivatives):
    """Value, then gradient and lower triangle of the matrix, into ``out``; ``rows`` are those of a block of frames."""
    points, frames, axes = rows + R_POINTS, rows + R_FRAMES, rows + R_AXES
    lever, seen, sums = rows + R_LEVERS, rows + R_SEEN, rows + R_SUMS
    others, inside = rows + R_OTHERS, rows + R_INNER
    count = form[PER_HAND]
    gradient, matrix = out + 1, out + (1 + count)
    pose(hand, angles, points, frames, axes)
    value = Variable(points.zero)
    if derivatives:
        levers(form, points, axes, lever)
        clear(gradient, count + count * (count + 1) // 2)
        clear(others, 9 * N_FINGERS * 3)
    for f in loop(N_FINGERS):
        if derivatives:
            seen_levers(form, f, points, axes, seen)
            clear(sums, 9 * N_POINTS)
        with when(contacts):
            value += touches(f, points, frames, rows + R_TOUCHES, sums, derivatives)
        for k in loop(3, -1, -1):
            i = JOINTS_PER_FINGER * f + k
            value += seen_pairs(i, points, frames, rows + R_WANTED, sums, softening, derivatives)
            if derivatives:
                with when(k < 3):
                    of_observers(form, f, k, sums, seen, lever, rows + R_PUSHED, gradient, matrix)
                    keep_inner(k, sums + 9 * JOINTS_PER_FINGER * f, inside + 27 * f)
        if derivatives:
            for g in loop(N_FINGERS):
                with when(g != f):
                    for c in loop(27):
                        b = others + (27 * g + c)
                        b[0] = b[0] + sums[9 * (JOINTS_PER_FINGER * g + 1) + c]
    out[0] = value
    if derivatives:
        of_points(form, others, inside, lever, sums, gradient, matrix)
