"""Hands in immutable stages: load → shape → pose → joints, frames, vertices (SPEC §2, §3, §7).

Two kinds of hand share one interface. A character's hand is driven by its bone offsets (:func:`offset_hand`); a
MANO hand by ten shape components (:class:`ManoHand`). Both become a :class:`ShapedHand`, which takes poses.

Leading dimensions broadcast: hands of shape ``(batch, 1, …)`` take poses of shape ``(batch, time, …)``. Positions
have the wrist at the origin; the wrist does not turn. Lengths keep the hand's own unit: centimetres for Mixamo
characters, metres for MANO.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from smplx.body_models import MANO
from smplx.lbs import lbs
from torch import Tensor

from model import kinematics, presence
from model.layout import frames_first, frames_last, turn
from model.mano_file import N_BONES, FoldedSkin, load_mano
from model.rotations import unit
from model.semantics import SemanticMatrix, palm_length, semantic_matrix
from model.topology import BONES_PER_FINGER, MANO_BONES, N_FINGERS, N_SHAPE, check_side
from utils.errors import InputError
from utils.safe_read import read_npz, read_pickle


@dataclass(frozen=True)
class PosedHand:
    """A hand in a pose; see :class:`ShapedHand`."""

    shaped: ShapedHand
    local: Tensor  # (..., 5, 3, 3, 3) local rotations of the rotating joints
    fingers: Tensor  # (..., 5, 3, 3, 3) their global rotations
    joints: Tensor  # (..., 21, 3) positions, wrist at the origin

    @cached_property
    def frames(self) -> Tensor:
        """Twist-bend-splay frames ``(..., 20, 3, 3)`` in the wrist's frame; columns twist, bend, splay."""
        frames = kinematics.with_tips(self.fingers) @ self.shaped.axes.transpose(-1, -2)
        return frames.flatten(-4, -3)

    @cached_property
    def tbs(self) -> Tensor:
        """Twist-bend-splay rotations ``(..., 5, 3, 3, 3)``."""
        tbs = kinematics.tbs_from_local(self.local, self.shaped.axes, self.shaped.rest)
        return presence.unturned(tbs, self.shaped.present)

    def __getitem__(self, index) -> PosedHand:
        """Some of the poses, by their leading dimensions; their hands' own dimensions stay as they are."""
        return replace(self, local=self.local[index], fingers=self.fingers[index], joints=self.joints[index])

    @property
    def local_all(self) -> Tensor:
        """Local rotations ``(..., 21, 3, 3)`` of all joints; wrist and tips the identity."""
        return kinematics.with_wrist_and_tips(self.local)

    @cached_property
    def global_rotations(self) -> Tensor:
        """Global rotations of all joints ``(..., 21, 3, 3)``: wrist the identity, tips as their parents."""
        return kinematics.with_wrist(self.fingers)

    @cached_property
    def palm_length(self) -> Tensor:
        """Distance ``(...,)`` from the wrist to the root of the middle finger."""
        return palm_length(self.joints)

    def semantic_matrix(self, normalise: bool = True) -> SemanticMatrix:
        """What the pose means (SPEC §4); zero where a joint is missing."""
        return semantic_matrix(self.joints, self.frames, normalise).masked(self.shaped.present)

    def vertices(self) -> Tensor:
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
    offsets: Tensor  # (..., 21, 3) bone vectors at rest; the wrist's is unused
    given_axes: Tensor | None  # (..., 5, 4, 3, 3); None: they follow from the surface
    surface: ManoSurface | None = None
    present: Tensor | None = None  # (..., 21) bool, which joints exist; None: all

    @cached_property
    def axes(self) -> Tensor:
        """Anatomical axes ``(..., 5, 4, 3, 3)``, rows twist, bend, splay."""
        return self.surface.axes(self.offsets) if self.given_axes is None else self.given_axes

    @cached_property
    def rest(self) -> Tensor:
        """Local rotations ``(..., 5, 3, 3, 3)`` of the canonical rest pose."""
        return kinematics.rest_pose(self.offsets)

    def of_frames(self, batch: torch.Size, frames: Tensor) -> ShapedHand:
        """The hands of some frames, ``(n, …)``, of poses whose leading dimensions are ``batch``.

        Args:
            batch: leading dimensions of poses; those of the hand broadcast to them.
            frames: ``(n,)`` numbers of the frames after ``batch`` is flattened. Hands that are the same in all
                frames stay one.
        """

        def pick(tensor: Tensor, own_dims: int) -> Tensor:
            lead, own = tensor.shape[: tensor.ndim - own_dims], tensor.shape[tensor.ndim - own_dims :]
            if lead.numel() == 1:
                return tensor.reshape(1, *own)
            number = torch.arange(lead.numel(), device=tensor.device).view(lead).expand(batch).flatten()
            return tensor.reshape(-1, *own)[number[frames]]

        return self._picked(pick)

    def of_items(self, items: Tensor) -> ShapedHand:
        """The hands ``(n, …)`` of some items, by their numbers ``(n,)`` in the first dimension.

        Hands that are the same for all items stay one.
        """

        def pick(tensor: Tensor, own_dims: int) -> Tensor:
            return tensor[items] if tensor.ndim > own_dims and len(tensor) > 1 else tensor

        return self._picked(pick)

    def _picked(self, pick: Callable[[Tensor, int], Tensor]) -> ShapedHand:
        """Some of the hands; ``pick(tensor, own dimensions)`` chooses among the leading dimensions."""
        surface = self.surface
        if surface is not None:
            surface = replace(
                surface,
                betas=pick(surface.betas, 1),
                anchored=pick(surface.anchored, 2),
                bone_offsets=pick(surface.bone_offsets, 2),
            )
        hand = replace(
            self,
            offsets=pick(self.offsets, 2),
            given_axes=pick(self.axes, 4),
            surface=surface,
            present=None if self.present is None else pick(self.present, 1),
        )
        hand.__dict__["rest"] = pick(self.rest, 4)  # known already: fill the cache
        return hand

    def with_tbs(self, tbs: Tensor) -> PosedHand:
        """Pose by twist-bend-splay rotations ``(..., 5, 3, 3, 3)``."""
        return self.with_local_rotations(kinematics.local_from_tbs(tbs, self.axes, self.rest))

    def with_local_rotations(self, local: Tensor) -> PosedHand:
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


