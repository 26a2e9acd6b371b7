"""Motions of hands from files: BVH, FBX, glTF, MANO parameters, positions of joints."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.character.character import Character, CharacterHand
from data.character.fbx import converted_fbx
from data.character.gltf import read_gltf_character
from data.character.reading import Reading, bvh_character, gltf_character, mano_hands, read_character
from data.formats.bvh import Bvh, read_bvh
from data.formats.gltf import SUFFIXES as GLTF_SUFFIXES
from data.formats.rates import check_rate, rate_of
from data.formats.skeleton import MESH_END, Skeleton, file_name
from data.motion.captured import Model
from data.motion.mano_file import arrays_in, flat, is_mano_motion, json_of, read_mano_motions
from data.points.files import PointFile, are_points, points_of_arrays, points_of_json
from data.points.motion import motion_of_points
from data.points.table import has_columns_of_points, read_table
from data.rig.rest import donor_finger
from data.rig.rotations import hand_rotations
from model.mano_file import find_model_file, read_mano_arrays
from model.topology import BONES_PER_FINGER, JOINTS_PER_FINGER, N_FINGERS, N_SHAPE, ROOTS
from utils import scratch
from utils.errors import InputError
from utils.safe_read import names_in_npz, read_npy, read_npz

log = logging.getLogger(__name__)

GLTF_FPS = 60.0
PARAMETERS = (".npz", ".json")
"""Files of poses of MANO hands, or of positions."""
TABLES = (".csv", ".npy")
"""Files of positions."""
SOURCES = (".bvh", ".fbx", *GLTF_SUFFIXES, *PARAMETERS, *TABLES)
_KEPT_BYTES = 1 << 26
_looked_at: dict[Path, tuple[int, Any]] = {}
"""Size and content of ``.json`` files of a folder that were looked into, until they are read."""
MANO_FPS = 30.0
"""Frame rate of MANO motions that do not tell theirs."""


@dataclass(frozen=True)
class HandTrack:
    """How one hand moves."""

    hand: CharacterHand
    local: Tensor
    """(F, 5, 3, 3, 3) float32 local rotations of the rotating joints, in the canonical frame."""
    wrist: np.ndarray
    """(F, 3, 3) float64 local rotation of the wrist in the character's frame."""
    present: np.ndarray
    """(21,) bool: joints that the hand has and the file moves."""


