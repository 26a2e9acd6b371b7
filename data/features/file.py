"""Feature files: one per character, memory-mapped, in our own format; published files are read too (mathematics §5).

Ours is ``<character>.npy``, a plain float32 array ``(frames, channels)`` of all clips one after the other, and
beside it ``<character>.json``, which says what the rows are. Rows can be used straight from the disk, so that a
data set may be larger than memory. A published file is one object array of ``(frames, channels)`` arrays and has
to be loaded. We write that layout too, for those who use the published program; its ``.json`` is our own then.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson

from data.choices import FEATURE_FORMATS
from data.features.published import ObjectArrayWriter
from data.features.row import channels, domain_of
from data.formats.rates import is_rate
from model.topology import DOMAINS, N_JOINTS, SIDES
from utils.errors import InputError
from utils.files import atomic_write
from utils.safe_read import read_npy

FORMAT = "semantics2hands-features"
PUBLISHED_FORMAT = "published-mixhand-features"
FORMATS = dict(zip(FEATURE_FORMATS, (FORMAT, PUBLISHED_FORMAT), strict=True))
"""What a layout is called on the command line, and in the description beside a file."""
VERSION = 1

_NAMED = 12  # characters that an error message lists
_SCAN_ROWS = 2048
_DTYPE = np.dtype("<f4")


@dataclass(frozen=True)
class Clip:
    """One motion of a character; ``frame_time`` in seconds, None where the file does not say."""

    name: str
    frames: int
    frame_time: float | None = None


@dataclass
class FeatureFile:
    """The features of one character, opened for reading.

    ``clips`` lie one after the other in :attr:`rows`. Of every clip, the rows 0, ``stride``, 2·``stride``, … are
    the ones to use. Copies for other processes map the file anew instead of carrying its content.
    """

    path: Path
    character: str
    domain: str
    side: str
    clips: tuple[Clip, ...]
    stride: int = 1
    _rows: np.ndarray | None = None
    _mapped: bool = True
    missing: tuple[int, ...] = ()
    """Joints (hand order) that the hand does not have."""

    @property
    def rows(self) -> np.ndarray:
        """``(frames of all clips, channels)`` float32; read-only."""
        if self._rows is None:
            self._rows = np.asarray(read_npy(self.path, mmap=True))
        return self._rows

    @property
    def kept_per_clip(self) -> list[int]:
        """Frames of each clip that are used."""
        return [-(-clip.frames // self.stride) for clip in self.clips]

    @property
    def rates(self) -> list[float]:
        """Rates of the frames that are used, one for each clip of which the file says it."""
        return [1 / (clip.frame_time * self.stride) for clip in self.clips if clip.frame_time]

    def clip_ends(self) -> np.ndarray:
        """``(clips,)`` row after the last of each clip."""
        return np.cumsum([clip.frames for clip in self.clips])

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_rows": None} if self._mapped else self.__dict__


class FeatureWriter:
    """Appends clips to a feature file that is being written; see :func:`writing_features`."""

    def __init__(self, stream: BinaryIO, path: Path, domain: str, published_clips: int | None = None):
        self._stream, self._path, self._channels = stream, path, channels(domain)
        self.clips: list[Clip] = []
        self.notes: list[str] = []
        """Lines about the clips that go into the description."""
        self.digest = hashlib.sha256()
        self._published = None
        if published_clips is None:
            self._header_size = self._write_header()
        else:
            self._published = ObjectArrayWriter(stream, published_clips, self._channels)

    @property
    def frames(self) -> int:
        """Frames written so far."""
        return sum(clip.frames for clip in self.clips)

    def add_clip(self, name: str, rows: np.ndarray, frame_time: float | None) -> None:
        """Append ``rows (frames, channels)``.

        Raises:
            InputError: the rows have another width, or hold NaN or infinite numbers.
        """
        self.add_blocks(name, len(rows), [rows], frame_time)

    def add_blocks(self, name: str, frames: int, blocks: Iterable[np.ndarray], frame_time: float | None) -> None:
        """Append a clip of ``frames`` rows that comes in blocks ``(some frames, channels)``, so that it is never held.

        Raises:
            InputError: as :meth:`add_clip`.
            ValueError: the blocks are not ``frames`` rows in all.
        """
        if self._published is not None:
            self._published.begin_clip(frames)
        written = 0
        for rows in blocks:
            if rows.ndim != 2 or rows.shape[1] != self._channels:
                raise InputError(f"{name}: expected rows of {self._channels} features, found an array {rows.shape}")
            _check_finite(rows, name, (Clip(name, len(rows)),), written)
            data = np.ascontiguousarray(rows, dtype=_DTYPE).data
            self._stream.write(data)
            self.digest.update(data)
            written += len(rows)
        if written != frames:
            raise ValueError(f"`frames` must be the number of rows; got {frames} and {written} rows")
        self.clips.append(Clip(name, frames, frame_time))

    def _write_header(self) -> int:
        self._stream.seek(0)
        header = {"descr": _DTYPE.str, "fortran_order": False, "shape": (self.frames, self._channels)}
        np.lib.format.write_array_header_1_0(self._stream, header)
        return self._stream.tell()

    def finish(self) -> None:
        """Close the file, now that the number of frames is known. NumPy pads headers for this purpose."""
        if self._published is not None:
            self._published.finish()
        elif self._write_header() != self._header_size:
            raise RuntimeError(f"{self._path}: the header of a .npy file changed its size")


@contextmanager
def writing_features(
    data_path: str | Path,
    character: str,
    domain: str,
    side: str,
    inputs: str,
    missing: Sequence[int] = (),
    published_clips: int | None = None,
) -> Iterator[FeatureWriter]:
    """Write the feature file of a character, clip by clip; it appears when the block has succeeded.

    Args:
        data_path: folder of the data set.
        character: its name.
        domain: ``"mixamo"`` or ``"mano"``.
        side: ``"right"`` or ``"left"``.
        inputs: fingerprint of everything that the features were computed from; see :func:`is_up_to_date`.
        missing: joints (hand order) that the hand does not have.
        published_clips: None writes our layout; the number of clips that will come writes the published one.
    """
    path = Path(data_path) / f"{character}.npy"
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        writer = FeatureWriter(stream, path, domain, published_clips)
        yield writer
        writer.finish()
    # The description comes last: a file without a matching one counts as not written.
    description = {
        "format": FORMAT if published_clips is None else PUBLISHED_FORMAT,
        "version": VERSION,
        "character": character,
        "domain": domain,
        "side": side,
        "channels": channels(domain),
        "frames": writer.frames,
        "inputs": inputs,
        "checked": _stamp(path),
        "sha256": writer.digest.hexdigest(),  # of the rows
        "clips": [asdict(clip) for clip in writer.clips],
    }
    if missing:
        description["missing_joints"] = list(missing)
    if writer.notes:
        description["notes"] = writer.notes
    with atomic_write(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(description, indent=1), encoding="utf-8")


def is_up_to_date(data_path: str | Path, character: str, inputs: str) -> bool:
    """Whether a character's feature file was written from these ``inputs`` and has not been touched since."""
    path = Path(data_path) / f"{character}.npy"
    try:
        description = orjson.loads(path.with_suffix(".json").read_bytes())
        known = description["format"] in FORMATS.values() and description["version"] == VERSION
        return known and description["inputs"] == inputs and description["checked"]["size"] == path.stat().st_size
    except (OSError, ValueError, KeyError, TypeError):
        return False


