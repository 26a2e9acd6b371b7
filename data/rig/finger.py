"""From the bones that belong to a finger to its three joints and its tip.

Rigs have three bones a finger (no tip), four (with a tip, or with a metacarpal), five (with both) or more; cartoon
hands have two. What is over is folded into the joints below it; what is missing stays missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from data.rig.words import BoneName
from model.topology import BONES_PER_FINGER, THUMB

_METACARPAL, _TIP = 0, 9  # segments on either side of proximal, intermediate and distal


@dataclass(frozen=True)
class Bone:
    """A bone of a finger: its number in the file and what its name tells."""

    number: int
    name: BoneName
    count: int | None
    """The number in its name, None if it has none."""
    segment: int | None = field(init=False)
    """Which bone of the finger it is, as far as words say so."""

    def __post_init__(self) -> None:
        like_palm = self.name.carpal or self.name.base
        segment = _TIP if self.name.tip else _METACARPAL if like_palm else self.name.segment
        object.__setattr__(self, "segment", segment)

    @property
    def key(self) -> tuple[int | None, int | None]:
        """Two bones of a finger with the same key are the same bone of two skeletons."""
        return self.segment, self.count


@dataclass(frozen=True)
class Finger:
    """The bones of one finger in order, apart from its metacarpals and what lies beyond its tip."""

    metacarpals: tuple[Bone, ...]
    bones: tuple[Bone, ...]
    tips: tuple[Bone, ...]

    @property
    def all(self) -> tuple[Bone, ...]:
        """Every bone of it."""
        return self.metacarpals + self.bones + self.tips

    @property
    def first_count(self) -> int | None:
        """The number of its first bone."""
        return self.bones[0].count if self.bones else None

    def gap(self) -> tuple[int, Bone] | None:
        """(number that is missing, a bone with a number) if the numbers of the bones have a gap."""
        said = [bone.count for bone in self.bones if bone.segment is None]
        counts = [count for count in said if count is not None]
        if not counts or len(counts) < len(said):
            return None
        begins = 1 if len(self.bones) < BONES_PER_FINGER else min(counts)  # with bones 2 and 3 alone, 1 is missing
        missing = sorted(set(range(min(begins, *counts), max(counts))) - set(counts))
        return (missing[0], self.bones[0]) if missing else None


def ordered(bones: Sequence[Bone], above: dict[int, list[int]] | None) -> Finger:
    """Put the bones of a finger in order: by the hierarchy where they hang one below the other, else by their names.

    Args:
        bones: in the order of the file.
        above: for each bone's number the joints above it, nearest first; None if the hierarchy is not known.
    """
    unique = list({bone.key: bone for bone in reversed(bones)}.values())[::-1]
    chain = None if above is None else _chain(unique if len(unique) == len(bones) else bones, above)
    if chain is None:
        chain = sorted(unique, key=lambda bone: (-1 if bone.segment is None else bone.segment,
                                                 -1 if bone.count is None else bone.count))  # fmt: skip
    plain = [bone for bone in chain if bone.segment not in (_METACARPAL, _TIP)]
    numbered = [bone for bone in plain if bone.count is not None or bone.segment is not None]
    metacarpals = [bone for bone in chain if bone.segment == _METACARPAL]
    tips = [bone for bone in chain if bone.segment == _TIP]
    if numbered and len(numbered) < len(plain):
        # One without a number among numbered ones is the palm's bone before them or the tip behind them; which of
        # both, only a hierarchy tells.
        start, end = chain.index(numbered[0]), chain.index(numbered[-1])
        for bone in plain:
            if bone not in numbered and above is not None:
                if chain.index(bone) < start:
                    metacarpals.append(bone)
                elif chain.index(bone) > end:
                    tips.insert(0, bone)
        plain = numbered
    return Finger(tuple(metacarpals), tuple(plain), tuple(tips))


def _chain(bones: Sequence[Bone], above: dict[int, list[int]]) -> list[Bone] | None:
    """The bones from top to bottom: the longest line that begins with the one met first among the highest; None if
    no two of them hang together."""
    if len(bones) == 1:
        return list(bones)
    members = {bone.number: bone for bone in bones}
    lines = [[members[a] for a in reversed(above[bone.number]) if a in members] + [bone] for bone in bones]
    longest = max(lines, key=len)
    return longest if len(longest) > 1 else None


def joints_of(finger: Finger, number: int, usual_start: int | None, thumb_bones: int) -> list[int | None]:
    """A finger's four joints (three bones and the tip) as numbers in the file, None where there is none.

    Args:
        finger: its bones.
        number: which finger it is.
        usual_start: what most fingers of the hand count from; a bone counted lower is a metacarpal.
        thumb_bones: how many bones the thumb has.
    """
    bones, tip = list(finger.bones), next(iter(finger.tips), None)
    if usual_start is not None:
        counted_lower = [b for b in bones if b.segment is None and b.count is not None and b.count < usual_start]
        if len(bones) - len(counted_lower) >= BONES_PER_FINGER:
            bones = [bone for bone in bones if bone not in counted_lower]
    if len(bones) < BONES_PER_FINGER:  # the thumb's metacarpal moves as a finger's first bone does
        like_first = [bone for bone in finger.metacarpals if number == THUMB or bone.name.base]
        bones = like_first[len(bones) - BONES_PER_FINGER :] + bones
    longer = len(bones) > BONES_PER_FINGER + 1  # both a metacarpal and a tip
    if longer:
        bones = bones[-(BONES_PER_FINGER + 1) :]
    if len(bones) == BONES_PER_FINGER + 1:
        # Four bones are three and a tip, or a metacarpal and three. A thumb has no more than three that bend: where
        # it has four, its fourth is a tip, and so is that of the fingers; where fingers have one more, they begin
        # with a metacarpal.
        begins_with_metacarpal = number != THUMB and thumb_bones == BONES_PER_FINGER and not longer
        if begins_with_metacarpal:
            bones = bones[1:]
        else:
            tip, bones = bones[-1], bones[:-1]
    joints: list[int | None] = [bone.number for bone in bones]
    joints += [None] * (BONES_PER_FINGER - len(joints))
    return [*joints, tip.number if tip is not None else None]