@dataclass(frozen=True)
class Motion:
    """A motion of one hand or both, and of the body they hang on, if it has one."""

    name: str
    path: Path
    frame_rate: float
    tracks: Mapping[str, HandTrack]
    character: Character
    """Whose hands these are."""
    skeleton: Skeleton | None = None
    """Of the file; None for MANO parameters."""
    bvh: Bvh | None = None
    """The motion of all joints of the skeleton."""
    own_hands: Mapping[str, CharacterHand] = field(default_factory=dict)
    """Of the file itself, whoever's the hands of ``tracks`` are."""
    radii: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Side → (21,) how thick the hand is at its joints, centimetres, where a file of positions tells it."""
    rate_told: bool = True
    """Somebody said how many frames a second there are; otherwise they were taken as `MANO_FPS`."""

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(next(iter(self.tracks.values())).local)

    def at(self, frames: slice) -> Motion:
        """Some frames alone."""
        tracks = {
            side: replace(track, local=track.local[frames], wrist=track.wrist[frames])
            for side, track in self.tracks.items()
        }
        return replace(self, tracks=tracks, bvh=None if self.bvh is None else self.bvh.at(frames))


def find_motions(source: Path) -> list[Path]:
    """The motion files of a folder and the folders in it, sorted; or the one file.

    Raises:
        InputError: there is none.
    """
    if source.is_file():
        if source.suffix.lower() not in SOURCES:
            raise InputError(
                f"{source}: expected a motion ({', '.join(SOURCES)}), found {source.suffix or 'no suffix'}"
            )
        return [source]
    if not source.is_dir():
        raise InputError(f"{source}: expected a motion file or a folder of them, found nothing; check the path")
    files = [path for path in source.rglob("*") if path.is_file() and path.suffix.lower() in SOURCES]
    files = sorted(path for path in files if not path.name.endswith(MESH_END) and not path.name.startswith("."))
    files = [path for path in files if path.suffix.lower() not in (*PARAMETERS, *TABLES) or _holds_hands(path)]
    if not files:
        raise InputError(f"{source}: expected motions ({', '.join(SOURCES)}) in this folder, found none")
    return files


def read_motions(
    path: Path,
    reading: Reading,
    own_hand: Character | None = None,
    scale: float = 1.0,
    fps: float | None = None,
    shape: np.ndarray | None = None,
) -> Iterator[Motion]:
    """The motions of a file; a glTF or FBX file may hold several.

    Args:
        path: the file.
        reading: how to read it.
        own_hand: whose hands it moves; None: those of the file itself.
        scale: lengths in the file are multiplied by it.
        fps: frame rate, in place of the file's own.
        shape: (10,) of a MANO hand whose file does not tell.

    Raises:
        InputError: the file is damaged, has no hand, or no motion.
    """
    kind = path.suffix.lower()
    if kind == ".bvh":
        yield _of_bvh(path.stem, path, read_bvh(path), None, reading, own_hand, scale, fps, shape)
    elif kind in (*PARAMETERS, *TABLES):
        content = _content(path)
        if isinstance(content, PointFile):
            yield _of_points(path, content, reading, own_hand, scale, fps, shape)
        else:
            yield _of_mano(path, content, reading, own_hand, fps, shape)
    elif kind in GLTF_SUFFIXES:
        content = read_gltf_character(path)
        if not content.clips:
            raise InputError(f"{path}: expected an animation, found none; export it with its animation")
        character = gltf_character(path, content, reading, scale)
        for number, clip in enumerate(content.clips):
            bvh = content.motion(number, fps or reading.fps or GLTF_FPS)
            name = path.stem if len(content.clips) == 1 else f"{path.stem}_{file_name(clip)}"
            yield _of_bvh(name, path, bvh, character, reading, own_hand, scale, None, shape)
    elif kind == ".fbx":
        made = converted_fbx(path, fps or reading.fps, reading.blender)
        if not made.clips:
            raise InputError(f"{path}: expected an animation, found none; export it with its animation")
        character = (
            None if made.mesh is None else replace(read_character(str(made.mesh), reading, scale=scale), path=path)
        )
        for clip in made.clips:
            name = path.stem if len(made.clips) == 1 else f"{path.stem}_{clip.stem}"
            yield _of_bvh(name, path, read_bvh(clip), character, reading, own_hand, scale, None, shape)
    else:
        raise InputError(f"{path}: expected a motion ({', '.join(SOURCES)}), found {path.suffix or 'no suffix'}")


def _of_bvh(
    name: str,
    path: Path,
    bvh: Bvh,
    character: Character | None,
    reading: Reading,
    own_hand: Character | None,
    scale: float,
    fps: float | None,
    shape: np.ndarray | None,
) -> Motion:
    """A motion whose joints are those of a BVH; ``character`` is what its file says of its hands."""
    if bvh.n_frames == 0:
        raise InputError(f"{path}: expected at least one frame, found none; export it again")
    rate = fps or rate_of(bvh.frame_time)
    if rate is None:
        raise InputError(f"{path}: expected a frame time, found 0; give `fps`")
    own = character or bvh_character(path, bvh, reading, scale)
    whose = own_hand or _mano_of(path, own, reading, shape) or own
    sides = [side for side in own.hands if side in whose.hands]
    if not sides:
        raise InputError(
            f"{path}: expected the {' or '.join(whose.hands)} hand that {whose.name} has, found only the "
            f"{' and '.join(own.hands)} hand; give another `source_hand`"
        )
    tracks = {side: _track(bvh, own.hands[side], whose.hands[side], path) for side in sides}
    return Motion(name, path, rate, tracks, whose, own.skeleton, bvh, own.hands)


def _track(bvh: Bvh, own: CharacterHand, whose: CharacterHand, path: Path) -> HandTrack:
    """How a BVH moves a hand: ``own`` is the file's, ``whose`` takes the poses."""
    local = scratch.empty((bvh.n_frames, N_FINGERS, BONES_PER_FINGER, 3, 3), np.float32)
    wrist = scratch.empty((bvh.n_frames, 3, 3))
    for part in scratch.blocks(bvh.n_frames):
        some = bvh.at(part)
        joints = hand_rotations(some, own.map, own.rest, str(path))[:, 1:]
        fingers = joints.reshape(-1, N_FINGERS, JOINTS_PER_FINGER, 3, 3)[:, :, :BONES_PER_FINGER]
        for finger in range(N_FINGERS):
            donor = None if own.present[ROOTS[finger]] else donor_finger(finger, own.present)
            if donor is not None:
                fingers[:, finger] = fingers[:, donor]
        local[part], wrist[part] = fingers, some.rotations([own.map.wrist])[:, 0]
    return HandTrack(whose, torch.from_numpy(local), wrist, own.present & whose.present)


