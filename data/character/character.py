"""What the program handles: an avatar with its hands, whatever file it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.character.mesh_file import HAND_WEIGHT_LIMIT
from data.rig.hand_rig import HandRig, Skeleton
from model.hands import ShapedHand, offset_hand
from model.mano import ManoHand
from model.topology import BONES_PER_FINGER, JOINTS_PER_FINGER, N_FINGERS, N_JOINTS, hand_joint_names
from utils.errors import InputError


@dataclass(frozen=True)
class Skin:
    """A mesh that follows the joints of a skeleton; centimetres, character's frame, rest pose."""

    vertices: np.ndarray
    """(V, 3) float64"""
    faces: np.ndarray
    """(F, 3) int64"""
    weights: np.ndarray
    """(V, J) float32, rows sum to 1 (or 0 where nothing moves a vertex)."""


@dataclass(frozen=True)
class HandSurface:
    """The skin of one hand in its canonical frame, wrist at the origin, for pictures: see `model.skinning`."""

    vertices: np.ndarray
    """(V, 3) float32 centimetres"""
    faces: np.ndarray
    """(F, 3) int64"""
    weights: np.ndarray
    """(V, 21) float32, rows sum to 1"""


@dataclass(frozen=True)
class Hand:
    """One hand of an avatar, ready to take poses."""

    domain: str
    """``"mixamo"``: driven by bone offsets (centimetres); ``"mano"``: by a shape (metres)."""
    shaped: ShapedHand
    """float32, without leading dimensions, in the canonical frame."""
    rig: HandRig
    shape: Tensor | None = None
    """(10,) of a MANO hand."""
    model: ManoHand | None = None
    surface: HandSurface | None = None

    @property
    def side(self) -> str:
        """``"right"`` or ``"left"``."""
        return self.rig.side

    @property
    def present(self) -> np.ndarray:
        """(21,) bool: joints that the hand has."""
        return self.rig.present


@dataclass(frozen=True)
class Avatar:
    """A character, a bare skeleton or a MANO hand."""

    name: str
    path: Path
    """The file it comes from."""
    kind: str
    """``"character"``, ``"skeleton"`` (no skin) or ``"mano"``."""
    skeletons: Mapping[str, Skeleton]
    """Side → the skeleton that the hand hangs on: the same one for both hands of a character."""
    hands: Mapping[str, Hand]
    skin: Skin | None = None

    @property
    def sides(self) -> tuple[str, ...]:
        """The hands it has, right before left."""
        return tuple(self.hands)

    @cached_property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Sides that are written into one file: both of a character, each MANO hand on its own."""
        return tuple((side,) for side in self.hands) if self.kind == "mano" else (self.sides,)

    def hand(self, side: str) -> Hand:
        """The hand of a side. Raises InputError if there is none."""
        if side not in self.hands:
            raise InputError(f"{self.path}: expected a {side} hand, found only the {' and '.join(self.hands)} hand")
        return self.hands[side]


def character_hand(rig: HandRig, axes: np.ndarray, surface: HandSurface | None) -> Hand:
    """A hand driven by its bones, with axes (5, 4, 3, 3) in the canonical frame."""
    offsets, rows = (torch.from_numpy(np.ascontiguousarray(part)).float() for part in (rig.offsets, axes))
    return Hand("mixamo", offset_hand(offsets, rows, rig.side), rig, surface=surface)


def mano_avatar(model: ManoHand, shape: np.ndarray, path: Path, side_skeleton=None) -> Avatar:
    """The MANO hand (or one of its layout) of a shape (10,), as an avatar with one hand."""
    betas = torch.from_numpy(np.asarray(shape, dtype=np.float32))
    shaped = model.with_shape(betas)
    joints = 100.0 * shaped.at_rest().joints.double().numpy()
    parents = np.array([-1, *(0 if k == 0 else 4 * f + k for f in range(N_FINGERS) for k in range(JOINTS_PER_FINGER))])
    skeleton = Skeleton(hand_joint_names("mano", model.side), parents, joints, {})
    chains = tuple(((), ()) if joint == 0 else ((), (joint,)) for joint in range(N_JOINTS))
    rig = HandRig(
        model.side, tuple(range(N_JOINTS)), chains, joints, np.ones(N_JOINTS, bool), np.eye(3)
    )  # fmt: skip
    hand = Hand("mano", shaped, rig, shape=betas, model=model)
    return Avatar("MANO", path, "mano", {model.side: skeleton}, {model.side: hand})


def hand_surface(skin: Skin, rig: HandRig, skeleton: Skeleton) -> HandSurface | None:
    """Cut a hand out of a skin (SPEC §8) and bring it into the canonical frame; None if no vertex follows it."""
    weights = np.zeros((len(skin.vertices), N_JOINTS), np.float32)
    for bone, joint in _owners(rig, skeleton).items():
        weights[:, joint] += skin.weights[:, bone]
    kept = (weights > HAND_WEIGHT_LIMIT).any(axis=1)
    if not kept.any():
        return None
    number = np.cumsum(kept) - 1
    faces = number[skin.faces[kept[skin.faces].all(axis=1)]]
    vertices = (skin.vertices[kept] - skeleton.heads[rig.indices[0]]) @ rig.turn.T
    weights = weights[kept]
    return HandSurface(vertices.astype(np.float32), faces, weights / weights.sum(axis=1, keepdims=True))


def _owners(rig: HandRig, skeleton: Skeleton) -> dict[int, int]:
    """Joint of the skeleton → hand joint that gets its weights: the listed ones, those folded between two of them (the
    upper one gets them), and what hangs below a finger (to its last joint)."""
    owner = {index: joint for joint, index in enumerate(rig.indices) if index is not None}
    for joint in range(len(skeleton.parents)):
        if joint in owner:
            continue
        above = int(skeleton.parents[joint])
        while above >= 0 and above not in owner:
            above = int(skeleton.parents[above])
        if above >= 0:
            owner[joint] = owner[above]
    return owner


def rotating(values: Tensor) -> Tensor:
    """The rotating joints (…, 5, 3, …) of (…, 21, …) with the joints in dimension −3."""
    return values[..., 1:, :, :].unflatten(-3, (N_FINGERS, JOINTS_PER_FINGER))[..., :BONES_PER_FINGER, :, :]
