"""Rig maps: a small YAML file in which a user says which joints a hand consists of.

    right:
      wrist: mixamorig:RightHand
      thumb: [Thumb_A, Thumb_B, Thumb_C, Thumb_End]
      index: [Point_A, Point_B, Point_C]
      middle: [Mid_A, Mid_B, Mid_C]
      ring: [Ring_A, Ring_B, Ring_C]
      pinky: []
    left:
      …

A finger lists its bones from the palm outwards, at most three that bend; a fourth name is the tip's. Without it, the
tip is where the third bone ends. A finger with two bones has two joints and, if it has a joint at its end, a null
between: ``[A, B, null, End]``. An empty list is a finger that the hand does not have. A side that is not mentioned is
recognised by its names. The map is used for every file in which any of its names occurs; then all must. Maps of
several rigs stand in one file with ``---`` between them: for each file the one counts of which it has most names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml

from model.topology import FINGERS, INDEX, JOINTS_PER_FINGER, MIDDLE, N_JOINTS, PINKY, RING, ROOTS, SIDES, THUMB
from utils.errors import InputError
from utils.safe_yaml import parse_yaml

LARGEST = 1 << 18
"""Bytes of a map; one of two hands has 2 kB."""
_ORDER = (THUMB, INDEX, MIDDLE, RING, PINKY)
_FORM = "run.retarget shows the form with `print_map`"


@dataclass(frozen=True)
class RigMap:
    """What a user says about hands: side → 21 names in hand order, None where the hand has no such joint."""

    source: str
    names: dict[str, tuple[str | None, ...]]
    others: tuple[RigMap, ...] = ()
    """Of other rigs, in the same file."""

    def of(self, joint_names: Collection[str]) -> RigMap:
        """The map of the rig with these joints: that of which they have most names, the first of several."""
        known = set(joint_names)

        def found(each: RigMap) -> int:
            return sum(len(known.intersection(hand)) for hand in each.names.values())

        return max((self, *self.others), key=found)

    def names_occur(self, joint_names: Collection[str], side: str) -> bool:
        """Any of the names that the map of this rig gives for a side is one of a file's."""
        return not set(self.of(joint_names).names.get(side, ())).isdisjoint(joint_names)


def read_rig_map(path: str | os.PathLike) -> RigMap:
    """Read a rig map (YAML, as above).

    Raises:
        InputError: the file is missing or does not have this form.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: expected a rig map, found {'a folder' if path.is_dir() else 'nothing'}; {_FORM}")
    if path.stat().st_size > LARGEST:
        raise InputError(f"{path}: expected a rig map of a few lines, found {path.stat().st_size} bytes; {_FORM}")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a rig map, but it cannot be read ({error}); {_FORM}") from None
    parts = [part for part in re.split(r"(?m)^---[ \t]*$", text) if re.search(r"(?m)^[ \t]*[^#\s]", part)] or [text]
    first, *others = [_map(path, part) for part in parts]
    return replace(first, others=tuple(others))


def _map(path: Path, text: str) -> RigMap:
    """The map of one rig."""
    try:
        content = parse_yaml(text, str(path), what="a rig map in YAML")
    except InputError as error:
        raise InputError(f"{error}; {_FORM}") from None
    if not isinstance(content, Mapping) or not content or not set(content) <= set(SIDES):
        raise InputError(f"{path}: expected the keys right and left, found {_short(content)}; {_FORM}")
    return RigMap(str(path), {side: _names(path, side, content[side]) for side in SIDES if side in content})


def _names(path: Path, side: str, hand: object) -> tuple[str | None, ...]:
    keys = ("wrist", *FINGERS)
    if not isinstance(hand, Mapping) or not set(hand) <= set(keys):
        raise InputError(f"{path}: {side}: expected the keys {', '.join(keys)}, found {_short(hand)}; {_FORM}")
    wrist = hand.get("wrist")
    if not isinstance(wrist, str):
        raise InputError(f"{path}: {side}: expected the name of a joint as the wrist, found {_short(wrist)}; {_FORM}")
    names: list[str | None] = [wrist] + [None] * (N_JOINTS - 1)
    for finger, root in zip(FINGERS, ROOTS, strict=True):
        bones = hand.get(finger)
        bones = [] if bones is None else bones
        where = f"{path}: {side}, {finger}"
        if not isinstance(bones, list) or not all(bone is None or isinstance(bone, str) for bone in bones):
            raise InputError(f"{where}: expected a list of names, found {_short(bones)}; {_FORM}")
        if len(bones) > JOINTS_PER_FINGER:
            raise InputError(
                f"{where}: expected at most three bones that bend and a tip, found {len(bones)}; leave out those "
                f"between wrist and finger, their motion is folded into the first one"
            )
        if any(bone is None and following is not None for bone, following in zip(bones[:2], bones[1:3], strict=False)):
            raise InputError(f"{where}: expected bones from the palm outwards, found a gap; put null only at the end")
        names[root : root + len(bones)] = bones
    given = [name for name in names if name is not None]
    double = sorted({name for name in given if given.count(name) > 1})
    if double:
        raise InputError(f"{path}: {side}: expected each joint once, found {', '.join(double)} several times")
    return tuple(names)


def as_yaml(names: Sequence[str], hands: Mapping[str, Sequence[int | None]], source: str = "") -> str:
    """The text of a rig map.

    Args:
        names: of the file's joints.
        hands: side → for each of the 21 joints in hand order its number, or None.
        source: the file, for a remark.
    """
    lines = [f"# The hands of {source.splitlines()[0]}, as recognised by names and hierarchy."] if source else []
    lines.append("# From the palm outwards: three bones that bend, then the tip if it has a joint. [] is no finger.")
    for side, indices in hands.items():
        label = [None if index is None else names[index] for index in indices]
        lines += [f"{side}:", f"  wrist: {_scalar(label[0])}"]
        for finger in _ORDER:
            bones = label[ROOTS[finger] : ROOTS[finger] + JOINTS_PER_FINGER]
            while bones and bones[-1] is None:
                bones.pop()
            lines.append(f"  {FINGERS[finger]}: [{', '.join(_scalar(bone) for bone in bones)}]")
    return "\n".join(lines) + "\n"


def all_joints(names: Sequence[str], parents: Sequence[int] | np.ndarray | None = None, most: int = 400) -> str:
    """All joints of a file as remarks of a rig map, indented by their depth: what there is to choose from."""
    lines = ["# No whole hand was recognised. These are the file's joints:"]
    depth: list[int] = []
    for joint in range(min(len(names), most)):
        above = -1 if parents is None else int(parents[joint])
        depth.append(depth[above] + 1 if 0 <= above < joint else 0)
        lines.append(f"#   {'  ' * min(depth[-1], 30)}{_scalar(names[joint])}")
    if len(names) > most:
        lines.append(f"#   … and {len(names) - most} more")
    return "\n".join(lines) + "\n"


def _scalar(name: str | None) -> str:
    """A name as YAML that reads back as the same text."""
    if name is None:
        return "null"
    return yaml.safe_dump(name, default_style='"', allow_unicode=True, width=1 << 20).rstrip("\n")


def _short(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return ", ".join(str(key)[:40] for key in list(value)[:8]) or "nothing"
    return f"a list of {len(value)}" if isinstance(value, list) else f"{type(value).__name__} {str(value)[:40]!r}"
