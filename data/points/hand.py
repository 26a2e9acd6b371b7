"""From positions to a hand of its own bones: unit, side, palm and lengths, each found once for a whole motion."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from model.topology import INDEX, JOINTS_PER_FINGER, MIDDLE, N_FINGERS, N_JOINTS, PINKY, ROOTS, SIDES, THUMB, WRIST
from utils.errors import InputError
from utils.geometry import unit

PALM = 9.0
"""Centimetres from the wrist to the root of the middle finger, of a hand whose unit is not known."""
UNITS = {"centimetres": 1.0, "metres": 100.0, "millimetres": 0.1}
_SMALLEST, _LARGEST = 4.5, 16.0  # centimetres of a palm
CLEAR, CERTAIN = 0.06, 0.3
"""How much fingers must bend, as sines, before the way they bend tells the side; and before it overrules a name."""
THUMB_AT_REST = unit(np.array([-0.74, -0.47, 0.48]))
"""Direction of a right thumb beside a flat hand, in the frame of features."""
_PALM_JOINTS = [WRIST, *(ROOTS[finger] for finger in range(N_FINGERS))]
_WEIGHTS = np.array([1.0, 1, 1, 1, 1, 0.25])
"""Of the palm's joints, when it is laid on its points: a thumb's first joint is seen badly."""
_MIRROR = np.array([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class PointHand:
    """One hand of a motion of points, in the frames in which it was seen."""

    side: str
    offsets: np.ndarray
    """(21, 3) centimetres: bones of the hand at rest, in the frame of features: flat, fingers side by side."""
    wrist: np.ndarray
    """(F, 3, 3) how the palm is turned in space."""
    place: np.ndarray
    """(F, 3) where the wrist is, centimetres."""
    fingers: np.ndarray
    """(F, 5, 3, 3) centimetres: joints after the roots, from the wrist, in the palm's frame."""


def palm_of(points: np.ndarray) -> float:
    """Median distance from the wrist to the root of the middle finger, of points (F, 21, 3) in hand order."""
    return float(np.median(np.linalg.norm(points[:, ROOTS[MIDDLE]] - points[:, WRIST], axis=-1)))


def unit_of(points: np.ndarray) -> tuple[str, float]:
    """The unit of points (F, 21, 3) in hand order, and what makes it centimetres; "" for one that no hand has."""
    palm = palm_of(points)
    for name, factor in UNITS.items():
        if _SMALLEST <= palm * factor <= _LARGEST:
            return name, factor
    return "", PALM / palm


def is_of_image(points: np.ndarray) -> bool:
    """Whether points (F, 21, 3) are normalised image coordinates as MediaPipe writes them: x and y are shares of the
    image, z is counted from the wrist."""
    x, y, z = np.moveaxis(points, -1, 0)
    at_wrist = np.abs(z[:, WRIST]).max() < 1e-5
    inside = np.median(x) > 0 and np.median(x) < 1 and np.median(y) > 0 and np.median(y) < 1
    moves = np.abs(points[:, WRIST, :2]).max() > 0.02
    return bool(at_wrist and inside and moves and np.abs(points[..., :2]).max() < 2)


def of_one_size(points: np.ndarray) -> np.ndarray:
    """Points of an image, in which a hand is larger when it is nearer, with the same size in every frame."""
    bones = np.linalg.norm(np.diff(_chains(points), axis=2), axis=-1).reshape(len(points), -1)
    share = np.median(bones / np.median(bones, axis=0), axis=1)
    return points / share[:, None, None]


def bends(points: np.ndarray) -> float:
    """How the four fingers of points (F, 21, 3) bend, as sines: above 0 if this is a right hand, below if a left."""
    roots = points[:, ROOTS[INDEX]], points[:, ROOTS[PINKY]]
    index, pinky = (root - points[:, WRIST] for root in roots)
    across = unit(np.cross(np.cross(pinky, index), index + pinky))
    bones = unit(np.diff(_chains(points)[:, :THUMB], axis=2))
    turning = np.cross(bones[:, :, 0], bones[:, :, 1]) + np.cross(bones[:, :, 1], bones[:, :, 2])
    return float((turning @ across[:, :, None]).mean())


