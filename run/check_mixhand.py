"""Check a data set: `python -m run.check_mixhand artifact/MixHand`.

Recognises the published preprocessed archive, feature files written by run.preprocess_mixhand, and folders of raw
motions, meshes and axes. Reads everything once, one file at a time, and writes nothing. Prints what there is of each
character, what is missing, what is damaged, and what to do next; also which clips have another frame rate than windows
assume, or another skeleton than their character. The exit code is 0 only if nothing that is needed is missing or
damaged.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from data.choices import MANO_FOLDER
from utils.cli import CommandLine, guarded, options_first, wide_console
from utils.errors import InputError, some, spoken


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


options_first(__name__, argument_parser)

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from data.dataset import MixHandFolder
from data.preparation.check import (
    ABSENT,
    DAMAGED,
    MISSING,
    OK,
    PARTS,
    CharacterReport,
    FolderReport,
    Part,
    check_folder,
)

_STYLES = {OK: "green", MISSING: "red", DAMAGED: "bold red"}


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
        json.dump({**report.as_dict(), "advice": advice(report)}, sys.stdout, indent=1)
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
        console.print(f"{name}: {spoken(problem)}", style="red", highlight=False, markup=False, soft_wrap=True)
    for note in (note for each in report.characters for note in each.notes):
        console.print(spoken(note), style="yellow", highlight=False, markup=False, soft_wrap=True)
    for step in advice(report):
        console.print(f"next: {step}", highlight=False, markup=False, soft_wrap=True)


def advice(report: FolderReport) -> list[str]:
    """What to do next, one step a line."""
    folder, characters, mano = MixHandFolder(report.path), report.characters, report.mano
    path = folder.path

    def having(part: str, *states: str) -> str:
        return some([each.character for each in characters if each.parts[part].state in states])

    steps = {
        "make the meshes with `python -m run.convert_character`": having("mesh", MISSING),
        "export or make these meshes again": having("mesh", DAMAGED),
        f"make the axes with `python -m run.calculate_mixamo_axis --mesh_data {folder.finger_data}`": having(
            "axes", MISSING, DAMAGED
        ),
        "repair or remove the motions named above": having("motions", DAMAGED),
        f"`python -m run.preprocess_mixhand --data_path {path} --force`, or fetch the archive again": (
            having("features", DAMAGED) or having("statistics", DAMAGED)
        ),
        "fetch the published archive again, or leave these out of --data.*_characters": having("features", MISSING),
    }
    found = [f"{step}: {names}" for step, names in steps.items() if names]
    if any(part.state in (MISSING, DAMAGED) for name, part in mano.items() if name != "axes"):
        found.append(f"put MANO_RIGHT.pkl of https://mano.is.tue.mpg.de into {MANO_FOLDER}/mano")
    if mano["axes"].state in (MISSING, DAMAGED):
        found.append("make the axes of MANO with `python -m run.calculate_mano_axis`")
    return found or _next_steps(folder, characters)


def _next_steps(folder: MixHandFolder, characters: list[CharacterReport]) -> list[str]:
    """What to do with a folder in which nothing is damaged."""
    path = folder.path
    preprocess = f"`python -m run.preprocess_mixhand --data_path {path}`"
    steps = []
    idle = [e.character for e in characters if {e.parts[p].state for p in ("motions", "features")} == {ABSENT}]
    if any(each.parts["motions"].state == OK and each.parts["features"].state == ABSENT for each in characters):
        return [f"preprocess: {preprocess}"]
    stale = [each.character for each in characters if each.stale]
    if stale:
        return [f"motions have changed since, preprocess again: {preprocess} ({', '.join(stale[:6])})"]
    sides = {each.side for each in characters if each.side}
    if len(sides) > 1:
        return [f"features of right and left hands are mixed; preprocess all with the same --is_rhand: {preprocess}"]
    domains = {each.domain for each in characters if each.parts["features"].state == OK}
    if len(domains) == 1:
        other = "subjects of MANO (run.convert_interhand_bvh)" if "mixamo" in domains else "Mixamo characters"
        steps.append(f"for training across domains, add {other}")
    elif domains:
        own = folder.splits.is_file()
        options = [f"--config config/{'open/' if own else ''}ASRN.yaml", f"--data.data_path {path}"]
        if folder.models.is_dir():
            options.append(f"--model.smplx_model_path {folder.models}")
        options.append(f"--model.mano_axis_path {folder.mano_axes}")
        steps.append(f"nothing is missing; train: `python -m run.train_mixhand fit {' '.join(options)}`")
        if not own:
            steps.append("name other characters than the published ones with --data.train_characters and the like")
    if idle:
        steps.append(f"characters without motions, which belong into folders of their names: {', '.join(idle[:6])}")
    return steps


def _cell(part: Part) -> Text:
    text = part.detail if part.state == OK and part.detail else part.state
    return Text(text, style=_STYLES.get(part.state, ""))


if __name__ == "__main__":
    guarded(check)
