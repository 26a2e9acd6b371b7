"""Hinges of a hand's joints as its motions show them: the principal direction of each joint's rotation vectors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data.axes.evidence import MotionHinges
from data.axes.hand import BareHand
from data.formats.bvh import Bvh, read_bvh
from data.formats.skeleton import bvh_skeleton
from data.rig import RigMap, find_hand
from model.topology import BONES_PER_FINGER, JOINTS_PER_FINGER, N_FINGERS, N_JOINTS, PARENTS
from utils.errors import InputError

FITS = 20.0
"""Bones of the motion's rest pose may differ from the character's by so many degrees (median)."""
_FAMILIAR = np.radians(1.0)


@dataclass
class MotionEvidence:
    """Hinges gathered from the files of one character, for one hand."""

    hinges: MotionHinges | None
    """None if no file told anything."""
    used: list[Path] = field(default_factory=list)
    refused: dict[Path, str] = field(default_factory=dict)
    """Files that do not fit this hand, and why."""


def bvh_files(paths: Sequence[str | os.PathLike], name: str) -> list[Path]:
    """The BVH files that are meant: files as given; of a folder those in its folder ``name``, else its own.

    Raises:
        InputError: a path does not exist.
    """
    files = []
    for path in map(Path, paths):
        if path.is_dir():
            own = path / name
            inside = (own if own.is_dir() else path).iterdir()
            files += sorted(file for file in inside if file.suffix.lower() == ".bvh" and file.is_file())
        elif path.is_file():
            files.append(path)
        else:
            raise InputError(f"{path}: expected a BVH file or a folder of them, found nothing; correct `motion`")
    return files


def hinges_from_files(hand: BareHand, files: Sequence[Path], rig_map: RigMap | None = None) -> MotionEvidence:
    """Hinges of a hand from BVH files on its skeleton, all frames counting alike; see `data.rig` for ``rig_map``.

    Local rotations in a BVH are relative to its rest pose. Where that points elsewhere than the character's (arms
    down, say), the hinges are turned by the rotation that lays the one hand onto the other; a file whose bones then
    still point elsewhere is of another rest pose and is refused.

    Raises:
        InputError: a file is damaged.
    """
    moments = np.zeros((N_FINGERS, BONES_PER_FINGER, 3, 3))
    frames = 0
    evidence = MotionEvidence(None)
    for path in files:
        motion = read_bvh(path)
        try:
            numbers = find_hand(motion.joint_names, hand.side, str(path), motion.parents, rig_map).indices
            turn = _onto_hand(hand, motion, numbers, path)
        except InputError as error:
            evidence.refused[path] = str(error)
            continue
        moments += turn @ _second_moments(motion, numbers) @ turn.T
        frames += motion.n_frames
        evidence.used.append(path)
    if frames:
        evidence.hinges = _principal(moments / frames)
    return evidence


def _second_moments(motion: Bvh, numbers: Sequence[int | None]) -> np.ndarray:
    """``(5, 3, 3, 3)`` sums over all frames of v vᵀ, v being the rotation vector of a joint; 0 for a missing one."""
    from scipy.spatial.transform import Rotation  # a twentieth of a second

    rotating = [1 + JOINTS_PER_FINGER * f + k for f in range(N_FINGERS) for k in range(BONES_PER_FINGER)]
    there = [place for place, joint in enumerate(rotating) if numbers[joint] is not None]
    rotations = motion.rotations([number for joint in rotating if (number := numbers[joint]) is not None])
    vectors = Rotation.from_matrix(rotations.reshape(-1, 3, 3)).as_rotvec().reshape(len(rotations), len(there), 3)
    moments = np.zeros((len(rotating), 3, 3))
    moments[there] = np.einsum("fji,fjk->jik", vectors, vectors)
    return moments.reshape(N_FINGERS, BONES_PER_FINGER, 3, 3)


def _principal(moments: np.ndarray) -> MotionHinges:
    values, vectors = np.linalg.eigh(moments)
    total = values.sum(-1)
    moved = total > 0
    share = np.divide(values[..., -1], total, out=np.zeros_like(total), where=moved)
    axes = np.where(moved[..., None], vectors[..., -1], np.nan)
    return MotionHinges(axes, share, np.sqrt(np.maximum(values[..., -1], 0)))


def _onto_hand(hand: BareHand, motion: Bvh, numbers: Sequence[int | None], path: Path) -> np.ndarray:
    """``(3, 3)`` the rotation from the motion's rest pose to the hand's; the identity if they are the same.

    Raises:
        InputError: their bones do not fit.
    """
    from scipy.spatial.transform import Rotation  # a twentieth of a second

    places = bvh_skeleton(motion).heads
    heads = np.full((N_JOINTS, 3), np.nan)
    for joint, number in enumerate(numbers):
        if number is not None:
            heads[joint] = places[number]
    parents = [max(parent, 0) for parent in PARENTS]
    with np.errstate(invalid="ignore"):
        ours, theirs = (_directions(joints - joints[parents]) for joints in (hand.joints, heads))
    both = np.isfinite(ours).all(-1) & np.isfinite(theirs).all(-1)
    if both.sum() < 3:
        raise InputError(f"{path}: fewer than three bones of {hand.name}'s {hand.side} hand have a length in it")
    turn = Rotation.align_vectors(ours[both], theirs[both])[0]
    if turn.magnitude() < _FAMILIAR:
        turn = Rotation.identity()
    cosines = (ours[both] * turn.apply(theirs[both])).sum(-1)
    off = float(np.median(np.degrees(np.arccos(np.clip(cosines, -1, 1)))))
    if off > FITS:
        raise InputError(
            f"{path}: the rest pose of its {hand.side} hand is another than {hand.name}'s: bones point elsewhere by "
            f"{off:.0f} degrees; export the motion with the character's own rest pose"
        )
    return turn.as_matrix()


def _directions(steps: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(steps, axis=-1, keepdims=True)
    return np.where(lengths > 1e-9, steps / np.maximum(lengths, 1e-300), np.nan)
