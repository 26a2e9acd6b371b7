"""Touches of flesh as terms of the objective; see :mod:`model.optimizer.touches`, frames in lanes."""

from __future__ import annotations

from model.flesh import CAPSULE_PAIRS, N_CAPSULE_PAIRS, PALM
from model.optimizer.kernel.capsules import (
    ALONG,
    FIRST_PLACE,
    GAP,
    NORMAL,
    SECOND_PLACE,
    beyond,
    dot,
    least_gap,
    minus,
    nearest,
    place_capsules,
    vector,
)
from model.optimizer.kernel.geometry import put, swept, turned
from model.optimizer.kernel.layout import (
    ANGLE_OF,
    APART_WEIGHT,
    ASKED,
    FIRST_OF,
    FLESH,
    FLESH_OF,
    FLESHES,
    G_AIM,
    G_ALONG,
    G_AROUND,
    G_EXCESS,
    G_GAP,
    GOAL,
    GOALS,
    JOINT_OF,
    N_FIRST_END,
    N_FIRST_FINGER,
    N_FIRST_FRAME,
    N_FIRST_JOINTS,
    N_FIRST_RADII,
    N_LEAST,
    N_PART,
    N_SECOND_END,
    N_SECOND_FINGER,
    N_SECOND_FRAME,
    N_SECOND_JOINTS,
    N_SECOND_RADII,
    PAIR_SHARES,
    PER_FINGER,
    PER_HAND,
    PLACE_RATIO,
    R_ASKED,
    R_ATTACHED,
    R_AXES,
    R_FLESH,
    R_GIVE,
    R_GIVEN,
    R_LEAST,
    R_NEAR,
    R_PART_GAPS,
    R_POINTS,
    R_SLOPES,
    TABLE,
    TOUCH_WEIGHT,
)
from model.optimizer.kernel.terms import element
from model.optimizer.touches import CLEARANCE, EXACT, NEARLY
from model.topology import JOINTS_PER_FINGER, N_FINGERS
from model.touch import APART, PRESSED, TOUCHING
from utils.vectors import INTEGER, Variable, choose, everywhere, function, largest, loop, memory, root, smallest, when

AIM, WEIGHT, LOW, KEEP = range(ASKED)
"""Rows of what is asked of a pair: the gap that counts as closed, how much a touch counts, the least gap allowed, and
how much that counts."""
PALM_PAIRS = tuple(number for number, (_, second) in enumerate(CAPSULE_PAIRS) if second >= PALM)
_SECOND = 9  # slopes of the second finger behind those of the first


@function
def gather_flesh(rows, arguments, first, last):
    """Each frame's own flesh."""
    fleshes, of = memory(arguments[FLESHES]), memory(arguments[FLESH_OF], INTEGER)
    wide = rows.lanes
    place = (rows + R_FLESH).numbers
    for lane in loop(wide):
        number = Variable(first * 0)
        with when(arguments[FLESH_OF] != 0):
            number.set(of[smallest(first + lane, last - 1)])
        line = fleshes + FLESH * number.value
        for r in loop(FLESH):
            place[wide * r + lane] = line[r]


@function
def gather_goals(rows, arguments, settings, first, last):
    """What the source's touches ask for, and by how much flesh tells gaps too large."""
    goals, wide = memory(arguments[GOALS]), rows.lanes
    place = (rows + R_GIVEN).numbers
    for lane in loop(wide):
        line = goals + GOAL * N_CAPSULE_PAIRS * smallest(first + lane, last - 1)
        for r in loop(GOAL * N_CAPSULE_PAIRS):
            place[wide * r + lane] = line[r]
    shares = memory(arguments[PAIR_SHARES])
    for pair in loop(N_CAPSULE_PAIRS):
        given, asked = rows + (R_GIVEN + GOAL * pair), rows + (R_ASKED + ASKED * pair)
        gap = given[G_GAP]
        share = smallest(largest((APART - gap) * (1 / (APART - TOUCHING)), 0.0), 1.0)
        touch = share * share * share * (10.0 + share * (6.0 * share - 15.0))
        deep, clear = smallest(gap, -PRESSED), smallest(gap, TOUCHING + CLEARANCE)
        asked[AIM] = given[G_AIM]
        asked[WEIGHT] = touch * (settings[TOUCH_WEIGHT] * shares[pair])
        asked[LOW] = deep * touch + clear * (1.0 - touch)
        asked[KEEP] = rows.zero + settings[APART_WEIGHT] * shares[pair]


