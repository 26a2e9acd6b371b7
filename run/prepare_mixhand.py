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

from data.dataset import MixHandFolder
from data.formats.bvh import read_skeleton
from data.formats.skeleton import file_name
from run.calculate_mixamo_axis import calculate
from run.convert_character import convert
from run.preprocess_mixhand import preprocess
from utils.cli import guarded
from utils.errors import InputError
from utils.files import atomic_write, check_writable

BVH = ".bvh"


def argument_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m run.prepare_mixhand",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="A character and its motions from separate files:\n"
        "  python -m run.prepare_mixhand XBot.fbx motions/*.fbx more/*.bvh --character XBot --output_dir data",
    )
    add = parser.add_argument
    add("inputs", nargs="+", type=Path, metavar="INPUT", help=".fbx, .gltf, .glb, .vrm, .bvh; folders of all but BVH")
    add("--output_dir", type=Path, required=True, metavar="DIR", help="folder of the data set")
    add("--character", metavar="NAME", help="all inputs belong to this character; default: each its own")
    add("--smplx_path", metavar="PATH", help="MANO model, if the folder holds motions of MANO")
    add(
        "--is_rhand",
        choices=("true", "false"),
        default="true",
        help="the right hand (default), or the left",
    )
    add("--rig_map", metavar="FILE", help="YAML file that names the joints of hands whose bones are not recognised")
    add("--blender", metavar="PATH", help="Blender, or a Python with bpy, for FBX; default: found by itself")
    add("--jobs", type=int, default=1, metavar="N", help="files or characters worked on side by side")
    return parser


def prepare(options: Sequence[str] | None = None) -> None:
    """Convert, find axes, preprocess.

    Raises:
        InputError: something could not be used, after everything else was done.
    """
    config = argument_parser().parse_args(options)
    check_writable(config.output_dir)
    rig = [] if config.rig_map is None else ["--rig_map", config.rig_map]
    jobs = ["--jobs", str(config.jobs)]
    motions = [path for path in config.inputs if path.suffix.lower() == BVH]
    files = [str(path) for path in config.inputs if path not in motions]
    problems: list[str] = []

    def step(title: str, work: Callable[[Sequence[str]], None], words: Sequence[str]) -> None:
        print(title, flush=True)
        try:
            work(words)
        except InputError as error:
            problems.append(str(error))

    if motions:
        step("Motions", lambda _: _take(motions, config), ())
    if files:
        named = ["--character", config.character] if config.character else []
        blender = ["--blender", config.blender] if config.blender else []
        step("Meshes and motions", convert, [*files, "--output_dir", str(config.output_dir), *named, *blender, *jobs])
    folder = MixHandFolder(config.output_dir)
    if folder.meshes():
        step("Axes", calculate, ["--mesh_data", str(folder.finger_data), "--motion", str(config.output_dir), *rig])
    if config.output_dir.is_dir():
        models = ["--smplx_path", config.smplx_path] if config.smplx_path else []
        words = ["--data_path", str(config.output_dir), "--is_rhand", config.is_rhand, *models, *rig, *jobs]
        step("Features", preprocess, words)
    if problems:
        raise InputError("; ".join(problems))


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
