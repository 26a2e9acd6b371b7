"""Poses of MANO hands as capture programs and data sets spell them (mathematics §3).

Files differ in what they call things and in how they write rotations; both are in the tables below. Whole bodies
(SMPL-X, SMPL+H: AMASS, BEAT2) hold both hands behind the body's joints; single hands come as axis-angle (MANO,
InterHand2.6M, ARCTIC), as rotation matrices (HaMeR, WiLoR) or as numbers of the model's principal components (DexYCB,
GRAB). Nothing here opens a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pytorch3d.transforms import axis_angle_to_matrix

from model.topology import MANO_BONES, SIDES
from utils.errors import InputError
from utils.markdown import table_of_keys

POSES = ("fullpose", "pose", "poses", "pose_m", "hand_pose", "local_rotations")
"""One hand, both, or a whole body, as the width says; the first that is there counts."""
HANDS = {side: (f"{side}_hand_pose", f"{side[0]}hand_pose", f"{side[0]}h_pose", f"{side}_pose") for side in SIDES}
"""One hand of two."""
BOTH_HANDS = ("pose_hand",)
WRISTS = ("global_orient", "rot", "root_orient", "hand_rot", "root_pose")
"""How a hand, or a body, is turned in space."""
BODIES = ("body_pose", "pose_body")
RATES = ("fps", "frame_rate", "framerate", "mocap_frame_rate", "mocap_framerate")
SHAPES = ("shape", "betas", "mano_betas")
NAMED_SIDES = ("side", "mano_side", "hand_side", "handedness")
RIGHT_OR_NOT = ("is_right", "is_rhand")
"""1: a right hand; 0: a left one, given as its mirror image, a right hand."""
WIDTHS = {"SMPL-X": 165, "SMPL+H": 156}
DEXYCB = 51
"""Three numbers for the wrist, 45 components, three of translation."""

LARGEST = 1e9
"""Angles and shapes beyond are damage; the squares of what is within are numbers."""
MANO_ORDER = [bone - 1 for bone in MANO_BONES]
"""For each of the 15 rotating joints in hand order, its place in MANO's pose."""
_ARMS = {"right": (0, 3, 6, 9, 14, 17, 19, 21), "left": (0, 3, 6, 9, 13, 16, 18, 20)}
"""The joints of an SMPL body from the pelvis down to each wrist."""
_MIRROR = np.diag([-1.0, 1, 1])


@dataclass(frozen=True)
class Model:
    """What a MANO model knows about poses."""

    mean: np.ndarray
    """(45,) the mean pose."""
    components: np.ndarray
    """(45, 45), one principal component a row."""


Models = Callable[[str], Model]
"""Side → its model, read when it is needed. Raises InputError if there is none."""


@dataclass(frozen=True)
class Captured:
    """One hand."""

    local: np.ndarray
    """(F, 5, 3, 3, 3) local rotations of the rotating joints, in hand order, relative to flat rest."""
    wrist: np.ndarray
    """(F, 3, 3) rotation of the wrist in space."""


def is_captured(arrays: Mapping[str, Any]) -> bool:
    """The arrays of a file are poses of hands."""
    known = (*POSES, *BOTH_HANDS, *HANDS["right"], *HANDS["left"])
    return any(key in arrays for key in known) or any(f"{side}.{key}" in arrays for side in SIDES for key in known)


def stored_rate(arrays: Mapping[str, np.ndarray]) -> Any:
    """What a file says about frames per second; None if it says nothing."""
    key = _first(arrays, RATES) or next((key for key in arrays if key.rpartition(".")[2] in RATES), None)
    return None if key is None or not arrays[key].size else np.ravel(arrays[key])[0]


