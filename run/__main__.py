"""The commands, with a line for each: `python -m run`; with one of them behind it, that is run."""

from __future__ import annotations

import ast
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.cli import aligned, did_you_mean, guarded
from utils.errors import InputError

MAIN = 'if __name__ == "__main__":'


def commands() -> dict[str, str]:
    """{module: what it does}, read from the first line of each docstring without importing anything."""
    files = sorted(Path(__file__).parent.glob("[a-z]*.py"))
    sources = {path.stem: path.read_text(encoding="utf-8") for path in files}
    first = {
        name: ast.get_docstring(ast.parse(text)).splitlines()[0] for name, text in sources.items() if MAIN in text
    }
    return {name: line.split(": `")[0].rstrip(".") for name, line in first.items()}


def main(words: Sequence[str]) -> None:
    """Print the list, or run the command that the words begin with. Raises InputError if there is no such command."""
    found = commands()
    if not words or words[0] in ("--help", "-h"):
        print(f"python -m run.COMMAND --help says more of each:\n\n{aligned(found)}")
        return
    name = words[0].removeprefix("run.")
    if name not in found:
        raise InputError(f"{words[0]}: there is no such command{did_you_mean(name, found)}; python -m run lists them")
    sys.argv = [name, *words[1:]]
    runpy.run_module(f"run.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    guarded(lambda: main(sys.argv[1:]))
