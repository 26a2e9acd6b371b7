"""Files that hold positions of hand joints, whatever they are called there: ``.json``, ``.csv``, ``.npy``, ``.npz``.

Joints come as (frames, joints, 3), nested or flat, of one hand or of two; in JSON one frame an object too, as
MediaPipe and WebXR recorders write them. Nothing here knows what a hand looks like.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from data.points.orders import COUNTS
from model.topology import SIDES
from utils.errors import InputError
from utils.markdown import table_of_keys

SIDE_WORDS = {"right": "right", "r": "right", "rh": "right", "left": "left", "l": "left", "lh": "left"}
POINT_WORDS = ("joint", "joints", "landmark", "landmarks", "keypoint", "keypoints", "point", "points", "position",
               "positions", "skeleton", "xyz")  # fmt: skip
"""A key is one of positions if it is made of these words and those of a side; `OTHER_WORDS` may be among them."""
OTHER_WORDS = ("hand", "hands", "multi", "world", "3d", "coords", "coordinates", "data", "kp")
RADIUS_WORDS = ("radius", "radii")
LABELS = ("handedness", "hand", "side", "label", "category", "multihandedness", "handednesses")
FRAME_LISTS = ("frames", "data", "poses", "recording", "samples")
NAME_KEYS = ("joint_names", "jointnames", "names_of_joints", "joints_order", "landmark_names")
RATES = ("fps", "frame_rate", "framerate", "rate")
TIME_KEYS = ("time", "timestamp", "timestamp_ms", "timestampMs", "t")
CAMERA_WORD = "landmark"
"""Who calls joints so (MediaPipe) counts y downwards and z away from the camera."""


@dataclass(frozen=True)
class PointTrack:
    """What a file holds of one hand."""

    side: str | None
    """None: the file does not tell."""
    points: np.ndarray
    """(F, n, 3) in the file's unit and order; NaN where the hand was not seen."""
    radii: np.ndarray | None = None
    """(F, n) of the same."""


@dataclass(frozen=True)
class PointFile:
    """What a file of positions holds."""

    tracks: Sequence[PointTrack]
    names: Sequence[str] | None = None
    """Of the joints, if the file names them."""
    camera: bool = False
    """y counts downwards and z away from who looks."""
    rate: float | None = None
    """Frames per second; None: the file does not tell."""
    image_size: tuple[float, float] | None = None
    """Width and height of the image that normalised coordinates are shares of."""


@dataclass
class _Hand:
    """One hand in one frame."""

    side: str | None
    points: Any
    radii: Any = None


@dataclass
class _Found:
    """What `_hands` comes across on the way."""

    camera: bool = False
    names: Sequence[str] | None = field(default=None)


def are_points(content: Any) -> bool:
    """Whether the content of a file is one of positions, as far as its keys and widths tell."""
    if isinstance(content, np.ndarray):
        return _count(content.shape) is not None
    if isinstance(content, Mapping):
        if any(_meaning(key) is not None and not _is_label(key, value) for key, value in content.items()):
            return True
        if isinstance(content.get("hands"), (list, Mapping)) and are_points(content["hands"]):
            return True
        lists = _frame_list(content)
        return lists is not None and are_points(lists)
    if isinstance(content, list):
        there = next((item for item in content if item), None)
        if isinstance(there, Mapping):
            return are_points(there) or {"x", "y", "z"} <= there.keys()
        return isinstance(there, list) and _depth(content) >= 2
    return False


def points_of_arrays(arrays: Mapping[str, np.ndarray]) -> PointFile:
    """The positions among the arrays of an ``.npz``, or the one of a ``.npy`` under the name ``points``.

    Raises:
        InputError: an array has another shape.
    """
    found: dict[str | None, dict[str, np.ndarray]] = {}
    camera = False
    for key, value in arrays.items():
        meaning = _meaning(key)
        if meaning is None or _is_label(key, value):
            continue
        kind, side = meaning
        found.setdefault(side, {})[kind] = np.asarray(value)
        camera |= CAMERA_WORD in key.lower()
    said = next((labelled_side(np.ravel(value)[0]) for key, value in arrays.items() if _is_label(key, value)), None)
    tracks = []
    for side, parts in sorted(found.items(), key=lambda each: SIDES.index(each[0] or SIDES[0])):
        if "points" not in parts:
            continue
        for points in _hands_of_array(_numbers(parts["points"])):
            tracks.append(PointTrack(side or said, points, _radii(parts.get("radii"), points)))
    names = next((value for key, value in arrays.items() if _plain(key) in map(_plain, NAME_KEYS)), None)
    return PointFile(tracks, None if names is None else [str(name) for name in np.ravel(names)], camera,
                     told_rate(arrays), _image_size(arrays))  # fmt: skip