def captured_hands(arrays: Mapping[str, np.ndarray], side: str | None, models: Models) -> dict[str, Captured]:
    """The hands of a file, right before left.

    Args:
        arrays: by name; those of two hands may be called ``right.pose``, ``left.pose``.
        side: of a single hand that the file does not tell; None: right.
        models: for poses that are relative to a mean or to principal components.

    Raises:
        InputError: there is no pose, or an array has another shape or is not finite.
    """
    nested = {one: {k[len(one) + 1 :]: v for k, v in arrays.items() if k.startswith(f"{one}.")} for one in SIDES}
    if any(nested.values()):
        return {one: _one(part, one, models) for one, part in nested.items() if is_captured(part)}
    if _first(arrays, (*HANDS["right"], *HANDS["left"], *BOTH_HANDS)) or _is_body(arrays):
        return dict(_of_body(arrays, models))
    flags = _first(arrays, RIGHT_OR_NOT)
    if flags is not None:
        return _mirrored(arrays, np.ravel(arrays[flags]) > 0.5, models)
    side = named_side(arrays) or side or SIDES[0]
    return {side: _one(arrays, side, models)}


def named_side(arrays: Mapping[str, np.ndarray]) -> str | None:
    """The side that a file names; None if it names none."""
    key = _first(arrays, NAMED_SIDES)
    if key is None or not arrays[key].size:
        return None
    word = str(np.ravel(arrays[key])[0]).lower()
    side = {"r": "right", "l": "left"}.get(word, word)
    if side not in SIDES:
        raise InputError(f"expected {key} to be right or left, found {word[:40]!r}")
    return side


def shape_of(arrays: Mapping[str, np.ndarray]) -> tuple[str, np.ndarray] | None:
    """(key, values) of a hand's shape; None if the file has none, or that of a whole body."""
    key = _first(arrays, SHAPES)
    return None if key is None or _is_body(arrays) or _first(arrays, BODIES) else (key, arrays[key])


# -- layouts -------------------------------------------------------------------------------------------------------


def _first(arrays: Mapping[str, np.ndarray], keys: tuple[str, ...]) -> str | None:
    return next((key for key in keys if key in arrays), None)


def _is_body(arrays: Mapping[str, np.ndarray]) -> bool:
    key = _first(arrays, POSES)
    return key is not None and arrays[key].ndim == 2 and arrays[key].shape[1] in WIDTHS.values()


def _mirrored(arrays: Mapping[str, np.ndarray], right: np.ndarray, models: Models) -> dict[str, Captured]:
    """Right hands and mirror images of left ones, row by row; as many of each if there are both."""
    whole = _one(arrays, "right", models)
    if right.size == 1:
        right = np.repeat(right, len(whole.local))
    if right.size != len(whole.local) or right.any() and not right.all() and 2 * right.sum() != right.size:
        raise InputError(
            f"expected is_right to be the same in all {len(whole.local)} frames, or both hands in every frame, found "
            f"{right.sum()} right and {right.size - right.sum()} left ones; write each hand into a file of its own"
        )
    hands = {}
    for side, rows in (("right", right), ("left", ~right)):
        if rows.any():
            local, wrist = whole.local[rows], whole.wrist[rows]
            mirrored = side == "left"
            turn = _MIRROR if mirrored else np.eye(3)
            hands[side] = Captured(turn @ local @ turn, turn @ wrist @ turn)
    return hands


def _of_body(arrays: Mapping[str, np.ndarray], models: Models) -> Iterator[tuple[str, Captured]]:
    """Both hands of a body, or of a file that holds two hands side by side."""
    key = _first(arrays, POSES) or ""
    whole = numbers(key, arrays[key]) if _is_body(arrays) else None
    for side in SIDES:
        own = _first(arrays, HANDS[side])
        if own is not None:
            pose = numbers(own, arrays[own])
        elif (both := _first(arrays, BOTH_HANDS)) is not None:
            pose = _halves(both, numbers(both, arrays[both]))[side]
        elif whole is not None:
            pose = _halves(key, whole[:, -90:])[side]
        else:
            continue
        fingers = _fingers(own or key, pose, side, arrays, models)
        yield side, Captured(fingers, _wrist_of_body(arrays, whole, side, len(fingers)))


