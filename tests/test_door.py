"""The door: every name opens, opening it loads nothing, and the examples run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import semantics2hands

ROOT = Path(__file__).parents[1]


def run(*words, cwd):
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=cwd, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def environment():
    """As after `pip install --editable .`: the folder is on the path, wherever one is."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("name", semantics2hands.__all__)
def test_every_name_opens(name):
    assert getattr(semantics2hands, name).__doc__


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'transmogrify'; it has retarget"):
        semantics2hands.transmogrify  # noqa: B018
    assert set(semantics2hands.__all__) <= set(dir(semantics2hands))


def test_words_that_do_not_suit_are_an_error_to_catch():
    """A program of one's own goes on after it."""
    with pytest.raises(semantics2hands.InputError, match="--method: expected one of .*, found dance"):
        semantics2hands.retarget(["a.bvh", "--method", "dance"])


def test_the_door_loads_nothing(tmp_path):
    """It opens from any folder, at once: neither torch nor Lightning nor NumPy."""
    loaded = run("-c", "import sys, semantics2hands; print(*sys.modules)", cwd=tmp_path).split()
    assert "semantics2hands" in loaded and not {"torch", "pytorch_lightning", "lightning", "numpy"} & set(loaded)


def test_a_file_is_retargeted(tmp_path):
    printed = run(ROOT / "examples" / "retarget_a_file.py", cwd=tmp_path)
    assert (tmp_path / "artifact" / "retargeted.bvh").is_file()
    assert "right hand" in printed and "left hand" in printed


def test_a_hand_and_its_meaning(tmp_path):
    """The optimiser finds more of the meaning than the copy does."""
    printed = run(ROOT / "examples" / "a_hand_and_its_meaning.py", cwd=tmp_path).splitlines()
    copied, optimised = (float(line.split("S_finger ")[1].split()[0]) for line in printed[-2:])
    assert "(1, 20, 20, 3)" in printed[0] and copied < optimised <= 0.95


def test_a_hand_is_followed(tmp_path):
    """A client on this machine gets an answer for every frame."""
    printed = run(ROOT / "examples" / "follow_a_hand.py", cwd=tmp_path).splitlines()
    assert "right, left hands of 1080 bytes" in printed[0] and "90 answers of shape (2, 5, 3, 3, 3)" in printed[1]
