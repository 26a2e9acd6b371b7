"""Mesh, skinning weights and rest joints of a character as <name>_mesh_data.npz.

    blender -b -P blender_scripts/fbx2mesh.py -- --input XBot.fbx --output XBot_mesh_data.npz
    python blender_scripts/fbx2mesh.py -- --input folder --output folder      (a Python with the bpy wheel)

Reads .fbx, .gltf, .glb and .vrm; all meshes that the armature moves become one. Lengths are centimetres, y is up, the
character faces +z.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from importing import InputError, Scene, arguments, convert_all, files_of, guarded  # noqa: E402

from data.formats.skeleton import MESH_END, centred, size_warning, write_mesh  # noqa: E402


def main() -> None:
    """Parse the command line and convert."""
    parser = argparse.ArgumentParser(
        prog="fbx2mesh.py --", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--input", type=Path, required=True, help="a character, or a folder of them")
    parser.add_argument("--output", type=Path, required=True, help="the .npz to write, or a folder")
    parser.add_argument(
        "--adjust_bone",
        action="store_true",
        help="move each joint, at right angles to its bone, into the middle of the skin that bends there: for rigs "
        "whose joints lie at the surface. Bones keep their directions at rest as the file has them",
    )
    parser.add_argument(
        "--armature", help="which armature to take where a file has several; default: the one with skin"
    )
    parser.add_argument("--force", action="store_true", help="of a folder, convert what is up to date too")
    options = parser.parse_args(arguments())

    def convert(source: Path, target: Path) -> str:
        scene = Scene(source, options.armature)
        if scene.skin is None or not len(scene.skin.faces):
            raise InputError(f"{source}: expected a mesh with skin, found none; export the skin too")
        skeleton = centred(scene.skeleton, scene.skin) if options.adjust_bone else scene.skeleton
        target = target if target.suffix == ".npz" else target.with_name(target.name + ".npz")
        write_mesh(target, skeleton, scene.skin)
        said = [f"{len(scene.skin.vertices)} vertices, {len(skeleton.names)} bones"] + scene.notes
        return "; ".join(said + [text for text in [size_warning(skeleton, scene.skin)] if text])

    convert_all(files_of(options.input, options.output, MESH_END), convert, options.force)


if __name__ == "__main__":
    guarded(main)
