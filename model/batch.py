"""What networks and baselines are given: hands with their poses, and what is needed of a source, worked out once.

A group of hands holds the named tensors ``domain, side, offsets | shape, axes_t, local_rotations, tbs,
semantic_matrix``, each ``(batch, time, …)``, and ``present``, which of the 21 joints they have (None: all).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, cast, runtime_checkable

import torch
from jaxtyping import Bool, Float
from pytorch3d.transforms import quaternion_to_matrix
from torch import Tensor

from model import presence
from model.hands import PosedHand, ShapedHand, offset_hand
from model.kinematics import finger_part, fingers_of
from model.losses import finger_weights, unit_rows
from model.mano import ManoHand
from model.semantics import SemanticMatrix, SourceDirections
from model.topology import MIDDLE, ROOTS
from utils.cached import cached_property


@runtime_checkable
class Hands(Protocol):
    """Features ``(batch, time, …)`` of posed hands of one domain, as a data module delivers them."""

    domain: str
    side: str
    axes_t: Float[Tensor, "batch time 5 4 3 3"]
    local_rotations: Float[Tensor, "batch time 21 4"]
    tbs: Float[Tensor, "batch time 5 3 4"]
    semantic_matrix: SemanticMatrix
    present: Bool[Tensor, "batch time 21"] | None


class CharacterHands(Hands, Protocol):
    """Hands of the domain "mixamo"."""

    offsets: Float[Tensor, "batch time 21 3"]
    axes: Float[Tensor, "batch time 5 4 3 3"]


class ManoHands(Hands, Protocol):
    """Hands of the domain "mano"."""

    shape: Float[Tensor, "batch time 10"]


class Source:
    """What is needed of a source, worked out at most once however many hands it is retargeted to.

    Args:
        hands: the source.
        present: ``(batch, time or 1, 21)`` bool, joints that count; None: those that it has.
    """

    def __init__(self, hands: Hands, present: Bool[Tensor, " batch #time 21"] | None = None) -> None:
        self.hands = hands
        self.present = hands.present if present is None else present
        self.semantic_matrix = hands.semantic_matrix.masked(self.present)
        self._weights: Tensor | None = None
        self._input: Tensor | None = None

    def shared_with(self, target: Hands) -> Source:
        """The source with only those joints that ``target`` has too: what a result on it is compared with."""
        if target.present is None or target is self.hands:
            return self
        return Source(self.hands, presence.both(self.present, target.present))

    @cached_property
    def present_fingers(self) -> Bool[Tensor, " batch #time 20"] | None:
        """``(batch, time or 1, 20)`` finger joints that count; None: all."""
        return None if self.present is None else presence.finger_joints(self.present)

    @cached_property
    def present_palm(self) -> Bool[Tensor, " batch #time 20 9"] | None:
        """``(batch, time or 1, 20, 9)`` pairs of finger joint and palm anchor that count; None: all."""
        if self.present is None:
            return None
        return presence.pairs(presence.finger_joints(self.present), presence.anchors(self.present))

    @cached_property
    def directions(self) -> SourceDirections:
        """Directions of its semantic matrix."""
        return SourceDirections(self.semantic_matrix)

    @cached_property
    def distances(self) -> Float[Tensor, "batch time 20 20"]:
        """``(batch, time, 20, 20)`` distances between finger joints, in palm lengths."""
        return self.semantic_matrix.finger.square().sum(-1).sqrt()

    @cached_property
    def distance_rows(self) -> Float[Tensor, "batch time 20 20"]:
        """The same with each row scaled to unit length."""
        return unit_rows(self.distances, self.present_fingers)

    def network_input(
        self, compute: Callable[[Source], Float[Tensor, "batch time channels"]]
    ) -> Float[Tensor, "batch channels time"]:
        """What ``compute`` makes of it, ``(batch, time, channels)``, as contiguous ``(batch, channels, time)``."""
        if self._input is None:
            self._input = compute(self).transpose(1, 2).contiguous()
        return self._input

    def finger_weights(self, weighted: bool, unweighted_share: float) -> Float[Tensor, "batch time 20 20"]:
        """``(batch, time, 20, 20)``, see :func:`model.losses.finger_weights`."""
        if self._weights is None:
            self._weights = finger_weights(self.directions.distance, weighted, unweighted_share, self.present_fingers)
        return self._weights

    @cached_property
    def tbs(self) -> Float[Tensor, "batch time 5 3 3 3"]:
        """``(batch, time, 5, 3, 3, 3)`` twist-bend-splay rotations."""
        return quaternion_to_matrix(self.hands.tbs)

    @cached_property
    def local(self) -> Float[Tensor, "batch time 5 3 3 3"]:
        """``(batch, time, 5, 3, 3, 3)`` local rotations."""
        return finger_part(quaternion_to_matrix(self.hands.local_rotations))


class HandModels:
    """Makes hands of named features: a character's from its offsets, MANO hands from the model's files.

    Args:
        smplx_model_path: MANO model file, or the folder that holds ``mano/MANO_RIGHT.pkl``.
        mano_axis_path: ``mano_finger_axis.pkl``.
        side: ``"right"`` or ``"left"``.
    """

    def __init__(self, smplx_model_path: str, mano_axis_path: str, side: str) -> None:
        self.side = side
        self._mano_files = (smplx_model_path, mano_axis_path)
        self._mano: ManoHand | None = None

    def mano_hand(self, like: Tensor) -> ManoHand:
        """The MANO hand, loaded when it is first needed and kept on the device and in the type of ``like``."""
        # What is made in inference mode cannot be trained through later; the hand is kept, so it must not be.
        with torch.inference_mode(False):
            if self._mano is None:
                self._mano = ManoHand.load(*self._mano_files, self.side)
            held = self._mano.skin.offsets
            if held.device != like.device or held.dtype != like.dtype:
                self._mano = self._mano.to(device=like.device, dtype=like.dtype)
        return self._mano

    def shaped_hand(self, hands: Hands) -> ShapedHand:
        """The proportions of hands ``(batch, time, …)``, without their poses."""
        if hands.domain == "mano":
            betas = cast(ManoHands, hands).shape
            shaped = self.mano_hand(betas).with_shape(betas)
            return shaped if hands.present is None else replace(shaped, present=hands.present)
        # A character keeps its bones: the first frame of a window stands for all.
        hands = cast(CharacterHands, hands)
        present = None if hands.present is None else hands.present[:, :1]
        return offset_hand(hands.offsets[:, :1], hands.axes[:, :1], hands.side, present)


def own_pose(shaped: ShapedHand, hands: Hands) -> PosedHand:
    """Hands as they were recorded."""
    return shaped.with_local_rotations(finger_part(quaternion_to_matrix(hands.local_rotations)))


def static_features(target: Hands) -> Float[Tensor, "batch channels"]:
    """What a network knows of the hand it poses, ``(batch, channels)``, from the window's first frame.

    A Mixamo hand's offsets, in lengths of its middle finger's root bone, and the transposed axes of either domain;
    zero for joints that it does not have.
    """
    axes = target.axes_t[:, 0]
    present = None if target.present is None else target.present[:, 0]
    if present is not None:
        axes = axes * fingers_of(present.unsqueeze(-1)).unsqueeze(-1)
    axes = axes.flatten(1)
    if target.domain == "mano":
        return axes
    offsets = bones = cast(CharacterHands, target).offsets[:, 0]
    if present is not None:
        offsets, bones = offsets * present.unsqueeze(-1), presence.with_stand_ins(offsets, present)
    palm = bones[:, ROOTS[MIDDLE]].norm(dim=-1)[:, None, None]
    return torch.cat([(offsets / palm).flatten(1), axes], dim=1)
