"""Figures as tables: to read in a terminal, in Markdown and in LaTeX; all show the same cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from model.methods import METHODS, title_of
from utils.cli import wide_console

# The best value that a metric can reach: the zero diagonal of the finger matrix counts as 0 among 20 cosines.
CEILINGS = {"S_finger": 0.95, "S_palm": 1.0}
METRICS = ("S_finger", "S_palm", "pinch_error", "mixamo_MSE")
SKIN_METRICS = ("touches_kept", "false_touches", "too_deep")
"""Shares: of the source's touches of skin, of what is apart in it, of frames."""
HIGHER = (*CEILINGS, "touches_kept")
"""Metrics of which more is better."""
DIRECTIONS = {"mano2mixamo": "MANO → character", "mixamo2mano": "character → MANO", "intra": "within the domain"}
DECIMALS = {"S_finger": 4, "S_palm": 4, "pinch_error": 3, "mixamo_MSE": 2,
            **dict.fromkeys(SKIN_METRICS, 3)}  # fmt: skip
HEADS = {"S_finger": "S_finger ↑", "S_palm": "S_palm ↑", "pinch_error": "pinch error ↓", "mixamo_MSE": "MSE (cm²) ↓",
         "touches_kept": "touches kept ↑", "false_touches": "false touches ↓", "too_deep": "too deep ↓"}  # fmt: skip
NONE = "–"


@dataclass(frozen=True)
class Cell:
    """A cell: a number with its standard error, or a text; `best` of its block."""

    text: str
    error: str = ""
    best: bool = False

    def __str__(self) -> str:
        return f"{self.text} ± {self.error}" if self.error else self.text


@dataclass(frozen=True)
class Grid:
    """A table without a form: heads, and blocks of rows. The first `labels` columns are text, the others numbers."""

    title: str
    heads: list[str]
    blocks: list[list[list[Cell]]]
    labels: int = 2


def comparison(methods: Mapping[str, Mapping[str, Any]], title: str) -> Grid:
    """The `methods` part of results.json: a block for each direction, a row for each method."""
    directions = [d for d in DIRECTIONS if any(d in entry for entry in methods.values())]
    shown = {d: {m: flat(entry, d) for m, entry in methods.items() if d in entry} for d in directions}
    every = [figures for block in shown.values() for figures in block.values()]
    metrics = [m for m in METRICS if m in CEILINGS or any(figures.get(m) is not None for figures in every)]
    gap = any(figures.get("S_finger_gap_closed") is not None for figures in every)
    heads = ["Direction", "Method"]
    for metric in metrics:
        heads += [HEADS[metric]] + ["of 0.95"] * (metric == "S_finger")
    heads += ["gap closed ↑"] * gap
    blocks = []
    for direction, block in shown.items():
        rows = []
        for method, figures in block.items():
            row = [Cell(DIRECTIONS[direction] if not rows else ""), Cell(title_of(method))]
            for metric in metrics:
                row.append(number(figures, metric, block))
                if metric == "S_finger":
                    row.append(_percent(figures.get("S_finger_relative"), 1))
            rows.append(row + [_percent(figures.get("S_finger_gap_closed"), 0)] * gap)
        blocks.append(rows)
    return Grid(title, heads, blocks)


def skin_comparison(skin: Mapping[str, Mapping[str, Mapping[str, Any]]], title: str) -> Grid:
    """The `skin` part of results.json, {direction: {method: figures}}: a block for each direction."""
    blocks = []
    for direction in (d for d in DIRECTIONS if d in skin):
        rows = []
        for method, figures in skin[direction].items():
            head = [Cell(DIRECTIONS[direction] if not rows else ""), Cell(title_of(method))]
            cells = [number(figures, metric, skin[direction]) for metric in SKIN_METRICS]
            rows.append([*head, *cells, Cell(f"{figures['deepest']:.2f}")])
        blocks.append(rows)
    return Grid(title, ["Direction", "Method", *(HEADS[metric] for metric in SKIN_METRICS), "deepest"], blocks)


def breakdown(parts: Mapping[str, Mapping[str, Mapping[str, Any]]], metric: str, title: str, head: str) -> Grid:
    """{part: {method: figures}} as a row for each part, a column for each method, of one metric; the best of each row.

    Parts without this metric are left out.
    """
    methods = [name for name in METHODS if any(name in part for part in parts.values())]
    rows = []
    for name, part in parts.items():
        if any(figures.get(metric) is not None for figures in part.values()):
            frames = max(int(figures.get("frames") or 0) for figures in part.values())
            rows.append([Cell(name), Cell(f"{frames}")] + [number(part.get(m, {}), metric, part) for m in methods])
    return Grid(title, [head, "frames", *(title_of(m) for m in methods)], [rows], 1)


