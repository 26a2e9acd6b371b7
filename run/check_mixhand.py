"""Check a data set: `python -m run.check_mixhand artifact/MixHand`.

Recognises the published preprocessed archive, feature files written by run.preprocess_mixhand, and folders of raw
motions, meshes and axes. Reads everything once, one file at a time, and writes nothing. Prints what there is of each
character, what is missing, what is damaged, and what to do next. The exit code is 0 only if nothing that is needed is
missing or damaged.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from data.dataset import MANO_FOLDER
from data.preparation.check import DAMAGED, MISSING, OK, PARTS, FolderReport, Part, check_folder
from utils.cli import CommandLine, guarded, wide_console
from utils.errors import InputError

_STYLES = {OK: "green", MISSING: "red", DAMAGED: "bold red"}


def argument_parser() -> CommandLine:
    """The options."""
    parser = CommandLine("run.check_mixhand", __doc__)
    parser.add_argument("path", type=str, help="folder of the data set")
    parser.add_argument(
        "--smplx_path",
        help="MANO file, or folder that holds mano/MANO_{RIGHT,LEFT}.pkl; default: models of the data set, or "
        f"{MANO_FOLDER}",
    )
    parser.flag("json", "print the result as JSON")
    return parser


def check(options: Sequence[str] | None = None) -> None:
    """Check the folder that the options name, and print what was found.

    Raises:
        InputError: something that is needed is missing or damaged, or there is no data set.
    """
    config = argument_parser().parse_args(options)
    columns = (TextColumn("{task.description:<16}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("looking")

        def show(character: str, done: int, total: int) -> None:
            progress.update(task, description=character, completed=done, total=total)

        report = check_folder(config.path, config.smplx_path, show)
    if config.json:
        json.dump(report.as_dict(), sys.stdout, indent=1)
        print()
    else:
        _print(report)
    if not report.is_whole:
        bad = [each.character for each in report.characters if not each.is_whole]
        whose = f"{len(bad)} of {len(report.characters)} characters ({', '.join(bad[:8])})" if bad else "the MANO hand"
        raise InputError(f"{config.path}: something is missing or damaged: {whose}; what to do is said above")


def _print(report: FolderReport) -> None:
    console = wide_console()
    console.print(f"{report.path}: {report.kind}", highlight=False, markup=False, soft_wrap=True)
    table = Table("character", "domain", *PARTS)
    for each in report.characters:
        cells = [_cell(each.parts[name]) for name in PARTS]
        table.add_row(Text(each.character), each.domain, *cells)
    console.print(table)
    problems = [(each.character, problem) for each in report.characters for problem in each.problems]
    for name, part in report.mano.items():
        if part.state in (MISSING, DAMAGED):
            problems.append((f"MANO {name}", part.detail))
        elif part.state == OK:
            console.print(f"MANO {name}: {part.detail}", highlight=False, markup=False, soft_wrap=True)
    for name, problem in problems:
        console.print(f"{name}: {problem}", style="red", highlight=False, markup=False, soft_wrap=True)
    for step in report.advice:
        console.print(f"next: {step}", highlight=False, markup=False, soft_wrap=True)


def _cell(part: Part) -> Text:
    text = part.detail if part.state == OK and part.detail else part.state
    return Text(text, style=_STYLES.get(part.state, ""))


if __name__ == "__main__":
    guarded(check)
