"""What a source asks of a target's pose, frame by frame, with frames last (mathematics §21)."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from model import presence
from model.layout import constant, frames_last
from model.limits import JointLimits
from model.optimizer.settings import OptimizerSettings
from model.semantics import SemanticMatrix
from model.topology import N_ANCHORS, N_FINGER_JOINTS, N_FINGERS, THUMB, TIPS
from model.touch import ramp

TIP_ROWS = tuple(tip - 1 for tip in TIPS)
SOFT = 0.02
"""Palm lengths: directions to points nearer than that count less in training, since they turn too fast."""
CURVED, STRAIGHT = 2000.0, 60.0
"""Weights of the squared and of the plain gap of fingertips that touch in the source."""
_PALM_WEIGHT = 0.5 * N_FINGER_JOINTS / N_ANCHORS
_PAIRS = N_FINGER_JOINTS**2
_NEAR_ZERO = 0.01
_AXIS_LIMIT = {"finger": (34.0, 17.0, 17.0), "thumb": (75.0, 29.0, 29.0)}
"""Degrees by which the bend axis of a joint, from the root outwards, may lean."""
_LEANS = tuple(
    tuple(1 - cos(radians(angle)) for angle in _AXIS_LIMIT[kind]) for kind in (*("finger",) * (N_FINGERS - 1), "thumb")
)
_BENDS = tuple(
    tuple(
        tuple(each[bound] for each in (JointLimits.thumb_bend if finger == THUMB else JointLimits.finger_bend))
        for finger in range(N_FINGERS)
    )
    for bound in (0, 1)
)


@dataclass(frozen=True)
class Wanted:
    """What the source's pose asks for; see :meth:`of`."""

    seen: Float[Tensor, "20 29 3 frames"]
    """Its semantic matrix."""
    direction: Float[Tensor, "20 29 3 frames"]
    """Its directions."""
    touch: Float[Tensor, "5 5 frames"]
    """By how much its fingertips touch."""
    mask: Float[Tensor, "20 29 frames"] | None = None
    """1 where both hands have the joints; None: everywhere."""

    @staticmethod
    def of(matrix: SemanticMatrix, present: Bool[Tensor, "... 21"] | None = None) -> Wanted:
        """Of a semantic matrix ``(...)``, which is flattened; ``present`` broadcasts to it."""
        return Wanted.of_seen(
            frames_last(torch.cat(matrix, dim=-2), 3), None if present is None else pair_mask(present)
        )

    @staticmethod
    def of_seen(seen: Float[Tensor, "20 29 3 frames"], mask: Float[Tensor, "20 29 frames"] | None = None) -> Wanted:
        """The same with frames last already."""
        if mask is not None:
            seen = seen * mask.unsqueeze(2)
        distance = seen.square().sum(2).sqrt()
        direction = seen / distance.clamp_min(1e-9).unsqueeze(2)
        touch = ramp(tips(distance), OptimizerSettings.contact_near, OptimizerSettings.contact_far)
        touch = touch * (1 - torch.eye(N_FINGERS, dtype=seen.dtype, device=seen.device)).unsqueeze(-1)
        return Wanted(seen, direction, touch if mask is None else touch * tips(mask), mask)

    def at(self, frames: Int[Tensor, " some"]) -> Wanted:
        """Of some frames."""
        mask = None if self.mask is None else self.mask[..., frames]
        return Wanted(self.seen[..., frames], self.direction[..., frames], self.touch[..., frames], mask)

    def score(self, seen: Float[Tensor, "20 29 3 frames"]) -> Float[Tensor, " frames"]:
        """S_finger ``(F,)`` of a pose's semantic matrix; of complete hands, otherwise a constant times it."""
        fingers = seen[:, :N_FINGER_JOINTS]
        cosines = (fingers * self.direction[:, :N_FINGER_JOINTS]).sum(2)
        cosines = cosines * fingers.square().sum(2).clamp_min(1e-24).rsqrt()
        return cosines.flatten(0, 1).sum(0) / _PAIRS

    def gap(self, seen: Float[Tensor, "20 29 3 frames"]) -> Float[Tensor, "5 5 3 frames"]:
        """By how much fingertips are elsewhere than the source's, seen from each other."""
        return tips(seen) - tips(self.seen)

    def loss(self, seen: Float[Tensor, "20 29 3 frames"]) -> Float[Tensor, " frames"]:
        """What training lowers ``(F,)``: misfit of directions, and gaps of touches."""
        cosines = (seen * self.direction).sum(2) * (seen.square().sum(2) + SOFT**2).rsqrt()
        weight = seen.new_ones(N_FINGER_JOINTS, N_FINGER_JOINTS + N_ANCHORS, 1)
        weight[:, N_FINGER_JOINTS:] = _PALM_WEIGHT
        weight.diagonal(dim1=0, dim2=1).zero_()
        misfit = ((1 - cosines) * (weight if self.mask is None else weight * self.mask)).flatten(0, 1).sum(0)
        square = self.gap(seen).square().sum(2)
        near = (square + _NEAR_ZERO**2).sqrt() - _NEAR_ZERO
        touches = 0.5 * (self.touch * (CURVED * square + STRAIGHT * near)).flatten(0, 1).sum(0)
        return (misfit + touches) / _PAIRS


def tips(table: Float[Tensor, "20 29 ..."]) -> Float[Tensor, "5 5 ..."]:
    """The rows and columns of fingertips."""
    rows = constant(TIP_ROWS, torch.int64, table.device)
    return table[rows][:, rows]


def pair_mask(present: Bool[Tensor, "... 21"]) -> Float[Tensor, "20 29 frames"]:
    """1 where both joints of a pair are present, of ``present (..., 21)`` flattened."""
    rows = presence.finger_joints(present).reshape(-1, N_FINGER_JOINTS).T
    columns = torch.cat([rows, presence.anchors(present).reshape(-1, N_ANCHORS).T])
    return (rows.unsqueeze(1) & columns.unsqueeze(0)).float()


def excess(tbs: Float[Tensor, "3 3 5 3 frames"]) -> tuple[Float[Tensor, "5 3 frames"], Float[Tensor, "5 3 frames"]]:
    """How far joints are beyond their limits: bends, radians, and 1 − cos of how the bend axis leans.

    Unlike angles, both are smooth everywhere but at half turns.
    """
    low, high = constant(_BENDS, tbs.dtype, tbs.device).unsqueeze(-1)
    bend = torch.atan2(tbs[0, 2] - tbs[2, 0], tbs[0, 0] + tbs[2, 2] + 1e-6)
    allowed = constant(_LEANS, tbs.dtype, tbs.device).unsqueeze(-1)
    return torch.relu(bend - high) + torch.relu(low - bend), torch.relu(1 - tbs[1, 1] - allowed)
