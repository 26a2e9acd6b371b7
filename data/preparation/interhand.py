"""InterHand2.6M's MANO annotations to motion files: runs of frames become BVH, shapes beside them (mathematics §5).

The annotation file is JSON of several gigabytes, ``{capture: {frame: {"right": hand, "left": hand}}}``, where a hand
is null or ``{"pose": 48 numbers, "shape": 10, "trans": 3}``. It is read as a stream; one capture is held at a time, as
plain numbers.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import ijson
import numpy as np
import torch
from pytorch3d.transforms import axis_angle_to_matrix

from data.formats.bvh import Bvh, write_bvh
from model.kinematics import with_wrist_and_tips
from model.mano import ManoHand
from model.mano_file import find_model_file, read_mano_arrays
from model.topology import BONES_PER_FINGER, MANO_BONES, N_FINGERS, N_SHAPE, PARENTS, SIDES, hand_joint_names
from utils.errors import InputError
from utils.files import atomic_write

N_POSE = 48
"""Numbers of a pose: the axis-angle of the wrist, then those of the 15 joints in the model's order."""
FRAME_TIME = 0.2
"""Seconds: the annotations are at five frames per second, whatever the numbers of the frames."""
LARGEST_SPACING = 50
"""Captures whose frames lie farther apart on average are no motion."""
_CENTIMETRES = 100.0
_BUFFER = 1 << 18
_FIELDS = {"pose": N_POSE, "shape": N_SHAPE}
_CAPTURE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

ReadBytes = Callable[[int], None]
"""Told how many bytes have been read."""


# ----------------------------------------------------------------------------------------------------
# Reading
# ----------------------------------------------------------------------------------------------------


@dataclass
class HandTrack:
    """One hand in the annotated frames of a capture, in the order of the file."""

    present: list[int] = field(default_factory=list)
    """Places, among the capture's frames, of those that show this hand."""
    poses: array = field(default_factory=lambda: array("d"))
    shapes: array = field(default_factory=lambda: array("d"))


@dataclass
class Capture:
    """A recording: its frame numbers, and both hands where they are annotated."""

    name: str
    frames: list[int]
    hands: dict[str, HandTrack]


def read_captures(
    path: str | Path, wanted: Callable[[str], bool] = lambda _name: True, report: ReadBytes | None = None
) -> Iterator[Capture]:
    """Read the captures of an annotation file one after the other, holding one at a time.

    Args:
        path: the JSON file.
        wanted: captures for which this is false are passed over.
        report: told of the bytes read.

    Raises:
        InputError: the file is missing, is not JSON of this form, or holds numbers that cannot be used; the message
            names the capture and the frame.
    """
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing"
        raise InputError(f"{path}: expected the JSON file of MANO annotations, found {found}; check the path")
    with path.open("rb") as stream:
        try:
            events = ijson.basic_parse(_Counting(stream, report), buf_size=_BUFFER, use_float=True)
            yield from _AnnotationParser(path, events).captures(wanted)
        except (ijson.JSONError, UnicodeError) as error:
            detail = " ".join(str(error).split())[:120]
            raise InputError(
                f"{path}: expected JSON, but it is damaged or cut short near byte {stream.tell()} ({detail}); "
                "fetch the file again"
            ) from error


class _Counting:
    """A stream that tells how much of it was read."""

    def __init__(self, stream: BinaryIO, report: ReadBytes | None):
        self._stream, self._report = stream, report

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        if self._report is not None:
            self._report(len(data))
        return data


