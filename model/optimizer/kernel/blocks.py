"""The compiled optimiser's entry points: what they are called with, block by block of frames."""

from __future__ import annotations

from model.flesh import N_CAPSULE_PAIRS
from model.optimizer.kernel.flesh import asks, gather_flesh, gather_goals, scatter_excess, touch_terms
from model.optimizer.kernel.geometry import pose, put
from model.optimizer.kernel.layout import (
    ANGLES,
    FINGER,
    FINGERS,
    FIRST,
    FORM,
    FRAMES,
    GOAL,
    GOALS,
    HAND,
    HAND_AXES,
    HAND_OF,
    HANDS,
    ITERATIONS,
    JOINTS,
    KEEP_NEAR,
    LAST,
    LIMITS,
    LOCAL,
    N_ANGLES,
    N_PAIRS,
    N_POINTS,
    NEARNESS,
    NUMBERS,
    PAIRS,
    PALM,
    PALM_COORDS,
    PER_HAND,
    POINTS,
    R_ACTIVE,
    R_ANGLES,
    R_AXES,
    R_COORDS,
    R_DAMPING,
    R_FRAMES,
    R_GIVE,
    R_GIVEN,
    R_HAND,
    R_HIGH,
    R_LOW,
    R_OTHER_STATE,
    R_POINTS,
    R_START,
    R_STATE,
    R_TOUCHES,
    R_TRIAL,
    R_WANTED,
    SEARCHED,
    SHARES,
    SKINS,
    SOFTENING,
    START,
    TOLERANCE,
    TOUCH_FAR,
    TOUCH_NEAR,
    TOUCHES,
    UNKNOWNS,
)
from model.optimizer.kernel.skin import flesh_gaps, look, look_at_source
from model.optimizer.kernel.step import objective, propose
from model.optimizer.kernel.terms import evaluate
from model.optimizer.touches import GIVES, STAGES
from model.topology import JOINTS_PER_FINGER, N_FINGER_JOINTS, N_FINGERS
from utils.vectors import (
    INTEGER,
    Variable,
    choose,
    everywhere,
    function,
    inverse_root,
    largest,
    leave,
    loop,
    memory,
    smallest,
    when,
)

DAMPING = 1e-3  # share of a diagonal element that is added to it at first
LOWEST_DAMPING, HIGHEST_DAMPING = 1e-5, 1e3
LEAST_SOFT = 0.1


@function
def gather(rows, given, first, last, count):
    """Rows ``count`` of a block from the numbers ``given`` (frames · count); frames beyond the last repeat it."""
    wide = rows.lanes
    place = rows.numbers
    for lane in loop(wide):
        line = given + count * smallest(first + lane, last - 1)
        for r in loop(count):
            place[wide * r + lane] = line[r]


@function
def scatter(rows, given, first, last, count):
    """The inverse of :func:`gather`."""
    wide = rows.lanes
    place = rows.numbers
    for lane in loop(smallest(last - first, wide)):
        line = given + count * (first + lane)
        for r in loop(count):
            line[r] = place[wide * r + lane]


@function
def gather_hands(rows, arguments, first, last, which=HANDS):
    """Each frame's own hand."""
    hands, of = memory(arguments[which]), memory(arguments[HAND_OF], INTEGER)
    wide = rows.lanes
    place = (rows + R_HAND).numbers
    for lane in loop(wide):
        number = Variable(first * 0)
        with when(arguments[HAND_OF] != 0):
            number.set(of[smallest(first + lane, last - 1)])
        line = hands + HAND * number.value
        for r in loop(HAND):
            place[wide * r + lane] = line[r]


def softened(x, y, z, soft, keep_near):
    """A direction, and the share of one that its length is."""
    squared = x * x + y * y + z * z
    exact = inverse_root(largest(squared, 1e-24))
    inverse = choose(keep_near, inverse_root(squared + soft), exact)
    return x * inverse, y * inverse, z * inverse, squared * exact * inverse