def stored_clips(data_path: str | Path, character: str) -> tuple[str, tuple[Clip, ...]]:
    """Domain and clips of a feature file as its description says, for one that :func:`is_up_to_date`.

    Raises:
        InputError: there is no such description.
    """
    path = Path(data_path) / f"{character}.json"
    try:
        description = orjson.loads(path.read_bytes())
        return description["domain"], _clips_of(description)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: this is not a description of features ({error!r}); preprocess again") from error


def stored_notes(data_path: str | Path, character: str) -> tuple[str, ...]:
    """What was noted about the clips of a character when they were written; nothing if that cannot be told."""
    try:
        notes = orjson.loads((Path(data_path) / f"{character}.json").read_bytes()).get("notes", [])
        return tuple(str(note) for note in notes)
    except (OSError, ValueError, AttributeError, TypeError):
        return ()


def _clips_of(description: dict) -> tuple[Clip, ...]:
    return tuple(Clip(str(c["name"]), int(c["frames"]), _frame_time(c["frame_time"])) for c in description["clips"])


def _frame_time(stored: Any) -> float | None:
    if stored is not None and not (stored == 0 or is_rate(1 / stored)):
        raise ValueError(f"a frame time of {stored} seconds")
    return stored


def available_characters(data_path: str | Path) -> list[str]:
    """Names of the characters that have a feature file in a folder."""
    return sorted(path.stem for path in Path(data_path).glob("*.npy"))


