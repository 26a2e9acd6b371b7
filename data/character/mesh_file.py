"""Mesh files: the skin and the bones of a character (mathematics §5)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from data.formats.skeleton import Skeleton, Skin
from utils.errors import InputError
from utils.safe_read import names_in_npz, read_npz


def is_mesh(path: Path) -> bool:
    """An ``.npz`` is a mesh file, as the names of its arrays tell."""
    return {"verts", "weight"} <= {*names_in_npz(path)}


def read_mesh(path: Path) -> tuple[Skeleton, Skin]:
    """Read a mesh file; bones stand after their parents, otherwise in the order of the file.

    Raises:
        InputError: it is damaged or incomplete.
    """
    arrays = read_npz(path)
    # Bones without weights (finger tips) may be listed under bone_* only; files without bone_* use vgrp_*.
    prefix, heads_key = ("bone_names", "bone_cors") if "bone_names" in arrays else ("vgrp_label", "vgrp_cors")
    parents_key = "bone_parents" if prefix == "bone_names" else "vgrp_parents"
    needed = ("verts", "faces", "weight", "vgrp_label", prefix, heads_key, parents_key)
    missing = [key for key in dict.fromkeys(needed) if key not in arrays]
    if missing:
        raise InputError(f"{path}: expected a character's mesh, but it lacks {', '.join(missing)}; export it again")
    names, labels = (tuple(map(str, arrays[key].ravel())) for key in (prefix, "vgrp_label"))
    vertices, faces, weight = arrays["verts"], arrays["faces"], arrays["weight"]
    expected = {
        "verts": (len(vertices), 3),
        "faces": (len(faces), 3),
        "weight": (len(vertices), len(labels)),
        heads_key: (len(names), 3),
        parents_key: (len(names),),
    }
    for key, shape in expected.items():
        kinds = "iu" if key in ("faces", parents_key) else "fiu"
        if arrays[key].shape != shape or arrays[key].dtype.kind not in kinds:
            what = "whole numbers" if kinds == "iu" else "numbers"
            found = f"{arrays[key].dtype} of shape {arrays[key].shape}"
            raise InputError(f"{path}: expected {key} to be {what} of shape {shape}, found {found}; export it again")
        if not np.isfinite(arrays[key]).all():
            raise InputError(f"{path}: expected finite numbers in {key}, found NaN or infinity; export it again")
    _check_numbers(path, faces, len(vertices), arrays[parents_key], len(names))
    columns = {name: column for column, name in enumerate(labels)}
    weights = np.zeros((len(vertices), len(names)), np.float32)
    for bone, name in enumerate(names):
        if name in columns:
            weights[:, bone] = weight[:, columns[name]]
    tails = _optional(path, arrays, "bone_tails", (len(names), 3))
    axes = _optional(path, arrays, "bone_axes", (len(names), 3, 3))
    order = _parents_first(parents := arrays[parents_key].astype(np.int64))
    place = np.argsort(order)
    skeleton = Skeleton(
        names=tuple(names[bone] for bone in order),
        parents=np.where(parents[order] >= 0, place[parents[order]], -1),
        heads=arrays[heads_key].astype(np.float64)[order],
        tails=None if tails is None else tails[order],
        bases=None if axes is None else np.swapaxes(axes[order], -1, -2),
    )
    return skeleton, Skin(vertices.astype(np.float32).astype(np.float64), faces.astype(np.int64), weights[:, order])


def _parents_first(parents: np.ndarray) -> np.ndarray:
    """(J,) bone numbers in the order of the file, or by depth where a bone stands before its parent."""
    if (parents < np.arange(len(parents))).all():
        return np.arange(len(parents))
    depth, above = np.zeros(len(parents), np.int64), parents
    while (above >= 0).any():
        depth += above >= 0
        above = np.where(above >= 0, parents[above], -1)
    return np.argsort(depth, kind="stable")


def _optional(path: Path, arrays: Mapping[str, np.ndarray], key: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """An array that files of other makers do not have, float64; NaN stands for what is not known."""
    if key not in arrays:
        return None
    array = arrays[key]
    if array.shape != shape or array.dtype.kind not in "fiu":
        raise InputError(
            f"{path}: expected {key} to be numbers of shape {shape}, found {array.dtype} of shape {array.shape}; "
            f"export it again"
        )
    return array.astype(np.float64)


def _check_numbers(path: Path, faces: np.ndarray, n_vertices: int, parents: np.ndarray, n_bones: int) -> None:
    """Vertex and bone numbers are in range, and following the parents from any bone ends at a root."""
    if faces.size and not (faces.min() >= 0 and faces.max() < n_vertices):
        raise InputError(f"{path}: faces name vertices outside 0…{n_vertices - 1}; export it again")
    if parents.size and not (parents.min() >= -1 and parents.max() < n_bones):
        raise InputError(f"{path}: parents name bones outside −1…{n_bones - 1}; export it again")
    reached = np.arange(n_bones)
    for _ in range(n_bones):
        reached = np.where(reached >= 0, parents[reached], -1)
    if (reached >= 0).any():
        raise InputError(f"{path}: the parents of the bones run in a circle; export it again")
