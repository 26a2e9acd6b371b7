"""Hands in immutable stages: load → shape → pose → joints, frames, vertices (mathematics §2, §3, §7).

Two kinds of hand share one interface. A character's hand is driven by its bone offsets (:func:`offset_hand`); a
MANO hand by ten shape components (:class:`model.mano.ManoHand`). Both become a :class:`ShapedHand`, which takes poses.

Leading dimensions broadcast: hands of shape ``(batch, 1, …)`` take poses of shape ``(batch, time, …)``. Positions
have the wrist at the origin; the wrist does not turn. Lengths keep the hand's own unit: centimetres for Mixamo
characters, metres for MANO.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from model import kinematics, presence
from model.semantics import SemanticMatrix, palm_length, semantic_matrix
from model.topology import BONES_PER_FINGER, N_FINGERS, check_side
from utils.cached import cached_property

Pick = Callable[[Tensor, int], Tensor]
"""Chooses among the leading dimensions of a tensor with that many dimensions of its own."""


def by_frames(batch: torch.Size, frames: Int[Tensor, " frames"]) -> Pick:
    """Picks some frames ``(n,)``, by their numbers after the poses' leading dimensions ``batch`` are flattened.

    What is the same in all frames stays one, ``(1, …)``."""

    def pick(tensor: Tensor, own_dims: int) -> Tensor:
        lead, own = tensor.shape[: tensor.ndim - own_dims], tensor.shape[tensor.ndim - own_dims :]
        if lead.numel() == 1:
            return tensor.reshape(1, *own)
        number = torch.arange(lead.numel(), device=tensor.device).view(lead).expand(batch).flatten()
        return tensor.reshape(-1, *own)[number[frames]]

    return pick


def by_items(items: Int[Tensor, " items"]) -> Pick:
    """Picks some items ``(n,)`` of the first dimension; what is the same for all items stays one."""

    def pick(tensor: Tensor, own_dims: int) -> Tensor:
        return tensor[items] if tensor.ndim > own_dims and len(tensor) > 1 else tensor

    return pick


@runtime_checkable
class Surface(Protocol):
    """The surface of a hand of one shape, whose joints follow from it."""

    def axes(self, offsets: Float[Tensor, "... 21 3"]) -> Float[Tensor, "... 5 4 3 3"]:
        """Anatomical axes ``(..., 5, 4, 3, 3)`` of the shape, whose rest offsets are ``offsets (..., 21, 3)``."""
        ...

    def joints(
        self, local: Float[Tensor, "... 5 3 3 3"], fingers: Float[Tensor, "... 5 3 3 3"]
    ) -> Float[Tensor, "... 21 3"]:
        """Joints ``(..., 21, 3)`` of the posed surface, wrist at the origin, from local and global rotations
        ``(..., 5, 3, 3, 3)``."""
        ...

    def vertices(
        self, local: Float[Tensor, "... 5 3 3 3"], joints: Float[Tensor, "... 21 3"]
    ) -> Float[Tensor, "... vertices 3"]:
        """Posed vertices ``(..., V, 3)``, wrist at the origin, from local rotations and the joints of that pose."""
        ...

    def picked(self, pick: Pick) -> Surface:
        """The surfaces of some of the hands."""
        ...


@dataclass(frozen=True)
class PosedHand:
    """A hand in a pose; see :class:`ShapedHand`."""

    shaped: ShapedHand
    local: Float[Tensor, "... 5 3 3 3"]  # local rotations of the rotating joints
    fingers: Float[Tensor, "... 5 3 3 3"]  # their global rotations
    joints: Float[Tensor, "... 21 3"]  # positions, wrist at the origin

    @cached_property
    def frames(self) -> Float[Tensor, "... 20 3 3"]:
        """Twist-bend-splay frames ``(..., 20, 3, 3)`` in the wrist's frame; columns twist, bend, splay."""
        frames = kinematics.with_tips(self.fingers) @ self.shaped.axes.transpose(-1, -2)
        return frames.flatten(-4, -3)

    @cached_property
    def tbs(self) -> Float[Tensor, "... 5 3 3 3"]:
        """Twist-bend-splay rotations ``(..., 5, 3, 3, 3)``."""
        tbs = kinematics.tbs_from_local(self.local, self.shaped.axes, self.shaped.rest)
        return presence.unturned(tbs, self.shaped.present)

    def __getitem__(self, index) -> PosedHand:
        """Some of the poses, by their leading dimensions; their hands' own dimensions stay as they are."""
        return replace(self, local=self.local[index], fingers=self.fingers[index], joints=self.joints[index])

    @property
    def local_all(self) -> Float[Tensor, "... 21 3 3"]:
        """Local rotations ``(..., 21, 3, 3)`` of all joints; wrist and tips the identity."""
        return kinematics.with_wrist_and_tips(self.local)

    @cached_property
    def global_rotations(self) -> Float[Tensor, "... 21 3 3"]:
        """Global rotations of all joints ``(..., 21, 3, 3)``: wrist the identity, tips as their parents."""
        return kinematics.with_wrist(self.fingers)

    @cached_property
    def palm_length(self) -> Float[Tensor, "..."]:
        """Distance ``(...,)`` from the wrist to the root of the middle finger."""
        return palm_length(self.joints)

    def semantic_matrix(self, normalise: bool = True) -> SemanticMatrix:
        """What the pose means (mathematics §4); zero where a joint is missing."""
        return semantic_matrix(self.joints, self.frames, normalise).masked(self.shaped.present)

    def vertices(self) -> Float[Tensor, "... vertices 3"]:
        """Posed surface ``(..., V, 3)`` of a MANO hand, wrist at the origin, in metres.

        Raises:
            ValueError: the hand has no surface of its own (a character's mesh is skinned by `model.skinning`).
        """
        if self.shaped.surface is None:
            raise ValueError("this hand is driven by offsets alone; pose its mesh with model.skinning")
        return self.shaped.surface.vertices(self.local, self.joints)


