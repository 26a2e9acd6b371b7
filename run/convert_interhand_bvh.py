"""Turn InterHand2.6M's MANO annotations into motions: `python -m run.convert_interhand_bvh --input …NeuralAnnot.json`.

Every run of frames that shows the hand becomes <capture>_<first>_<last>.bvh with its shapes in .npy beside it. The
annotation file is read as a stream, so gigabytes of it need little memory. A run that was interrupted goes on with the
first capture that is not finished. What each capture held (runs, gaps, missing hands, uneven spacing) is printed, and
written to summary.csv; "too sparse" are captures whose frames lie more than 50 apart on average.

With --split_subjects FILE the clips go into Mano0 … Mano9, ready for run.preprocess_mixhand. FILE has a line for each
capture: its name and its subject, separated by a comma, tab or blank (`Capture0, 3`). Subjects in the order of their
numbers take turns over the ten folders.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from model.topology import SIDES
from utils.cli import CommandLine, guarded, options_first, wide_console
from utils.errors import InputError

HANDS = {"right": ("right",), "left": ("left",), "both": SIDES}


def argument_parser() -> CommandLine:
    """The options."""
    parser = CommandLine("run.convert_interhand_bvh", __doc__)
    parser.add_argument(
        "--smplx_path",
        default="artifact/smplx/models",
        help="MANO file, or folder that holds mano/MANO_{RIGHT,LEFT}.pkl",
    )
    parser.add_argument("--input", required=True, help="InterHand2.6M_<split>_MANO_NeuralAnnot.json")
    parser.add_argument(
        "--mano_axis_data",
        type=str,
        help="accepted as the published program has it; the conversion needs no axes, so it is not read",
    )
    parser.add_argument("--output_dir", required=True, help="folder for the motions, created if it does not exist")
    parser.add_argument(
        "--hand", default="right", choices=list(HANDS), help="both: into the folders right and left of --output_dir"
    )
    parser.add_argument("--split_subjects", type=str, help="list of captures and subjects; clips go to Mano0 … Mano9")
    parser.flag("force", "convert anew what is there, or was another file's")
    return parser


options_first(__name__, argument_parser)

from rich import box
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from data.preparation.interhand_conversion import SUMMARY, Conversion

_COUNTS = ("frames", "runs", "written", "gaps", "missing", "single", "uneven")


def convert(options: Sequence[str] | None = None) -> None:
    """Convert the annotations that the options name.

    Raises:
        InputError: a file cannot be used, or a capture is not in the list of subjects (after the others are done).
    """
    config = argument_parser().parse_args(options)
    conversion = Conversion(
        Path(config.input),
        Path(config.smplx_path),
        Path(config.output_dir),
        HANDS[config.hand],
        None if config.split_subjects is None else Path(config.split_subjects),
        config.force,
    )
    console = wide_console()
    done = len(conversion.rows)
    if done:
        console.print(f"{done} captures were finished earlier", highlight=False)
    try:
        _run(conversion, console)
    finally:
        if conversion.rows:
            console.print(_table(conversion))
            console.print(f"also in {conversion.output / SUMMARY}", highlight=False, markup=False, soft_wrap=True)
    unlisted = [name for name, rows in conversion.rows.items() if any(not row.folder and row.note for row in rows)]
    if config.split_subjects and unlisted:
        raise InputError(
            f"{config.split_subjects}: expected the subjects of all captures, found none for "
            f"{', '.join(unlisted[:8])}{' …' if len(unlisted) > 8 else ''}; add them and run again with --force"
        )


def _run(conversion: Conversion, console: Console) -> None:
    columns = (
        TextColumn("{task.description:<24}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("reading", total=conversion.source.stat().st_size)
        conversion.run(
            lambda count: progress.advance(task, count),
            lambda name: progress.update(task, description=f"capture {name} done"),
        )


def _table(conversion: Conversion) -> Table:
    """A row for each hand of each capture, and their sums; fits 80 columns."""
    rows = [row for group in conversion.rows.values() for row in group]
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    for name in ("capture", "hand", "folder"):
        table.add_column(name, no_wrap=True)
    for name in _COUNTS:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("note")
    for row in rows:
        table.add_row(
            row.capture,
            row.hand,
            row.folder.rpartition("/")[2],
            *(str(getattr(row, name)) for name in _COUNTS),
            row.note,
        )
    if len(rows) > 1:
        table.add_section()
        table.add_row("all", "", "", *(str(sum(getattr(row, name) for row in rows)) for name in _COUNTS), "")
    return table


if __name__ == "__main__":
    guarded(convert)
