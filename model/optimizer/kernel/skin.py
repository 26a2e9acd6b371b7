"""Points of skin that move with their bones, and the gaps between them; see :mod:`model.skin`, frames in lanes."""

from __future__ import annotations

from model.flesh import N_CAPSULE_PAIRS, N_PARTS, PALM, PART_PAIRS
from model.optimizer.kernel.capsules import (
    GAP,
    dot,
    least_gap,
    minus,
    nearest,
    place_capsules,
    unit,
    vector,
    within,
)
from model.optimizer.kernel.flesh import note_nearest
from model.optimizer.kernel.geometry import matrix, put, times, turned
from model.optimizer.kernel.layout import (
    CAPSULE,
    G_AIM,
    G_EXCESS,
    G_GAP,
    GOAL,
    HAND_AXES,
    MARGIN,
    N_OTHER_PART,
    N_PART,
    R_BONES,
    R_ENDS,
    R_FLESH,
    R_FRAMES,
    R_GIVEN,
    R_HAND,
    R_NEAR,
    R_PART_GAPS,
    R_SKIN,
    R_SKIN_GAPS,
    SKIN_POINT,
    TABLE,
)
from model.skin import BONES, CULLED, N_POINTS, NEAR, PER_PALM, PER_PART, REACH
from model.topology import BONES_PER_FINGER, JOINTS_PER_FINGER, N_FINGERS
from utils.vectors import Variable, choose, everywhere, function, largest, loop, root, smallest, when

FAR = 1e3
"""A gap of parts that are not near each other."""
_SIXTEEN = len(BONES)
_POINT = 6  # rows: its place and its normal


@function
def place_bones(rows, skin):
    """Rotation and shift (12) of every bone that skin follows, from frames of a pose."""
    frames, bones, rest = rows + R_FRAMES, rows + R_BONES, skin + SKIN_POINT * N_POINTS
    for c in range(12):
        bones[c] = rows.zero + (1.0 if c in (0, 4, 8) else 0.0)
    for f in loop(N_FINGERS):
        head = tuple(rows.zero + x for x in vector(rest + 3 * (BONES_PER_FINGER * f + 1)))
        for k in range(BONES_PER_FINGER):
            number = BONES_PER_FINGER * f + k
            own, at = bones + 12 * (number + 1), vector(rest + 3 * (number + 1))
            axes = rows + (R_HAND + HAND_AXES + 9 * number)
            for c, value in enumerate(times(matrix(frames + 9 * (JOINTS_PER_FINGER * f + k)), matrix(axes))):
                own[c] = value
            put(own + 9, *minus(head, turned(own, *at)))
            if k < BONES_PER_FINGER - 1:
                bone = minus(vector(rest + 3 * (number + 2)), at)
                head = tuple(x + y for x, y in zip(head, turned(own, *bone), strict=True))


@function
def place_skin(rows, skin):
    """Places and normals of the points of skin."""
    place_bones(rows, skin)
    for number in loop(N_POINTS):
        point, out = skin + SKIN_POINT * number, rows + (R_SKIN + _POINT * number)
        blend = [Variable(rows.zero) for _ in range(12)]
        for bone in loop(_SIXTEEN):
            weight = point[7 + bone]
            with when(weight > 0.0):
                own = rows + (R_BONES + 12 * bone)
                for c, value in enumerate(blend):
                    value += weight * own[c]
        m = [value.value for value in blend]
        place, normal = vector(point), vector(point + 3)
        put(out, *(dot(m[3 * r : 3 * r + 3], place) + m[9 + r] for r in range(3)))
        put(out + 3, *unit([dot(m[3 * r : 3 * r + 3], normal) for r in range(3)]))


def _first_point(part):
    return PER_PART * part


