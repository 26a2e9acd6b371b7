"""The one door to characters: of a data set, mesh files, glTF, FBX, bare BVH skeletons, MANO models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data.axes.files import read_finger_axes
from data.character.character import Character, make_character
from data.character.fbx import converted_fbx
from data.character.gltf import GltfCharacter, read_gltf_character
from data.character.mano import mano_character
from data.character.mesh_file import read_mesh
from data.dataset import MixHandFolder, axes_of, character_of
from data.formats.bvh import Bvh, read_bvh
from data.formats.gltf import SUFFIXES as GLTF_SUFFIXES
from data.formats.skeleton import bvh_skeleton
from data.rig import RigMap
from model.mano import ManoHand
from model.mano_file import find_model_file, read_mano_arrays
from model.topology import MIDDLE, N_SHAPE, ROOTS, SIDES
from utils.errors import InputError

MANO_NAMES = ("mano", "open")
SMALLEST_PALM, LARGEST_PALM = 1.0, 100.0
"""Centimetres from the wrist to the root of the middle finger."""
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
    """

    data_path: Path
    smplx_path: Path | None = None
    mano_axes: Path | None = None
    rig_map: RigMap | None = None
    fps: float | None = None
    blender: str | None = None
    side: str | None = None

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


def read_character(what: str, reading: Reading, shape: np.ndarray | None = None, scale: float = 1.0) -> Character:
    """A character by its name or file.

    Args:
        what: a character's name in the data set; ``mano`` (or ``open``); a file ``.npz`` (mesh), ``.glb``, ``.gltf``,
            ``.vrm``, ``.fbx``, ``.bvh``.
        reading: how to read it.
        shape: (10,) of a MANO hand; None: the mean shape.
        scale: lengths are multiplied by it.

    Raises:
        InputError: there is no such character or file, or it has no hand, or its hand is of no size that centimetres
            could be.
    """
    path = Path(what)
    if what.lower() in MANO_NAMES:
        return mano_hands(SIDES, reading, shape)
    suffix = path.suffix.lower()
    if suffix in (*GLTF_SUFFIXES, ".bvh", ".fbx", ".npz"):
        if not path.is_file():
            raise InputError(
                f"{path}: expected a character's file, found {'a folder' if path.is_dir() else 'nothing'}"
            )
        if suffix == ".bvh":
            return bvh_character(path, read_bvh(path), reading, scale)
        if suffix == ".fbx":
            mesh = converted_fbx(path, reading.fps, reading.blender).mesh
            if mesh is None:
                raise InputError(f"{path}: expected a skinned character, found bones alone; give the character's file")
            return replace(read_character(str(mesh), reading, scale=scale), path=path)
        if suffix != ".npz":
            return gltf_character(path, read_gltf_character(path), reading, scale)
        axes = axes_of(path) if axes_of(path).is_file() else None
        return _checked(read_mesh_character(path, axes, reading.rig_map, scale, reading.side), reading)
    if path.is_dir() and (path / "mano").is_dir():
        return mano_hands(SIDES, replace(reading, smplx_path=path), shape)
    _check_name(what, reading)
    return _checked(read_mesh_character(*reading.folder.character_files(what), reading.rig_map, scale), reading)


def _check_name(name: str, reading: Reading) -> None:
    """Raise InputError, saying what there is, if the data set has no character of this name."""
    folder = reading.folder
    if folder.mesh(name).is_file():
        return
    mano = "; hands of MANO are called mano, with a shape" if name.lower().startswith(MANO_NAMES) else ""
    wanted = f"{name}: expected a character of the data set {reading.data_path}, or a file (.glb, .fbx, .bvh, .npz)"
    if not folder.finger_data.is_dir():
        raise InputError(
            f"{wanted}, but there is no folder {folder.finger_data}; give `data_path`, or build the open data set "
            f"with `python -m run.build_open_hands`{mano}"
        )
    names = list(folder.meshes())
    shown = ", ".join(names[:_NAMES_SHOWN]) + (", …" if len(names) > _NAMES_SHOWN else "") if names else "none"
    raise InputError(f"{wanted}, found neither; there are: {shown}{mano}")


