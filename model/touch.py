"""What a touch is: the gap between the flesh of two parts of a hand, in palm lengths (mathematics §20)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from model.flesh import CAPSULE_PAIRS, FIRST, PART_PAIRS, SECOND, Flesh, capsule_frames
from model.hands import PosedHand, by_frames, by_items
from model.topology import BONES_PER_FINGER, JOINTS_PER_FINGER, N_FINGERS

TOUCHING = 0.03
"""Parts whose gap is this or less touch."""
APART = 0.08
"""Parts whose gap is this or more are apart; in between they touch by degrees."""
PRESSED = 0.01
"""Depth that soft skin takes without being seen: no part need be less deep in another."""
TOO_DEEP = 0.03
"""Depth beyond the source's from which on a result counts as wrong."""


def ramp(distance: Float[Tensor, " *any"], near: float, far: float) -> Float[Tensor, " *any"]:
    """One up to ``near``, zero from ``far`` on, with two continuous derivatives."""
    share = ((far - distance) / (far - near)).clamp(0, 1)
    return share**3 * (10 - 15 * share + 6 * share**2)


def degree(gap: Float[Tensor, " *any"]) -> Float[Tensor, " *any"]:
    """How much parts touch: 1 up to `TOUCHING`, 0 from `APART` on."""
    return ramp(gap, TOUCHING, APART)


def touching(gap: Float[Tensor, "frames pairs"]) -> Bool[Tensor, "frames pairs"]:
    """Which pairs touch in frames that follow each other: from `TOUCHING` or less until `APART` or more.

    In between a pair stays as it was; before anything is decided it touches if it is nearer to `TOUCHING`.
    """
    frame = torch.arange(1, len(gap) + 1, device=gap.device).unsqueeze(1)
    none = torch.zeros_like(frame)
    began = torch.where(gap <= TOUCHING, frame, none).cummax(0).values
    ended = torch.where(gap >= APART, frame, none).cummax(0).values
    undecided = (began == 0) & (ended == 0)
    return torch.where(undecided, gap[:1] < (TOUCHING + APART) / 2, began > ended)


@dataclass(frozen=True)
class TouchGoals:
    """What a source's touches ask of another hand; pairs as in `CAPSULE_PAIRS`, poses ``(...)``."""

    flesh: Flesh
    """Of the hand that shall touch; leading dimensions as its own."""
    gap: Float[Tensor, "*batch pairs"]
    """``(..., pairs)`` in the source."""
    along: Float[Tensor, "*batch 2 pairs"]
    """``(..., 2, pairs)`` where on the two bones, from 0 at the joint to 1."""
    around: Float[Tensor, "*batch 2 3 pairs"]
    """``(..., 2, 3, pairs)`` which way it lies from the bones, in their frames."""

    def at(self, index) -> TouchGoals:
        """Some of the poses, by their leading dimensions."""
        return replace(self, gap=self.gap[index], along=self.along[index], around=self.around[index])

    def of_items(self, items: Int[Tensor, " items"]) -> TouchGoals:
        """Some items of the first dimension, with their flesh."""
        return replace(self.at(items), flesh=self.flesh.picked(by_items(items)))

    def of_frames(self, batch: torch.Size, frames: Int[Tensor, " some"]) -> TouchGoals:
        """Some frames ``(n,)`` of flattened goals, whose poses had the leading dimensions ``batch``."""
        return replace(self.at(frames), flesh=self.flesh.picked(by_frames(batch, frames)))

    def to(self, like: Tensor) -> TouchGoals:
        """The same in the type and on the device of a tensor."""
        return TouchGoals(self.flesh.to(like), self.gap.to(like), self.along.to(like), self.around.to(like))

    def flattened(self) -> TouchGoals:
        """With one leading dimension."""
        parts = (part.reshape(-1, *part.shape[part.ndim - own :]) for part, own in self._parts())
        return TouchGoals(self.flesh, *parts)

    def _parts(self) -> tuple[tuple[Tensor, int], ...]:
        return (self.gap, 1), (self.along, 2), (self.around, 3)


def touch_goals(source: PosedHand, flesh: Flesh, target: Flesh) -> TouchGoals:
    """The gaps of a source's poses and where they are, to be had with another hand's flesh.

    Args:
        source: the poses; flesh: of that hand; target: of the other.
    """
    found = flesh.touches(source)
    frames = capsule_frames(source)
    outwards = torch.stack([found.normal, -found.normal], dim=-3)  # (..., 2, 3, pairs)
    around = torch.stack(
        [
            (frames[..., list(pairs), :, :].transpose(-1, -2) @ outwards[..., side, :, :].mT.unsqueeze(-1))
            .squeeze(-1)
            .mT
            for side, pairs in enumerate((FIRST, SECOND))
        ],
        dim=-3,
    )
    return TouchGoals(target, found.gap, found.along, around)


def pairs_present(present: Bool[Tensor, "21"]) -> Bool[Tensor, " pairs"]:
    """Which `CAPSULE_PAIRS` ``(pairs,)`` both hands have, from the joints they share: phalanges with both their ends,
    and the palm towards roots that there are."""
    fingers = present[1:].view(N_FINGERS, JOINTS_PER_FINGER)
    bones = (fingers[:, :BONES_PER_FINGER] & fingers[:, 1:]).flatten()
    has = torch.cat([bones, fingers[:4, 0]])
    first, second = torch.tensor(CAPSULE_PAIRS, device=present.device).T
    return has[first] & has[second]


def part_pairs_present(present: Bool[Tensor, "21"]) -> Bool[Tensor, " pairs"]:
    """The same of `PART_PAIRS` ``(73,)``."""
    fingers = present[1:].view(N_FINGERS, JOINTS_PER_FINGER)
    bones = (fingers[:, :BONES_PER_FINGER] & fingers[:, 1:]).flatten()
    has = torch.cat([bones, bones.new_ones(1)])
    first, second = torch.tensor(PART_PAIRS, device=present.device).T
    return has[first] & has[second]
