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
from typing import Any

from model.topology import INDEX, MIDDLE, PINKY, RING, THUMB


class Kind(Enum):
    """What a word in a bone's name tells."""

    SIDE = auto()
    FINGER = auto()
    WEAK = auto()  # a finger, unless another word names that finger
    NUMBERED = auto()  # "finger": its name is the number that follows
    ORDINAL = auto()  # "third": its name is its number
    HAND = auto()
    SEGMENT = auto()  # which bone of the finger
    CARPAL = auto()  # a bone between wrist and finger
    BASE = auto()  # a bone between wrist and finger, or the first of the finger
    TIP = auto()
    ARM = auto()
    HELPER = auto()  # no joint of the skeleton's own: controls, targets, twist bones, props
    FILLER = auto()  # says nothing


_TABLE: dict[Kind, dict[object, str]] = {
    Kind.SIDE: {
        "right": "right r rt rgt rechts rechte rechter droite droit derecha derecho destra direita правый правая "
        "прав 右 오른 오른쪽",
        "left": "left l lf lft links linke linker gauche izquierda izquierdo sinistra esquerda левый левая лев "
        "左 왼 왼쪽",
    },
    Kind.FINGER: {
        MIDDLE: "middle mid mittel mittelfinger majeur medio corazon nakayubi средний 中指 중지",
        RING: "ring annulaire anular anulare anelar kusuriyubi безымянный 薬指 无名指 無名指 약지",
        PINKY: "pinky pinkie little kleinerfinger kleiner klein auriculaire menique mignolo minimo koyubi "
        "мизинец 小指 尾指 소지 새끼",
        INDEX: "index pointer forefinger zeige zeigefinger indice indicador hitosashiyubi "
        "указательный 人指 人差指 人差し指 食指 검지",
        THUMB: "thumb daumen pouce pulgar pollice polegar oyayubi большой 親指 拇指 大拇指 엄지",
    },
    Kind.WEAK: {INDEX: "fore point"},
    Kind.NUMBERED: {None: "finger fingers digit dedo doigt"},
    Kind.ORDINAL: {"1": "first", "2": "second", "3": "third", "4": "fourth", "5": "fifth"},
    Kind.HAND: {
        "hand": "hand mano кисть 손",
        "wrist": "wrist carpus handgelenk poignet muneca tekubi запястье 手首 手腕 손목",
    },
    Kind.SEGMENT: {
        1: "proximal prox knuckle mcp pp",
        2: "intermediate inter medial pip mp",
        3: "distal dist dip ip dp",
    },
    Kind.CARPAL: {None: "metacarpal metacarpus carpal meta palm cmc tmc mc"},
    Kind.BASE: {None: "base start"},
    Kind.TIP: {None: "tip end nub leaf null effector eff site"},
    Kind.ARM: {None: "arm forearm lowerarm upperarm elbow shoulder clavicle spine root hips pelvis"},
    Kind.HELPER: {
        None: "ik ctrl control controller target pole twist roll helper corrective offset prop weapon socket attach "
        "grip marker aim drv driver mch org tweak"
    },
    Kind.FILLER: {None: "f phalanx phalange bone joint jnt jt"},
}
_WORDS = {
    word: (kind, value) for kind, values in _TABLE.items() for value, words in values.items() for word in words.split()
}
_LETTERS = {letter: str(number) for number, letter in enumerate("abcde", start=1)}
"""Bones counted by letters: IndexA, IndexB, …"""

_ACCENTS = {
    code: unicodedata.normalize("NFD", chr(code))[0]
    for code in range(0xC0, 0x250)
    if unicodedata.normalize("NFD", chr(code))[0].isascii()
}
"""Latin letters with accents → without."""
_WHOLE = {"mc", "pp", "mp", "dp", "ip"}
"""Words too short to be looked for within others."""
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
    """What the last word about it says."""
    other_side: str | None = None
    """What the first word about it says, if that is the other side."""
    finger: int | None = None
    """Number of the finger (:mod:`model.topology`), if it is named."""
    weak: bool = False
    """The word for the finger means other things too: it counts where no other bone names that finger."""
    numbered: bool = False
    """The finger is a number: the first of `numbers`."""
    numbers: tuple[str, ...] = ()
    """Digits behind the finger's word."""
    segment: int | None = None
    """1 proximal, 2 intermediate, 3 distal, if it is said in words."""
    hand: str | None = None
    """``"hand"`` or ``"wrist"`` if one of these words occurs."""
    carpal: bool = False
    base: bool = False
    """Behind the finger's word: a metacarpal, or the first bone of a finger that would lack one."""
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
    try:
        name = unicodedata.normalize("NFKC", name).translate(_ACCENTS)
    except SystemError:  # a damaged array of NumPy may hold text that no characters are
        return BoneName(group=("",))
    copy = _COPY.search(name)
    if copy:
        name = name[: copy.start()]
    cut = max(name.rfind(":"), name.rfind("|")) + 1
    reading = _Reading()
    for word in _words(name[cut:]):
        reading.take(word)
    group = (name[:cut], *reading.rest, *([copy[0]] if copy else []))
    return reading.name(group)


