"""Training losses (mathematics §6): reconstruction, direction and distance terms, anatomical penalties.

All are means over batch and time of per-frame values unless said otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, radians, sin

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from model import presence
from model.rotations import axis_angle, safe_atan2
from model.semantics import pairwise_distances
from model.topology import N_FINGER_JOINTS, THUMB

FOUR_FINGERS = slice(THUMB)
"""All but the thumb, which comes last."""
PUBLISHED_LIMITS = ("asrn", "dm")
_TINY = 1e-24


# ---------------------------------------------------------------------------------------------------------------------
# Direction of the semantic matrix


def finger_weights(
    distance: Float[Tensor, "... 20 points"],
    weighted: bool,
    unweighted_share: float,
    present: Bool[Tensor, "... 20"] | None = None,
) -> Float[Tensor, "... 20 20"]:
    """Weights ``w_ij (..., 20, 20)`` of the finger direction term: near joints count more.

    Args:
        distance: ``(..., 20, 20 or more)`` distances in the source's semantic matrix, finger joints first.
        weighted: softmax over j of ``−|rf_ij|`` plus ``unweighted_share``; otherwise 1/20 everywhere.
        unweighted_share: λ_unweighted.
        present: ``(..., 20)`` bool, finger joints that count; None: all. The weights of others are zero, and those of
            the rest are what they were without them.
    """
    distance = distance[..., :N_FINGER_JOINTS]
    if present is not None:
        columns = present.unsqueeze(-2).to(distance.dtype)
        if not weighted:
            return (columns / columns.sum(-1, keepdim=True)).expand_as(distance)
        nearness = torch.exp(-distance) * columns
        return nearness / nearness.sum(-1, keepdim=True) + unweighted_share * columns
    if not weighted:
        return torch.full_like(distance, 1 / N_FINGER_JOINTS)
    nearness = torch.exp(-distance)  # not torch.softmax, which would copy to its own memory layout
    return nearness / nearness.sum(-1, keepdim=True) + unweighted_share


# ---------------------------------------------------------------------------------------------------------------------
# Distances


def unit_rows(
    distances: Float[Tensor, "... n n"], present: Bool[Tensor, "... n"] | None = None
) -> Float[Tensor, "... n n"]:
    """Distance matrices ``(..., n, n)`` with each row scaled to unit length; with ``present (..., n)`` bool, as if
    other joints were not there (their entries are zero)."""
    if present is not None:
        distances = distances * presence.pairs(present, present)
        return distances / distances.square().sum(-1, keepdim=True).clamp_min(_TINY).sqrt()
    return distances / distances.square().sum(-1, keepdim=True).sqrt()


def distance_term(
    joints: Float[Tensor, "... n 3"],
    source_rows: Float[Tensor, "... n n"],
    present: Bool[Tensor, "... n"] | None = None,
) -> Float[Tensor, ""]:
    """Mean squared difference of two distance matrices whose rows are scaled to unit length (mathematics §6, DM).

    Args:
        joints: ``(..., n, 3)`` finger joints of the result; their scale does not matter.
        source_rows: ``(..., n, n)`` :func:`unit_rows` of the source.
        present: ``(..., n)`` bool, finger joints that both hands have; None: all.
    """
    difference = (unit_rows(pairwise_distances(joints), present) - source_rows).square()
    return presence.mean(difference, None if present is None else presence.pairs(present, present))


# ---------------------------------------------------------------------------------------------------------------------
# Anatomy


@dataclass(frozen=True)
class AnatomicalLoss:
    """Penalties for twists, splays and bends that a hand cannot make (mathematics §6.1).

    Attributes:
        kind: ``"euler"`` (angles of twist, bend, splay) or ``"axis"`` (rotation axis and angle).
        method: ``"asrn"`` or ``"dm"``; their published limits differ.
        corrected: False reproduces the published penalties. True corrects their two defects: the Euler bend no longer
            saturates at 39.54° but is the true angle, up to 180°, with a finite gradient everywhere; and DM's axis
            limits of the finger roots act on the roots only.
    """

    kind: str
    method: str
    corrected: bool = False

    def __post_init__(self) -> None:
        if self.kind not in ("euler", "axis"):
            raise ValueError(f"`anatomical_loss_type` must be 'euler' or 'axis'; got {self.kind!r}")
        if self.method not in PUBLISHED_LIMITS:
            raise ValueError(f"`method` must be one of {PUBLISHED_LIMITS}; got {self.method!r}")

    def __call__(
        self, tbs: Float[Tensor, "... 5 3 3 3"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""], Float[Tensor, ""]]:
        """Twist, splay and bend penalty (scalars, rad² or unitless) of ``tbs (..., 5, 3, 3, 3)``."""
        twist, splay, bend = self.per_frame(tbs)
        return twist.mean(), splay.mean(), bend.mean()

    def per_frame(
        self, tbs: Float[Tensor, "*batch 5 3 3 3"]
    ) -> tuple[Float[Tensor, " *batch"], Float[Tensor, " *batch"], Float[Tensor, " *batch"]]:
        """The same for every frame, ``(...,)`` each."""
        return self._euler(tbs) if self.kind == "euler" else self._axis(tbs)

    def _euler(
        self, tbs: Float[Tensor, "*batch 5 3 3 3"]
    ) -> tuple[Float[Tensor, " *batch"], Float[Tensor, " *batch"], Float[Tensor, " *batch"]]:
        if self.corrected:
            twist, bend, splay = _unfolded_angles(tbs).unbind(-1)
        else:
            twist, bend, splay = _saturating_angles(tbs)
        root_splay = pi / 6 if self.method == "asrn" else pi / 18
        splay_terms = (
            _per_frame(splay[..., 1:].square())
            + _above(splay[..., THUMB, 0].abs(), pi / 3)
            + _above(splay[..., FOUR_FINGERS, 0].abs(), root_splay).sum(-1)
        )
        if self.method == "asrn":
            low = (
                _per_frame(_above(-bend[..., 1:], 0))
                + _above(-bend[..., FOUR_FINGERS, 0], pi / 18).sum(-1)
                + _above(-bend[..., THUMB, 0], pi / 3)
            )
        else:
            low = _per_frame(_above(-bend, 0))
        return _per_frame(twist.square()), splay_terms, low + _per_frame(_above(bend, pi / 2))

    def _axis(
        self, tbs: Float[Tensor, "*batch 5 3 3 3"]
    ) -> tuple[Float[Tensor, " *batch"], Float[Tensor, " *batch"], Float[Tensor, " *batch"]]:
        axis, angle = axis_angle(tbs)
        turned = (angle > 0).to(axis.dtype)  # an unturned joint has no axis, hence no penalty
        x, y, z = axis.unbind(-1)
        wide, narrow = sin(radians(60)), {"x": sin(radians(5)), "z": sin(radians(10)), "y": sin(radians(20))}

        def limited(values: Float[Tensor, "*batch 5 3"], limit: float) -> Float[Tensor, " *batch"]:
            """Excess over the limits of the roots (and over DM's limits on all joints)."""
            if self.method == "dm" and not self.corrected:
                small = _per_frame(_above(values, limit))
            else:
                small = _above(values[..., FOUR_FINGERS, 0], limit).sum(-1)
            return small + _above(values[..., THUMB, 0], wide)

        off_bend = (1 - y) * turned
        twist = _per_frame(x[..., 1:].square()) + limited(x.abs(), narrow["x"])
        splay = _per_frame(z[..., 1:].square()) + limited(z.abs(), narrow["z"])
        bend = _per_frame(off_bend[..., 1:].square()) + limited(off_bend, narrow["y"])
        return twist, splay, bend + _per_frame(_above(angle, pi / 2))


def _above(values: Tensor, limit: float) -> Tensor:
    return torch.relu(values - limit).square()


def _per_frame(values: Float[Tensor, "*batch fingers joints"]) -> Float[Tensor, " *batch"]:
    return values.flatten(-2).sum(-1)


def _saturating_angles(
    tbs: Float[Tensor, "*batch 5 3 3 3"],
) -> tuple[Float[Tensor, "*batch 5 3"], Float[Tensor, "*batch 5 3"], Float[Tensor, "*batch 5 3"]]:
    """Twist, bend and splay as the published penalty reads them: the bend stops at asin(2/π) = 39.54°.

    Where an angle is not determined (gimbal lock), or its slope is infinite (a bend of −90°), the gradient is zero.
    """
    twist, _ = safe_atan2(-tbs[..., 1, 2], tbs[..., 2, 2], eps=0)
    splay, _ = safe_atan2(-tbs[..., 0, 1], tbs[..., 0, 0], eps=0)
    sine = tbs[..., 0, 2].clamp(-1, 2 / pi - 1e-7)
    bend = torch.asin(torch.where(sine > -1, sine, sine.detach()))
    return twist, bend, splay


def _unfolded_angles(tbs: Float[Tensor, "*batch 5 3 3 3"]) -> Float[Tensor, "*batch 5 3 3"]:
    """Twist, bend, splay ``(..., 3)``; a bend of 120° reads as 120°, not as 60° with twist and splay turned over.

    Every rotation has two such readings. The one with a bend beyond 90° is taken where the hand is closed and the
    other would have both twist and splay beyond 90°. Only there: a joint that is turned over about its own axis
    should be seen, and penalised, as twisted. Where an angle is not determined (a bend of exactly 90°), its gradient
    is zero.
    """
    overbent = (tbs[..., 0, 2] > 0) & (tbs[..., 0, 0] < 0) & (tbs[..., 2, 2] < 0)
    flip = torch.where(overbent, -1.0, 1.0).to(tbs.dtype)
    twist, radius = safe_atan2(-tbs[..., 1, 2] * flip, tbs[..., 2, 2] * flip)
    splay, _ = safe_atan2(-tbs[..., 0, 1] * flip, tbs[..., 0, 0] * flip)
    bend = torch.atan2(tbs[..., 0, 2], radius * flip)
    return torch.stack([twist, bend, splay], dim=-1)
