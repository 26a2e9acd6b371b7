"""The house keeps its laws: floors, no circles, a folder that runs inside Blender, pages that name what exists."""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ("utils", "model", "data", "run")
FILES = {
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__"): path
    for floor in FLOORS
    for path in sorted((ROOT / floor).rglob("*.py"))
}
IN_BLENDER = [name for name in FILES if name.startswith("data.formats")] + [
    "utils.errors",
    "utils.files",
    "utils.scratch",
]
TEXT = [path for folder in (*FLOORS, "tests", "benchmarks", "blender_scripts", "semantics2hands", "examples")
        for path in sorted((ROOT / folder).rglob("*.py"))]  # fmt: skip


@cache
def imports_of(name: str) -> frozenset[str]:
    """Modules that a file imports anywhere, inside functions too; of our own the file that is meant."""
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are written in full"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner & FILES.keys() or {node.module}
    return frozenset(found)


@pytest.mark.parametrize("floor", FLOORS)
def test_no_room_imports_from_a_floor_above(floor):
    above = FLOORS[FLOORS.index(floor) + 1 :]
    for name in FILES:
        if name.split(".")[0] == floor:
            up = {other for other in imports_of(name) if other.split(".")[0] in (*above, "semantics2hands", "tests")}
            assert not up, f"{name} imports {up}"


def test_no_circles_between_files():
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name not in done:
            for other in sorted(imports_of(name) & FILES.keys()):
                if other != name:
                    visit(other, (*path, name))
            done.add(name)

    for name in FILES:
        visit(name, ())


@pytest.mark.parametrize("name", IN_BLENDER)
def test_what_runs_inside_blender(name):
    """Python 3.7 syntax, NumPy, the standard library, and each other."""
    ast.parse(FILES[name].read_text(), feature_version=(3, 7))
    own = {other for other in imports_of(name) if other.split(".")[0] in FLOORS}
    assert own <= {*IN_BLENDER, "data"}, f"{name} imports {own - set(IN_BLENDER)}"
    others = {other.split(".")[0] for other in imports_of(name) - own - optional(name)}
    assert others <= {"numpy", *sys.stdlib_module_names}, f"{name} imports {others}"


def optional(name: str) -> set[str]:
    """Modules that a file can do without: their imports may fail."""
    tries = [node for node in ast.walk(ast.parse(FILES[name].read_text())) if isinstance(node, ast.Try)]
    spared = [node for node in tries if any("ImportError" in ast.unparse(handler) for handler in node.handlers)]
    return {
        alias.name for node in spared for line in node.body if isinstance(line, ast.Import) for alias in line.names
    }


def test_cited_sections_exist():
    """Every "mathematics §n" in code names a heading of docs/mathematics.md."""
    headings = set(re.findall(r"^##+ §([\d.]+) ", (ROOT / "docs" / "mathematics.md").read_text(), flags=re.M))
    cited = 0
    for path in TEXT:
        for citation in re.findall(r"mathematics (§[\d.]+(?:(?:,| and) §[\d.]+)*)", path.read_text()):
            sections = {section.rstrip(".") for section in re.findall(r"§([\d.]+)", citation)}
            assert sections <= headings, f"{path}: {sections - headings}"
            cited += len(sections)
    assert cited > 80


def test_no_citation_leads_nowhere():
    """The specification that the mathematics came from is not part of the project."""
    words = re.compile(r"\bSPEC(?:IFICATION)?(?:\.md)? §|\bDECISIONS\.md|\bSPEC\.md")
    lost = [path.relative_to(ROOT) for path in TEXT if path != Path(__file__) and words.search(path.read_text())]
    assert not lost, f"cite docs/mathematics.md instead, as `mathematics §n`: {lost}"


def test_rooms_on_the_map_exist():
    """docs/architecture.md names folders and files that are there, and every folder of the four floors."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"`((?:\w+/)+[\w.]*)`", text))
    missing = {name for name in named if not (ROOT / name).exists()}
    assert named and not missing, f"docs/architecture.md names {missing}"
    rooms = {f"{path.parent.relative_to(ROOT).as_posix()}/" for path in FILES.values() if path.name == "__init__.py"}
    assert rooms <= named, f"docs/architecture.md does not name {rooms - named}"
