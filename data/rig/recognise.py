"""From the bone names and the hierarchy of a rig to the 21 joints of a hand (mathematics §1).

A name tells side, finger and number (:mod:`data.rig.words`); the bones of one skeleton share what is left of their
names; the hierarchy says what hangs below the wrist, in which order, and what lies between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from data.rig.finger import Bone, Finger, joints_of, ordered
from data.rig.hand_map import HandMap, ancestors, chains_between
from data.rig.joining import joined, usual_of
from data.rig.rig_map import RigMap
from data.rig.schemes import MANO, scheme_of
from data.rig.words import BoneName, parse
from model.topology import BONES_PER_FINGER, FINGERS, INDEX, MIDDLE, PINKY, RING, ROOTS, SIDES, THUMB, TIPS
from utils.errors import InputError

FEWEST_FINGERS = 2
"""Fingers beside the thumb without which a palm has no plane."""
FEWEST_BONES = 2
"""Bones of a finger that is taken over from joints that are named otherwise than the rest of the hand."""
_RUNNING = 6
"""Second numbers of a numbered finger beyond this are not its bones' but count all nodes of the file."""


@dataclass
class Found:
    """What was recognised of one hand, complete or not."""

    side: str
    wrist: int | None = None
    indices: list[int | None] = field(default_factory=lambda: [None] * (1 + 4 * len(FINGERS)))
    gaps: list[str] = field(default_factory=list)
    """Names of bones that their neighbours' numbers ask for."""

    @property
    def fingers(self) -> list[int]:
        """The fingers that have at least one bone."""
        return [finger for finger, root in enumerate(ROOTS) if self.indices[root] is not None]

    @property
    def usable(self) -> bool:
        """It has a wrist, enough fingers, and no gap."""
        return self.wrist is not None and len(set(self.fingers) - {THUMB}) >= FEWEST_FINGERS and not self.gaps