def offset_hand(offsets: Tensor, axes: Tensor, side: str, present: Tensor | None = None) -> ShapedHand:
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


@dataclass(frozen=True)
class ManoAxes:
    """The annotated axes of a MANO hand (SPEC §7): per finger rows twist, bend, splay, and what bend is tied to."""

    rows: Tensor  # (5, 3, 3)
    bend_triangles: Tensor | None = None  # (5, 2) faces hit along −bend and +bend
    bend_barycentric: Tensor | None = None  # (5, 2, 3) where in them

    @staticmethod
    def read(source: str | Path | Mapping, side: str) -> ManoAxes:
        """Read ``mano_finger_axis.pkl`` (or ``.npz``, or a mapping with its keys) for one side."""
        if isinstance(source, Mapping):
            data = source
        else:
            data = read_npz(source) if str(source).endswith(".npz") else read_pickle(source)
        name = f"{check_side(side)[0]}hand"
        if not isinstance(data, Mapping) or name not in data:
            raise InputError(
                f"{source}: expected MANO finger axes with the key '{name}' for the {side} hand; not found."
            )
        rows = torch.as_tensor(np.asarray(data[name], dtype=np.float64))
        if rows.shape != (N_FINGERS, 3, 3) or not rows.isfinite().all():
            raise InputError(f"{source}: '{name}' should be 5×3×3 finite numbers (rows twist, bend, splay).")
        triangles, barycentric = data.get(f"{name}_bend_index_tri"), data.get(f"{name}_bend_bary")
        if triangles is None or barycentric is None:
            return ManoAxes(rows)
        triangles = torch.as_tensor(np.asarray(triangles, dtype=np.int64))
        barycentric = torch.as_tensor(np.asarray(barycentric, dtype=np.float64))
        if triangles.shape != (N_FINGERS, 2) or barycentric.shape != (N_FINGERS, 2, 3):
            raise InputError(f"{source}: '{name}_bend_index_tri' should be 5×2 and '{name}_bend_bary' 5×2×3.")
        return ManoAxes(rows, triangles, barycentric)