@function
def scatter_excess(rows, arguments, first, last):
    """Keep by how much flesh tells gaps too large, with the goals."""
    goals, wide = memory(arguments[GOALS]), rows.lanes
    place = (rows + R_GIVEN).numbers
    for lane in loop(smallest(last - first, wide)):
        line = goals + GOAL * N_CAPSULE_PAIRS * (first + lane)
        for pair in loop(N_CAPSULE_PAIRS):
            line[GOAL * pair + G_EXCESS] = place[wide * (GOAL * pair + G_EXCESS) + lane]


@function
def slopes(form, rows, finger, count, point, x, y, z, out):
    """How far a point (3 rows) goes along a direction by each of the first ``count`` angles of a finger."""
    for v in loop(count):
        axis = rows + (R_AXES + 3 * (9 * finger + form[ANGLE_OF + v]))
        centre = rows + (R_POINTS + 3 * (JOINTS_PER_FINGER * finger + form[JOINT_OF + v]))
        out[v] = dot(swept(axis, centre, point), (x, y, z))


@function
def spread(form, pair, own, pull, stiff, gradient, matrix):
    """Add one residual: its slopes by the angles of the first finger (with the other sign) and of the second one, at
    ``own``, times ``pull`` and ``stiff``."""
    per_finger = form[PER_FINGER]
    base, other_base = pair[N_FIRST_FINGER] * per_finger, pair[N_SECOND_FINGER] * per_finger
    count, other_count = form[FIRST_OF + pair[N_FIRST_JOINTS]], form[FIRST_OF + pair[N_SECOND_JOINTS]]
    second = own + _SECOND
    for u in loop(count):
        slope = own[u]
        gradient[base + u] = gradient[base + u] - pull * slope
        stiffness = stiff * slope
        row = element(base + u, base)
        for v in loop(u + 1):
            matrix[row + v] = matrix[row + v] + stiffness * own[v]
    for u in loop(other_count):
        slope = second[u]
        gradient[other_base + u] = gradient[other_base + u] + pull * slope
        stiffness = stiff * slope
        row = element(other_base + u, base)
        for v in loop(count):
            matrix[row + v] = matrix[row + v] - stiffness * own[v]
        row = element(other_base + u, other_base)
        for v in loop(u + 1):
            matrix[row + v] = matrix[row + v] + stiffness * second[v]


@function
def attach(rows, pair, given):
    """The places on both skins that met in the source, and the first one's outward direction, into `R_ATTACHED`."""
    out = rows + R_ATTACHED
    sides = (N_FIRST_END, N_FIRST_FRAME, N_FIRST_RADII), (N_SECOND_END, N_SECOND_FRAME, N_SECOND_RADII)
    for side, (end, frame, radii) in enumerate(sides):
        share, around = given[G_ALONG + side], vector(given + (G_AROUND + 3 * side))
        ends, own = rows + pair[end], rows + pair[radii]
        begin = vector(ends)
        outward = turned(rows + pair[frame], *around)
        place = beyond(begin, share, minus(vector(ends + 3), begin))
        put(out + 3 * side, *beyond(place, own[0] + share * own[1], outward))
        if side == 0:
            put(out + 6, *outward)


