"""What a touch is: the gap between the flesh of two parts of a hand, in palm lengths (mathematics §20)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from model.flesh import (
    FIRST,
    PALM,
    PART_NAMES,
    PART_PAIRS,
    SECOND,
    Flesh,
    by_capsules,
    capsule_frames,
    part_gaps,
)
from model.hands import PosedHand, by_frames, by_items
from model.layout import constant
from model.skin import NEAR, REACH, SkinPoints
from model.topology import BONES_PER_FINGER, FINGERS, JOINTS_PER_FINGER, N_FINGERS

TOUCHING = 0.03
"""Parts whose gap is this or less touch."""
APART = 0.08
"""Parts whose gap is this or more are apart; in between they touch by degrees."""
PRESSED = 0.01
"""Depth that soft skin takes without being seen: no part need be less deep in another."""
MARGIN = 0.01
"""By how much nearer than the source's the gaps of touches shall be on another hand."""
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
    aim: Float[Tensor, "*batch pairs"]
    """``(..., pairs)`` from which gap on a touch counts as closed."""
    along: Float[Tensor, "*batch 2 pairs"]
    """``(..., 2, pairs)`` where on the two bones, from 0 at the joint to 1."""
    around: Float[Tensor, "*batch 2 3 pairs"]
    """``(..., 2, 3, pairs)`` which way it lies from the bones, in their frames."""
    skin: SkinPoints | None = None
    """Of the hand that shall touch, without leading dimensions: it tells gaps better than flesh. None: unknown."""

    def excess(self, posed: PosedHand) -> Float[Tensor, "frames pairs"]:
        """By how much flesh tells gaps ``(F, pairs)`` too large in poses ``(F,)``, seen against skin."""
        flesh = self.flesh.touches(posed).gap
        if self.skin is None:
            return torch.zeros_like(flesh)
        of_parts = part_gaps(flesh)
        skin = self.skin.gaps(posed, of_parts)
        # Skin that is not near says only that.
        return by_capsules(torch.where(skin < NEAR, of_parts - skin, (of_parts - NEAR).clamp(max=0)))

    def at(self, index) -> TouchGoals:
        """Some of the poses, by their leading dimensions."""
        return TouchGoals(self.flesh, *(part[index] for part, _ in self._parts()), skin=self.skin)

    def of_items(self, items: Int[Tensor, " items"]) -> TouchGoals:
        """Some items of the first dimension, with their flesh."""
        return replace(self.at(items), flesh=self.flesh.picked(by_items(items)))

    def of_frames(self, batch: torch.Size, frames: Int[Tensor, " some"]) -> TouchGoals:
        """Some frames ``(n,)`` of flattened goals, whose poses had the leading dimensions ``batch``."""
        return replace(self.at(frames), flesh=self.flesh.picked(by_frames(batch, frames)))

    def to(self, like: Tensor) -> TouchGoals:
        """The same in the type and on the device of a tensor."""
        skin = None if self.skin is None else self.skin.to(like)
        return TouchGoals(self.flesh.to(like), *(part.to(like) for part, _ in self._parts()), skin=skin)

    def flattened(self) -> TouchGoals:
        """With one leading dimension."""
        parts = (part.reshape(-1, *part.shape[part.ndim - own :]) for part, own in self._parts())
        return TouchGoals(self.flesh, *parts, skin=self.skin)

    def _parts(self) -> tuple[tuple[Tensor, int], ...]:
        return (self.gap, 1), (self.aim, 1), (self.along, 2), (self.around, 3)