def side_of(points: np.ndarray, said: str | None) -> tuple[str, bool]:
    """The side of a hand, and whether its points are mirror images: they bend as those of the other side.

    Args:
        points: (F, 21, 3) in hand order.
        said: by the file or its user; None: nothing.

    Raises:
        InputError: nothing tells it.
    """
    bent = bends(points)
    if said is None and abs(bent) < CLEAR:
        raise InputError(
            "expected a file that says whose hand this is, or one whose fingers bend, found a flat hand without a "
            "side; give `hands` right or `hands` left"
        )
    seen = SIDES[0] if bent > 0 else SIDES[1]
    if said is None:
        return seen, False
    return said, seen != said and abs(bent) > CERTAIN


def fitted(points: np.ndarray, side: str) -> PointHand:
    """Lay one palm and bones of one length on points.

    Args:
        points: (F, 21, 3) centimetres, hand order, finite.
        side: of the hand.

    Raises:
        InputError: the palm has no plane.
    """
    right = points if side == "right" else points * _MIRROR
    turned = _palm_frames(right)
    seen = (right[:, _PALM_JOINTS] - right[:, :1]) @ turned
    palm = np.median(seen, axis=0)
    turned, place = _laid(palm, right[:, _PALM_JOINTS])
    fingers = (_chains(right) - place[:, None, None]) @ turned[:, None]
    lengths = np.median(np.linalg.norm(np.diff(_chains(points), axis=2), axis=-1), axis=0)
    along = unit(palm[1 + MIDDLE] * np.array([1.0, 0, 1]))
    ways = np.broadcast_to(along, (N_FINGERS, 3, 3)).copy()
    ways[THUMB] = THUMB_AT_REST
    offsets = np.zeros((N_JOINTS, 3))
    bones = offsets[1:].reshape(N_FINGERS, JOINTS_PER_FINGER, 3)
    bones[:, 0], bones[:, 1:] = palm[1:], lengths[..., None] * ways
    hand = PointHand("right", offsets, turned, place, fingers[:, :, 1:])
    return hand if side == "right" else _mirrored(hand)


def _mirrored(hand: PointHand) -> PointHand:
    """The left hand of a right one."""
    turn = hand.wrist * _MIRROR * _MIRROR[:, None]
    places = (hand.offsets * _MIRROR, hand.place * _MIRROR, hand.fingers * _MIRROR)
    return replace(hand, side="left", offsets=places[0], wrist=turn, place=places[1], fingers=places[2])


def _chains(points: np.ndarray) -> np.ndarray:
    """(F, 5, 4, 3) of (F, 21, 3)."""
    return points[:, 1:].reshape(-1, N_FINGERS, JOINTS_PER_FINGER, 3)


def _palm_frames(points: np.ndarray) -> np.ndarray:
    """(F, 3, 3): the frame of features, columns in space, of the palm of a right hand (mathematics §1)."""
    wrist = points[:, WRIST]
    index, pinky, middle = (points[:, ROOTS[finger]] - wrist for finger in (INDEX, PINKY, MIDDLE))
    normal = np.cross(pinky, index)
    size = np.linalg.norm(normal, axis=-1, keepdims=True)
    if np.median(size / (np.linalg.norm(index, axis=-1) * np.linalg.norm(pinky, axis=-1))[:, None]) < 1e-3:
        raise InputError("expected the knuckles to span a palm with the wrist, found them in one line")
    up = normal / np.maximum(size, 1e-300)
    along = -unit(middle - (middle * up).sum(-1, keepdims=True) * up)
    return np.stack([along, up, np.cross(along, up)], axis=-1)


def _laid(palm: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turns (F, 3, 3) and places (F, 3) that lay a palm (6, 3) nearest to points (F, 6, 3) (Kabsch)."""
    weights = (_WEIGHTS / _WEIGHTS.sum())[:, None]
    own, middle = (weights * palm).sum(0), (weights * points).sum(1)
    spread = np.swapaxes(points - middle[:, None], -1, -2) @ (weights * (palm - own))
    u, _, v = np.linalg.svd(spread)
    u[:, :, 2] *= np.sign(np.linalg.det(u @ v))[:, None]
    turned = u @ v
    return turned, middle - turned @ own
