"""From scores to results.json, tables and figures: overall, by character, by gesture, by joint, by proportions."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from run.evaluation.plots import draw_plots
from run.evaluation.scores import DirectionScores
from run.evaluation.statistics import add_gap_closed, figures_of, summarise, write_results
from run.evaluation.tables import (
    DIRECTIONS,
    HEADS,
    Grid,
    as_latex,
    as_markdown,
    breakdown,
    comparison,
    count_note,
    print_table,
)
from utils.files import atomic_write

BREAKDOWNS = {
    "by_character": "target character",
    "by_gesture": "gesture of the source",
    "by_pair": "source and target",
}
_RARE = 0.01  # gestures with a smaller share of the frames are shown together
_RARE_TOUCH = "other touches"
_READING = """\
S_finger and S_palm: mean cosine between the semantic matrices of source and result; S_finger counts a zero diagonal,
so its ceiling is 0.95. Pinch error: distance of fingertips where those of the source touch, in palm lengths of the
target. MSE: squared joint error within a domain against the target's own recording, cm²; it says something only where
both characters perform the same motion (they do in MixHand, not in MixHand-Open). Gap closed, in S_finger: (method -
twist-bend-splay copy) / (optimiser - twist-bend-splay copy). ± is the standard error over windows, which overlap by
half and come from few hands: a lower bound.
"""


def results_of(directions: list[DirectionScores]) -> dict[str, Any]:
    """One group of results.json: `methods` (overall, from `run.evaluation.statistics.summarise`) and the breakdowns.

    by_character, by_gesture and by_pair are {direction: {part: {method: figures}}}, by_joint {direction: {method: 20
    mean cosines}}, ratios {character: mean finger length in palm lengths}.
    """
    records: dict[str, dict[str, Any]] = {}
    for direction in directions:
        for method, scores in direction.methods.items():
            records.setdefault(method, {})[direction.name] = scores.by_window()
    windows = {direction.name: len(direction.source) for direction in directions}
    frames = {direction.name: direction.contacts[..., 0].numel() for direction in directions}
    return {
        "methods": summarise(records),
        "windows": max(windows.values()),
        "frames": max(frames.values()),
        "windows_by_direction": windows,
        **{name: {d.name: _parts(d, name) for d in directions} for name in BREAKDOWNS},
        "by_joint": {
            d.name: {m: scores.finger.double().flatten(0, 1).nanmean(0).tolist() for m, scores in d.methods.items()}
            for d in directions
        },
        "ratios": _ratios(directions),
    }  # fmt: skip


def _parts(direction: DirectionScores, kind: str) -> dict[str, dict[str, Any]]:
    """{part: {method: figures}} of one breakdown, the parts with most frames first (characters by name)."""
    if kind == "by_gesture":
        names = direction.gestures()
        counts = Counter(names.flatten().tolist())
        rare = {n for n, c in counts.items() if c < _RARE * names.size and not n.startswith("no touch")}
        if len(rare) > 1:
            names = np.where(np.isin(names, list(rare)), _RARE_TOUCH, names)
        order = [name for name, _ in Counter(names.flatten().tolist()).most_common()]
    else:
        pairs = [f"{a} → {b}" for a, b in zip(direction.source, direction.target, strict=True)]
        one = np.array(pairs if kind == "by_pair" else direction.target, dtype=object)
        names = np.broadcast_to(one[:, None], direction.bend.shape)
        order = sorted(set(one.tolist()))
    found = {}
    for name in order:
        keep = torch.from_numpy(names == name)
        part = {}
        for method, scores in direction.methods.items():
            part[method] = {**figures_of(scores.by_window(keep)), "frames": int(keep.sum())}
        add_gap_closed(part)
        found[name] = part
    return found


def _ratios(directions: list[DirectionScores]) -> dict[str, float]:
    """Finger-to-palm ratio of each character; of a subject whose shape varies, the mean."""
    names = np.concatenate([part for d in directions for part in (d.source, d.target)])
    ratios = torch.cat([part for d in directions for part in (d.source_ratio, d.target_ratio)]).double().numpy()
    return {str(name): float(ratios[names == name].mean()) for name in np.unique(names)}


def groups_of(results: Mapping[str, Any]) -> dict[str, str]:
    """{suffix: key} of the groups in results.json: "" for `methods`, "_inside" for `methods_inside`."""
    return {key.removeprefix("methods"): key for key in results if key.startswith("methods")}


def write_report(folder: Path, results: dict[str, Any], titles: Mapping[str, str]) -> list[Path]:
    """Write results.json, results.csv, breakdown.csv, tables.md, tables.tex and the figures into `folder`.

    `titles` are those of the groups ("methods", "methods_inside"). Every file is complete or not there.
    """
    written = write_results(folder, results)
    grids = {key: _grids(results, suffix, titles[key]) for suffix, key in groups_of(results).items()}
    figures = draw_plots(folder / "figures", results, titles)
    pieces = ["# Results\n", _READING]
    for suffix, key in groups_of(results).items():
        first, *others = grids[key]
        note = count_note(results[f"windows{suffix}"], results[f"frames{suffix}"])
        pieces += [as_markdown(first), f"{note}.\n"]
        pieces += [f"![]({path.relative_to(folder)})\n" for path in figures[key] if path.suffix == ".png"]
        pieces += [as_markdown(grid, 3) for grid in others]
    everything = {
        "tables.md": "\n".join(pieces),
        "tables.tex": "\n".join(as_latex(grid) for key in grids for grid in grids[key]),
    }
    for name, text in everything.items():
        with atomic_write(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
        written.append(folder / name)
    written.append(_write_breakdown(folder / "breakdown.csv", results))
    return [*written, *(path for paths in figures.values() for path in paths)]


def print_tables(results: Mapping[str, Any], titles: Mapping[str, str]) -> None:
    """Print the table of each group, in the order of `titles`."""
    for key, title in titles.items():
        suffix = key.removeprefix("methods")
        print_table(results[key], title, count_note(results[f"windows{suffix}"], results[f"frames{suffix}"]))


def _grids(results: Mapping[str, Any], suffix: str, title: str) -> list[Grid]:
    grids = [comparison(results[f"methods{suffix}"], title)]
    for kind in ("by_gesture", "by_character"):
        for direction, parts in results[f"{kind}{suffix}"].items():
            for metric in ("S_finger", "pinch_error", "mixamo_MSE"):
                if any(figures.get(metric) is not None for part in parts.values() for figures in part.values()):
                    head = f"{HEADS[metric]} by {BREAKDOWNS[kind]}, {DIRECTIONS[direction]}"
                    grids.append(breakdown(parts, metric, head, BREAKDOWNS[kind]))
    return grids


def _write_breakdown(path: Path, results: Mapping[str, Any]) -> Path:
    """Every figure of every breakdown, one a row."""
    with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["group", "breakdown", "direction", "part", "method", "metric", "value", "standard_error"])
        for suffix, key in groups_of(results).items():
            for kind in BREAKDOWNS:
                for direction, parts in results[f"{kind}{suffix}"].items():
                    for name, part in parts.items():
                        for method, figures in part.items():
                            for metric, value in figures.items():
                                if not metric.endswith("_se") and value is not None:
                                    error = figures.get(f"{metric}_se")
                                    writer.writerow([key, kind, direction, name, method, metric, value, error])
    return path
