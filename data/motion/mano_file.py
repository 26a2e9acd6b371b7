"""Motions of MANO hands as ``.npz``: pose, shape, frame rate (mathematics §3, §5).

Read are the usual spellings: ``pose`` or ``poses`` (F, 45 or 48) axis-angle in MANO's own order (index, middle, pinky,
ring, thumb; 48: the wrist first), or ``hand_pose`` (F, 45) with ``global_orient`` (F, 3), or ``local_rotations``
(F, 15 or 16, 3, 3) in the same order or (F, 21, 3, 3) in hand order; ``shape`` or ``betas`` (10,) or (F, 10);
``fps``; ``side``.
``flat_hand_mean`` false: the model's mean pose is added to the fingers, as InterHand2.6M's annotations ask for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pytorch3d.transforms import axis_angle_to_matrix, matrix_to_axis_angle

from data.formats.rates import check_rate
from model.topology import MANO_BONES, N_SHAPE, SIDES
from utils.errors import InputError
from utils.files import atomic_write
from utils.safe_read import read_npz

_POSES = ("pose", "poses", "fullpose")
_RATES = ("fps", "frame_rate", "mocap_frame_rate", "mocap_framerate")
_ORDER = [bone - 1 for bone in MANO_BONES]
"""For each of the 15 rotating joints in hand order, its place in MANO's pose."""
_SINGLE = 1e-4


@dataclass(frozen=True)
class ManoMotion:
    """A motion of one MANO hand."""

    local: np.ndarray
    """(F, 5, 3, 3, 3) float64 local rotations of the rotating joints, in hand order, relative to flat rest."""
    wrist: np.ndarray
    """(F, 3, 3) rotation of the wrist in space."""
    shape: np.ndarray | None
    """(10,) float64; None: the file does not tell."""
    fps: float | None
    side: str | None
    varying_shape: bool = False
    """The file has another shape in every frame; `shape` is their mean."""


