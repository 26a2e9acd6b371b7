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

from data.character.skin_gaps import SkinGaps
from model.measures import CONTACT, VIOLATION, Scores, beyond_limits, gap_closed, jerk, measure
from model.methods import COPY, named
from model.motion import MotionRetargeting, SourceMotion, measured, optimum
from model.topology import BONES_PER_FINGER, FINGERS
from model.touch import TOO_DEEP, TouchesKept, part_pairs_present
from utils.cli import wide_console
from utils.files import atomic_write
from utils.scratch import blocks

OPTIMUM_FRAMES = 500
"""Frames, spread over the motion, of which the optimum is worked out."""
LOOK_AT = 5
"""Frames that are named as the first to look at."""
SKIN_FRAMES = 40
"""Frames, spread over the motion, whose skin is measured."""
HEADS = ("motion", "hand", "frames", "S_finger", "(copy)", "S_palm", "gap closed", "pinch error", "(copy)",
         "touches kept", "(copy)", "too deep", "jerk", "beyond limits", "body")  # fmt: skip
_APART = 0.5  # seconds between two of them
_LEAST_ROOM = 5e-3  # S_finger between copy and optimum below which a share of it says nothing


Skins = tuple[SkinGaps | None, SkinGaps | None]


def hand_report(
    source: SourceMotion, result: SourceMotion, retargeting: MotionRetargeting, skins: Skins = (None, None)
) -> dict[str, Any]:
    """What one hand's result is worth; numbers that do not apply are None.

    Args:
        source: the motion.
        result: the target, which moves as long.
        retargeting: how it was made.
        skins: what measures the skin of source and target.
    """
    mask = retargeting.present
    reached = measured(source, result, mask)
    copy = MotionRetargeting(COPY, retargeting.target, mask).moving(source)
    copied = measured(source, copy, mask)
    skin, kept, frames = _skin(source, result, copy, mask, skins)
    before = jerk(source.local, mask)
    excess = torch.cat([beyond_limits(result[part].tbs, mask) for part in blocks(len(result.local))])
    return {
        "frames": len(source.local),
        "S_finger": _mean(reached.s_finger),
        "S_palm": _mean(reached.s_palm),
        "S_finger_tbs_copy": _mean(copied.s_finger),
        "S_palm_tbs_copy": _mean(copied.s_palm),
        **_gap_closed(source, reached, copied, retargeting),
        "pinch_error": _mean(reached.pinch),
        "pinch_error_tbs_copy": _mean(copied.pinch),
        "frames_with_touch": int(reached.touched.sum()),
        "jerk_ratio": jerk(result.local, mask) / before if before > 0 else None,
        "joints_beyond_limits": int((excess > VIOLATION).sum()) / excess.numel(),
        "worst_beyond_limits_degrees": float(excess.max()),
        "joints_compared": int(mask.sum()),
        "skin": skin,
        "look_at": _look_at(reached, excess, source.frame_rate, kept, frames),
    }


def _skin(
    source: SourceMotion, result: SourceMotion, copy: SourceMotion, present: Tensor, skins: Skins
) -> tuple[dict[str, Any] | None, TouchesKept | None, Tensor]:
    """Touches of skin and depth, measured on the meshes of frames spread over the motion; those frames."""
    count = min(SKIN_FRAMES, len(source.local))
    some = torch.linspace(0, len(source.local) - 1, count).round().long()
    if skins[0] is None or skins[1] is None:
        return None, None, some
    own, *others = (
        gaps.gaps(posed).masked_fill(~part_pairs_present(present), torch.inf)
        for gaps, posed in ((skins[0], source[some]), (skins[1], result[some]), (skins[1], copy[some]))
    )
    kept, of_copy = (TouchesKept(own, other) for other in others)
    return {
        "frames": count,
        "touches": int(kept.touches.sum()),
        "recall": _mean(kept.recall, kept.touches),
        "recall_tbs_copy": _mean(of_copy.recall, of_copy.touches),
        "false_touches": _mean(kept.false),
        "false_touches_tbs_copy": _mean(of_copy.false),
        "too_deep": _mean(kept.too_deep),
        "too_deep_tbs_copy": _mean(of_copy.too_deep),
        "deepest": float(kept.deeper.max()),
        "pairs": kept.by_parts(),
    }, kept, some  # fmt: skip


