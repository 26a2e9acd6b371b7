"""The hand at rest that axes are estimated for: joints, mesh and bone axes of a character's hand
(`data.character.character.CharacterHand.bare`) or of a MANO hand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from pytorch3d.transforms import axis_angle_to_matrix

from data.rig.surface import HandSurface
from model.hands import PosedHand, ShapedHand, offset_hand
from model.kinematics import tbs_from_angles
from model.mano import ManoHand
from model.skinning import skin_hand
from model.topology import (
    BONES_PER_FINGER,
    INDEX,
    JOINTS_PER_FINGER,
    MANO_BONES,
    MIDDLE,
    N_FINGERS,
    N_JOINTS,
    N_SHAPE,
    PARENTS,
    PINKY,
    RING,
    THUMB,
    WRIST,
)
from utils.errors import InputError

_ACROSS = (INDEX, MIDDLE, RING, PINKY)
"""The four fingers in the order in which they stand side by side."""
_SHORTEST = 1e-5
"""A bone shorter than this (of the hand's size) has no direction of its own."""


@dataclass(frozen=True)
class BareHand:
    """One hand at rest that has no axes yet. Lengths in the unit of its file, right-handed; missing joints NaN."""

    name: str
    side: str
    joints: np.ndarray
    """(21, 3) float64 rest positions."""
    whole: np.ndarray
    """(21, 3) the same with places for the missing ones (`data.rig.rest`)."""
    vertices: np.ndarray
    """(V, 3) float64 of the whole mesh."""
    faces: np.ndarray
    """(F, 3) faces of which every vertex follows the hand (mathematics §7)."""
    weights: np.ndarray
    """(V, 21) skinning weights of the hand's joints, as the file has them."""
    skin: HandSurface
    """The hand's own mesh, for pictures (mathematics §8); its joints are without gaps."""
    bone_axes: np.ndarray | None = None
    """(21, 3, 3), rows: the rig's own x, y, z axes of each bone at rest; NaN for a missing joint."""

    @cached_property
    def fingers(self) -> np.ndarray:
        """(5, 4, 3) positions of the finger joints."""
        return self.joints[1:].reshape(N_FINGERS, JOINTS_PER_FINGER, 3)

    @cached_property
    def present(self) -> np.ndarray:
        """(5,) bool: fingers of two joints or more; the others have no axes."""
        return np.all(np.isfinite(self.fingers[:, :2]), axis=(1, 2))

    @cached_property
    def last_joints(self) -> np.ndarray:
        """(5, 3) where the last bone of each finger begins: its third joint, or the second of a short finger."""
        return np.where(np.isfinite(self.fingers[:, 2]), self.fingers[:, 2], self.fingers[:, 1])

    @cached_property
    def bones(self) -> np.ndarray:
        """(5, 3, 3) unit directions of the three bones of each finger, made up for those that the hand does not have.

        A bone of no length goes on as the one before it does.
        """
        fingers = self.whole[1:].reshape(N_FINGERS, JOINTS_PER_FINGER, 3)
        steps = np.diff(fingers, axis=1)
        before = fingers[:, 0] - self.whole[WRIST]
        for k in range(BONES_PER_FINGER):
            flat = np.linalg.norm(steps[:, k], axis=-1) <= _SHORTEST * self._size
            steps[flat, k] = before[flat]
            before = steps[:, k]
        return steps / np.linalg.norm(steps, axis=-1, keepdims=True)

    @cached_property
    def _size(self) -> float:
        """Distance from the wrist to the farthest joint."""
        return float(np.nanmax(np.linalg.norm(self.joints - self.joints[WRIST], axis=-1)))

    @cached_property
    def twist(self) -> np.ndarray:
        """(5, 4, 3) twist axes: the bones' directions, the tip's as its bone's."""
        return np.concatenate([self.bones, self.bones[:, -1:]], axis=1)

    @cached_property
    def palm_fingers(self) -> tuple[int, int]:
        """The two fingers whose roots span the palm with the wrist: the outermost of the four that are there.

        Raises:
            InputError: the hand has fewer than two fingers.
        """
        there = [finger for finger in _ACROSS if self.present[finger]]
        if len(there) == 1 and self.present[THUMB]:  # a mitten: thumb and one finger
            there.insert(0, THUMB)
        if len(there) < 2:
            raise InputError(
                f"{self.name}: expected two or more fingers on the {self.side} hand to see where its "
                f"palm is, found {len(there)}; annotate this hand with a complete rig"
            )
        return there[0], there[-1]

    @cached_property
    def palm_normal(self) -> np.ndarray:
        """(3,) unit normal of the palm out of the back of the hand, whichever way the hand is turned (mathematics §2).

        Raises:
            InputError: the palm has no plane.
        """
        first, last = (self.fingers[finger, 0] - self.joints[WRIST] for finger in self.palm_fingers)
        normal = np.cross(last, first) if self.side == "right" else np.cross(first, last)
        length = np.linalg.norm(normal)
        if length < 1e-3 * np.linalg.norm(first) * np.linalg.norm(last) or not np.isfinite(length) or length == 0:
            raise InputError(
                f"{self.name}: the wrist and the roots of the {self.side} hand's fingers lie on one line, so its palm "
                f"has no plane; check the rest pose of the rig"
            )
        return normal / length

    @cached_property
    def forward(self) -> np.ndarray:
        """(3,) unit direction from the wrist to the middle of the fingers' roots, in the plane of the palm."""
        roots = self.fingers[[f for f in _ACROSS if self.present[f]], 0].mean(0) - self.joints[WRIST]
        return _unit(roots - (roots @ self.palm_normal) * self.palm_normal)

    def rows(self, bend: np.ndarray) -> np.ndarray:
        """Axes ``(5, 4, 3, 3)``, rows twist, bend, splay, of fingers that bend about ``bend (5, 3)`` (mathematics §7).

        A missing finger gets the frame of its made-up bones in this palm, so that files stay readable; it stands for
        nothing.
        """
        twist = self.twist
        across = np.cross(self.palm_normal, twist[:, 0])
        bend = np.where(self.present[:, None], bend, across)[:, None]
        bend = _unit(bend - (bend * twist).sum(-1, keepdims=True) * twist)
        return np.stack([twist, bend, np.cross(twist, bend)], axis=-2)

    def bent(self, axes: np.ndarray, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Skin and joints with every joint turned about its own bend axis, from the rest pose as it is modelled.

        Args:
            axes: ``(5, 4, 3, 3)``; angles: ``(5, 3)`` radians.

        Returns:
            ``(V', 3)`` vertices of `skin` and ``(21, 3)`` joints, in the hand's frame and place.
        """
        turns = axis_angle_to_matrix(torch.from_numpy(angles[..., None] * axes[:, :BONES_PER_FINGER, 1]))
        return self._posed(self._shaped(axes).with_local_rotations(turns))

    def bent_straight(self, axes: np.ndarray, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `bent`, but from the canonical rest pose: fingers straight and side by side (mathematics §2)."""
        tbs = torch.zeros(N_FINGERS, BONES_PER_FINGER, 3, dtype=torch.float64)
        tbs[..., 1] = torch.from_numpy(angles)
        return self._posed(self._shaped(axes).with_tbs(tbs_from_angles(tbs)))

    def _shaped(self, axes: np.ndarray) -> ShapedHand:
        joints = self.whole
        offsets = joints - joints[[max(parent, WRIST) for parent in PARENTS]]
        return offset_hand(torch.from_numpy(offsets), torch.from_numpy(np.ascontiguousarray(axes)), self.side)

    def _posed(self, posed: PosedHand) -> tuple[np.ndarray, np.ndarray]:
        skin = (np.asarray(part, np.float64) for part in (self.skin.vertices, self.skin.weights, self.whole))
        vertices = skin_hand(posed, *(torch.from_numpy(part) for part in skin)).numpy()
        gaps = np.isfinite(self.joints)
        wrist = self.joints[WRIST]
        return vertices + wrist, np.where(gaps, posed.joints.numpy() + wrist, np.nan)


def mano_hand(hand: ManoHand) -> BareHand:
    """The mean shape of a MANO hand, wrist at the origin; metres."""
    shaped = hand.with_shape(torch.zeros(N_SHAPE, dtype=hand.dtype))
    posed = shaped.at_rest()
    joints, vertices = posed.joints.double().numpy(), posed.vertices().double().numpy()
    weights = np.zeros((len(vertices), N_JOINTS))
    order = [0, *(1 + JOINTS_PER_FINGER * f + k for f in range(N_FINGERS) for k in range(BONES_PER_FINGER))]
    weights[:, order] = hand.model.lbs_weights[:, [0, *MANO_BONES]].double().numpy()
    skin = HandSurface(vertices, hand.faces.astype(np.int64), weights, joints)
    return BareHand(f"MANO {hand.side} hand", hand.side, joints, joints, vertices, skin.faces, weights, skin)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
