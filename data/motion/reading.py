"""Motions of hands from files: BVH, FBX, glTF, MANO parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.character.character import Avatar, Hand, mano_avatar
from data.character.fbx import converted_fbx
from data.character.gltf import read_gltf_character
from data.character.reading import Reading, bvh_skeleton, gltf_avatar, read_avatar, skeleton_avatar
from data.formats.bvh import Bvh, read_bvh
from data.formats.gltf import SUFFIXES as GLTF_SUFFIXES
from data.formats.skeleton import MESH_END, file_name
from data.motion.mano_file import is_mano_motion, read_mano_motion
from data.rig import find_hand, hand_sides
from data.rig.hand_rig import HandRig, Skeleton, donor_finger
from model.topology import N_FINGERS, N_SHAPE, ROOTS, WRIST
from utils.errors import InputError
from utils.safe_read import read_npy, read_npz

GLTF_FPS = 60.0
SOURCES = (".bvh", ".fbx", *GLTF_SUFFIXES, ".npz")
_ROUNDED = 5e-5
MANO_FPS = 30.0
"""Frame rate of MANO motions that do not tell theirs."""


@dataclass(frozen=True)
class HandTrack:
    """How one hand moves."""

    hand: Hand
    local: Tensor
    """(F, 5, 3, 3, 3) float32 local rotations of the rotating joints, in the canonical frame."""
    wrist: np.ndarray
    """(F, 3, 3) float64 local rotation of the wrist in the character's frame."""


@dataclass(frozen=True)
class Motion:
    """A motion of one hand or both, and of the body they hang on, if it has one."""

    name: str
    path: Path
    frame_rate: float
    tracks: Mapping[str, HandTrack]
    avatar: Avatar
    """Whose hands these are."""
    skeleton: Skeleton | None = None
    """Of the file; None for MANO parameters."""
    bvh: Bvh | None = None
    """The motion of all joints of the skeleton."""

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(next(iter(self.tracks.values())).local)


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
    files = [path for path in files if path.suffix.lower() != ".npz" or is_mano_motion(read_npz(path))]
    if not files:
        raise InputError(f"{source}: expected motions ({', '.join(SOURCES)}) in this folder, found none")
    return files


