"""Two processes train, resume and test as one does: started by the trainer, by torchrun and by SLURM."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.run.conftest import ROOT, SMALL, only

# 35 windows, eight a step: four steps of eight and one of three, which two processes share as two and one.
OPTIONS = [
    *SMALL, "--data.num_workers", "0", "--data.data_augment", "true", "--data.new_pairs", "true",
    "--pictures.every_n_epochs", "0", "--trainer.log_every_n_steps", "5",
]  # fmt: skip
STEPS, KILLED = 20, 12
SRUN = """#!{python}
import os, subprocess, sys
count = int(os.environ["SLURM_NTASKS"])
tasks = [
    subprocess.Popen(sys.argv[1:], env={{**os.environ, "SLURM_PROCID": str(n), "SLURM_LOCALID": str(n)}})
    for n in range(count)
]
sys.exit(max(task.wait() for task in tasks))
"""
SLURM = {
    "SLURM_JOB_ID": "4711", "SLURM_JOB_NAME": "train", "SLURM_NODELIST": "localhost", "SLURM_NODEID": "0",
    "SLURM_JOB_NUM_NODES": "1", "MASTER_ADDR": "127.0.0.1",
}  # fmt: skip


def recipe(first_word: str) -> list[str]:
    """The words of the README's command that begins with `first_word`; of `sbatch`, those that it wraps."""
    line = re.search(rf"^{first_word} .*$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)[0]
    words = shlex.split(line)
    return shlex.split(words[-1]) if first_word == "sbatch" else words


def start(folder: Path, words: list, killed: bool = False, **environment: str) -> str:
    """Run a command in `folder`, where `python`, `torchrun` and `srun` are found; returns what it printed."""
    tools = folder / "tools"
    if not tools.is_dir():
        tools.mkdir()
        (tools / "srun").write_text(SRUN.format(python=sys.executable))
        (tools / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        (tools / "torchrun").write_text(
            f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m torch.distributed.run "$@"\n'
        )
        for tool in tools.iterdir():
            tool.chmod(0o755)
        (folder / "config").symlink_to(ROOT / "config")
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": path, **environment}
    done = subprocess.run(
        [shutil.which(words[0], path=path), *map(str, words[1:])],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert (done.returncode != 0) == killed, done.stderr[-3000:]
    return done.stdout


def keep(path: str) -> list[str]:
    return ["--trainer.callbacks+", "tests.run.recorder.KeepGradients", "--trainer.callbacks.path", path]


def weights(root: Path) -> dict[str, torch.Tensor]:
    return torch.load(only(root, "last.ckpt"), weights_only=True)["state_dict"]


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this PyTorch has no torch.distributed")
def test_two_processes_are_one(world, program):
    alone = program(
        "run.train_mixhand", "fit", "--config", ROOT / "config/ASRN.yaml", *OPTIONS, "--data.batch_size", 8,
        "--trainer.max_steps", STEPS, "--trainer.default_root_dir", "alone", *keep("alone.pt"),
    )  # fmt: skip
    assert alone.code == 0, alone.err

    # Started by the trainer, from the overlay, and killed at the third epoch's second step.
    shared = [
        *OPTIONS,
        "--data.batch_size",
        4,
        "--trainer.default_root_dir",
        "both",
        "--resume_points.every_n_steps",
        1,
    ]
    shared += ["--trainer.max_steps", STEPS]
    overlays = ["--config", "config/ASRN.yaml", "--config", "config/hardware/ddp.yaml", "--trainer.accelerator", "cpu"]
    killer = ["--trainer.callbacks+", "tests.run.killer.KillAt", "--trainer.callbacks.step", KILLED]
    words = ["python", "-m", "run.train_mixhand", "fit", *overlays, *shared, "--trainer.devices", 2, *keep("both.pt")]
    start(world, [*words, *killer], killed=True)
    single, double = torch.load("alone.pt"), torch.load("both.pt")
    assert (len(single), len(double)) == (STEPS, KILLED)
    for one, two in zip(single, double, strict=False):
        assert set(one) == set(two)
        size = sum(value.square().sum() for value in one.values()).sqrt()
        apart = sum((one[name] - two[name]).square().sum() for name in one).sqrt()
        assert apart < 1e-5 * size  # the short last batch of an epoch (steps 5 and 10) too

    # Resumed by torchrun, as the README says.
    printed = start(world, [*recipe("torchrun"), *shared, "--ckpt_path", "last"])
    best = r"Best (val/\S+) = (\S+):"  # said once, and of the windows of both
    found, expected = (dict(re.findall(best, each)) for each in (printed, alone.out))
    assert len(re.findall(best, printed)) == 2 == len(expected)
    assert {name: float(value) for name, value in found.items()} == pytest.approx(
        {name: float(value) for name, value in expected.items()}, abs=2e-4
    )
    expected, found = weights(world / "alone"), weights(world / "both")
    assert set(expected) == set(found)
    # Adam makes whole steps out of rounding where a gradient is nearly zero: one weight in ten thousand may move more,
    # which depends on the processor; twenty steps in a wrong direction would be 2e-3.
    apart = torch.cat([(found[name] - value).abs().reshape(-1) for name, value in expected.items()])
    assert (apart > 1e-5).float().mean() < 1e-4 and apart.max() < 1e-4

    # Tested by SLURM, as the README says: five windows, which two processes share as two and three.
    last = only(world / "both", "last.ckpt")
    tested = program(
        "run.train_mixhand", "test", "--config", ROOT / "config/ASRN.yaml", *OPTIONS,
        "--trainer.default_root_dir", "test_alone", "--ckpt_path", last,
    )  # fmt: skip
    assert tested.code == 0, tested.err
    words = [*recipe("sbatch"), *OPTIONS, "--trainer.default_root_dir", "test_both", "--ckpt_path", last]
    printed = start(world, words, SLURM_NTASKS="2", SLURM_NTASKS_PER_NODE="2", **SLURM)
    table = [line for line in tested.out.splitlines() if "│" in line]
    assert len(table) == 6 and table == [line for line in printed.splitlines() if "│" in line]
    one, two = (json.loads(only(world / f"test_{name}", "results.json").read_text()) for name in ("alone", "both"))
    assert (one["windows"], one["frames"]) == (two["windows"], two["frames"]) == (5, 40)
    for name, value in one["logged"].items():
        assert two["logged"][name] == pytest.approx(value, abs=1e-6)


@pytest.mark.slow
def test_predictions_and_validation_of_two_processes(world, program):
    common = [*OPTIONS, "--trainer.accelerator", "cpu", "--data.batch_size", 2]
    double = ["--trainer.devices", 2, "--trainer.strategy", "ddp"]
    assert program("run.train_mixhand", "predict", *common, "--trainer.default_root_dir", "alone").code == 0
    words = ["python", "-m", "run.train_mixhand", "predict", *common, *double, "--trainer.default_root_dir", "both"]
    assert start(world, words).count("Written:") == 1
    with np.load(only(world / "alone", "predictions.npz")) as one, np.load(only(world / "both", "*.npz")) as two:
        assert set(one.files) == set(two.files)
        for name in one.files:  # the windows' order too
            same = np.array_equal if one[name].dtype.kind == "U" else lambda a, b: np.allclose(a, b, atol=1e-5)
            assert one[name].shape == two[name].shape and same(one[name], two[name]), name
    alone = program("run.train_mixhand", "validate", *common)
    words = ["python", "-m", "run.train_mixhand", "validate", *common, *double]
    assert measured(alone.out) == pytest.approx(measured(start(world, words)), rel=1e-5)


@pytest.mark.slow
def test_the_feedback_network_trains_in_two_processes(world, program):
    """Each draws hands of its own; their weights stay the same, and are tested as one process tests them."""
    common = [
        "--model.hidden_channel", 16, "--model.row_channel", 4, "--trainer.enable_model_summary", "false",
        "--data.num_workers", 0, "--trainer.accelerator", "cpu", "--pictures.every_n_epochs", 0,
    ]  # fmt: skip
    double = ["--trainer.devices", 2, "--trainer.strategy", "ddp"]
    drawn = ["--data.frames", 20, "--data.batches", 3, "--data.pool", 24, "--trainer.max_epochs", 2]
    words = ["python", "-m", "run.train_feedback", "fit", "--config", "config/Feedback.yaml", *common, *double, *drawn]
    start(world, [*words, "--trainer.default_root_dir", "both", *keep("both.pt")])
    assert len(torch.load("both.pt")) == 6
    last = only(world / "both", "last.ckpt")
    printed = start(
        world, [*words[:3], "test", *common, *double, "--ckpt_path", last, "--trainer.default_root_dir", "t2"]
    )
    alone = program("run.train_feedback", "test", *common, "--ckpt_path", last, "--trainer.default_root_dir", "t1")
    assert alone.code == 0, alone.err
    table = [line for line in alone.out.splitlines() if "│" in line]
    assert len(table) == 6 and table == [line for line in printed.splitlines() if "│" in line]


def measured(printed: str) -> dict[str, float]:
    """Lightning's table of validation figures."""
    rows = re.findall(r"(val/\S+)\s*│\s*(\S+)", printed)
    assert len(rows) > 20
    return {name: float(value) for name, value in rows}
