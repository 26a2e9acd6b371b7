"""Messages below run/ name settings; only the commands know what their options are called."""

import ast
import re
from pathlib import Path

import pytest

from run.training.command_line import OPTIONS
from utils.errors import spoken

ROOT = Path(__file__).resolve().parents[1]
OTHERS = {
    "data/blender.py": ["--background", "--factory-startup", "--python-exit-code", "--python", "--"],
    "data/motion/fbx.py": ["--character", "--motion", "--output_fbx", "--output_places", "--name", "--"],
    "utils/cli.py": ["--", "--no_", "--help"],
    "utils/errors.py": ["--"],
}
"""Options of other programs that are started, and what makes options."""


def words(path: Path) -> list[str]:
    """What in the strings of a program, docstrings left out, looks like an option of a command line."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    strings = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return [
        word
        for node in strings
        if id(node) not in told
        for word in re.findall(r"(?<![\w-])--(?:[a-z][\w.-]*|$)", node.value)
    ]


@pytest.mark.parametrize("floor", ["data", "model", "utils"])
def test_no_option_is_named_below_the_commands(floor):
    found = {}
    for path in sorted((ROOT / floor).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if strange := set(words(path)) - set(OTHERS.get(name, [])):
            found[name] = strange
    assert not found


def test_settings_become_the_options_of_each_program():
    message = "a.bvh: expected 2 windows; a smaller `window_size`, `fps` or `smplx_path`; run `make demo`"
    assert spoken(message).endswith("a smaller --window_size, --fps or --smplx_path; run `make demo`")
    assert "--data.window_size, --fps or --model.smplx_model_path" in spoken(message, OPTIONS)
