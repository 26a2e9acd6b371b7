"""The report of a retargeted motion: what it is worth, as JSON and as a table."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table
from torch import Tensor

from model.hands import PosedHand
from model.measures import CONTACT, VIOLATION, Measures, beyond_limits, gap_closed, jerk, measure
from model.methods import COPY, named
from model.motion import MotionRetargeting, SourceMotion, measured, optimum
from model.topology import BONES_PER_FINGER, FINGERS
from utils.cli import wide_console
from utils.files import atomic_write

OPTIMUM_FRAMES = 500
"""Frames, spread over the motion, of which the optimum is worked out."""
LOOK_AT = 5
"""Frames that are named as the first to look at."""
HEADS = ("motion", "hand", "frames", "S_finger", "(copy)", "S_palm", "gap closed", "pinch error", "(copy)", "jerk",
         "beyond limits", "body")  # fmt: skip
_APART = 0.5  # seconds between two of them
_LEAST_ROOM = 5e-3  # S_finger between copy and optimum below which a share of it says nothing


def hand_report(source: SourceMotion, result: PosedHand, retargeting: MotionRetargeting) -> dict[str, Any]:
    """What one hand's result is worth; numbers that do not apply are None.

    Args:
        source: the motion.
        result: the target in its poses.
        retargeting: how it was made.
    """
    mask = retargeting.present
    reached = measured(source, result, mask)
    copied = measured(source, MotionRetargeting(COPY, retargeting.target, mask)(source), mask)
    before, excess = jerk(source.local, mask), beyond_limits(result.tbs, mask)
    return {
        "frames": len(source.local),
        "S_finger": _mean(reached.s_finger),
        "S_palm": _mean(reached.s_palm),
        "S_finger_tbs_copy": _mean(copied.s_finger),
        "S_palm_tbs_copy": _mean(copied.s_palm),
        **_gap_closed(source, reached, copied, retargeting),
        "pinch_error": _mean(reached.pinch),
        "pinch_error_tbs_copy": _mean(copied.pinch),
        "frames_with_touch": int(reached.touching.any(-1).sum()),
        "jerk_ratio": jerk(result.local, mask) / before if before > 0 else None,
        "joints_beyond_limits": _mean((excess > VIOLATION).float()),
        "worst_beyond_limits_degrees": float(excess.max()),
        "joints_compared": int(mask.sum()),
        "look_at": _look_at(reached, excess, source.frame_rate),
    }


def _gap_closed(source: SourceMotion, reached: Measures, copied: Measures, retargeting: MotionRetargeting) -> dict:
    """(method − copy) / (optimum − copy) of S_finger and S_palm, on frames spread over the motion."""
    count = min(OPTIMUM_FRAMES, len(source.local))
    some = torch.linspace(0, len(source.local) - 1, count).round().long()
    part = source.at(some)
    best = measure(part.directions, optimum(retargeting.target, part, retargeting.present), retargeting.present)
    result: dict[str, float | None] = {}
    for name, field in (("S_finger", "s_finger"), ("S_palm", "s_palm")):
        method, copy = (_mean(getattr(each, field)[some]) for each in (reached, copied))
        result[f"{name}_optimum"] = optimal = _mean(getattr(best, field))
        result[f"{name}_gap_closed"] = gap_closed(method, copy, optimal, _LEAST_ROOM)
    return result


def _look_at(reached: Measures, excess: Tensor, frame_rate: float) -> list[dict[str, Any]]:
    """The frames that are most likely wrong, not two close together: touches that are open, meaning that is lost,
    joints that are beyond their limits."""
    lost = (reached.s_finger.median() - reached.s_finger).clamp(min=0) / 0.05
    opened = reached.pinch.nan_to_num(0.0) / 0.2
    bent = excess.flatten(1).amax(1) / 20.0
    score = torch.stack([lost, opened, bent]).amax(0)
    found: list[dict[str, Any]] = []
    for frame in score.argsort(descending=True, stable=True).tolist():
        if len(found) == LOOK_AT or score[frame] < 0.1:
            break
        if any(abs(frame - other["frame"]) < _APART * frame_rate for other in found):
            continue
        why = max((float(lost[frame]), "meaning"), (float(opened[frame]), "touch"), (float(bent[frame]), "limits"))[1]
        found.append(
            {"frame": frame, "seconds": round(frame / frame_rate, 3), "why": _why(why, frame, reached, excess)}
        )
    return found


def _why(kind: str, frame: int, reached: Measures, excess: Tensor) -> str:
    if kind == "touch":
        return f"fingertips that touch in the source are {float(reached.pinch[frame]):.2f} palm lengths apart"
    if kind == "meaning":
        return f"S_finger {float(reached.s_finger[frame]):.3f}"
    place = int(excess[frame].argmax())
    finger, joint = FINGERS[place // BONES_PER_FINGER], place % BONES_PER_FINGER + 1
    return f"{finger} joint {joint} is {float(excess[frame].max()):.0f} degrees beyond its limits"


def _mean(values: Tensor) -> float | None:
    """Mean over all that is not NaN; None if nothing is left."""
    kept = values[~values.isnan()]
    return float(kept.double().mean()) if len(kept) else None


def write_report(path: str | Path, report: dict[str, Any]) -> None:
    """Write a report as JSON."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def print_reports(reports: Sequence[dict[str, Any]], console: Console | None = None) -> None:
    """The figures of each hand of each motion, and the frames to look at.

    They are rows of a table; where a terminal is too narrow for that, each hand is a list. Without a terminal the
    table is as wide as it needs to be.
    """
    console = console or Console()
    rows = [(report, side, hand) for report in reports for side, hand in report["hands"].items()]
    cells = [_cells(*row) for row in rows]
    table = Table()
    for head in HEADS:
        table.add_column(head, no_wrap=True)
    for row in cells:
        table.add_row(*(escape(cell) for cell in row))
    needed = Measurement.get(console, console.options.update(width=10000, max_width=10000), table).maximum
    console = wide_console(console, needed)
    if needed <= console.width:
        console.print(table)
    else:
        _print_lists(cells, console)
    for report, side, hand in rows:
        for frame in hand["look_at"][:2]:
            console.print(f"  look at {report['motion']}, {side}, frame {frame['frame']}: {frame['why']}",
                          markup=False, highlight=False)  # fmt: skip
    console.print(
        f"S: semantic similarity (ceiling of S_finger 0.95); pinch error: palm lengths between fingertips nearer than "
        f"{CONTACT} in the source; jerk: of the rotations, in the source's; gap closed: from copy (0 %) to the best "
        f"this hand can do (100 %)",
        style="dim",
    )
    if any(_below_copy(report, hand) for report, _, hand in rows):
        console.print("below the copy: try --refine 3 or --method optimize", style="yellow", highlight=False)


