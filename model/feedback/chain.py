"""Hands as chains of joint frames, frames of a motion last: the geometry of the feedback network (mathematics §21).

A chain is a hand in the frame of its own palm and in palm lengths, so that hands of all rigs look alike. Left hands
become right ones by way of a mirror. Poses are twist-bend-splay rotations ``(3, 3, 5, 3, F)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from model.hands import ShapedHand
from model.kinematics import fingers_of, rest_pose
from model.layout import constant
from model.mirror import mirror_axes, mirror_points
from model.rotations import unit
from model.semantics import seen_from_joints
from model.topology import BONES_PER_FINGER, INDEX, MIDDLE, PALM_ANCHORS, PINKY, ROOTS

N_ROW = 240
"""Numbers of a chain."""
N_DESCRIPTION = 135
"""Numbers by which a network knows a hand. Flesh is to be added here."""
_PARTS = {"root": (3, 5), "first": (3, 3, 5), "between": (3, 3, 3, 5), "bones": (3, 3, 5)}
_ANCHOR_FINGERS = tuple(ROOTS.index(root) for root, _ in PALM_ANCHORS)
_ANCHOR_SHARES = tuple(share for _, share in PALM_ANCHORS)


@dataclass(frozen=True)
class Chain:
    """``N`` hands, one for each frame, or one for all; see :meth:`of`."""

    root: Float[Tensor, "3 5 n"]
    """Where fingers begin."""
    first: Float[Tensor, "3 3 5 n"]
    """Frame of each finger's first joint in the rest pose."""
    between: Float[Tensor, "3 3 3 5 n"]
    """``[row, column, k, finger]``: from the frame of joint k to that of joint k + 1 in the rest pose."""
    bones: Float[Tensor, "3 3 5 n"]
    """``[coordinate, k, finger]``: from joint k to joint k + 1, in the frame of joint k."""

    @staticmethod
    def of(hand: ShapedHand) -> Chain:
        """The chains of hands ``(...)``, flattened to one dimension. A MANO hand's has its bones at rest."""
        offsets, axes = hand.offsets, hand.axes
        batch = torch.broadcast_shapes(offsets.shape[:-2], axes.shape[:-4])
        offsets = offsets.expand(*batch, -1, -1).reshape(-1, *offsets.shape[-2:])
        axes = axes.expand(*batch, *axes.shape[-4:]).reshape(-1, *axes.shape[-4:])
        if hand.side == "left":
            offsets, axes = mirror_points(offsets), mirror_axes(axes)
        rest, columns = rest_pose(offsets), axes.transpose(-1, -2)
        palm, length = _palm(offsets)
        bones = fingers_of(offsets) / length[:, None, None, None]
        turning = columns[:, :, :BONES_PER_FINGER]
        following = torch.cat([rest[:, :, 1:] @ columns[:, :, 1:BONES_PER_FINGER], columns[:, :, -1:]], dim=2)
        return Chain(
            root=(bones[:, :, 0] @ palm.mT).permute(2, 1, 0).contiguous(),
            first=(palm[:, None] @ rest[:, :, 0] @ columns[:, :, 0]).permute(2, 3, 1, 0).contiguous(),
            between=(turning.mT @ following).permute(3, 4, 2, 1, 0).contiguous(),
            bones=(turning.mT @ bones[:, :, 1:, :, None])[..., 0].permute(3, 2, 1, 0).contiguous(),
        )

    def rows(self) -> Float[Tensor, "n 240"]:
        """One hand a row."""
        return torch.cat([part.flatten(0, -2) for part in vars(self).values()]).T.contiguous()

    @staticmethod
    def from_rows(rows: Float[Tensor, "n 240"]) -> Chain:
        """The inverse of :meth:`rows`."""
        sizes = [torch.Size(shape).numel() for shape in _PARTS.values()]
        parts = rows.T.contiguous().split(sizes)
        return Chain(
            **{name: part.unflatten(0, shape) for part, (name, shape) in zip(parts, _PARTS.items(), strict=True)}
        )

    def at(self, frames: Int[Tensor, " some"]) -> Chain:
        """The hands of some frames; one hand for all stays one."""
        return self if self.root.shape[-1] == 1 else Chain(*(part[..., frames] for part in vars(self).values()))

    def description(self) -> Float[Tensor, "135 n"]:
        """What a network is told of the hands: all that distinguishes them, near zero for the usual one."""
        eye = torch.eye(3, dtype=self.root.dtype, device=self.root.device)
        columns = (self.first - eye.view(3, 3, 1, 1))[:, ::2]
        c = self.between
        turns = torch.stack([c[2, 1] - c[1, 2], c[0, 2] - c[2, 0], c[1, 0] - c[0, 1]]) / 2
        return torch.cat([part.flatten(0, -2) for part in (self.root, columns, turns, self.bones)])

    def seen(self, tbs: Float[Tensor, "3 3 5 3 frames"]) -> Float[Tensor, "20 29 3 frames"]:
        """The semantic matrix of the hands in poses: finger joints, then palm anchors, seen from each finger joint."""
        frames = tbs.shape[-1]
        turned, points = [], [self.root.expand(3, 5, frames)]
        frame = self.first
        for k in range(BONES_PER_FINGER):
            frame = product(frame if k == 0 else product(frame, self.between[:, :, k - 1]), tbs[:, :, :, k])
            turned.append(frame)
            points.append(points[-1] + (frame * self.bones[:, k]).sum(1))
        turned.append(product(frame, self.between[:, :, 2]))
        joints = torch.stack(points, 2)  # (3, 5, 4, F)
        share = constant(_ANCHOR_SHARES, joints.dtype, joints.device).unsqueeze(-1)
        anchors = joints[:, constant(_ANCHOR_FINGERS, torch.int64, joints.device), 0] * share
        seen = torch.cat([joints.flatten(1, 2), anchors], 1).transpose(0, 1).contiguous()
        return seen_from_joints(seen, torch.stack(turned, 3).flatten(2, 3).permute(2, 0, 1, 3).contiguous())


