"""Avatars from files: characters of a data set, mesh files, glTF, FBX, bare BVH skeletons, MANO models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data.axes.estimate import estimate_axes
from data.axes.hand import BareHand
from data.character.character import Avatar, Hand, HandSurface, Skin, character_hand, hand_surface, mano_avatar
from data.character.fbx import converted_fbx
from data.character.gltf import GltfCharacter, read_gltf_character
from data.character.mesh_file import HandMesh, read_finger_axes, read_mesh
from data.dataset import MixHandFolder, axes_of, character_of
from data.formats.bvh import Bvh, read_bvh
from data.formats.gltf import SUFFIXES as GLTF_SUFFIXES
from data.rig import RigMap, find_hand, hand_sides
from data.rig.hand_rig import HandRig, Skeleton, hand_rig
from model.mano import ManoHand
from model.mano_file import find_model_file, read_mano_arrays
from model.topology import N_SHAPE, SIDES
from utils.errors import InputError

MANO_NAMES = ("mano", "open")
_NAMES_SHOWN = 12  # of a data set's characters, in a message


@dataclass(frozen=True)
class Reading:
    """How files are read: where data sets and MANO lie, and what the user says about a file.

    Attributes:
        data_path: data set that holds characters by name.
        smplx_path: MANO model file or folder; None: as `MixHandFolder.mano_model` says.
        mano_axes: axes of the MANO hand; None: those of the data set.
        rig_map: which joints are which, for rigs whose names tell nothing.
        fps: frames a second at which glTF and FBX animations are sampled; None: 60 for glTF, FBX's own.
        blender: Blender, or a Python with bpy, for FBX; None: found by itself.
        side: of a hand of which neither names nor joints tell it.
        scale_option: the option that scales what is read, for messages; empty: there is none.
    """

    data_path: Path
    smplx_path: Path | None = None
    mano_axes: Path | None = None
    rig_map: RigMap | None = None
    fps: float | None = None
    blender: str | None = None
    side: str | None = None
    scale_option: str = "--source_scale"

    @property
    def folder(self) -> MixHandFolder:
        """The data set."""
        return MixHandFolder(self.data_path)

    @property
    def models(self) -> Path:
        """Where MANO lies."""
        return self.folder.mano_model(self.smplx_path)

    def mano(self, side: str) -> ManoHand:
        """The MANO hand of a side.

        Raises:
            InputError: model or axes are missing or damaged.
        """
        axes = self.mano_axes or self.folder.mano_axes_file()
        return ManoHand.load(find_model_file(self.models, side), axes, side)

    def mano_mean(self, side: str) -> np.ndarray:
        """(45,) mean pose of the MANO model of a side."""
        return read_mano_arrays(find_model_file(self.models, side))["hands_mean"]


def read_avatar(what: str, reading: Reading, shape: np.ndarray | None = None, scale: float = 1.0) -> Avatar:
    """An avatar by its name or file.

    Args:
        what: a character's name in the data set; ``mano`` (or ``open``); a file ``.npz`` (mesh), ``.glb``, ``.gltf``,
            ``.vrm``, ``.fbx``, ``.bvh``.
        reading: how to read it.
        shape: (10,) of a MANO hand; None: the mean shape.
        scale: lengths are multiplied by it.

    Raises:
        InputError: there is no such character or file, or it has no hand.
    """
    path = Path(what)
    if what.lower() in MANO_NAMES:
        return _mano(reading, shape)
    suffix = path.suffix.lower()
    if suffix in (*GLTF_SUFFIXES, ".bvh", ".fbx", ".npz"):
        if not path.is_file():
            raise InputError(
                f"{path}: expected a character's file, found {'a folder' if path.is_dir() else 'nothing'}"
            )
        if suffix == ".bvh":
            return skeleton_avatar(path.stem, path, bvh_skeleton(read_bvh(path), scale), reading)
        if suffix == ".npz":
            return _mesh_avatar(path, None, reading, scale)
        if suffix == ".fbx":
            mesh = converted_fbx(path, reading.fps, reading.blender).mesh
            if mesh is None:
                raise InputError(f"{path}: expected a skinned character, found bones alone; give the character's file")
            return replace(_mesh_avatar(mesh, None, reading, scale), path=path)
        return gltf_avatar(read_gltf_character(path), path, reading, scale)
    if path.is_dir() and (path / "mano").is_dir():
        return _mano(replace(reading, smplx_path=path), shape)
    _check_name(what, reading)
    mesh, axes = reading.folder.character_files(what)
    return _mesh_avatar(mesh, axes, reading, scale)


def _check_name(name: str, reading: Reading) -> None:
    """Raise InputError, saying what there is, if the data set has no character of this name."""
    folder = reading.folder
    if folder.mesh(name).is_file():
        return
    mano = "; hands of MANO are called mano, with a shape" if name.lower().startswith(MANO_NAMES) else ""
    wanted = f"{name}: expected a character of the data set {reading.data_path}, or a file (.glb, .fbx, .bvh, .npz)"
    if not folder.finger_data.is_dir():
        raise InputError(
            f"{wanted}, but there is no folder {folder.finger_data}; give --data_path, or build the open data set "
            f"with `python -m run.build_open_hands`{mano}"
        )
    names = list(folder.meshes())
    shown = ", ".join(names[:_NAMES_SHOWN]) + (", …" if len(names) > _NAMES_SHOWN else "") if names else "none"
    raise InputError(f"{wanted}, found neither; there are: {shown}{mano}")


def _mano(reading: Reading, shape: np.ndarray | None) -> Avatar:
    """MANO hands of one shape: those of the sides that there are models and axes of."""
    shape = np.zeros(N_SHAPE) if shape is None else shape
    single, problems = {}, []
    for side in SIDES:
        try:
            single[side] = mano_avatar(reading.mano(side), shape, reading.models)
        except InputError as error:
            problems.append(error)
    if not single:
        raise problems[0]
    first = next(iter(single.values()))
    return replace(
        first,
        skeletons={side: one.skeletons[side] for side, one in single.items()},
        hands={side: one.hands[side] for side, one in single.items()},
    )


def _mesh_avatar(mesh_path: Path, axes_path: Path | None, reading: Reading, scale: float) -> Avatar:
    """A character from its mesh file, with the axes file beside it if there is one."""
    name = character_of(mesh_path)
    axes_path = axes_path or axes_of(mesh_path)
    mesh = read_mesh(mesh_path)
    known = {} if mesh.bone_tails is None else {bone: scale * tail for bone, tail in enumerate(mesh.bone_tails)}
    order = _parents_first(mesh.bone_parents)
    place = np.argsort(order)
    skeleton = Skeleton(
        tuple(mesh.bone_names[bone] for bone in order),
        np.where(mesh.bone_parents[order] >= 0, place[mesh.bone_parents[order]], -1),
        scale * mesh.bone_heads[order],
        {int(place[bone]): tail for bone, tail in known.items()},
    )
    skin = Skin(scale * mesh.vertices.astype(np.float64), mesh.faces, mesh.weights[:, order])
    axes = read_finger_axes(axes_path) if axes_path.is_file() else {}
    rig_axes = None if mesh.bone_axes is None else mesh.bone_axes[order]
    return _with_hands(name, mesh_path, "character", skeleton, reading, skin, axes, rig_axes)


def gltf_avatar(character: GltfCharacter, path: Path, reading: Reading, scale: float = 1.0) -> Avatar:
    """A character from a glTF file; without skin it is a bare skeleton."""
    armature, skin = character.armature, character.skin
    skeleton = Skeleton(armature.names, armature.parents, scale * armature.heads, {})
    own = None if skin is None else Skin(scale * skin.vertices, skin.faces, skin.weights)
    kind = "skeleton" if own is None else "character"
    if reading.rig_map is None:
        reading = replace(reading, rig_map=character.hands)
    return _with_hands(path.stem, path, kind, skeleton, reading, own, {}, armature.axes)


def bvh_skeleton(bvh: Bvh, scale: float = 1.0) -> Skeleton:
    """The rest pose of a BVH file: all rotations zero."""
    heads = np.zeros_like(bvh.offsets)
    for joint, parent in enumerate(bvh.parents):
        heads[joint] = bvh.offsets[joint] + (heads[parent] if parent >= 0 else 0.0)
    tails = {joint: scale * (heads[joint] + np.array(end)) for joint, end in bvh.end_sites}
    return Skeleton(bvh.joint_names, bvh.parents, scale * heads, tails)


def skeleton_avatar(name: str, path: Path, skeleton: Skeleton, reading: Reading) -> Avatar:
    """The hands of a bare skeleton; their axes are estimated from the bones.

    Raises:
        InputError: it has no hand.
    """
    return _with_hands(name, path, "skeleton", skeleton, reading, None, {}, None)


def _with_hands(
    name: str,
    path: Path,
    kind: str,
    skeleton: Skeleton,
    reading: Reading,
    skin: Skin | None,
    axes: dict[str, np.ndarray],
    rig_axes: np.ndarray | None,
) -> Avatar:
    sides = hand_sides(skeleton.names, skeleton.parents, reading.rig_map, skeleton.heads, path, reading.side)
    if not sides:
        find_hand(skeleton.names, None, str(path), skeleton.parents, reading.rig_map)  # raises, saying why
    hands: dict[str, Hand] = {}
    for side in sides:
        found = find_hand(skeleton.names, side, str(path), skeleton.parents, reading.rig_map)
        rig = hand_rig(skeleton, found, str(path), reading.scale_option)
        surface = None if skin is None else hand_surface(skin, rig, skeleton)
        own = axes[side] @ rig.turn.T if side in axes else _estimated(name, rig, surface, rig_axes)
        hands[side] = character_hand(rig, own, surface)
    return Avatar(name, path, kind, dict.fromkeys(sides, skeleton), hands, skin)


def _estimated(name: str, rig: HandRig, surface: HandSurface | None, rig_axes: np.ndarray | None) -> np.ndarray:
    """Axes (5, 4, 3, 3) from bones, and from mesh and the rig's own axes where there are any."""
    joints = rig.joints.astype(np.float64)
    if surface is None:
        skin = HandMesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64), np.zeros((0, len(joints))), joints)
    else:
        skin = HandMesh(surface.vertices.astype(np.float64), surface.faces, surface.weights, joints)
    bone_axes = None
    if rig_axes is not None:
        bone_axes = np.full((len(joints), 3, 3), np.nan)
        there = [joint for joint, index in enumerate(rig.indices) if index is not None]
        bone_axes[there] = rig_axes[[rig.indices[joint] for joint in there]] @ rig.turn.T
    hand = BareHand(name, rig.side, joints, skin.vertices, skin.faces, skin.weights, skin, bone_axes)
    return estimate_axes(hand).axes


def _parents_first(parents: np.ndarray) -> np.ndarray:
    """(J,) bone numbers, every bone after its parent, otherwise in the order of the file."""
    depth = np.zeros(len(parents), np.int64)
    for bone in range(len(parents)):
        above = int(parents[bone])
        while above >= 0:
            depth[bone] += 1
            above = int(parents[above])
    return np.argsort(depth, kind="stable")