def _halves(key: str, pose: np.ndarray) -> dict[str, np.ndarray]:
    pose = pose.reshape(len(pose), -1)
    if pose.shape[1] != 90:
        raise InputError(f"expected {key} (frames, 90), the left hand and the right one, found {pose.shape}")
    return {"left": pose[:, :45], "right": pose[:, 45:]}


def _wrist_of_body(
    arrays: Mapping[str, np.ndarray], whole: np.ndarray | None, side: str, frames: int
) -> np.ndarray:  # fmt: skip
    """(F, 3, 3): the turns of all joints from the pelvis to a wrist, one after the other."""
    if whole is not None:
        turns = whole[:, :66]
    else:
        root, body = _first(arrays, WRISTS), _first(arrays, BODIES)
        if body is None:
            return np.broadcast_to(np.eye(3), (frames, 3, 3))
        turns = numbers(body, arrays[body]).reshape(frames, -1)[:, :63]
        above = np.zeros((frames, 3)) if root is None else numbers(root, arrays[root]).reshape(frames, 3)
        turns = np.concatenate([above, turns], axis=1)
    result = np.eye(3)
    for turn in np.moveaxis(_turned(turns.reshape(frames, 22, 3)), 1, 0)[list(_ARMS[side])]:
        result = result @ turn
    return result


def _one(arrays: Mapping[str, np.ndarray], side: str, models: Models) -> Captured:
    """The hand of a file that holds one."""
    key = _first(arrays, POSES)
    if key is None:
        raise InputError(
            "expected a MANO motion: pose, poses, hand_pose, fullpose or local_rotations, or left_hand_pose and "
            f"right_hand_pose; found {', '.join(list(arrays)[:8]) or 'nothing'}"
        )
    pose = numbers(key, arrays[key])
    own = _first(arrays, WRISTS)
    if key == "local_rotations" and pose.ndim < 3:
        raise InputError(f"expected local_rotations (frames, 15, 16 or 21, 3, 3), found {pose.shape}")
    if key == "pose_m":
        pose = pose.reshape(-1, pose.shape[-1])
        if pose.shape[1] != DEXYCB:
            raise InputError(f"expected pose_m (frames, {DEXYCB}), found {pose.shape}")
        wrist = _turned(pose[:, :3])
        return Captured(_arranged(_from_components(pose[:, 3:48], side, models, mean=True)), wrist)
    if pose.ndim == 1:
        pose = pose[None]
    turned = _as_rotations(key, pose)
    if turned is not None and turned.shape[1] > 15 and own is None:
        wrist = turned[:, 0]
    else:
        frames = len(pose) if turned is None else len(turned)
        wrist = np.broadcast_to(np.eye(3), (frames, 3, 3)) if own is None else _wrist(own, arrays[own], frames)
    return Captured(_fingers(key, pose, side, arrays, models), wrist)


def _wrist(key: str, values: np.ndarray, frames: int) -> np.ndarray:
    values = numbers(key, values)
    if values.size == 9 * frames:
        return _checked(key, values.reshape(frames, 3, 3))
    if values.size != 3 * frames:
        raise InputError(f"expected {key} ({frames}, 3), found {values.shape}")
    return _turned(values.reshape(frames, 3))


# -- rotations -----------------------------------------------------------------------------------------------------


def _fingers(key: str, pose: np.ndarray, side: str, arrays: Mapping[str, np.ndarray], models: Models) -> np.ndarray:
    """(F, 5, 3, 3, 3) of a pose as the file has it."""
    turned = _as_rotations(key, pose)
    flat = arrays.get("flat_hand_mean")
    relative = bool(flat is not None and flat.size and not np.ravel(flat)[0])
    if turned is None:
        return _arranged(_from_components(pose.reshape(len(pose), -1), side, models, flat is None or relative))
    if relative and pose.reshape(len(pose), -1).shape[1] in (45, 48):
        vectors = pose.reshape(len(pose), -1)[:, -45:] + models(side).mean
        return _arranged(_turned(vectors.reshape(len(pose), 15, 3)))
    if turned.shape[1] == 21:
        return turned[:, 1:].reshape(len(turned), 5, 4, 3, 3)[:, :, :3]
    return _arranged(turned[:, -15:])


