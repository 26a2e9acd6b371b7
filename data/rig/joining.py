"""A finger whose bones are partly named otherwise, joined along its chain.

Exporters give the bones of one finger names of several kinds (``c_index1_base``, ``index1``, ``c_index2``), and people
rename single ones. What names leave open, the hierarchy tells: a finger is a line of bones below the wrist, and what
the numbers or words of its bones lack is looked for in between, above and below, in this order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from data.rig.finger import Bone, Finger
from data.rig.words import BoneName
from model.topology import BONES_PER_FINGER, THUMB


@dataclass(frozen=True)
class Usual:
    """What most fingers of a hand beside the thumb have in common."""

    first: int | None
    """The number of their first bone."""
    last: int | None
    """That of their last one."""
    tips: bool
    """They have joints that are called tips."""
    length: int
    """How many bones lie in the line of a finger."""


def usual_of(fingers: Mapping[int, Finger], lines: Mapping[int, Sequence[int]]) -> Usual:
    """What most of a hand's fingers have in common; `lines`: finger → the bones of its chain."""
    others = [finger for number, finger in fingers.items() if number != THUMB]
    return Usual(
        _most(finger.first_count for finger in others),
        _most(finger.bones[-1].count for finger in others if finger.bones),
        2 * sum(bool(finger.tips) for finger in others) > len(others),
        _most(len(line) for number, line in lines.items() if number != THUMB) or 0,
    )


def _most(values: Iterable[int | None]) -> int | None:
    """The most frequent value that more than one has."""
    counts = Counter(value for value in values if value is not None).most_common(1)
    return counts[0][0] if counts and counts[0][1] > 1 else None


def joined(finger: Finger, number: int, line: Sequence[int], names: Sequence[BoneName], usual: Usual) -> Finger:
    """The finger with those bones of its line that its own ones lack.

    Args:
        finger: the bones that were recognised, in order.
        number: which finger it is.
        line: its bones from the palm outwards, without helpers.
        names: what the name of each joint of the file tells.
        usual: of its hand.
    """
    if not finger.bones or not {bone.number for bone in finger.all} <= set(line):
        return finger
    joining = _Joining(finger, number, line, names)
    joining.between()
    joining.above(usual)
    joining.below(usual)
    return joining.finger()


class _Joining:
    """A finger while bones are joined to it."""

    def __init__(self, finger: Finger, number: int, line: Sequence[int], names: Sequence[BoneName]) -> None:
        self.thumb = number == THUMB
        self.names = names
        self.place = {joint: place for place, joint in enumerate(line)}
        self.metacarpals, self.bones, self.tips = list(finger.metacarpals), list(finger.bones), list(finger.tips)
        own = {bone.number for bone in finger.all}
        self.free = [n for n in line if n not in own and (names[n].finger in (None, number) or names[n].numbered)]
        self.called = {n for n in self.free if names[n].finger == number}
        self.length = len(line)

    def finger(self) -> Finger:
        """What it has become."""
        metacarpals = sorted(self.metacarpals, key=lambda bone: self.place[bone.number])
        return Finger(tuple(metacarpals), tuple(self.bones), tuple(self.tips))

    def between(self) -> None:
        """Bones between two of its own whose numbers or words have a gap."""
        for first, second in zip(self.bones[:], self.bones[1:], strict=False):
            between = [n for n in self.free if self.place[first.number] < self.place[n] < self.place[second.number]]
            gap = _gap(first, second)
            if gap is None or self.thumb and first.segment is not None:  # thumbs have no intermediate bone
                gap = self._lacking()
            if 0 < len(between) <= gap:
                self._take(between, first, 1)

    def above(self, usual: Usual) -> None:
        """Bones before the first of its own, where that is counted higher than the first ones of other fingers."""
        start = min((self.place[bone.number] for bone in self.metacarpals[-1:]), default=-1)
        above = [n for n in self.free if start < self.place[n] < self.place[self.bones[0].number]]
        palm = [n for n in above if self.names[n].carpal or self.names[n].base]
        above = [n for n in above if n not in palm]
        first = self.bones[0]
        wanted = first.segment - 1 if first.segment else _behind(first.count, usual.first)
        if (self.thumb or wanted is None) and not self._beyond():
            wanted = max(wanted or 0, self._lacking())  # a thumb's metacarpal may be no part of the count
        elif self.thumb:
            wanted = 0
        called = sum(n in self.called for n in above)
        wanted = max(wanted or 0, min(called, BONES_PER_FINGER - len(self.bones)))
        self.metacarpals += [Bone(n, self.names[n], None) for n in palm]
        if wanted:
            self._take(above[-wanted:][::-1], first, -1)

    def below(self, usual: Usual) -> None:
        """Bones behind the last of its own, where other fingers have more, and a tip where they have one."""
        below = self._beyond()
        if not self.tips:
            self.tips = [Bone(n, self.names[n], None) for n in below if self.names[n].tip][:1]
        below = [n for n in below if not self.names[n].tip]
        before_tip = bool(self.tips and below) and self.place[below[0]] < self.place[self.tips[0].number]
        short = _behind(usual.last, self.bones[-1].count) or 0
        if self.thumb:  # its count ends as the others' does only where its line is as long as theirs
            alike = self.length == usual.length or self.length == usual.length - 1 > BONES_PER_FINGER
            short = short if before_tip or alike and not self.metacarpals else 0
        wanted = max(short, self._lacking())
        if wanted and below and (before_tip or not self.tips):
            self._take(below[:wanted], self.bones[-1], 1)
            below = below[wanted:]
        if not self.tips and usual.tips and len(below) == 1:
            self.tips = [Bone(below[0], self.names[below[0]], None)]

    def _take(self, joints: Sequence[int], beside: Bone, step: int) -> None:
        """Add joints to the bones, with the numbers that follow from a neighbour's."""
        for offset, joint in enumerate(joints, start=1):
            count = None if beside.count is None else beside.count + step * offset
            self.bones.append(Bone(joint, replace(self.names[joint], segment=None, tip=False), count))
        self.bones.sort(key=lambda bone: self.place[bone.number])

    def _lacking(self) -> int:
        """How many bones it has too few."""
        like_first = sum(self.thumb or bone.name.base for bone in self.metacarpals)
        return max(0, BONES_PER_FINGER - len(self.bones) - like_first)

    def _beyond(self) -> list[int]:
        """Joints of its line behind its last bone that are not its own."""
        return [n for n in self.free if self.place[n] > self.place[self.bones[-1].number]]


def _gap(first: Bone, second: Bone) -> int | None:
    """How many bones lack between two of a finger, by their numbers or words; None if these do not tell."""
    for one, other in ((first.segment, second.segment), (first.count, second.count)):
        if one is not None and other is not None:
            return max(0, other - one - 1)
    return None


def _behind(later: int | None, earlier: int | None) -> int | None:
    return None if later is None or earlier is None else max(0, later - earlier)
