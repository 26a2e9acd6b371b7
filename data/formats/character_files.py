"""From a character in memory to its files: what both ways of conversion (Blender, glTF without it) have in common.

Like `data.formats.skeleton` this is used inside Blender and keeps to Python 3.7 and NumPy.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from data.formats.bvh import write_bvh
from data.formats.fbx_check import check_fbx
from data.formats.skeleton import centred, file_name, size_warning, write_mesh
from utils.errors import InputError

GLTF_SUFFIXES = (".gltf", ".glb", ".vrm")
SUFFIXES = (".fbx",) + GLTF_SUFFIXES
GLTF_FPS = 60.0
"""glTF holds seconds, not frames: its motions are sampled this often where no rate is asked for."""
MAX_POSES = 2500000
"""Frames times bones that a motion may have: 10 minutes at 60 frames per second of 69 bones."""
_STILL_SECONDS, _STILL_DEGREES = 0.1, 1e-3
"""An animation shorter and steadier than this is an exporter's way to say that there is none."""


@dataclass
class Request:
    """What is to be made of one file."""

    source: str
    """The file."""
    mesh: str
    """The mesh file to write, if the character has a skin."""
    folder: str
    """The folder for its motions, one .bvh each."""
    clip: str
    """Name of the motion if there is only one; of several, each goes by its own name."""
    prefix: str = ""
    """Put before the names of several motions."""
    fps: float | None = None
    """Frames a second; None: the file's own rate."""
    armature: str | None = None
    """Which armature to take; None: the one with skin."""
    adjust_bone: bool = False
    """Move joints into the middle of the skin (`data.formats.skeleton.centred`)."""


@dataclass
class Result:
    """What was made of one file."""

    source: str
    mesh: str | None = None
    vertices: int = 0
    bones: int = 0
    clips: list = field(default_factory=list)
    """Files written."""
    frames: int = 0
    notes: list = field(default_factory=list)
    """What was left out and why, one sentence each."""
    error: str | None = None
    """Why nothing was made; None: all went well."""

    def as_dict(self) -> dict:
        """For JSON."""
        return asdict(self)


def write_character(source, request: Request) -> Result:
    """Write the mesh file and the motions of a character.

    Args:
        source: has ``skeleton``, ``skin`` (or None), ``clips`` (names), ``notes`` and ``motion(number, fps)``:
            `data.character.gltf.GltfCharacter`, or the scene of `blender_scripts/importing.py`.
        request: where to, and how.

    Raises:
        InputError: the character has neither skin nor motion, or its numbers are not finite.
    """
    result = Result(request.source, bones=len(source.skeleton.names))
    if source.skin is not None and len(source.skin.faces):
        skeleton = centred(source.skeleton, source.skin) if request.adjust_bone else source.skeleton
        write_mesh(request.mesh, skeleton, source.skin)
        result.mesh, result.vertices = request.mesh, len(source.skin.vertices)
    else:
        result.notes.append("it has no skin: no mesh file")
    names = _clip_names(source.clips, request)
    for number, name in enumerate(names):
        bvh = source.motion(number, request.fps)
        seconds = (len(bvh.values) - 1) * bvh.frame_time
        if seconds < _STILL_SECONDS and np.ptp(bvh.values, axis=0).max() < _STILL_DEGREES:
            result.notes.append(f"animation {source.clips[number]} holds still: no motion file")
            continue
        path = Path(request.folder) / (name + ".bvh")
        write_bvh(path, bvh)
        result.clips.append(str(path))
        result.frames += len(bvh.values)
    if not names:
        result.notes.append("it has no animation")
    if result.mesh is None and not result.clips:
        raise InputError(f"{request.source}: expected a skin or a motion, found neither; export one of them")
    warning = size_warning(source.skeleton, source.skin)
    result.notes = list(source.notes) + result.notes + ([warning] if warning else [])
    return result


def _clip_names(clips, request: Request) -> list:
    """Different file names, also where upper and lower case are the same."""
    if len(clips) == 1:
        return [request.clip]
    taken, names = set(), []
    for clip in clips:
        plain = request.prefix + file_name(clip)
        name, number = plain, 1
        while name.lower() in taken:
            number += 1
            name = f"{plain}_{number}"
        taken.add(name.lower())
        names.append(name)
    return names


def frame_count(seconds: float, fps: float, n_bones: int, clip: str) -> int:
    """Frames from the first to the last key, both included.

    Raises:
        InputError: so many that they would not fit into memory.
    """
    frames = seconds * fps
    if not 0 <= frames * n_bones < MAX_POSES:
        raise InputError(
            f"animation {clip}: expected at most {MAX_POSES // max(1, n_bones)} frames, found {frames:.3g}; "
            f"give a lower `fps` or cut it"
        )
    return int(frames + 1e-3) + 1


def check_kind(path: str | os.PathLike) -> None:
    """Refuse what cannot be read, in one clear sentence, before anything is started for it.

    Raises:
        InputError: no file, an unknown suffix, or an FBX file that is ASCII or damaged (`data.formats.fbx_check`).
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"{path}: expected a file, found {'a folder' if path.is_dir() else 'nothing'}; check the path"
        )
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: expected .fbx, .gltf, .glb or .vrm, found {path.suffix or 'no suffix'}")
    if path.suffix.lower() == ".fbx":
        check_fbx(path)


def up_to_date(source: str | os.PathLike, target: str | os.PathLike) -> bool:
    """The target exists and is not older than its source."""
    target = Path(target)
    return target.is_file() and target.stat().st_mtime >= Path(source).stat().st_mtime