class _AnnotationParser:
    """Takes the events of a JSON stream for the levels of an annotation file: capture, frame, hand, field."""

    def __init__(self, path: Path, events: Iterable[tuple[str, Any]]):
        self._path, self._events = path, iter(events)

    def captures(self, wanted: Callable[[str], bool]) -> Iterator[Capture]:
        seen: set[str] = set()
        for name in self._keys("the file", "captures"):
            if not _CAPTURE_NAME.fullmatch(name):
                self._fail(f"expected captures named by letters, digits, - and _, found {name[:80]!r}")
            if name in seen:
                self._fail(f"expected each capture once, found {name} twice")
            seen.add(name)
            if wanted(name):
                yield self._capture(name)
            else:
                self._pass_over(*next(self._events))
        for _ in self._events:  # nothing but blanks may follow, which the JSON reader sees to
            pass

    def _capture(self, name: str) -> Capture:
        capture = Capture(name, [], {side: HandTrack() for side in SIDES})
        numbers: set[int] = set()
        for key in self._keys(f"capture {name}", "frames"):
            if not re.fullmatch(r"[0-9]{1,15}", key) or int(key) in numbers:
                self._fail(f"capture {name}: expected frame numbers, each once, found {key[:40]!r}")
            numbers.add(int(key))
            where = f"capture {name}, frame {key}"
            for side in self._keys(where, "hands"):
                if side not in SIDES:
                    self._pass_over(*next(self._events))
                else:
                    self._hand(f"{where}, {side} hand", capture.hands[side], len(capture.frames))
            capture.frames.append(int(key))
        return capture

    def _hand(self, where: str, track: HandTrack, place: int) -> None:
        event, value = next(self._events)
        if event == "null":
            return
        found = {}
        for key in self._keys(where, "pose and shape", (event, value)):
            if key in _FIELDS:
                found[key] = self._numbers(f"{where}: {key}", _FIELDS[key])
            else:
                self._pass_over(*next(self._events))
        if found.keys() != _FIELDS.keys():
            self._fail(f"{where}: expected pose and shape, found {' and '.join(found) or 'neither'}")
        if track.present and track.present[-1] == place:
            self._fail(f"{where}: expected each hand once in a frame, found it twice")
        track.present.append(place)
        track.poses.extend(found["pose"])
        track.shapes.extend(found["shape"])

    def _numbers(self, where: str, count: int) -> array:
        event, value = next(self._events)
        if event != "start_array":
            self._fail(f"{where}: expected a list of {count} numbers, found {_described(event, value)}")
        numbers = array("d")
        for event, value in self._events:
            if event == "number":
                numbers.append(value)
                if len(numbers) > count:
                    break
            elif event == "end_array":
                break
            else:
                self._fail(f"{where}: expected numbers, found {_described(event, value)}")
        if len(numbers) != count:
            more = "more" if len(numbers) > count else len(numbers)
            self._fail(f"{where}: expected {count} numbers, found {more}")
        return numbers

    def _keys(self, where: str, what: str, first: tuple[str, Any] | None = None) -> Iterator[str]:
        """The keys of an object; whoever asks for the next one has read the value of the last."""
        event, value = first or next(self._events)
        if event != "start_map":
            self._fail(f"{where}: expected an object of {what}, found {_described(event, value)}")
        for event, value in self._events:
            if event == "end_map":
                return
            yield value

    def _pass_over(self, event: str, _value: object) -> None:
        """Read on to the end of the value that begins with this event."""
        depth = 0
        while True:
            depth += event in ("start_map", "start_array")
            depth -= event in ("end_map", "end_array")
            if depth == 0:
                return
            event, _value = next(self._events)

    def _fail(self, message: str) -> NoReturn:
        message = message.removeprefix("the file: ")
        raise InputError(f"{self._path}: {message}; fetch the file again, or check that it holds MANO annotations")


def _described(event: str, value: object) -> str:
    names = {"start_map": "an object", "start_array": "a list", "end_array": "the end of a list", "null": "null"}
    return names.get(event) or repr(value)[:60]


# ----------------------------------------------------------------------------------------------------
# Runs
# ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Runs:
    """Where a hand is seen without interruption, and what lies between."""

    runs: tuple[np.ndarray, ...]
    """Places of the frames of each run, in the order of time; at least two."""
    step: int
    """The nominal spacing of frames; 0 if there is none."""
    gaps: int = 0
    """Places where more than a step lies between two frames."""
    missing: int = 0
    """Frames without this hand."""
    single: int = 0
    """Runs of one frame, which are dropped."""
    uneven: int = 0
    """Spacings other than the step that are no gaps: the frames are closer."""
    sparse: bool = False
    """The frames lie too far apart on average; nothing is taken from this capture."""


