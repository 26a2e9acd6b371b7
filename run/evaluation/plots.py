"""Plots of an evaluation, as PNG and SVG: methods by metric, by gesture, by proportions, and by joint on a hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from model.methods import METHODS, OPTIMUM, title_of
from model.topology import FINGERS, PARENTS, ROOTS, TIPS
from run.drawing.render import color_of
from run.evaluation.tables import CEILINGS, DECIMALS, DIRECTIONS, METRICS, SKIN_METRICS, flat
from utils.files import atomic_write

DPI = 160
LABELS = {
    "S_finger": "S_finger (higher is better)", "S_palm": "S_palm (higher is better)",
    "pinch_error": "pinch error, palm lengths (lower is better)", "mixamo_MSE": "MSE, cm² (lower is better)",
    "touches_kept": "touches of skin kept (higher is better)", "false_touches": "false touches (lower is better)",
    "too_deep": "frames too deep (lower is better)",
}  # fmt: skip
INK, GREY, LINE = "#1F2328", "#6B7280", "#D5D9DE"
_STYLE = {
    "font.size": 10, "axes.edgecolor": LINE, "axes.labelcolor": INK, "text.color": INK, "axes.titlesize": 10,
    "xtick.color": GREY, "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.color": LINE, "grid.linewidth": 0.6, "axes.axisbelow": True, "svg.fonttype": "none", "svg.hashsalt": "s2h",
    "axes.formatter.useoffset": False,
}  # fmt: skip
_RATIO_TICKS = (0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.6, 2.0, 2.5)
_LOSS = LinearSegmentedColormap.from_list("loss", ["#F3F1EC", "#F2C14E", "#D1495B", "#5B1A4A"])
# A right hand with its back to the reader, in palm lengths: direction and joint distances of each finger.
_SKETCH = {
    "thumb": ((-0.28, 0.22), 132.0, (0.0, 0.42, 0.34, 0.28)), "index": ((-0.30, 0.98), 99.0, (0.0, 0.46, 0.28, 0.22)),
    "middle": ((-0.06, 1.0), 91.0, (0.0, 0.50, 0.32, 0.23)), "ring": ((0.17, 0.94), 84.0, (0.0, 0.46, 0.30, 0.23)),
    "pinky": ((0.37, 0.84), 73.0, (0.0, 0.36, 0.23, 0.20)),
}  # fmt: skip


def draw_plots(folder: Path, results: Mapping[str, Any], titles: Mapping[str, str]) -> dict[str, list[Path]]:
    """Draw every plot of every group of results.json; returns the files by group.

    Args:
        folder: where they go, as {plot}{suffix of the group}.png and .svg.
        results: see `run.evaluation.report.results_of`.
        titles: of the groups.
    """
    # No display is asked for, and the reader's own settings stay as they are.
    matplotlib.use("Agg")
    written: dict[str, list[Path]] = {}
    for key, title in titles.items():
        suffix = key.removeprefix("methods")
        plots = {
            "methods": (plot_methods, results[key]),
            "gestures": (plot_gestures, results[f"by_gesture{suffix}"]),
            "proportions": (plot_proportions, results[f"by_pair{suffix}"], results[f"ratios{suffix}"]),
            "joints": (plot_joints, results[f"by_joint{suffix}"]),
            "skin": (plot_skin, results.get(f"skin{suffix}", {})),
        }
        for name, (plot, *data) in plots.items():
            with matplotlib.rc_context(_STYLE):
                figure = plot(*data)
                if figure is not None:
                    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
                    written.setdefault(key, []).extend(_save(figure, folder / f"{name}{suffix}"))
    return written


def _save(figure: Figure, stem: Path) -> Iterator[Path]:
    for kind in ("png", "svg"):
        path = stem.with_name(f"{stem.name}.{kind}")
        with atomic_write(path) as temporary:
            # Without the date, the same figures give the same file.
            metadata = {"Date": None} if kind == "svg" else None
            figure.savefig(temporary, dpi=DPI, metadata=metadata, facecolor="white", bbox_inches="tight")
        yield path
    plt.close(figure)


def plot_methods(methods: Mapping[str, Mapping[str, Any]]) -> Figure:
    """A row for each direction, a column for each metric: every method's mean with its standard error."""
    directions = [d for d in DIRECTIONS if any(d in entry for entry in methods.values())]
    return _panels({d: {m: flat(entry, d) for m, entry in methods.items() if d in entry} for d in directions}, METRICS)


