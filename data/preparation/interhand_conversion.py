"""Converting a whole annotation file: which capture goes where, what is done, what there was (mathematics §5)."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import orjson

from data.preparation.interhand import AnnotatedHand, Capture, ReadBytes, Runs, read_captures, write_runs
from model.mano_file import find_model_file
from utils.errors import InputError
from utils.files import atomic_write, content_hash

FOLDERS = tuple(f"Mano{number}" for number in range(10))
"""Where the subjects go; see :func:`folders_of_subjects`."""
STATE = "conversion.json"
SUMMARY = "summary.csv"
VERSION = 1
_SAMPLE = 1 << 20
_OUTPUT = re.compile(r"((right|left)/)?(Mano[0-9]/)?[A-Za-z0-9][A-Za-z0-9_-]*\.bvh")


@dataclass
class Row:
    """One hand of one capture, for the summary."""

    capture: str
    hand: str
    folder: str = ""
    frames: int = 0
    """Annotated frames of the capture."""
    step: int = 0
    runs: int = 0
    written: int = 0
    """Frames in the runs."""
    longest: int = 0
    gaps: int = 0
    missing: int = 0
    single: int = 0
    uneven: int = 0
    note: str = ""
    """Why nothing was written: ``too sparse``, ``no runs`` (of two frames), or ``no subject`` in the list."""
    files: dict[str, int] = field(default_factory=dict)
    """Motion files that were written, from the output folder, with their sizes in bytes."""


def read_subjects(path: str | Path) -> dict[str, str]:
    """Read a list of captures and their subjects: a line each, separated by commas, semicolons, tabs or blanks.

    ``Capture0, 3`` and ``0 3`` and ``train/Capture0;3`` all say that capture 0 shows subject 3. Further columns do not
    matter, nor do empty lines, lines that begin with ``#``, and a first line of column names.

    Raises:
        InputError: the file is missing or another kind of file, or a capture has two subjects.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: expected a list of captures and subjects, found nothing; check `split_subjects`")
    subjects: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected text, one capture and its subject a line; found other data") from error
    for number, line in enumerate(lines, start=1):
        words = [word for word in re.split(r"[,;\s]+", line.strip()) if word]
        if not words or line.lstrip().startswith("#") or (not subjects and not re.search(r"\d", line)):
            continue
        capture = re.sub(r"^(.*/)?(capture)?", "", words[0], flags=re.IGNORECASE)
        if len(words) < 2 or not capture:
            raise InputError(f"{path}, line {number}: expected a capture and its subject, found {line[:60]!r}")
        if subjects.setdefault(capture, words[1]) != words[1]:
            raise InputError(f"{path}, line {number}: expected one subject for capture {capture}, found a second")
    if not subjects:
        raise InputError(f"{path}: expected a capture and its subject in each line, found none")
    return subjects


def folders_of_subjects(subjects: dict[str, str]) -> dict[str, str]:
    """Capture → ``Mano0`` … ``Mano9``. The subjects of the list, in the order of their numbers, take turns, so that
    all clips of a subject are in one folder, and no subject is in the training and the test split."""

    def natural(text: str) -> list:
        return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", text) if part]

    order = sorted(set(subjects.values()), key=natural)
    place = {subject: FOLDERS[number % len(FOLDERS)] for number, subject in enumerate(order)}
    return {capture: place[subject] for capture, subject in subjects.items()}


