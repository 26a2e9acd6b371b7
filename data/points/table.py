"""Positions of hand joints as ``.csv``: a row a frame, a row a frame and hand, or a row a joint."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.points.files import SIDE_WORDS, PointFile, PointTrack, labelled_side, rate_of_times
from data.points.orders import COUNTS, named_joint
from model.topology import SIDES
from utils.errors import InputError
from utils.markdown import table_of_keys

FRAME_COLUMNS = ("frame", "frame_id", "frame_number", "frame_index", "frame_idx")
TIME_COLUMNS = ("time", "timestamp", "t", "seconds", "time_s", "timestamp_s", "time_ms", "timestamp_ms")
HAND_COLUMNS = ("hand", "handedness", "side", "hand_label", "label")
JOINT_COLUMNS = ("joint", "landmark", "keypoint", "point", "joint_id", "landmark_id", "landmark_index", "joint_name",
                 "landmark_name", "index", "id", "name")  # fmt: skip
_LARGEST, _MOST, _WIDEST = 1 << 28, 8_000_000, 10_000
"""Bytes of a file, cells (of one hand, half an hour at 60 frames a second: as text they take half a gigabyte), and
columns."""
_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_SPARSE = 10
"""Frame numbers that are this many times as far apart as there are rows are no numbers of frames."""


def read_table(path: Path) -> PointFile:
    """The positions of a ``.csv``; frames per second if it has a column of times.

    Raises:
        InputError: a row has another width, a cell is no number, or the columns are not those of positions.
    """
    names, rows, first = _rows(path)
    columns = list(zip(*rows, strict=True))
    plain = [_plain(name) for name in names]
    wide = _wide(path, names, len(columns))
    frame, time, hand, joint = (
        _one_of(plain, which) for which in (FRAME_COLUMNS, TIME_COLUMNS, HAND_COLUMNS, JOINT_COLUMNS)
    )
    times = None if time is None else _floats(path, columns[time], first, names[time])
    labels: Sequence[str | None] = (
        [None] * len(rows) if hand is None else [labelled_side(cell) for cell in columns[hand]]
    )
    if frame is not None:
        numbers = _floats(path, columns[frame], first, names[frame])
    elif times is not None and (hand is not None or not wide):
        numbers = times
    else:
        numbers = np.arange(len(rows), dtype=np.float64)
    places = _places(numbers)
    count = int(places.max()) + 1
    tracks, joint_names = [], None
    if wide:
        for side, joints in wide.items():
            flat = [
                _floats(path, columns[c], first, names[c] if names else f"column {c + 1}")
                for triple in joints.values()
                for c in triple
            ]
            block = np.stack(flat, axis=-1).reshape(len(rows), -1, 3)
            if any(isinstance(key, str) for key in joints):
                joint_names = [str(key) for key in joints]
            for label in dict.fromkeys(labels):
                own = np.array([each == label for each in labels])
                points = np.full((count, *block.shape[1:]), np.nan)
                points[places[own]] = block[own]
                tracks.append(PointTrack(side or label, points))
    else:
        axes = [_one_of(plain, (axis,)) for axis in "xyz"]
        if joint is None or None in axes or frame is None and times is None:
            raise InputError(
                f"{path}, line 1: expected columns of {', '.join(map(str, COUNTS))} joints (such as x0, y0, z0, …), "
                f"or the columns frame, joint, x, y, z, found {', '.join(names[:8]) or f'{len(columns)} columns'}"
            )
        values = np.stack([_floats(path, columns[axis], first, names[axis]) for axis in axes if axis is not None], -1)
        listed = list(dict.fromkeys(columns[joint]))
        if all(_is_number(cell) for cell in listed):
            listed.sort(key=float)
        else:
            joint_names = listed
        which = np.array([listed.index(cell) for cell in columns[joint]])
        for label in dict.fromkeys(labels):
            own = np.array([each == label for each in labels])
            points = np.full((count, len(listed), 3), np.nan)
            points[places[own], which[own]] = values[own]
            tracks.append(PointTrack(label, points))
    tracks.sort(key=lambda track: SIDES.index(track.side or SIDES[0]))
    rate = None if times is None else rate_of_times(times, places)
    return PointFile(tracks, joint_names, rate=rate)


def _rows(path: Path) -> tuple[list[str], list[list[str]], int]:
    """(names of columns or none, rows of cells, line of the first row)."""
    if not path.is_file():
        raise InputError(f"{path}: expected a file, found {'a folder' if path.is_dir() else 'nothing'}")
    if path.stat().st_size > _LARGEST:
        raise InputError(f"{path}: expected at most {_LARGEST >> 20} MB of text, found more; write it as .npz")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: expected a table as text, found other bytes; export it again as .csv") from None
    head = text[: text.find("\n")] if "\n" in text else text
    delimiter = max(",;\t", key=head.count)
    cells = text.count(delimiter) + sum(map(text.count, _ENDS))
    if cells > _MOST:
        raise InputError(f"{path}: expected at most {_MOST:,} cells, found {cells:,}; write it as .npz")
    lines = text.splitlines()
    wide = next((number for number, line in enumerate(lines, start=1) if line.count(delimiter) >= _WIDEST), None)
    if wide is not None:
        raise InputError(f"{path}, line {wide}: expected at most {_WIDEST:,} columns, found more; correct it")
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    except csv.Error as error:
        raise InputError(f"{path}: this is no table ({error}); export it again as .csv") from None
    while rows and not any(rows[-1]):
        rows.pop()
    has_names = bool(rows) and not all(_is_number(cell) for cell in rows[0] if cell)
    body = rows[1:] if has_names else rows
    if not body:
        raise InputError(f"{path}: expected rows of positions, found none")
    width = len(rows[0])
    for number, row in enumerate(rows, start=1):
        if len(row) != width:
            raise InputError(
                f"{path}, line {number}: expected {width} cells as in the first line, found {len(row)}; correct it"
            )
    return (rows[0] if has_names else []), body, 1 + has_names


def _wide(path: Path, names: Sequence[str], width: int) -> dict[str | None, dict[int | str, list[int]]]:
    """Side → joint → columns of x, y, z; empty where a row holds one joint."""
    found: dict[str | None, dict[int | str, dict[str, int]]] = {}
    if not names:
        return _unnamed(path, width)
    for column, name in enumerate(names):
        words = [word for word in re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()) if word]
        words = [part for word in words for part in _parted(word)]
        sides = [SIDE_WORDS[word] for word in words if word in SIDE_WORDS]
        axes = [word for word in words if word in ("x", "y", "z")]
        rest = [word for word in words if word not in ("x", "y", "z") and word not in SIDE_WORDS]
        if len(axes) != 1 or not rest:
            continue
        joint: int | str | None = next((int(word) for word in rest if word.isdigit()), None)
        if named_joint("_".join(rest)) is not None:
            joint = "_".join(rest)
        if joint is not None:
            found.setdefault(sides[0] if sides else None, {}).setdefault(joint, {})[axes[0]] = column
    result = {}
    for side, joints in found.items():
        whole = {key: [axes[axis] for axis in "xyz"] for key, axes in joints.items() if len(axes) == 3}
        if all(isinstance(key, int) for key in whole):
            whole = dict(sorted(whole.items(), key=lambda each: int(each[0])))
        if len(whole) >= COUNTS[0]:
            result[side] = whole
    return result


def _parted(word: str) -> list[str]:
    """``x0``, ``0x``, ``x`` apart; names such as ``index1`` stay."""
    match = re.fullmatch(r"([xyz])(\d+)|(\d+)([xyz])|([a-z]+)(\d+)([xyz])", word)
    return [word] if match is None else [part for part in match.groups() if part]


def _unnamed(path: Path, width: int) -> dict[str | None, dict[int | str, list[int]]]:
    """As `_wide`, of a table without names: positions alone, or after a number of the frame."""
    for count in COUNTS:
        for before in (0, 1):
            if width == before + 3 * count:
                return {None: {joint: [before + 3 * joint + axis for axis in range(3)] for joint in range(count)}}
    wanted = ", ".join(str(3 * count) for count in COUNTS)
    raise InputError(f"{path}, line 1: expected {wanted} numbers a row, found {width}; name the columns")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _one_of(names: Sequence[str], wanted: Sequence[str]) -> int | None:
    return next((names.index(name) for name in wanted if name in names), None)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _floats(path: Path, cells: Sequence[str], first: int, name: str) -> np.ndarray:
    """A column as numbers; NaN where a cell is empty."""
    try:
        return np.array([cell or "nan" for cell in cells], dtype=np.float64)
    except ValueError:
        lost = ("", "none", "null", "na")
        for line, cell in enumerate(cells, start=first):
            if cell.lower() not in lost and not _is_number(cell):
                raise InputError(
                    f"{path}, line {line}: expected a number in {name}, found {cell[:40]!r}; correct it, or leave it "
                    "empty"
                ) from None
        return np.array([np.nan if cell.lower() in lost else float(cell) for cell in cells])


def _places(numbers: np.ndarray) -> np.ndarray:
    """The frame of each row, from 0."""
    if not np.isfinite(numbers).all():
        return np.arange(len(numbers))
    whole = numbers - numbers.min()
    if np.array_equal(whole, np.round(whole)) and whole.max() < _SPARSE * len(numbers):
        return whole.astype(np.int64)
    return np.unique(numbers, return_inverse=True)[1]


def has_columns_of_points(path: Path) -> bool:
    """Whether the first line of a table is that of positions."""
    try:
        with path.open(encoding="utf-8-sig") as stream:
            first = stream.readline().strip()
    except UnicodeDecodeError:
        return False
    cells = [cell.strip() for cell in first.split(max(",;\t", key=first.count))]
    if all(_is_number(cell) for cell in cells if cell):
        return any(len(cells) - before == 3 * count for count in COUNTS for before in (0, 1))
    plain = [_plain(cell) for cell in cells]
    return (
        bool(_wide(path, cells, len(cells)))
        or {"x", "y", "z"} <= set(plain)
        and _one_of(plain, JOINT_COLUMNS) is not None
    )


def listing() -> str:
    """Which columns of a ``.csv`` are read, as a table for DATA.md."""
    rows = {
        "frame": FRAME_COLUMNS,
        "time": TIME_COLUMNS,
        "hand": HAND_COLUMNS,
        "joint, of a row a joint": JOINT_COLUMNS,
    }
    return table_of_keys("columns", rows)
