"""Films of test windows: `python -m run.visualize_mixhand --config C --ckpt_path K --output_dir D`.

Without further options it does what the published program does: windows of 20 frames, of every tenth one
{direction}{batch}_{window}.mp4 with the result and ..._gt.mp4 with the source, in both directions, at 5 frames per
second. `--side_by_side` puts source and methods into one film instead. Nothing needs a display.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from model.methods import METHODS, available, of_kind, title_of
from utils.choices import FILM_FORMATS
from utils.cli import CommandLine, guarded, options_first, processors
from utils.errors import InputError
from utils.files import check_writable

PROGRAM = "run.visualize_mixhand"


def parser() -> CommandLine:
    """The command line."""
    made = CommandLine(
        PROGRAM,
        "Films of test windows, without a display: what a network makes of a motion, beside its source.",
        epilog="Every option of run.train_mixhand predict works here too, for instance --data.data_path FOLDER, "
        "--data.test_characters '[HandLong0, ManoShort0]', --data.protocol intra or --data.window_size 40.",
    )
    add = made.add_argument
    add("--config", required=True, type=Path, metavar="FILE", help="configuration of the training, published ones too")
    add("--ckpt_path", required=True, metavar="FILE", help="checkpoint of the network (ASRN or DM), or best, or last")
    add("--output_dir", required=True, type=Path, metavar="FOLDER", help="where the films go")
    add("--every", type=int, default=10, metavar="N", help="of the test windows, film each N-th (default 10)")
    add("--max_windows", type=int, metavar="N", help="film at most N windows, each in both directions (2 N films, "
        "beside those of the source)")  # fmt: skip
    add("--windows", type=int, nargs="+", metavar="I", help="film these windows, by number, instead of each N-th")
    made.flag("side_by_side", "source and all methods in one film")
    add("--methods", metavar="A,B", help=f"which of {', '.join(METHODS)} (default: the network of --ckpt_path; side "
        "by side all that can be had)")  # fmt: skip
    for name, method in of_kind("network").items():
        add(f"--{name}", type=Path, metavar="FILE", help=f"checkpoint of {method.title}, to compare with")
    add(
        "--format", choices=FILM_FORMATS, default="mp4", help="mp4: H.264 for every browser (default); png: six frames"
    )
    add("--fps", type=float, default=5.0, metavar="F", help="frames per second (default 5: real time)")
    add("--size", type=int, default=384, metavar="PIXELS", help="height of one view of a hand (default 384)")
    add(
        "--jobs",
        type=int,
        default=processors(),
        metavar="N",
        help="films drawn at the same time (default: one a core)",
    )
    return made


options_first(__name__, parser)

import numpy as np
import torch
from pytorch3d.transforms import quaternion_to_matrix

from data.features.row import HandFeatures
from data.features.windows import BatchRequest, PairedWindows
from model.hands import PosedHand
from model.kinematics import finger_part
from run.drawing.clip import Clip, Track
from run.drawing.render import color_of
from run.drawing.surfaces import TOUCH_NOTE, Surfaces, hand_cells
from run.evaluation.comparison import caption, contact_pairs, window_names
from run.evaluation.line_up import LineUp
from run.evaluation.scores import DirectionScores, score
from run.evaluation.tables import DIRECTIONS
from run.training.callbacks import say
from run.training.checkpoints import display_path
from run.training.command_line import OPTIONS
from run.training.loading import LoadedRun, load_run
from run.training.trained import check_side, load_network
from utils.progress import progress
from utils.video import check_format, write_film

WINDOW = 20
GROUP = 16  # windows that are retargeted at once
RESULT, SOURCE = "#FA7F6F", "#FFFFFF"  # the published colours, for films of one hand


@dataclass(frozen=True)
class Film:
    """A film that is still to be drawn."""

    path: Path
    tracks: list[Track]
    fit: list[Track]
    """What has to find room in it; see `Clip`."""
    title: str


@dataclass(frozen=True)
class Look:
    """How films look and where they go."""

    folder: Path
    suffix: str
    fps: float
    size: int
    side_by_side: bool
    side: str
    method: str
    """That of --ckpt_path: its films have the published names."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the options and draw."""
    options, rest = parser().parse_known_args(arguments)
    check_options(options)
    run = load_run(options.config, options.ckpt_path, PROGRAM, with_window(rest))
    line_up = line_up_of(run, options)
    windows = run.datamodule.windows("test")
    chosen = choose(len(windows), options.every, options.max_windows, options.windows)
    look = Look(options.output_dir, options.format, options.fps, options.size, options.side_by_side, run.model.side,
                run.model.method)  # fmt: skip
    surfaces = Surfaces(run.datamodule.data_path, line_up.hands)
    length = windows.groups[0].length
    total = len(chosen) * films_per_window(windows, line_up, look) * length
    with progress("Drawing", total, "frames") as advance, ThreadPoolExecutor(options.jobs) as pool:
        written: list[Path] = []
        for start in range(0, len(chosen), GROUP):
            part = chosen[start : start + GROUP]
            films = make_films(line_up, windows, part, run.datamodule.batch_size, surfaces, look)
            jobs = [pool.submit(draw, film, look, advance) for film in films]
            written += [job.result() for job in as_completed(jobs)]
    if surfaces.without_mesh:
        say(f"note: drawn as bones, because {display_path(surfaces.folder.finger_data)} has no mesh of them: "
            f"{', '.join(surfaces.without_mesh)}")  # fmt: skip
    print(f"Written: {len(written)} files in {display_path(options.output_dir)}", flush=True)


