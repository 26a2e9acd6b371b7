"""Right or left: seen from the joints of a hand at rest, where names do not tell.

Fingers bend towards the palm, and the thumb leans to that side of it too. Seen from there with the fingers up, a right
hand has its thumb on the right, a left hand on the left.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.topology import BONES_PER_FINGER, FINGERS, INDEX, JOINTS_PER_FINGER, MIDDLE, PINKY, RING, ROOTS, THUMB

_ACROSS = (INDEX, MIDDLE, RING, PINKY)
SURE = 0.05
"""How far joints must lie on one side of the palm, in lengths of the palm, to tell its side."""


def side_of(heads: np.ndarray, indices: Sequence[int | None]) -> str | None:
    """The side of a hand, None if its joints do not tell.

    Args:
        heads: (J, 3) rest positions of a file's joints.
        indices: numbers of the 21 joints in hand order, None where there is none.
    """
    lean = palm_lean(heads, indices)
    if lean is None or abs(lean) < SURE:
        return None
    return "right" if lean > 0 else "left"


def palm_lean(heads: np.ndarray, indices: Sequence[int | None]) -> float | None:
    """How far fingers and thumb lie on the side of the palm that is a right hand's, in lengths of the palm; negative:
    a left hand's. None if the hand has no palm to measure."""
    heads = np.asarray(heads, dtype=np.float64)
    fingers = [_joints(heads, indices, finger) for finger in range(len(FINGERS))]
    across = [fingers[finger][0] for finger in _ACROSS if len(fingers[finger])]
    if indices[0] is None or len(across) < 2:
        return None
    wrist = heads[indices[0]]
    ahead = np.mean(across, axis=0) - wrist
    normal = np.cross(across[0] - across[-1], ahead)
    length, size = float(np.linalg.norm(ahead)), float(np.linalg.norm(normal))
    if size < 1e-6 * length**2 or length < 1e-12:
        return None
    normal /= size * length
    curls = [_curl(fingers[finger]) @ normal for finger in _ACROSS if len(fingers[finger]) > BONES_PER_FINGER - 1]
    thumb = [(joint - wrist) @ normal for joint in fingers[THUMB][1:]]
    return float((np.mean(curls) if curls else 0.0) + (np.mean(thumb) if thumb else 0.0))


def _joints(heads: np.ndarray, indices: Sequence[int | None], finger: int) -> np.ndarray:
    """(n, 3) joints of a finger that the file has, from the palm outwards."""
    places = indices[ROOTS[finger] : ROOTS[finger] + JOINTS_PER_FINGER]
    return heads[[place for place in places if place is not None]]


def _curl(joints: np.ndarray) -> np.ndarray:
    """How far the end of a finger lies off the line of its first bone."""
    first, whole = joints[1] - joints[0], joints[-1] - joints[0]
    return whole - first * (whole @ first) / max(float(first @ first), 1e-30)