class Rig:
    """The joints of a file, their names read.

    Args:
        names: as the file spells them.
        parents: number of the joint above each, −1 for a root; None if it is not known.
    """

    def __init__(self, names: Sequence[str], parents: Sequence[int] | np.ndarray | None = None) -> None:
        self.names = [str(name) for name in names]
        self.parents = None if parents is None else [int(parent) for parent in parents]
        if self.parents is not None and len(self.parents) != len(self.names):
            raise ValueError(f"`parents` must have one item a name, {len(self.names)}; got {len(self.parents)}")
        self.read = [parse(name) for name in self.names]
        self.read = _agreed_sides(self.read)
        self.sides = [self._side(joint) for joint in range(len(self.names))]
        fingers = [joint for joint, name in enumerate(self.read) if name.is_finger]
        self.sided = any(self.sides[joint] for joint in fingers)
        """Some finger's name tells its side; if none does, the file holds one hand of either side."""
        self._above: dict[int, list[int]] = {}
        self._below: dict[int, list[int]] | None = None

    def above(self, joint: int) -> list[int]:
        """The joints above one, nearest first; empty if the hierarchy is not known."""
        if self.parents is None:
            return []
        if joint not in self._above:
            self._above[joint] = ancestors(joint, self.parents)
        return self._above[joint]

    def _side(self, joint: int) -> str | None:
        """What a joint's own name says, or that of the nearest joint above it whose name says so."""
        own = self.read[joint].side
        if own is not None or self.parents is None or not (self.read[joint].is_finger or self.read[joint].is_wrist):
            return own
        return next((self.read[a].side for a in ancestors(joint, self.parents) if self.read[a].side), None)

    # -- a hand ----------------------------------------------------------------------------------------------------

    def hand(self, side: str, rig_map: RigMap | None = None, source: str = "") -> Found:
        """What there is of the hand of a side: what a map says of it, else what the names tell; errors as of
        `mapped_hand`."""
        if rig_map is not None and (mapped := mapped_hand(self, rig_map, side, source)) is not None:
            return mapped
        found = Found(side)
        groups: dict[tuple[str, ...], list[int]] = {}
        own = [j for j, name in enumerate(self.read) if name.is_finger and (self.sides[j] == side or not self.sided)]
        strong = {self.read[joint].finger for joint in own if not self.read[joint].weak}
        for joint in own:
            if not (self.read[joint].weak and self.read[joint].finger in strong):
                groups.setdefault(self.read[joint].group, []).append(joint)
        if not groups:
            found.wrist = self._wrist_by_name(side, None)
            return found
        # Most bones win, then bones that deform; ties go to the group met first, so that of two characters in a file
        # the first is taken.
        best = max(groups, key=lambda group: (len(groups[group]), "def" in group))
        fingers = self._fingers(groups[best])
        found.wrist = self._wrist(side, best, fingers)
        for group, joints in groups.items():
            if group != best:
                self._adopt(fingers, self._fingers(joints), found.wrist)
        if self.parents is not None:
            fingers = self._joined(fingers, found.wrist)
        self._fill(found, fingers)
        return found

    def _fingers(self, joints: list[int]) -> dict[int, Finger]:
        bones = {}
        for finger, bone in _bones_by_finger([(joint, self.read[joint]) for joint in joints]):
            bones.setdefault(finger, []).append(bone)
        above = None if self.parents is None else {joint: self.above(joint) for joint in joints}
        return {finger: ordered(members, above) for finger, members in bones.items()}

    def _adopt(self, fingers: dict[int, Finger], others: dict[int, Finger], wrist: int | None) -> None:
        """Take a finger that is missing from bones that are named otherwise, if it hangs below the same wrist."""
        for number, finger in others.items():
            below = finger.bones and wrist is not None and wrist in self.above(finger.bones[0].number)
            if number not in fingers and below and len(finger.bones) >= FEWEST_BONES:
                fingers[number] = finger

    def _joined(self, fingers: dict[int, Finger], wrist: int | None) -> dict[int, Finger]:
        """The fingers with bones of their chains that are named otherwise, see :mod:`data.rig.joining`."""
        for _ in range(2):  # what the first round finds of one finger helps with the others
            lines = {number: self._line(number, fingers, wrist) for number in fingers}
            usual = usual_of(fingers, lines)
            before, fingers = fingers, {}
            for number, one in before.items():
                longer = joined(one, number, lines[number], self.read, usual)
                others = {bone.number for each in (*before.values(), *fingers.values()) if each is not one
                          for bone in each.all}  # fmt: skip
                fingers[number] = one if others & {bone.number for bone in longer.all} else longer
        return fingers

    def _line(self, number: int, fingers: dict[int, Finger], wrist: int | None) -> list[int]:
        """The bones of one finger's chain from below what it shares with other fingers to its end, no helpers."""
        own = [bone.number for bone in fingers[number].all]
        others = {
            a for n, f in fingers.items() if n != number for b in f.all for a in (b.number, *self.above(b.number))
        }
        deepest = max(own, key=lambda joint: len(self.above(joint)))
        line = [deepest]
        for joint in self.above(deepest):
            if joint == wrist or joint in others or self.read[joint].is_wrist:
                break
            line.insert(0, joint)
        below = self._next(deepest, number)
        while below is not None and below not in (*line, wrist) and not self.read[below].is_wrist:
            line.append(below)
            below = self._next(below, number)
        return [joint for joint in line if joint in own or not self.read[joint].helper]

    def _next(self, joint: int, finger: int) -> int | None:
        """The joint below one that goes on with a finger: the only one, or the only one with the finger's name."""
        if self._below is None:
            self._below = {}
            for child, parent in enumerate(self.parents or ()):
                self._below.setdefault(parent, []).append(child)
        below = [child for child in self._below.get(joint, []) if not self.read[child].helper]
        named = [child for child in below if self.read[child].finger == finger]
        below = named if len(named) == 1 else below
        return below[0] if len(below) == 1 else None

    def _fill(self, found: Found, fingers: dict[int, Finger]) -> None:
        starts = Counter(finger.first_count for finger in fingers.values() if finger.first_count is not None)
        usual = starts.most_common(1)[0][0] if starts else None
        thumb_bones = len(fingers[THUMB].bones) if THUMB in fingers else BONES_PER_FINGER + 1
        if THUMB in fingers and usual is not None:
            lower = [bone for bone in fingers[THUMB].bones if bone.count is not None and bone.count < usual]
            thumb_bones -= len(lower) if thumb_bones - len(lower) >= BONES_PER_FINGER else 0
        found.indices[0] = found.wrist
        for number, finger in sorted(fingers.items()):
            joints = joints_of(finger, number, usual, thumb_bones)
            if joints[0] is None:
                continue
            gap = finger.gap()
            if gap is not None:
                found.gaps.append(_renumbered(self.names[gap[1].number], gap[1], gap[0]))
            found.indices[ROOTS[number] : ROOTS[number] + 4] = joints

    # -- the wrist -------------------------------------------------------------------------------------------------

    def _wrist(self, side: str, group: tuple[str, ...], fingers: dict[int, Finger]) -> int | None:
        """The nearest hand bone above the fingers; without one, the joint in which all fingers meet."""
        roots = [(finger.metacarpals + finger.bones)[0].number for finger in fingers.values() if finger.bones]
        counts = Counter(joint for root in roots for joint in self.above(root))
        shared = [joint for joint, count in counts.items() if 2 * count > len(roots)]
        hands = [j for j in shared if self.read[j].is_wrist and self.sides[j] in (side, None)]
        if hands:
            return max(hands, key=lambda joint: len(self.above(joint)))
        meeting = [j for j in shared if counts[j] == len(roots) and not self.read[j].is_finger]
        meeting = [j for j in meeting if self.read[j].carpal or not self.read[j].arm]  # "ArmPalm" is a hand
        meeting = max(meeting, key=lambda joint: len(self.above(joint)), default=None)
        palm = meeting is not None and self.read[meeting].carpal  # beside it, what is called a hand is something else
        by_name = None if palm else self._wrist_by_name(side, group)
        if by_name is not None or len(roots) < 1 + FEWEST_FINGERS:
            return by_name
        others = [j for j, name in enumerate(self.read) if name.is_finger and self.sides[j] not in (side, None)]
        return None if any(meeting in self.above(joint) for joint in others) else meeting

    def _wrist_by_name(self, side: str, group: tuple[str, ...] | None) -> int | None:
        """The bone that is called the side's hand: best of the same skeleton, with the least else in its name, a hand
        rather than a wrist; the first of several."""
        sided = [j for j, name in enumerate(self.read) if name.is_wrist and self.sides[j] is not None]
        wanted = [j for j in sided if self.sides[j] == side]
        if not self.sided and not sided:
            wanted = [j for j, name in enumerate(self.read) if name.is_wrist]
        if not wanted:
            return None
        return min(wanted, key=lambda j: (
            self.read[j].group != group, self.read[j].carpal, self.read[j].hand != "hand", len(self.read[j].group),
        ))  # fmt: skip