class _Reading:
    """What the words of one name have found so far."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self.sides: list[Any] = []
        self.numbers: list[str] = []
        self.rest: list[str] = []

    def take(self, word: str) -> None:
        """Note what the next word says."""
        behind = "finger" in self.found or "numbered" in self.found
        kind, value = _WORDS.get(word, (None, None))
        if word.isdigit() or (behind and word in _LETTERS):
            if behind and len(word) <= _LONGEST_NUMBER:
                self.numbers.append(_LETTERS.get(word, word))
            elif not self.sides and "hand" not in self.found:
                self.rest.append(word)
        elif kind is None or (kind is Kind.BASE and not behind):
            self.rest.append(word)
        elif kind is Kind.SIDE:
            self.sides.append(value)
        elif kind in (Kind.FINGER, Kind.WEAK):
            self._finger(kind, value)
        elif kind is Kind.ORDINAL:
            self.numbers.append(str(value))
            if not behind:
                self.found["numbered"] = True
        elif kind in _FLAGS:
            self.found[kind.name.lower()] = True
        elif kind is not Kind.FILLER:
            self.found[kind.name.lower()] = value

    def _finger(self, kind: Kind, value: Any) -> None:
        if "finger" not in self.found:
            self.found.update({"finger": value, **({"weak": True} if kind is Kind.WEAK else {})})
        elif value == MIDDLE:  # "Index_Middle" is the middle bone of the index finger
            self.found["segment"] = 2

    def name(self, group: tuple[str, ...]) -> BoneName:
        """What all words together say."""
        found = self.found
        if "finger" in found:
            found.pop("numbered", None)
        if "segment" in found:  # "IntermediateBase" is the intermediate bone
            found.pop("base", None)
        if found.get("segment") == 2 and found.pop("tip", False):
            found["segment"] = 3  # "IntermediateTip" is the bone behind "IntermediateBase"
        side, first = (self.sides[-1], self.sides[0]) if self.sides else (None, None)
        return BoneName(
            group=group, side=side, other_side=None if first == side else first, numbers=tuple(self.numbers), **found
        )


_FLAGS = {Kind.NUMBERED, Kind.CARPAL, Kind.BASE, Kind.TIP, Kind.ARM, Kind.HELPER}


def _words(name: str) -> list[str]:
    """A name in pieces that are words, in small letters; "fore arm" is one word."""
    words = [word for piece in _PIECES.findall(name) for word in _unglued(piece.lower())]
    for place in range(len(words) - 1, 0, -1):
        if words[place] == "arm" and words[place - 1] == "fore":
            words[place - 1 : place + 1] = ["forearm"]
    return words


@lru_cache(maxsize=8192)
def _unglued(piece: str) -> tuple[str, ...]:
    """A piece as words of the tables, ``rindex`` → r, index; itself if it is none of their sequences."""
    if piece in _WORDS or piece.isdigit() or not 1 < len(piece) <= _LONGEST_GLUED:
        return (piece,)
    # best[i]: fewest words that make up the first i letters
    best: list[tuple[str, ...] | None] = [(), *[None] * len(piece)]
    for end in range(1, len(piece) + 1):
        for start in range(max(0, end - _LONGEST_WORD), end):
            word, before, so_far = piece[start:end], best[start], best[end]
            # A single letter is a word only where a side may stand: in front or behind.
            lone = len(word) == 1 and word.isascii() and (word not in "rl" or start > 0 and end < len(piece))
            if before is None or word not in _WORDS or lone or word in _WHOLE:
                continue
            if so_far is None or len(before) + 1 < len(so_far):
                best[end] = (*before, word)
    return best[-1] or (piece,)
