"""Touches of flesh as terms of the objective: value, gradient and Gauss–Newton matrix in closed form.

For each pair of capsules with gap ``g`` (source's ``g₀``, degree of touch ``d``, mathematics §20)

    ½ w d ρ(m(relu(g − a)) + κ |(I − n nᵀ)(q_B − q_A)|²)  +  ½ w_apart relu(low − g)²

The first closes touches, down to ``a`` (the source's gap, on another hand a little less, 0 where it is negative);
between that and the source's depth nothing pulls. ``m(r)`` is ``r²`` that pulls as hard near zero as a little off it.
The places ``q`` on the two bones that met in the source come over each other, ``n`` being the first one's own outward
direction there. ``ρ(m) = m g²/(g² + m)``: a touch that cannot be had does not spoil the rest of the pose; ``g``
falls in stages. The second term keeps out of flesh: ``low`` is the source's depth or `PRESSED` where that is more, and
rises to `TOUCHING` and a little where the source is apart. What flesh tells wrong of its gaps, seen against skin, is
taken off after each stage. Frames are the last dimension (see :mod:`model.layout`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from model.flesh import (
    CARRIERS,
    FIRST,
    PALM,
    SECOND,
    Touches,
    by_capsules,
    flattened,
    nearest_of,
    part_gaps,
)
from model.layout import frames_last
from model.optimizer.settings import OptimizerSettings
from model.topology import JOINTS_PER_FINGER
from model.touch import PRESSED, TOUCHING, TouchGoals, degree, pairs_present

GIVES = (0.3, 0.08, 0.05, 0.05, 0.05)
"""`TouchTerms.give` in stages: at first all touches pull, at last those that can be had."""
STAGES = (12, 12, 12, 4, 4)
"""Steps of each at most; the last ones follow what the skin says of the flesh."""
EXACT, NEARLY = 0.015, 0.003
"""Open gaps are pulled on as if they were the first wider, but for those not much wider than the second."""
CLEARANCE = 0.02
"""By how much pairs that are apart in the source keep from touching."""


@dataclass(frozen=True)
class TouchTerms:
    """The terms of some frames; goals frames last."""

    radii: Float[Tensor, "capsules 2 #frames"]
    flatness: Float[Tensor, "19 #frames"]
    aim: Float[Tensor, "pairs frames"]
    along: Float[Tensor, "2 pairs frames"]
    around: Float[Tensor, "2 3 pairs frames"]
    excess: Float[Tensor, "pairs frames"]
    """By how much flesh tells gaps too large, seen against skin."""
    weight: Float[Tensor, "pairs frames"]
    """Of the touch."""
    place: Float[Tensor, "pairs frames"]
    """How dear a squared distance of places is against a squared gap."""
    apart: Float[Tensor, "pairs 1"]
    low: Float[Tensor, "pairs frames"]
    first: Int[Tensor, " pairs"]
    second: Int[Tensor, " pairs"]
    give: float
    """Palm lengths from which on a touch that stays open costs little more the farther it is."""

    @staticmethod
    def of(
        goals: TouchGoals,
        settings: OptimizerSettings,
        present: Bool[Tensor, "21"] | None,
        excess: Float[Tensor, "frames pairs"],
    ) -> TouchTerms:
        """From goals ``(F, …)``."""
        gap = frames_last(goals.gap, 1)
        touch = degree(gap)
        counts = gap.new_ones(len(gap), 1) if present is None else pairs_present(present).to(gap).unsqueeze(1)
        deep = torch.minimum(gap, -gap.new_tensor(PRESSED))
        clear = TOUCHING + CLEARANCE
        low = deep * touch + torch.minimum(gap, gap.new_tensor(clear)) * (1 - touch)
        first, second = (torch.tensor(side, device=gap.device) for side in (FIRST, SECOND))
        return TouchTerms(
            frames_last(goals.flesh.radii, 2),
            frames_last(goals.flesh.flatness, 1),
            frames_last(goals.aim, 1),
            frames_last(goals.along, 2),
            frames_last(goals.around, 3),
            frames_last(excess, 1),
            settings.touch_weight * touch * counts,
            settings.place_weight / max(settings.touch_weight, 1e-9) * touch * counts,
            settings.apart_weight * counts,
            low,
            first,
            second,
            GIVES[-1],
        )

    def idle(self, gap: Float[Tensor, "frames pairs"]) -> Bool[Tensor, " frames"]:
        """Which frames ``(F,)`` whose flesh has these gaps ask for nothing."""
        gap = frames_last(gap, 1) - self.excess
        open_touch, deep = (self.weight > 0) & (self._open(gap) > 0), (self.apart > 0) & (self._deep(gap) > 0)
        return ~(open_touch | deep).any(0)

    def value(
        self, ends: Float[Tensor, "capsules 2 3 frames"], frames: Float[Tensor, "capsules 3 3 frames"]
    ) -> Float[Tensor, " frames"]:
        """``(F,)``; see :meth:`linearised`."""
        near = self._near(ends, frames)
        weight = self._weight(near.gap)
        misfit, _ = self._misfit(self._open(near.gap))
        some = (self.place > 0).any(1).nonzero()[:, 0]
        if len(some):
            across = self._across(*self._attached(ends, frames, some)[:3])
            misfit[some] += self.place[some] * across.square().sum(0)
        return 0.5 * (weight * self._given(misfit)[0] + self.apart * self._deep(near.gap).square()).sum(0)

    def linearised(
        self,
        ends: Float[Tensor, "capsules 2 3 frames"],
        frames: Float[Tensor, "capsules 3 3 frames"],
        axes: Float[Tensor, "angles 3 frames"],
        centres: Float[Tensor, "angles 3 frames"],
        moved: Bool[Tensor, "capsules angles"],
    ) -> tuple[Float[Tensor, " frames"], Float[Tensor, "frames angles"], Float[Tensor, "frames angles angles"]]:
        """Value ``(F,)``, gradient ``(F, U)`` and Gauss–Newton matrix ``(F, U, U)`` by U joint angles.

        Args:
            ends: ``(19, 2, 3, F)`` of the capsules, in palm lengths.
            frames: ``(19, 3, 3, F)`` of the capsules.
            axes, centres: ``(U, 3, F)`` what each angle turns about, and through which point.
            moved: ``(19, U)`` which capsules each angle moves.
        """
        near = self._near(ends, frames)
        opened, deep, weight = self._open(near.gap), self._deep(near.gap), self._weight(near.gap)
        misfit, stiffer = self._misfit(opened)
        placed = (self.place > 0).any(1).nonzero()[:, 0]
        first, second, outward, a, b = self._attached(ends, frames, placed)
        across = self._across(first, second, outward)
        misfit[placed] += self.place[placed] * across.square().sum(0)
        given, share = self._given(misfit)
        value = 0.5 * (weight * given + self.apart * deep.square()).sum(0)
        stiff = weight * share * stiffer * (opened > 0) + self.apart * (deep > 0)
        pull = weight * share * stiffer * opened - self.apart * deep
        rows, residuals = [], []
        some = (stiff > 0).any(1).nonzero()[:, 0]
        if len(some):
            normal = near.normal[:, some]
            slope = self._turned(near.places[1][:, some], normal, axes, centres, moved[self.second[some]])
            slope = slope - self._turned(near.places[0][:, some], normal, axes, centres, moved[self.first[some]])
            root = stiff[some].sqrt()
            rows.append(slope * root.unsqueeze(1))
            residuals.append(pull[some] / root.clamp_min(1e-12))
        if len(placed):
            root = (weight[placed] * share[placed] * self.place[placed]).sqrt()
            for c in range(3):
                direction = -outward * outward[c]
                direction[c] += 1
                slope = self._turned(second, direction, axes, centres, moved[b])
                slope = slope - self._turned(first, direction, axes, centres, moved[a])
                rows.append(slope * root.unsqueeze(1))
                residuals.append(across[c] * root)
        n_angles = len(axes)
        if not rows:
            return value, axes.new_zeros(axes.shape[-1], n_angles), axes.new_zeros(axes.shape[-1], n_angles, n_angles)
        slopes = torch.cat(rows).permute(2, 1, 0).contiguous()  # (F, U, rows)
        residual = torch.cat(residuals).t().unsqueeze(-1)
        return value, (slopes @ residual)[..., 0], slopes @ slopes.mT

    def _near(self, ends: Tensor, frames: Tensor) -> Touches:
        """Where capsules are nearest. How flat ones turn against each other is left out of the derivative."""
        near = nearest_of(ends, self.radii, self.first, self.second)
        near = flattened(near, frames, self.flatness, self.first, self.second)
        return near._replace(gap=near.gap - self.excess)

    def _weight(self, gap: Tensor) -> Tensor:
        """That of the touches: of the palm's capsules the nearest counts."""
        return self.weight * (gap <= by_capsules(part_gaps(gap.T)).T)

    def _open(self, gap: Tensor) -> Tensor:
        return torch.relu(gap - self.aim)

    @staticmethod
    def _misfit(opened: Tensor) -> tuple[Tensor, Tensor]:
        """``r² + 2 δ (√(r² + ε²) − ε)`` of open gaps ``r``, and half its slope over ``r``."""
        length = (opened.square() + NEARLY**2).sqrt()
        return opened.square() + 2 * EXACT * (length - NEARLY), 1 + EXACT / length

    def _given(self, misfit: Tensor) -> tuple[Tensor, Tensor]:
        """``m g² / (g² + m)`` of squared misfits ``m``, and its slope."""
        left = self.give**2 / (self.give**2 + misfit)
        return misfit * left, left.square()

    def _deep(self, gap: Tensor) -> Tensor:
        return torch.relu(self.low - gap)

    def _attached(self, ends: Tensor, frames: Tensor, some: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """The places on the skin of the first and second ``(3, n, F)``, the first one's outward direction, and the
        capsules that they lie on."""
        places, outwards = [], []
        numbers = self.first[some], self.second[some]
        for side, number in enumerate(numbers):
            share = self.along[side][some]
            tip, root = ends[number, 1].movedim(1, 0), ends[number, 0].movedim(1, 0)
            radius = self.radii[number, 0] + share * (self.radii[number, 1] - self.radii[number, 0])
            # (n, 3, 3, F) times (3, n, F)
            outward = (frames[number] * self.around[side][:, some].movedim(0, 1).unsqueeze(1)).sum(2).movedim(1, 0)
            places.append(root + share * (tip - root) + radius * outward)
            outwards.append(outward)
        return places[0], places[1], outwards[0], *numbers

    @staticmethod
    def _across(first: Tensor, second: Tensor, normal: Tensor) -> Tensor:
        apart = second - first
        return apart - normal * (apart * normal).sum(0)

    @staticmethod
    def _turned(point: Tensor, direction: Tensor, axes: Tensor, centres: Tensor, moved: Tensor) -> Tensor:
        """How far points ``(3, n, F)`` go along directions ``(3, n, F)`` by each angle: ``(n, U, F)``."""
        # direction · (axis × (point − centre)) = axis · (point × direction) − direction · (axis × centre)
        moment = torch.linalg.cross(point, direction, dim=0)
        offset = torch.linalg.cross(axes, centres, dim=1)
        result = torch.einsum("ucf,cnf->nuf", axes, moment) - torch.einsum("ucf,cnf->nuf", offset, direction)
        return result * moved.unsqueeze(-1)


def moved_by(unknowns: Int[Tensor, " angles"]) -> Bool[Tensor, "capsules angles"]:
    """Which capsules ``(19, U)`` angles move, from their numbers among the 45 (finger, joint, angle)."""
    finger, joint = unknowns // 9, unknowns % 9 // 3
    carriers = torch.tensor(CARRIERS, device=unknowns.device).unsqueeze(1) - 1
    inside = (carriers // JOINTS_PER_FINGER == finger) & (carriers % JOINTS_PER_FINGER >= joint)
    inside[PALM:] = False
    return inside