def _agreed_sides(read: list[BoneName]) -> list[BoneName]:
    """Where names tell both sides (``J_Bip_L_Thumb1.R``) the last word counts, unless only the first ones differ."""
    clash = [name for name in read if name.other_side is not None and (name.is_finger or name.is_wrist)]
    if len({name.side for name in clash}) != 1 or len(clash) == 1:
        return read
    sides = {name.side for name in clash} | {name.side for name in read if name.is_finger}
    if len(sides) > 1:
        return read
    return [name if name.other_side is None else replace(name, side=name.other_side) for name in read]


def _bones_by_finger(joints: list[tuple[int, BoneName]]) -> Iterable[tuple[int, Bone]]:
    """(finger, bone) of the joints of one skeleton."""
    named: dict[int, list[BoneName]] = {}
    for _, name in joints:
        if not name.numbered and name.finger is not None:
            named.setdefault(name.finger, []).append(name)
    columns = {finger: _counting_column(names) for finger, names in named.items()}
    numbering = _Numbering([name for _, name in joints if name.numbered], set(named))
    for joint, name in joints:
        if name.numbered:
            finger, count = numbering.read(name)
            if finger is not None:
                yield finger, Bone(joint, name, count)
        elif name.finger is not None:
            column = columns[name.finger]
            yield name.finger, Bone(joint, name, int(name.numbers[column]) if column < len(name.numbers) else None)


def _counting_column(names: list[BoneName]) -> int:
    """Which of the numbers in a finger's names counts its bones: the first that is not the same in all of them."""
    columns = min((len(name.numbers) for name in names if name.numbers), default=0)
    differing = (c for c in range(columns) if len({name.numbers[c] for name in names if name.numbers}) > 1)
    return next(differing, 0)


