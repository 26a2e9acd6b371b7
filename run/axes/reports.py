"""What both axis tools tell: a table with the confidence of every finger, and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from data.axes.estimate import NEAR, HandEstimate
from model.topology import FINGERS
from run.axes.pictures import axes_page
from run.drawing.render import save_png

_STYLES = {"sure": "green", "fair": "yellow", "doubtful": "red", "missing": "dim"}
READING = (
    f"percent: chance that a bend axis is within {NEAR:.0f}° of the true hinge; ±: expected error. "
    f"Doubtful fingers deserve a look: --picture, --annotate"
)


def confidence_table(estimates: Sequence[HandEstimate], title: str) -> Table:
    """A row a hand: each finger's confidence, and what it rests on."""
    table = Table("hand", *FINGERS, "evidence", title=title)
    for estimate in estimates:
        cells, sources = [], {}
        for name, finger in zip(FINGERS, estimate.fingers, strict=True):
            style = _STYLES[finger.word]
            text = "missing" if finger.word == "missing" else f"{finger.confidence:.0%} ±{finger.error:.0f}°"
            if name in estimate.opening:
                text, style = "opens", _STYLES["doubtful"]
            cells.append(f"[{style}]{text}[/{style}]")
            sources.update(dict.fromkeys(evidence.source for evidence in finger.evidence))
        table.add_row(estimate.hand.side, *cells, ", ".join(sources))
    return table


def tell(console: Console, estimates: Sequence[HandEstimate], title: str, table: bool = True) -> None:
    """Print the table (if wanted), and name the fingers that someone should look at."""
    if table:
        console.print(confidence_table(estimates, title))
    for estimate in estimates:
        for names, what in (
            (estimate.doubtful, "doubtful"),
            (estimate.opening, "a positive bend opens instead of closing"),
        ):
            if names:
                console.print(f"{title}, {estimate.hand.side} hand: {', '.join(names)}: {what}", style="red")


def draw(path: Path, estimates: Sequence[HandEstimate], title: str) -> None:
    """Save the page of `run.axes.pictures`."""
    save_png(path, axes_page(estimates, title))