@function
def gather_wanted(rows, arguments, settings, first, last):
    """What is wanted, from the source's semantic matrix."""
    coords = rows + R_COORDS
    finger, palm = memory(arguments[FINGER]), memory(arguments[PALM_COORDS])
    n_palm = N_POINTS - N_FINGER_JOINTS
    for i in loop(N_FINGER_JOINTS):
        of_joint = coords + 3 * N_POINTS * i
        gather_part(of_joint, finger, first, last, N_FINGER_JOINTS * N_FINGER_JOINTS * 3, 60 * i, 60)
        gather_part(of_joint + 60, palm, first, last, N_FINGER_JOINTS * n_palm * 3, 3 * n_palm * i, 3 * n_palm)
    want(rows, arguments, settings, first, last)


@function
def want(rows, arguments, settings, first, last):
    """Directions and weights of the pairs and distances of the fingertips, from the places of the source's points."""
    coords, wanted = rows + R_COORDS, rows + R_WANTED
    shares, nearness = memory(arguments[SHARES]), memory(arguments[NEARNESS])
    soft = settings[SOFTENING] * settings[SOFTENING]
    keep_near = settings[KEEP_NEAR] > 0.0
    wide = rows.lanes
    for pair in loop(N_PAIRS):
        goal = wanted + 4 * pair
        for c in range(4):
            goal[c] = 0.0
        with when(shares[pair] > 0.0):  # others may hold anything, NaN too
            c = coords + 3 * pair
            x, y, z, share = softened(c[0], c[1], c[2], soft, keep_near)
            put(goal, x, y, z)
            # The weights make up for the softening, so that every pair's cosine counts as much as in the metrics.
            goal[3] = shares[pair] / choose(share > 0.0, largest(share, LEAST_SOFT), 1.0)
            with when((arguments[NEARNESS] != 0) & (pair % N_POINTS < N_FINGER_JOINTS)):
                place = (goal + 3).numbers
                near = nearness + (N_FINGER_JOINTS * (pair // N_POINTS) + pair % N_POINTS)
                for lane in loop(wide):
                    frame = smallest(first + lane, last - 1)
                    place[lane] = place[lane] * near[N_FINGER_JOINTS * N_FINGER_JOINTS * frame]
    with when(arguments[TOUCHES] != 0):
        gather_touches(coords, rows + R_TOUCHES, memory(arguments[TOUCHES]), settings)


@function
def gather_touches(coords, touching, weights, settings):
    """Where the source's fingertips see each other, and how much that counts."""
    near, far = settings[TOUCH_NEAR], settings[TOUCH_FAR]
    for f in loop(N_FINGERS):
        for g in loop(N_FINGERS):
            goal, weight = touching + 4 * (N_FINGERS * f + g), weights[N_FINGERS * f + g]
            for c in range(4):
                goal[c] = 0.0
            with when(weight > 0.0):
                c = coords + 3 * ((JOINTS_PER_FINGER * f + 3) * N_POINTS + JOINTS_PER_FINGER * g + 3)
                put(goal, c[0], c[1], c[2])
                squared = c[0] * c[0] + c[1] * c[1] + c[2] * c[2]
                distance = squared * inverse_root(largest(squared, 1e-24))
                t = smallest(largest((far - distance) / (far - near), 0.0), 1.0)
                goal[3] = weight * t * t * t * (10.0 + t * (6.0 * t - 15.0))


@function
def gather_part(rows, given, first, last, size, begin, count):
    """Rows from a part of the numbers of each frame, of which there are ``size``."""
    wide = rows.lanes
    place = rows.numbers
    for lane in loop(wide):
        line = given + (size * smallest(first + lane, last - 1) + begin)
        for r in loop(count):
            place[wide * r + lane] = line[r]


@function
def gather_angles(rows, arguments, first, last):
    """Start, and limits that hold it: it is within them, or may keep what it has beyond them."""
    start, limits = rows + R_START, memory(arguments[LIMITS])
    gather(start, memory(arguments[START]), first, last, N_ANGLES)
    for a in loop(N_ANGLES):
        rows[R_LOW + a] = smallest(start[a], limits[a])
        rows[R_HIGH + a] = largest(start[a], limits[N_ANGLES + a])


def evaluated(form, settings, arguments, rows, angles, state, flesh, derivatives):
    """Value of these angles, with touches of flesh if they count, and its derivatives."""
    contacts = arguments[TOUCHES] != 0
    evaluate(form, rows + R_HAND, angles, rows, state, settings[SOFTENING], contacts, derivatives)
    if flesh:
        touch_terms(form, settings, memory(arguments[PAIRS], INTEGER), rows, state, derivatives)


@function
def descend(form, settings, arguments, rows, iterations, flesh):
    """Levenberg–Marquardt steps from the angles as they are, each active frame until its own steps are short."""
    count = form[PER_HAND]
    angles, trial = rows + R_ANGLES, rows + R_TRIAL
    state, other = Variable(rows + R_STATE), Variable(rows + R_OTHER_STATE)
    rows[R_DAMPING] = DAMPING
    for a in loop(N_ANGLES):
        trial[a] = angles[a]
    with when(iterations > 0):
        evaluated(form, settings, arguments, rows, angles, state.value, flesh, True)
    for iteration in loop(iterations):
        longest = propose(form, settings, rows, state, trial)
        final = iteration == iterations - 1
        with when(final):  # nothing follows that needs the derivatives
            evaluated(form, settings, arguments, rows, trial, other.value, flesh, False)
        with when(~final):
            evaluated(form, settings, arguments, rows, trial, other.value, flesh, True)
        active, damping = rows[R_ACTIVE], rows[R_DAMPING]
        before = objective(form, settings, rows, state.value[0], angles)
        after = objective(form, settings, rows, other.value[0], trial)
        better = (after <= before) & (active > 0.0)
        damping = choose(better, damping * 0.25, damping * 8.0)
        rows[R_DAMPING] = smallest(largest(damping, LOWEST_DAMPING), HIGHEST_DAMPING)
        for i in loop(count):
            a = form[UNKNOWNS + i]
            angles[a] = choose(better, trial[a], angles[a])
            trial[a] = angles[a]
        active = choose(longest < settings[TOLERANCE], 0.0, active)
        rows[R_ACTIVE] = active
        leave(final | everywhere(active <= 0.0))
        new, old = other.value, state.value
        every = everywhere(better)
        with when(every):
            state.set(new)
            other.set(old)
        with when(~every):
            for r in loop(1 + count + count * (count + 1) // 2):
                old[r] = choose(better, new[r], old[r])


@function
def see_flesh(arguments, rows):
    """Pose the hand, and see by its skin how wrong flesh is."""
    pose(rows + R_HAND, rows + R_ANGLES, rows + R_POINTS, rows + R_FRAMES, rows + R_AXES)
    with when(arguments[SKINS] != 0):
        look(rows, memory(arguments[PAIRS], INTEGER), memory(arguments[SKINS]))
    with when(arguments[SKINS] == 0):
        flesh_gaps(rows, memory(arguments[PAIRS], INTEGER), False)


@function
def close_touches(form, settings, arguments, rows, first, last):
    """Steps that close touches in stages, after each of which skin says how wrong flesh was; of frames that ask for
    it."""
    gather_flesh(rows, arguments, first, last)
    gather_goals(rows, arguments, settings, first, last)
    see_flesh(arguments, rows)
    rows[R_ACTIVE] = asks(rows, memory(arguments[PAIRS], INTEGER))
    busy = Variable(rows[R_ACTIVE])
    with when(~everywhere(busy.value <= 0.0)):
        for number, (give, steps) in enumerate(zip(GIVES, STAGES, strict=True)):
            rows[R_GIVE] = give
            if number:
                see_flesh(arguments, rows)
                rows[R_ACTIVE] = busy.value
            descend(form, settings, arguments, rows, first * 0 + steps, True)
        see_flesh(arguments, rows)
    scatter_excess(rows, arguments, first, last)


@function
def put_pose(rows, arguments, first, last):
    """The final pose: rotations of the joints against their parents' and the wrist's, and their positions."""
    hand, points, frames = rows + R_HAND, rows + R_POINTS, rows + R_FRAMES
    pose(hand, rows + R_ANGLES, points, frames, rows + R_AXES)
    scatter(rows + R_ANGLES, memory(arguments[ANGLES]), first, last, N_ANGLES)
    with when(arguments[LOCAL] != 0):
        put_rotations(rows, arguments, first, last)


@function
def put_rotations(rows, arguments, first, last):
    """Rotations of the joints against their parents' and the wrist's, and where the joints are."""
    hand, points, frames = rows + R_HAND, rows + R_POINTS, rows + R_FRAMES
    local, turned = rows + R_WANTED, rows + (R_WANTED + 3 * N_ANGLES)
    for f in loop(N_FINGERS):
        for k in range(3):
            joint = 3 * f + k
            own, m, axes = turned + 9 * joint, frames + 9 * (JOINTS_PER_FINGER * f + k), hand + (HAND_AXES + 9 * joint)
            for r in range(3):
                for c in range(3):
                    own[3 * r + c] = m[3 * r] * axes[c] + m[3 * r + 1] * axes[3 + c] + m[3 * r + 2] * axes[6 + c]
            for r in range(3):
                for c in range(3):
                    value = own[3 * r + c]
                    if k > 0:
                        above = own + -9
                        value = above[r] * own[c] + above[3 + r] * own[3 + c] + above[6 + r] * own[6 + c]
                    local[9 * joint + 3 * r + c] = value
    palm = hand[PALM]
    joints = rows + (R_WANTED + 6 * N_ANGLES)
    put(joints, 0.0, 0.0, 0.0)
    for c in loop(3 * N_FINGER_JOINTS):
        joints[c + 3] = points[c] * palm
    scatter(local, memory(arguments[LOCAL]), first, last, 3 * N_ANGLES)
    scatter(turned, memory(arguments[FINGERS]), first, last, 3 * N_ANGLES)
    scatter(joints, memory(arguments[JOINTS]), first, last, 3 + 3 * N_FINGER_JOINTS)


def search(rows, arguments):
    """Solve frames first … last − 1, from where they were searched before, and give their poses if asked for."""
    form, settings = memory(arguments[FORM], INTEGER), memory(arguments[NUMBERS])
    last = arguments[LAST]
    for first in loop(arguments[FIRST], last, rows.lanes):
        gather_hands(rows, arguments, first, last)
        gather_wanted(rows, arguments, settings, first, last)
        gather_angles(rows, arguments, first, last)
        for a in loop(N_ANGLES):
            rows[R_ANGLES + a] = rows[R_START + a]
        with when(arguments[SEARCHED] != 0):
            gather(rows + R_ANGLES, memory(arguments[SEARCHED]), first, last, N_ANGLES)
        rows[R_ACTIVE] = 1.0
        descend(form, settings, arguments, rows, arguments[ITERATIONS], False)
        with when(arguments[GOALS] != 0):
            close_touches(form, settings, arguments, rows, first, last)
        put_pose(rows, arguments, first, last)


def touched(rows, arguments):
    """Gaps of flesh, or of skin where there is some, of poses first … last − 1, and where they are, into GOALS."""
    last, table = arguments[LAST], memory(arguments[PAIRS], INTEGER)
    for first in loop(arguments[FIRST], last, rows.lanes):
        gather_hands(rows, arguments, first, last)
        gather_flesh(rows, arguments, first, last)
        gather(rows + R_POINTS, memory(arguments[POINTS]), first, last, 3 * N_FINGER_JOINTS)
        gather(rows + R_FRAMES, memory(arguments[FRAMES]), first, last, 9 * N_FINGER_JOINTS)
        look_at_source(rows, table, memory(arguments[SKINS]), arguments[SKINS] != 0)
        scatter(rows + R_GIVEN, memory(arguments[GOALS]), first, last, GOAL * N_CAPSULE_PAIRS)
