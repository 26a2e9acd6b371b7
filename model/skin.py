"""The skin of a hand as points that move with its bones, and the gaps between its parts (mathematics §20).

Capsules (:mod:`model.flesh`) say which way to move for a gap to change; how large it is, where skin folds and bulges,
the skin itself says better. Lengths are palm lengths.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from model.flesh import N_PARTS, PALM, PART_PAIRS
from model.hands import PosedHand
from model.topology import BONES_PER_FINGER, JOINTS_PER_FINGER, N_FINGERS

BONES = (0, *(1 + JOINTS_PER_FINGER * f + b for f in range(N_FINGERS) for b in range(BONES_PER_FINGER)))
"""Joints that skin follows: the wrist, and three of each finger."""
PER_PART = 40
PER_PALM = 96
N_POINTS = PALM * PER_PART + PER_PALM
REACH = 0.15
"""Gaps above are infinite."""
NEAR = 0.12
"""Gaps above say nothing of how wrong flesh is."""
CULLED = NEAR + 0.03
"""Skin is not looked at where flesh tells a gap of more than this, which it does to about 0.03."""
_FRAMES = 64
_PALM_AT = PALM * PER_PART


@dataclass(frozen=True)
class SkinPoints:
    """Points spread over the skin of one hand: `PER_PART` of each phalanx, then `PER_PALM` of the palm."""

    places: Float[Tensor, "points 3"]
    """At rest, from the wrist."""
    normals: Float[Tensor, "points 3"]
    """Outward."""
    weights: Float[Tensor, "points 16"]
    """By `BONES`."""
    joints: Float[Tensor, "16 3"]
    """`BONES` at rest, from the wrist."""
    spacing: Float[Tensor, " points"]
    """Half the distance between neighbours: so far beside a point its plane is the skin."""

    def to(self, like: Tensor) -> SkinPoints:
        """The same in the type and on the device of a tensor."""
        return SkinPoints(*(part.to(like) for part in vars(self).values()))

    def posed(self, hand: PosedHand) -> tuple[Float[Tensor, "frames points 3"], Float[Tensor, "frames points 3"]]:
        """Places and normals ``(F, N, 3)`` in poses ``(F,)``."""
        turns = hand.global_rotations[..., list(BONES), :, :]
        moved = self._moved(turns)
        turn = torch.einsum("nb,fbij->fnij", self.weights, turns)
        places = (turn @ self.places[:, :, None])[..., 0] + torch.einsum("nb,fbi->fni", self.weights, moved)
        normals = (turn @ self.normals[:, :, None])[..., 0]
        return places, normals / normals.norm(dim=-1, keepdim=True).clamp_min(1e-9)

    def _moved(self, turns: Float[Tensor, "frames 16 3 3"]) -> Float[Tensor, "frames 16 3"]:
        """Shifts that go with the rotations of `BONES`. From bone to bone, not by the joints of the pose: those of
        MANO's follow from its surface."""
        fingers = turns[..., 1:, :, :].unflatten(-3, (N_FINGERS, BONES_PER_FINGER))
        joints = self.joints[1:].unflatten(0, (N_FINGERS, BONES_PER_FINGER))
        bones = (fingers[..., :-1, :, :] @ joints.diff(dim=1).unsqueeze(-1)).squeeze(-1)
        heads = joints[:, :1] + torch.cat([torch.zeros_like(bones[..., :1, :]), bones.cumsum(-2)], dim=-2)
        own = heads - (fingers @ joints.unsqueeze(-1)).squeeze(-1)
        wrist = self.joints[0] - (turns[..., 0, :, :] @ self.joints[0].unsqueeze(-1)).squeeze(-1)
        return torch.cat([wrist.unsqueeze(-2), own.flatten(-3, -2)], dim=-2)

    def gaps(self, hand: PosedHand, by_flesh: Float[Tensor, "frames 73"]) -> Float[Tensor, "frames 73"]:
        """Gaps ``(F, 73)`` of `PART_PAIRS` in poses ``(F,)``, negative where skin is inside skin; infinite beyond
        `REACH`, and where those ``by_flesh`` are over `CULLED`."""
        with torch.no_grad():
            frames = torch.arange(len(hand.joints)).split(_FRAMES)
            near = by_flesh <= CULLED
            return torch.cat([self._gaps(*self.posed(hand[some]), near[some]) for some in frames])

    def _gaps(self, places: Tensor, normals: Tensor, near: Bool[Tensor, "frames 73"]) -> Tensor:
        table = places.new_full((len(places), N_PARTS, N_PARTS), torch.inf)
        first, second = torch.tensor(PART_PAIRS, device=places.device).T
        digits = first // BONES_PER_FINGER * (N_FINGERS + 1) + second // BONES_PER_FINGER
        for one in range(N_FINGERS):
            for other in range(one + 1, N_FINGERS + 1):
                some = near[:, digits == one * (N_FINGERS + 1) + other].any(1).nonzero()[:, 0]
                if len(some):
                    a, b = self._parts(one, other == N_FINGERS), self._parts(other)
                    points = (
                        slice(part.start * PER_PART, N_POINTS if part.start == PALM else part.stop * PER_PART)
                        for part in (a, b)
                    )
                    rows, columns = (torch.arange(part.start, part.stop, device=places.device) for part in (a, b))
                    table[some[:, None, None], rows[:, None], columns] = self._between(
                        places[some], normals[some], *points
                    )
        return table[:, first, second].masked_fill(~near, torch.inf)

    @staticmethod
    def _parts(digit: int, last: bool = False) -> slice:
        """Of a finger, or only the last phalanx, which alone counts on the palm; of the palm itself."""
        if digit == N_FINGERS:
            return slice(PALM, PALM + 1)
        return slice(BONES_PER_FINGER * digit + (BONES_PER_FINGER - 1 if last else 0), BONES_PER_FINGER * (digit + 1))

    def _between(self, places: Tensor, normals: Tensor, a: slice, b: slice) -> Tensor:
        """``(F, parts of a, parts of b)``."""
        squared = torch.cdist(places[:, a], places[:, b], compute_mode="use_mm_for_euclid_dist")
        one = self._seen(squared, places, normals, a, b)
        other = self._seen(squared.mT, places, normals, b, a).mT
        return torch.minimum(one, other)

    def _seen(self, away: Tensor, places: Tensor, normals: Tensor, a: slice, b: slice) -> Tensor:
        """Points of ``a`` against the skin of ``b``."""
        per = PER_PALM if b.start == _PALM_AT else PER_PART
        near, number = away.unflatten(-1, (-1, per)).min(-1)  # (F, points of a, parts of b)
        number = number + b.start + per * torch.arange(near.shape[-1])
        lanes = torch.arange(len(away))[:, None, None]
        apart = places[:, a, None] - places[lanes, number]
        normal = normals[lanes, number]
        height = (apart * normal).sum(-1)
        beside = (near.square() - height.square()).clamp_min(0).sqrt() - self.spacing[number]
        # At the open ends of a part its planes go on where no skin is.
        inside = (height < 0) & (beside < -height)
        gap = (height.square() + beside.clamp_min(0).square()).sqrt()
        # What lies inside is deep in the part whose skin is nearest, and in no other.
        nearest = near.argmin(-1, keepdim=True) == torch.arange(near.shape[-1])
        gap = torch.where(inside, torch.where(nearest, -gap, torch.inf), gap)
        gap = torch.where(gap.abs() > REACH, torch.inf, gap)
        per = PER_PALM if a.start == _PALM_AT else PER_PART
        return gap.unflatten(1, (-1, per)).amin(2)
