"""All methods on all test hands: `python -m run.evaluate --data_path D --asrn CKPT --dm CKPT --output_dir O`.

Writes the table of every method and both directions (results.json, results.csv, tables.md, tables.tex), broken down by
character and by gesture (breakdown.csv and the same tables), with touches of skin measured on the meshes of some
frames, and plots (figures/*.png, *.svg). On MixHand-Open that is everything that the README shows; on another data set
the characters are those of --test_characters.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model.methods import METHODS, available, of_kind
from utils.cli import CommandLine, guarded, options_first
from utils.errors import InputError
from utils.files import check_writable

PROTOCOLS = ("cross", "intra", "both")
SKIN_FRAMES = 60
LEAST = {"max_windows": 1, "skin_frames": 0, "batch_size": 1, "window_size": 2, "frame_stride": 1}


def parser() -> CommandLine:
    """The command line."""
    made = CommandLine(
        "run.evaluate",
        "Compare all methods on test hands: tables, breakdowns and plots.",
        epilog="Without a checkpoint the networks have the open weights that come with the program. Lists of "
        "characters are written as in the configurations: NAME, 'NAME*4', '(A+B)*2', Hand00..07.",
    )
    add = made.add_argument
    add("--data_path", type=Path, default=Path("artifact/MixHandOpen"), metavar="FOLDER", help="preprocessed data set")
    add("--output_dir", type=Path, default=Path("artifact/evaluation"), metavar="FOLDER", help="where the tables go")
    for name, method in of_kind("network").items():
        add(f"--{name}", type=Path, metavar="FILE", help=f"checkpoint of {method.title}")
    add("--methods", metavar="A,B", help=f"which of {', '.join(METHODS)} (default: all that can be had)")
    add("--protocol", choices=PROTOCOLS, default="cross", help="across domains (default), within Mixamo, or both")
    add("--test_characters", nargs="+", metavar="NAME", help="of both domains (default: the data set's test "
        "splits, or the published ones)")  # fmt: skip
    add("--intra_target", nargs="+", metavar="NAME", help="whose hands are posed within Mixamo")
    add("--intra_source", nargs="+", metavar="NAME", help="whose motion is copied within Mixamo")
    made.flag("is_rhand", "which hand the data must show (default: either)", default=None)
    add("--max_windows", type=int, metavar="N", help="use N windows of each protocol, evenly spread")
    add("--skin_frames", type=int, default=SKIN_FRAMES, metavar="N", help="frames of each direction whose touches and "
        f"depth are measured on the meshes of both hands; 0: none (default {SKIN_FRAMES})")  # fmt: skip
    add("--batch_size", type=int, default=64, metavar="N", help="windows at once (default 64)")
    add("--window_size", type=int, default=8, metavar="N", help="frames of a window (default 8)")
    add("--frame_stride", type=int, default=12, metavar="N", help="of Mixamo motion, use each N-th frame (default 12)")
    add("--smplx_path", type=Path, metavar="FOLDER", help="MANO model (default: FOLDER/models of the data set, or "
        "artifact/smplx/models)")  # fmt: skip
    add("--mano_axis_path", type=Path, metavar="FILE", help="MANO axes (default: finger_data of the data set)")
    return made


options_first(__name__, parser)

import numpy as np
import torch

from data.dataset import MixHandFolder
from data.features.windows import BatchRequest, PairedWindows
from data.mixhand import MixHandDataModule
from data.splits import (
    INTRA_SOURCE,
    INTRA_TARGET,
    SPLITS,
    TEST_CHARACTERS,
    TITLES,
    each_with_the_others,
    read_sides,
    read_splits,
)
from model.batch import HandModels
from run.evaluation.comparison import window_names
from run.evaluation.line_up import LineUp
from run.evaluation.report import print_tables, results_of, write_report
from run.evaluation.scores import gestures_of, score
from run.evaluation.skin import Skins, SkinTally
from run.evaluation.tally import Tally, rare_touches
from run.evaluation.touching import Fleshed
from run.training.checkpoints import display_path
from run.training.open_weights import all_open_weights
from run.training.trained import check_side, load_network
from utils.progress import progress


@dataclass(frozen=True)
class Group:
    """Test hands that are reported together: across domains, and within Mixamo (targets, sources)."""

    title: str
    cross: list[str]
    intra: tuple[list[str], list[str]]


@dataclass(frozen=True)
class Settings:
    """How windows are cut and how many are used.

    protocol: "cross", "intra" or "both"; max_windows: of each protocol, evenly spread; None: all. skin_frames: of each
    direction, one a window, whose touches are measured on meshes.
    """

    protocol: str = "cross"
    batch_size: int = 64
    window_size: int = 8
    frame_stride: int = 12
    max_windows: int | None = None
    skin_frames: int = 0
    protocols: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "protocols", ("cross", "intra") if self.protocol == "both" else (self.protocol,))


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the options, evaluate, write."""
    options = parser().parse_args(arguments)
    for name, least in LEAST.items():
        if getattr(options, name) is not None and getattr(options, name) < least:
            raise InputError(f"--{name}: expected at least {least}, found {getattr(options, name)}")
    check_writable(options.output_dir)
    settings = Settings(
        options.protocol, options.batch_size, options.window_size, options.frame_stride, options.max_windows,
        options.skin_frames,
    )  # fmt: skip
    groups = groups_for(options)
    paths = model_paths(options)
    files = {name: file for name in of_kind("network") if (file := getattr(options, name))} or all_open_weights()
    networks = {name: load_network(file, name, **paths) for name, file in files.items()}
    hands = HandModels(**paths, side=side_of(options, groups, settings, networks))
    line_up = LineUp(
        options.methods.split(",") if options.methods is not None else available(networks),
        networks,
        hands,
        Fleshed(MixHandFolder(options.data_path), hands),
    )
    results = evaluate(line_up, options.data_path, groups, settings)
    results["checkpoints"] = {name: display_path(file) for name, file in files.items()}
    titles = {key: group.title for key, group in groups.items()}
    written = write_report(options.output_dir, results, titles)
    print_tables(results, titles)
    print(f"Written: {len(written)} files in {display_path(options.output_dir)}; read tables.md first", flush=True)


