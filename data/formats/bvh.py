"""BVH motion files: text ⇄ skeleton and channel values (mathematics §5).

A joint's local rotation is the product of the elementary rotations of its channels, in the order of the file.
Angles are degrees and lengths are the file's own unit (centimetres for Mixamo), because that is what BVH
holds.
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NoReturn

import numpy as np

from data.formats.number_rows import format_rows, parse_rows
from data.formats.rates import check_frame_time
from utils import scratch
from utils.errors import InputError
from utils.files import atomic_write

log = logging.getLogger(__name__)
CHANNEL_NAMES = tuple(f"{axis}{kind}" for kind in ("position", "rotation", "scale") for axis in "XYZ")
_CANONICAL = {name.lower(): name for name in CHANNEL_NAMES}

_BLANKS = " \t\r\f\v"  # str.strip() would also take blanks that may belong to a name
_MOST_DIGITS = 15
_READ_BLOCK = 1 << 22
"""Bytes of a file that are read at once."""
_WRITE_BLOCK = 1 << 16
"""Numbers formatted at once: their text fits in the processor's cache."""
_LONGEST_HEAD = 1 << 26
_MOST_JOINTS = 20_000  # a thousand times what a body has: names alone would take seconds to search


@dataclass(frozen=True, eq=False)
class Bvh:
    """A skeleton and its motion. Joints stand in the order of the file: every joint after its parent."""

    joint_names: tuple[str, ...]
    """J names, any printable characters; spaces are possible."""
    parents: np.ndarray
    """(J,) int64, −1 for a root."""
    offsets: np.ndarray
    """(J, 3) float64, position relative to the parent."""
    channels: tuple[tuple[str, ...], ...]
    """For each joint its channels (see `CHANNEL_NAMES`), in the order of the file; possibly none."""
    values: np.ndarray
    """(F, C) float64: all channels of all joints, one row a frame; rotations in degrees."""
    frame_time: float
    """Seconds from one frame to the next."""
    end_sites: tuple[tuple[int, tuple[float, float, float]], ...] = field(default=())
    """(joint, offset) of each `End Site`: a bone's end that has neither name nor channels."""

    def __post_init__(self) -> None:
        n_joints, n_channels = len(self.joint_names), sum(map(len, self.channels))
        expected = {
            "parents": (n_joints,),
            "offsets": (n_joints, 3),
            "values": (len(self.values), n_channels),
        }
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"`{name}` must have shape {shape}; got {getattr(self, name).shape}")
        if len(self.channels) != n_joints:
            raise ValueError(f"`channels` must have {n_joints} items, one a joint; got {len(self.channels)}")

    @property
    def n_frames(self) -> int:
        """Number of frames F."""
        return len(self.values)

    def at(self, frames: slice) -> Bvh:
        """Some frames alone."""
        return replace(self, values=self.values[frames])

    def rotations(self, joints: Sequence[int] | None = None) -> np.ndarray:
        """Local rotations: the product of each joint's elementary rotations in channel order, ``R = R_c1 R_c2
        …``.

        Args:
            joints: joint numbers; None means all.

        Returns:
            (F, n, 3, 3) float64; the identity for a joint without rotation channels.
        """
        joints = range(len(self.joint_names)) if joints is None else joints
        starts = np.cumsum([0, *map(len, self.channels)])
        result = np.empty((self.n_frames, len(joints), 3, 3))
        groups: dict[str, list[tuple[int, list[int]]]] = {}
        for place, joint in enumerate(joints):
            turns = [(c, name[0]) for c, name in enumerate(self.channels[joint]) if name.endswith("rotation")]
            columns = [int(starts[joint]) + c for c, _ in turns]
            groups.setdefault("".join(axis for _, axis in turns), []).append((place, columns))
        for order, members in groups.items():
            places = [place for place, _ in members]
            columns = np.array([columns for _, columns in members], dtype=np.int64).reshape(len(members), len(order))
            result[:, places] = rotations_from_euler(np.radians(self.values[:, columns]), order)
        return result

    @classmethod
    def from_rotations(
        cls,
        names: Sequence[str],
        parents: Sequence[int],
        offsets: np.ndarray,
        rotations: np.ndarray,
        *,
        frame_time: float,
        order: str = "ZYX",
        root_positions: np.ndarray | None = None,
        end_sites: Sequence[tuple[int, Sequence[float]]] = (),
    ) -> Bvh:
        """Make a motion from local rotations: three rotation channels a joint, and three positions for a
        root.

        Args:
            names: J joint names.
            parents: J numbers, −1 for a root.
            offsets: (J, 3).
            rotations: (F, J, 3, 3) local rotations of all joints.
            frame_time: seconds.
            order: rotation channels of every joint: ``"ZYX"`` means ``R = Rz Ry Rx``.
            root_positions: (F, 3) position channels of every root; None means 0.
            end_sites: (joint, offset) pairs.

        Raises:
            InputError: a rotation is not finite; the message names frame and joint.
            ValueError: shapes do not agree, or `order` is not a permutation of XYZ.
        """
        rotations = np.asarray(rotations, dtype=np.float64)
        n_joints = len(names)
        if rotations.ndim != 4 or rotations.shape[1:] != (n_joints, 3, 3):
            raise ValueError(f"`rotations` must have shape (F, {n_joints}, 3, 3); got {rotations.shape}")
        bad = np.argwhere(~np.isfinite(rotations).all(axis=(-1, -2)))
        if len(bad):
            frame, joint = bad[0]
            raise InputError(
                f"motion: expected finite rotations, found NaN or infinity in frame {frame}, joint {names[joint]}"
            )
        angles = np.degrees(euler_from_rotations(rotations, order))
        if root_positions is None:
            root_positions = np.zeros((len(rotations), 3))
        columns, channels = [], []
        turns = tuple(f"{axis}rotation" for axis in order)
        for joint, parent in enumerate(parents):
            if parent < 0:
                columns.append(np.asarray(root_positions, dtype=np.float64))
            columns.append(angles[:, joint])
            channels.append((CHANNEL_NAMES[:3] if parent < 0 else ()) + turns)
        return cls(
            joint_names=tuple(names),
            parents=np.asarray(parents, dtype=np.int64),
            offsets=np.asarray(offsets, dtype=np.float64),
            channels=tuple(channels),
            values=np.concatenate(columns, axis=1),
            frame_time=float(frame_time),
            end_sites=tuple((int(joint), (float(x), float(y), float(z))) for joint, (x, y, z) in end_sites),
        )


