"""Turn a prepared MixHand folder into feature files: `python -m run.preprocess_mixhand --data_path artifact/MixHand`.

The folder holds one folder of .bvh files for each character (MANO clips may have a .npy of shapes beside them), and
finger_data with <character>_mesh_data.npz, <character>_finger_axis.pkl and mano_finger_axis.pkl. Written into it are
<character>.npy and .json (features, used from the disk by training) and mean_var/<character>_{mean,var}.npy.
Characters whose inputs have not changed are skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ActionYesNo, ArgumentParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from data.hand_motion import recognised
from data.preprocess import Outcome, Preprocessor
from data.rig import read_rig_map
from data.windows import window_length
from utils.cli import guarded
from utils.errors import InputError

SMPLX_PATH = "artifact/smplx/models"
MANY = 24
"""Characters of which a table lists each."""


def argument_parser() -> ArgumentParser:
    """The options."""
    parser = ArgumentParser(prog="python -m run.preprocess_mixhand", description=__doc__)
    parser.add_argument("--data_path", default="artifact/MixHand", help="folder of the data set")
    parser.add_argument(
        "--smplx_path",
        default=SMPLX_PATH,
        help="MANO file, or folder that holds mano/MANO_{RIGHT,LEFT}.pkl; if it does not exist, <data_path>/models",
    )
    parser.add_argument("--is_rhand", type=bool, default=True, help="take the right hand; false: the left hand")
    parser.add_argument("--window_size", type=int, default=8, help="frames of the windows of the statistics")
    parser.add_argument(
        "--force", nargs="?", action=ActionYesNo, default=False, help="compute again what is up to date"
    )
    parser.add_argument("--characters", nargs="+", help="only these characters; all if not given")
    parser.add_argument("--rig_map", help="YAML file that names the joints of hands whose bones are not recognised")
    parser.add_argument(
        "--print_map", nargs="?", action=ActionYesNo, default=False,
        help="print what is recognised as a rig map, the start of one's own for --rig_map, and stop",
    )  # fmt: skip
    return parser


def preprocess(options: Sequence[str] | None = None) -> None:
    """Preprocess all characters that were asked for; one that fails does not stop the others.

    Raises:
        InputError: a character could not be preprocessed, after the others were.
    """
    config = argument_parser().parse_args(options)
    window_length(config.window_size)
    data_path, smplx_path = Path(config.data_path), Path(config.smplx_path)
    if not smplx_path.exists() and (data_path / "models").is_dir():
        smplx_path = data_path / "models"
    side = "right" if config.is_rhand else "left"
    rig_map = None if config.rig_map is None else read_rig_map(config.rig_map)
    worker = Preprocessor(data_path, smplx_path, side, config.window_size, config.force, rig_map)
    characters = worker.characters()
    unknown = [name for name in config.characters or () if name not in characters]
    if unknown:
        raise InputError(
            f"--characters: expected folders of .bvh files in {data_path} ({', '.join(characters)}), "
            f"found {', '.join(unknown)}"
        )
    characters = list(dict.fromkeys(config.characters or characters))
    if config.print_map:
        print(recognised(file for name in characters for file in worker.rigs(name)))
        return
    _run_all(worker, characters)


def _run_all(worker: Preprocessor, characters: list[str]) -> None:
    console = Console()
    columns = (
        TextColumn("{task.description:<16}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    outcomes, failures = [], {}
    with Progress(*columns, console=console, transient=True) as progress:
        total = progress.add_task("characters", total=len(characters))
        clips = progress.add_task("clips")

        def report(character: str, done: int, count: int) -> None:
            progress.update(clips, description=character, completed=done, total=count)

        for character in characters:
            try:
                outcomes.append(worker.run(character, report))
            except InputError as error:
                failures[character] = str(error)
            progress.advance(total)
    if outcomes:
        console.print(_table(outcomes))
    for character, reason in failures.items():
        console.print(f"{character} failed: {reason}", style="red", highlight=False, markup=False, soft_wrap=True)
    if failures:
        raise InputError(
            f"{len(failures)} of {len(characters)} characters could not be preprocessed ({', '.join(failures)}); "
            f"the reasons are above"
        )


def _table(outcomes: list[Outcome]) -> Table:
    """A row for each character or, of many, for each domain and state."""
    table = Table("character", "domain", "clips", "frames", "features")
    groups: dict[tuple[str, ...], list[Outcome]] = {}
    for outcome in outcomes:
        own = outcome.character if len(outcomes) <= MANY else ""
        groups.setdefault((own, outcome.domain, "written" if outcome.written else "up to date"), []).append(outcome)
    for (character, domain, state), members in groups.items():
        clips, frames = sum(each.clips for each in members), sum(each.frames for each in members)
        table.add_row(character or f"{len(members)} characters", domain, str(clips), str(frames), state)
    return table


if __name__ == "__main__":
    guarded(preprocess)
