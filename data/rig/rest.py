"""A hand at rest, out of a character's skeleton: its 21 joints, which of them exist, and the turn into the frame that
features expect (mathematics §1). Lengths in the skeleton's unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.rig.hand_map import HandMap
from model.topology import INDEX, MIDDLE, N_JOINTS, PARENTS, PINKY, RING, ROOTS, TIPS, WRIST
from utils.errors import InputError

ALLOWED_TURN = np.radians(15)
"""A hand that is nearer to the convention than this is left exactly as it is."""
_OWN_SHARE = 0.5
"""A vertex belongs to the bone that has at least this share of it."""
_NEAR_THE_END = 0.9
"""Vertices beyond this share of the farthest one's distance make up the fingertip."""


@dataclass(frozen=True)
class RestHand:
    """One hand of a character at rest."""

    positions: np.ndarray
    """(21, 3) float64 in the character's frame; joints that do not exist lie at the wrist."""
    present: np.ndarray
    """(21,) bool, which joints exist."""
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


def rest_hand(
    hand: HandMap,
    heads: np.ndarray,
    tails: np.ndarray | None = None,
    vertices: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    source: str = "",
) -> RestHand:
    """Put a hand at rest together.

    A tip without a joint of its own is where its finger's last bone ends: at the bone's tail, else at the farthest
    skin that the bone carries. If neither is known, the tip is missing.

    Args:
        hand: which joints of the skeleton it consists of.
        heads: (J, 3) joint positions.
        tails: (J, 3) where each bone ends, as far as known (NaN: not known).
        vertices: (V, 3) skin.
        weights: (V, J) skinning weights.
        source: the file, for the error message.

    Raises:
        InputError: the finger roots lie in one line with the wrist, so that the palm has no plane.
    """
    positions = np.zeros((N_JOINTS, 3))
    present = np.array(hand.present)
    for joint, index in enumerate(hand.indices):
        if index is not None:
            positions[joint] = heads[index]
    for finger, tip in enumerate(TIPS):
        if hand.indices[tip] is None and present[tip]:
            last = hand.last_bone(finger)
            bone = hand.indices[last]
            end = None if tails is None or not np.isfinite(tails[bone]).all() else tails[bone]
            if end is None and vertices is not None and weights is not None:
                end = _end_of_skin(heads[bone], vertices, weights[:, bone])
            present[tip] = end is not None and not np.allclose(end, heads[bone])
            if present[tip]:
                positions[tip] = end
    positions[~present] = positions[WRIST]
    return RestHand(positions, present, canonical_turn(positions, present, hand.side, source))


def _end_of_skin(head: np.ndarray, vertices: np.ndarray, weights: np.ndarray) -> np.ndarray | None:
    """The end of the skin that a bone carries: as far from its head as its farthest vertex."""
    reach = np.linalg.norm(vertices[weights >= _OWN_SHARE] - head, axis=1)
    if reach.size == 0 or reach.max() <= 0:
        return None
    far = vertices[weights >= _OWN_SHARE][reach >= _NEAR_THE_END * reach.max()]
    direction = (far - head).mean(axis=0)
    length = np.linalg.norm(direction)
    return None if length == 0 else head + direction / length * reach.max()


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
            f"found them in one line; check the rest pose, or name the right joints with --rig_map"
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