def points_of_json(content: Any) -> PointFile:
    """The positions in the content of a ``.json``.

    Raises:
        InputError: a frame has another number of joints than the others, or something that is no number.
    """
    head: Mapping[str, Any] = content if isinstance(content, Mapping) else {}
    frames = _frame_list(content)
    notes = _Found(names=next((head[key] for key in head if _plain(key) in map(_plain, NAME_KEYS)), None))
    if frames is None:
        hands = list(_hands(content, notes))
        tracks = []
        for hand in hands:
            for points in _hands_of_array(_block([hand.points])[0]):
                tracks.append(PointTrack(hand.side, points, _radii(hand.radii, points)))
        return PointFile(tracks, notes.names, notes.camera, told_rate(head), _image_size(head))
    said = next((labelled_side(value) for key, value in head.items() if _is_label(key, value)), None)
    rows: dict[Any, list[_Hand | None]] = {}
    for number, frame in enumerate(frames):
        for place, hand in enumerate(_hands(frame, notes)):
            key = hand.side or said or place
            if (row := rows.get(key)) is not None and len(row) > number and hand.side in SIDES:
                key = SIDES[1 - SIDES.index(hand.side)]  # two hands of one name: the other one
            row = rows.setdefault(key, [])
            row += [None] * (number - len(row))
            if len(row) == number:
                row.append(hand)
    tracks = []
    for key, row in rows.items():
        points = _frames_of([None if hand is None else hand.points for hand in row], len(frames))
        radii = [hand.radii for hand in row if hand is not None and hand.radii is not None]
        tracks.append(PointTrack(key if isinstance(key, str) else None, points, _radii(radii or None, points)))
    tracks.sort(key=lambda track: SIDES.index(track.side or SIDES[0]))
    rate = told_rate(head) or _rate_of_frames(frames)
    return PointFile(tracks, notes.names, notes.camera, rate, _image_size(head))


def told_rate(arrays: Mapping[str, Any]) -> float | None:
    """Frames per second as a file says them. Raises InputError if it says something else."""
    stored = next((arrays[key] for key in RATES if key in arrays), None)
    if stored is None:
        return None
    try:
        return float(np.ravel(stored)[0])
    except (TypeError, ValueError, IndexError):
        raise InputError(f"expected a number of frames per second, found {str(stored)[:40]!r}") from None


def rate_of_times(times: np.ndarray, frames: np.ndarray) -> float | None:
    """Frames per second of times in seconds, milli- or microseconds, of some frames; None if they tell none."""
    passed = np.diff(frames)
    steps = np.diff(times)[passed > 0] / passed[passed > 0]
    steps = steps[np.isfinite(steps) & (steps > 0)]
    if not len(steps):
        return None
    step = float(np.median(steps))
    rate = 1 / (step if step < 1 else step / 1e3 if step < 1e3 else step / 1e6)
    return float(round(rate)) if abs(rate - round(rate)) < 0.01 * rate else rate


def _rate_of_frames(frames: list) -> float | None:
    key = next((key for key in TIME_KEYS if isinstance(frames[0], Mapping) and key in frames[0]), None)
    if key is None or not all(
        isinstance(frame, Mapping) and isinstance(frame.get(key), (int, float)) for frame in frames
    ):
        return None
    return rate_of_times(np.array([frame[key] for frame in frames], dtype=np.float64), np.arange(len(frames)))


# -- keys ----------------------------------------------------------------------------------------------------------


