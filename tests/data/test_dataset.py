"""The layout of a data set's folder is spelled in one place."""

import ast
from pathlib import Path

import pytest

from data.dataset import MANO_FOLDER, MixHandFolder, axes_of, character_of
from utils.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
SPELLED = {
    "_mesh_data": "data/formats/skeleton.py",
    "_finger_axis.": "data/dataset.py",
    "mean_var": "data/dataset.py",
    "splits.yaml": "data/dataset.py",
}


def literals(path: Path) -> list[str]:
    """Strings of a program that are no docstrings, sentences or help."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    strings = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return [node.value for node in strings if id(node) not in told and " " not in node.value]


@pytest.mark.parametrize("word", SPELLED)
def test_names_of_files_are_spelled_in_one_place(word):
    found = set()
    for floor in ("blender_scripts", "data", "model", "run", "utils"):
        for path in sorted((ROOT / floor).rglob("*.py")):
            found |= {path.relative_to(ROOT).as_posix() for text in literals(path) if word in text}
    # Published defaults of options stay where the options are.
    assert found - {"model/network.py", "model/feedback/network.py", "run/calculate_mano_axis.py"} == {SPELLED[word]}


def test_axes_are_found_with_either_ending(tmp_path):
    folder = MixHandFolder(tmp_path)
    folder.finger_data.mkdir()
    assert folder.axes("A").name == "A_finger_axis.pkl" and folder.mano_axes.name == "mano_finger_axis.pkl"
    for name in ("A", "mano"):
        (folder.finger_data / f"{name}_finger_axis.npz").touch()
    assert folder.axes("A").name == "A_finger_axis.npz" and folder.mano_axes.name == "mano_finger_axis.npz"
    assert folder.mano_axes_file() == folder.mano_axes and folder.with_axes() == ["A"]
    with pytest.raises(InputError, match="A_mesh_data.npz: expected this file of the character A, found nothing"):
        folder.character_files("A")
    folder.mesh("A").touch()
    assert folder.character_files("A") == (folder.mesh("A"), axes_of(folder.mesh("A")))
    assert folder.meshes() == {"A": folder.mesh("A")} and character_of(Path("x/B.npz")) == "B"


def test_who_moves_and_where_the_hand_model_lies(tmp_path):
    folder = MixHandFolder(tmp_path)
    for name in ("finger_data", "ref", "Aj", "Still"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ("a.BVH" if name != "Still" else "a.txt")).touch()
    assert folder.moving() == ["Aj"] and folder.motions("Aj") == [tmp_path / "Aj" / "a.BVH"]
    assert folder.mano_model() == MANO_FOLDER and folder.mano_model("mine") == Path("mine")
    folder.models.mkdir()
    assert folder.mano_model() == folder.models
    assert MixHandFolder(tmp_path / "none").moving() == [] == MixHandFolder(tmp_path / "none").with_axes()
