"""Which classes a configuration file may name. A class that it names is imported, and importing runs its module."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from utils.errors import InputError

OPTION = "--trust_config"
PACKAGES = (
    "torch.optim", "pytorch_lightning", "lightning.pytorch", "lightning.fabric", "lightning_fabric",
    "model", "data", "run",
)  # fmt: skip
"""Whose classes may be named: PyTorch's optimisers, Lightning's, our own."""
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_FILE = re.compile(r".*\.(ya?ml|json)", re.IGNORECASE | re.DOTALL)


def check_classes(config: Any, source: str) -> None:
    """Look through a configuration for names that would be imported.

    Raises:
        InputError: there is one of a package that is not in `PACKAGES`, or the name of a further configuration, which
            nobody would have looked through.
    """
    for key, value in _texts(config, ""):
        if _FILE.fullmatch(value) and Path(value).is_file():
            raise InputError(
                f"configuration {source}: {key}: expected a value, found another configuration ({value}); lay them "
                f"over each other on the command line, --config FIRST --config SECOND"
            )
        if not _DOTTED.fullmatch(value) or value.startswith(tuple(f"{package}." for package in PACKAGES)):
            continue
        if key.endswith("class_path") or _is_package(value.partition(".")[0]):
            raise InputError(
                f"configuration {source}: {key}: expected a class of torch.optim, of pytorch_lightning or of this "
                f"project, found {value[:100]}, whose code would be run; if you trust the file, add {OPTION}"
            )


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """(where it stands, text) of all texts."""
    if isinstance(value, str):
        yield key or "its content", value
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _texts(part, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _texts(part, f"{key}[{number}]")


def _is_package(name: str) -> bool:
    """Whether something of this name could be imported. Imports nothing."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
