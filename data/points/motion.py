"""From a file of positions to a motion of joints: hands with bones of their own, one pose a frame, no gaps."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from data.character.character import make_character
from data.formats.bvh import CHANNEL_NAMES, Bvh, euler_from_rotations
from data.formats.skeleton import bvh_skeleton
from data.points.files import PointFile, PointTrack
from data.points.hand import PALM, PointHand, fitted, is_of_image, of_one_size, palm_of, side_of, unit_of
from data.points.orders import Order, order_of_names, order_of_points
from data.points.solve import Fingers, solve
from model.kinematics import local_from_tbs, rest_pose, tbs_from_angles
from model.rotations import slerp
from model.topology import (
    BONES_PER_FINGER,
    JOINTS_PER_FINGER,
    MIDDLE,
    N_FINGERS,
    N_JOINTS,
    PARENTS,
    ROOTS,
    SIDES,
    WRIST,
    hand_joint_names,
)
from utils.errors import InputError

log = logging.getLogger(__name__)
GAP = 0.5
"""Seconds: a hand that was not seen for longer waits in its last pose until so long before it is seen again."""
ASPECTS = (1.0, 4 / 3, 16 / 9, 3 / 4, 9 / 16)
FAR = 1e9
"""Positions beyond, in the unit of the file or in centimetres, are damage: their squares near the end of numbers."""
ROOT = "Hands"
_ORDER = "ZYX"
_NAMED = 4  # gaps in a message


@dataclass(frozen=True)
class PointMotion:
    """A motion made of positions."""

    bvh: Bvh
    """Centimetres. One hand is its own root; two hang on a joint that rests."""
    radii: Mapping[str, np.ndarray]
    """Side → (21,) radii of joints, centimetres, where the file has them."""


@dataclass(frozen=True)
class _Track:
    """One hand, solved."""

    hand: PointHand
    local: np.ndarray
    """(F, 15, 3, 3) local rotations of the rotating joints."""
    wrist: np.ndarray
    place: np.ndarray
    radii: np.ndarray | None


def motion_of_points(
    path: Path, file: PointFile, rate: float, side: str | None = None, scale: float = 1.0
) -> PointMotion:  # fmt: skip
    """Solve the poses of all hands of a file.

    Args:
        path: for messages.
        file: what it holds.
        rate: frames per second.
        side: of a single hand that the file does not tell.
        scale: makes its lengths centimetres; 1: the unit is recognised by the hand's size.

    Raises:
        InputError: no hand was seen, its joints stand in no known order, its side cannot be told.
    """
    tracks: dict[str, _Track] = {}
    seen = [track for track in file.tracks if _seen(track.points).any()]
    if not seen:
        raise InputError(f"{path}: expected a hand in some frame, found none")
    for number, track in enumerate(seen):
        try:
            told = track.side or (side if len(seen) == 1 else None)
            solved = _solved(path, file, track, told, scale, rate)
        except InputError as error:
            which = f"hand {number + 1}: " if len(seen) > 1 else ""
            raise InputError(f"{path}: {which}{error}") from None
        if solved.hand.side in tracks:
            raise InputError(
                f"{path}: expected one {solved.hand.side} hand, found two; say in the file which is the left one"
            )
        tracks[solved.hand.side] = solved
    ordered = {side: tracks[side] for side in SIDES if side in tracks}
    radii = {side: track.radii for side, track in ordered.items() if track.radii is not None}
    return PointMotion(_bvh(list(ordered.values()), rate), radii)


def _seen(points: np.ndarray) -> np.ndarray:
    """(F,) bool: frames in which all joints are there, and not all in one place."""
    spread = np.ptp(points, axis=1).max(axis=-1)  # NaN where one is missing
    return (spread > 0) & np.isfinite(spread)


def _solved(path: Path, file: PointFile, track: PointTrack, said: str | None, scale: float, rate: float) -> _Track:
    seen = _seen(track.points)
    points = track.points[seen]
    _check_near(points, np.flatnonzero(seen), "")
    order = order_of_names(file.names or ()) or order_of_points(points)
    points, notes = points[:, list(order.joints)], []
    if is_of_image(points):
        points, unit, factor = _from_image(points, file)
    else:
        unit, factor = unit_of(points)
        if scale != 1:
            unit, factor = f"scaled by {scale:g}", scale
    if file.camera:
        points = points * np.array([1.0, -1, -1])
    points = points * factor
    _check_near(points, np.flatnonzero(seen), " centimetres")
    side, mirrored = side_of(points, said)
    if mirrored and file.camera:
        side = SIDES[1 - SIDES.index(side)]
        notes.append(f"called {said}, but bends as a {side} hand: taken as {side}")
    elif mirrored:
        points = points * np.array([-1.0, 1, 1])
        notes.append("bends as one of the other side: its coordinates are left-handed, and were mirrored in x")
    elif said is None:
        notes.append("told by how its fingers bend")
    hand = fitted(points, side)
    local, away = _poses(path, hand)
    palm = float(np.linalg.norm(hand.offsets[ROOTS[MIDDLE]]))
    log.warning(
        "note: %s: %s hand%s: %d joints in the order of %s, %s; palm %.1f cm; joints within %.2g mm of their points "
        "(mean; %.2g mm at the worst) at a 9 cm palm",
        path, side, f" ({'; '.join(notes)})" if notes else "", track.points.shape[1], order.name,
        unit or f"of no known unit: scaled to a palm of {PALM:g} cm", palm, away.mean() * 90 / palm,
        away.max() * 90 / palm,
    )  # fmt: skip
    radii = None if track.radii is None else _radii(track.radii, order, factor)
    return _without_gaps(path, _Track(hand, local, hand.wrist, hand.place, radii), seen, rate)


def _check_near(points: np.ndarray, frames: np.ndarray, unit: str) -> None:
    """Raise InputError for the first of some frames in which a point is farther away than `FAR`."""
    farthest = np.abs(points).max(axis=(1, 2))
    far = np.flatnonzero(~(farthest <= FAR))
    if len(far):
        raise InputError(
            f"frame {frames[far[0]]}: expected positions within {FAR:g}{unit}, found {farthest[far[0]]:g}; "
            "correct it or write null there"
        )


def _from_image(points: np.ndarray, file: PointFile) -> tuple[np.ndarray, str, float]:
    """Points of an image whose pixels are square, of one size in every frame; what they are, what makes them cm."""
    if file.image_size is not None:
        aspect, how = file.image_size[0] / file.image_size[1], "as the file says"
    else:
        # Bones keep their lengths only in an image of the right shape.
        spread = [_unsteady(points * np.array([each, 1, each])) for each in ASPECTS]
        sure = len(points) > 10 and min(spread) < 0.9 * spread[0]
        aspect = ASPECTS[int(np.argmin(spread))] if sure else 1.0
        how = "its bones are steadiest so" if sure else "taken so; width and height in the file say otherwise"
    points = of_one_size(points * np.array([aspect, 1, aspect]))
    what = f"normalised image units (width to height {aspect:.3g}: {how}), scaled to a palm of {PALM:g} cm"
    return points, what, PALM / palm_of(points)


def _unsteady(points: np.ndarray) -> float:
    bones = np.linalg.norm(np.diff(of_one_size(points)[:, 1:].reshape(-1, N_FINGERS, 4, 3), axis=2), axis=-1)
    return float((bones.std(0) / bones.mean(0)).mean())


def _radii(radii: np.ndarray, order: Order, factor: float) -> np.ndarray:
    """(21,) medians in hand order, centimetres."""
    return np.nanmedian(radii, axis=0)[list(order.joints)] * factor


# -- poses ---------------------------------------------------------------------------------------------------------


def _poses(path: Path, hand: PointHand) -> tuple[np.ndarray, np.ndarray]:
    """(F, 15, 3, 3) local rotations of the rotating joints, and (F, 5, 3) what is left of distances, centimetres.

    The axes are those that a program finds which reads the hand as a bare skeleton.
    """
    names, still = hand_joint_names("mixamo", hand.side), np.zeros((0, N_JOINTS, 3, 3))
    skeleton = bvh_skeleton(Bvh.from_rotations(names, PARENTS, hand.offsets, still, frame_time=0.0))
    axes = torch.from_numpy(make_character(path.stem, path, skeleton).hand(hand.side).axes)
    offsets = torch.from_numpy(hand.offsets)
    rest = rest_pose(offsets)
    rows = axes[:, :1] @ rest[:, :1].mT
    bones = hand.offsets[1:].reshape(N_FINGERS, JOINTS_PER_FINGER, 3)
    fingers = Fingers(
        rows[:, 0].numpy(), bones[:, 0], np.linalg.norm(bones[:, 1:], axis=-1), float(np.linalg.norm(bones[MIDDLE, 0]))
    )
    angles, away = solve(fingers, hand.fingers)
    local = local_from_tbs(tbs_from_angles(torch.from_numpy(angles)), axes, rest)
    return local.numpy().reshape(-1, N_FINGERS * BONES_PER_FINGER, 3, 3), away


def _without_gaps(path: Path, track: _Track, seen: np.ndarray, rate: float) -> _Track:
    """Poses for all frames: through short gaps from the pose before to the one after; in long ones the hand waits."""
    if seen.all():
        return track
    frames = np.flatnonzero(seen)
    wanted = np.arange(len(seen))
    after = np.clip(np.searchsorted(frames, wanted), 0, len(frames) - 1)
    before = np.clip(np.searchsorted(frames, wanted, side="right") - 1, 0, len(frames) - 1)
    begin = np.maximum(frames[before], frames[after] - GAP * rate)
    share = np.clip((wanted - begin) / np.maximum(frames[after] - begin, 1e-9), 0, 1)
    share = np.where(before == after, 0.0, share)
    _say_gaps(path, track.hand.side, seen, rate)
    turns = np.concatenate([track.wrist[:, None], track.local], axis=1)
    between = turns[before]
    moving = np.flatnonzero(share > 0)
    first, last = (torch.from_numpy(turns[which[moving]]) for which in (before, after))
    between[moving] = slerp(first, last, torch.from_numpy(share[moving, None, None])).numpy()
    place = track.place[before] + share[:, None] * (track.place[after] - track.place[before])
    return _Track(track.hand, between[:, 1:], between[:, 0], place, track.radii)


def _say_gaps(path: Path, side: str, seen: np.ndarray, rate: float) -> None:
    edges = np.flatnonzero(np.diff(np.concatenate([[1], seen, [1]]).astype(np.int8)))
    gaps = edges.reshape(-1, 2)
    inner = (gaps[:, 0] > 0) & (gaps[:, 1] < len(seen))
    short = inner & (gaps[:, 1] - gaps[:, 0] <= GAP * rate)
    for which, what in ((short, "filled"), (~short, "it waits in its last pose")):
        if which.any():
            spans = [f"{a} to {b - 1}" if b - a > 1 else f"{a}" for a, b in gaps[which][:_NAMED]]
            more = ", …" if which.sum() > _NAMED else ""
            log.warning("note: %s: %s hand not seen in frames %s%s: %s", path, side, ", ".join(spans), more, what)


# -- joints --------------------------------------------------------------------------------------------------------


def _bvh(tracks: Sequence[_Track], rate: float) -> Bvh:
    """One hierarchy of all hands; wrists have places."""
    names: list[str] = [ROOT] if len(tracks) > 1 else []
    parents, offsets = [-1] * len(names), [np.zeros((len(names), 3))]
    channels: list[tuple[str, ...]] = [()] * len(names)
    values = []
    turning = tuple(f"{axis}rotation" for axis in _ORDER)
    for track in tracks:
        start = len(names)
        names += hand_joint_names("mixamo", track.hand.side)
        parents += [start + parent if parent >= 0 else 0 if len(tracks) > 1 else -1 for parent in PARENTS]
        offsets.append(track.hand.offsets)
        turns = np.concatenate([track.wrist[:, None], track.local], axis=1)
        angles = np.degrees(euler_from_rotations(turns, _ORDER))
        values += [track.place, angles.reshape(len(turns), -1)]
        moved = [WRIST, *(root + k for root in ROOTS for k in range(BONES_PER_FINGER))]
        channels += [
            (CHANNEL_NAMES[:3] if joint == WRIST else ()) + (turning if joint in moved else ())
            for joint in range(N_JOINTS)
        ]
    return Bvh(
        tuple(names), np.array(parents, np.int64), np.concatenate(offsets), tuple(channels),
        np.concatenate(values, axis=1), 1 / rate,
    )  # fmt: skip
