"""Checkpoint files: found, read without running anything, checked against the model, written atomically.

Published checkpoints were written by Lightning 1.7.7 with one optimiser per network. They are turned into what one
optimiser over both networks resumes from: `adapt_published` merges the optimiser states (the parameter groups keep the
published order) and rebuilds the progress counters, of which Lightning 1.7 counted each batch twice.
"""

from __future__ import annotations

import copy
import os
import re
from pathlib import Path
from typing import Any

import pytorch_lightning
import torch
from lightning_fabric.plugins import CheckpointIO
from pytorch_lightning import LightningModule, Trainer

from model.methods import Method, of_kind
from run.training.open_weights import ENDING
from run.training.trained import match_weights, read_checkpoint, weights_of
from utils.errors import InputError
from utils.files import atomic_write

CHECKPOINT_FOLDER = "checkpoints"
LAST = "last.ckpt"
SPECIAL_PATHS = ("last", "best")

# What decides the shapes and the meaning of weights; everything else may differ between checkpoint and configuration.
ARCHITECTURE = (
    "hidden_channel", "kernel_size", "n_layers", "static_hidden_channel", "n_static_layers", "norm_type", "pose_repr",
    "is_rhand", "tbs_input_normalization",
)  # fmt: skip


def program_of(method: Method) -> str:
    """The module that trains a network."""
    return "run.train_mixhand" if method.name == "asrn" else f"run.train_{method.name}"  # the published name


def run_folders(root: str | Path) -> list[Path]:
    """Folders version_N of a run folder (usually .../lightning_logs), the newest first."""
    numbered = []
    for folder in Path(root).glob("version_*"):
        number = folder.name.removeprefix("version_")
        if number.isdigit() and folder.is_dir():
            numbered.append((int(number), folder))
    return [folder for _, folder in sorted(numbered, reverse=True)]


def last_training(root: str | Path) -> tuple[Path | None, Path | None]:
    """(folder version_N of the newest training, its newest checkpoint), None for what there is not.

    A training makes its checkpoint folder before its first step, so that one killed at once is still found, and an
    older, finished one is not taken for it.
    """
    for folder in run_folders(root):
        if (folder / CHECKPOINT_FOLDER).is_dir():
            return folder, _newest(folder / CHECKPOINT_FOLDER)
    return None, None


def find_checkpoint(root: str | Path, which: str) -> Path | None:
    """The newest checkpoint of the newest run that has one; `which`: "last", or "best" (best_mixamo before others)."""
    for folder in run_folders(root):
        checkpoints = folder / CHECKPOINT_FOLDER
        if which == "best":
            found = _newest(checkpoints, "best_mixamo*.ckpt") or _newest(checkpoints, "best*.ckpt")
        else:
            found = _newest(checkpoints)
        if found is not None:
            return found
    return None


def _newest(folder: Path, pattern: str = "*.ckpt") -> Path | None:
    if pattern == "*.ckpt" and (folder / LAST).is_file():
        return folder / LAST
    found = [path for path in folder.glob(pattern) if not path.name.startswith(".")]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


class TrustedCheckpoints(CheckpointIO):
    """How the trainer reads and writes checkpoints.

    Reading goes through `run.training.trained.read_checkpoint` (nothing in the file is executed) and `fit_to_model`;
    writing is atomic, so that a run killed at any moment leaves a complete file.

    `same_run` says that training continues in the folder of the checkpoint: only then do the best checkpoints that it
    knows of belong to this run.
    """

    def __init__(self) -> None:
        self.module: LightningModule | None = None
        self.trainer: Trainer | None = None
        self.same_run = False
        self._ready: tuple[str, dict[str, Any]] | None = None

    def prepare(self, path: str | Path) -> None:
        """Read and check a checkpoint before anything is set up, and keep it for the trainer.

        Raises InputError (missing, damaged, of another method, hand or size).
        """
        checkpoint = read_checkpoint(path)
        if str(path).endswith(ENDING):  # weights alone; of the rest, nothing is of an older form
            checkpoint["pytorch-lightning_version"] = pytorch_lightning.__version__
        checkpoint = fit_to_model(checkpoint, str(path), self.module, self.trainer)
        if not self.same_run:
            states = checkpoint.get("callbacks") or {}
            checkpoint["callbacks"] = {key: s for key, s in states.items() if "ModelCheckpoint" not in str(key)}
        self._ready = (str(path), checkpoint)

    def load_checkpoint(self, path, map_location=None, weights_only=None) -> dict[str, Any]:
        """The checkpoint at `path`, as today's Lightning and this model expect it."""
        if self._ready is None or self._ready[0] != str(path):
            self.prepare(path)
        _, checkpoint = self._ready
        self._ready = None
        return checkpoint

    def save_checkpoint(self, checkpoint: dict[str, Any], path, storage_options=None) -> None:
        """Write `checkpoint` to `path`, completely or not at all."""
        with atomic_write(path) as temporary:
            try:
                torch.save(checkpoint, temporary)
            except RuntimeError as error:  # PyTorch's way to say that a file cannot be written
                reason = " ".join(str(error).split())[:200]
                raise OSError("not all of it fits" if "unexpected pos" in reason else reason) from error

    def remove_checkpoint(self, path) -> None:
        """Delete a checkpoint file; a missing one is no error."""
        Path(path).unlink(missing_ok=True)


