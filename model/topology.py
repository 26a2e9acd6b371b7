"""The 21 joints of a hand, once: order, tree, names, palm anchors and MANO's own order (mathematics §1, §4).

Hand order is the wrist followed by five fingers of four joints. The fourth joint of a finger is its tip, which
never rotates. "Finger joints" are the joints without the wrist, addressed as ``4 * finger + k``.
"""

from __future__ import annotations

DOMAINS = ("mixamo", "mano")
SIDES = ("right", "left")

FINGERS = ("middle", "ring", "pinky", "index", "thumb")
MIDDLE, RING, PINKY, INDEX, THUMB = range(5)

N_FINGERS = 5
JOINTS_PER_FINGER = 4
BONES_PER_FINGER = 3
"""Joints of a finger that rotate (the tip does not)."""
N_FINGER_JOINTS = N_FINGERS * JOINTS_PER_FINGER
N_JOINTS = 1 + N_FINGER_JOINTS
N_SHAPE = 10
"""Components of MANO's shape vector."""

WRIST = 0
ROOTS = tuple(1 + JOINTS_PER_FINGER * finger for finger in range(N_FINGERS))
TIPS = tuple(root + BONES_PER_FINGER for root in ROOTS)
PARENTS = tuple(-1 if j == 0 else (0 if j in ROOTS else j - 1) for j in range(N_JOINTS))

MANO_TIP_VERTICES = (333, 444, 672, 555, 744)
"""Vertices of MANO's mesh that stand for the tips of index, middle, pinky, ring and thumb."""
MANO_TO_HAND = (0, 4, 5, 6, 17, 10, 11, 12, 19, 7, 8, 9, 18, 1, 2, 3, 16, 13, 14, 15, 20)
"""For each joint in hand order, its row among MANO's 16 regressed joints and 5 tips."""
MANO_BONES = tuple(MANO_TO_HAND[1 + 4 * finger + k] for finger in range(N_FINGERS) for k in range(3))
"""For each of the 15 rotating joints in hand order, its number among MANO's 16 bones."""

PALM_ANCHORS = (
    *((root, 1 / 3) for root in ROOTS[:4]),
    *((root, 2 / 3) for root in ROOTS[:4]),
    (ROOTS[THUMB], 1 / 2),
)
"""(finger root, share of that root); the rest of the share is the wrist's."""
N_ANCHORS = len(PALM_ANCHORS)


def check_side(side: str) -> str:
    """Return ``side`` if it is ``"right"`` or ``"left"``; raise ValueError otherwise."""
    if side not in SIDES:
        raise ValueError(f"`side` must be one of {SIDES}; got {side!r}")
    return side


def hand_joint_names(domain: str, side: str) -> tuple[str, ...]:
    """Names of the 21 joints in hand order, without a Mixamo rig's prefix (mathematics §1).

    Args:
        domain: ``"mixamo"`` (``RightHand``, ``RightHandMiddle1``, …) or ``"mano"`` (``right_wrist``, …).
        side: ``"right"`` or ``"left"``.
    """
    check_side(side)
    numbers = range(1, JOINTS_PER_FINGER + 1)
    if domain == "mixamo":
        hand = f"{side.capitalize()}Hand"
        return (hand, *(f"{hand}{finger.capitalize()}{n}" for finger in FINGERS for n in numbers))
    if domain == "mano":
        return (f"{side}_wrist", *(f"{side}_{finger}{n}" for finger in FINGERS for n in numbers))
    raise ValueError(f"`domain` must be one of {DOMAINS}; got {domain!r}")
