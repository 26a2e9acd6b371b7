"""The MANO hand: joints of a pose without its surface, a shape's axes, and the surface itself (mathematics §3, §7).

The joints of a posed MANO hand are regressed from its posed surface. Regressor and skinning are both linear in the
vertices, so the sum over vertices of regressor × skinning weight × vertex can be taken once, when the model is
loaded: the joints of a pose then cost a few small products instead of 778 skinned vertices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from model import kinematics
from model.hands import Pick, ShapedHand
from model.layout import common_shape, frames_first, frames_last, turn
from model.mano_body import ManoBody
from model.mano_file import N_BONES, ManoAxes, load_mano
from model.rotations import unit
from model.topology import BONES_PER_FINGER, MANO_BONES, MANO_TO_HAND, N_FINGERS, N_SHAPE, PARENTS, WRIST
from utils.errors import InputError


@dataclass(frozen=True)
class ManoHand:
    """The MANO hand model of one side, folded for fast joints. Load once, then :meth:`with_shape`."""

    side: str
    model: ManoBody
    skin: FoldedSkin
    axes: ManoAxes | None
    bend: (
        Float[Tensor, "11 5 3"] | None
    )  # from one side of a finger to the other, along its bend axis: map of the shape

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
        read = None if axes is None else ManoAxes.read(axes, side)
        bend = None
        if read is not None and read.bend_triangles is not None and read.bend_barycentric is not None:
            if int(read.bend_triangles.max()) >= len(model.faces):
                raise InputError(
                    f"MANO axes name face {int(read.bend_triangles.max())}; the model has {len(model.faces)}."
                )
            corners = model.faces_tensor[read.bend_triangles]  # (5, 2, 3)
            weight = read.bend_barycentric * read.bend_barycentric.new_tensor([-1.0, 1.0])[:, None]
            weight = weight * model.lbs_weights.sum(-1)[corners]  # of the skinned surface, as all joints at rest
            vertices = torch.cat([model.v_template.unsqueeze(0), model.shapedirs.permute(2, 0, 1)])
            bend = torch.einsum("fec,sfecx->sfx", weight, vertices[:, corners])
        return ManoHand(side, model, skin, read, bend).to(dtype)

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
        return self.model.faces

    def with_shape(self, betas: Float[Tensor, "... 10"]) -> ShapedHand:
        """The hand with shape components ``betas (..., 10)``; lengths in metres."""
        if betas.shape[-1] != N_SHAPE:
            raise ValueError(f"`betas` must end with ({N_SHAPE},); got {tuple(betas.shape)}")
        return ShapedHand(self.side, _of_shape(self.skin.offsets, betas), None, ManoSurface.of(self, betas))

    def axes_of(
        self, betas: Float[Tensor, "... 10"], offsets: Float[Tensor, "... 21 3"]
    ) -> Float[Tensor, "... 5 4 3 3"]:
        """Anatomical axes ``(..., 5, 4, 3, 3)`` of a shape ``betas (..., 10)``, rest ``offsets`` (mathematics §7).

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
class FoldedSkin:
    """What skinning contributes to the 21 joints of a MANO hand, summed over its vertices once.

    A *share* is one (joint, bone) pair with any skin in common, P pairs in all. Bones are the wrist and the 15
    rotating joints in hand order; lengths in metres. With ``x`` = shape and pose features, joint j is at
    ``Σ_pairs G_bone (anchored(x)) + mass · P_bone``, where G and P are the bone's global rotation and position.
    """

    joint: Int[Tensor, " shares"]  # hand joint of the share
    bone: Int[Tensor, " shares"]  # bone of the share, 0 … 15
    mass: Float[Tensor, " shares"]  # Σ_v regressor × weight
    pose_directions: Float[
        Tensor, "135 shares*3"
    ]  # features F − I of the 15 rotating joints in hand order, row by row
    incidence: Float[Tensor, "21 shares"]  # 1 where a share belongs to a joint
    # Maps of the shape: the mean shape's value, then what each of the ten components adds.
    offsets: Float[Tensor, "11 21 3"]  # from the parent joint, at rest, on the skinned surface; zero at the wrist
    bone_offsets: Float[Tensor, "11 21 3"]  # from the parent bone's beginning, before skinning
    anchored: Float[Tensor, "11 shares 3"]  # Σ_v regressor × weight × vertex − mass × beginning of the bone

    @staticmethod
    def of(model: ManoBody, tip_vertices: np.ndarray) -> FoldedSkin:
        """Fold ``model``; one pass over its vertices."""
        tips = torch.eye(len(model.v_template), dtype=model.dtype)[tip_vertices]
        regressor = torch.cat([model.J_regressor, tips])[list(MANO_TO_HAND)]
        weights = model.lbs_weights[:, [0, *MANO_BONES]]
        touched = (regressor != 0).to(weights) @ (weights != 0).to(weights) > 0
        joint, bone = touched.nonzero(as_tuple=True)
        share, mass = regressor[joint] * weights[:, bone].T, (regressor @ weights)[joint, bone]  # (P, V), (P,)
        vertices = torch.cat([model.v_template.unsqueeze(0), model.shapedirs.permute(2, 0, 1)])
        # Single-precision weights miss one by 1e-8; joints at rest, too, are those of the skinned surface. The bones
        # turn about the joints of the surface before it is skinned. The wrist does not turn, so its bone may as well
        # begin at the origin.
        rest = (regressor * model.lbs_weights.sum(-1)) @ vertices
        bones = regressor @ vertices
        bones[:, WRIST] = 0
        bone_joints = torch.tensor([WRIST, *(1 + 4 * (i // 3) + i % 3 for i in range(N_BONES - 1))])
        # Pose directions lie as (135, V * 3), bones in MANO's order.
        posedirs = model.posedirs.reshape(N_BONES - 1, 9, -1, 3)[[b - 1 for b in MANO_BONES]].flatten(0, 1)
        parents = [max(parent, WRIST) for parent in PARENTS]
        return FoldedSkin(
            joint=joint,
            bone=bone,
            mass=mass,
            pose_directions=torch.einsum("pv,fvc->fpc", share, posedirs).flatten(1),
            incidence=(joint == torch.arange(len(regressor))[:, None]).to(model.dtype),
            offsets=rest - rest[:, parents],
            bone_offsets=bones - bones[:, parents],
            anchored=share @ vertices - mass[:, None] * bones[:, bone_joints[bone]],
        )

    def to(self, *args, **kwargs) -> FoldedSkin:
        """Move to a device or floating-point type, as :meth:`torch.Tensor.to` does."""
        moved = {}
        for field in fields(self):
            tensor = getattr(self, field.name)
            device_only = {"device": torch.empty(0).to(*args, **kwargs).device}
            moved[field.name] = tensor.to(*args, **kwargs) if tensor.is_floating_point() else tensor.to(**device_only)
        return replace(self, **moved)


@dataclass(frozen=True)
class ManoSurface:
    """What a MANO hand of one shape needs to regress its joints from its posed surface, and to draw it."""

    hand: ManoHand
    betas: Float[Tensor, "... 10"]
    anchored: Float[Tensor, "... shares 3"]  # shaped shares, relative to their bone's joint
    bone_offsets: Float[
        Tensor, "... 21 3"
    ]  # bone vectors of the skeleton that carries the skin, from the model's origin

    @staticmethod
    def of(hand: ManoHand, betas: Float[Tensor, "... 10"]) -> ManoSurface:
        """Prepare the surface of ``hand`` with ``betas (..., 10)``."""
        skin = hand.skin
        return ManoSurface(hand, betas, _of_shape(skin.anchored, betas), _of_shape(skin.bone_offsets, betas))

    def picked(self, pick: Pick) -> ManoSurface:
        """The surfaces of some of the hands."""
        anchored, bone_offsets = pick(self.anchored, 2), pick(self.bone_offsets, 2)
        return replace(self, betas=pick(self.betas, 1), anchored=anchored, bone_offsets=bone_offsets)

    def axes(self, offsets: Float[Tensor, "... 21 3"]) -> Float[Tensor, "... 5 4 3 3"]:
        """Anatomical axes ``(..., 5, 4, 3, 3)`` of this shape, whose rest offsets are ``offsets (..., 21, 3)``."""
        return self.hand.axes_of(self.betas, offsets)

    def joints(
        self, local: Float[Tensor, "... 5 3 3 3"], fingers: Float[Tensor, "... 5 3 3 3"]
    ) -> Float[Tensor, "... 21 3"]:
        """Joints regressed from the posed surface (mathematics §3).

        Args:
            local: ``(..., 5, 3, 3, 3)`` local rotations.
            fingers: ``(..., 5, 3, 3, 3)`` global rotations.

        Returns:
            ``(..., 21, 3)``, wrist at the origin.
        """
        skin = self.hand.skin
        batch = common_shape(local.shape[:-4], self.bone_offsets.shape[:-2])
        local, fingers = (_spread(turns.flatten(-4, -3), batch, 3) for turns in (local, fingers))  # (15, 3, 3, F)
        eye = torch.eye(3, dtype=local.dtype, device=local.device).unsqueeze(-1)
        rotations = torch.cat([eye.expand(1, 3, 3, fingers.shape[-1]), fingers])
        shares = (skin.pose_directions.T @ (local - eye).flatten(0, 2)).unflatten(0, (-1, 3))  # (P, 3, F)
        shares = shares + _spread(self.anchored, batch, 2)
        placed = turn(rotations.index_select(0, skin.bone), shares)
        placed = placed + skin.mass[:, None, None] * self._bone_positions(fingers, batch).index_select(0, skin.bone)
        joints = (skin.incidence @ placed.flatten(1)).unflatten(-1, (3, -1))
        return frames_first(joints - joints[:1], batch)

    def _bone_positions(
        self, fingers: Float[Tensor, "15 3 3 frames"], batch: torch.Size
    ) -> Float[Tensor, "16 3 frames"]:
        """Where the 16 bones begin, ``(16, 3, F)``, by forward kinematics; ``fingers (15, 3, 3, F)``."""
        offsets = _spread(kinematics.fingers_of(self.bone_offsets), batch, 3)  # (5, 4, 3, F)
        first = offsets[:, 0]
        steps = turn(fingers.unflatten(0, (N_FINGERS, -1))[:, :2].flatten(0, 1), offsets[:, 1:3].flatten(0, 1))
        steps = steps.unflatten(0, (N_FINGERS, 2))
        second = first + steps[:, 0]
        bones = torch.stack([first, second, second + steps[:, 1]], dim=1).flatten(0, 1)
        return torch.cat([torch.zeros_like(bones[:1]), bones])

    def vertices(
        self, local: Float[Tensor, "... 5 3 3 3"], joints: Float[Tensor, "... 21 3"]
    ) -> Float[Tensor, "... vertices 3"]:
        """Posed surface ``(..., V, 3)`` by linear blend skinning, wrist at the origin.

        Args:
            local: ``(..., 5, 3, 3, 3)`` local rotations.
            joints: ``(..., 21, 3)`` the joints of that pose, which give the batch.
        """
        batch = joints.shape[:-2]
        model, dtype = self.hand.model, self.hand.model.dtype
        pose = torch.eye(3, dtype=dtype, device=local.device).repeat(*batch, N_BONES, 1, 1)
        pose[..., list(MANO_BONES), :, :] = local.flatten(-4, -3).to(dtype)
        betas = self.betas.to(dtype).expand(*batch, N_SHAPE).to(local.device)
        model = model.to(local.device)
        vertices, _ = model.vertices(betas, pose)
        wrist = torch.einsum("v,...vx->...x", model.J_regressor[0], vertices)
        return (vertices - wrist.unsqueeze(-2)).to(local.dtype)


def _spread(tensor: Tensor, batch: torch.Size, own_dims: int) -> Tensor:
    """``tensor (..., *own)`` expanded to the whole batch, frames last."""
    return frames_last(tensor.expand(*batch, *tensor.shape[tensor.ndim - own_dims :]), own_dims)


def _of_shape(shape_map: Float[Tensor, "11 n 3"], betas: Float[Tensor, "*batch 10"]) -> Float[Tensor, "*batch n 3"]:
    """``(..., n, 3)`` of shapes ``betas (..., 10)``, from the mean shape and ten directions ``(11, n, 3)``."""
    return shape_map[0] + (betas @ shape_map[1:].flatten(1)).unflatten(-1, shape_map.shape[1:])
