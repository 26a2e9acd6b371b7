"""Which joints were recognised in files, as text: a start for a rig map of one's own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from data.character.mesh_file import read_mesh
from data.formats.bvh import read_bvh
from data.rig import print_map


def recognised(paths: Iterable[str | Path]) -> str:
    """Rig maps of BVH and mesh files as they were recognised, one after the other, as text; maps that are equal are
    written once, with the names of all their files.

    Raises:
        InputError: a file cannot be read.
    """
    files: dict[str, list[str]] = {}
    for path in map(Path, paths):
        if path.suffix.lower() == ".bvh":
            motion = read_bvh(path)
            names, parents = motion.joint_names, motion.parents
        else:
            skeleton, _ = read_mesh(path)
            names, parents = skeleton.names, skeleton.parents
        files.setdefault(print_map(names, parents), []).append(str(path))
    heads = ("".join(f"# {name}\n" for name in ascii_lines(members)) for members in files.values())
    return "\n---\n".join(head + text for head, text in zip(heads, files, strict=True))


def ascii_lines(names: Iterable[str]) -> list[str]:
    """Names that fit on a line of text each."""
    return [name if name.isprintable() else ascii(name) for name in names]