@dataclass(frozen=True)
class ManoHand:
    """The MANO hand model of one side, folded for fast joints. Load once, then :meth:`with_shape`."""

    side: str
    model: MANO
    skin: FoldedSkin
    axes: ManoAxes | None
    bend: Tensor | None  # (11, 5, 3) from one side of a finger to the other, along its bend axis: map of the shape

    @staticmethod
    def load(path: str | Path, axes: str | Path | Mapping | None, side: str, dtype=torch.float32) -> ManoHand:
        """Load a model file (or the folder that holds ``mano/MANO_RIGHT.pkl``) and its axes.

        Args:
            path: model file, or folder.
            axes: ``mano_finger_axis.pkl``, or its content, or None for a hand of which only local rotations,
                joints and vertices are asked.
            side: ``"right"`` or ``"left"``.
            dtype: floating-point type of everything computed with the hand.

        Raises:
            InputError: a file is missing, damaged or no MANO model.
        """
        model, tips = load_mano(path, side)
        skin = FoldedSkin.of(model, tips)
        axes = None if axes is None else ManoAxes.read(axes, side)
        bend = None
        if axes is not None and axes.bend_triangles is not None:
            if int(axes.bend_triangles.max()) >= len(model.faces):
                raise InputError(
                    f"MANO axes name face {int(axes.bend_triangles.max())}; the model has {len(model.faces)}."
                )
            corners = model.faces_tensor[axes.bend_triangles]  # (5, 2, 3)
            weight = axes.bend_barycentric * axes.bend_barycentric.new_tensor([-1.0, 1.0])[:, None]
            weight = weight * model.lbs_weights.sum(-1)[corners]  # of the skinned surface, as all joints at rest
            vertices = torch.cat([model.v_template.unsqueeze(0), model.shapedirs.permute(2, 0, 1)])
            bend = torch.einsum("fec,sfecx->sfx", weight, vertices[:, corners])
        return ManoHand(side, model, skin, axes, bend).to(dtype)

    def to(self, *args, **kwargs) -> ManoHand:
        """Move to a device or floating-point type, as :meth:`torch.Tensor.to` does."""

        def move(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(*args, **kwargs)

        return replace(
            self,
            skin=self.skin.to(*args, **kwargs),
            axes=None if self.axes is None else replace(self.axes, rows=move(self.axes.rows)),
            bend=move(self.bend),
        )

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of everything computed with the hand."""
        return self.skin.offsets.dtype

    @property
    def faces(self) -> np.ndarray:
        """Triangles ``(F, 3)`` of the surface."""
        return np.asarray(self.model.faces)

    def with_shape(self, betas: Tensor) -> ShapedHand:
        """The hand with shape components ``betas (..., 10)``; lengths in metres."""
        if betas.shape[-1] != N_SHAPE:
            raise ValueError(f"`betas` must end with ({N_SHAPE},); got {tuple(betas.shape)}")
        return ShapedHand(self.side, _of_shape(self.skin.offsets, betas), None, ManoSurface.of(self, betas))

    def axes_of(self, betas: Tensor, offsets: Tensor) -> Tensor:
        """Anatomical axes ``(..., 5, 4, 3, 3)`` of the shape ``betas (..., 10)`` with rest ``offsets`` (SPEC §7).

        Raises:
            ValueError: the hand was loaded without axes.
        """
        if self.axes is None:
            raise ValueError("this MANO hand was loaded without axes; give ManoHand.load a mano_finger_axis file")
        if self.bend is None:
            rows = self.axes.rows.unsqueeze(-3)
            return rows.expand(*betas.shape[:-1], N_FINGERS, BONES_PER_FINGER + 1, 3, 3)
        bones = kinematics.fingers_of(offsets)[..., 1:, :]
        twist = unit(torch.cat([bones, bones[..., -1:, :]], dim=-2))
        bend = unit(_of_shape(self.bend, betas)).unsqueeze(-2)
        bend = unit(bend - (bend * twist).sum(-1, keepdim=True) * twist)
        splay = torch.linalg.cross(twist, bend, dim=-1)
        splay = torch.where(splay[..., 1:2] < 0, -splay, splay)  # splay points out of the back of the hand
        bend = torch.linalg.cross(splay, twist, dim=-1)
        return torch.stack([twist, bend, splay], dim=-2)


@dataclass(frozen=True)
class ManoSurface:
    """What a MANO hand of one shape needs to regress its joints from its posed surface, and to draw it."""

    hand: ManoHand
    betas: Tensor  # (..., 10)
    anchored: Tensor  # (..., P, 3) shaped shares, relative to their bone's joint
    bone_offsets: Tensor  # (..., 21, 3) bone vectors of the skeleton that carries the skin, from the model's origin

    @staticmethod
    def of(hand: ManoHand, betas: Tensor) -> ManoSurface:
        """Prepare the surface of ``hand`` with ``betas (..., 10)``."""
        skin = hand.skin
        return ManoSurface(hand, betas, _of_shape(skin.anchored, betas), _of_shape(skin.bone_offsets, betas))

    def axes(self, offsets: Tensor) -> Tensor:
        """Anatomical axes ``(..., 5, 4, 3, 3)`` of this shape, whose rest offsets are ``offsets (..., 21, 3)``."""
        return self.hand.axes_of(self.betas, offsets)

    def joints(self, local: Tensor, fingers: Tensor) -> Tensor:
        """Joints regressed from the posed surface (SPEC §3).

        Args:
            local: ``(..., 5, 3, 3, 3)`` local rotations.
            fingers: ``(..., 5, 3, 3, 3)`` global rotations.

        Returns:
            ``(..., 21, 3)``, wrist at the origin.
        """
        skin = self.hand.skin
        batch = torch.broadcast_shapes(local.shape[:-4], self.bone_offsets.shape[:-2])
        local, fingers = (_spread(turns.flatten(-4, -3), batch, 3) for turns in (local, fingers))  # (15, 3, 3, F)
        eye = torch.eye(3, dtype=local.dtype, device=local.device).unsqueeze(-1)
        rotations = torch.cat([eye.expand(1, 3, 3, fingers.shape[-1]), fingers])
        shares = (skin.pose_directions.T @ (local - eye).flatten(0, 2)).unflatten(0, (-1, 3))  # (P, 3, F)
        shares = shares + _spread(self.anchored, batch, 2)
        placed = turn(rotations.index_select(0, skin.bone), shares)
        placed = placed + skin.mass[:, None, None] * self._bone_positions(fingers, batch).index_select(0, skin.bone)
        joints = (skin.incidence @ placed.flatten(1)).unflatten(-1, (3, -1))
        return frames_first(joints - joints[:1], batch)

    def _bone_positions(self, fingers: Tensor, batch: torch.Size) -> Tensor:
        """Where the 16 bones begin, ``(16, 3, F)``, by forward kinematics; ``fingers (15, 3, 3, F)``."""
        offsets = _spread(kinematics.fingers_of(self.bone_offsets), batch, 3)  # (5, 4, 3, F)
        first = offsets[:, 0]
        steps = turn(fingers.unflatten(0, (N_FINGERS, -1))[:, :2].flatten(0, 1), offsets[:, 1:3].flatten(0, 1))
        steps = steps.unflatten(0, (N_FINGERS, 2))
        second = first + steps[:, 0]
        bones = torch.stack([first, second, second + steps[:, 1]], dim=1).flatten(0, 1)
        return torch.cat([torch.zeros_like(bones[:1]), bones])

    def vertices(self, local: Tensor, joints: Tensor) -> Tensor:
        """Posed surface ``(..., V, 3)`` through smplx's skinning, wrist at the origin.

        Args:
            local: ``(..., 5, 3, 3, 3)`` local rotations.
            joints: ``(..., 21, 3)`` the joints of that pose, which give the batch.
        """
        batch = joints.shape[:-2]
        model, dtype = self.hand.model, self.hand.model.dtype
        pose = torch.eye(3, dtype=dtype, device=local.device).repeat(*batch, N_BONES, 1, 1)
        pose[..., list(MANO_BONES), :, :] = local.flatten(-4, -3).to(dtype)
        betas = self.betas.to(dtype).expand(*batch, N_SHAPE).reshape(-1, N_SHAPE)
        model = model.to(local.device)
        vertices, _ = lbs(
            betas,
            pose.reshape(len(betas), N_BONES, 3, 3),
            model.v_template,
            model.shapedirs,
            model.posedirs,
            model.J_regressor,
            model.parents,
            model.lbs_weights,
            pose2rot=False,
        )
        wrist = torch.einsum("v,bvx->bx", model.J_regressor[0], vertices)
        return (vertices - wrist[:, None]).to(local.dtype).reshape(*batch, -1, 3)


def _spread(tensor: Tensor, batch: torch.Size, own_dims: int) -> Tensor:
    """``tensor (..., *own)`` expanded to the whole batch, frames last."""
    return frames_last(tensor.expand(*batch, *tensor.shape[tensor.ndim - own_dims :]), own_dims)


def _of_shape(shape_map: Tensor, betas: Tensor) -> Tensor:
    """``(..., n, 3)`` of shapes ``betas (..., 10)``, from the mean shape and ten directions ``(11, n, 3)``."""
    return shape_map[0] + (betas @ shape_map[1:].flatten(1)).unflatten(-1, shape_map.shape[1:])
