"""Which characters to test on: the splits of the open data set, and lists in which everyone meets everyone."""

from __future__ import annotations

from pathlib import Path

from data.dataset import MixHandFolder
from utils.errors import InputError
from utils.safe_yaml import read_yaml

SPLITS = {"methods": "test_outside", "methods_inside": "test_inside"}
"""Group of results.json -> split of the open data set."""
TITLES = {
    "methods": "Test hands outside the range of the training hands",
    "methods_inside": "Test hands inside the range of the training hands",
}


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
