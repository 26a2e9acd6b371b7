"""Turn a prepared MixHand folder into feature files: `python -m run.preprocess_mixhand --data_path artifact/MixHand`.

The folder holds one folder of .bvh files for each character (MANO clips may have a .npy of shapes beside them), and
finger_data with <character>_mesh_data.npz, <character>_finger_axis.pkl and mano_finger_axis.pkl. Written into it are
<character>.npy and .json (features, used from the disk by training) and mean_var/<character>_{mean,var}.npy.

Characters are worked on side by side, the largest first. One whose inputs have not changed is skipped, and a file
appears only when it is complete: a run that was killed goes on where it stopped. `--backend dask` or `ray` hands the
characters to a cluster whose machines see the same folders.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from data.choices import FEATURE_FORMATS, MANO_FOLDER
from utils.choices import BACKENDS
from utils.cli import CommandLine, guarded, options_first, processors, wide_console
from utils.errors import InputError, spoken


def argument_parser() -> CommandLine:
    """The options."""
    parser = CommandLine("run.preprocess_mixhand", __doc__)
    parser.add_argument("--data_path", default="artifact/MixHand", help="folder of the data set")
    parser.add_argument(
        "--smplx_path",
        help="MANO file, or folder that holds mano/MANO_{RIGHT,LEFT}.pkl; default: models of the data set, or "
        f"{MANO_FOLDER}",
    )
    parser.flag("is_rhand", "take the right hand (default); false: the left hand", default=True)
    parser.add_argument("--window_size", type=int, default=8, help="frames of the windows of the statistics")
    parser.flag("force", "compute again what is up to date")
    parser.flag(
        "resample",
        "bring clips to the rate that windows assume (60 frames per second, of MANO 5); default: only clips of "
        "MixHand-Open and of characters that run.convert_character has made, so that published data stays as it is",
        default=None,
    )
    parser.add_argument("--characters", nargs="+", help="only these characters; all if not given")
    parser.add_argument("--rig_map", help="YAML file that names the joints of hands whose bones are not recognised")
    parser.flag("print_map", "print what is recognised as a rig map, the start of one's own for --rig_map, and stop")
    parser.add_argument("--jobs", type=int, default=processors(), help="characters worked on side by side")
    parser.add_argument(
        "--backend",
        default="loky",
        choices=BACKENDS,
        help="loky: processes of this machine; dask, ray: workers of a cluster",
    )
    parser.add_argument(
        "--cluster",
        type=str,
        help="address of the Dask scheduler or Ray cluster; if not given, the one that DASK_SCHEDULER_ADDRESS or "
        "RAY_ADDRESS names, or else a new one on this machine",
    )
    parser.add_argument(
        "--format",
        default="ours",
        choices=FEATURE_FORMATS,
        help="ours: used from the disk; published: an object array, as the published program reads it",
    )
    return parser


options_first(__name__, argument_parser)

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from data.character.recognised import recognised
from data.dataset import MixHandFolder
from data.features.windows import window_length
from data.preparation.preprocess import Outcome, Plan, Preprocessor
from data.rig import read_rig_map
from utils.parallel import Done, map_unordered

MANY = 24
"""Characters of which a table lists each."""
SMALL = 32 << 20
"""Bytes of motions that are done before other processes would have started."""


def preprocess(options: Sequence[str] | None = None) -> None:
    """Preprocess all characters that were asked for; one that fails does not stop the others.

    Raises:
        InputError: a character could not be preprocessed, after the others were.
    """
    config = argument_parser().parse_args(options)
    window_length(config.window_size)
    data_path = Path(config.data_path)
    smplx_path = MixHandFolder(data_path).mano_model(config.smplx_path)
    side = "right" if config.is_rhand else "left"
    rig_map = None if config.rig_map is None else read_rig_map(config.rig_map)
    if config.jobs < 1:
        raise InputError(f"--jobs: expected at least 1, found {config.jobs}")
    settings = (side, config.window_size, config.force, config.format, rig_map, config.resample)
    worker = Preprocessor(data_path, smplx_path, *settings)
    if config.print_map:
        print(recognised(worker.rig_files(config.characters)))
        return
    preprocess_all(worker, config.characters, config.jobs, config.backend, config.cluster)


def preprocess_all(
    worker: Preprocessor,
    chosen: Sequence[str] | None = None,
    jobs: int = 1,
    backend: str = "loky",
    cluster: str | None = None,
) -> None:
    """Plan, work, and report, all characters or the chosen ones; who works as `map_unordered` says.

    Raises:
        InputError: as `preprocess`.
    """
    characters = worker.characters()
    unknown = [name for name in chosen or () if name not in characters]
    if unknown:
        raise InputError(
            f"--characters: expected folders of .bvh files in {worker.data_path} ({', '.join(characters)}), "
            f"found {', '.join(unknown)}"
        )
    characters = list(dict.fromkeys(chosen or characters))
    spread = partial(map_unordered, jobs=jobs, backend=backend, cluster=cluster)
    console = wide_console()
    columns = (
        TextColumn("{task.description:<16}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    outcomes: dict[str, Outcome] = {}
    failures: dict[str, str] = {}
    with Progress(*columns, console=console, transient=True) as progress:
        plans = _plans(worker, characters, progress, failures)
        total = progress.add_task("characters", total=len(plans))
        for done in _work(worker, plans, spread, progress):
            if done.failure is None:
                outcomes[done.item.character] = done.result
            else:
                failures[done.item.character] = done.failure
            progress.advance(total)
    if outcomes:
        console.print(_table([outcomes[name] for name in characters if name in outcomes]))
    for note in (note for name in characters if name in outcomes for note in outcomes[name].notes):
        console.print(spoken(note), style="yellow", highlight=False, markup=False, soft_wrap=True)
    for character in sorted(failures):
        text = f"{character} failed: {spoken(failures[character])}"
        console.print(text, style="red", highlight=False, markup=False, soft_wrap=True)
    if failures:
        raise InputError(
            f"{len(failures)} of {len(characters)} characters could not be preprocessed "
            f"({', '.join(sorted(failures))}); the reasons are above"
        )


def _plans(worker: Preprocessor, characters: list[str], progress: Progress, failures: dict[str, str]) -> list[Plan]:
    """What there is to do, largest first, so that no character is left over when the others are done. Reading and
    hashing release Python's lock, so threads do."""
    task = progress.add_task("comparing inputs", total=len(characters))
    plans = []

    def plan(character: str) -> Done[str, Plan]:
        try:
            return Done(character, worker.plan(character), None)
        except InputError as error:
            return Done(character, None, str(error))

    with ThreadPoolExecutor(processors()) as threads:
        for done in threads.map(plan, characters):
            progress.advance(task)
            if done.failure is None:
                plans.append(done.result)
            else:
                failures[done.item] = done.failure
    progress.remove_task(task)
    return sorted(plans, key=lambda plan: -plan.size)


def _work(
    worker: Preprocessor, plans: list[Plan], spread: partial, progress: Progress
) -> Iterator[Done[Plan, Outcome]]:
    """Carry the plans out: what is up to date or little here, the rest by as many as were asked for."""
    waiting = [plan for plan in plans if not plan.up_to_date]
    alone = spread.keywords["backend"] == "loky" and (len(waiting) < 2 or sum(p.size for p in waiting) < SMALL)
    away = [] if alone else waiting
    clips = progress.add_task("clips", visible=alone)

    def report(character: str, done: int, count: int) -> None:
        progress.update(clips, description=character, completed=done, total=count)

    here = [plan for plan in plans if plan not in away]
    yield from map_unordered(partial(worker.carry_out, report=report), here, jobs=1)
    if away:
        yield from spread(worker.carry_out, away)


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