class _Numbering:
    """How fingers that are numbers are counted: from the thumb, or from the index finger where the thumb is named.

    Args:
        names: of the bones whose finger is a number.
        named: fingers of the same skeleton that have a name.
    """

    def __init__(self, names: list[BoneName], named: set[int]) -> None:
        self.two = any(len(name.numbers) > 1 for name in names)
        seconds = [int(name.numbers[1]) for name in names if len(name.numbers) > 1]
        self.running = max(seconds, default=0) >= _RUNNING
        lengths = {len(name.numbers[0]) for name in names if not self._plain(name)}
        # Finger1, Finger11, Finger12: the bones of a finger whose number is 1, and Finger0 is the thumb.
        glued_to_first = len(lengths) > 1 and (self.running or not self.two)
        places = [self._cut(name)[0] for name in names]
        self.first = 0 if glued_to_first or 0 in places else 1
        fingers = (THUMB, INDEX, MIDDLE, RING, PINKY)
        from_thumb = {fingers[p - self.first] for p in places if 0 <= p - self.first < len(fingers)}
        self.fingers = fingers[1:] if THUMB in named or from_thumb & named else fingers

    @staticmethod
    def _plain(name: BoneName) -> bool:
        """Its number is the finger's alone, because words say which bone it is."""
        return name.segment is not None or name.carpal or name.base

    def _cut(self, name: BoneName) -> tuple[int, int | None]:
        """(number of the finger, number of the bone) as the name has them."""
        place = name.numbers[0]
        if len(name.numbers) > 1 and not self.running:
            return int(place), int(name.numbers[1])
        if len(place) > 1 and not self._plain(name):  # Finger12 is the second bone of finger 1
            return int(place[0]), int(place[1:])
        return int(place), None if self._plain(name) or name.tip else 0

    def read(self, name: BoneName) -> tuple[int | None, int | None]:
        """(finger, number of the bone); no finger if the number is beyond the hand's."""
        place, count = self._cut(name)
        number = place - self.first
        return (self.fingers[number] if 0 <= number < len(self.fingers) else None), count


def _renumbered(name: str, bone: Bone, count: int) -> str:
    """The name of the same finger's bone with another number."""
    digits = bone.name.numbers[0] if bone.name.numbers else ""
    at = name.rfind(digits) if digits else -1
    if at < 0:
        return f"{name} (number {count})"
    return f"{name[:at]}{count:0{len(digits)}d}{name[at + len(digits) :]}"


def mapped_hand(rig: Rig, rig_map: RigMap, side: str, source: str = "") -> Found | None:
    """The hand of a side as a map has it; None if the map says nothing about this side of this file.

    Raises:
        InputError: some of the names are not in the file, or the hand has no wrist or too few fingers.
    """
    if not rig_map.names_occur(rig.names, side):
        return None
    number: dict[str, int] = {}
    for joint, name in enumerate(rig.names):
        number.setdefault(name, joint)
    names = rig_map.names[side]
    absent = [name for name in names if name is not None and name not in number]
    if absent:
        raise InputError(
            f"{source or 'rig'}: expected the joints that {rig_map.source} names for the {side} hand, found none "
            f"called {', '.join(absent)}; correct the map, or use it for other files (`characters`)"
        )
    found = Found(side, indices=[None if name is None else number[name] for name in names])
    found.wrist = found.indices[0]
    if not found.usable:
        raise InputError(
            f"{rig_map.source}: expected at least {FEWEST_FINGERS} fingers beside the thumb for the {side} hand, "
            f"found {', '.join(FINGERS[finger] for finger in found.fingers) or 'none'}; add them to the map"
        )
    return found


def hand_map(rig: Rig, found: Found) -> HandMap:
    """The map of a usable hand."""
    indices = tuple(found.indices)
    (wrist,), index = indices[:1], indices[ROOTS[INDEX]]
    assert wrist is not None  # it is usable
    scheme = scheme_of(rig.names[wrist], None if index is None else rig.names[index], found.side)
    chains = None if rig.parents is None else chains_between(indices, rig.parents)
    turning = [number for joint, number in enumerate(indices) if joint not in TIPS]
    return HandMap("mano" if scheme == MANO and None not in turning else "mixamo", found.side, indices, scheme, chains)


def sides_of(rig: Rig) -> tuple[str, ...]:
    """The sides of which a rig has a usable hand; a hand whose names do not tell its side may serve as either."""
    return tuple(side for side in SIDES if rig.hand(side).usable)