def mano_hands(sides: tuple[str, ...], reading: Reading, shape: np.ndarray | None) -> Character:
    """MANO hands of one shape (None: the mean): of these sides, those that there are models and axes of.

    Raises:
        InputError: there are none.
    """
    shape = np.zeros(N_SHAPE) if shape is None else shape
    single, problems = [], []
    for side in sides:
        try:
            single.append(mano_character(reading.mano(side), shape, reading.models))
        except InputError as error:
            problems.append(error)
    if not single:
        raise problems[0]
    return replace(single[0], hands={side: hand for one in single for side, hand in one.hands.items()})


def bvh_character(path: Path, bvh: Bvh, reading: Reading, scale: float = 1.0) -> Character:
    """The hands of a bare skeleton; their axes are estimated from the bones.

    Raises:
        InputError: as of `read_character`.
    """
    skeleton = bvh_skeleton(bvh).scaled(scale)
    return _checked(make_character(path.stem, path, skeleton, None, {}, reading.rig_map, reading.side), reading)


def gltf_character(path: Path, content: GltfCharacter, reading: Reading, scale: float = 1.0) -> Character:
    """A character from a glTF file; without skin it is a bare skeleton. Errors as of `bvh_character`."""
    skin = None if content.skin is None else content.skin.scaled(scale)
    skeleton, rig_map = content.skeleton.scaled(scale), content.hands
    if reading.rig_map is not None and any(reading.rig_map.names_occur(skeleton.names, side) for side in SIDES):
        rig_map = reading.rig_map
    return _checked(make_character(path.stem, path, skeleton, skin, {}, rig_map, reading.side), reading)


def read_mesh_character(
    path: Path,
    axes_path: Path | None = None,
    rig_map: RigMap | None = None,
    scale: float = 1.0,
    side: str | None = None,
) -> Character:
    """A character from its mesh file, and from its axes file if there is one.

    The order of the bones in the mesh file is arbitrary: they are found by name and hierarchy (:mod:`data.rig`), and
    fingers may be missing.

    Args:
        path: the mesh file; the name of the character is taken from it.
        axes_path: ``.pkl`` or ``.npz``; axes that it lacks are estimated when they are asked for.
        rig_map: what the user says about the rig.
        scale: lengths are multiplied by it.
        side: of a hand that nothing else tells.

    Raises:
        InputError: a file is missing, damaged or incomplete, or the mesh has no hand.
    """
    path = Path(path)
    skeleton, skin = read_mesh(path)
    axes = {} if axes_path is None else read_finger_axes(axes_path)
    return make_character(character_of(path), path, skeleton.scaled(scale), skin.scaled(scale), axes, rig_map, side)


def read_annotated(path: Path, axes_path: Path, rig_map: RigMap | None = None) -> Character:
    """A character of a data set with the hands that its mesh has bones for *and* its axes file has axes for.

    Raises:
        InputError: as of `read_mesh_character`, or the two files have no hand in common.
    """
    character = read_mesh_character(path, axes_path, rig_map)
    hands = {side: hand for side, hand in character.hands.items() if hand.given_axes is not None}
    if not hands:
        found = " and ".join(read_finger_axes(axes_path))
        raise InputError(
            f"{axes_path}: expected axes of the {character.sides[0]} hand, the only one that {path} has, "
            f"found axes of the {found} hand; make axes for it"
        )
    return replace(character, hands=hands)


def _checked(character: Character, reading: Reading) -> Character:
    """The character, unless its hands are of another unit."""
    for side, hand in character.hands.items():
        palm = float(np.linalg.norm(hand.rest.joints[ROOTS[MIDDLE]]))
        if not SMALLEST_PALM <= palm <= LARGEST_PALM:
            raise InputError(
                f"{character.path}: expected centimetres, found a palm of {palm:.3g} from the wrist to the middle "
                f"finger of the {side} hand; scale the file ({_advice(palm)})"
            )
    return character


def _advice(palm: float) -> str:
    if not palm > 0 or not np.isfinite(palm):
        return "its bones have no length: export the rest pose too"
    for scale, unit in ((100, "metres"), (2.54, "inches"), (0.1, "millimetres"), (1e4, "a scene of 100 m a unit")):
        if 5 <= palm * scale <= 15:
            return f"it looks like {unit}: `scale` {scale:g}"
    return f"`scale` {9 / palm:.3g} makes its palm 9 cm"