def flat(entry: Mapping[str, Any], direction: str) -> dict[str, Any]:
    """The figures of a method in one direction; mixamo_MSE, which stands beside the directions, with intra's."""
    own = {key: value for key, value in entry.items() if key.startswith("mixamo_MSE")} if direction == "intra" else {}
    return {**own, **entry[direction]}


def number(figures: Mapping[str, Any], metric: str, rivals: Mapping[str, Mapping[str, Any]]) -> Cell:
    """The cell of a metric, marked if no rival is better."""
    value, error, decimals = figures.get(metric), figures.get(f"{metric}_se"), DECIMALS[metric]
    if value is None:
        return Cell(NONE)
    values = [other[metric] for other in rivals.values() if other.get(metric) is not None]
    best = max(values) if metric in HIGHER else min(values)
    return Cell(
        f"{value:.{decimals}f}", "" if error is None else f"{error:.{decimals}f}", len(values) > 1 and value == best
    )


def _percent(share: float | None, decimals: int) -> Cell:
    return Cell(NONE if share is None else f"{100 * share:.{decimals}f}%")


# ---- forms ----------------------------------------------------------------------------------------------------------


def as_rich(grid: Grid) -> Table:
    """For the terminal."""
    shown = Table(title=grid.title, title_justify="left", title_style="bold")
    for position, head in enumerate(grid.heads):
        shown.add_column(head, justify="left" if position < grid.labels else "right", no_wrap=True)
    for block in grid.blocks:
        for position, row in enumerate(block):
            cells = [f"[bold]{cell}[/bold]" if cell.best else str(cell) for cell in row]
            shown.add_row(*cells, end_section=position == len(block) - 1)
    return shown


def as_markdown(grid: Grid, level: int = 2) -> str:
    """A heading and a table; the best in bold."""
    lines = [f"{'#' * level} {grid.title}", "", _pipes(grid.heads)]
    lines.append(_pipes(["---"] * grid.labels + ["---:"] * (len(grid.heads) - grid.labels)))
    for block in grid.blocks:
        first = ""
        for row in block:
            first = row[0].text or first  # Markdown knows no cell that spans rows
            cells = [f"**{cell}**" if cell.best else str(cell) for cell in row[1:]]
            lines.append(_pipes([first, *cells]))
    return "\n".join(lines) + "\n"


def _pipes(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def as_latex(grid: Grid) -> str:
    """A `table` that needs the package booktabs."""
    columns = "l" * grid.labels + "r" * (len(grid.heads) - grid.labels)
    lines = [
        "\\begin{table}",
        "  \\centering",
        f"  \\caption{{{_tex(grid.title)}}}",
        f"  \\begin{{tabular}}{{{columns}}}",
    ]
    lines += ["    \\toprule", "    " + " & ".join(map(_tex, grid.heads)) + " \\\\"]
    for block in grid.blocks:
        lines.append("    \\midrule")
        lines += [
            "    " + " & ".join(_tex_cell(cell, i < grid.labels) for i, cell in enumerate(row)) + " \\\\"
            for row in block
        ]
    return "\n".join([*lines, "    \\bottomrule", "  \\end{tabular}", "\\end{table}", ""])


_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "→": r"$\to$", "↑": r"$\uparrow$", "↓": r"$\downarrow$",
    "²": "$^2$", "–": "--", "±": r"$\pm$", "·": r"$\cdot$", "°": r"$^\circ$", "<": "$<$", ">": "$>$", "≥": r"$\geq$",
}  # fmt: skip


def _tex(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in text)


def _tex_cell(cell: Cell, label: bool) -> str:
    if label or not cell.error:
        return f"\\textbf{{{_tex(cell.text)}}}" if cell.best else _tex(cell.text)
    value = f"\\mathbf{{{cell.text}}}" if cell.best else cell.text
    return f"${value} \\pm {cell.error}$"


# ---- the terminal ---------------------------------------------------------------------------------------------------


def table(methods: Mapping[str, Mapping[str, Any]], title: str) -> Table:
    """The figures as a rich table: a block for each direction, a row for each method, ± standard errors."""
    return as_rich(comparison(methods, title))


def print_table(methods: Mapping[str, Mapping[str, Any]], title: str, note: str = "") -> None:
    """Print the table; without a terminal it is as wide as it needs to be."""
    console = wide_console()
    console.print(table(methods, title))
    if note:
        console.print(note, highlight=False)


def print_grid(grid: Grid) -> None:
    """Print any table; without a terminal it is as wide as it needs to be."""
    wide_console().print(as_rich(grid))


def count_note(windows: int, frames: int) -> str:
    """What a table rests on."""
    return f"{windows} windows of {frames} frames; ± is the standard error over windows"