def open_features(data_path: str | Path, character: str, mixamo_stride: int = 1) -> FeatureFile:
    """Open the feature file of a character.

    Args:
        data_path: folder of the data set.
        character: its name.
        mixamo_stride: use each n-th frame if the character is of the Mixamo domain (mathematics §5).

    Raises:
        InputError: the file is missing, is not a feature file, has the wrong number of channels, holds NaN or
            infinite numbers, or does not match its description.
    """
    path = Path(data_path) / f"{character}.npy"
    if not path.is_file():
        raise InputError(_missing(Path(data_path), character))
    content = read_npy(path, mmap=True)
    if content.dtype.hasobject or content.ndim != 2:
        return _from_published(path, character, mixamo_stride, content)
    return _from_ours(path, character, mixamo_stride, np.asarray(content))


def check_rows(file: FeatureFile) -> None:
    """Look for NaN and infinite numbers in all rows of a file opened without stride, also of one that has not changed
    since it was written, and compare the rows with the hash in its description.

    Raises:
        InputError: there are some, and the message names clip and frame; or the rows are not those that were written.
    """
    _check_finite(file.rows, str(file.path), file.clips)
    try:
        stored = orjson.loads(file.path.with_suffix(".json").read_bytes()).get("sha256")
    except (OSError, ValueError, AttributeError):
        return  # published files have no description, and a damaged one was reported when the file was opened
    if stored is None:
        return
    digest = hashlib.sha256()
    for start in range(0, len(file.rows), _SCAN_ROWS):
        digest.update(np.ascontiguousarray(file.rows[start : start + _SCAN_ROWS], dtype=_DTYPE).data)
    if digest.hexdigest() != stored:
        raise InputError(
            f"{file.path}: expected the features that were written, found others: its content has changed since; "
            f"preprocess {file.path.parent} again (run.preprocess_mixhand with `force`)"
        )


def _missing(data_path: Path, character: str) -> str:
    if not data_path.is_dir():
        return f"{data_path}: expected the folder of the data set, found no folder; set `data_path`"
    names = available_characters(data_path)
    found = ", ".join([*names[:_NAMED], *(["…"] if len(names) > _NAMED else [])]) or "none"
    found += f" ({len(names)} in all)" if len(names) > _NAMED else ""
    if any((data_path / character).glob("*.bvh")):
        hint = f"its motions are there, so preprocess {data_path} (run.preprocess_mixhand)"
    else:
        hint = (
            f"choose others with `train_characters` and the like, or put BVH files into "
            f"{data_path / character} and preprocess it (run.preprocess_mixhand)"
        )
    return f"{data_path / character}.npy: expected the features of {character}, found only those of: {found}; {hint}"


