"""Motions of MANO hands as ``.npz`` and ``.json`` (mathematics §3, §5).

What may be in them: :mod:`data.motion.captured`. ``flat_hand_mean`` false: the model's mean pose is added to the
fingers, as InterHand2.6M's annotations ask for.
"""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from pytorch3d.transforms import matrix_to_axis_angle

from data.formats.rates import check_rate
from data.motion.captured import (
    MANO_ORDER,
    Model,
    Models,
    captured_hands,
    is_captured,
    named_side,
    numbers,
    shape_of,
    stored_rate,
)  # fmt: skip
from model.topology import N_SHAPE
from utils.errors import InputError
from utils.files import atomic_write
from utils.safe_read import read_npz

LARGEST_JSON = 1 << 28
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
    stored = stored_rate(arrays)
    if stored is None:
        return None
    try:
        rate = float(stored)
    except (TypeError, ValueError):
        raise InputError(f"{path}: expected a number of frames per second, found {str(stored)[:40]!r}") from None
    return check_rate(rate, str(path), "correct it or give `fps`")


def read_mano_motion(path: str | os.PathLike, hands_mean: np.ndarray | None = None) -> ManoMotion:
    """The only hand of a file, or the right one of two.

    Args:
        path: ``.npz`` or ``.json``.
        hands_mean: (45,) mean pose of the model, needed where the file says ``flat_hand_mean`` false.

    Raises:
        InputError: there is no pose in the file, or an array has another shape or is not finite.
    """

    def models(_side: str) -> Model:
        if hands_mean is None:
            raise InputError("its poses are relative to MANO's mean pose; give the model with `smplx_path`")
        return Model(hands_mean, np.eye(45))

    return next(iter(read_mano_motions(path, models).values()))


def read_mano_motions(
    path: str | os.PathLike, models: Models, arrays: Mapping[str, np.ndarray] | None = None
) -> dict[str, ManoMotion]:
    """Read the motions of one MANO hand or of two.

    Args:
        path: ``.npz`` or ``.json``; its name tells the side where the content does not.
        models: side → what the model of that side says about poses.
        arrays: of the file, if they are read already.

    Returns:
        Side → motion, right before left.

    Raises:
        InputError: there is no pose in the file, or an array has another shape or is not finite.
    """
    path = Path(path)
    arrays = arrays_of(path) if arrays is None else arrays
    rate = frame_rate(path, arrays)
    try:
        hands = captured_hands(arrays, "left" if "left" in path.stem.lower() else None, models)
        named = named_side(arrays)
        motions = {}
        for side, hand in hands.items():
            shape, varying = _shape(arrays, side, len(hand.local))
            known = side if len(hands) > 1 or "is_right" in arrays else named
            motions[side] = ManoMotion(hand.local, hand.wrist, shape, rate, known, varying)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return motions


def is_mano_motion(arrays: Mapping[str, Any]) -> bool:
    """The arrays of a file are those of a MANO motion, as their names tell."""
    return is_captured(arrays)


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz``, or of a ``.json`` with one array a key or one object a frame; what is inside an
    object is called ``right.pose``."""
    return arrays_in(json_of(path)) if path.suffix.lower() == ".json" else read_npz(path)


def json_of(path: Path) -> Any:
    """The content of a ``.json``, also one with NaN in it."""
    if not path.is_file():
        raise InputError(f"{path}: expected a file, found {'a folder' if path.is_dir() else 'nothing'}")
    if path.stat().st_size > LARGEST_JSON:
        raise InputError(f"{path}: expected at most {LARGEST_JSON >> 20} MB of JSON, found more; write it as .npz")
    data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    looking = gc.isenabled()
    gc.disable()  # looking for rubbish among millions of new lists takes longer than reading them
    try:
        return orjson.loads(data)
    except ValueError:  # NaN and Infinity are no JSON, but Python writes them
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: this is not JSON ({str(error)[:80]}); write it again") from None
    finally:
        if looking:
            gc.enable()


def arrays_in(content: Any) -> dict[str, np.ndarray]:
    """The arrays of a ``.json``'s content, as `arrays_of`."""
    if isinstance(content, list) and content and all(isinstance(frame, Mapping) for frame in content):
        keys = [key for key in content[0] if all(key in frame for frame in content)]
        content = {key: [frame[key] for frame in content] for key in keys}
    if not isinstance(content, Mapping):
        return {"": _array(content)}
    return {str(name): _array(value) for name, value in flat(content).items()}


def flat(content: Mapping[str, Any]) -> dict[str, Any]:
    """What is inside an object under a name of its own: ``right.pose``."""
    return {
        name if inner is None else f"{name}.{inner}": value
        for name, given in content.items()
        for inner, value in (given.items() if isinstance(given, Mapping) else [(None, given)])
    }


def _array(value: object) -> np.ndarray:
    """A JSON value as an array; null is NaN. What has no shape becomes an array of text, which no pose is."""
    try:
        array = np.array(value)
        return np.array(value, dtype=np.float64) if array.dtype == object else array
    except (ValueError, TypeError):
        return np.array("")


def _shape(arrays: Mapping[str, np.ndarray], side: str, frames: int) -> tuple[np.ndarray | None, bool]:
    inner = {key[len(side) + 1 :]: value for key, value in arrays.items() if key.startswith(f"{side}.")}
    found = shape_of(inner or arrays)
    if found is None:
        return None, False
    key, shape = found[0], numbers(*found)
    if shape.ndim == 2 and len(shape) == 2 * frames:  # rows of both hands
        shape = shape[np.ravel(arrays["is_right"] if "is_right" in arrays else np.ones(2 * frames)) > 0.5]
    if shape.shape not in ((N_SHAPE,), (1, N_SHAPE), (frames, N_SHAPE)):
        raise InputError(f"expected {key} ({N_SHAPE},) or ({frames}, {N_SHAPE}), found {shape.shape}")
    shape = shape.reshape(-1, N_SHAPE)
    return shape.mean(axis=0), bool(np.abs(shape - shape[0]).max() > _SINGLE)


def write_mano_motion(path: str | os.PathLike, motion: ManoMotion) -> None:
    """Write a motion, complete or not at all.

    Keys: ``pose`` (F, 48) axis-angle in MANO's order, wrist first, relative to the flat rest pose
    (``flat_hand_mean`` true); ``local_rotations`` (F, 21, 3, 3) in hand order; ``shape`` (10,), ``fps``, ``side``.
    """
    frames = len(motion.local)
    turned = np.empty((frames, 16, 3, 3))
    turned[:, 0] = motion.wrist
    turned[:, [1 + place for place in MANO_ORDER]] = motion.local.reshape(frames, 15, 3, 3)
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
