"""A character: its skinned mesh, the bones of its hands, and its anatomical axes (SPEC §5, §8).

Lengths are centimetres. At rest the right hand points to −x, the back of the hand to +y, the thumb side to +z; the
hands of a character that stands otherwise (an A-pose, arms down) are turned so on reading, by `Character.rest`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.dataset import character_files, character_of
from data.rig import HandMap, RigMap, find_hand, hand_sides
from data.rig.rest import RestHand, rest_hand, turned
from model.topology import N_JOINTS, SIDES, check_side
from utils.errors import InputError
from utils.safe_read import read_npz, read_pickle

HAND_WEIGHT_LIMIT = 0.2
"""A vertex belongs to the hand if one of the 21 joints has more than this share of it."""
_AXES_TOLERANCE = 1e-3
"""Axes stored in single precision are orthonormal to 1e-6; more than this means another convention or damage."""


@dataclass(frozen=True)
class CharacterMesh:
    """The skin and skeleton of a whole character, as the mesh file has them."""

    vertices: np.ndarray
    """(V, 3) float32, centimetres, rest pose."""
    faces: np.ndarray
    """(F, 3) int64 vertex numbers."""
    weights: np.ndarray
    """(V, J) float32 skinning weights; a bone without weights has a column of zeros."""
    bone_names: tuple[str, ...]
    """J names, in the file's order."""
    bone_heads: np.ndarray
    """(J, 3) float64, centimetres, rest pose."""
    bone_parents: np.ndarray
    """(J,) int64, −1 for a root."""
    bone_tails: np.ndarray | None = None
    """(J, 3) float64, centimetres, where each bone ends; None if the file does not say."""
    bone_axes: np.ndarray | None = None
    """(J, 3, 3) float64, rows: each bone's own x, y and z axis at rest; None if the file does not say."""


@dataclass(frozen=True)
class Character:
    """A character with one hand or both; per-side values are dictionaries with the keys of `sides`."""

    name: str
    sides: tuple[str, ...]
    """The hands it has (mesh and axes), right before left."""
    offsets: dict[str, np.ndarray]
    """Side → (21, 3) float64, centimetres: each joint's rest position minus its parent's; 0 for the wrist and
    for joints that the hand does not have."""
    axes: dict[str, np.ndarray]
    """Side → (5, 4, 3, 3) float64, rows twist, bend, splay; empty if it was read without axes."""
    bones: dict[str, tuple[int | None, ...]]
    """Side → for each of the 21 joints in hand order, its bone's number in the mesh file; None if it has none."""
    mesh: CharacterMesh
    """In the character's own frame."""
    maps: dict[str, HandMap]
    """Side → how the hand's bones were recognised."""
    rest: dict[str, RestHand]
    """Side → the hand at rest: which joints it has, and the turn into the frame of offsets and axes."""

    def missing(self, side: str) -> tuple[int, ...]:
        """The joints (hand order) that the hand of a side does not have."""
        return tuple(np.flatnonzero(~self.rest[side].present).tolist())


@dataclass(frozen=True)
class HandMesh:
    """The skin of one hand, ready for linear blend skinning about `joint_positions`."""

    vertices: np.ndarray
    """(V, 3) float32, centimetres, in the character's frame (wrist not at the origin)."""
    faces: np.ndarray
    """(F, 3) int64."""
    weights: np.ndarray
    """(V, 21) float32 in hand order, each row sums to 1."""
    joint_positions: np.ndarray
    """(21, 3) float32, centimetres, rest pose."""


def load_character(folder: str | os.PathLike, name: str, rig_map: RigMap | None = None) -> Character:
    """Read the character `name` from a folder of mesh and axes files (see `data.dataset.character_files`)."""
    return read_character(*character_files(folder, name), rig_map)


def read_character(
    mesh_path: str | os.PathLike, axes_path: str | os.PathLike | None, rig_map: RigMap | None = None
) -> Character:
    """Read a character from its mesh file and its axes file.

    Its hands are those that the mesh has bones for *and* the axes file has axes for. The order of the bones
    in the mesh file is arbitrary: they are found by name and hierarchy (:mod:`data.rig`), and fingers may be missing.

    Args:
        mesh_path: the name of the character is taken from it.
        axes_path: ``.pkl`` or ``.npz``; None reads the character without axes.
        rig_map: what the user says about the rig.

    Raises:
        InputError: a file is missing, damaged or incomplete, or the two have no hand in common.
    """
    mesh_path = Path(mesh_path)
    mesh = read_mesh(mesh_path)
    sides = hand_sides(mesh.bone_names, mesh.bone_parents, rig_map, mesh.bone_heads, mesh_path)
    if not sides:
        find_hand(mesh.bone_names, None, str(mesh_path), mesh.bone_parents, rig_map)  # raises with the reason
    axes: dict[str, np.ndarray] = {}
    if axes_path is not None:
        axes = read_finger_axes(axes_path)
        missing = [side for side in sides if side not in axes]
        sides = tuple(side for side in sides if side in axes)
        if not sides:
            raise InputError(
                f"{axes_path}: expected axes of the {missing[0]} hand, the only one that {mesh_path} has, "
                f"found axes of the {' and '.join(axes)} hand; make axes for it"
            )
    maps = {side: find_hand(mesh.bone_names, side, str(mesh_path), mesh.bone_parents, rig_map) for side in sides}
    rest = {
        side: rest_hand(found, mesh.bone_heads, mesh.bone_tails, mesh.vertices, mesh.weights, str(mesh_path))
        for side, found in maps.items()
    }
    return Character(
        name=character_of(mesh_path),
        sides=sides,
        offsets={side: rest[side].offsets for side in sides},
        axes={side: turned(axes[side], rest[side].turn) for side in sides if side in axes},
        bones={side: found.indices for side, found in maps.items()},
        mesh=mesh,
        maps=maps,
        rest=rest,
    )