def _gap_closed(source: SourceMotion, reached: Scores, copied: Scores, retargeting: MotionRetargeting) -> dict:
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


def _look_at(
    reached: Scores,
    excess: Tensor,
    frame_rate: float,
    kept: TouchesKept | None = None,
    measured_at: Tensor | None = None,
) -> list[dict[str, Any]]:
    """The frames that are most likely wrong, not two close together: touches that are open, meaning that is lost,
    joints that are beyond their limits; of the frames ``measured_at`` whose skin was measured, what it shows."""
    lost = (reached.s_finger.median() - reached.s_finger).clamp(min=0) / 0.05
    opened = reached.pinch.nan_to_num(0.0) / 0.2
    bent = excess.flatten(1).amax(1) / 20.0
    skin = torch.zeros_like(lost)
    if kept is not None:
        skin[measured_at] = kept.wrongness().to(skin) / 0.2
    score = torch.stack([lost, opened, bent, skin]).amax(0)
    found: list[dict[str, Any]] = []
    for frame in score.argsort(descending=True, stable=True).tolist():
        if len(found) == LOOK_AT or score[frame] < 0.1:
            break
        if any(abs(frame - other["frame"]) < _APART * frame_rate for other in found):
            continue
        kinds = {"meaning": lost, "touch": opened, "limits": bent, "skin": skin}
        worst = max(kinds, key=lambda kind: float(kinds[kind][frame]))
        if worst == "skin" and kept is not None and measured_at is not None:
            why = kept.why(int((measured_at == frame).nonzero()[0, 0]))
        else:
            why = _why(worst, frame, reached, excess)
        found.append({"frame": frame, "seconds": round(frame / frame_rate, 3), "why": why})
    return found


def _why(kind: str, frame: int, reached: Scores, excess: Tensor) -> str:
    if kind == "touch":
        return f"fingertips that touch in the source are {float(reached.pinch[frame]):.2f} palm lengths apart"
    if kind == "meaning":
        return f"S_finger {float(reached.s_finger[frame]):.3f}"
    place = int(excess[frame].argmax())
    finger, joint = FINGERS[place // BONES_PER_FINGER], place % BONES_PER_FINGER + 1
    return f"{finger} joint {joint} is {float(excess[frame].max()):.0f} degrees beyond its limits"


def _mean(values: Tensor, weights: Tensor | None = None) -> float | None:
    """Mean over all that is not NaN; None if nothing is left."""
    some = ~values.isnan()
    kept, share = values[some].double(), torch.ones_like(values[some]) if weights is None else weights[some].double()
    return float((kept * share).sum() / share.sum()) if len(kept) else None


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
        f"{CONTACT} in the source; touches kept: of fingers and palm, by their skin; too deep: frames in which skin "
        f"is over {TOO_DEEP} deeper in skin than in the source; jerk: of the rotations, in the source's; gap closed: "
        f"from copy (0 %) to the best this hand can do (100 %)",
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
        *_skin_cells(hand["skin"]),
        _number(hand["jerk_ratio"], 2),
        _share(hand["joints_beyond_limits"], 1),
        "kept" if report["body_kept"] else "at rest",
    ]


def _skin_cells(skin: dict[str, Any] | None) -> list[str]:
    if skin is None:
        return ["no skin", "", ""]
    if not skin["touches"]:
        return ["no touch", "", _share(skin["too_deep"], 1)]
    return [_share(skin["recall"]), _share(skin["recall_tbs_copy"]), _share(skin["too_deep"], 1)]


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
