"""The commands, with a line for each: `python -m run`."""

from __future__ import annotations

import ast
from pathlib import Path

MAIN = 'if __name__ == "__main__":'


def commands() -> dict[str, str]:
    """{module: what it does}, read from the first line of each docstring without importing anything."""
    files = sorted(Path(__file__).parent.glob("[a-z]*.py"))
    sources = {path.stem: path.read_text(encoding="utf-8") for path in files}
    first = {
        name: ast.get_docstring(ast.parse(text)).splitlines()[0] for name, text in sources.items() if MAIN in text
    }
    return {name: line.split(": `")[0].rstrip(".") for name, line in first.items()}


if __name__ == "__main__":
    found = commands()
    width = max(map(len, found))
    print("python -m run.COMMAND --help says more of each:\n")
    print("\n".join(f"  {name:{width}}  {line}" for name, line in found.items()))
