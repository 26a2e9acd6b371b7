"""What `test` measured: a table to read, results.json and results.csv to keep; what `predict` made, as one .npz."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from model.methods import COPY, OPTIMUM
from model.topology import hand_joint_names
from run.evaluation.tables import CEILINGS, count_note, print_table
from run.training.checkpoints import display_path
from run.training.processes import gathered, run_folder
from utils.files import atomic_write

ASIDE = ("pinch_pairs", "frames", "S_finger_ceiling")  # what means are weighted by or compared with, not metrics
_SMALLEST_GAP = 1e-3


def mean_and_error(values: Tensor, weights: Tensor | None = None) -> tuple[float | None, float | None, int]:
    """(mean, standard error of the mean, number) over the windows (N,) that have a value; NaN marks those without.

    `weights` (N,) are, for instance, the frames of each window that a metric was measured on. The error of a weighted
    mean is that of a ratio of sums. None where it is not defined.
    """
    values = values.detach().double().flatten().cpu()
    keep = ~values.isnan()
    weights = torch.ones_like(values) if weights is None else weights.detach().double().flatten().cpu()
    keep &= weights > 0
    values, weights = values[keep], weights[keep]
    count = len(values)
    if count == 0:
        return None, None, 0
    share = weights / weights.sum()
    mean = (share * values).sum()
    if count == 1:
        return float(mean), None, 1
    error = ((share * (values - mean)) ** 2).sum().mul(count / (count - 1)).sqrt()
    return float(mean), float(error), count


def summarise(records: dict[str, dict[str, dict[str, Tensor]]]) -> dict[str, dict[str, Any]]:
    """Per-window records {method: {direction: {metric: (N,)}}} -> the `methods` part of results.json.

    Each metric comes with its standard error over windows (`…_se`); S_finger and S_palm also relative to their ceiling
    (`…_relative`) and to the optimum, if the optimiser is among the methods (`…_gap_closed`: 0 is the twist-bend-splay
    copy, 1 the optimum); pinch_error with the number of windows that hold a contact. Within a domain the mean squared
    error stands at the method itself, as `mixamo_MSE` (cm²).
    """
    methods: dict[str, dict[str, Any]] = {}
    for method, directions in records.items():
        entry = methods.setdefault(method, {})
        for direction, metrics in directions.items():
            figures = figures_of(metrics)
            if "mixamo_MSE" in figures:
                entry["mixamo_MSE"] = figures.pop("mixamo_MSE")
                entry["mixamo_MSE_se"] = figures.pop("mixamo_MSE_se")
            entry[direction] = figures
    for direction in {direction for entry in records.values() for direction in entry}:
        add_gap_closed({method: entry[direction] for method, entry in methods.items() if direction in entry})
    return methods


def figures_of(metrics: dict[str, Tensor]) -> dict[str, Any]:
    """Means and standard errors of per-window values {metric: (N,)}; see `summarise`.

    `frames` (N,), if given, is how many frames of each window the means are of; `pinch_pairs` (N,) how many touching
    pairs of fingertips.
    """
    figures: dict[str, Any] = {}
    for name, values in metrics.items():
        if name in ASIDE:
            continue
        weights = metrics.get("pinch_pairs" if name == "pinch_error" else "frames")
        mean, error, count = mean_and_error(values, weights)
        figures[name], figures[f"{name}_se"] = mean, error
        if name in CEILINGS and mean is not None:
            # Hands without some joints have a lower one.
            own = metrics.get(f"{name}_ceiling")
            ceiling = CEILINGS[name] if own is None else mean_and_error(own, weights)[0]
            figures[f"{name}_relative"] = mean / ceiling
        if name == "pinch_error":
            figures["pinch_windows"] = count
    return figures


def add_gap_closed(by_method: dict[str, dict[str, Any]]) -> None:
    """Say of {method: figures} how far each method goes from the copy to the optimum. Changes the figures.

    Nothing is said where the optimum is hardly better than the copy.
    """
    for metric in CEILINGS:
        low, high = (by_method.get(name, {}).get(metric) for name in (COPY, OPTIMUM))
        if low is None or high is None or high - low < _SMALLEST_GAP:
            continue
        for figures in by_method.values():
            if figures.get(metric) is not None:
                figures[f"{metric}_gap_closed"] = (figures[metric] - low) / (high - low)


def merge_parts(parts: list[dict]) -> dict:
    """Records of several processes put together, window after window."""
    if len(parts) == 1:
        return parts[0]
    return {
        method: {
            direction: {
                metric: torch.cat([part[method][direction][metric].cpu().flatten() for part in parts])
                for metric in metrics
            }
            for direction, metrics in directions.items()
        }
        for method, directions in parts[0].items()
    }


def write_results(folder: str | Path, results: dict[str, Any]) -> list[Path]:
    """Write results.json and results.csv (one figure a row) into `folder`; both atomically."""
    folder = Path(folder)
    with atomic_write(folder / "results.json") as temporary:
        temporary.write_text(json.dumps(_finite(results), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    with atomic_write(folder / "results.csv") as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["group", "method", "direction", "metric", "value", "standard_error"])
        for group in (name for name in results if name.startswith("methods")):
            for method, entry in results[group].items():
                writer.writerows([group, method, *row] for row in _rows(entry))
    return [folder / "results.json", folder / "results.csv"]


def _rows(entry: dict[str, Any]):
    for direction, figures in entry.items():
        if not isinstance(figures, dict):
            if not direction.endswith("_se"):
                yield "intra", direction, _text(figures), _text(entry.get(f"{direction}_se"))
            continue
        for metric, value in figures.items():
            if not metric.endswith("_se"):
                yield direction, metric, _text(value), _text(figures.get(f"{metric}_se"))


def _text(value: float | None) -> str:
    return "" if value is None else repr(value)


def _finite(value: Any) -> Any:
    """JSON knows no NaN: such figures become null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class ResultsWriter(Callback):
    """Turns the records that the model kept during `test` into the table and the files.

    Args:
        about: what else results.json should say (checkpoint, data set, characters, …).
    """

    def __init__(self, about: dict[str, Any]) -> None:
        self.about = about
        self._frames = 0

    def on_test_start(self, trainer, pl_module) -> None:
        """Start counting."""
        self._frames = 0

    def on_test_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0) -> None:
        """Count the frames that were tested; overlapping windows count their common frames twice."""
        self._frames += int(np.prod(batch.first.batch_shape))

    def on_test_end(self, trainer, pl_module) -> None:
        """Print and write, on the first process, what all processes measured."""
        folder = run_folder(trainer)
        parts = gathered(trainer, (pl_module.test_records, self._frames))
        if parts is None:
            return
        records = merge_parts([part[0] for part in parts])
        methods = summarise(records)
        windows = max((v.numel() for d in records.values() for m in d.values() for v in m.values()), default=0)
        results = {
            "methods": methods,
            "windows": windows,
            "frames": sum(part[1] for part in parts),
            "ceilings": CEILINGS,
            "logged": {name: float(value) for name, value in trainer.callback_metrics.items()},
            **self.about,
        }
        print_table(methods, "Test", count_note(windows, results["frames"]))
        if folder is not None:
            written = write_results(folder, results)
            print("Written: " + ", ".join(display_path(path) for path in written), flush=True)


