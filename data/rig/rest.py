"""A hand at rest, out of a skeleton and its skin: its 21 joints, which of them exist, and the turn into the frame that
features expect (mathematics §1). Lengths in the skeleton's unit.

What a file lacks is made up here, once and for all: a tip, a third bone, whole fingers. Networks want a whole hand,
but `RestHand.present` masks in every number what the hand does not have, and nothing is written for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.formats.skeleton import SHARE, Skeleton, Skin, bone_end
from data.rig.hand_map import HandMap
from model.topology import (
    INDEX,
    JOINTS_PER_FINGER,
    MIDDLE,
    N_FINGERS,
    N_JOINTS,
    PARENTS,
    PINKY,
    RING,
    ROOTS,
    THUMB,
    TIPS,
    WRIST,
)
from utils.errors import InputError

ALLOWED_TURN = np.radians(15)
"""A hand that is nearer to the convention than this is left exactly as it is."""
_ACROSS = (INDEX, MIDDLE, RING, PINKY)
"""The four fingers in the order in which they stand side by side."""
_ABOVE = [max(parent, WRIST) for parent in PARENTS]
_DONOR_SHARE, _ROOT_SHARE = 0.85, 0.3
"""Lengths of a finger that is made up, in those of its neighbour; of one that is a root alone, in the palm's."""
_SAME = 1e-6


@dataclass(frozen=True)
class RestHand:
    """One hand of a character at rest."""

    side: str
    """``"right"`` or ``"left"``."""
    positions: np.ndarray
    """(21, 3) float64 in the character's frame, without gaps."""
    present: np.ndarray
    """(21,) bool, which joints the hand has. It has the tip of every finger that it has."""
    made_up: np.ndarray
    """(21,) bool, of which joints nothing in the file tells the place: those that the hand does not have, and tips of
    which neither tail nor skin tell where they are."""
    turn: np.ndarray
    """(3, 3) C: turns the character's frame into the one that features expect; exactly the identity where the hand
    follows the convention already."""

    @property
    def complete(self) -> bool:
        """All 21 joints exist."""
        return bool(self.present.all())

    @property
    def offsets(self) -> np.ndarray:
        """(21, 3) each joint's position less that of the nearest joint above it that exists, in the frame of features;
        zero for the wrist and for joints that do not exist."""
        offsets = np.zeros((N_JOINTS, 3))
        for joint in range(1, N_JOINTS):
            if self.present[joint]:
                above = PARENTS[joint]
                while not self.present[above]:
                    above = PARENTS[above]
                offsets[joint] = self.positions[joint] - self.positions[above]
        return turned(offsets, self.turn)

    @property
    def joints(self) -> np.ndarray:
        """(21, 3) positions from the wrist, without gaps, in the frame of features."""
        return turned(self.positions - self.positions[WRIST], self.turn)

    @property
    def whole_offsets(self) -> np.ndarray:
        """(21, 3) each joint less the one above it, without gaps, in the frame of features; zero for the wrist."""
        return self.joints - self.joints[_ABOVE]


def rest_hand(hand: HandMap, skeleton: Skeleton, skin: Skin | None = None, source: str = "") -> RestHand:
    """Put a hand at rest together.

    A tip without a joint of its own is where its finger's last bone ends (`data.formats.skeleton.bone_end`): at the
    bone's tail or a joint that hangs on it, else at the end of the skin that it carries; if nothing tells, 0.85 of the
    bone before further on. Joints that a short finger lacks lie evenly between its last one and its tip; fingers that
    the hand lacks, beside their neighbour, a little shorter.

    Args:
        hand: which joints of the skeleton it consists of.
        skeleton: of the character.
        skin: the character's, if it has any.
        source: the file, for the error message.

    Raises:
        InputError: the finger roots lie in one line with the wrist, so that the palm has no plane.
    """
    listed = np.array([index is not None for index in hand.indices])
    positions = np.zeros((N_JOINTS, 3))
    positions[listed] = skeleton.heads[hand.in_file(hand.listed)]
    present, made_up = np.array(hand.present), ~listed
    for finger, (root, tip) in enumerate(zip(ROOTS, TIPS, strict=True)):
        if not present[root]:
            continue
        last = hand.last_bone(finger)
        if not listed[tip] or np.linalg.norm(positions[tip] - positions[last]) < _SAME:
            (bone,) = hand.in_file([last])
            end = bone_end(skeleton, bone, skin)
            made_up[tip] = end is None
            if end is None:
                before, share = (last - 1, SHARE) if last > root else (WRIST, _ROOT_SHARE)
                end = positions[last] + share * (positions[last] - positions[before])
            positions[tip] = end
        steps = np.arange(1, tip - last)[:, None] / (tip - last)
        positions[last + 1 : tip] = positions[last] + steps * (positions[tip] - positions[last])
    turn = canonical_turn(positions, present, hand.side, source)
    positions[1:] = np.where(
        np.repeat(present[list(ROOTS)], JOINTS_PER_FINGER)[:, None], positions[1:], _beside(positions, present)
    )
    return RestHand(hand.side, positions, present, made_up, turn)