def resized(bvh: Bvh, factor: float) -> Bvh:
    """The same motion of a skeleton whose lengths are multiplied."""
    if factor == 1:
        return bvh
    names = [name for channels in bvh.channels for name in channels]
    lengths = np.array([name.endswith("position") for name in names], dtype=bool)
    ends = tuple((joint, tuple(factor * x for x in end)) for joint, end in bvh.end_sites)
    values = scratch.empty(bvh.values.shape)
    for part in scratch.blocks(bvh.n_frames):
        values[part] = np.where(lengths, factor * bvh.values[part], bvh.values[part])
    return replace(bvh, offsets=factor * bvh.offsets, values=values, end_sites=ends)


# ----------------------------------------------------------------------------------------------------
# Angles
# ----------------------------------------------------------------------------------------------------


def rotations_from_euler(angles: np.ndarray, order: str) -> np.ndarray:
    """(…, n) angles in radians about the axes named by `order` (n letters of XYZ) → (…, 3, 3) product, in
    that order.

    Multiplying by an elementary rotation from the right only mixes two columns, so no matrix products are
    needed.
    """
    matrix = np.zeros((3, 3, *angles.shape[:-1]))
    for axis in range(3):
        matrix[axis, axis] = 1.0
    for number, letter in enumerate(order):
        axis = "XYZ".index(letter)
        first, second = (axis + 1) % 3, (axis + 2) % 3
        cos, sin = np.cos(angles[..., number]), np.sin(angles[..., number])
        a, b = matrix[:, first].copy(), matrix[:, second]
        matrix[:, first] = a * cos + b * sin
        matrix[:, second] = b * cos - a * sin
    return np.moveaxis(matrix, (0, 1), (-2, -1))