def _cells(report: dict[str, Any], side: str, hand: dict[str, Any]) -> list[str]:
    """What stands below `HEADS` for one hand."""
    touches = hand["frames_with_touch"] > 0
    return [
        report["motion"],
        side,
        str(hand["frames"]),
        _number(hand["S_finger"], 4),
        _number(hand["S_finger_tbs_copy"], 4),
        _number(hand["S_palm"], 4),
        _share(hand["S_finger_gap_closed"]),
        _number(hand["pinch_error"], 3) if touches else "no touch",
        _number(hand["pinch_error_tbs_copy"], 3) if touches else "",
        _number(hand["jerk_ratio"], 2),
        _share(hand["joints_beyond_limits"], 1),
        "kept" if report["body_kept"] else "at rest",
    ]


def _print_lists(cells: Sequence[Sequence[str]], console: Console) -> None:
    """A heading and a line for each figure, for narrow terminals."""
    for motion, side, *figures in cells:
        console.print(f"{motion}, {side} hand", style="bold", markup=False, highlight=False)
        for head, figure in zip(HEADS[2:], figures, strict=True):
            if figure:
                label = f"  {head}" if head == "(copy)" else head
                console.print(f"  {label:<14} {figure}", markup=False, highlight=False)


def _below_copy(report: dict[str, Any], hand: dict[str, Any]) -> bool:
    """Whether a network alone gave less than the plain copy."""
    scores = hand["S_finger"], hand["S_finger_tbs_copy"]
    return (
        named(report["method"]).kind == "network"
        and not report["refine"]
        and None not in scores
        and scores[0] < scores[1]
    )


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def _share(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f} %"