def frame_rate(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> float | None:
    """Frames per second as the file says; None if it does not. Raises InputError if it says something else."""
    told = next((np.ravel(arrays[key])[0] for key in _RATES if key in arrays and arrays[key].size), None)
    if told is None:
        return None
    try:
        rate = float(told)
    except (TypeError, ValueError):
        raise InputError(f"{path}: expected a number of frames per second, found {str(told)[:40]!r}") from None
    return check_rate(rate, str(path), "correct it or give --fps")


def read_mano_motion(path: str | os.PathLike, hands_mean: np.ndarray | None = None) -> ManoMotion:
    """Read a motion of a MANO hand.

    Args:
        path: the ``.npz``.
        hands_mean: (45,) mean pose of the model, needed where the file says ``flat_hand_mean`` false.

    Raises:
        InputError: there is no pose in the file, or an array has another shape or is not finite.
    """
    path = Path(path)
    arrays = read_npz(path)
    local, wrist = _rotations(path, arrays, hands_mean)
    shape, varying = _shape(path, arrays, len(local))
    rate = frame_rate(path, arrays)
    side = str(np.ravel(arrays["side"])[0]).lower() if "side" in arrays and arrays["side"].size else None
    if side is not None and side not in SIDES:
        raise InputError(f"{path}: expected side to be right or left, found {side[:40]!r}")
    return ManoMotion(local, wrist, shape, rate, side, varying)


def is_mano_motion(arrays: dict[str, np.ndarray]) -> bool:
    """The arrays of an ``.npz`` are those of a MANO motion."""
    return any(key in arrays for key in (*_POSES, "hand_pose", "local_rotations"))


def _rotations(path: Path, arrays: dict, hands_mean: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    if not is_mano_motion(arrays):
        raise InputError(
            f"{path}: expected a MANO motion with pose (frames, 45 or 48), hand_pose or local_rotations, found "
            f"{', '.join(list(arrays)[:8]) or 'nothing'}"
        )
    if "local_rotations" in arrays and not any(key in arrays for key in (*_POSES, "hand_pose")):
        return _matrices(path, _numbers(path, "local_rotations", arrays["local_rotations"]))
    if "hand_pose" in arrays:
        fingers = _numbers(path, "hand_pose", arrays["hand_pose"])
        wrist = _numbers(path, "global_orient", arrays.get("global_orient", np.zeros((len(fingers), 3))))
        pose = np.concatenate([wrist.reshape(len(wrist), -1), fingers.reshape(len(fingers), -1)], axis=1)
    else:
        key = next(key for key in _POSES if key in arrays)
        pose = _numbers(path, key, arrays[key])
    if pose.ndim == 1:
        pose = pose[None]
    if pose.ndim != 2 or pose.shape[1] not in (45, 48) or not len(pose):
        raise InputError(f"{path}: expected a pose of shape (frames, 45) or (frames, 48), found {pose.shape}")
    if pose.shape[1] == 45:
        pose = np.concatenate([np.zeros((len(pose), 3)), pose], axis=1)
    flat = arrays.get("flat_hand_mean")
    if flat is not None and flat.size and not bool(np.ravel(flat)[0]):
        if hands_mean is None:
            raise InputError(f"{path}: its poses are relative to MANO's mean pose; give the model with --smplx_path")
        pose = pose + np.concatenate([np.zeros(3), hands_mean])
    turned = axis_angle_to_matrix(torch.from_numpy(pose).reshape(len(pose), 16, 3)).numpy()
    return turned[:, 1:][:, _ORDER].reshape(len(pose), 5, 3, 3, 3), turned[:, 0]


def _matrices(path: Path, matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if matrices.ndim == 3:
        matrices = matrices[None]
    if (
        matrices.ndim != 4
        or matrices.shape[1] not in (15, 16, 21)
        or matrices.shape[2:] != (3, 3)
        or not len(matrices)
    ):
        raise InputError(f"{path}: expected local_rotations (frames, 15, 16 or 21, 3, 3), found {matrices.shape}")
    error = np.abs(matrices @ np.swapaxes(matrices, -1, -2) - np.eye(3)).max()
    if error > 1e-3 or (np.linalg.det(matrices) < 0).any():
        raise InputError(f"{path}: expected rotations in local_rotations, found matrices that are none")
    frames, count = matrices.shape[:2]
    if count == 21:
        fingers = matrices[:, 1:].reshape(frames, 5, 4, 3, 3)[:, :, :3]
        return fingers, matrices[:, 0]
    wrist = matrices[:, 0] if count == 16 else np.broadcast_to(np.eye(3), (frames, 3, 3))
    return matrices[:, count - 15 :][:, _ORDER].reshape(frames, 5, 3, 3, 3), wrist


def _shape(path: Path, arrays: dict, frames: int) -> tuple[np.ndarray | None, bool]:
    key = next((key for key in ("shape", "betas") if key in arrays), None)
    if key is None:
        return None, False
    shape = _numbers(path, key, arrays[key])
    if shape.shape not in ((N_SHAPE,), (1, N_SHAPE), (frames, N_SHAPE)):
        raise InputError(f"{path}: expected {key} ({N_SHAPE},) or ({frames}, {N_SHAPE}), found {shape.shape}")
    shape = shape.reshape(-1, N_SHAPE)
    return shape.mean(axis=0), bool(np.abs(shape - shape[0]).max() > _SINGLE)


def _numbers(path: Path, key: str, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "fiu":
        raise InputError(f"{path}: expected numbers in {key}, found {values.dtype}")
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        raise InputError(f"{path}: expected finite numbers in {key}, found NaN or infinity in frame {bad[0][0]}")
    return values.astype(np.float64)


def write_mano_motion(path: str | os.PathLike, motion: ManoMotion) -> None:
    """Write a motion, complete or not at all.

    Keys: ``pose`` (F, 48) axis-angle in MANO's order, wrist first, relative to the flat rest pose
    (``flat_hand_mean`` true); ``local_rotations`` (F, 21, 3, 3) in hand order; ``shape`` (10,), ``fps``, ``side``.
    """
    frames = len(motion.local)
    turned = np.empty((frames, 16, 3, 3))
    turned[:, 0] = motion.wrist
    turned[:, [1 + place for place in _ORDER]] = motion.local.reshape(frames, 15, 3, 3)
    local = np.broadcast_to(np.eye(3), (frames, 21, 3, 3)).copy()
    local[:, 0] = motion.wrist
    local[:, 1:].reshape(frames, 5, 4, 3, 3)[:, :, :3] = motion.local
    pose = matrix_to_axis_angle(torch.from_numpy(turned)).numpy().reshape(frames, 48)
    with atomic_write(path) as temporary:
        np.savez_compressed(
            temporary,
            pose=pose,
            local_rotations=local,
            shape=np.zeros(N_SHAPE) if motion.shape is None else motion.shape,
            fps=np.float64(motion.fps or 0),
            side=np.array(motion.side),
            flat_hand_mean=np.array(True),
        )