def euler_from_rotations(rotations: np.ndarray, order: str) -> np.ndarray:
    """(…, 3, 3) rotations → (…, 3) angles in radians with ``R = R_1 R_2 R_3`` about the three axes of
    `order`.

    The second and third angle are read off after the first rotation has been undone. So the product is right
    also where the second angle is ±90° and the first and third are not unique; reading each angle off the
    matrix on its own (as `pytorch3d.transforms.matrix_to_euler_angles` does) loses the rotation there.

    Raises:
        ValueError: `order` is not a permutation of XYZ.
    """
    if sorted(order) != ["X", "Y", "Z"]:
        raise ValueError(f"`order` must be a permutation of XYZ; got {order!r}")
    i, j, k = ("XYZ".index(letter) for letter in order)
    sign = 1.0 if (j - i) % 3 == 1 else -1.0
    first = np.arctan2(-sign * rotations[..., j, k], rotations[..., k, k])
    cos, sin = np.cos(first)[..., None], sign * np.sin(first)[..., None]
    row_i = rotations[..., i, :]
    row_j = cos * rotations[..., j, :] + sin * rotations[..., k, :]
    row_k = cos * rotations[..., k, :] - sin * rotations[..., j, :]
    second = np.arctan2(sign * row_i[..., k], row_k[..., k])
    third = np.arctan2(sign * row_j[..., i], row_j[..., j])
    return np.stack((first, second, third), axis=-1)


# ----------------------------------------------------------------------------------------------------
# Reading
# ----------------------------------------------------------------------------------------------------


def read_bvh(path: str | os.PathLike) -> Bvh:
    """Read a BVH file.

    Joint names may contain spaces and any prefix; channels may differ in order and number from joint to
    joint; `End Site` blocks may be missing; Windows line ends, tabs and blank lines are accepted; `Frames:` may be
    one off. Where every OFFSET is 0, position channels say how long bones are.

    Raises:
        InputError: the file is missing or is not a complete BVH; the message names the line (counted from 1).
    """
    path = Path(path)
    _check_there(path)
    with path.open("rb") as stream:
        pieces = _pieces(stream)
        text, lines, skeleton = _read_hierarchy(path, pieces)
        more = b" "
        while more and text.lstrip().count(b"\n") < 2:  # both lines of the header
            more = next(pieces, b"")
            text += more
        frames, frame_time, start, line_number = _read_motion_header(path, text, lines)
        n_channels = sum(map(len, skeleton.channels))
        values = _read_values(path, chain([text[start:]], pieces), line_number, frames, n_channels)
    return _placed_by_channels(path, skeleton.bvh(values, frame_time))


def read_skeleton(path: str | os.PathLike) -> Bvh:
    """Read the skeleton of a BVH file alone: no frames, and a frame time of 0. Raises as :func:`read_bvh` does."""
    path = Path(path)
    _check_there(path)
    with path.open("rb") as stream:
        skeleton = _read_hierarchy(path, _pieces(stream))[-1]
    return skeleton.bvh(np.empty((0, sum(map(len, skeleton.channels)))), 0.0)


def _check_there(path: Path) -> None:
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing"
        raise InputError(f"{path}: expected a BVH file, found {found}; check the path")


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    """The text of a file in pieces of whole lines, with plain line ends."""
    open_line: list[bytes] = []
    for piece in iter(lambda: stream.read(_READ_BLOCK), b""):
        more = b" "
        while more and piece.endswith(b"\r"):  # its other half is not another line
            more = stream.read(1)
            piece += more
        if b"\r" in piece:
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        end = piece.rfind(b"\n") + 1
        if end:
            yield b"".join([*open_line, piece[:end]])
            open_line = []
        open_line.append(piece[end:])
    if any(open_line):
        yield b"".join(open_line)