@function
def of_pair(form, settings, rows, pair, given, asked, out, derivatives):
    """Value of a pair; its derivatives are added to those at ``out``."""
    nearest(rows, pair)
    near, own = rows + R_NEAR, rows + R_SLOPES
    gradient, matrix = out + 1, out + (1 + form[PER_HAND])
    gap = near[GAP] - given[G_EXCESS]
    # Of the palm's capsules the nearest counts.
    weight = choose(near[GAP] <= rows[pair[N_LEAST]], asked[WEIGHT], 0.0)
    keep = asked[KEEP]
    opened, deep = largest(gap - asked[AIM], 0.0), largest(asked[LOW] - gap, 0.0)
    placed = weight * settings[PLACE_RATIO]
    length = root(opened * opened + NEARLY * NEARLY)
    misfit = Variable(opened * opened + 2.0 * EXACT * (length - NEARLY))
    attached = rows + R_ATTACHED
    touches = ~everywhere(weight <= 0.0)
    with when(touches):
        attach(rows, pair, given)
        outward = vector(attached + 6)
        apart = minus(vector(attached + 3), vector(attached))
        across = beyond(apart, -dot(apart, outward), outward)
        put(attached + 9, *across)
        misfit += placed * dot(across, across)
    limit = rows[R_GIVE] * rows[R_GIVE]
    left = limit / (misfit.value + limit)
    share = weight * left * left
    if derivatives:
        pull = share * (1.0 + EXACT / length) * opened - keep * deep
        stiff = choose(opened > 0.0, share * (1.0 + EXACT / length), 0.0) + choose(deep > 0.0, keep, 0.0)
        fingers = pair[N_FIRST_FINGER], pair[N_SECOND_FINGER]
        counts = form[FIRST_OF + pair[N_FIRST_JOINTS]], form[FIRST_OF + pair[N_SECOND_JOINTS]]
        with when(~everywhere(stiff <= 0.0)):
            for side, place in enumerate((FIRST_PLACE, SECOND_PLACE)):
                direction = vector(near + NORMAL)
                slopes(form, rows, fingers[side], counts[side], near + place, *direction, own + _SECOND * side)
            spread(form, pair, own, pull, stiff, gradient, matrix)
        with when(touches):
            outward, stiffness = vector(attached + 6), share * placed
            for c in range(3):
                direction = [-x * outward[c] for x in outward]
                direction[c] = direction[c] + 1.0
                for side in range(2):
                    slopes(form, rows, fingers[side], counts[side], attached + 3 * side, *direction,
                           own + _SECOND * side)  # fmt: skip
                spread(form, pair, own, stiffness * attached[9 + c], stiffness, gradient, matrix)
    return 0.5 * (weight * misfit.value * left + keep * deep * deep)


@function
def note_least(rows, table):
    """The least gap of the palm's capsules to each finger, as far as one of them might touch, into `R_LEAST`."""
    for finger in range(N_FINGERS + 1):
        rows[R_LEAST + finger] = 1e3
    for number in PALM_PAIRS:
        pair, asked = table + TABLE * number, rows + (R_ASKED + ASKED * number)
        with when(~everywhere(asked[WEIGHT] <= 0.0)):
            nearest(rows, pair)
            least = rows + pair[N_LEAST]
            least[0] = smallest(least[0], rows[R_NEAR + GAP])


@function
def touch_terms(form, settings, table, rows, out, derivatives):
    """Add what touches of flesh give to value, gradient and matrix, for the pose in ``rows``."""
    place_capsules(rows)
    note_least(rows, table)
    value = Variable(rows.zero)
    for number in loop(N_CAPSULE_PAIRS):
        pair = table + TABLE * number
        given, asked = rows + (R_GIVEN + GOAL * number), rows + (R_ASKED + ASKED * number)
        idle = (asked[WEIGHT] <= 0.0) & (least_gap(rows, pair) - given[G_EXCESS] >= asked[LOW])
        with when(~everywhere(idle)):
            value += of_pair(form, settings, rows, pair, given, asked, out, derivatives)
    out[0] = out[0] + value.value


@function
def asks(rows, table):
    """One where a touch is open or flesh too deep, with the gaps by skin, otherwise zero."""
    found = Variable(rows.zero)
    for number in loop(N_CAPSULE_PAIRS):
        asked, given = rows + (R_ASKED + ASKED * number), rows + (R_GIVEN + GOAL * number)
        gap = rows[R_PART_GAPS + (table + TABLE * number)[N_PART]] - given[G_EXCESS]
        opened, deep = (asked[WEIGHT] > 0.0) & (gap > asked[AIM]), (asked[KEEP] > 0.0) & (gap < asked[LOW])
        found.set(choose(opened | deep, 1.0, found.value))
    return found


@function
def note_nearest(rows, pair, given):
    """Where a pair of the source is nearest, into what is given for the target."""
    near = rows + R_NEAR
    given[G_GAP] = near[GAP]
    for side in range(2):
        given[G_ALONG + side] = near[ALONG + side]
    normal = vector(near + NORMAL)
    for side, (frame, sign) in enumerate(((N_FIRST_FRAME, 1.0), (N_SECOND_FRAME, -1.0))):
        m = rows + pair[frame]
        seen = (sign * (normal[0] * m[c] + normal[1] * m[3 + c] + normal[2] * m[6 + c]) for c in range(3))
        put(given + (G_AROUND + 3 * side), *seen)
