"""Killed at any moment and started again with `--ckpt_path last`, a training ends as if it had never stopped."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch

from tests.run.conftest import SMALL, run_process

# 35 windows in batches of 8: five steps an epoch, the last one short.
TRAINING = [
    "fit", *SMALL, "--data.batch_size", "8", "--data.data_augment", "true", "--data.new_pairs", "true",
    "--data.num_workers", "0",
    "--model.lr_schedule", "one_cycle", "--resume_points.every_n_steps", "2", "--pictures.every_n_epochs", "0",
    "--resume_points.at_most_each", "0",
    "--trainer.limit_val_batches", "1",
]  # fmt: skip


def train(world: Path, root: str, *words: str):
    return run_process(world, "run.train_mixhand", *TRAINING, "--trainer.default_root_dir", root, *words)


def state(world: Path, root: str) -> dict:
    (run,) = (world / root / "lightning_logs").iterdir()
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


def interrupted(world: Path, root: str, length: list[str], step: int, moment: str) -> dict:
    """The final state of a training that was killed once."""
    killer = ["--trainer.callbacks+", "tests.run.killer.KillAt"]
    killer += ["--trainer.callbacks.step", str(step), "--trainer.callbacks.moment", moment]
    killed = train(world, root, *length, *killer)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = train(world, root, *length, "--ckpt_path", "last")
    assert resumed.returncode == 0, resumed.stderr
    return state(world, root)


def assert_same(found: dict, expected: dict) -> None:
    assert (found["epoch"], found["global_step"]) == (expected["epoch"], expected["global_step"])
    for name, value in expected["state_dict"].items():
        assert torch.equal(found["state_dict"][name], value), name
    for number, values in expected["optimizer_states"][0]["state"].items():
        for name, value in values.items():
            assert torch.equal(found["optimizer_states"][0]["state"][number][name], value), (number, name)


@pytest.fixture(scope="module")
def uninterrupted(published_world: Path) -> dict:
    done = train(published_world, "uninterrupted", "--trainer.max_epochs", "2")
    assert done.returncode == 0, done.stderr
    return state(published_world, "uninterrupted")


@pytest.mark.slow  # the quick tests have one in tests/run/test_processes.py and some in tests/data/test_mixhand.py
@pytest.mark.parametrize(
    ("step", "moment"),
    [
        (1, "batch"),  # before the first checkpoint
        (5, "validation"),  # the epoch's steps are done, its end is not
        (8, "batch"),  # just before the checkpoint of this step is written
    ],
)
def test_killed_and_resumed(step, moment, published_world, uninterrupted):
    found = interrupted(published_world, f"killed_{step}_{moment}", ["--trainer.max_epochs", "2"], step, moment)
    assert_same(found, uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "moment"),
    [*((step, "batch") for step in range(1, 11)), (5, "epoch"), (10, "epoch")],  # epochs end each five steps
)
def test_killed_after_any_step(step, moment, published_world, uninterrupted):
    found = interrupted(published_world, f"any_{step}_{moment}", ["--trainer.max_epochs", "2"], step, moment)
    assert_same(found, uninterrupted)


@pytest.mark.slow
def test_length_given_in_steps(published_world):
    """Killed in the second epoch's first step: the checkpoint is that of the first epoch's end."""
    length = ["--trainer.max_steps", "8"]
    assert train(published_world, "steps", *length).returncode == 0
    assert_same(interrupted(published_world, "steps_killed", length, 6, "batch"), state(published_world, "steps"))