@function
def nearest_skin(rows, skin, point, first, count, best):
    """Of ``count`` points of skin from ``first`` on the one nearest to a point: the square of the distance, the height
    above its plane and its own spread into ``best``."""
    x, y, z = vector(point)
    square, height, spacing = Variable(rows.zero + FAR), Variable(rows.zero + 1.0), Variable(rows.zero)
    for number in loop(first, first + count):
        other = rows + (R_SKIN + _POINT * number)
        dx, dy, dz = x - other[0], y - other[1], z - other[2]
        away = dx * dx + dy * dy + dz * dz
        above = dx * other[3] + dy * other[4] + dz * other[5]
        nearer = away < square.value
        square.set(choose(nearer, away, square.value))
        height.set(choose(nearer, above, height.value))
        spacing.set(choose(nearer, rows.zero + (skin + SKIN_POINT * number)[6], spacing.value))
    put(best, square.value, height.value, spacing.value)


def _is_near(rows, point, part, near):
    """Whether a point is near a part of the hand by flesh, and the part near enough, in any lane."""
    if part is None:  # the palm: many capsules
        return ~everywhere(near > CULLED)
    ends, radii = rows + (R_ENDS + 6 * part), rows + (R_FLESH + CAPSULE * part + 6)
    begin = vector(ends)
    axis = minus(vector(ends + 3), begin)
    away = minus(vector(point), begin)
    share = within(dot(away, axis) / largest(dot(axis, axis), 1e-12))
    from_axis = minus(away, tuple(share * x for x in axis))
    reach = CULLED + radii[0] + largest(radii[1], 0.0)
    return ~everywhere((near > CULLED) | (dot(from_axis, from_axis) > reach * reach))


@function
def seen_from(rows, skin, own, own_parts, own_count, other, other_parts, other_count):
    """Gaps of the points of parts ``own`` … against the skin of parts ``other`` …, into `R_SKIN_GAPS`."""
    best = rows + R_NEAR
    for part in loop(own, own + own_parts):
        begin = _first_point(part)
        for number in loop(begin, begin + own_count):
            point = rows + (R_SKIN + _POINT * number)
            for each in range(other_parts):
                near = rows + (R_PART_GAPS + N_PARTS * part + other + each)
                put(best + 3 * each, rows.zero + FAR, rows.zero + 1.0, rows.zero)
                with when(_is_near(rows, point, None if other_count == PER_PALM else other + each, near[0])):
                    first = _first_point(other + each)
                    nearest_skin(rows, skin, point, first, other_count, best + 3 * each)
            least = best[0]
            for each in range(1, other_parts):
                least = smallest(least, best[3 * each])
            for each in range(other_parts):
                square, height, spacing = vector(best + 3 * each)
                beside = root(largest(square - height * height, 0.0)) - spacing
                # At the open ends of a part its planes go on where no skin is.
                inside = (height < 0.0) & (beside < -height)
                across = largest(beside, 0.0)
                gap = root(height * height + across * across)
                gap = choose(gap > REACH, gap * 0.0 + FAR, gap)
                # What lies inside is deep in the part whose skin is nearest, and in no other.
                deep = choose((square <= least) & (gap < FAR), -gap, gap * 0.0 + FAR)
                place = rows + (R_SKIN_GAPS + N_PARTS * part + other + each)
                place[0] = smallest(place[0], choose(inside, deep, gap))


def _fingers_near(rows, one, other):
    """Whether flesh says that a finger and another one, or the palm, are near each other in any lane."""
    nearest_of = Variable(rows.zero + FAR)
    palm = other is None
    for a in range(BONES_PER_FINGER - 1 if palm else 0, BONES_PER_FINGER):
        for b in range(1 if palm else BONES_PER_FINGER):
            row = N_PARTS * (BONES_PER_FINGER * one + a)
            column = PALM if palm else BONES_PER_FINGER * other + b
            gap = rows[R_PART_GAPS + row + column]
            nearest_of.set(smallest(nearest_of.value, choose(gap == 0.0, gap + FAR, gap)))
    return ~everywhere(nearest_of.value > CULLED)


