"""Capsules of flesh where a pose puts them, and the gaps between them; see :mod:`model.flesh`, frames in lanes."""

from __future__ import annotations

from model.flesh import N_CAPSULES, N_PALM, PALM
from model.optimizer.kernel.geometry import column, put, turned
from model.optimizer.kernel.layout import (
    CAPSULE,
    N_FIRST_END,
    N_FIRST_FRAME,
    N_FIRST_RADII,
    N_SECOND_END,
    N_SECOND_FRAME,
    N_SECOND_RADII,
    R_ENDS,
    R_FLESH,
    R_FRAMES,
    R_NEAR,
    R_PALM_FRAME,
    R_POINTS,
)
from model.topology import BONES_PER_FINGER, INDEX, JOINTS_PER_FINGER, MIDDLE, N_FINGERS, PINKY
from utils.vectors import function, inverse_root, largest, loop, root, smallest

ROUNDS = 4
STEEPEST = 0.9
GAP, ALONG, FIRST_PLACE, SECOND_PLACE, NORMAL = 0, 1, 3, 6, 9
"""Rows of what :func:`nearest` finds: gap, where on both axes, those places, direction from one to the other."""


def vector(rows):
    """Three values."""
    return rows[0], rows[1], rows[2]


def dot(a, b):
    """Of three values each."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def minus(a, b):
    """Difference of three values each."""
    return tuple(x - y for x, y in zip(a, b, strict=True))


def beyond(a, share, b):
    """``a + share · b``, of three values each."""
    return tuple(x + share * y for x, y in zip(a, b, strict=True))


def crossed(a, b):
    """Cross product of three values each."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def unit(a):
    """Of three values."""
    inverse = inverse_root(largest(dot(a, a), 1e-24))
    return tuple(x * inverse for x in a)


def within(x):
    """From 0 to 1."""
    return smallest(largest(x, 0.0), 1.0)


@function
def place_capsules(rows):
    """Both ends of every capsule, and the palm's frame, from points and frames of a pose."""
    points, frames, ends = rows + R_POINTS, rows + R_FRAMES, rows + R_ENDS
    for f in loop(N_FINGERS):
        for bone in range(BONES_PER_FINGER):
            joint = JOINTS_PER_FINGER * f + bone
            own, out = (
                rows + (R_FLESH + CAPSULE * (BONES_PER_FINGER * f + bone)),
                ends + 6 * (BONES_PER_FINGER * f + bone),
            )
            at = vector(points + 3 * joint)
            for end in range(2):
                away = turned(frames + 9 * joint, *vector(own + 3 * end))
                put(out + 3 * end, *(x + y for x, y in zip(at, away, strict=True)))
    for number in range(PALM, PALM + N_PALM):
        for c in range(6):
            ends[6 * number + c] = rows[R_FLESH + CAPSULE * number + c]
    middle, index, pinky = (vector(points + 3 * JOINTS_PER_FINGER * finger) for finger in (MIDDLE, INDEX, PINKY))
    forward = unit(middle)
    normal = crossed(index, pinky)
    normal = unit(beyond(normal, -dot(normal, forward), forward))
    for c, each in enumerate((forward, crossed(normal, forward), normal)):
        column(rows + R_PALM_FRAME, c, *each)


def on_axis(point, axis, square, length, shift):
    """The place on a capsule's axis that minimises the distance to a point less the radius, from 0 to 1."""
    along = dot(point, axis)
    height = root(largest(dot(point, point) - along * along / square, 0.0))
    return within(along / square + shift * height / length)


@function
def nearest(rows, pair):
    """Where the capsules of a pair are nearest, into the rows of `R_NEAR`; ``pair`` is a line of the table."""
    begin, axis, radii, taper, square, length, shift = [], [], [], [], [], [], []
    for end, own in ((N_FIRST_END, N_FIRST_RADII), (N_SECOND_END, N_SECOND_RADII)):
        ends, radius = rows + pair[end], rows + pair[own]
        begin.append(vector(ends))
        axis.append(minus(vector(ends + 3), begin[-1]))
        radii.append(radius[0])
        taper.append(radius[1])
        square.append(largest(dot(axis[-1], axis[-1]), 1e-12))
        length.append(root(square[-1]))
        slope = smallest(largest(taper[-1] / length[-1], -STEEPEST), STEEPEST)
        shift.append(slope * inverse_root(1.0 - slope * slope))
    between = minus(begin[0], begin[1])
    mixed, on_first, on_second = dot(axis[0], axis[1]), dot(axis[0], between), dot(axis[1], between)
    steep = square[0] * square[1] - mixed * mixed
    s = within((mixed * on_second - on_first * square[1]) / largest(steep, 1e-9))
    t = within((mixed * s + on_second) / square[1])
    s = within((mixed * t - on_first) / square[0])
    for _ in range(ROUNDS):
        t = on_axis(minus(beyond(begin[0], s, axis[0]), begin[1]), axis[1], square[1], length[1], shift[1])
        s = on_axis(minus(beyond(begin[1], t, axis[1]), begin[0]), axis[0], square[0], length[0], shift[0])
    places = beyond(begin[0], s, axis[0]), beyond(begin[1], t, axis[1])
    apart = minus(places[1], places[0])
    distance = root(largest(dot(apart, apart), 1e-12))
    normal = tuple(x / distance for x in apart)
    gap = distance - (radii[0] + s * taper[0]) - (radii[1] + t * taper[1])
    for frame, own in ((N_FIRST_FRAME, N_FIRST_RADII), (N_SECOND_FRAME, N_SECOND_RADII)):
        m = rows + pair[frame]
        across, up = (normal[0] * m[c] + normal[1] * m[3 + c] + normal[2] * m[6 + c] for c in (1, 2))
        gap = gap - (rows + pair[own])[2] * (across * across - up * up)
    near = rows + R_NEAR
    near[GAP] = gap
    near[ALONG] = s
    near[ALONG + 1] = t
    for place, each in ((FIRST_PLACE, places[0]), (SECOND_PLACE, places[1]), (NORMAL, normal)):
        put(near + place, *each)


@function
def least_gap(rows, pair):
    """What the gap of a pair is at least, by the spheres about its capsules: much sooner known than the gap."""
    middles, reach = [], rows.zero
    for end, own in ((N_FIRST_END, N_FIRST_RADII), (N_SECOND_END, N_SECOND_RADII)):
        ends, radius = rows + pair[end], rows + pair[own]
        first, second = vector(ends), vector(ends + 3)
        middles.append(tuple(0.5 * (x + y) for x, y in zip(first, second, strict=True)))
        half = minus(second, first)
        thickest = radius[0] + largest(radius[1], 0.0) + largest(radius[2], -radius[2])
        reach = reach + 0.5 * root(dot(half, half)) + thickest
    apart = minus(*middles)
    return root(dot(apart, apart)) - reach


assert CAPSULE == 9 and N_CAPSULES == PALM + N_PALM