@dataclass(frozen=True)
class ShapedHand:
    """A hand of known proportions, at rest; takes poses."""

    side: str
    offsets: Float[Tensor, "... 21 3"]  # bone vectors at rest; the wrist's is unused
    given_axes: Float[Tensor, "... 5 4 3 3"] | None  # None: they follow from the surface
    surface: Surface | None = None
    present: Bool[Tensor, "... 21"] | None = None  # which joints exist; None: all

    @cached_property
    def axes(self) -> Float[Tensor, "... 5 4 3 3"]:
        """Anatomical axes ``(..., 5, 4, 3, 3)``, rows twist, bend, splay."""
        if self.given_axes is not None:
            return self.given_axes
        if self.surface is None:
            raise ValueError("this hand has neither axes nor a surface that they follow from")
        return self.surface.axes(self.offsets)

    @cached_property
    def rest(self) -> Float[Tensor, "... 5 3 3 3"]:
        """Local rotations ``(..., 5, 3, 3, 3)`` of the canonical rest pose."""
        return kinematics.rest_pose(self.offsets)

    def of_frames(self, batch: torch.Size, frames: Int[Tensor, " frames"]) -> ShapedHand:
        """The hands of some frames, ``(n, …)``, of poses whose leading dimensions are ``batch``.

        Args:
            batch: leading dimensions of poses; those of the hand broadcast to them.
            frames: ``(n,)`` numbers of the frames after ``batch`` is flattened. Hands that are the same in all
                frames stay one.
        """

        return self._picked(by_frames(batch, frames))

    def of_items(self, items: Int[Tensor, " items"]) -> ShapedHand:
        """The hands ``(n, …)`` of some items, by their numbers ``(n,)`` in the first dimension.

        Hands that are the same for all items stay one.
        """

        return self._picked(by_items(items))

    def _picked(self, pick: Pick) -> ShapedHand:
        """Some of the hands."""
        hand = replace(
            self,
            offsets=pick(self.offsets, 2),
            given_axes=pick(self.axes, 4),
            surface=None if self.surface is None else self.surface.picked(pick),
            present=None if self.present is None else pick(self.present, 1),
        )
        hand.__dict__["rest"] = pick(self.rest, 4)  # known already: fill the cache
        return hand

    def with_tbs(self, tbs: Float[Tensor, "... 5 3 3 3"]) -> PosedHand:
        """Pose by twist-bend-splay rotations ``(..., 5, 3, 3, 3)``."""
        return self.with_local_rotations(kinematics.local_from_tbs(tbs, self.axes, self.rest))

    def with_local_rotations(self, local: Float[Tensor, "... 5 3 3 3"]) -> PosedHand:
        """Pose by local rotations ``(..., 5, 3, 3, 3)`` of the rotating joints."""
        local = presence.unturned(local, self.present)
        fingers = kinematics.finger_chain(local)
        if self.surface is None:
            joints = kinematics.finger_positions(fingers, self.offsets)
        else:
            joints = self.surface.joints(local, fingers)
        return PosedHand(self, local, fingers, joints)

    def at_rest(self) -> PosedHand:
        """The hand as modelled: all local rotations the identity."""
        eye = torch.eye(3, dtype=self.offsets.dtype, device=self.offsets.device)
        return self.with_local_rotations(eye.expand(*self.offsets.shape[:-2], N_FINGERS, BONES_PER_FINGER, 3, 3))


def offset_hand(
    offsets: Float[Tensor, "... 21 3"],
    axes: Float[Tensor, "... 5 4 3 3"],
    side: str,
    present: Bool[Tensor, "... 21"] | None = None,
) -> ShapedHand:
    """The hand of a character: forward kinematics over its bone offsets.

    Args:
        offsets: ``(..., 21, 3)`` bone vectors at rest, any unit (centimetres for Mixamo).
        axes: ``(..., 5, 4, 3, 3)`` anatomical axes, rows twist, bend, splay.
        side: ``"right"`` or ``"left"``.
        present: ``(..., 21)`` bool, which joints the hand has; None: all. Offsets and axes of others are ignored:
            bones stand in for them (:mod:`model.presence`), which no comparison sees.
    """
    if present is not None:
        offsets = presence.with_stand_ins(offsets, present)
        eye = torch.eye(3, dtype=axes.dtype, device=axes.device)
        axes = torch.where(kinematics.fingers_of(present.unsqueeze(-1))[..., None], axes, eye)
    return ShapedHand(check_side(side), offsets, axes, present=present)


def __getattr__(name: str) -> Any:
    """``model.hands.ManoHand``, the name under which the MANO hand was published; it lives in :mod:`model.mano`."""
    if name == "ManoHand":
        return importlib.import_module("model.mano").ManoHand
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