def touch_goals(
    source: PosedHand,
    flesh: Flesh,
    target: Flesh,
    skin: SkinPoints | None = None,
    target_skin: SkinPoints | None = None,
) -> TouchGoals:
    """The gaps of a source's poses and where they are, to be had with another hand's flesh.

    Args:
        source: the poses; flesh: of that hand; target: of the other.
        skin, target_skin: of both, where known; of hands and poses ``(F,)`` only.
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
    gap = found.gap
    if skin is not None:
        of_parts = part_gaps(gap)
        # What skin does not see is far apart.
        gap = by_capsules(torch.minimum(skin.gaps(source, of_parts), of_parts.clamp_min(REACH)))
    else:
        gap = by_capsules(part_gaps(gap))
    aim = (gap - margin(flesh, target)).clamp_min(0)
    return TouchGoals(target, gap, aim, found.along, around, target_skin)


def margin(source: Flesh, target: Flesh) -> Float[Tensor, "*batch 1"]:
    """By how much nearer ``(..., 1)`` touches shall be on another hand: the same one has the source's gaps exactly,
    on another they are met with an error that could undo touches."""
    return (source.ends - target.ends).abs().flatten(-3).amax(-1, keepdim=True).clamp(max=MARGIN)


def touch_misfit(
    goals: TouchGoals, posed: PosedHand, counts: Bool[Tensor, "*batch 21"] | None = None
) -> Float[Tensor, " *batch"]:
    """By how much poses ``(...)`` miss what a source's touches ask for, to be lowered in training (mathematics §20).

    Squared palm lengths, summed over pairs: open touches by their degree, and what is deeper than soft skin or the
    source is, or nearer than it. Of the palm's capsules the nearest counts. ``counts (..., 21)``: joints that both
    hands have.
    """
    gap = goals.flesh.touches(posed).gap
    touch, wanted = degree(goals.gap), goals.gap
    if counts is not None:
        touch = touch * pairs_present(counts)
    nearest = gap <= by_capsules(part_gaps(gap.detach()))
    low = wanted.clamp(max=-PRESSED) * touch + wanted.clamp(max=TOUCHING) * (1 - touch)
    deep = torch.relu(low - gap)
    if counts is not None:
        deep = deep * pairs_present(counts)
    return (touch * nearest * torch.relu(gap - goals.aim).square() + deep.square()).sum(-1)


def pairs_present(present: Bool[Tensor, "*batch 21"]) -> Bool[Tensor, "*batch pairs"]:
    """Which `CAPSULE_PAIRS` ``(..., pairs)`` both hands have, from the joints they share: phalanges with both their
    ends, and the palm towards roots that there are."""
    fingers = present[..., 1:].unflatten(-1, (N_FINGERS, JOINTS_PER_FINGER))
    bones = (fingers[..., :BONES_PER_FINGER] & fingers[..., 1:]).flatten(-2)
    has = torch.cat([bones, fingers[..., :4, 0]], dim=-1)
    first, second = (constant(side, torch.int64, present.device) for side in (FIRST, SECOND))
    return has[..., first] & has[..., second]


def part_pairs_present(present: Bool[Tensor, "21"]) -> Bool[Tensor, " pairs"]:
    """The same of `PART_PAIRS` ``(73,)``."""
    fingers = present[1:].view(N_FINGERS, JOINTS_PER_FINGER)
    bones = (fingers[:, :BONES_PER_FINGER] & fingers[:, 1:]).flatten()
    has = torch.cat([bones, bones.new_ones(1)])
    first, second = torch.tensor(PART_PAIRS, device=present.device).T
    return has[first] & has[second]


_DIGITS = tuple((a // BONES_PER_FINGER, b // BONES_PER_FINGER) for a, b in PART_PAIRS)
DIGIT_PAIRS = tuple(dict.fromkeys(_DIGITS))
"""Pairs of fingers, and of fingers and the palm (number 5): the nearest of their parts counts."""
_OF_DIGITS = tuple(DIGIT_PAIRS.index(pair) for pair in _DIGITS)


def digit_gaps(gap: Float[Tensor, "*batch part_pairs"]) -> Float[Tensor, "*batch digit_pairs"]:
    """Gaps ``(..., 15)`` of `DIGIT_PAIRS` from those of `PART_PAIRS`."""
    number = torch.tensor(_OF_DIGITS, device=gap.device).expand(gap.shape)
    return gap.new_full((*gap.shape[:-1], len(DIGIT_PAIRS)), torch.inf).scatter_reduce(-1, number, gap, "amin")


@dataclass(frozen=True)
class TouchesKept:
    """What became of a source's touches, from the gaps of both hands' skin ``(F, 73)``; infinite: far apart, or one
    of the hands has not both parts."""

    source: Float[Tensor, "frames part_pairs"]
    result: Float[Tensor, "frames part_pairs"]

    @property
    def recall(self) -> Float[Tensor, " frames"]:
        """``(F,)`` share of the source's touches, finger by finger, that the result has; NaN where it has none."""
        source, result = digit_gaps(self.source) <= TOUCHING, digit_gaps(self.result) <= TOUCHING
        return (source & result).sum(-1) / source.sum(-1)

    @property
    def touches(self) -> Float[Tensor, " frames"]:
        """``(F,)`` how many the source has: what `recall` is weighed by."""
        return (digit_gaps(self.source) <= TOUCHING).sum(-1).to(self.source)

    @property
    def false(self) -> Float[Tensor, " frames"]:
        """``(F,)`` share of what is apart in the source that touches in the result."""
        apart = digit_gaps(self.source) >= APART
        return (apart & (digit_gaps(self.result) <= TOUCHING)).sum(-1) / apart.sum(-1)

    @property
    def deeper(self) -> Float[Tensor, "frames part_pairs"]:
        """``(F, 73)`` by how much parts are deeper in each other than in the source, palm lengths."""
        return torch.relu(torch.relu(-self.result) - torch.relu(-self.source))

    @property
    def too_deep(self) -> Float[Tensor, " frames"]:
        """``(F,)`` one where that is over `TOO_DEEP` anywhere, else zero."""
        return (self.deeper > TOO_DEEP).any(-1).to(self.source)

    def wrongness(self) -> Float[Tensor, " frames"]:
        """``(F,)`` the greatest fault of each frame in palm lengths, up to 0.2: by how much a touch is open, or how
        deep beyond the source's skin is where that is over `TOO_DEEP`."""
        held = digit_gaps(self.source) <= TOUCHING
        gap = torch.where(held, digit_gaps(self.result).clamp(max=0.2) - TOUCHING, 0.0).clamp(min=0).amax(-1)
        return torch.maximum(gap, torch.where(self.deeper > TOO_DEEP, self.deeper, 0.0).amax(-1))

    def by_parts(self) -> dict[str, dict[str, float]]:
        """``{"thumb 3 | index 3": …}`` of every pair of parts that touches, or goes too deep: frames that touch in the
        source, those of them that touch in the result, false touches, and the greatest depth beyond the source's."""
        held, touch = self.source <= TOUCHING, self.result <= TOUCHING
        false, deeper = touch & (self.source >= APART), self.deeper
        worth = held.any(0) | false.any(0) | (deeper > TOO_DEEP).any(0)
        return {
            " | ".join(PART_NAMES[part] for part in reversed(PART_PAIRS[pair])): {
                "touches": int(held[:, pair].sum()),
                "kept": int((held & touch)[:, pair].sum()),
                "false": int(false[:, pair].sum()),
                "deeper": round(float(deeper[:, pair].max()), 4),
            }
            for pair in worth.nonzero()[:, 0].tolist()
        }

    def why(self, frame: int) -> str:
        """What is worst in a frame, in words; empty where nothing is wrong."""
        depth, pair = self.deeper[frame].max(0)
        if depth > TOO_DEEP:
            first, second = (PART_NAMES[part] for part in PART_PAIRS[int(pair)])
            return f"{first} is {float(depth):.2f} palm lengths deeper in {second} than in the source"
        held, gap = digit_gaps(self.source[frame]) <= TOUCHING, digit_gaps(self.result[frame])
        lost = torch.where(held, gap, -torch.inf)
        if lost.max() <= TOUCHING:
            return ""
        first, second = (("palm" if digit == PALM // BONES_PER_FINGER else FINGERS[digit])
                         for digit in DIGIT_PAIRS[int(lost.argmax())])  # fmt: skip
        far = f"{float(lost.max()):.2f} palm lengths" if lost.max().isfinite() else "far"
        return f"{first} and {second} touch in the source; here they are {far} apart"