class Conversion:
    """Turns an annotation file into motions, capture by capture; what is done is kept in ``conversion.json``.

    Args:
        source: the JSON file of annotations.
        smplx_path: MANO file or folder.
        output: folder of the motions. Nothing is written elsewhere.
        sides: hands to take. Two of them go into the folders ``right`` and ``left``.
        subjects: list for :func:`read_subjects`, or None: no folders for subjects.
        force: begin anew, although the folder holds this conversion or another one.

    Raises:
        InputError: a file is missing, or the folder holds a conversion of something else.
    """

    def __init__(
        self,
        source: Path,
        smplx_path: Path,
        output: Path,
        sides: tuple[str, ...],
        subjects: Path | None = None,
        force: bool = False,
    ):
        self.source, self.output, self.sides = source, output, sides
        self._smplx_path = smplx_path
        self._folders = None if subjects is None else folders_of_subjects(read_subjects(subjects))
        self._identity = {
            "version": VERSION,
            "annotations": _fingerprint(source),
            "models": content_hash(*(find_model_file(smplx_path, side) for side in sides)),
            "hands": list(sides),
            "folders": self._folders,
        }
        self._hands: dict[str, AnnotatedHand] = {}
        self.rows: dict[str, list[Row]] = {}
        """Capture → a row for each hand; of all that are done, now or earlier."""
        self.complete = False
        """The annotation file was read to its end, and everything in it is done."""
        self._resume(force)

    def run(self, report: ReadBytes | None = None, finished: Callable[[str], None] | None = None) -> None:
        """Do what is not done yet. ``report`` is told of the bytes read, ``finished`` of each capture.

        Raises:
            InputError: the annotations are damaged; captures that were finished before the damage stay.
        """
        if self.complete:
            return
        for capture in read_captures(self.source, lambda name: name not in self.rows, report):
            self.rows[capture.name] = [self._convert(capture, side) for side in self.sides]
            self._save()
            if finished is not None:
                finished(capture.name)
        self.complete = True
        self._save()

    def _convert(self, capture: Capture, side: str) -> Row:
        row = Row(capture.name, side, frames=len(capture.frames))
        if self._folders is not None and capture.name not in self._folders:
            row.note = "no subject"
            return row
        row.folder = "/".join(self._parts(capture.name, side))
        if side not in self._hands:
            self._hands[side] = AnnotatedHand.load(self._smplx_path, side)
        folder = self.output / row.folder
        runs, files = write_runs(capture, side, self._hands[side], folder)
        _count(row, runs)
        row.files = {str(Path(row.folder) / name): (folder / name).stat().st_size for name in files}
        return row

    def _parts(self, capture: str, side: str) -> Iterator[str]:
        if len(self.sides) > 1:
            yield side
        if self._folders is not None:
            yield self._folders[capture]

    def _resume(self, force: bool) -> None:
        path = self.output / STATE
        if not path.is_file():
            return
        try:
            state = orjson.loads(path.read_bytes())
            same = state["identity"] == self._identity
            rows = {name: [Row(**row) for row in rows] for name, rows in state["captures"].items()}
            complete = bool(state["complete"])
            files = {
                str(file): int(size) for group in rows.values() for row in group for file, size in row.files.items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            same, rows, complete, files = force, {}, False, {}
        if force:
            for name in filter(_OUTPUT.fullmatch, files):
                for written in (self.output / name, (self.output / name).with_suffix(".npy")):
                    written.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
        elif not same:
            raise InputError(
                f"{path}: this folder holds the conversion of other annotations, or with other options; "
                "choose another `output_dir`, or `force` to convert anew"
            )
        else:
            self.rows = {name: group for name, group in rows.items() if all(map(self._is_whole, group))}
            self.complete = complete and len(self.rows) == len(rows)

    def _is_whole(self, row: Row) -> bool:
        """All files of a capture are there, as they were written."""
        for name, size in row.files.items():
            path = self.output / name
            if not (path.is_file() and path.stat().st_size == size and path.with_suffix(".npy").is_file()):
                return False
        return True

    def _save(self) -> None:
        captures = {name: [asdict(row) for row in rows] for name, rows in self.rows.items()}
        state = {"identity": self._identity, "complete": self.complete, "captures": captures}
        columns = [column.name for column in fields(Row) if column.name != "files"]
        with (
            atomic_write(self.output / SUMMARY) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as stream,
        ):
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(
                [getattr(row, column) for column in columns] for rows in self.rows.values() for row in rows
            )
        # Last: whoever is stopped between the two does the capture again, and its line is there then as well.
        with atomic_write(self.output / STATE) as temporary:
            temporary.write_text(json.dumps(state, indent=1), encoding="utf-8")


def _count(row: Row, runs: Runs) -> None:
    lengths = [len(run) for run in runs.runs]
    row.step, row.gaps, row.missing, row.single, row.uneven = (
        runs.step, runs.gaps, runs.missing, runs.single, runs.uneven)  # fmt: skip
    row.runs, row.written, row.longest = len(lengths), sum(lengths), max(lengths, default=0)
    if runs.sparse:
        row.note = "too sparse"
    elif not lengths:
        row.note = "no runs"


def _fingerprint(path: Path) -> str:
    """A hash of the size of a file and of its beginning, middle and end: reading gigabytes would take a minute."""
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing"
        raise InputError(f"{path}: expected the JSON file of MANO annotations, found {found}; check `input`")
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as stream:
        for start in (0, max(0, size // 2 - _SAMPLE // 2), max(0, size - _SAMPLE)):
            stream.seek(start)
            digest.update(stream.read(_SAMPLE))
    return digest.hexdigest()
