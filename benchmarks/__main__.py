"""``python -m benchmarks [NAME ...]``: measure and print a table; NAME is one of the modules beside this file."""

from __future__ import annotations

import importlib
import json
import platform
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from utils.cli import guarded
from utils.errors import InputError
from utils.files import atomic_write

NAMES = ("training", "bvh", "preprocess", "optimizer", "stream", "retarget", "films")
RESULTS = Path("artifact/benchmarks.json")


def main() -> None:
    """Run the chosen benchmarks, print their table and save it as JSON."""
    chosen = sys.argv[1:] or list(NAMES)
    unknown = [name for name in chosen if name not in NAMES]
    if unknown:
        raise InputError(f"benchmarks: expected some of {', '.join(NAMES)}; found {', '.join(unknown)}")
    torch.set_num_threads(min(2, torch.get_num_threads()))
    console = Console()
    table = Table(title=f"{torch.get_num_threads()} threads, torch {torch.__version__}, {platform.machine()}")
    for column, justify in (
        ("what", "left"),
        ("value", "right"),
        ("unit", "left"),
        ("ratio", "right"),
        ("to", "left"),
    ):
        table.add_column(column, justify=justify)
    rows = []
    for name in chosen:
        with console.status(f"measuring {name}"):
            rows += importlib.import_module(f"benchmarks.{name}").run()
    for each in rows:
        numbers = f"{each['value']:,.2f}", each["unit"], f"{each['ratio']:.2f}"
        table.add_row(each["name"], *numbers, _text(each["reference"]))
    console.print(table)
    with atomic_write(RESULTS) as temporary:
        temporary.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def _text(reference: str | float) -> str:
    return reference if isinstance(reference, str) else f"{reference:,.2f}"


if __name__ == "__main__":
    guarded(main)