def fit_to_model(checkpoint: dict[str, Any], path: str, module: LightningModule, trainer: Trainer) -> dict[str, Any]:
    """Check a checkpoint against the model and bring it into today's form.

    Raises InputError, naming what differs, if it is of another method, hand or network size, or has no weights.
    """
    weights, given = weights_of(checkpoint, path), checkpoint.get("hyper_parameters") or {}
    _check_hyper_parameters(given, path, module)
    checkpoint["state_dict"] = match_weights(weights, path, module)
    version = str(checkpoint.get("pytorch-lightning_version", "0"))
    if int(re.match(r"\d*", version)[0] or 0) < 2:
        return adapt_published(checkpoint, trainer)
    close_epoch((checkpoint.get("loops") or {}).get("fit_loop") or {})
    return checkpoint


def _check_hyper_parameters(given: dict[str, Any], path: str, module: LightningModule) -> None:
    wanted = dict(module.hparams)
    found = [method for method in of_kind("network").values() if method.mark in given]
    if found and not any(method.mark in wanted for method in found):
        method = found[0]
        raise InputError(f"{path}: this is a checkpoint of {method.title}; use python -m {program_of(method)} for it")
    different = [
        f"{key}={given[key]} in the checkpoint but {wanted[key]} in the configuration"
        for key in ARCHITECTURE
        if key in given and key in wanted and given[key] != wanted[key]
    ]
    if different:
        beside = Path(path).parent.parent / "config.yaml"
        hint = f"; give its own configuration: --config {beside}" if beside.is_file() else ""
        raise InputError(f"{path}: the checkpoint does not fit the configuration: {', '.join(different)}{hint}")


def adapt_published(checkpoint: dict[str, Any], trainer: Trainer) -> dict[str, Any]:
    """A checkpoint of Lightning 1.x as the trainer of today would have written it at the end of the same epoch.

    Callback states are left out: they name folders of another machine.
    """
    states = checkpoint.get("optimizer_states") or []
    adapted = {
        **checkpoint,
        "callbacks": {},
        "lr_schedulers": [],
        "optimizer_states": [merge_optimizer_states(states)] if len(states) > 1 else states,
        "pytorch-lightning_version": pytorch_lightning.__version__,
    }
    if trainer is not None:
        epochs = int(checkpoint.get("epoch", 0)) + 1
        steps = int(checkpoint.get("global_step", 0)) // max(1, len(states))
        adapted["loops"] = _loops_after(epochs, steps, trainer)
        adapted["global_step"] = steps
    return adapted


def merge_optimizer_states(states: list[dict[str, Any]]) -> dict[str, Any]:
    """One optimiser state whose parameter groups are those of several optimisers, one after the other."""
    merged: dict[str, Any] = {"state": {}, "param_groups": []}
    offset = 0
    for state in states:
        merged["state"].update({offset + index: values for index, values in state["state"].items()})
        for group in state["param_groups"]:
            merged["param_groups"].append({**group, "params": [offset + index for index in group["params"]]})
        offset += sum(len(group["params"]) for group in state["param_groups"])
    return merged


def close_epoch(fit_loop: dict[str, Any]) -> None:
    """Count the last epoch of a saved progress as over, if all of it was done. Changes `fit_loop`.

    Checkpoints are written just before Lightning counts an epoch as over, and Lightning 2.6 enters a finished epoch
    again when max_steps is set.
    """
    epochs = fit_loop.get("epoch_progress", {})
    counts = epochs.get("current", {})
    if not counts or not counts["ready"] == counts["started"] == counts["processed"]:
        return
    for span in ("total", "current"):
        epochs[span]["completed"] = epochs[span]["processed"]
    batches = fit_loop["epoch_loop.batch_progress"]
    batches["current"] = dict.fromkeys(batches["current"], 0)
    batches["is_last_batch"] = False


def _loops_after(epochs: int, steps: int, trainer: Trainer) -> dict[str, Any]:
    """Progress of the trainer's loops after whole epochs."""
    loops = {
        name: copy.deepcopy(getattr(trainer, name).state_dict())
        for name in ("fit_loop", "validate_loop", "test_loop", "predict_loop")
    }
    fit, per_epoch = loops["fit_loop"], steps // epochs

    def fill(progress: dict[str, Any], total: int, current: int) -> None:
        for span, count in (("total", total), ("current", current)):
            progress[span] = dict.fromkeys(progress[span], count)

    fill(fit["epoch_progress"], epochs, epochs)
    fill(fit["epoch_loop.batch_progress"], steps, 0)
    fit["epoch_loop.state_dict"] = {"_batches_that_stepped": steps}
    optimizer = fit["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]
    for progress in optimizer.values():
        fill(progress, steps, per_epoch)
    return loops


def display_path(path: str | os.PathLike) -> str:
    """A path as a user would type it: relative to the working folder if it lies below it."""
    path = Path(path)
    try:
        return str(path.resolve().relative_to(Path.cwd().resolve()))
    except ValueError:
        return str(path)
