"""An animation on the target's own skeleton that stays as it is; only the fingers in it are replaced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from data.character.fbx import converted_fbx
from data.character.gltf import read_gltf_character
from data.formats.bvh import Bvh, euler_from_rotations, read_bvh, resized
from data.formats.character_files import frame_count
from data.formats.gltf import SUFFIXES as GLTF_SUFFIXES
from data.formats.skeleton import Skeleton
from utils.errors import InputError

FILES = (".bvh", ".fbx", *GLTF_SUFFIXES)
"""Files that hold animations of bodies."""
_SAME_RATE, _SAME_REST = 0.01, 0.02
"""Shares of the frame rate, and of the longest bone, by which an animation may be off."""


@dataclass(frozen=True)
class Kept:
    """An animation of all joints of a skeleton, in its order, one frame for each of the motion's."""

    path: Path
    clip: int
    """Its number among the file's animations."""
    bvh: Bvh
    start: float = 0.0
    """Seconds of its first frame in a glTF file."""

    def times(self) -> np.ndarray:
        """(F,) seconds of the frames in the file."""
        return self.start + np.arange(self.bvh.n_frames) * self.bvh.frame_time


def kept_animation(
    path: Path,
    skeleton: Skeleton,
    frames: int,
    rate: float,
    scale: float = 1.0,
    blender: str | None = None,
) -> Kept | None:
    """The first animation of a file that is as long as a motion; None: there is none.

    Args:
        path: the target's own file, or another one with its skeleton.
        skeleton: of the target.
        frames: of the motion; of one frame there is no animation.
        rate: frames a second of the motion.
        scale: how much larger the target is taken than its file has it.
        blender: for FBX.

    Raises:
        InputError: the file cannot be read, or its animation is of another skeleton.
    """
    if path.suffix.lower() not in FILES or frames < 2:
        return None
    found = next(_clips(path, frames, rate, blender), None)
    if found is None:
        return None
    bvh = resized(found.bvh, scale)
    numbers = {name: number for number, name in enumerate(bvh.joint_names)}
    order = [numbers.get(name, -1) for name in skeleton.names]
    lacking = [name for name, number in zip(skeleton.names, order, strict=True) if number < 0]
    if lacking:
        raise InputError(
            f"{path}: expected an animation of the target's skeleton, found none for its joint {lacking[0]} and "
            f"{len(lacking) - 1} others; use `body` follow"
        )
    below = np.asarray(skeleton.parents) >= 0
    away = np.abs(bvh.offsets[order] - skeleton.offsets)[below].max(initial=0.0)
    if away > _SAME_REST * np.abs(skeleton.offsets[below]).max(initial=0.0):
        raise InputError(
            f"{path}: expected an animation of the target's skeleton, found bones that are {away:.3g} cm elsewhere at "
            "rest; use `body` follow"
        )
    return replace(found, bvh=_ordered(bvh, order, skeleton))


def _ordered(bvh: Bvh, order: list[int], skeleton: Skeleton) -> Bvh:
    """The same motion with joints in another order, on a skeleton."""
    starts = np.cumsum([0, *map(len, bvh.channels)])
    columns = [column for joint in order for column in range(starts[joint], starts[joint + 1])]
    place = {joint: number for number, joint in enumerate(order)}
    return Bvh(
        joint_names=tuple(skeleton.names),
        parents=np.asarray(skeleton.parents, dtype=np.int64),
        offsets=bvh.offsets[order],
        channels=tuple(bvh.channels[joint] for joint in order),
        values=bvh.values[:, columns],
        frame_time=bvh.frame_time,
        end_sites=tuple((place[joint], end) for joint, end in bvh.end_sites if joint in place),
    )


def with_fingers(kept: Bvh, skeleton: Skeleton, turned: Mapping[int, np.ndarray]) -> Bvh:
    """The animation with other rotations of some joints.

    Args:
        kept: the animation.
        skeleton: its joints, as they hang in the result.
        turned: joint → (F, 3, 3) local rotations; their places are those at rest.
    """
    channels, columns = list(kept.channels), []
    starts = np.cumsum([0, *map(len, kept.channels)])
    for joint, names in enumerate(kept.channels):
        own = kept.values[:, starts[joint] : starts[joint + 1]]
        if joint in turned:
            order = "".join(name[0] for name in names if name.endswith("rotation"))
            if len(set(order)) != 3 or len(order) != 3:
                order = "ZYX"
            angles = np.degrees(euler_from_rotations(turned[joint], order))
            places = [name for name in names if name.endswith("position")]
            still = [skeleton.offsets[joint]["XYZ".index(name[0])] for name in places]
            channels[joint] = (*places, *(f"{axis}rotation" for axis in order))
            own = np.concatenate([np.broadcast_to(still, (len(angles), len(still))), angles], axis=1)
        columns.append(own)
    return replace(
        kept,
        parents=np.asarray(skeleton.parents, dtype=np.int64),
        offsets=skeleton.offsets,
        channels=tuple(channels),
        values=np.concatenate(columns, axis=1),
    )


def _clips(path: Path, frames: int, rate: float, blender: str | None) -> Iterator[Kept]:
    """The animations of a file that have so many frames at this rate."""
    kind = path.suffix.lower()
    if kind in GLTF_SUFFIXES:
        content = _gltf(path)
        for number, animation in enumerate(content.animations):
            start, end = (
                pick(float(track.times[k]) for track in animation.tracks) for pick, k in ((min, 0), (max, -1))
            )
            if frame_count(end - start, rate, len(content.nodes), animation.name) == frames:
                yield Kept(path, number, content.motion(number, rate), start)
        return
    files = [path] if kind == ".bvh" else converted_fbx(path, None, blender).clips
    for number, file in enumerate(files):
        bvh = _bvh(file)
        if bvh.n_frames == frames and abs(bvh.frame_time * rate - 1) < _SAME_RATE:
            yield Kept(path, number, bvh)


# A target's file is asked for each motion of a folder.
_gltf = lru_cache(maxsize=1)(read_gltf_character)
_bvh = lru_cache(maxsize=1)(read_bvh)
