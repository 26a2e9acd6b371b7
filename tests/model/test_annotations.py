"""Shapes and types in the annotations of `model/` are those that its tests see."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = ("rotations", "kinematics", "hands", "semantics", "losses", "presence", "limits", "mano", "mirror", "network",
         "skinning", "streaming", "optimizer/test_search")  # fmt: skip
REFUSED = "not Errors and not wrong and not refused"
"""Tests that give what annotations forbid, to see it refused."""


@pytest.mark.slow
def test_annotations_are_true():
    files = [str(ROOT / "tests" / "model" / (f"{name}.py" if "/" in name else f"test_{name}.py")) for name in FILES]
    command = [sys.executable, "-m", "pytest", "--jaxtyping-packages=model,shapes.checked", "-k", REFUSED, *files]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