class PredictionWriter(Callback):
    """Keeps what `predict` made: predictions.npz beside the logs.

    Arrays are named {direction}/{quantity}: local_rotations (N, T, 21, 4) and tbs (N, T, 5, 3, 4) quaternions
    (w, x, y, z), joints (N, T, 21, 3) with the wrist at the origin, in the target's unit. N windows of T frames;
    source and target (N,) name their characters, joint_names (21,) the target's joints.
    """

    def __init__(self) -> None:
        self._collected: dict[str, list[np.ndarray]] = {}
        self._joint_names: dict[str, np.ndarray] = {}

    def on_predict_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0) -> None:
        """Collect a batch: {direction: {quantity: tensor}}."""
        groups = trainer.datamodule.windows("test").groups
        names = [np.array(g.names)[p.cpu().numpy()] for g, p in zip(groups, batch.positions.T, strict=True)]
        for direction, quantities in outputs.items():
            # The first group is Mixamo, or the target within a domain.
            source, target = (0, 1) if direction == "mixamo2mano" else (1, 0)
            found = {name: value.detach().cpu().numpy() for name, value in quantities.items()}
            for name, value in {**found, "source": names[source], "target": names[target]}.items():
                self._collected.setdefault(f"{direction}/{name}", []).append(value)
            domain = (batch.first, batch.second)[target].domain
            self._joint_names[f"{direction}/joint_names"] = np.array(hand_joint_names(domain, pl_module.side))

    def on_predict_end(self, trainer, pl_module) -> None:
        """Write, on the first process, what all processes made, as one file."""
        folder = run_folder(trainer)
        if folder is None:
            return
        parts = gathered(trainer, {name: np.concatenate(values) for name, values in self._collected.items()})
        if not parts or not parts[0]:
            return
        path = folder / "predictions.npz"
        arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        with atomic_write(path) as temporary:
            np.savez_compressed(temporary, **arrays, **self._joint_names)
        windows = max(len(values) for values in arrays.values())
        print(f"Written: {display_path(path)} ({windows} windows: {', '.join(sorted(arrays))})", flush=True)