def find_runs(frames: np.ndarray, present: np.ndarray) -> Runs:
    """Cut a capture into runs (mathematics §5, also for the last run and irregular captures).

    The nominal step is the first spacing if the second equals it (or there is no second), else the most frequent one.
    Frames that are no more than a step apart belong together if both show the hand.

    Args:
        frames: ``(N,)`` different frame numbers, in any order.
        present: ``(N,)`` bool: the frame shows the hand.
    """
    order = np.argsort(frames)
    spacing, seen = np.diff(frames[order]), present[order]
    missing = int((~seen).sum())
    if len(spacing) and spacing.mean() > LARGEST_SPACING:
        return Runs((), 0, missing=missing, sparse=True)
    step = 0
    if len(spacing):
        values, counts = np.unique(spacing, return_counts=True)
        regular = len(spacing) < 2 or spacing[0] == spacing[1]
        step = int(spacing[0] if regular else values[counts.argmax()])
    joined = (spacing <= step) & seen[1:] & seen[:-1]
    pieces = np.split(order, np.flatnonzero(~joined) + 1) if len(order) else []
    runs = tuple(piece for piece in pieces if len(piece) > 1)
    single = sum(len(piece) == 1 and bool(present[piece[0]]) for piece in pieces)
    gaps, uneven = int((spacing > step).sum()), int((spacing < step).sum())
    return Runs(runs, step, gaps, missing, single, uneven)


# ----------------------------------------------------------------------------------------------------
# Writing
# ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AnnotatedHand:
    """The MANO hand that annotations of one side speak of."""

    hand: ManoHand
    mean_pose: np.ndarray
    """(45,) axis-angles that are added to those of the annotations."""

    @staticmethod
    def load(smplx_path: str | Path, side: str) -> AnnotatedHand:
        """Load the model of a side. Raises InputError if it is missing or damaged."""
        hand = ManoHand.load(smplx_path, None, side, torch.float64)
        return AnnotatedHand(hand, read_mano_arrays(find_model_file(smplx_path, side))["hands_mean"])

    def motion(self, poses: np.ndarray, shapes: np.ndarray) -> Bvh:
        """A motion from annotations.

        Args:
            poses: ``(F, 48)`` axis-angles, the model's mean pose not included; the wrist's are dropped.
            shapes: ``(F, 10)``; the offsets (cm) are those of rest, averaged over the frames.
        """
        fingers = torch.from_numpy(poses[:, 3:] + self.mean_pose).unflatten(-1, (-1, 3))
        local = axis_angle_to_matrix(fingers)[:, [bone - 1 for bone in MANO_BONES]]
        local = with_wrist_and_tips(local.unflatten(1, (N_FINGERS, BONES_PER_FINGER)))
        offsets = self.hand.with_shape(torch.from_numpy(shapes)).offsets.mean(0).numpy() * _CENTIMETRES
        offsets[0] = 0
        names = hand_joint_names("mano", self.hand.side)
        return Bvh.from_rotations(names, PARENTS, offsets, local.numpy(), frame_time=FRAME_TIME)


def write_runs(capture: Capture, side: str, hand: AnnotatedHand, folder: Path) -> tuple[Runs, list[str]]:
    """Write the runs of one hand of a capture: ``{capture}_{first}_{last}.bvh`` and ``.npy`` (shapes, float32).

    Returns:
        The runs, and the names of the files, ``.bvh`` only.

    Raises:
        InputError: a file cannot be written, or a pose is no rotation.
    """
    track, frames = capture.hands[side], np.array(capture.frames, dtype=np.int64)
    present = np.zeros(len(frames), bool)
    present[track.present] = True
    row = np.cumsum(present) - 1
    poses = np.frombuffer(track.poses).reshape(-1, N_POSE)
    shapes = np.frombuffer(track.shapes).reshape(-1, N_SHAPE)
    runs = find_runs(frames, present)
    files = []
    for run in runs.runs:
        path = folder / f"{capture.name}_{frames[run[0]]}_{frames[run[-1]]}.bvh"
        # The shapes come first: a motion without them would count as one of the mean shape.
        with atomic_write(path.with_suffix(".npy")) as temporary:
            np.save(temporary, shapes[row[run]].astype(np.float32))
        write_bvh(path, hand.motion(poses[row[run]], shapes[row[run]]))
        files.append(path.name)
    return runs, files
