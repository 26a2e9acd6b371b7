"""Axes files: what the published tools write and read (mathematics §5), written complete or not at all."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from data.dataset import AXES_ENDINGS, character_of, meshes_in
from data.formats.skeleton import MESH_END
from model.topology import N_FINGERS, SIDES
from utils.errors import InputError
from utils.files import atomic_write
from utils.safe_read import read_pickle

_TOLERANCE = 1e-3
"""Axes stored in single precision are orthonormal to 1e-6; more than this means another convention or damage."""


def write_axes(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
    """Write axes under their published keys as a pickle of plain arrays, or as ``.npz`` if the name says so.

    Args:
        arrays: ``rhand`` and/or ``lhand``, (5, 4, 3, 3) of a character or (5, 3, 3) of MANO, rows twist, bend, splay;
            of MANO also ``{r,l}hand_bend_bary`` and ``{r,l}hand_bend_index_tri``.

    Raises:
        InputError: the path cannot be written to, or has another ending than ``.pkl`` or ``.npz``.
    """
    path = Path(path)
    if path.suffix not in (".pkl", ".npz"):
        raise InputError(f"{path}: expected a name that ends with .pkl or .npz, found {path.name!r}; correct `output`")
    with atomic_write(path) as temporary:
        if path.suffix == ".npz":
            np.savez(temporary, allow_pickle=False, **arrays)
        else:
            with temporary.open("wb") as file:
                pickle.dump({key: np.ascontiguousarray(value) for key, value in arrays.items()}, file, protocol=4)


def read_finger_axes(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read an axes file, ``.pkl`` or ``.npz``: keys ``rhand`` and/or ``lhand``, (5,4,3,3) or (5,3,3).

    Returns:
        ``"right"`` and/or ``"left"`` → (5, 4, 3, 3) float64, rows twist, bend, splay; (5,3,3) is repeated
        over the four joints of each finger.

    Raises:
        InputError: the file is missing or damaged, has neither key, or its axes are not right-handed
            orthonormal frames.
    """
    content = read_pickle(path)
    keys = {side: f"{side[0]}hand" for side in SIDES}
    if not isinstance(content, Mapping) or not any(key in content for key in keys.values()):
        found = f"keys {', '.join(map(str, content))}" if isinstance(content, Mapping) else type(content).__name__
        raise InputError(f"{path}: expected axes under the keys rhand and lhand, found {found}; make the file again")
    axes = {}
    for side, key in keys.items():
        if key in content:
            axes[side] = _checked_axes(f"{path}: {key}", content[key])
    return axes


def _checked_axes(where: str, value: object) -> np.ndarray:
    axes = np.asarray(value)
    if axes.dtype.kind not in "fiu" or axes.shape not in ((5, 4, 3, 3), (5, 3, 3)):
        found = f"{axes.dtype} of shape {axes.shape}"
        raise InputError(f"{where}: expected numbers of shape (5, 4, 3, 3) or (5, 3, 3), found {found}")
    axes = axes.astype(np.float64)
    if axes.ndim == 3:
        axes = np.repeat(axes[:, None], 4, axis=1)
    if not np.isfinite(axes).all():
        raise InputError(f"{where}: expected finite numbers, found NaN or infinity; make the axes again")
    bounded = np.clip(axes, -2, 2)  # as far off, and their products are finite
    error = np.abs(bounded @ np.swapaxes(bounded, -1, -2) - np.eye(3)).max(axis=(-1, -2))
    finger, joint = np.unravel_index(error.argmax(), error.shape)
    if error.max() > _TOLERANCE:
        raise InputError(
            f"{where}: expected rows (twist, bend, splay) of length 1 at right angles, found finger {finger} "
            f"joint {joint} off by {error.max():.2g}; make the axes again"
        )
    if (np.linalg.det(axes) < 0).any():
        raise InputError(f"{where}: expected bend = splay × twist, found the opposite sign; make the axes again")
    return axes


def hand_key(side: str) -> str:
    """``"rhand"`` or ``"lhand"``."""
    return f"{side[0]}hand"


def read_preset(path: str | os.PathLike, side: str) -> np.ndarray | None:
    """Axes ``(5, 4, 3, 3)`` of one side from an earlier file, a character's or MANO's; None if it has the other only.

    Raises:
        InputError: the file is missing, damaged or no axes file.
    """
    axes = read_finger_axes(path).get(side)
    return None if axes is None else axes.reshape(N_FINGERS, 4, 3, 3)


def mesh_files(path: str | os.PathLike) -> list[Path]:
    """The mesh file, or all of a folder, sorted.

    Raises:
        InputError: there is none.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    files = meshes_in(path) if path.is_dir() else []
    if not files:
        found = "a folder without any" if path.is_dir() else "nothing"
        raise InputError(
            f"{path}: expected a mesh file or a folder of files *{MESH_END}, found {found}; make them with "
            f"blender_scripts/fbx2mesh.py or correct `mesh_data`"
        )
    return files


def axes_path(mesh: Path, output: str | os.PathLike | None, folder: bool) -> Path:
    """Where the axes of a mesh file go: ``output`` (a folder if several files are made), or beside the mesh."""
    name = character_of(mesh) + AXES_ENDINGS[0]
    if output is None:
        return mesh.with_name(name)
    output = Path(output)
    return output / name if folder or output.is_dir() else output
