"""Means and standard errors of what was measured, and the files results.json and results.csv."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.measures import gap_closed
from model.methods import COPY, OPTIMUM
from run.evaluation.tables import CEILINGS
from utils.files import atomic_write

CEILING_OF = {"S_finger": "S_finger_ceiling"}
ASIDE = ("pinch_pairs", "frames", *CEILING_OF.values())  # what means are weighted by or compared with, not metrics
_SMALLEST_GAP = 1e-3


class WindowSums:
    """Sums over windows, from which means and their standard errors come: windows are forgotten once they are counted.

    Args:
        metrics: to count at once; see :meth:`add`.
    """

    def __init__(self, metrics: Mapping[str, Tensor] | None = None) -> None:
        self._sums: dict[str, np.ndarray] = {}
        self.add(metrics or {})

    def add(self, metrics: Mapping[str, Tensor]) -> None:
        """Count windows by their values ``{metric: (..., N)}``; leading dimensions are series of their own.

        NaN marks windows without a value. `frames`, if given, is how many frames of each window the means are of;
        `pinch_pairs` how many touching pairs of fingertips.
        """
        for name, values in metrics.items():
            if name not in ASIDE or name in CEILING_OF.values():
                weights = metrics.get("pinch_pairs" if name == "pinch_error" else "frames")
                self._sums[name] = self._sums.get(name, 0.0) + _sums(values, weights)

    def figures(self, series: int | None = None) -> dict[str, Any]:
        """Means and standard errors of what was counted; see `summarise`. `series`: of the leading dimension."""
        found = {name: sums if series is None else sums[series] for name, sums in self._sums.items()}
        figures: dict[str, Any] = {}
        for name, sums in found.items():
            if name in ASIDE:
                continue
            mean, error, count = _mean_and_error(sums)
            figures[name], figures[f"{name}_se"] = mean, error
            if name in CEILINGS and mean is not None:
                # Hands without some joints have a lower one.
                own = found.get(CEILING_OF.get(name, ""))
                figures[f"{name}_relative"] = mean / (CEILINGS[name] if own is None else _mean_and_error(own)[0])
            if name == "pinch_error":
                figures["pinch_windows"] = count
        return figures


def _sums(values: Tensor, weights: Tensor | None) -> np.ndarray:
    """``(..., 6)``: how many windows ``(..., N)`` have a value, and Σ of w, w v, w², w² v, w² v² over them."""
    values = values.detach().double().cpu()
    weights = torch.ones_like(values) if weights is None else weights.detach().double().cpu().expand_as(values)
    weights = weights.where(~values.isnan(), 0.0)
    weighted = (weights * values).where(weights > 0, 0.0)
    parts = ((weights > 0).double(), weights, weighted, weights**2, weights * weighted, weighted**2)
    return torch.stack([part.sum(-1) for part in parts], -1).numpy()


def _mean_and_error(sums: np.ndarray) -> tuple[float | None, float | None, int]:
    """Of `_sums` (6,): `mean_and_error`."""
    count, weight, weighted, square, square_v, square_vv = sums.tolist()
    if count == 0:
        return None, None, 0
    mean = weighted / weight
    if count == 1:
        return mean, None, 1
    # The sum of (w (v − mean))², multiplied out; rounding must not make it negative.
    spread = max(0.0, square_vv - 2 * mean * square_v + mean**2 * square)
    return mean, math.sqrt(spread * count / (count - 1)) / weight, int(count)


def mean_and_error(values: Tensor, weights: Tensor | None = None) -> tuple[float | None, float | None, int]:
    """(mean, standard error of the mean, number) over the windows (N,) that have a value; NaN marks those without.

    `weights` (N,) are, for instance, the frames of each window that a metric was measured on. The error of a weighted
    mean is that of a ratio of sums. None where it is not defined.
    """
    return _mean_and_error(_sums(values.flatten(), None if weights is None else weights.flatten()))


def summarise(records: dict[str, dict[str, dict[str, Tensor]]]) -> dict[str, dict[str, Any]]:
    """Per-window records {method: {direction: {metric: (N,)}}} -> the `methods` part of results.json.

    Each metric comes with its standard error over windows (`…_se`); S_finger and S_palm also relative to their ceiling
    (`…_relative`) and to the optimum, if the optimiser is among the methods (`…_gap_closed`: 0 is the twist-bend-splay
    copy, 1 the optimum); pinch_error with the number of windows that hold a contact. Within a domain the mean squared
    error stands at the method itself, as `mixamo_MSE` (cm²).
    """
    return summary({
        method: {direction: WindowSums(metrics).figures() for direction, metrics in directions.items()}
        for method, directions in records.items()
    })  # fmt: skip


def summary(figures: Mapping[str, Mapping[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """The same of {method: {direction: figures}}."""
    methods: dict[str, dict[str, Any]] = {}
    for method, directions in figures.items():
        entry = methods.setdefault(method, {})
        for direction, found in directions.items():
            entry.update({name: found[name] for name in found if name.startswith("mixamo_MSE")})
            entry[direction] = {name: value for name, value in found.items() if not name.startswith("mixamo_MSE")}
    for direction in {direction for directions in figures.values() for direction in directions}:
        add_gap_closed({method: entry[direction] for method, entry in methods.items() if direction in entry})
    return methods


def add_gap_closed(by_method: dict[str, dict[str, Any]]) -> None:
    """Say of {method: figures} how far each method goes from the copy to the optimum. Changes the figures.

    Nothing is said where the optimum is hardly better than the copy.
    """
    for metric in CEILINGS:
        low, high = (by_method.get(name, {}).get(metric) for name in (COPY, OPTIMUM))
        if low is None or high is None:
            continue
        for figures in by_method.values():
            if figures.get(metric) is not None:
                share = gap_closed(figures[metric], low, high, _SMALLEST_GAP)
                figures.update({} if share is None else {f"{metric}_gap_closed": share})


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