def check_options(options: argparse.Namespace) -> None:
    """Raise InputError, naming the option, if a value makes no sense or the folder cannot be written to."""
    for name, least in (("every", 1), ("max_windows", 1), ("size", 64), ("jobs", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise InputError(f"--{name}: expected at least {least}, found {value}")
    if not 0.1 <= options.fps <= 240:
        raise InputError(f"--fps: expected 0.1 to 240 frames per second, found {options.fps:g}")
    check_format(options.format)
    check_writable(options.output_dir)


def with_window(words: Sequence[str]) -> list[str]:
    """Options for `predict`, with the published window length unless another one is asked for."""
    given = any(word.split("=")[0] == "--data.window_size" for word in words)
    return [*words, *([] if given else ["--data.window_size", str(WINDOW)])]


def line_up_of(run: LoadedRun, options: argparse.Namespace) -> LineUp:
    """The methods that are asked for, the network of the run among them."""
    model = run.model
    models = {key: model.hparams[key] for key in ("smplx_model_path", "mano_axis_path")}
    given = {name: path for name in of_kind("network") if (path := getattr(options, name)) is not None}
    networks = {name: load_network(path, name, **models) for name, path in given.items()}
    if model.method in networks:
        raise InputError(f"--{model.method}: --ckpt_path is one of {title_of(model.method)} already; leave this out")
    networks[model.method] = model
    check_side(networks, run.datamodule.side, run.datamodule.data_path)
    if options.methods is not None:
        names = [name.strip() for name in options.methods.split(",") if name.strip()]
    else:
        names = available(networks) if options.side_by_side else [model.method]
    return LineUp(names, networks, model.hand_models)


def choose(count: int, every: int, at_most: int | None, wanted: Sequence[int] | None) -> np.ndarray:
    """Numbers of the windows to film. Raises InputError if one of `wanted` does not exist."""
    if wanted is not None:
        strangers = [number for number in wanted if not 0 <= number < count]
        if strangers:
            raise InputError(f"--windows: expected numbers of test windows, 0 to {count - 1}, found {strangers[0]}")
        return np.array(list(dict.fromkeys(wanted)))[:at_most]
    return np.arange(0, count, every)[:at_most]


def films_per_window(windows: PairedWindows, line_up: LineUp, look: Look) -> int:
    """How many films a window makes."""
    ways = 1 if windows.groups[0].domain == windows.groups[1].domain else 2
    return ways * (1 if look.side_by_side else 1 + len(line_up.names))


@torch.no_grad()
def make_films(
    line_up: LineUp, windows: PairedWindows, chosen: np.ndarray, batch_size: int, surfaces: Surfaces, look: Look
) -> Iterator[Film]:
    """Retarget some windows and say what to draw of each, in every direction that the data offers."""
    batch = windows.batch(BatchRequest(0, chosen))
    first, second = zip((batch.first, batch.second), window_names(windows, batch), strict=True)
    within = batch.first.domain == batch.second.domain
    for source, target in [(second, first)] if within else [(second, first), (first, second)]:
        scores, posed = score(line_up, source[0], target[0], (source[1], target[1]), truth=within)
        for item, number in enumerate(chosen.tolist()):
            place = divmod(number, batch_size)
            yield from _films(item, place, scores, posed, (source[0], target[0]), line_up, surfaces, look)


def _films(
    item: int,
    place: tuple[int, int],
    scores: DirectionScores,
    posed: dict[str, PosedHand],
    hands: tuple[HandFeatures, HandFeatures],
    line_up: LineUp,
    surfaces: Surfaces,
    look: Look,
) -> Iterator[Film]:
    """The films of one window in one direction."""
    stem = f"{scores.name}{place[0]}_{place[1]}"
    title = f"{DIRECTIONS[scores.name]} {place[0]}_{place[1]}"
    touching = [contact_pairs(pairs) for pairs in scores.contacts[item]]
    names = (str(scores.source[item]), str(scores.target[item]))
    source, target = (group[item : item + 1] for group in hands)
    said = ["" if gesture.startswith("no touch") else gesture for gesture in scores.gestures()[item]]
    color = color_of("source") if look.side_by_side else SOURCE
    surface = surfaces.pose(source, names[0], finger_part(quaternion_to_matrix(source.local_rotations)))
    original = Track(hand_cells(surface, touching, said, color=color), "Source", names[0])
    results = {}
    captions, best = _captions(scores, item, line_up.names)
    for method in line_up.names:
        color = color_of(method) if look.side_by_side else RESULT
        surface = surfaces.pose(target, names[1], posed[method].local[item : item + 1])
        cells = hand_cells(surface, touching, captions[method], best[method], color)
        results[method] = Track(cells, title_of(method), names[1])
    everything = [original, *results.values()]
    if look.side_by_side:
        yield Film(_path(look, f"{stem}_side_by_side"), everything, everything, title)
        return
    for method, track in results.items():
        yield Film(_path(look, stem if method == look.method else f"{stem}_{method}"), [track], everything, title)
    yield Film(_path(look, f"{stem}_gt"), [original], everything, title)


def _path(look: Look, stem: str) -> Path:
    return look.folder / f"{stem}.{look.suffix}"


def _captions(
    scores: DirectionScores, item: int, names: list[str]
) -> tuple[dict[str, list[str]], dict[str, list[bool]]]:
    """What to write below each method's frames, and in which of them it is the best."""
    measures = [scores.methods[name].at(item) for name in names]
    similar = torch.stack([each.s_finger for each in measures])
    best = (similar == similar.amax(0)) & (len(names) > 1)
    captions = {}
    for row, name in enumerate(names):
        pairs = zip(similar[row].tolist(), measures[row].pinch.tolist(), strict=True)
        captions[name] = [caption(s, gap) for s, gap in pairs]
    return captions, {name: best[row].tolist() for row, name in enumerate(names)}


def draw(film: Film, look: Look, advance) -> Path:
    """Draw a film and write it; `advance()` is called after each frame."""
    note = TOUCH_NOTE if look.side_by_side else ""
    clip = Clip(film.tracks, look.side, look.size, title=film.title, fps=look.fps, fit=film.fit, note=note)

    def frames() -> Iterator[np.ndarray]:
        for frame in clip:
            yield frame
            advance()

    write_film(film.path, frames(), look.fps)
    return film.path


if __name__ == "__main__":
    guarded(main, OPTIONS)
