"""Which joints were recognised in files, as text: a start for a rig map of one's own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from data.character.fbx import converted_fbx
from data.character.gltf import read_gltf_character
from data.character.mesh_file import read_mesh
from data.formats.bvh import Bvh, read_bvh, read_skeleton
from data.formats.gltf import SUFFIXES as GLTF_SUFFIXES
from data.formats.skeleton import Skeleton, bvh_skeleton
from data.rig import RigMap, print_map
from utils.errors import InputError

RIGS = (".bvh", ".fbx", *GLTF_SUFFIXES, ".npz")
"""Files that have a rig: motions, characters, mesh files."""


def recognised(paths: Iterable[str | Path], blender: str | None = None) -> str:
    """Rig maps of files as they were recognised, one after the other, as text; maps that are equal are
    written once, with the names of all their files.

    Args:
        paths: of the kinds `RIGS`.
        blender: for FBX, as of `data.character.fbx.converted_fbx`.

    Raises:
        InputError: a file cannot be read.
    """
    files: dict[str, list[str]] = {}
    for path in map(Path, paths):
        skeleton, table = _skeleton(path, blender)
        text = print_map(skeleton.names, skeleton.parents, str(path), skeleton.heads, table)
        text = "\n".join(line for line in text.split("\n") if str(path) not in line)  # it stands in the head
        files.setdefault(text, []).append(str(path))
    heads = ("".join(f"# {name}\n" for name in ascii_lines(members)) for members in files.values())
    return "\n---\n".join(head + text for head, text in zip(heads, files, strict=True))


def _skeleton(path: Path, blender: str | None) -> tuple[Skeleton, RigMap | None]:
    """The rig of a file, and which joints its own table says are the hands."""
    kind = path.suffix.lower()
    if kind in GLTF_SUFFIXES:
        character = read_gltf_character(path, with_skin=False)
        return character.skeleton, character.hands
    if kind == ".fbx":
        made = converted_fbx(path, None, blender)
        return _skeleton(made.mesh or made.clips[0], blender)
    if kind == ".bvh":
        return bvh_skeleton(_with_lengths(path)), None
    if kind != ".npz":
        raise InputError(f"{path}: expected a file with a rig ({', '.join(RIGS)}), found {kind or 'no suffix'}")
    return read_mesh(path)[0], None


def _with_lengths(path: Path) -> Bvh:
    """The skeleton of a BVH, which may need the motion to tell how long its bones are."""
    bvh = read_skeleton(path)
    return bvh if np.abs(bvh.offsets[bvh.parents >= 0]).max(initial=0) > 0 else read_bvh(path)


def ascii_lines(names: Iterable[str]) -> list[str]:
    """Names that fit on a line of text each."""
    return [name if name.isprintable() else ascii(name) for name in names]
