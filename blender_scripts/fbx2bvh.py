"""The animation of a character as BVH.

    blender -b -P blender_scripts/fbx2bvh.py -- --input_fbx XBot.fbx --output_bvh XBot.bvh
    python blender_scripts/fbx2bvh.py -- --input_fbx folder --output_bvh folder      (a Python with the bpy wheel)

Reads .fbx, .gltf, .glb and .vrm, with skin or without. Every joint of the armature gets the rotation relative to the
rest pose, roots their position too; lengths are centimetres, y is up, the character faces +z.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from importing import InputError, Scene, arguments, convert_all, files_of, guarded  # noqa: E402

from data.formats.bvh import write_bvh  # noqa: E402
from data.formats.skeleton import file_name  # noqa: E402


def main() -> None:
    """Parse the command line and convert."""
    parser = argparse.ArgumentParser(
        prog="fbx2bvh.py --", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input_fbx", type=Path, required=True, help="a file, or a folder of them")
    parser.add_argument("--output_bvh", type=Path, required=True, help="the .bvh to write, or a folder")
    parser.add_argument("--fps", type=float, help="frames a second; default: the rate of the FBX file, 60 for glTF")
    parser.add_argument("--animation", help="which animation to take where a file has several; a folder gets them all")
    parser.add_argument(
        "--armature", help="which armature to take where a file has several; default: the one with skin"
    )
    parser.add_argument("--force", action="store_true", help="of a folder, convert what is up to date too")
    options = parser.parse_args(arguments())
    if options.fps is not None and not 0 < options.fps <= 1000:
        raise InputError(f"--fps: expected a number of frames a second up to 1000, found {options.fps}")
    into_folder = options.input_fbx.is_dir() or options.output_bvh.is_dir()

    def convert(source: Path, target: Path) -> str:
        scene = Scene(source, options.armature)
        chosen = [n for n, name in enumerate(scene.clips) if options.animation in (None, name)]
        if not chosen:
            wish = "an animation" if options.animation is None else f"an animation named {options.animation}"
            raise InputError(f"{source}: expected {wish}, found {', '.join(scene.clips) or 'none'}; export one")
        if len(chosen) > 1 and not into_folder:
            raise InputError(
                f"{source}: expected one animation, found {', '.join(scene.clips)}; "
                f"name one with --animation or give a folder to --output_bvh"
            )
        said = []
        for number in chosen:
            bvh = scene.motion(number, options.fps)
            path = target
            if number != chosen[0]:  # the first has the plain name, by which a finished file is known
                path = target.with_name(f"{target.stem}_{file_name(scene.clips[number])}{target.suffix}")
            write_bvh(path, bvh)
            said.append(f"{len(bvh.values)} frames, {1 / bvh.frame_time:g} a second")
        return "; ".join(said + scene.notes)

    convert_all(files_of(options.input_fbx, options.output_bvh, ".bvh"), convert, options.force)


if __name__ == "__main__":
    guarded(main)