def _read_hierarchy(path: Path, pieces: Iterator[bytes]) -> tuple[bytes, int, _HierarchyParser]:
    """(text after the line MOTION, as far as it was read; number of that line; skeleton)."""
    head, after, motion = b"", b"", None
    for piece in pieces:
        motion = re.search(rb"^[ \t]*MOTION[ \t]*$", piece, re.MULTILINE | re.IGNORECASE)
        if motion:
            head, after = head + piece[: motion.start()], piece[motion.end() + 1 :]
            break
        if len(head) < _LONGEST_HEAD:
            head += piece
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = head.decode("latin-1")  # older exporters; every byte means something there
    lines = text.split("\n")
    if not any(line.strip(_BLANKS).upper() == "HIERARCHY" for line in lines):
        raise InputError(f"{path}: expected a BVH file that begins with HIERARCHY, found none; give another file")
    if not motion:
        raise InputError(f"{path}: expected a line MOTION after the hierarchy, found none; the file is cut short")
    # The text before MOTION ends with a line break, so the last piece of the split is the MOTION line's own
    # start.
    return after, len(lines), _HierarchyParser(path).parse(lines[:-1])


class _HierarchyParser:
    """Reads the lines between HIERARCHY and MOTION."""

    def __init__(self, path: Path):
        self.path = path
        self.names: list[str] = []
        self.parents: list[int] = []
        self.offsets: list[tuple[float, float, float] | None] = []
        self.channels: list[tuple[str, ...]] = []
        self.end_sites: list[tuple[int, tuple[float, float, float]]] = []
        # Blocks that are open: (joint number, line); joint −1 is an End Site.
        self.open: list[tuple[int, int]] = []
        self.announced: int | None = None  # a ROOT, JOINT or End Site whose "{" is still to come

    def parse(self, lines: list[str]) -> _HierarchyParser:
        stripped = [line.strip(_BLANKS) for line in lines]
        full = [(number, line) for number, line in enumerate(stripped, start=1) if line]
        for (number, line), (_, following) in zip(full, [*full[1:], (0, "")], strict=True):
            if line.upper() != "HIERARCHY":
                self._line(number, line, following)
        if self.announced is not None:
            self._fail(len(lines), "expected '{' after the last joint, found MOTION")
        if self.open:
            joint, opened = self.open[-1]
            what = "End Site" if joint < 0 else f"joint {self.names[joint]}"
            self._fail(opened, f"expected a '}}' that closes the {what}, found MOTION first; braces are unbalanced")
        if not self.names:
            self._fail(len(lines), "expected a ROOT before MOTION, found none")
        for name, offset in zip(self.names, self.offsets, strict=True):
            if offset is None:
                raise InputError(f"{self.path}: expected an OFFSET for joint {name}, found none; export it again")
        return self

    def bvh(self, values: np.ndarray, frame_time: float) -> Bvh:
        """The skeleton with a motion."""
        return Bvh(
            joint_names=tuple(self.names),
            parents=np.array(self.parents, dtype=np.int64),
            offsets=np.array(self.offsets, dtype=np.float64).reshape(-1, 3),
            channels=tuple(self.channels),
            values=values,
            frame_time=frame_time,
            end_sites=tuple(self.end_sites),
        )

    def _fail(self, line: int, message: str) -> NoReturn:
        raise InputError(f"{self.path}, line {line}: {message}; export or correct the file")

    def _line(self, number: int, line: str, following: str) -> None:
        keyword, _, rest = line.replace("\t", " ").partition(" ")
        keyword = keyword.upper()
        if self.announced is not None and not line.startswith("{"):
            self._fail(number, f"expected '{{', found {line!r}")
        if keyword in ("ROOT", "JOINT", "END"):
            rest = line[len(keyword) :].strip(_BLANKS)
            opens = rest.endswith("{") and not following.startswith("{")  # "JOINT Hips {" in one line
            self._announce(number, keyword, rest[:-1].strip(_BLANKS) if opens else rest)
            if opens:
                self._open(number)
        elif keyword == "OFFSET":
            self._offset(number, rest)
        elif keyword == "CHANNELS":
            self._channels(number, rest)
        elif set(line) <= set("{} \t"):
            for brace in line.replace(" ", "").replace("\t", ""):
                self._open(number) if brace == "{" else self._close(number)
        else:
            self._fail(number, f"expected ROOT, JOINT, End Site, OFFSET, CHANNELS or a brace, found {line[:60]!r}")

    def _announce(self, number: int, keyword: str, name: str) -> None:
        inside = self.open[-1][0] if self.open else None
        if keyword == "ROOT" and inside is not None:
            self._fail(number, f"expected a JOINT inside joint {self.names[inside]}, found ROOT")
        if keyword != "ROOT" and inside is None:
            self._fail(number, f"expected ROOT outside all braces, found {keyword}")
        if inside == -1:
            self._fail(number, f"expected only an OFFSET in an End Site, found {keyword}")
        if keyword == "END":
            self.announced = -1
            return
        if not name:
            self._fail(number, f"expected a name after {keyword}, found none")
        if len(self.names) == _MOST_JOINTS:
            self._fail(number, f"expected at most {_MOST_JOINTS:,} joints, found more")
        self.announced = len(self.names)
        self.names.append(name)
        self.parents.append(-1 if inside is None else inside)
        self.offsets.append(None)
        self.channels.append(())

    def _open(self, number: int) -> None:
        if self.announced is None:
            self._fail(number, "expected ROOT, JOINT or End Site before '{', found none")
        self.open.append((self.announced, number))
        self.announced = None

    def _close(self, number: int) -> None:
        if not self.open:
            self._fail(number, "expected no further '}', all are closed; braces are unbalanced")
        self.open.pop()

    def _offset(self, number: int, rest: str) -> None:
        if not self.open:
            self._fail(number, "expected OFFSET inside a joint, found it outside")
        try:
            x, y, z = map(float, rest.split())
        except ValueError:
            self._fail(number, f"expected three numbers after OFFSET, found {rest.strip(_BLANKS)!r}")
        if not all(map(math.isfinite, (x, y, z))):
            self._fail(number, "expected finite numbers after OFFSET, found NaN or infinity")
        joint = self.open[-1][0]
        if joint >= 0:
            self.offsets[joint] = (x, y, z)
        elif len(self.open) > 1:
            self.end_sites.append((self.open[-2][0], (x, y, z)))

    def _channels(self, number: int, rest: str) -> None:
        if not self.open or self.open[-1][0] < 0:
            self._fail(number, "expected CHANNELS inside a joint, found it outside")
        count, *names = rest.split() or [""]
        if not count.isdecimal() or int(count) != len(names):
            self._fail(
                number,
                f"expected CHANNELS, a number and as many names, found {count!r} and {len(names)} names",
            )
        unknown = [name for name in names if name.lower() not in _CANONICAL]
        if unknown:
            known = ", ".join(CHANNEL_NAMES)
            self._fail(number, f"expected channels of {known}, found {unknown[0]!r}")
        self.channels[self.open[-1][0]] = tuple(_CANONICAL[name.lower()] for name in names)


