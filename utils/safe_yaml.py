"""YAML from strangers: small, shallow, and nothing in it written once that is meant a million times."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from utils.errors import InputError

LARGEST = 1 << 20
"""Bytes of a file; the data set's largest table has a few thousand."""
MOST, DEEPEST = 100_000, 50
"""Values, each counted as often as it is referred to; levels of lists and mappings."""


def read_yaml(path: str | os.PathLike, loader: type[yaml.SafeLoader] = yaml.SafeLoader, what: str = "YAML") -> Any:
    """The content of a YAML file.

    Args:
        path: of the file.
        loader: a safe one.
        what: is expected, for the message.

    Raises:
        InputError: the file cannot be read, is no YAML, is too large or too deep, refers to itself, or repeats its
            parts so often that it would fill the memory.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise InputError(f"{path}: expected {what} of at most {LARGEST >> 20} MiB, found {size} bytes")
        return parse_yaml(path.read_text(encoding="utf-8"), str(path), loader, what)
    except FileNotFoundError:
        raise InputError(f"{path}: expected {what}, found nothing; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected {what}, but it cannot be read ({error})") from None


def parse_yaml(text: str, where: str, loader: type[yaml.SafeLoader] = yaml.SafeLoader, what: str = "YAML") -> Any:
    """As :func:`read_yaml`, of a text that came from `where`."""
    try:
        _check_depth(text, where, what)
        content = yaml.load(text, Loader=loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(f"{where}: expected {what}, but it is not valid YAML ({reason}); correct it") from None
    _count(content, where, what, {}, ())
    return content


def _check_depth(text: str, where: str, what: str) -> None:
    """Before anything is built: PyYAML recurses, and merges (`<<`) copy."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise InputError(f"{where}: expected {what} of at most {DEEPEST} levels, found more; correct it")
        if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]:
            raise InputError(f"{where}: expected {what} without merges (<<), found one; write its values out")
        if number > MOST:
            raise InputError(f"{where}: expected {what} of at most {MOST} values, found more; correct it")


def _count(value: Any, where: str, what: str, known: dict[int, int], above: tuple[int, ...]) -> int:
    """How many values there are, written out."""
    if not isinstance(value, (dict, list)):
        return 1
    if id(value) in above:
        raise InputError(f"{where}: expected {what}, found a part that contains itself; correct it")
    if id(value) not in known:
        parts = list(value.values()) if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count(part, where, what, known, (*above, id(value))) for part in parts)
    if known[id(value)] > MOST:
        raise InputError(f"{where}: expected {what} of at most {MOST} values, found more by repetition; correct it")
    return known[id(value)]
