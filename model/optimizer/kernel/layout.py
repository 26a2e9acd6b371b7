"""Where things lie in the memory that the compiled optimiser and Python share. Known to both, so free of numba."""

from __future__ import annotations

from model.flesh import N_CAPSULE_PAIRS, N_CAPSULES, N_PARTS
from model.skin import BONES as BONES_OF_SKIN
from model.skin import N_POINTS as SKIN_POINTS
from model.topology import BONES_PER_FINGER, N_ANCHORS, N_FINGER_JOINTS, N_FINGERS

N_POINTS = N_FINGER_JOINTS + N_ANCHORS
N_PAIRS = N_FINGER_JOINTS * N_POINTS
N_ANGLES = N_FINGERS * BONES_PER_FINGER * 3
LANES = 16
"""Frames that are worked on side by side."""
FEW = 4
"""The same for a stream, where one hand or two come at a time."""


def _places(*sizes: int) -> tuple[int, ...]:
    """Where areas of these sizes begin, and where the last one ends."""
    begins = [0]
    for size in sizes:
        begins.append(begins[-1] + size)
    return tuple(begins)


# -- a hand: what turns angles into joints ----------------------------------------------------------------------------
# Per rotating joint the frame's own turn against its parent's, per finger the tip's, per joint the bone in the frame
# of the joint before, per rotating joint the anatomical axes; lengths in palm lengths.
TURNS, TIPS, BONES, HAND_AXES, PALM, HAND = _places(135, 45, 60, 135, 1)

# -- a call: addresses, numbers of things, and then plain numbers -----------------------------------------------------
(
    FIRST,
    LAST,
    ITERATIONS,
    FORM,
    NUMBERS,
    HANDS,
    HAND_OF,
    FINGER,
    PALM_COORDS,
    SHARES,
    NEARNESS,
    TOUCHES,
    START,
    LIMITS,
    SEARCHED,
    ANGLES,
    LOCAL,
    FINGERS,
    JOINTS,
    WORK,
    BEGIN,
    END,
    SOURCES,
    MOTION,
    FLESHES,
    FLESH_OF,
    SKINS,
    GOALS,
    PAIRS,
    PAIR_SHARES,
    POINTS,
    FRAMES,
    COUPLED_STEPS,
    N_ARGUMENTS,
) = range(34)
"""int64 arguments. FIRST … LAST − 1: frames to solve; BEGIN … END − 1: those among them that are wanted, when frames
are tied to each other; SEARCHED: their angles so far, if any. SOURCES, MOTION: of a stream, the hands that move
(numbered as HANDS are) and their local rotations; SEARCHED: what was changed of their angles. FLESHES … PAIR_SHARES:
of touches, if any; SKINS: of the one hand that it is, if it has skin. POINTS, FRAMES: of a pose whose touches are
looked at."""

(
    SOFTENING,
    KEEP_NEAR,
    TOUCH_NEAR,
    TOUCH_FAR,
    TOLERANCE,
    SMOOTHNESS,
    TOUCH_WEIGHT,
    PLACE_RATIO,
    APART_WEIGHT,
    N_NUMBERS,
) = range(10)
"""float32 numbers of a call; behind them N_ANGLES weights of the pull to the start."""

PER_FINGER, PER_HAND, FIRST_OF, ANGLE_OF, JOINT_OF, UNKNOWNS, FORM_SIZE = 0, 1, 2, 6, 15, 24, 24 + N_ANGLES
"""int64 numbers that say which angles move: how many of a finger and in all; the first one of each joint; the angles
of a finger and their joints; all angles, by their place among N_ANGLES."""

