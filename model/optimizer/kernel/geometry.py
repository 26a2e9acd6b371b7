"""Joint angles to points, frames and turning axes, and how angles move the points; frames side by side in lanes."""

from __future__ import annotations

from model.optimizer.kernel.layout import (
    ANGLE_OF,
    BONES,
    JOINT_OF,
    N_POINTS,
    PER_FINGER,
    TIPS,
    TURNS,
)
from model.topology import JOINTS_PER_FINGER, N_FINGER_JOINTS, N_FINGERS, PALM_ANCHORS
from utils.vectors import function, loop

_SHARES = tuple(share for _, share in PALM_ANCHORS)
_ROOTS = tuple(root - 1 for root, _ in PALM_ANCHORS)


def sine_cosine(angle):
    """Of angles up to a full turn: polynomials of a quarter of them, doubled twice."""
    x = angle * 0.25
    q = x * x
    s = x * (1.0 + q * (-1 / 6 + q * (1 / 120 + q * (-1 / 5040 + q * (1 / 362880)))))
    c = 1.0 + q * (-0.5 + q * (1 / 24 + q * (-1 / 720 + q * (1 / 40320 + q * (-1 / 3628800)))))
    s, c = 2.0 * s * c, 1.0 - 2.0 * s * s
    return 2.0 * s * c, 1.0 - 2.0 * s * s


def turned(m, x, y, z):
    """The matrix at ``m`` times a vector."""
    return m[0] * x + m[1] * y + m[2] * z, m[3] * x + m[4] * y + m[5] * z, m[6] * x + m[7] * y + m[8] * z


def put(rows, x, y, z):
    """Three rows."""
    rows[0] = x
    rows[1] = y
    rows[2] = z


def column(m, c, x, y, z):
    """A column of the matrix at ``m``."""
    m[c] = x
    m[3 + c] = y
    m[6 + c] = z


def times(a, b):
    """Matrices, as nine values each."""
    return [a[3 * r] * b[c] + a[3 * r + 1] * b[3 + c] + a[3 * r + 2] * b[6 + c] for r in range(3) for c in range(3)]


def matrix(rows):
    """The nine values at a place."""
    return [rows[number] for number in range(9)]


@function
def product(a, b, out):
    """Matrices: out = a b."""
    for c in range(3):
        x, y, z = turned(a, b[c], b[3 + c], b[6 + c])
        column(out, c, x, y, z)


def turn(m, first, second, angle):
    """Turn the matrix at ``m`` about an axis of its own, the one that turns column ``first`` to ``second``."""
    s, c = sine_cosine(angle)
    for r in range(3):
        x = m[3 * r + first]
        y = m[3 * r + second]
        m[3 * r + first] = c * x + s * y
        m[3 * r + second] = c * y - s * x


@function
def pose(hand, angles, points, frames, axes):
    """Points (29·3), frames (20·9) and turning axes (45·3) of a hand with these angles (45)."""
    for f in loop(N_FINGERS):
        root = hand + (BONES + 12 * f)
        x, y, z = root[0], root[1], root[2]
        put(points + 12 * f, x, y, z)
        for k in range(3):
            joint = 3 * f + k
            own = hand + (TURNS + 9 * joint)
            m = frames + 9 * (JOINTS_PER_FINGER * f + k)
            if k == 0:
                for r in range(9):
                    m[r] = own[r]
            else:
                product(frames + 9 * (JOINTS_PER_FINGER * f + k - 1), own, m)
            a = axes + 9 * joint
            put(a, m[0], m[3], m[6])
            turn(m, 1, 2, angles[3 * joint])
            put(a + 3, m[1], m[4], m[7])
            turn(m, 2, 0, angles[3 * joint + 1])
            put(a + 6, m[2], m[5], m[8])
            turn(m, 0, 1, angles[3 * joint + 2])
            bone = root + 3 * (k + 1)
            bx, by, bz = turned(m, bone[0], bone[1], bone[2])
            x = x + bx
            y = y + by
            z = z + bz
            put(points + (12 * f + 3 * (k + 1)), x, y, z)
        last = frames + 9 * (JOINTS_PER_FINGER * f + 3)
        product(frames + 9 * (JOINTS_PER_FINGER * f + 2), hand + (TIPS + 9 * f), last)
    for anchor in range(len(_SHARES)):
        root = points + 3 * _ROOTS[anchor]
        for c in range(3):
            points[3 * (N_FINGER_JOINTS + anchor) + c] = root[c] * _SHARES[anchor]


def swept(axis, centre, point):
    """How a point moves that turns about an axis through ``centre``."""
    x = point[0] - centre[0]
    y = point[1] - centre[1]
    z = point[2] - centre[2]
    return axis[1] * z - axis[2] * y, axis[2] * x - axis[0] * z, axis[0] * y - axis[1] * x


@function
def levers(form, points, axes, out):
    """``out`` (unknowns · 3 · 3): how the unknowns of a finger move its joints beyond the first."""
    for f in loop(N_FINGERS):
        for v in loop(form[PER_FINGER]):
            k = form[JOINT_OF + v]
            axis = axes + 3 * (9 * f + form[ANGLE_OF + v])
            centre = points + 3 * (JOINTS_PER_FINGER * f + k)
            for n in loop(k + 1, JOINTS_PER_FINGER):
                x, y, z = swept(axis, centre, points + 3 * (JOINTS_PER_FINGER * f + n))
                put(out + (9 * (f * form[PER_FINGER] + v) + 3 * (n - 1)), x, y, z)


@function
def seen_levers(form, f, points, axes, out):
    """``out`` (unknowns of a finger · 29 · 3): how all points would move if they belonged to finger ``f``."""
    for v in loop(form[PER_FINGER]):
        axis = axes + 3 * (9 * f + form[ANGLE_OF + v])
        centre = points + 3 * (JOINTS_PER_FINGER * f + form[JOINT_OF + v])
        for j in loop(N_POINTS):
            x, y, z = swept(axis, centre, points + 3 * j)
            put(out + 3 * (v * N_POINTS + j), x, y, z)
