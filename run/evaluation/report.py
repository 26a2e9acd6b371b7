"""From scores to results.json, tables and figures: overall, by character, by gesture, by joint, by proportions."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from run.evaluation.plots import draw_plots
from run.evaluation.statistics import summary, write_results
from run.evaluation.tables import (
    DIRECTIONS,
    HEADS,
    Grid,
    as_latex,
    as_markdown,
    breakdown,
    comparison,
    count_note,
    print_grid,
    print_table,
    skin_comparison,
)
from run.evaluation.tally import BREAKDOWNS, Tally
from utils.files import atomic_write

_READING = """\
S_finger and S_palm: mean cosine between the semantic matrices of source and result; S_finger counts a zero diagonal,
so its ceiling is 0.95. Pinch error: distance of fingertips where those of the source touch, in palm lengths of the
target. MSE: squared joint error within a domain against the target's own recording, cm²; it says something only where
both characters perform the same motion (they do in MixHand, not in MixHand-Open). Touches of skin are measured on the
meshes of single frames: touches kept, of pairs of fingers and of fingers and palm that touch in the source (0.03 palm
lengths); false touches, of those apart there (0.08); too deep, frames with skin over 0.03 deeper in skin than there; ±
is the standard error over frames. Gap closed, in S_finger: (method -
twist-bend-splay copy) / (optimiser - twist-bend-splay copy). ± is the standard error over windows, which overlap by
half and come from few hands: a lower bound.
"""


def results_of(directions: Iterable[Tally]) -> dict[str, Any]:
    """One group of results.json: `methods` (overall, from `run.evaluation.statistics.summarise`) and the breakdowns.

    by_character, by_gesture and by_pair are {direction: {part: {method: figures}}}, by_joint {direction: {method: 20
    mean cosines}}, ratios {character: mean finger length in palm lengths}.
    """
    tallies = {tally.name: tally for tally in directions}
    figures: dict[str, dict[str, Any]] = {}
    for name, tally in tallies.items():
        for method, found in tally.overall().items():
            figures.setdefault(method, {})[name] = found
    return {
        "methods": summary(figures),
        "windows": max(tally.windows for tally in tallies.values()),
        "frames": max(tally.frames for tally in tallies.values()),
        "windows_by_direction": {name: tally.windows for name, tally in tallies.items()},
        **{kind: {name: tally.parts(kind) for name, tally in tallies.items()} for kind in BREAKDOWNS},
        "by_joint": {name: tally.by_joint() for name, tally in tallies.items()},
        "ratios": _ratios(tallies.values()),
    }


def _ratios(tallies: Iterable[Tally]) -> dict[str, float]:
    """Finger-to-palm ratio of each character; of a subject whose shape varies, the mean."""
    sums: dict[str, np.ndarray] = {}
    for tally in tallies:
        for name, part in tally.ratios().items():
            sums[name] = sums.get(name, np.zeros(2)) + part
    return {name: float(np.divide(*sums[name])) for name in sorted(sums)}


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
        if skin := results.get(f"skin{suffix}"):
            print_grid(skin_comparison(skin, _skin_title(skin, title)))


def _skin_title(skin: Mapping[str, Any], title: str) -> str:
    counts = [next(iter(methods.values())) for methods in skin.values()]
    frames = " and ".join(f"{count['frames']} frames with {count['touches']} touches" for count in counts)
    return f"Touches of skin: {title.lower()} ({frames})"


def _grids(results: Mapping[str, Any], suffix: str, title: str) -> list[Grid]:
    grids = [comparison(results[f"methods{suffix}"], title)]
    if skin := results.get(f"skin{suffix}"):
        grids.append(skin_comparison(skin, _skin_title(skin, title)))
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