def _as_rotations(key: str, pose: np.ndarray) -> np.ndarray | None:
    """(F, 15, 16 or 21, 3, 3) in the order of the file; None where the numbers are those of components.

    Raises:
        InputError: they have a shape that means neither.
    """
    if pose.ndim == 3 and pose.shape[-2:] == (3, 3) and len(pose) in (15, 16, 21):
        pose = pose[None]
    frames, width = len(pose), int(np.prod(pose.shape[1:]))
    if not frames or pose.ndim == 3 and pose.shape[2] not in (3, 9) or pose.ndim > 4:
        width = 0
    for count in (15, 16, 21):
        if width == 9 * count and (pose.ndim == 4 or count < 21):
            return _checked(key, pose.reshape(frames, count, 3, 3))
        if width == 3 * count and count < 21:
            return _turned(pose.reshape(frames, count, 3))
    if pose.ndim == 2 and 0 < width < 45 and key.endswith("hand_pose"):
        return None
    raise InputError(
        f"expected {key} as axis-angle (frames, 45 or 48), as matrices (frames, 15 or 16, 3, 3), or of a whole body "
        f"(frames, {' or '.join(map(str, WIDTHS.values()))}), found {pose.shape}"
    )


def _from_components(coefficients: np.ndarray, side: str, models: Models, mean: bool) -> np.ndarray:
    """(F, 15, 3, 3) of (F, n) numbers of the first n principal components."""
    model = models(side)
    vectors = coefficients @ model.components[: coefficients.shape[1]] + (model.mean if mean else 0)
    return _turned(vectors.reshape(len(vectors), 15, 3))


def _arranged(turned: np.ndarray) -> np.ndarray:
    """(F, 15, 3, 3) in MANO's order → (F, 5, 3, 3, 3) in hand order."""
    return turned[:, MANO_ORDER].reshape(len(turned), 5, 3, 3, 3)


def _turned(vectors: np.ndarray) -> np.ndarray:
    """Axis-angle (…, 3) → (…, 3, 3)."""
    return axis_angle_to_matrix(torch.from_numpy(np.ascontiguousarray(vectors))).numpy()


def _checked(key: str, matrices: np.ndarray) -> np.ndarray:
    """Matrices (…, 3, 3) that are rotations."""
    error = np.abs(matrices @ np.swapaxes(matrices, -1, -2) - np.eye(3)).max(initial=0.0)
    if error > 1e-3 or (np.linalg.det(matrices) < 0).any():
        raise InputError(f"expected rotations in {key}, found matrices that are none")
    return matrices


def numbers(key: str, values: np.ndarray) -> np.ndarray:
    """Values as float64, if they are finite numbers, and none that cannot be meant."""
    if values.dtype.kind not in "fiu":
        raise InputError(f"expected numbers in {key}, found {values.dtype}")
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        raise InputError(f"expected finite numbers in {key}, found NaN or infinity in frame {bad[0][0]}")
    large = np.argwhere(np.abs(values) > LARGEST)
    if len(large):
        found = values[tuple(large[0])]
        raise InputError(f"expected numbers within {LARGEST:g} in {key}, found {found:g} in frame {large[0][0]}")
    return values.astype(np.float64)


def listing() -> str:
    """What is read of ``.npz`` and ``.json``, as a table for DATA.md."""
    rows = {
        "one hand, or a whole body": POSES,
        "one hand of two": (*HANDS["right"], *HANDS["left"], *BOTH_HANDS),
        "the wrist, or the body's root": WRISTS,
        "the body, down to the wrists": BODIES,
        "frames per second": RATES,
        "shape": SHAPES,
        "side": (*NAMED_SIDES, *RIGHT_OR_NOT),
    }
    return table_of_keys("keys", rows)