# -- touches of flesh -------------------------------------------------------------------------------------------------
CAPSULE = 9
"""A capsule: its two ends in the frame of the joint that carries it, radius at the first, what it grows by to the
second, flatness."""
MARGIN = N_CAPSULES * CAPSULE
FLESH = MARGIN + 1
"""All capsules of a hand; of one that is looked at, by how much nearer the gaps of touches shall be on another."""
SKIN_POINT = 7 + len(BONES_OF_SKIN)
"""A point of skin: place, normal, half the distance to its neighbours, weights; then the bones' joints."""
G_GAP, G_AIM, G_ALONG, G_AROUND, G_EXCESS, GOAL = 0, 1, 2, 4, 10, 11
"""What a pair of capsules does in the source, the gap that counts as closed, and by how much flesh tells the target's
gap too large."""
(
    N_FIRST_END,
    N_SECOND_END,
    N_FIRST_FRAME,
    N_SECOND_FRAME,
    N_FIRST_RADII,
    N_SECOND_RADII,
    N_FIRST_FINGER,
    N_SECOND_FINGER,
    N_FIRST_JOINTS,
    N_SECOND_JOINTS,
    N_PART,
    N_OTHER_PART,
    N_LEAST,
    TABLE,
) = range(14)
"""int64 numbers of a pair of capsules: rows of their ends, frames and radii, the fingers and how many of their joints
move them, their place among pairs of parts, both ways, and the row of the least gap of a finger's palm capsules."""
ASKED = 4
_PARTS = N_PARTS * N_PARTS

# -- rows of a block of frames ----------------------------------------------------------------------------------------
_STATE = 1 + N_ANGLES + N_ANGLES * (N_ANGLES + 1) // 2
(
    R_HAND,
    R_POINTS,
    R_FRAMES,
    R_AXES,
    R_LEVERS,
    R_SEEN,
    R_PUSHED,
    R_SUMS,
    R_OTHERS,
    R_INNER,
    R_COORDS,
    R_WANTED,
    R_TOUCHES,
    R_ANGLES,
    R_TRIAL,
    R_START,
    R_LOW,
    R_HIGH,
    R_DAMPING,
    R_ACTIVE,
    R_FACTOR,
    R_STEP,
    R_FREE,
    R_STATE,
    R_OTHER_STATE,
    R_GIVE,
    R_FLESH,
    R_ENDS,
    R_PALM_FRAME,
    R_NEAR,
    R_LEAST,
    R_ATTACHED,
    R_SLOPES,
    R_GIVEN,
    R_ASKED,
    R_PART_GAPS,
    R_SKIN_GAPS,
    R_BONES,
    R_SKIN,
    ROWS,
) = _places(
    HAND,
    3 * N_POINTS,
    9 * N_FINGER_JOINTS,
    3 * N_ANGLES,
    9 * N_ANGLES,
    9 * 3 * N_POINTS,
    3 * N_POINTS,
    9 * N_POINTS,
    9 * N_FINGERS * BONES_PER_FINGER,
    9 * N_FINGERS * 3,
    3 * N_PAIRS,
    4 * N_PAIRS,
    4 * N_FINGERS * N_FINGERS,
    N_ANGLES,
    N_ANGLES,
    N_ANGLES,
    N_ANGLES,
    N_ANGLES,
    1,
    1,
    N_ANGLES * (N_ANGLES + 1) // 2,
    N_ANGLES,
    N_ANGLES,
    _STATE,
    _STATE,
    1,
    FLESH,
    6 * N_CAPSULES,
    9,
    12,
    N_FINGERS + 1,
    12,
    2 * 3 * BONES_PER_FINGER,
    GOAL * N_CAPSULE_PAIRS,
    ASKED * N_CAPSULE_PAIRS,
    _PARTS,
    _PARTS,
    12 * len(BONES_OF_SKIN),
    6 * SKIN_POINTS,
)


# -- frames of a sequence that are tied to each other -----------------------------------------------------------------
N_LINES = 7
"""Arrays (unknowns · frames) that the search for a common step needs."""
QUAD = 4
"""Numbers in double precision that are worked on side by side in its matrices."""


def tied_size(unknowns: int, frames: int) -> int:
    """Numbers in memory beside the rows of a block, for so many frames; see :mod:`model.optimizer.kernel.ties`."""
    blocks = -(-frames // LANES)
    lines = N_LINES * unknowns * (blocks + 2) * LANES
    matrices = blocks * LANES * unknowns * (unknowns + 1) // 2
    wide = -(-unknowns // QUAD) * QUAD
    return lines + matrices + 2 * (frames + 3) * wide * (2 * unknowns + 2)
