"""Blender for tests: named by the environment variable S2H_BLENDER, on PATH, or in .venv-blender; else they skip."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from data.blender import ENVIRONMENT, find_blender

HERE = Path(__file__).parent


def run(command: list[str], script: Path, *arguments: object) -> subprocess.CompletedProcess:
    """Run a script with Blender."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    whole = [*command, str(script), "--", *map(str, arguments)]
    return subprocess.run(whole, capture_output=True, text=True, timeout=300, env=environment)


@pytest.fixture(scope="session")
def blender() -> list[str]:
    """The beginning of a command line that runs a script with Blender."""
    command = find_blender()
    if command is None:
        pytest.skip(f"no Blender: `make blender` makes one, or {ENVIRONMENT} names one")
    return command


@pytest.fixture(scope="session")
def files(blender, tmp_path_factory) -> Path:
    """A folder of small FBX and GLB files made by Blender (`make_files.py`)."""
    folder = tmp_path_factory.mktemp("files")
    done = run(blender, HERE / "make_files.py", folder)
    assert (folder / "truth.json").is_file(), done.stdout[-2000:] + done.stderr[-2000:]
    return folder


@pytest.fixture(scope="session")
def truth(files) -> dict:
    """What is true of them: ``heads`` of the bones in centimetres, ``wave``: rotations (11, 3, 3) of the hand."""
    return json.loads((files / "truth.json").read_text())