def _from_ours(path: Path, character: str, mixamo_stride: int, rows: np.ndarray) -> FeatureFile:
    beside = path.with_suffix(".json")
    again = f"preprocess {path.parent} again (run.preprocess_mixhand with `force`)"
    if not beside.is_file():
        raise InputError(f"{path}: expected its description in {beside.name} beside it, found none; {again}")
    try:
        description = orjson.loads(beside.read_bytes())
        kind = (description["format"], description["version"])
        if kind != (FORMAT, VERSION):
            raise InputError(f"{beside}: expected format {FORMAT!r} version {VERSION}, found {kind}; {again}")
        domain, side = description["domain"], description["side"]
        clips = _clips_of(description)
        missing = tuple(int(joint) for joint in description.get("missing_joints", ()))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{beside}: this is not a description of features ({error!r}); {again}") from error
    if domain not in DOMAINS or side not in SIDES:
        raise InputError(
            f"{beside}: expected a domain of {DOMAINS} and a side of {SIDES}, found {domain!r} and {side!r}; {again}"
        )
    if not all(0 < joint < N_JOINTS for joint in missing):
        raise InputError(f"{beside}: expected missing_joints from 1 to {N_JOINTS - 1}, found {missing}; {again}")
    expected = (sum(clip.frames for clip in clips), channels(domain))
    if rows.shape != expected or rows.dtype != _DTYPE:
        raise InputError(
            f"{path}: expected {expected[0]} frames of {expected[1]} channels in float32, as {beside.name} says "
            f"for a {domain} hand, found an array {rows.shape} of {rows.dtype}; {again}"
        )
    # Rows are checked when they are written; an unchanged file need not be read through at every start.
    if description.get("checked") != _stamp(path):
        _check_finite(rows, str(path), clips)
    stride = mixamo_stride if domain == "mixamo" else 1
    return FeatureFile(path, character, domain, side, clips, stride, rows, missing=missing)


def _from_published(path: Path, character: str, mixamo_stride: int, content: np.ndarray) -> FeatureFile:
    """Take an array of clips apart. Only the frames that will be used are kept, in one array."""
    arrays = [_as_clip(path, number, clip) for number, clip in enumerate(content)]
    if not arrays:
        raise InputError(f"{path}: expected clips of (frames, channels) features, found none")
    widths = sorted({array.shape[1] for array in arrays})
    domain = domain_of(widths[0])
    if len(widths) > 1 or domain is None:
        known = " or ".join(f"{channels(domain)} ({domain})" for domain in DOMAINS)
        raise InputError(f"{path}: expected rows of {known} channels in all clips, found {widths}")
    names = [f"clip {number}" for number in range(len(arrays))]
    for name, array in zip(names, arrays, strict=True):
        _check_finite(array, str(path), (Clip(name, len(array)),))
    stride = mixamo_stride if domain == "mixamo" else 1
    rows = np.concatenate([array[::stride] for array in arrays])
    rows.flags.writeable = False
    clips = tuple(Clip(name, -(-len(array) // stride)) for name, array in zip(names, arrays, strict=True))
    return FeatureFile(path, character, domain, _published_side(path), clips, stride=1, _rows=rows, _mapped=False)


def _published_side(path: Path) -> str:
    """Published features are those of the right hand (mathematics §5), unless we wrote them for the left one."""
    try:
        description = orjson.loads(path.with_suffix(".json").read_bytes())
        if description["format"] == PUBLISHED_FORMAT and description["checked"] == _stamp(path):
            return description["side"] if description["side"] in SIDES else "right"
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return "right"


def _as_clip(path: Path, number: int, clip: object) -> np.ndarray:
    try:
        array = np.asarray(clip, dtype=np.float32)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim != 2:
        raise InputError(
            f"{path}: expected clip {number} to be a (frames, channels) array of numbers, found {clip!r:.80}"
        )
    return array


def _stamp(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {"size": stat.st_size, "modified_ns": stat.st_mtime_ns}


def _check_finite(rows: np.ndarray, where: str, clips: Sequence[Clip], first_frame: int = 0) -> None:
    """Raise InputError naming the first of ``rows (frames, channels)`` that is not finite; a chunk at a time.
    ``first_frame`` is the number of the first clip's first row."""
    for start in range(0, len(rows), _SCAN_ROWS):
        chunk = rows[start : start + _SCAN_ROWS]
        # A sum is finite only if all its terms are (or it overflows, which the second look settles).
        with np.errstate(all="ignore"):
            if np.isfinite(chunk.sum(dtype=np.float64)):
                continue
        bad = np.flatnonzero(~np.isfinite(chunk).all(axis=1))
        if len(bad) == 0:
            continue
        row = start + int(bad[0])
        clip = int(np.searchsorted(np.cumsum([clip.frames for clip in clips]), row, side="right"))
        frame = row - sum(clip.frames for clip in clips[:clip])
        raise InputError(
            f"{where}: expected finite features, found NaN or infinite ones in frame {first_frame + frame} of "
            f"{clips[clip].name!r}; repair the motion it comes from and preprocess again"
        )