def product(first: Float[Tensor, "3 3 *any"], second: Float[Tensor, "3 3 *any"]) -> Float[Tensor, "3 3 *any"]:
    """Products of matrices whose rows and columns are the first dimensions; the others broadcast."""
    return (first.unsqueeze(2) * second.unsqueeze(0)).sum(1)


def turned(
    tbs: Float[Tensor, "3 3 5 3 frames"], turn: Float[Tensor, "3 5 3 frames"]
) -> Float[Tensor, "3 3 5 3 frames"]:
    """Rotations ``S Exp(δ)``: each turned by a rotation vector in its own joint's frame."""
    square = turn.square().sum(0) + 1e-10
    angle = square.sqrt()
    sine, versine = angle.sin() / angle, 0.5 * ((0.5 * angle).sin() / (0.5 * angle)).square()
    x, y, z = sine * turn
    xx, yy, zz = versine * turn.square()
    xy, xz, yz = versine * turn[0] * turn[1], versine * turn[0] * turn[2], versine * turn[1] * turn[2]
    rows = [[1 - yy - zz, xy - z, xz + y], [xy + z, 1 - xx - zz, yz - x], [xz - y, yz + x, 1 - xx - yy]]
    return product(tbs, torch.stack([torch.stack(row) for row in rows]))


def frames_last_tbs(tbs: Float[Tensor, "frames 5 3 3 3"]) -> Float[Tensor, "3 3 5 3 frames"]:
    """Rotations as the chain takes them."""
    return tbs.permute(3, 4, 1, 2, 0).contiguous()


def frames_first_tbs(tbs: Float[Tensor, "3 3 5 3 frames"]) -> Float[Tensor, "frames 5 3 3 3"]:
    """The inverse of :func:`frames_last_tbs`."""
    return tbs.permute(4, 2, 3, 0, 1).contiguous()


def _palm(offsets: Float[Tensor, "n 21 3"]) -> tuple[Float[Tensor, "n 3 3"], Float[Tensor, " n"]]:
    """Rows of a right hand's palm frame: forward, towards the thumb, out of its back; and the palm's length."""
    roots = fingers_of(offsets)[:, :, 0]
    middle = roots[:, MIDDLE]
    back = -unit(torch.linalg.cross(roots[:, INDEX], roots[:, PINKY], dim=-1))
    forward = unit(middle - (middle * back).sum(-1, keepdim=True) * back)
    return torch.stack([forward, torch.linalg.cross(back, forward, dim=-1), back], dim=1), middle.norm(dim=-1)
