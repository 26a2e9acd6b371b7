"""FBX characters and motions, by way of Blender: converted once, in a temporary folder, then read as our files."""

from __future__ import annotations

import atexit
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from data.blender import ADVICE, BlenderWorker, find_blender
from data.formats.character_files import Request, check_kind
from data.formats.skeleton import MESH_END
from utils.errors import InputError

_SECONDS, _MEMORY_GB = 600.0, 8.0


@dataclass(frozen=True)
class Converted:
    """What an FBX file holds."""

    mesh: Path | None
    clips: tuple[Path, ...]


class _Converter:
    """One Blender and one folder for the whole run."""

    def __init__(self, blender: str | None) -> None:
        command = find_blender(blender)
        if command is None:
            raise InputError(ADVICE)
        self.folder = tempfile.TemporaryDirectory(prefix="s2h_fbx_")
        self.worker = BlenderWorker(command, _SECONDS, _MEMORY_GB)
        self.count = 0
        atexit.register(self.close)

    def close(self) -> None:
        self.worker.stop()
        self.folder.cleanup()

    def convert(self, path: Path, fps: float | None) -> Converted:
        self.count += 1
        folder = Path(self.folder.name) / str(self.count)
        mesh = folder / f"{path.stem}{MESH_END}"
        result = self.worker.convert(Request(str(path.resolve()), str(mesh), str(folder), path.stem, "", fps))
        if result.error is not None:
            raise InputError(result.error)
        return Converted(None if result.mesh is None else mesh, tuple(Path(clip) for clip in result.clips))


@cache
def _converter(blender: str | None) -> _Converter:
    return _Converter(blender)


@cache
def converted_fbx(path: Path, fps: float | None = None, blender: str | None = None) -> Converted:
    """The mesh file and the motions of an FBX file, in a temporary folder that lasts as long as this process.

    Args:
        path: a binary FBX file.
        fps: frames a second of its motions; None: the file's own rate.
        blender: Blender, or a Python with bpy; None: found by itself.

    Raises:
        InputError: there is no Blender, or it cannot read the file.
    """
    check_kind(path)
    return _converter(blender).convert(path, fps)
