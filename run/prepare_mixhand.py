"""From files to features in one command: `python -m run.prepare_mixhand XBot.fbx --output_dir artifact/MixHand`.

Does one after the other what run.convert_character (FBX, glTF, GLB, VRM to meshes and motions),
run.calculate_mixamo_axis (anatomical axes, without a human) and run.preprocess_mixhand (features) do; motions may also
be given as BVH. What is there already is kept. A file or character that cannot be used is reported with the reason,
and the others go on.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from utils.cli import CommandLine, guarded, options_first
from utils.errors import InputError
from utils.files import atomic_write, check_writable


def argument_parser() -> CommandLine:
    """The options."""
    parser = CommandLine(
        "run.prepare_mixhand",
        __doc__,
        epilog="A character and its motions from separate files:\n"
        "  python -m run.prepare_mixhand XBot.fbx motions/*.fbx more/*.bvh --character XBot --output_dir data",
    )
    add = parser.add_argument
    add("inputs", nargs="+", type=Path, metavar="INPUT", help=".fbx, .gltf, .glb, .vrm, .bvh; folders of all but BVH")
    add("--output_dir", type=Path, required=True, metavar="DIR", help="folder of the data set")
    add("--character", metavar="NAME", help="all inputs belong to this character; default: each its own")
    add("--smplx_path", metavar="PATH", help="MANO model, if the folder holds motions of MANO")
    parser.flag("is_rhand", "the right hand (default); false: the left", default=True)
    parser.flag("resample", "bring clips to the rate that windows assume (default); false: keep theirs", default=True)
    add("--rig_map", metavar="FILE", help="YAML file that names the joints of hands whose bones are not recognised")
    parser.flag("print_map", "print what is recognised as a rig map, the start of one's own for --rig_map, and stop")
    add("--blender", metavar="PATH", help="Blender, or a Python with bpy, for FBX; default: found by itself")
    add("--jobs", type=int, default=1, metavar="N", help="files or characters worked on side by side")
    return parser


options_first(__name__, argument_parser)

from data.character.recognised import RIGS, recognised
from data.dataset import MixHandFolder
from data.formats.bvh import read_skeleton
from data.formats.skeleton import file_name
from data.preparation.conversion import Settings
from data.preparation.preprocess import Preprocessor
from data.rig import read_rig_map
from run.calculate_mixamo_axis import Job, find_all
from run.convert_character import Blenders, convert_files
from run.preprocess_mixhand import preprocess_all

BVH = ".bvh"


def prepare(options: Sequence[str] | None = None) -> None:
    """Convert, find axes, preprocess.

    Raises:
        InputError: something could not be used, after everything else was done.
    """
    config = argument_parser().parse_args(options)
    if config.print_map:
        print(recognised([path for each in config.inputs for path in _with_rigs(each)], config.blender))
        return
    check_writable(config.output_dir)
    rig_map = None if config.rig_map is None else read_rig_map(config.rig_map)
    motions = [path for path in config.inputs if path.suffix.lower() == BVH]
    files = [path for path in config.inputs if path not in motions]
    folder = MixHandFolder(config.output_dir)
    problems: list[str] = []

    def step(title: str, work: Callable[..., None], *arguments: Any) -> None:
        print(title, flush=True)
        try:
            work(*arguments)
        except InputError as error:
            problems.append(str(error))

    if motions:
        step("Motions", _take, motions, config)
    if files:
        blenders = Blenders(config.blender, config.jobs)
        step("Meshes and motions", convert_files, files, folder.path, Settings(config.character), blenders)
    if meshes := list(folder.meshes().values()):
        step("Axes", find_all, meshes, Job(motion=[str(folder.path)], rig_map=rig_map))
    if folder.path.is_dir():
        side = "right" if config.is_rhand else "left"
        model = folder.mano_model(config.smplx_path)
        worker = Preprocessor(folder.path, model, side, rig_map=rig_map, resample=config.resample)
        step("Features", preprocess_all, worker, None, config.jobs)
    if problems:
        raise InputError("; ".join(problems))


def _with_rigs(path: Path) -> list[Path]:
    """A file, or those of a folder that have a rig."""
    return sorted(each for each in path.iterdir() if each.suffix.lower() in RIGS) if path.is_dir() else [path]


def _take(motions: Sequence[Path], config: argparse.Namespace) -> None:
    """Copy BVH files into the folders of their characters.

    Raises:
        InputError: some are no BVH files, after the others were copied.
    """
    problems = []
    for path in motions:
        try:
            read_skeleton(path)
        except InputError as error:
            problems.append(str(error))
            continue
        goal = config.output_dir / file_name(config.character or path.stem) / f"{file_name(path.stem)}{BVH}"
        if not (goal.is_file() and goal.read_bytes() == path.read_bytes()):
            with atomic_write(goal) as temporary:
                shutil.copyfile(path, temporary)
    if problems:
        raise InputError("; ".join(problems))


if __name__ == "__main__":
    guarded(prepare)
