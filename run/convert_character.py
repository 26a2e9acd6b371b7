"""Characters to mesh and motion files: `python -m run.convert_character XBot.fbx --output_dir artifact/MixHand`.

Takes FBX, glTF, GLB and VRM files, or folders of them. For each character it writes
DIR/finger_data/<Name>_mesh_data.npz (if the file has a skin) and DIR/<Name>/<clip>.bvh, one for each animation: what
run.calculate_mixamo_axis and run.preprocess_mixhand read. glTF is read directly; FBX needs Blender (`make blender`).
What is up to date is skipped; a file that cannot be used is reported with the reason, and the others go on.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data.formats.rates import SLOWEST
from utils.cli import CommandLine, guarded, options_first, wide_console
from utils.errors import InputError, spoken


def argument_parser() -> CommandLine:
    """The options."""
    parser = CommandLine(
        "run.convert_character",
        __doc__,
        epilog="A character and its motions from separate files:\n"
        "  python -m run.convert_character XBot.fbx motions/*.fbx --character XBot --output_dir artifact/MixHand",
    )
    parser.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help=".fbx, .gltf, .glb, .vrm, or folders")
    parser.add_argument("--output_dir", type=Path, required=True, metavar="DIR", help="folder of the data set")
    parser.flag("recursive", "look into the folders inside folders too")
    parser.add_argument(
        "--character", metavar="NAME", help="all inputs belong to this character; default: each its own"
    )
    parser.add_argument(
        "--fps", type=float, default=60.0, help="frames a second of the motions (60: what training takes)"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="Blenders at work at the same time")
    parser.add_argument("--blender", metavar="PATH", help="Blender, or a Python with bpy; default: found by itself")
    parser.flag("adjust_bone", "move joints into the middle of the skin")
    parser.add_argument("--armature", metavar="NAME", help="which armature to take where a file has several")
    parser.add_argument(
        "--timeout", type=float, default=600.0, metavar="S", help="seconds that Blender may take for a file"
    )
    parser.add_argument("--memory_gb", type=float, default=8.0, metavar="GB", help="memory that one Blender may take")
    parser.flag("force", "convert again what is up to date")
    return parser


options_first(__name__, argument_parser)

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from data.blender import ADVICE, BlenderWorker, find_blender
from data.formats.character_files import GLTF_SUFFIXES, Result
from data.preparation.conversion import Job, Settings, convert_gltf, done_before, jobs_for, remember


def convert(options: Sequence[str] | None = None) -> None:
    """Convert all inputs; one that fails does not stop the others.

    Raises:
        InputError: some could not be converted, after the others were; or there is nothing to convert.
    """
    parser = argument_parser()
    config = parser.parse_args(options)
    if not SLOWEST <= config.fps <= 1000:
        parser.error(f"--fps: expected {SLOWEST:g} to 1000 frames a second, found {config.fps:g}")
    if config.jobs < 1 or config.timeout <= 0:
        parser.error("--jobs and --timeout: expected positive numbers")
    settings = Settings(config.character, config.recursive, config.fps, config.armature, config.adjust_bone)
    blenders = Blenders(config.blender, config.jobs, config.timeout, config.memory_gb)
    convert_files(config.inputs, config.output_dir, settings, blenders, config.force)


@dataclass(frozen=True)
class Blenders:
    """Which Blender works, how many at the same time, and how much time (s) and memory (GB) one may take."""

    path: str | None = None
    jobs: int = 1
    timeout: float = 600.0
    memory_gb: float = 8.0


def convert_files(
    inputs: Sequence[Path], output: Path, settings: Settings, blenders: Blenders, force: bool = False
) -> None:
    """Convert files and folders of them, print what became of them. Raises as `convert`."""
    jobs, refused = jobs_for(inputs, output, settings)
    pending = [job for job in jobs if force or not done_before(job)]
    up_to_date = [job for job in jobs if job not in pending]
    results = refused + (_run(blenders, pending) if pending else [])
    _report(results, up_to_date)


def _run(blenders: Blenders, jobs: list[Job]) -> list[Result]:
    """Convert in threads: each has a Blender of its own, if it meets a file that needs one."""
    needs_blender = any(Path(job.request.source).suffix.lower() not in GLTF_SUFFIXES for job in jobs)
    command = find_blender(blenders.path) if needs_blender else None
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    results: list[Result] = []
    failures: list[BaseException] = []
    lock = threading.Lock()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(), transient=True) as progress:
        bar = progress.add_task("converting", total=len(jobs))

        def work() -> None:
            try:
                with BlenderWorker(command or [], blenders.timeout, blenders.memory_gb) as worker:
                    while not failures:
                        job = waiting.get_nowait()
                        result = _convert(job, worker if command else None)
                        with lock:
                            results.append(result)
                            if result.error is None:
                                remember(job, result)
                            progress.update(bar, advance=1, description=Path(result.source).name[:40])
            except queue.Empty:
                pass
            except BaseException as error:  # handed to the main thread
                failures.append(error)

        threads = [threading.Thread(target=work, daemon=True) for _ in range(min(blenders.jobs, len(jobs)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    return results


def _convert(job: Job, worker: BlenderWorker | None) -> Result:
    source = job.request.source
    if Path(source).suffix.lower() in GLTF_SUFFIXES:
        return convert_gltf(job.request)
    if worker is None:
        return Result(source, error=f"{source}: expected Blender, found none. {ADVICE}")
    return worker.convert(job.request)


def _report(results: list[Result], up_to_date: list[Job]) -> None:
    console = wide_console()
    made = sorted((result for result in results if result.error is None), key=lambda result: result.source)
    if made:
        table = Table("file", "vertices", "bones", "motions", "frames", "remarks")
        for result in made:
            vertices = str(result.vertices) if result.mesh else "–"
            numbers = (vertices, str(result.bones), str(len(result.clips)), str(result.frames))
            table.add_row(Path(result.source).name, *numbers, "; ".join(result.notes))
        console.print(table)
    if up_to_date:
        console.print(f"{len(up_to_date)} files are up to date (--force converts them again)")
    failed = [result for result in results if result.error is not None]
    for result in sorted(failed, key=lambda result: result.source):
        console.print(f"skipped {spoken(result.error)}", style="red", highlight=False, markup=False, soft_wrap=True)
    if failed:
        total = len(results) + len(up_to_date)
        raise InputError(f"{len(failed)} of {total} files could not be converted; the reasons are above")


if __name__ == "__main__":
    guarded(convert)