def model_paths(options: argparse.Namespace) -> dict[str, str]:
    """Where MANO's model and axes are."""
    folder = MixHandFolder(options.data_path)
    model, axes = folder.mano_model(options.smplx_path), options.mano_axis_path or folder.mano_axes
    return {"smplx_model_path": str(model), "mano_axis_path": str(axes)}


def groups_for(options: argparse.Namespace) -> dict[str, Group]:
    """The groups of test hands by their key in results.json: those asked for, or the data set's own test splits."""
    own = options.test_characters or options.intra_target or options.intra_source
    if own or not MixHandFolder(options.data_path).splits.is_file():
        target = options.intra_target or INTRA_TARGET
        source = options.intra_source or INTRA_SOURCE
        return {"methods": Group("Test hands", options.test_characters or TEST_CHARACTERS, (target, source))}
    return open_groups(options.data_path)


def open_groups(data: Path) -> dict[str, Group]:
    """The test hands of MixHand-Open, outside and inside the range of the training hands; everyone with everyone."""
    lists, sides = read_splits(data), read_sides(data)
    return {
        key: Group(TITLES[key], lists[split], each_with_the_others(sides[split]["mixamo"]))
        for key, split in SPLITS.items()
    }


def module_of(data_path: Path, group: Group, protocol: str, settings: Settings) -> MixHandDataModule:
    """The data of a group."""
    return MixHandDataModule(
        str(data_path),
        window_size=settings.window_size,
        batch_size=settings.batch_size,
        frame_stride=settings.frame_stride,
        num_workers=0,
        test_characters=group.cross,
        protocol=protocol,
        intra_target=group.intra[0],
        intra_source=group.intra[1],
    )


def side_of(
    options: argparse.Namespace, groups: Mapping[str, Group], settings: Settings, networks: Mapping[str, Any]
) -> str:
    """The side of the hands in the data. Raises InputError if --is_rhand or a checkpoint asks for the other one."""
    side = (
        module_of(options.data_path, next(iter(groups.values())), settings.protocols[0], settings).windows("test").side
    )
    if options.is_rhand is not None and options.is_rhand != (side == "right"):
        raise InputError(f"--is_rhand {str(options.is_rhand).lower()}: {options.data_path} has features of the {side} "
                         "hand; preprocess it for the other one")  # fmt: skip
    check_side(networks, side, options.data_path)
    return side