def read_finger_axes(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read an axes file, ``.pkl`` or ``.npz``: keys ``rhand`` and/or ``lhand``, (5,4,3,3) or (5,3,3).

    Returns:
        ``"right"`` and/or ``"left"`` → (5, 4, 3, 3) float64, rows twist, bend, splay; (5,3,3) is repeated
        over the four joints of each finger.

    Raises:
        InputError: the file is missing or damaged, has neither key, or its axes are not right-handed
            orthonormal
            frames.
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


def hand_mesh(character: Character, side: str) -> HandMesh:
    """Cut a hand out of a character's skin (SPEC §8).

    Kept are the vertices of which one of the 21 joints has more than 0.2, and the faces whose three vertices
    are kept. The weights of an unlisted joint that lies between two listed ones are added to its listed
    ancestor, then each vertex's weights are scaled to sum 1 over the 21. Turned as the hand's offsets are.

    Raises:
        InputError: the character lacks this hand, or its skin does not cover it.
        ValueError: `side` is neither ``"right"`` nor ``"left"``.
    """
    if check_side(side) not in character.sides:
        raise InputError(f"{character.name}: expected a {side} hand, found only the {' and '.join(character.sides)}")
    mesh, bones, rest = character.mesh, character.bones[side], character.rest[side]
    weights = np.zeros((len(mesh.vertices), N_JOINTS), mesh.weights.dtype)
    for bone, joint in _listed_owner(mesh.bone_parents, bones).items():
        weights[:, joint] += mesh.weights[:, bone]
    kept = (weights > HAND_WEIGHT_LIMIT).any(axis=1)
    if not kept.any():
        raise InputError(
            f"{character.name}: expected skin on the {side} hand, but no vertex follows its joints; check the weights"
        )
    new_number = np.cumsum(kept) - 1
    faces = mesh.faces[kept[mesh.faces].all(axis=1)]
    weights = weights[kept]
    return HandMesh(
        vertices=turned(mesh.vertices[kept], rest.turn),
        faces=new_number[faces],
        weights=weights / weights.sum(axis=1, keepdims=True),
        joint_positions=turned(rest.positions, rest.turn).astype(np.float32),
    )


def _listed_owner(parents: np.ndarray, bones: Sequence[int | None]) -> dict[int, int]:
    """Bone number → hand joint that gets its weights, for the 21 bones and those between two of them."""
    owner = {bone: joint for joint, bone in enumerate(bones) if bone is not None}
    for bone in [bone for bone in bones if bone is not None]:
        chain = []
        ancestor = int(parents[bone])
        while ancestor >= 0 and ancestor not in owner:
            chain.append(ancestor)
            ancestor = int(parents[ancestor])
        if ancestor >= 0:  # the wrist's own ancestors end at a root and stay out
            owner.update(dict.fromkeys(chain, owner[ancestor]))
    return owner


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
    error = np.abs(axes @ np.swapaxes(axes, -1, -2) - np.eye(3)).max(axis=(-1, -2))
    finger, joint = np.unravel_index(error.argmax(), error.shape)
    if error.max() > _AXES_TOLERANCE:
        raise InputError(
            f"{where}: expected rows (twist, bend, splay) of length 1 at right angles, found finger {finger} "
            f"joint {joint} off by {error.max():.2g}; make the axes again"
        )
    if (np.linalg.det(axes) < 0).any():
        raise InputError(f"{where}: expected bend = splay × twist, found the opposite sign; make the axes again")
    return axes


def read_mesh(path: Path) -> CharacterMesh:
    """Read a mesh file. Raises InputError if it is damaged or incomplete."""
    arrays = read_npz(path)
    # Bones without weights (finger tips) may be listed under bone_* only; files without bone_* use vgrp_*.
    prefix, heads_key = ("bone_names", "bone_cors") if "bone_names" in arrays else ("vgrp_label", "vgrp_cors")
    parents_key = "bone_parents" if prefix == "bone_names" else "vgrp_parents"
    needed = ("verts", "faces", "weight", "vgrp_label", prefix, heads_key, parents_key)
    missing = [key for key in dict.fromkeys(needed) if key not in arrays]
    if missing:
        raise InputError(f"{path}: expected a character's mesh, but it lacks {', '.join(missing)}; export it again")
    names = tuple(str(name) for name in arrays[prefix].ravel())
    labels = [str(name) for name in arrays["vgrp_label"].ravel()]
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
    return CharacterMesh(
        vertices=vertices.astype(np.float32),
        faces=faces.astype(np.int64),
        weights=weights,
        bone_names=names,
        bone_heads=arrays[heads_key].astype(np.float64),
        bone_parents=arrays[parents_key].astype(np.int64),
        bone_tails=_optional(path, arrays, "bone_tails", (len(names), 3)),
        bone_axes=_optional(path, arrays, "bone_axes", (len(names), 3, 3)),
    )


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