def _mano_of(path: Path, own: Character, reading: Reading, shape: np.ndarray | None) -> Character | None:
    """The MANO hand of a motion whose joints have MANO's names, with the shape beside it; None for any other."""
    if any(hand.map.domain != "mano" for hand in own.hands.values()):
        return None
    beside = path.with_suffix(".npy")
    if shape is None and path.suffix.lower() == ".bvh" and beside.is_file():
        shapes = np.atleast_2d(read_npy(beside))
        if shapes.shape[-1] != N_SHAPE or not np.isfinite(shapes).all():
            raise InputError(f"{beside}: expected finite shapes (frames, {N_SHAPE}), found {shapes.shape}")
        shape = shapes.mean(axis=0)
    try:
        found = mano_hands(own.sides, reading, shape)
    except InputError:
        return None  # no model here: its bones will do
    return found if found.sides == own.sides else None


def _holds_hands(path: Path) -> bool:
    """Whether a file with numbers is one of hands; one that is damaged is, so that reading it says why."""
    kind = path.suffix.lower()
    try:
        if kind == ".csv":
            return has_columns_of_points(path)
        if kind == ".npy":
            return are_points(read_npy(path, mmap=True))
        if kind == ".npz":
            names = dict.fromkeys(names_in_npz(path))
            return is_mano_motion(names) or are_points(names)
        content = json_of(path)
    except InputError:
        return True
    holds = are_points(content) or is_mano_motion(arrays_in(content))
    if holds and sum(size for size, _ in _looked_at.values()) + path.stat().st_size <= _KEPT_BYTES:
        _looked_at[path] = path.stat().st_size, content
    return holds


def _json(path: Path) -> Any:
    """The content of a ``.json``, parsed once: `_holds_hands` may have done so already."""
    return _looked_at.pop(path)[1] if path in _looked_at else json_of(path)


def _content(path: Path) -> PointFile | dict[str, np.ndarray]:
    """What a file with numbers holds: positions, or arrays with poses of MANO hands."""
    kind = path.suffix.lower()
    try:
        if kind == ".csv":
            return read_table(path)
        if kind == ".npy":
            return points_of_arrays({"points": read_npy(path)})
        if kind == ".json":
            content = _json(path)
            keys = content[0] if isinstance(content, list) and content else content
            captured = isinstance(keys, Mapping) and is_mano_motion(flat(keys))
            return points_of_json(content) if not captured and are_points(content) else arrays_in(content)
        arrays = read_npz(path)
        return points_of_arrays(arrays) if not is_mano_motion(arrays) and are_points(arrays) else arrays
    except InputError as error:
        text = str(error)
        raise error if text.startswith(str(path)) else InputError(f"{path}: {text}") from None


def _of_points(
    path: Path,
    content: PointFile,
    reading: Reading,
    own_hand: Character | None,
    scale: float,
    fps: float | None,
    shape: np.ndarray | None,
) -> Motion:
    """Hands of which only the places of joints are known."""
    told = content.rate if fps is None else fps
    rate = check_rate(MANO_FPS if told is None else told, str(path), "correct it or give `fps`")
    made = motion_of_points(path, content, rate, reading.side, scale)
    own = replace(reading, rig_map=None, side=None)
    motion = _of_bvh(path.stem, path, made.bvh, None, own, own_hand, 1.0, None, shape)
    return replace(motion, radii=made.radii, rate_told=told is not None)


def _of_mano(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    reading: Reading,
    own_hand: Character | None,
    fps: float | None,
    shape: np.ndarray | None,
) -> Motion:
    """One MANO hand or both."""

    def model(side: str) -> Model:
        file = find_model_file(reading.models, side)
        log.warning("note: %s: its poses count from the mean and the principal components of the model that they were "
                    "made with; those of %s are taken", path, file)  # fmt: skip
        arrays = read_mano_arrays(file)
        return Model(arrays["hands_mean"], arrays["hands_components"])

    motions = read_mano_motions(path, model, arrays)
    first = next(iter(motions.values()))
    if len({len(motion.local) for motion in motions.values()}) > 1:
        raise InputError(f"{path}: expected as many frames of both hands; write each hand into a file of its own")
    whose = own_hand or mano_hands(tuple(motions), reading, first.shape if shape is None else shape)
    sides = [side for side in motions if side in whose.hands]
    tracks = {}
    for side in sides or motions:
        hand, motion = whose.hand(side), motions[side]
        tracks[side] = HandTrack(hand, torch.from_numpy(motion.local).float(), motion.wrist, hand.present)
    told = fps or first.fps
    return Motion(path.stem, path, told or MANO_FPS, tracks, whose, rate_told=told is not None)
