"""A hand that moves, from its local rotations to what it means, and a search that follows it frame by frame."""

from __future__ import annotations

from math import pi, tan

from model.optimizer.kernel.blocks import descend, gather, gather_hands, put_pose, scatter, want
from model.optimizer.kernel.geometry import matrix, pose, put, times
from model.optimizer.kernel.layout import (
    FORM,
    HAND_AXES,
    ITERATIONS,
    LAST,
    LIMITS,
    MOTION,
    N_ANGLES,
    N_POINTS,
    NUMBERS,
    R_ACTIVE,
    R_ANGLES,
    R_AXES,
    R_COORDS,
    R_FRAMES,
    R_HAND,
    R_HIGH,
    R_LOW,
    R_POINTS,
    R_START,
    R_WANTED,
    SEARCHED,
    SOURCES,
    TURNS,
)
from model.topology import N_FINGER_JOINTS, N_FINGERS
from utils.vectors import INTEGER, choose, function, largest, loop, memory, root, smallest

# atan(x) / x − 1 over x² up to the tangent of 22.5°, as a polynomial of x²: off by 2e-10 at most.
_ARC = (-0.33333301, 0.19997817, -0.14233341, 0.10528951, -0.05932717)


def arctangent(y, x):
    """The angle of the point (x, y), within half a turn; of the origin, 0."""
    across, up = largest(x, -x), largest(y, -y)
    ratio = smallest(across, up) / largest(largest(across, up), 1e-30)
    steep = ratio > tan(pi / 8)
    t = choose(steep, (ratio - 1.0) / (ratio + 1.0), ratio)
    q = t * t
    series = q * 0.0
    for factor in reversed(_ARC):
        series = q * (factor + series)
    angle = t + t * series + choose(steep, q * 0.0 + pi / 4, 0.0)
    angle = choose(up > across, pi / 2 - angle, angle)
    angle = choose(x < 0.0, pi - angle, angle)
    return choose(y < 0.0, -angle, angle)


def transposed(m):
    """A matrix of nine values."""
    return [m[3 * c + r] for r in range(3) for c in range(3)]


def relieved(angles, low, high):
    """How far three angles are beyond their limits, in all."""
    excess = [largest(angle - high[c], 0.0) + largest(low[c] - angle, 0.0) for c, angle in enumerate(angles)]
    return excess[0] + excess[1] + excess[2]


@function
def read_angles(hand, local, low, high, out):
    """Angles (45) of local rotations (15·9), of two readings the one nearer the limits (5·3·3 numbers each)."""
    for f in loop(N_FINGERS):
        for k in range(3):
            joint = 3 * f + k
            axes = hand + (HAND_AXES + 9 * joint)
            turn = matrix(local + 9 * joint)
            if k:
                turn = times(matrix(axes + -9), turn)
            s = times(transposed(matrix(hand + (TURNS + 9 * joint))), times(turn, transposed(matrix(axes))))
            twist, splay = arctangent(-s[5], s[8]), arctangent(-s[1], s[0])
            bend = arctangent(s[2], root(s[0] * s[0] + s[1] * s[1]))
            first = twist, bend, splay
            # The same rotation with its bend beyond 90 degrees, every angle within half a turn.
            second = tuple(choose(angle < 0.0, angle + pi, angle - pi) for angle in (twist, splay))
            second = second[0], choose(bend > 0.0, pi - bend, -pi - bend), second[1]
            bounds = [[of[3 * joint + c] for c in range(3)] for of in (low, high)]
            other = relieved(second, *bounds) < relieved(first, *bounds)
            put(out + 3 * joint, *(choose(other, b, a) for a, b in zip(first, second, strict=True)))


@function
def see(points, frames, coords):
    """The semantic matrix (20·29·3): every point as seen from every joint's frame."""
    for i in loop(N_FINGER_JOINTS):
        m, own = frames + 9 * i, points + 3 * i
        for j in loop(N_POINTS):
            other = points + 3 * j
            x, y, z = (other[c] - own[c] for c in range(3))
            put(coords + 3 * (N_POINTS * i + j), *(m[c] * x + m[3 + c] * y + m[6 + c] * z for c in range(3)))


def follow(rows, arguments):
    """Solve frames 0 … last − 1 from the hands that move: from their angles and what was changed of them before."""
    form, settings, last = memory(arguments[FORM], INTEGER), memory(arguments[NUMBERS]), arguments[LAST]
    first, limits = last * 0, memory(arguments[LIMITS])
    gather_hands(rows, arguments, first, last, SOURCES)
    gather(rows + R_WANTED, memory(arguments[MOTION]), first, last, 3 * N_ANGLES)
    read_angles(rows + R_HAND, rows + R_WANTED, limits, limits + N_ANGLES, rows + R_START)
    pose(rows + R_HAND, rows + R_START, rows + R_POINTS, rows + R_FRAMES, rows + R_AXES)
    see(rows + R_POINTS, rows + R_FRAMES, rows + R_COORDS)
    want(rows, arguments, settings, first, last)
    gather_hands(rows, arguments, first, last)
    gather(rows + R_ANGLES, memory(arguments[SEARCHED]), first, last, N_ANGLES)
    for a in loop(N_ANGLES):
        start = rows[R_START + a]
        low, high = smallest(start, limits[a]), largest(start, limits[N_ANGLES + a])
        rows[R_LOW + a] = low
        rows[R_HIGH + a] = high
        rows[R_ANGLES + a] = smallest(largest(start + rows[R_ANGLES + a], low), high)
    rows[R_ACTIVE] = 1.0
    descend(form, settings, arguments, rows, arguments[ITERATIONS], False)
    put_pose(rows, arguments, first, last)
    for a in loop(N_ANGLES):
        rows[R_ANGLES + a] = rows[R_ANGLES + a] - rows[R_START + a]
    scatter(rows + R_ANGLES, memory(arguments[SEARCHED]), first, last, N_ANGLES)