def read_motions(
    path: Path,
    reading: Reading,
    own_hand: Avatar | None = None,
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
    elif kind == ".npz":
        yield _of_mano(path, reading, own_hand, fps, shape)
    elif kind in GLTF_SUFFIXES:
        character = read_gltf_character(path)
        if not character.clips:
            raise InputError(f"{path}: expected an animation, found none; export it with its animation")
        avatar = gltf_avatar(character, path, reading, scale)
        for number, clip in enumerate(character.clips):
            bvh = character.motion(number, fps or reading.fps or GLTF_FPS)
            name = path.stem if len(character.clips) == 1 else f"{path.stem}_{file_name(clip)}"
            yield _of_bvh(name, path, bvh, avatar, reading, own_hand, scale, None, shape)
    elif kind == ".fbx":
        made = converted_fbx(path, fps or reading.fps, reading.blender)
        if not made.clips:
            raise InputError(f"{path}: expected an animation, found none; export it with its animation")
        avatar = None if made.mesh is None else replace(read_avatar(str(made.mesh), reading, scale=scale), path=path)
        for clip in made.clips:
            name = path.stem if len(made.clips) == 1 else f"{path.stem}_{clip.stem}"
            yield _of_bvh(name, path, read_bvh(clip), avatar, reading, own_hand, scale, None, shape)
    else:
        raise InputError(f"{path}: expected a motion ({', '.join(SOURCES)}), found {path.suffix or 'no suffix'}")


def _of_bvh(
    name: str,
    path: Path,
    bvh: Bvh,
    avatar: Avatar | None,
    reading: Reading,
    own_hand: Avatar | None,
    scale: float,
    fps: float | None,
    shape: np.ndarray | None,
) -> Motion:
    """A motion whose joints are those of a BVH; ``avatar`` is what its file says of its hands."""
    if bvh.n_frames == 0:
        raise InputError(f"{path}: expected at least one frame, found none; export it again")
    rate = fps or _rate(bvh.frame_time)
    if rate is None:
        raise InputError(f"{path}: expected a frame time, found 0; give --fps")
    skeleton = bvh_skeleton(bvh, scale)
    file_avatar = avatar or skeleton_avatar(path.stem, path, skeleton, reading)
    whose = own_hand or _mano_of(path, bvh, file_avatar, reading, shape) or file_avatar
    sides = [side for side in file_avatar.hands if side in whose.hands]
    if not sides:
        raise InputError(
            f"{path}: expected the {' or '.join(whose.hands)} hand that {whose.name} has, found only the "
            f"{' and '.join(file_avatar.hands)} hand; give another --source_hand"
        )
    rigs = {side: file_avatar.hands[side].rig for side in sides}
    wanted = sorted({joint for rig in rigs.values() for joint in (*rig.needed(), rig.indices[WRIST])})
    turned = dict(zip(wanted, np.moveaxis(bvh.rotations(wanted), 1, 0), strict=True))
    tracks = {side: _track(rigs[side], whose.hands[side], turned) for side in sides}
    return Motion(name, path, rate, tracks, whose, skeleton, bvh)


def _rate(frame_time: float) -> float | None:
    """Frames per second; 30 for a frame time of 0.033333, as exporters round it. None if there is none."""
    if not frame_time > 0:
        return None
    rate = 1 / frame_time
    whole = round(rate)
    return float(whole) if abs(rate - whole) < _ROUNDED * rate else rate


def _track(rig: HandRig, hand: Hand, turned: dict[int, np.ndarray]) -> HandTrack:
    local = rig.canonical(turned)
    for finger in range(N_FINGERS):
        if not rig.present[ROOTS[finger]]:
            donor = donor_finger(finger, rig.present)
            if donor is not None:
                local[:, finger] = local[:, donor]
    if (rig.present != hand.rig.present).any():
        hand = replace(hand, rig=replace(hand.rig, present=rig.present & hand.rig.present))
    return HandTrack(hand, torch.from_numpy(local).float(), turned[rig.indices[WRIST]])


def _mano_of(path: Path, bvh: Bvh, avatar: Avatar, reading: Reading, shape: np.ndarray | None) -> Avatar | None:
    """The MANO hand of a motion whose joints have MANO's names, with the shape beside it; None for any other."""
    if not set(avatar.hands) <= set(hand_sides(bvh.joint_names, bvh.parents, reading.rig_map)):
        return None  # found by the file's table of bones, not by names
    found = {side: find_hand(bvh.joint_names, side, str(path), bvh.parents, reading.rig_map) for side in avatar.hands}
    if any(hand.domain != "mano" for hand in found.values()):
        return None
    beside = path.with_suffix(".npy")
    if shape is None and path.suffix.lower() == ".bvh" and beside.is_file():
        shapes = np.atleast_2d(read_npy(beside))
        if shapes.shape[-1] != N_SHAPE or not np.isfinite(shapes).all():
            raise InputError(f"{beside}: expected finite shapes (frames, {N_SHAPE}), found {shapes.shape}")
        shape = shapes.mean(axis=0)
    try:
        return mano_hands(tuple(avatar.hands), reading, shape)
    except InputError:
        return None  # no model here: its bones will do


def mano_hands(sides: tuple[str, ...], reading: Reading, shape: np.ndarray | None) -> Avatar:
    """MANO hands of these sides and one shape (None: the mean)."""
    shape = np.zeros(N_SHAPE) if shape is None else shape
    single = {side: mano_avatar(reading.mano(side), shape, reading.models) for side in sides}
    return replace(
        next(iter(single.values())),
        skeletons={side: one.skeletons[side] for side, one in single.items()},
        hands={side: one.hands[side] for side, one in single.items()},
    )


def _of_mano(
    path: Path, reading: Reading, own_hand: Avatar | None, fps: float | None, shape: np.ndarray | None
) -> Motion:
    arrays = read_npz(path)
    relative = "flat_hand_mean" in arrays and not bool(np.ravel(arrays["flat_hand_mean"])[0])
    named = str(np.ravel(arrays["side"])[0]).lower() if "side" in arrays else ""
    side = named or ("left" if "left" in path.stem.lower() else "right")
    motion = read_mano_motion(path, reading.mano_mean(side) if relative else None)
    own_shape = motion.shape if shape is None else shape
    whose = own_hand or mano_hands((side,), reading, own_shape)
    track = HandTrack(whose.hand(side), torch.from_numpy(motion.local).float(), motion.wrist)
    return Motion(path.stem, path, fps or motion.fps or MANO_FPS, {side: track}, whose)
