"""Taking bone names apart: side, finger, number and kind of a bone, whatever rig the name comes from.

All knowledge about spelling is in the tables below. A name is cut into words and numbers (`RightHandIndex1`,
`index_01_r`, `J_Bip_R_Index1`), words that are written as one (`rindex`, `indexmetacarpal`) are cut by the tables, and
each piece says what it knows. Everything is linear in the length of a name.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache

from model.topology import INDEX, MIDDLE, PINKY, RING, THUMB


class Kind(Enum):
    """What a word in a bone's name tells."""

    SIDE = auto()
    FINGER = auto()
    NUMBERED = auto()  # "finger": its name is the number that follows
    HAND = auto()
    SEGMENT = auto()  # which bone of the finger
    CARPAL = auto()  # a bone between wrist and finger
    TIP = auto()
    ARM = auto()
    HELPER = auto()  # no joint of the skeleton's own: controls, targets, twist bones, props
    FILLER = auto()  # says nothing


_TABLE: dict[Kind, dict[object, str]] = {
    Kind.SIDE: {"right": "right r rt rgt 右", "left": "left l lf lft 左"},
    Kind.FINGER: {
        MIDDLE: "middle mid 中指",
        RING: "ring 薬指",
        PINKY: "pinky pinkie little 小指",
        INDEX: "index pointer 人指 人差指",
        THUMB: "thumb 親指",
    },
    Kind.NUMBERED: {None: "finger digit"},
    Kind.HAND: {"hand": "hand", "wrist": "wrist 手首"},
    Kind.SEGMENT: {1: "proximal prox", 2: "intermediate inter medial", 3: "distal dist"},
    Kind.CARPAL: {None: "metacarpal carpal meta palm"},
    Kind.TIP: {None: "tip end nub leaf null effector eff site"},
    Kind.ARM: {None: "arm forearm lowerarm upperarm elbow shoulder clavicle spine root hips pelvis"},
    Kind.HELPER: {
        None: "ik ctrl control controller target pole twist roll helper corrective offset prop weapon socket attach "
        "grip marker aim drv driver mch org tweak"
    },
    Kind.FILLER: {None: "f phalanx phalange bone joint jnt"},
}
_WORDS = {
    word: (kind, value) for kind, values in _TABLE.items() for value, words in values.items() for word in words.split()
}
_LETTERS = {letter: str(number) for number, letter in enumerate("abcde", start=1)}
"""Bones counted by letters: IndexA, IndexB, …"""

_PIECES = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_a-zA-Z]+")
_COPY = re.compile(r"\.[0-9]{3}$")
"""What Blender appends to a name that is there already."""
_LONGEST_NAME = 200
_LONGEST_GLUED = 32
_LONGEST_NUMBER = 4
_LONGEST_WORD = max(map(len, _WORDS))


@dataclass(frozen=True, slots=True)
class BoneName:
    """What a bone's name tells by itself."""

    group: tuple[str, ...]
    """Namespace and words that tell nothing: bones of one skeleton share them."""
    side: str | None = None
    finger: int | None = None
    """Number of the finger (:mod:`model.topology`), if it is named."""
    numbered: bool = False
    """The finger is a number: the first of `numbers`."""
    numbers: tuple[str, ...] = ()
    """Digits behind the finger's word."""
    segment: int | None = None
    """1 proximal, 2 intermediate, 3 distal, if it is said in words."""
    hand: str | None = None
    """``"hand"`` or ``"wrist"`` if one of these words occurs."""
    carpal: bool = False
    tip: bool = False
    arm: bool = False
    helper: bool = False

    @property
    def is_finger(self) -> bool:
        """It belongs to a finger."""
        return (self.finger is not None or (self.numbered and bool(self.numbers))) and not self.helper

    @property
    def is_wrist(self) -> bool:
        """It may be the bone that carries the fingers."""
        return self.hand is not None and self.finger is None and not (self.numbered or self.helper or self.tip)


@lru_cache(maxsize=8192)
def parse(name: str) -> BoneName:
    """What `name` tells. Names over 200 characters tell nothing."""
    if len(name) > _LONGEST_NAME:
        return BoneName(group=("",))
    name = unicodedata.normalize("NFKC", name)
    copy = _COPY.search(name)
    if copy:
        name = name[: copy.start()]
    cut = max(name.rfind(":"), name.rfind("|")) + 1
    pieces = [word for piece in _PIECES.findall(name[cut:]) for word in _unglued(piece.lower())]
    rest: list[str] = []
    told: dict[str, object] = {}
    sides: set[str] = set()
    numbers: list[str] = []
    for word in pieces:
        behind = "finger" in told or "numbered" in told
        if word.isdigit() or (behind and word in _LETTERS):
            if behind and len(word) <= _LONGEST_NUMBER:
                numbers.append(_LETTERS.get(word, word))
            elif "side" not in told and "hand" not in told:
                rest.append(word)
            continue
        kind, value = _WORDS.get(word, (None, None))
        _tell(told, sides, rest, word, kind, value)
    group = (name[:cut], *rest, *([copy[0]] if copy else []))
    told.pop("side", None)
    if "finger" in told:
        told.pop("numbered", None)
    side = sides.pop() if len(sides) == 1 else None
    return BoneName(group=group, side=side, numbers=tuple(numbers), **told)


def _tell(told: dict[str, object], sides: set[str], rest: list[str], word: str, kind: Kind | None, value) -> None:
    """Note what a word says."""
    if kind is None:
        rest.append(word)
    elif kind is Kind.SIDE:
        sides.add(value)
        told["side"] = value
    elif kind is Kind.FINGER and "finger" in told:
        if value == MIDDLE:  # "Index_Middle" is the middle bone of the index finger
            told["segment"] = 2
    elif kind in _FLAGS:
        told[kind.name.lower()] = True
    elif kind is not Kind.FILLER:
        told[kind.name.lower()] = value


_FLAGS = {Kind.NUMBERED, Kind.CARPAL, Kind.TIP, Kind.ARM, Kind.HELPER}


@lru_cache(maxsize=8192)
def _unglued(piece: str) -> tuple[str, ...]:
    """A piece as words of the tables, ``rindex`` → r, index; itself if it is none of their sequences."""
    if piece in _WORDS or piece.isdigit() or not 1 < len(piece) <= _LONGEST_GLUED:
        return (piece,)
    # best[i]: fewest words that make up the first i letters
    best: list[tuple[str, ...] | None] = [()] + [None] * len(piece)
    for end in range(1, len(piece) + 1):
        for start in range(max(0, end - _LONGEST_WORD), end):
            word, before = piece[start:end], best[start]
            # A single letter is a word only where a side may stand: in front or behind.
            lone = len(word) == 1 and word.isascii() and (word not in "rl" or start > 0 and end < len(piece))
            if before is None or word not in _WORDS or lone:
                continue
            if best[end] is None or len(before) + 1 < len(best[end]):
                best[end] = (*before, word)
    return best[-1] or (piece,)