def evaluate(line_up: LineUp, data_path: Path, groups: Mapping[str, Group], settings: Settings) -> dict[str, Any]:
    """Everything that results.json holds: `run.evaluation.report.results_of` for each group, keys with its suffix.

    Raises InputError if characters or files are missing or do not fit.
    """
    work = []
    for key, group in groups.items():
        for protocol in settings.protocols:
            windows = module_of(data_path, group, protocol, settings).windows("test")
            work.append((key, windows, chosen_windows(len(windows), settings.max_windows)))
    tallies: dict[str, list[Tally]] = {key: [] for key in groups}
    skins = Skins(MixHandFolder(data_path), line_up.hands)
    touches: dict[str, dict[str, dict[str, Any]]] = {key: {} for key in groups}
    with progress("Comparing", sum(len(chosen) for _, _, chosen in work), "windows") as advance:
        for key, windows, chosen in work:
            looked = chosen[chosen_windows(len(chosen), settings.skin_frames)]
            found, skin = score_windows(line_up, windows, chosen, settings.batch_size, advance, skins, looked)
            tallies[key] += found
            touches[key] |= {name: figures for name, tally in skin.items() if (figures := tally.figures())}
    results: dict[str, Any] = {}
    for key, group in groups.items():
        found = results_of(tallies[key])
        if touches[key]:
            found["skin"] = touches[key]
        found["test_characters"] = group.cross if "cross" in settings.protocols else None
        found["intra"] = list(group.intra) if "intra" in settings.protocols else None
        suffix = key.removeprefix("methods")
        results.update({f"{name}{suffix}": value for name, value in found.items()})
    # The order of a reader's interest, and of the demo: figures first.
    first = [key for key in results if key.startswith("methods")]
    return {**{key: results[key] for key in first}, **{k: v for k, v in results.items() if k not in first}}


def chosen_windows(count: int, at_most: int | None) -> np.ndarray:
    """Numbers of the windows to use, evenly spread."""
    if at_most is None or at_most >= count:
        return np.arange(count)
    return np.linspace(0, count - 1, at_most).round().astype(int)


@torch.no_grad()
def score_windows(
    line_up: LineUp,
    windows: PairedWindows,
    chosen: np.ndarray,
    batch_size: int,
    advance: Callable[..., None],
    skins: Skins,
    looked: np.ndarray,
) -> tuple[list[Tally], dict[str, SkinTally]]:
    """What some windows come to in every direction they offer, and touches of skin in those `looked` at, by direction;
    `advance(n)` is called after each batch of n."""
    within = windows.groups[0].domain == windows.groups[1].domain
    ways = [(1, 0)] if within else [(1, 0), (0, 1)]  # places of source and target in a pair
    parts = [chosen[start : start + batch_size] for start in range(0, len(chosen), batch_size)]
    # Which touches are rare is asked first, so that no window has to be kept until that is known.
    gestures: dict[tuple[int, int], Counter[str]] = {way: Counter() for way in ways}
    for part in parts:
        batch = windows.batch(BatchRequest(0, part))
        pair = (batch.first, batch.second)
        for source, target in ways:
            gestures[source, target].update(gestures_of(pair[source], pair[target]).flatten().tolist())
    tallies: dict[tuple[int, int], Tally] = {}
    touches: dict[str, SkinTally] = {}
    for part in parts:
        batch = windows.batch(BatchRequest(0, part))
        pair, names = (batch.first, batch.second), window_names(windows, batch)
        for way in ways:
            source, target = way
            of_both = (names[source], names[target])
            found, posed = score(line_up, pair[source], pair[target], of_both, truth=within)
            if way not in tallies:
                tallies[way] = Tally(found.name, line_up.names, rare_touches(gestures[way]))
            tallies[way].add(found)
            some = np.isin(part, looked)
            if some.any():
                tally = touches.setdefault(found.name, SkinTally(skins, line_up.names))
                tally.add(pair[source], pair[target], of_both, part, posed, some)
        advance(len(batch.index))
    return list(tallies.values()), touches


if __name__ == "__main__":
    guarded(main)