def plot_skin(skin: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Figure | None:
    """The same of touches of skin, {direction: {method: figures}}; None without any."""
    return _panels({d: skin[d] for d in DIRECTIONS if d in skin}, SKIN_METRICS) if skin else None


def _panels(figures: Mapping[str, Mapping[str, Mapping[str, Any]]], asked: Sequence[str]) -> Figure:
    directions = list(figures)
    metrics = [m for m in asked if any(f.get(m) is not None for block in figures.values() for f in block.values())]
    size = (2.0 + 2.9 * len(metrics), 0.9 + sum(0.75 + 0.3 * len(block) for block in figures.values()))
    figure, grid = plt.subplots(len(directions), len(metrics), figsize=size, squeeze=False, layout="constrained")
    for row, direction in zip(grid, directions, strict=True):
        block = figures[direction]
        for axes, metric in zip(row, metrics, strict=True):
            _dots(axes, block, metric)
            axes.set_yticks(range(len(block)), [title_of(m) for m in block] if axes is row[0] else [""] * len(block))
        row[0].set_title(DIRECTIONS[direction], loc="left", color=GREY)
    for axes, metric in zip(grid[-1], metrics, strict=True):
        axes.set_xlabel(LABELS[metric])
    for column, metric in zip(grid.T, metrics, strict=True):
        _same_range(column, metric)
    return figure


def _dots(axes: Axes, block: Mapping[str, Mapping[str, Any]], metric: str) -> None:
    """One method a line: a dot, its error bar, and the number above it."""
    for line, (method, figures) in enumerate(block.items()):
        value = figures.get(metric)
        if value is None:
            continue
        error = figures.get(f"{metric}_se") or 0.0
        axes.errorbar(
            value,
            line,
            xerr=error,
            fmt="o",
            ms=8,
            color=color_of(method),
            mec=INK,
            mew=0.7,
            ecolor=INK,
            capsize=3,
            lw=1.2,
        )
        axes.annotate(
            f"{value:.{DECIMALS[metric]}f}", (value, line), (0, 7), textcoords="offset points", ha="center", fontsize=8
        )
    axes.set_ylim(len(block) - 0.4, -0.85)
    axes.grid(axis="y", visible=False)
    axes.tick_params(length=0)
    axes.locator_params(axis="x", nbins=4)
    if (optimum := block.get(OPTIMUM, {}).get(metric)) is not None and metric in CEILINGS:
        axes.axvline(optimum, color=color_of(OPTIMUM), lw=1.2, ls="--", zorder=0)


def _same_range(column, metric: str) -> None:
    """One range for all directions, with room for the numbers; an error starts at 0. Empty panels vanish."""
    for axes in column:
        axes.set_visible(axes.has_data())
    limits = np.array([axes.get_xlim() for axes in column if axes.has_data()])
    low, high = limits[:, 0].min(), limits[:, 1].max()
    room = 0.14 * max(high - low, 1e-3)
    for axes in column:
        axes.set_xlim(max(low - room, -1.0 if metric in CEILINGS else -0.05 * high), high + room)


def plot_gestures(by_gesture: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Figure | None:
    """A panel for each direction and metric: a line for each gesture, a dot for each method."""
    metrics = [m for m in ("S_finger", "pinch_error") if _has(by_gesture, m)]
    most = max(len(parts) for parts in by_gesture.values())
    size = (2.6 + 3.6 * len(metrics), 0.9 + len(by_gesture) * (0.7 + 0.27 * most))
    figure, grid = plt.subplots(len(by_gesture), len(metrics), figsize=size, squeeze=False, layout="constrained")
    for row, (direction, parts) in zip(grid, by_gesture.items(), strict=True):
        for axes, metric in zip(row, metrics, strict=True):
            for line, part in enumerate(parts.values()):
                for place, (method, figures) in enumerate(part.items()):
                    if figures.get(metric) is not None:
                        height = line + 0.12 * (place - (len(part) - 1) / 2)
                        error = figures.get(f"{metric}_se") or 0.0
                        axes.errorbar(figures[metric], height, xerr=error, fmt="o", ms=6, color=color_of(method),
                                      mec=INK, mew=0.5, ecolor=GREY, lw=1.0, alpha=0.95)  # fmt: skip
            frames = [max(int(f["frames"]) for f in part.values()) for part in parts.values()]
            names = [f"{name}  ({count})" for name, count in zip(parts, frames, strict=True)]
            axes.set_yticks(range(len(parts)), names if axes is row[0] else [""] * len(parts), fontsize=9)
            axes.set_ylim(len(parts) - 0.4, -0.6)
            axes.tick_params(length=0)
        row[0].set_title(f"{DIRECTIONS[direction]} (frames in brackets)", loc="left", color=GREY)
    for axes, metric in zip(grid[-1], metrics, strict=True):
        axes.set_xlabel(LABELS[metric])
    _legend(figure, by_gesture)
    return figure


def plot_proportions(by_pair: Mapping[str, Any], ratios: Mapping[str, float]) -> Figure | None:
    """Error against how much longer (or shorter) the target's fingers are than the source's; a dot for each pair."""
    metrics = [m for m in ("S_finger", "pinch_error") if _has(by_pair, m)]
    size = (1.0 + 4.2 * len(by_pair), 0.9 + 2.7 * len(metrics))
    figure, grid = plt.subplots(len(metrics), len(by_pair), figsize=size, squeeze=False, layout="constrained")
    for column, (direction, parts) in zip(grid.T, by_pair.items(), strict=True):
        relative = {pair: np.divide(*(ratios[name] for name in reversed(pair.split(" → ")))) for pair in parts}
        for axes, metric in zip(column, metrics, strict=True):
            for method in _methods(parts):
                points = sorted(
                    (relative[pair], part[method][metric])
                    for pair, part in parts.items()
                    if part.get(method, {}).get(metric) is not None
                )
                if points:
                    x, y = np.array(points).T
                    axes.plot(x, y, "o", ms=5, color=color_of(method), mec=INK, mew=0.4, alpha=0.9)
                    axes.plot(*_trend(x, y), color=color_of(method), lw=2.0, zorder=1)
            axes.axvline(1.0, color=GREY, lw=0.8, ls=":")
            axes.set_xscale("log")
            axes.set_xlim(*_around_one(list(relative.values())))
            ticks = [
                t
                for t in (0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.6, 2.0, 2.5)
                if axes.get_xlim()[0] < t < axes.get_xlim()[1]
            ]
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
            axes.tick_params(length=0)
        column[0].set_title(DIRECTIONS[direction], loc="left", color=GREY)
        lowest = max(row for row, metric in enumerate(metrics) if _has({direction: parts}, metric))
        column[lowest].set_xlabel("finger-to-palm ratio, target / source")
        for axes in column[lowest + 1 :]:
            axes.set_visible(False)
    for row, metric in zip(grid, metrics, strict=True):
        first = next(axes for axes in row if axes.get_visible())
        first.set_ylabel(LABELS[metric].replace(" (", "\n("))
    _legend(figure, by_pair)
    return figure


def _around_one(values: list[float]) -> tuple[float, float]:
    widest = max(1.1, *(max(value, 1 / value) for value in values)) * 1.06
    return 1 / widest, widest


def _trend(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A smooth line through points: means weighted by nearness, in the logarithm of x."""
    at = np.exp(np.linspace(np.log(x.min()), np.log(x.max()), 60))
    width = max(0.25 * np.log(x.max() / x.min()), 1e-3)
    weights = np.exp(-0.5 * ((np.log(at)[:, None] - np.log(x)) / width) ** 2)
    return at, weights @ y / weights.sum(1)


def plot_joints(by_joint: Mapping[str, Mapping[str, list[float]]]) -> Figure:
    """A hand for each method and direction; joints are coloured by what their view of the others loses of S_finger."""
    methods = _methods(by_joint)
    size = (1.2 + 1.75 * len(methods), 0.6 + 2.45 * len(by_joint))
    figure, grid = plt.subplots(len(by_joint), len(methods), figsize=size, squeeze=False, layout="constrained")
    losses = {d: {m: CEILINGS["S_finger"] - np.array(v) for m, v in found.items()} for d, found in by_joint.items()}
    highest = max(float(loss.max()) for found in losses.values() for loss in found.values())
    points = _sketch()
    for row, (direction, found) in zip(grid, losses.items(), strict=True):
        for axes, method in zip(row, methods, strict=True):
            axes.set_axis_off()
            if method in found:
                shown = _hand(axes, points, found[method], highest)
                axes.set_title(f"{title_of(method)}\n{found[method].mean():.4f}", fontsize=9)
        row[0].text(
            -0.08, 0.5, DIRECTIONS[direction], transform=row[0].transAxes, rotation=90, va="center", color=GREY
        )
    bar = figure.colorbar(shown, ax=grid, shrink=0.8, pad=0.02, aspect=30)
    bar.set_label("loss of S_finger by query joint (0.95 - mean cosine)")
    bar.outline.set_visible(False)
    return figure


def _sketch() -> np.ndarray:
    """Places (21, 2) of the joints of a drawn hand."""
    points = np.zeros((len(PARENTS), 2))
    for finger, name in enumerate(FINGERS):
        root, degrees, steps = _SKETCH[name]
        along = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
        points[ROOTS[finger] : TIPS[finger] + 1] = np.array(root) + np.cumsum(steps)[:, None] * along
    return points


def _hand(axes: Axes, points: np.ndarray, loss: np.ndarray, highest: float):
    for joint, parent in enumerate(PARENTS):
        if parent >= 0:
            axes.plot(*points[[parent, joint]].T, color="#E4E1DC", lw=11, solid_capstyle="round", zorder=1)
    knuckles = points[[ROOTS[4], ROOTS[3], ROOTS[0], ROOTS[1], ROOTS[2]]]
    palm = np.concatenate([knuckles, [(0.24, -0.05), (-0.14, -0.05)]])
    axes.fill(*palm.T, color="#E4E1DC", ec="#E4E1DC", lw=11, joinstyle="round", zorder=1)
    axes.set_aspect("equal")
    axes.set_xlim(-1.15, 0.95)
    axes.set_ylim(-0.2, 2.2)
    return axes.scatter(*points[1:].T, c=loss, cmap=_LOSS, vmin=0.0, vmax=highest, s=70, ec=INK, lw=0.6, zorder=3)


def _methods(found: Mapping[str, Any]) -> list[str]:
    """Methods that occur in {part: {method: …}}, in the order of tables."""
    names = {name for value in found.values() for name in value}
    return [name for name in METHODS if name in names]


def _has(found: Mapping[str, Mapping[str, Mapping[str, Any]]], metric: str) -> bool:
    return any(f.get(metric) is not None for parts in found.values() for part in parts.values() for f in part.values())


def _legend(figure: Figure, found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """The methods' colours, below everything."""
    names = [name for name in METHODS if any(name in part for parts in found.values() for part in parts.values())]
    marks = [plt.Line2D([], [], ls="", marker="o", ms=7, color=color_of(n), mec=INK, mew=0.5) for n in names]
    figure.legend(marks, [title_of(n) for n in names], loc="outside lower center", ncols=len(names), frameon=False)