@function
def skin_gaps(rows, skin):
    """Gaps (16·16, both ways) by skin into `R_SKIN_GAPS`, given those by flesh in `R_PART_GAPS`."""
    for r in loop(N_PARTS * N_PARTS):
        rows[R_SKIN_GAPS + r] = FAR
    place_skin(rows, skin)
    for one in loop(N_FINGERS):
        a = BONES_PER_FINGER * one
        for other in loop(one + 1, N_FINGERS):
            with when(_fingers_near(rows, one, other)):
                b = BONES_PER_FINGER * other
                seen_from(rows, skin, a, BONES_PER_FINGER, PER_PART, b, BONES_PER_FINGER, PER_PART)
                seen_from(rows, skin, b, BONES_PER_FINGER, PER_PART, a, BONES_PER_FINGER, PER_PART)
        with when(_fingers_near(rows, one, None)):
            last, palm = a + (BONES_PER_FINGER - 1), one * 0 + PALM
            seen_from(rows, skin, last, 1, PER_PART, palm, 1, PER_PALM)
            seen_from(rows, skin, palm, 1, PER_PALM, last, 1, PER_PART)


@function
def flesh_gaps(rows, table, source):
    """Gaps of parts by flesh into `R_PART_GAPS`, both ways, and of pairs of capsules; 0 where nobody asks for them.
    With ``source`` everything about the places is noted, too."""
    gaps, given = rows + R_PART_GAPS, rows + R_GIVEN
    for r in loop(N_PARTS * N_PARTS):
        gaps[r] = 0.0
    for number in loop(N_CAPSULE_PAIRS):
        part = gaps + (table + TABLE * number)[N_PART]
        part[0] = FAR
    place_capsules(rows)
    for number in loop(N_CAPSULE_PAIRS):
        pair = table + TABLE * number
        own = given + GOAL * number
        gap = Variable(least_gap(rows, pair))
        if source:
            nearest(rows, pair)
            note_nearest(rows, pair, own)
            gap.set(rows[R_NEAR + GAP])
        else:
            with when(~everywhere(gap.value > CULLED)):
                nearest(rows, pair)
                gap.set(rows[R_NEAR + GAP])
        part = gaps + pair[N_PART]
        part[0] = smallest(part[0], gap.value)
    for first, second in PART_PAIRS:
        gaps[N_PARTS * second + first] = gaps[N_PARTS * first + second]


def _by_skin(rows, pair):
    """The gap of a pair by skin: from one part's points, or from the other's."""
    place, other = pair[N_PART], pair[N_OTHER_PART]
    skin = rows + R_SKIN_GAPS
    near = rows[R_PART_GAPS + place] <= CULLED
    return choose(near, smallest(skin[place], skin[other]), FAR)


@function
def look(rows, table, skin):
    """By how much flesh tells gaps too large, seen against the skin of the pose in ``rows``."""
    flesh_gaps(rows, table, False)
    skin_gaps(rows, skin)
    for number in loop(N_CAPSULE_PAIRS):
        pair = table + TABLE * number
        by_flesh, by_skin = rows[R_PART_GAPS + pair[N_PART]], _by_skin(rows, pair)
        # Skin that is not near says only that.
        excess = choose(by_skin < NEAR, by_flesh - by_skin, smallest(by_flesh - NEAR, 0.0))
        rows[R_GIVEN + GOAL * number + G_EXCESS] = excess


@function
def look_at_source(rows, table, skin, has_skin):
    """Gaps of the source's pose in ``rows``, by skin where it has some, and where they are, into `R_GIVEN`."""
    flesh_gaps(rows, table, True)
    with when(has_skin):
        skin_gaps(rows, skin)
    for number in loop(N_CAPSULE_PAIRS):
        pair, given = table + TABLE * number, rows + (R_GIVEN + GOAL * number)
        given[G_EXCESS] = 0.0
        given[G_GAP] = rows[R_PART_GAPS + pair[N_PART]]
        with when(has_skin):
            by_flesh = rows[R_PART_GAPS + pair[N_PART]]
            # What skin does not see is far apart.
            given[G_GAP] = smallest(_by_skin(rows, pair), largest(by_flesh, REACH))
        given[G_AIM] = largest(given[G_GAP] - rows[R_FLESH + MARGIN], 0.0)