def _words(key: str) -> list[str]:
    """Lower-case words of ``multiHandWorldLandmarks``, ``right.joint_positions``, ``keypoints_3d``."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", str(key))
    return [word for word in re.split(r"[^a-z0-9]+", parted.lower()) if word]


def _plain(key: str) -> str:
    return "".join(_words(key))


def _meaning(key: str) -> tuple[str, str | None] | None:
    """("points" or "radii", side or None) of a key; None for one of something else."""
    words = _words(key)
    sides = [SIDE_WORDS[word] for word in words if word in SIDE_WORDS]
    known = (*SIDE_WORDS, *POINT_WORDS, *OTHER_WORDS, *RADIUS_WORDS)
    if not words or any(word not in known for word in words):
        return None
    if any(word in RADIUS_WORDS for word in words):
        return "radii", sides[0] if sides else None
    if sides or any(word in POINT_WORDS for word in words):
        return "points", sides[0] if sides else None
    return None


def _is_label(key: str, value: Any) -> bool:
    """Whether a key says whose hand it is."""
    if _plain(key) not in LABELS:
        return False
    return isinstance(value, str) or isinstance(value, np.ndarray) and value.dtype.kind in "US" and value.size > 0


def labelled_side(label: Any) -> str | None:
    """The side in ``"Right"``, ``{"label": "Left"}``, ``[{"categoryName": "Left"}]``, ``[[…]]``."""
    if isinstance(label, str):
        return SIDE_WORDS.get(label.strip().lower().removesuffix("hand").strip(" _-"))
    if isinstance(label, Mapping):
        words = (label.get(key) for key in ("categoryName", "category_name", "label", "displayName", "handedness"))
        return next((side for word in words if (side := labelled_side(word)) is not None), None)
    if isinstance(label, list) and label:
        return labelled_side(label[0])
    return None


def _image_size(head: Mapping[str, Any]) -> tuple[float, float] | None:
    sizes = [head.get(key, head.get(f"image_{key}")) for key in ("width", "height")]
    if any(size is None for size in sizes):
        return None
    try:
        width, height = (float(np.ravel(size)[0]) for size in sizes if size is not None)
    except (TypeError, ValueError, IndexError):
        return None
    return (width, height) if width > 0 and height > 0 else None


# -- JSON ----------------------------------------------------------------------------------------------------------


def _frame_list(content: Any) -> list | None:
    """The list with one item a frame; None if frames are inside the arrays."""
    if isinstance(content, Mapping):
        return next((content[key] for key in FRAME_LISTS if isinstance(content.get(key), list)), None)
    if isinstance(content, list) and any(isinstance(item, Mapping) and not _is_point(item) for item in content):
        return content
    return None


def _hands(frame: Any, notes: _Found) -> Iterator[_Hand]:
    """The hands of one frame, or of a file whose arrays hold the frames."""
    if frame is None:
        return
    if isinstance(frame, list):
        if frame and all(isinstance(item, Mapping) and not _is_point(item) for item in frame):
            for item in frame:
                yield from _hands(item, notes)
        elif frame:
            yield _Hand(None, frame)
        return
    if not isinstance(frame, Mapping):
        raise InputError(f"expected hands in a frame, found {str(frame)[:40]!r}")
    labels = [value for key, value in frame.items() if _plain(key) in LABELS and not isinstance(value, (int, float))]
    found: dict[str, dict[str | None, Any]] = {"points": {}, "radii": {}}
    for key, value in frame.items():
        kind, side = _meaning(key) or (None, None)
        if isinstance(value, Mapping) and kind == "points" or _plain(key) == "hands" and value:
            for hand in _hands(value, notes):
                yield _Hand(hand.side or side, hand.points, hand.radii)
        elif kind is None or isinstance(value, str):
            continue
        elif value is not None and (_plain(key) not in LABELS or _depth(value) > 1):
            if kind == "points" and side in found["points"] and "world" not in _words(key):
                continue  # metres rather than shares of the image
            found[kind][side] = value
            notes.camera |= kind == "points" and CAMERA_WORD in str(key).lower()
    for side, points in found["points"].items():
        radii = found["radii"].get(side)
        several = side is None and _several(points, labels)
        for place, own in enumerate(points if several else [points]):
            label = None
            if labels:
                each = labels[0]
                label = each[place] if several and isinstance(each, list) and len(each) > place else each
            yield _Hand(side or labelled_side(label), own, radii[place] if several and radii is not None else radii)


def _several(points: Any, labels: list[Any]) -> bool:
    """Whether points are those of some hands, one after the other, rather than of one."""
    if not isinstance(points, list) or not points or _depth(points) < 3:
        return False
    named = labels and isinstance(labels[0], list)
    return len(points) <= 2 and (named is True or len(points[0]) in COUNTS) and not (
        labels and isinstance(labels[0], str))  # fmt: skip


def _is_point(item: Any) -> bool:
    return isinstance(item, Mapping) and {"x", "y"} <= item.keys()


def _depth(value: Any) -> int:
    """How deep lists lie in each other; a point of named coordinates counts as one."""
    if isinstance(value, np.ndarray):
        return value.ndim
    if _is_point(value):
        return 1
    there = next((item for item in value if item is not None), None) if isinstance(value, list) else None
    return 0 if not isinstance(value, list) else 1 + _depth(there)


def _unnamed(points: Any) -> Any:
    """Points as lists, where they are objects of x, y, z."""
    if isinstance(points, list) and points and any(_is_point(item) for item in points):
        lost = [None, None, None]
        return [lost if item is None else [item.get("x"), item.get("y"), item.get("z")] for item in points]
    if isinstance(points, list) and _depth(points) > 2:
        return [_unnamed(item) for item in points]
    return points


def _block(rows: list[Any]) -> np.ndarray:
    """Rows that all hold the same, as numbers; null is NaN."""
    try:
        return _numbers(np.array([_unnamed(row) for row in rows], dtype=np.float64))
    except (ValueError, TypeError):
        raise InputError(f"expected as many numbers in every frame, found others; {_EXPECTED}") from None


def _frames_of(rows: list[Any], count: int) -> np.ndarray:
    """(F, n, 3) of what each frame holds of a hand, None where it holds nothing."""
    there = [(number, _unnamed(row)) for number, row in enumerate(rows) if row is not None and len(row)]
    if not there:
        return np.full((count, COUNTS[0], 3), np.nan)
    numbers, values = zip(*there, strict=True)
    try:
        block = np.array(values, dtype=np.float64)
    except (ValueError, TypeError):
        _explain(numbers, values)
        raise
    if block.ndim == 4 and block.shape[1] == 1:
        block = block[:, 0]
    block = _shaped(block)
    result = np.full((count, *block.shape[1:]), np.nan)
    result[list(numbers)] = block
    return result


def _explain(numbers: Sequence[int], values: Sequence[Any]) -> None:
    """Raise InputError for the first frame that is not as the first one."""
    wanted: tuple[int, ...] | None = None
    for number, value in zip(numbers, values, strict=True):
        try:
            shape = np.array(value, dtype=np.float64).shape
        except (ValueError, TypeError):
            shape = None
        if shape is None or wanted not in (None, shape):
            found = "something that is no list of points" if shape is None else f"an array of {shape}"
            raise InputError(f"frame {number}: {_EXPECTED}, found {found}; correct it or write null there")
        wanted = shape


# -- arrays --------------------------------------------------------------------------------------------------------

_EXPECTED = f"expected {', '.join(map(str, COUNTS))} points of three numbers a hand"


def _count(shape: tuple[int, ...]) -> int | None:
    """Joints a hand in an array of this shape; None if it is none of positions."""
    if len(shape) >= 2 and shape[-1] in (3, 4) and shape[-2] in COUNTS:
        return shape[-2]
    if 0 < len(shape) < 3:
        width = shape[len(shape) - 1]
        for numbers in (3, 4):
            if width % numbers == 0 and width // numbers in COUNTS:
                return width // numbers
    return None


def _shaped(block: np.ndarray) -> np.ndarray:
    """(F, n, 3) of frames as a file has them: (n, 3), (F, n, 3), (F, 3 n), also with a confidence as a fourth number,
    0 where a joint was not seen."""
    count = _count(block.shape)
    if count is None:
        planar = block.shape[-1] == 2 or block.ndim <= 2 and block.shape[-1] in [2 * each for each in COUNTS]
        why = "; points of an image alone tell no depth: take world landmarks" if planar else ""
        raise InputError(f"{_EXPECTED}, found an array of {block.shape}{why}")
    if block.shape[-1] not in (3, 4) or block.shape[-2:-1] != (count,):
        block = block.reshape(-1, count, block.shape[-1] // count)
    block = block.reshape(-1, count, block.shape[-1])
    seen = np.ones(block.shape[:2], bool) if block.shape[-1] == 3 else np.abs(block).sum(-1) > 0
    return np.where(seen[..., None], block[..., :3], np.nan)


def _hands_of_array(block: np.ndarray) -> list[np.ndarray]:
    """One (F, n, 3) a hand of an array; two of (F, 2, n, 3)."""
    while block.ndim > 3 and 1 in block.shape[:-2]:
        block = block.squeeze(axis=block.shape.index(1))
    if block.ndim == 4 and block.shape[1] == 2:
        return [_shaped(block[:, hand]) for hand in range(2)]
    return [_shaped(block)]


def _numbers(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "fiu":
        raise InputError(f"{_EXPECTED}, found {values.dtype}")
    return values.astype(np.float64)


def _radii(values: Any, points: np.ndarray) -> np.ndarray | None:
    """(F or 1, n) of the radii of joints, where a file has as many."""
    if values is None:
        return None
    try:
        radii = np.array(values, dtype=np.float64).reshape(-1, points.shape[1])
    except (ValueError, TypeError):
        return None
    return radii if (radii > 0).any() else None


def listing() -> str:
    """What is read of ``.json`` and ``.npz``, as a table for DATA.md."""
    rows = {
        "positions: keys made of these words": POINT_WORDS,
        "and of these": OTHER_WORDS,
        "whose hand": SIDE_WORDS,
        "or a label beside the positions": LABELS,
        "radii": RADIUS_WORDS,
        "a list with one item a frame": FRAME_LISTS,
        "names of the joints": NAME_KEYS,
        "frames per second": RATES,
        "or times, in seconds, milli- or microseconds": TIME_KEYS,
        "size of the image": ("width", "height", "image_width", "image_height"),
    }
    return table_of_keys("keys", rows)
