"""Where the results of `run.retarget` go, and what is refused about it before any work is done."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data.character.reading import MANO_NAMES, Reading
from data.choices import BODIES
from data.choices import MOTION_FORMATS as FORMATS
from model.topology import SIDES
from utils.errors import InputError
from utils.files import check_writable

ENDINGS = {
    "bvh": "bvh",
    "glb": "glb",
    "gltf": "glb",
    "fbx": "fbx",
    "vrma": "vrma",
    "npz": "mano",
    "mp4": "mp4",
    "gif": "gif",
}
"""What --output may end in, and the format that it asks for."""
_FILE_ENDINGS = {"mano": "npz"}


def formats_of(output: Path, wanted: Sequence[str] | None, count: int) -> tuple[list[str], bool]:
    """The formats to write, and whether --output names one file.

    Args:
        output: --output; a folder if it is one already or its name has no ending.
        wanted: --format.
        count: of motion files.

    Raises:
        InputError: the ending is unknown, or there is more to write than one file.
    """
    ending = output.suffix.lower().removeprefix(".")
    if not ending or os.path.isdir(output):
        return list(dict.fromkeys(wanted or ["bvh"])), False
    if ending not in ENDINGS:
        raise InputError(
            f"--output {output}: expected a folder, or a file that ends in .{', .'.join(ENDINGS)}; found "
            f"{output.suffix}; change the ending, or make the folder first if it is to be one"
        )
    kind = ENDINGS[ending]
    if wanted and list(dict.fromkeys(wanted)) != [kind]:
        raise InputError(f"--output {output}: expected a folder for --format {' '.join(wanted)}, found a file")
    if count > 1:
        raise InputError(f"--output {output}: expected a folder for {count} motions, found a file name")
    return [kind], True


def inputs_of(config: argparse.Namespace, files: Sequence[Path], reading: Reading) -> list[Path]:
    """Every file that is read, and those of the data set beside them: nothing of it may be overwritten."""
    named = [config.target, config.source_hand, config.ckpt_path, config.rig_map, config.mano_axes, config.smplx_path]
    named += [config.body] if config.body not in BODIES else []
    named += [words[0] for words in (config.shape, config.source_shape) if words]
    paths = [*files, *(Path(name) for name in named if name is not None)]
    for folder in (reading.folder.finger_data, reading.models, reading.models / "mano"):
        paths += folder.iterdir() if folder.is_dir() else ()
    return [path for path in paths if path.is_file()]


@dataclass
class Plan:
    """Where each motion goes.

    Attributes:
        output: the file or the folder.
        into_file: which of them.
        root: the source: a motion, or a folder whose folders are made in ``output`` too.
        files: the motions.
        formats: to write.
        report: whether a report is written as well.
        sided: whether each hand is a file of its own (MANO targets).
    """

    output: Path
    into_file: bool
    root: Path
    files: Sequence[Path]
    formats: Sequence[str]
    report: bool
    sided: bool
    _taken: set[Path] = field(default_factory=set)
    _inputs: dict[Path, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._twins = Counter(file.with_suffix("") for file in self.files)

    def base(self, file: Path, name: str) -> Path:
        """The file to write, or folder and name without ending; motions of one name in a folder (``a.bvh``,
        ``a.npz``) are told apart by their endings: ``a_bvh``, ``a_npz``.

        Args:
            file: the source.
            name: of the motion: the file's stem, and its own name where the file holds several.
        """
        if self.into_file:
            return self.output
        if self._twins[file.with_suffix("")] > 1:
            name = f"{file.stem}_{file.suffix[1:].lower()}{name.removeprefix(file.stem)}"
        folder = self.output / (file.parent.relative_to(self.root) if self.root.is_dir() else Path())
        return folder / name

    def claim(self, file: Path, name: str) -> Path:
        """The `base` of a motion that is about to be retargeted, with a number if another one has it already.

        Raises:
            InputError: it would overwrite an input.
        """
        base = first = self.base(file, name)
        number = 1
        while not self._taken.isdisjoint(self.paths(base)):
            number += 1
            base = first.with_name(f"{first.stem if self.into_file else first.name}_{number}"
                                   f"{first.suffix if self.into_file else ''}")  # fmt: skip
        self._refuse(base)
        self._taken.update(self.paths(base))
        return base

    def check(self, inputs: Sequence[Path]) -> None:
        """Refuse what can be known before any work.

        Raises:
            InputError: an output would overwrite one of ``inputs``, is a folder, or its folder cannot be written to.
        """
        self._inputs = {path.resolve(): path for path in inputs}
        bases = [self.base(file, file.stem) for file in self.files]
        for folder in dict.fromkeys(base.parent for base in bases):
            try:
                check_writable(folder)
            except InputError as error:
                raise InputError(f"--output {self.output}: {error}") from None
        for base in bases:
            self._refuse(base)

    def _refuse(self, base: Path) -> None:
        for path in self.paths(base):
            if (found := self._inputs.get(path.resolve())) is not None:
                raise InputError(
                    f"--output {self.output}: {path} would overwrite {found}, which is read; choose another --output"
                )
            if os.path.isdir(path):
                raise InputError(
                    f"{path}: expected the name of a file to write, found a folder; choose another --output"
                )

    def paths(self, base: Path) -> list[Path]:
        """All files that a motion may become."""
        stem = base.stem if self.into_file else base.name
        result = []
        for kind in self.formats:
            ending = base.suffix if self.into_file else f".{_FILE_ENDINGS.get(kind, kind)}"
            sides = ("", *(f"_{side}" for side in SIDES)) if self.sided and kind in FORMATS else ("",)
            result += [base.with_name(f"{stem}{side}{ending}") for side in sides]
        return result + ([base.with_name(f"{stem}_report.json")] if self.report else [])


def plan_of(config: argparse.Namespace, files: Sequence[Path], formats: Sequence[str], into_file: bool) -> Plan:
    """The plan of the options of `run.retarget`."""
    target = config.target or ""
    sided = target.lower() in MANO_NAMES or bool(target) and Path(target).is_dir()
    return Plan(config.output, into_file, config.source, files, formats, config.report, sided)
