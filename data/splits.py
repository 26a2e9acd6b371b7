"""Which characters to train and test on: the published lists, the splits of the open data set, and lists in which
everyone meets everyone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from data.dataset import MixHandFolder
from utils.errors import InputError
from utils.safe_yaml import read_yaml

TRAIN_CHARACTERS = ["(Aj+BigVegas+Kaya)*9", *(f"Mano{n}" for n in range(7))]
VAL_CHARACTERS = ["SportyGranny", "Mano7", "Mano8", "Mano9"]
TEST_CHARACTERS = ["SportyGranny*9", "Mano7", "Mano8", "Mano9"]
INTRA_TARGET = ["Kaya"]
INTRA_SOURCE = ["SportyGranny"]

SPLITS = {"methods": "test_outside", "methods_inside": "test_inside"}
"""Group of results.json -> split of the open data set."""
TITLES = {
    "methods": "Test hands outside the range of the training hands",
    "methods_inside": "Test hands inside the range of the training hands",
}

_MOST_CHARACTERS, _LONGEST_ENTRY = 100_000, 100_000
_TOO_MANY = f"expected at most {_MOST_CHARACTERS} characters; write smaller numbers"


def read_sides(data: Path) -> dict[str, dict[str, list[str]]]:
    """{split: {"mixamo": characters, "mano": subjects}} of the open data set.

    Raises InputError if splits.yaml is missing or of another form.
    """
    path = MixHandFolder(data).splits
    try:
        splits = read_yaml(path)
        return {name: {side: list(sides[side]) for side in ("mixamo", "mano")} for name, sides in splits.items()}
    except (InputError, AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{path}: expected the splits of run.build_open_hands ({error}); build again") from None


def read_splits(data: Path) -> dict[str, list[str]]:
    """Characters of each split of the open data set, both domains in one list; in the test splits in such numbers that
    every character meets every subject. Raises as `read_sides`.
    """
    return {
        name: everyone_with_everyone(sides["mixamo"], sides["mano"])
        if name.startswith("test")
        else [*sides["mixamo"], *sides["mano"]]
        for name, sides in read_sides(data).items()
    }


def everyone_with_everyone(characters: list[str], subjects: list[str]) -> list[str]:
    """Entries of a character list that pair each character with each subject (clips of equal length)."""
    return [*(f"{name}*{len(subjects)}" for name in characters), f"({'+'.join(subjects)})*{len(characters)}"]


def each_with_the_others(characters: list[str]) -> tuple[list[str], list[str]]:
    """(targets, sources) that pair each character with every other one, for tests within a domain."""
    others = {name: [other for other in characters if other != name] for name in characters}
    return [name for name in characters for _ in others[name]], [
        other for name in characters for other in others[name]
    ]


def expand_characters(entries: Sequence[str]) -> list[str]:
    """Write out a list of characters.

    ``"Aj*3"`` is three times Aj, ``"(Aj+Kaya)*2"`` is Aj, Kaya, Aj, Kaya, and ``"Hand08..11"`` is Hand08, Hand09,
    Hand10, Hand11.

    Raises:
        InputError: an entry is not of this form.
    """
    names = []
    for entry in entries:
        if not isinstance(entry, str):
            raise InputError(f"characters: expected names, found {str(entry)[:60]!r}; fix that entry of the list")
        if len(entry) > _LONGEST_ENTRY:
            raise InputError(f"characters: expected entries of at most {_LONGEST_ENTRY} letters, found {len(entry)}")
        match = re.fullmatch(r"\s*(?:\((?P<several>[^()*]+)\)|(?P<one>[^()*]+?))\s*(?:\*\s*(?P<times>\d+))?\s*", entry)
        group = [] if match is None else (match["several"].split("+") if match["several"] else [match["one"]])
        group = [name.strip() for name in group]
        times = _number(match["times"] or "1") if match else 0
        if not group or not all(group) or times < 1:
            raise InputError(
                f"characters: expected NAME, NAME*3, (NAME+NAME)*3 or NAME00..11, found {entry!r}; fix that entry of "
                f"the list"
            )
        expanded = [name for each in group for name in _expand_range(each)]
        if len(names) + len(expanded) * times > _MOST_CHARACTERS:
            raise InputError(f"characters: {entry[:60]!r}: {_TOO_MANY}")
        names += expanded * times
    return names


def _number(digits: str) -> int:
    """A number of any length; those of more than 18 digits are all the same here, too large."""
    return int(digits.lstrip("0")[:18] or 0)


def _expand_range(name: str) -> list[str]:
    match = re.fullmatch(r"(?P<stem>.*?)(?P<first>\d+)\.\.(?P<last>\d+)", name)
    if match is None:
        return [name]
    first, last = _number(match["first"]), _number(match["last"])
    numbers = range(first, last + 1)
    if last - first >= _MOST_CHARACTERS:
        raise InputError(f"characters: {name[:60]!r}: {_TOO_MANY}")
    if not numbers:
        raise InputError(f"characters: {name!r} counts downwards; write the smaller number first")
    return [f"{match['stem']}{number:0{len(match['first'])}}" for number in numbers]
