"""Killed at any moment, no tool leaves half a file, and its next run ends as if it had not been killed.

How often each is killed: the environment variable ``S2H_KILLS`` (50).
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from tests.data.preparation.test_interhand import hand
from tests.run import published
from tests.run.conftest import ROOT, SMALL

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("S2H_KILLS", "50"))
LEFTOVER = re.compile(r"\..+-[0-9a-f]{20}(\.[^.]*)?")
BVH = ROOT / "tests/golden/bvh/mixamo_clip_a.bvh"
TRAINING = [
    *SMALL, "--config", str(ROOT / "config/ASRN.yaml"), "--data.batch_size", "8", "--data.num_workers", "0",
    "--trainer.max_epochs", "2", "--trainer.accelerator", "cpu", "--pictures.every_n_epochs", "0",
    "--trainer.limit_val_batches", "1", "--resume_points.every_n_steps", "1", "--resume_points.at_most_each", "0",
]  # fmt: skip


@dataclass
class Tool:
    """A command, the folder that it writes into, and how it goes on."""

    words: list[str]
    output: str
    exact: bool = True  # the same bytes each time
    goes_on: tuple[str, ...] = ()  # further words once something is there to go on from
    grows: str = ""  # a file that gets a line for each thing done


TOOLS = {
    "retarget": Tool(
        ["run.retarget", str(BVH), "--target", str(ROOT / "tests/golden/inputs/Kaya_mesh_data.npz"), "--method",
         "tbs_copy", "--output", "out", "--format", "bvh", "glb"], "out"),
    "preprocess": Tool(["run.preprocess_mixhand", "--data_path", "raw", "--smplx_path", "artifact/smplx/models"],
                       "raw"),
    "build": Tool(["run.build_open_hands", "--output", "out"], "out"),
    "interhand": Tool(["run.convert_interhand_bvh", "--smplx_path", "artifact/smplx/models", "--input", "all.json",
                       "--output_dir", "out"], "out", grows="summary.csv"),
    "convert": Tool(["run.convert_character", "characters", "--output_dir", "out"], "out"),
    "fit": Tool(["run.train_mixhand", "fit", *TRAINING, "--trainer.default_root_dir", "out"], "out", exact=False,
                goes_on=("--ckpt_path", "last")),
    "demo": Tool(["run.demo", "--small", "--data_path", "open", "--output", "out"], "out", exact=False),
}  # fmt: skip


def prepare(folder: Path, name: str) -> None:
    """What a tool reads."""
    published.write_world(folder)
    (folder / "config").symlink_to(ROOT / "config")
    if name == "preprocess":
        for character, clip in (("Aj", "mixamo_clip_a"), ("Kaya", "mixamo_clip_b"), ("Mano0", "mano_clip")):
            (folder / "raw" / character).mkdir(parents=True)
            shutil.copy(published.GOLDEN / "bvh" / f"{clip}.bvh", folder / "raw" / character / "a.bvh")
        shutil.copy(published.GOLDEN / "bvh/mano_clip.npy", folder / "raw/Mano0/a.npy")
        shutil.copytree(published.GOLDEN / "inputs", folder / "raw/finger_data")
    if name == "interhand":
        captures = {str(n): {str(f): {"right": hand(f), "left": hand(f + 1)} for f in range(40)} for n in range(6)}
        (folder / "all.json").write_text(json.dumps(captures))
    if name == "convert":
        (folder / "characters").mkdir()
        words = [*TOOLS["retarget"].words[:-3], "--output", "characters/me.glb"]
        done = subprocess.run(command(words), cwd=folder, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def command(words: list[str]) -> list[str]:
    return [sys.executable, "-m", *words]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def contents(folder: Path) -> dict[str, str]:
    """Path → hash of its content, of all files that are no temporary ones."""
    files = (path for path in folder.rglob("*") if path.is_file() and not LEFTOVER.fullmatch(path.name))
    return {str(path.relative_to(folder)): _digest(path) for path in files}


def _digest(path: Path) -> str:
    """Descriptions hold times of files: of these, that they are whole."""
    if path.suffix == ".json":
        return str(sorted(json.loads(path.read_text(encoding="utf-8"))))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run_killed(folder: Path, words: list[str], after: float) -> bool:
    """Whether it was killed before it ended by itself."""
    process = subprocess.Popen(
        command(words), cwd=folder, env=environment(), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("name", TOOLS)
def test_killed_at_any_moment(name, tmp_path):
    tool = TOOLS[name]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        prepare(folder, name)
    began = time.monotonic()
    done = subprocess.run(command(tool.words), cwd=whole, env=environment(), capture_output=True, text=True)
    takes = time.monotonic() - began
    assert done.returncode == 0, done.stderr[-2000:]
    expected = contents(whole / tool.output)
    dice, killed, tries, longest = random.Random(name), 0, 0, takes

    def words() -> list[str]:
        some = tool.goes_on and list((broken / tool.output).rglob("*.ckpt"))
        return [*tool.words, *tool.goes_on] if some else tool.words

    while killed < KILLS:
        tries += 1
        assert tries <= 3 * KILLS + 3, "ended by itself too often"
        began = time.monotonic()
        by_us = run_killed(broken, words(), dice.uniform(0.1, 1) * longest)
        killed += by_us
        there = contents(broken / tool.output)
        if tool.exact:
            wrong = {path for path, content in there.items() if path not in expected or content != expected[path]}
            if tool.grows in wrong:
                whole_text, text = ((at / tool.output / tool.grows).read_text() for at in (whole, broken))
                wrong -= {tool.grows} if text.endswith("\n") and whole_text.startswith(text) else set()
            assert not wrong, f"half or other after kill {killed}: {sorted(wrong)}"
        for path in there:
            if path.endswith(".ckpt"):
                assert torch.load(broken / tool.output / path, weights_only=True)["state_dict"]
        # What goes on from where it was takes less than the whole: later kills would come too late.
        longest = takes if by_us else min(takes, time.monotonic() - began)
        if not by_us or killed % 5 == 4:  # from nothing again
            shutil.rmtree(broken)
            prepare(broken, name)
    done = subprocess.run(command(words()), cwd=broken, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    if tool.exact:
        assert contents(broken / tool.output) == expected
    left = [path for path in broken.rglob("*") if LEFTOVER.fullmatch(path.name)]
    assert not left, left
    print(f"{name}: {killed} kills in {tries} runs of {takes:.1f} s, none left half a file")