def _read_motion_header(path: Path, data: bytes, line: int) -> tuple[int, float, int, int]:
    """Parse `Frames:` and `Frame Time:` in the text after the MOTION line (whose number is `line`).

    Returns:
        (frames, frame time, position of the first byte of the numbers, number of the line that begins there).
    """
    found: list[float] = []
    start = 0
    for label, pattern, kind in (("Frames", "Frames", int), ("Frame Time", r"Frame[ \t]+Time", float)):
        text = ""
        while not text and start < len(data):
            end = data.find(b"\n", start)
            end = len(data) if end < 0 else end
            text = data[start:end].decode("latin-1").strip(_BLANKS)
            start, line = end + 1, line + 1
        words = re.fullmatch(rf"{pattern}[ \t]*:[ \t]*(\S+)", text, re.IGNORECASE)
        try:
            value = kind(words[1]) if words else None
        except ValueError:
            value = None
        if value is None or not 0 <= value < math.inf:
            what = "a count" if kind is int else "seconds"
            raise InputError(
                f"{path}, line {line}: expected '{label}:' and {what}, found {text[:60]!r}; correct the file"
            )
        found.append(value)
    return int(found[0]), check_frame_time(found[1], f"{path}, line {line}"), start, line + 1


def _read_values(path: Path, pieces: Iterator[bytes], line: int, frames: int, n_channels: int) -> np.ndarray:
    """(frames, n_channels) numbers of the text after `Frame Time:`, which begins in line `line`."""
    if n_channels == 0:
        raise InputError(f"{path}: expected at least one channel, found none; the file holds no motion")
    # No more than there can be, since 'Frames:' may say anything.
    values = scratch.empty((min(frames + 2, path.stat().st_size // (2 * n_channels) + 2), n_channels))
    found, cut = 0, True
    for piece in pieces:
        rows = parse_rows(piece, n_channels, path, line, found)
        kept = rows[: max(0, len(values) - found)]
        values[found : found + len(kept)] = kept
        found, line = found + len(rows), line + piece.count(b"\n")
        text = piece.rstrip(b" \t")
        cut = not text.endswith(b"\n") if text else cut
        scratch.release()
    if abs(found - frames) > 1 or found < frames and cut or not found and frames:
        raise InputError(
            f"{path}: expected {frames} frames as 'Frames:' says, found {found}; "
            "the file is cut short or 'Frames:' is wrong"
        )
    if found != frames:  # some exporters count one too few or too many
        log.warning("note: %s: 'Frames:' says %d, found %d whole frames, which are read", path, frames, found)
    return values[:found]


def _placed_by_channels(path: Path, bvh: Bvh) -> Bvh:
    """Offsets from the position channels (the median over frames), in files that leave every OFFSET at 0."""
    below = np.flatnonzero(bvh.parents >= 0)
    if not len(below) or not bvh.n_frames or np.abs(bvh.offsets[below]).max() > 0:
        return bvh
    starts = np.cumsum([0, *map(len, bvh.channels)])
    offsets = bvh.offsets.copy()
    for joint in below:
        columns = {name[0]: c for c, name in enumerate(bvh.channels[joint]) if name.endswith("position")}
        if len(columns) == 3:
            places = [starts[joint] + columns[axis] for axis in "XYZ"]
            parts = [bvh.values[part, places] for part in scratch.blocks(bvh.n_frames)]
            offsets[joint] = np.median(np.concatenate(parts), axis=0)
    if not np.abs(offsets[below]).max() > 0:
        return bvh
    log.warning("note: %s: every OFFSET is 0; bones are as long as the position channels say", path)
    return replace(bvh, offsets=offsets)


# ----------------------------------------------------------------------------------------------------
# Writing
# ----------------------------------------------------------------------------------------------------


def write_bvh(path: str | os.PathLike, bvh: Bvh, digits: int = 6) -> None:
    """Write a BVH file, complete or not at all.

    Reading it again gives the values rounded to `digits` decimals, and exactly the same values if they have
    no more. Joints whose order is not that of the tree (each followed by its descendants) are written in that
    order.

    Raises:
        InputError: a value is not finite, or a name cannot be written so that it is read back unchanged.
        ValueError: the parents do not form a tree, or `digits` is not between 1 and 15.
    """
    if not 1 <= digits <= _MOST_DIGITS:
        raise ValueError(f"`digits` must be between 1 and {_MOST_DIGITS}; got {digits}")
    _check_writable(Path(path), bvh)
    order = tree_order(bvh.parents)
    starts = np.cumsum([0, *map(len, bvh.channels)])
    columns = [c for joint in order for c in range(starts[joint], starts[joint + 1])]
    as_they_are = columns == list(range(len(columns)))
    head = "\n".join(_hierarchy_lines(bvh, digits))
    frame_time = f"{bvh.frame_time:.{digits}f}"
    if float(frame_time) != bvh.frame_time:
        frame_time = repr(float(bvh.frame_time))  # e.g. 1/60: rounding it would drift over a long clip
    rows = max(1, _WRITE_BLOCK // max(1, len(columns)))
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        stream.write(f"{head}\nMOTION\nFrames: {bvh.n_frames}\nFrame Time: {frame_time}\n".encode())
        for part in scratch.blocks(bvh.n_frames, rows):
            values = bvh.values[part] if as_they_are else bvh.values[part, columns]
            stream.write(format_rows(values, digits))


def decimals(values: np.ndarray, least: int = 6) -> int:
    """How many decimals numbers have that were read from text: written with so many, they are the same again."""
    for digits in range(least, _MOST_DIGITS):
        parts = (values[part] for part in scratch.blocks(len(values)))
        if all(np.array_equal(np.rint(part * 10.0**digits) / 10.0**digits, part) for part in parts):
            return digits
    return _MOST_DIGITS


def _check_writable(path: Path, bvh: Bvh) -> None:
    for name in bvh.joint_names:
        if not name or not name.isprintable() or name != name.strip(_BLANKS):
            raise InputError(f"{path}: expected printable joint names without blanks at the ends, found {name!r}")
    if bvh.values.shape[1] == 0:
        raise InputError(f"{path}: expected at least one channel to write, found none; there is no motion")
    for part in scratch.blocks(bvh.n_frames):
        bad = np.flatnonzero(~np.isfinite(bvh.values[part]).all(axis=1))
        if len(bad):
            frame = part.start + bad[0]
            raise InputError(f"{path}: expected finite values to write, found NaN or infinity in frame {frame}")
    ends = [offset for _, offset in bvh.end_sites]
    if not np.isfinite(bvh.offsets).all() or not np.isfinite(ends).all():
        raise InputError(f"{path}: expected finite offsets to write, found NaN or infinity")
    check_frame_time(bvh.frame_time, str(path))


def tree_order(parents: np.ndarray) -> list[int]:
    """Joint numbers in the order in which a BVH file lists them: each joint, then all its descendants."""
    children: dict[int, list[int]] = {}
    for joint, parent in enumerate(parents.tolist()):
        children.setdefault(max(parent, -1), []).append(joint)
    order: list[int] = []
    waiting = children.get(-1, [])[::-1]
    while waiting:
        order.append(waiting.pop())
        waiting += children.get(order[-1], [])[::-1]
    if len(order) != len(parents):
        raise ValueError("`parents` must form trees; some joints do not descend from a root")
    return order


def _hierarchy_lines(bvh: Bvh, digits: int) -> list[str]:
    ends: dict[int, list[tuple[float, float, float]]] = {}
    for joint, offset in bvh.end_sites:
        ends.setdefault(joint, []).append(offset)

    def offset_text(offset: Sequence[float]) -> str:
        return "OFFSET " + " ".join(f"{x:.{digits}f}" for x in offset)

    lines, depth, open_joints = ["HIERARCHY"], 0, []
    for joint in tree_order(bvh.parents):
        parent = int(bvh.parents[joint])
        while open_joints and open_joints[-1] != parent:
            open_joints.pop()
            depth -= 1
            lines.append("\t" * depth + "}")
        tabs = "\t" * depth
        lines += [f"{tabs}{'JOINT' if open_joints else 'ROOT'} {bvh.joint_names[joint]}", f"{tabs}{{"]
        lines.append(f"{tabs}\t{offset_text(bvh.offsets[joint])}")
        lines.append(f"{tabs}\tCHANNELS {' '.join([str(len(bvh.channels[joint])), *bvh.channels[joint]])}")
        for end in ends.get(joint, []):
            lines += [f"{tabs}\tEnd Site", f"{tabs}\t{{", f"{tabs}\t\t{offset_text(end)}", f"{tabs}\t}}"]
        open_joints.append(joint)
        depth += 1
    lines += ["\t" * level + "}" for level in range(depth - 1, -1, -1)]
    return lines
