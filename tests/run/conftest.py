"""Running the programs as a user does, in a folder laid out as the published ones expect it."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from tests.run import published

ROOT = Path(__file__).resolve().parents[2]
# Small networks: what is tested here is not what they learn.
SMALL = [
    "--model.hidden_channel",
    "8",
    "--model.static_hidden_channel",
    "8",
    "--trainer.enable_model_summary",
    "false",
]


@dataclass
class Outcome:
    """What a program left on the screen, and its exit code."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def published_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with artifact/MixHand, artifact/smplx, and per method the published config and checkpoint."""
    folder = published.write_world(tmp_path_factory.mktemp("world"))
    published.write_data(folder / "intra", "mixamo_other")
    for method in ("asrn", "dm"):
        (folder / f"{method}.yaml").write_text(published.config_text(method))
        torch.save(published.checkpoint(method), folder / f"{method}.ckpt")
    return folder


@pytest.fixture
def world(published_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own working folder with the same content (by links); it is the current one."""
    for path in published_world.iterdir():
        if path.name != "artifact":
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "artifact").mkdir()
    for path in (published_world / "artifact").iterdir():
        (tmp_path / "artifact" / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture):
    """program("run.train_mixhand", "fit", …) runs the module as `python -m` does, in this process."""

    def run(module: str, *words: str) -> Outcome:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", [module, *map(str, words)])
        code = 0
        try:
            runpy.run_module(module, run_name="__main__")
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        return Outcome(code, *capfd.readouterr())

    return run


def run_process(folder: Path, module: str, *words: str) -> subprocess.CompletedProcess:
    """`python -m module words` in a process of its own, one thread of computation."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", module, *map(str, words)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def only(folder: Path, pattern: str) -> Path:
    """The one file below `folder` that matches."""
    found = list(folder.rglob(pattern))
    assert len(found) == 1, found
    return found[0]