def _beside(positions: np.ndarray, present: np.ndarray) -> np.ndarray:
    """(20, 3) finger joints with places for the fingers that the hand does not have: beside their neighbour."""
    fingers = (positions - positions[WRIST])[1:].reshape(N_FINGERS, JOINTS_PER_FINGER, 3)
    known = [finger for finger in _ACROSS if present[ROOTS[finger]]]
    for finger in _ACROSS:
        if finger in known:
            continue
        donor, other = sorted(known, key=lambda each: abs(_ACROSS.index(each) - _ACROSS.index(finger)))[:2]
        steps = _ACROSS.index(finger) - _ACROSS.index(donor)
        across = (fingers[other, 0] - fingers[donor, 0]) / (_ACROSS.index(other) - _ACROSS.index(donor))
        fingers[finger] = fingers[donor, 0] + steps * across + _DONOR_SHARE * (fingers[donor] - fingers[donor, 0])
    if not present[ROOTS[THUMB]]:
        forward, across = fingers[MIDDLE, 0], fingers[INDEX, 0] - fingers[PINKY, 0]
        way = 0.25 * forward + 0.6 * across
        fingers[THUMB] = 0.25 * forward + 0.35 * across + np.arange(JOINTS_PER_FINGER)[:, None] * 0.6 * way
    return fingers.reshape(-1, 3) + positions[WRIST]


def donor_finger(finger: int, present: np.ndarray) -> int | None:
    """Whose motion a missing finger would follow: its nearest neighbour that the hand has; None for a thumb."""
    if finger == THUMB:
        return None
    known = [each for each in _ACROSS if present[ROOTS[each]]]
    return min(known, key=lambda each: abs(_ACROSS.index(each) - _ACROSS.index(finger)))


def canonical_turn(positions: np.ndarray, present: np.ndarray, side: str, source: str = "") -> np.ndarray:
    """(3, 3) rotation C that brings a hand at rest into the frame of mathematics §1, the identity within 15° of it.

    There, the direction from the wrist to the middle finger's root is −x for a right hand and +x for a left one, and
    the back of the hand is +y. The palm's plane goes through the wrist and the outermost fingers' roots.

    Args:
        positions: (21, 3); present: (21,) bool.
        side: ``"right"`` or ``"left"``.
        source: the file, for the error message.

    Raises:
        InputError: the palm has no plane.
    """
    fingers = [finger for finger in (INDEX, MIDDLE, RING, PINKY) if present[ROOTS[finger]]]
    inner, outer = (positions[ROOTS[finger]] - positions[WRIST] for finger in (fingers[0], fingers[-1]))
    # Without a middle finger, the middle between the outermost ones.
    forward = inner + outer if MIDDLE not in fingers else positions[ROOTS[MIDDLE]] - positions[WRIST]
    normal = np.cross(inner, outer) * (-1 if side == "right" else 1)
    size = np.linalg.norm(normal)
    if size <= 1e-9 * max(np.linalg.norm(inner) * np.linalg.norm(outer), np.finfo(float).tiny):
        raise InputError(
            f"{source or 'hand'}: expected the roots of the {side} hand's fingers to span a palm with the wrist, "
            f"found them in one line; check the rest pose, or name the right joints with `rig_map`"
        )
    up = normal / size
    along = forward - (forward @ up) * up
    along = along / np.linalg.norm(along)
    own = np.stack([along, up, np.cross(along, up)], axis=1)
    sign = -1.0 if side == "right" else 1.0
    turn = np.diag([sign, 1.0, sign]) @ own.T
    angle = np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))
    return np.eye(3) if angle <= ALLOWED_TURN else turn


def turned(vectors: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """``vectors (..., 3)`` turned by C; untouched where C is the identity."""
    return vectors if np.array_equal(turn, np.eye(3)) else (vectors @ turn.T).astype(vectors.dtype)
