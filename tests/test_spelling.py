"""Comments, docstrings and pages are in British spelling; names of libraries, options and files stay."""

import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("data", "model", "run", "utils", "tests", "benchmarks", "blender_scripts", "semantics2hands", "examples")
FILES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")) if path != Path(__file__)]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "data").rglob("*.md")]
AMERICAN = re.compile(
    r"\b(?:colors?|colored|cent(?:imet)?er(?:s|ed)?|meters?|behaviors?|gray|favorites?|neighbors?|neighboring|labeled|modeled|"
    r"traveled|(?:normal|optim|initial|recogn|organ|visual|minim|maxim|summar|custom|synchron|general|parametr)iz\w+|"
    r"analyz\w+)\b",
    re.IGNORECASE,
)
NAMES = re.compile(
    r"```.*?```|`[^`\n]+`|--?\w[\w.]*|\S*[/_.{}\"]\w\S*|^ *\w+: |[;.] \w+: |\"\w+\"", re.DOTALL | re.MULTILINE
)
"""What is no prose: code, options, paths, dotted names, arguments of a docstring."""


def american(prose: str) -> list[str]:
    """American spellings in prose."""
    return AMERICAN.findall(NAMES.sub(" ", prose))


def prose_of(path: Path) -> list[str]:
    """Comments and docstrings of a file that have sentences in them."""
    tokens = list(tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline))
    return [
        token.string.strip("#\"' ")
        for before, token in zip([None, *tokens], tokens, strict=False)
        if token.type == tokenize.COMMENT
        or (
            token.type == tokenize.STRING
            and token.string.startswith('"""')
            and (before is None or before.type != tokenize.OP)
        )
    ]


@pytest.mark.parametrize("folder", FOLDERS)
def test_code(folder):
    files = [path for path in FILES if path.relative_to(ROOT).parts[0] == folder]
    found = {str(path.relative_to(ROOT)): words for path in files if (words := sum(map(american, prose_of(path)), []))}
    assert not found


def test_pages():
    assert not {path.name: words for path in PAGES if (words := american(path.read_text(encoding="utf-8")))}


def test_the_list_finds_something():
    assert american("The center of a gray hand is normalized") == ["center", "gray", "normalized"]
    assert not american("The centre of `color`, see --data.normalization and torch.optimizer")
