"""What a MixHand folder holds, character by character, and what is missing or damaged; uses the usual readers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from data.axes.files import read_finger_axes
from data.character.character import Character
from data.character.reading import read_mesh_character
from data.dataset import MixHandFolder
from data.features.file import FeatureFile, check_rows, open_features, stored_notes
from data.features.windows import read_statistics
from data.preparation.preprocess import MotionSummary, check_motion
from data.preparation.resampling import rest_lengths
from data.preparation.unusual import UnusualClips
from data.splits import TEST_CHARACTERS, TRAIN_CHARACTERS, VAL_CHARACTERS, expand_characters
from model.mano_file import ManoAxes, find_model_file, read_mano_arrays
from model.topology import SIDES
from utils.errors import InputError

OK, MISSING, DAMAGED, ABSENT = "ok", "missing", "damaged", "-"
PARTS = ("features", "statistics", "motions", "mesh", "axes")


@dataclass
class Part:
    """One kind of file of a character."""

    state: str = ABSENT
    """``ok``, ``damaged``, ``missing`` (and needed), or ``-`` (neither there nor needed)."""
    detail: str = ""
    """What there is, in a few words; or what is wrong with it, in a sentence."""


@dataclass
class CharacterReport:
    """What a folder holds of one character."""

    character: str
    domain: str = ""
    side: str = ""
    """Of the features."""
    stale: bool = False
    """The features are older than the motions, or hold other clips."""
    parts: dict[str, Part] = field(default_factory=lambda: {name: Part() for name in PARTS})
    notes: list[str] = field(default_factory=list)
    """What is unusual about its clips: another rate than windows assume, another skeleton. Nothing that is wrong."""

    @property
    def is_whole(self) -> bool:
        """Nothing that is needed is missing, and nothing is damaged."""
        return not self.problems

    @property
    def problems(self) -> list[str]:
        """The parts that are missing or damaged, with their reasons."""
        bad = [part for part in self.parts.values() if part.state in (MISSING, DAMAGED)]
        return [part.detail for part in bad]


@dataclass
class FolderReport:
    """What a MixHand folder holds."""

    path: str
    kind: str
    """``published features``, ``features``, ``raw motions``, or several of these joined by ``and``."""
    characters: list[CharacterReport]
    mano: dict[str, Part]
    """The MANO model of each side and the file of its axes."""

    @property
    def is_whole(self) -> bool:
        """Nothing that is needed is missing, and nothing is damaged."""
        mano = all(part.state not in (MISSING, DAMAGED) for part in self.mano.values())
        return mano and all(each.is_whole for each in self.characters)

    def as_dict(self) -> dict:
        """For JSON."""
        return {**asdict(self), "whole": self.is_whole}


def check_folder(
    path: str | Path, mano_path: str | Path | None = None, report: Callable[[str, int, int], None] = lambda *_: None
) -> FolderReport:
    """Look through a data set folder: all of it is read, one file at a time.

    Args:
        path: the folder of a data set, raw, preprocessed by us, or the published archive.
        mano_path: MANO file or folder; None: as `MixHandFolder.mano_model` says.
        report: told of progress: character, done, in all.

    Raises:
        InputError: there is no such folder, or it holds nothing of a data set.
    """
    path = Path(path)
    folder = MixHandFolder(path)
    if not path.is_dir():
        raise InputError(
            f"{path}: expected the folder of a data set, found {'a file' if path.exists() else 'nothing'}"
        )
    names = _characters(folder)
    if not names:
        raise InputError(
            f"{path}: expected feature files (<character>.npy), folders of .bvh files or finger_data, found none; "
            "give the folder that holds them (the published archive unpacks to MixHand)"
        )
    characters, kinds = [], set()
    for number, name in enumerate(names):
        report(name, number, len(names))
        characters.append(_character(folder, name, kinds))
    report("", len(names), len(names))
    if "published features" in kinds:
        characters += _missing_of_the_published(names)
    mano = _mano(
        folder, folder.mano_model(mano_path), any(each.domain == "mano" for each in characters), "raw motions" in kinds
    )
    return FolderReport(str(path), " and ".join(sorted(kinds)) or "meshes", characters, mano)


def _characters(folder: MixHandFolder) -> list[str]:
    return sorted({*folder.with_features(), *folder.moving(), *folder.meshes(), *folder.with_axes()})


def _character(folder: MixHandFolder, name: str, kinds: set[str]) -> CharacterReport:
    each = CharacterReport(name)
    made, motions = folder.features(name), folder.motions(name)
    if made.exists():
        file = _try(each.parts["features"], lambda: _features(folder.path, name))
        if file is not None:
            each.domain, each.side = file.domain, file.side
            ours = made.with_suffix(".json").is_file()  # also beside files that we wrote in the published layout
            kinds.add("features" if ours else "published features")
            each.parts[
                "features"
            ].detail = f"{len(file.clips)} clips, {sum(clip.frames for clip in file.clips)} frames"
            if any(path.exists() for path in folder.statistics(name)):
                _try(each.parts["statistics"], lambda: read_statistics(file) and "")
            each.stale = ours and any(source.stat().st_mtime > made.stat().st_mtime for source in motions)
            each.stale |= ours and bool(motions) and len(motions) != len(file.clips)
        del file
    clips: list[tuple[str, MotionSummary]] = []
    if motions:
        kinds.add("raw motions")
        clips = _motions(each, motions)
    character = _skin(each, folder, needed=bool(motions) and each.domain != "mano")
    each.notes = _notes(each, clips, character, folder) if clips else list(stored_notes(folder.path, name))
    return each


def _features(path: Path, name: str) -> FeatureFile:
    file = open_features(path, name)
    check_rows(file)
    return file


def _motions(each: CharacterReport, motions: list[Path]) -> list[tuple[str, MotionSummary]]:
    """Name and summary of those that can be read."""
    clips, wrong = [], []
    for path in motions:
        try:
            clips.append((path.stem, check_motion(path)))
        except InputError as error:
            wrong.append(str(error))
    domains = sorted({clip.domain for _, clip in clips})
    if len(domains) > 1:
        wrong.append(f"{motions[0].parent}: expected hands of one kind, found {' and '.join(domains)}")
    each.domain = each.domain or (domains[0] if domains else "")
    part = each.parts["motions"]
    part.state = DAMAGED if wrong else OK
    more = f" (and {len(wrong) - 1} more of {len(motions)} files)" if len(wrong) > 1 else ""
    part.detail = wrong[0] + more if wrong else f"{len(motions)} files, {sum(clip.frames for _, clip in clips)} frames"
    return clips


def _notes(
    each: CharacterReport, clips: list[tuple[str, MotionSummary]], character: Character | None, folder: MixHandFolder
) -> list[str]:
    """What is unusual about the clips of a character's own kind."""
    hands = {} if character is None else character.hands
    bones = rest_lengths(hands[clips[0][1].side].rest) if clips[0][1].side in hands else None
    unusual = UnusualClips(each.character, each.domain, bones)
    for name, clip in clips:
        if clip.domain == each.domain:
            unusual.saw(name, clip.frame_time, clip.bones)
    return unusual.notes(folder.is_ours(each.character))


def _skin(each: CharacterReport, folder: MixHandFolder, needed: bool) -> Character | None:
    """Mesh and axes. A mesh without axes is of no use, and motions of a character need both."""
    name = each.character
    mesh, axes = folder.mesh(name), folder.axes(name)
    character = None
    if mesh.is_file():
        character = _try(each.parts["mesh"], lambda: read_mesh_character(mesh))
        if character is not None:
            each.domain = each.domain or "mixamo"
            each.parts["mesh"].detail = f"{len(character.skin.vertices)} vertices, {' and '.join(character.sides)}"
    elif needed:
        each.parts["mesh"] = Part(MISSING, f"{mesh}: expected the mesh of {name}, found nothing")
    if axes.is_file():
        found = _try(each.parts["axes"], lambda: read_finger_axes(axes))
        if found is not None:
            each.parts["axes"].detail = " and ".join(found)
            if character is not None and not set(found) & set(character.sides):
                text = (
                    f"{axes}: expected axes of the {' or '.join(character.sides)} hand that the mesh has, found none"
                )
                each.parts["axes"] = Part(DAMAGED, text)
    elif needed or mesh.is_file():
        each.parts["axes"] = Part(MISSING, f"{axes}: expected the axes of {name}, found nothing")
    return character


def _mano(folder: MixHandFolder, mano_path: Path, used: bool, raw: bool) -> dict[str, Part]:
    parts = {f"model, {side}": Part() for side in SIDES} | {"axes": Part()}
    for side in SIDES:
        part = parts[f"model, {side}"]
        try:
            file = find_model_file(mano_path, side)
        except InputError as error:
            if used and side == SIDES[0]:
                part.state, part.detail = MISSING, str(error)
            continue
        if _try(part, lambda file=file: read_mano_arrays(file)) is not None:
            part.detail = str(file)
    axes = folder.mano_axes
    if axes.is_file():
        sides = _try(parts["axes"], lambda: _sides_of(axes))
        parts["axes"].detail = " and ".join(sides) if sides else parts["axes"].detail
    elif used or raw:
        parts["axes"].state = MISSING if used else ABSENT
        parts["axes"].detail = f"{axes}: expected the axes of the MANO hand, found nothing" if used else ""
    return parts


def _sides_of(axes: Path) -> list[str]:
    sides, reasons = [], []
    for side in SIDES:
        try:
            ManoAxes.read(axes, side)
            sides.append(side)
        except InputError as error:
            reasons.append(error)
    if not sides:
        raise reasons[0]
    return sides


def _missing_of_the_published(names: list[str]) -> list[CharacterReport]:
    """Characters of the published splits that a published archive lacks."""
    expected = dict.fromkeys(expand_characters([*TRAIN_CHARACTERS, *VAL_CHARACTERS, *TEST_CHARACTERS]))
    missing = [CharacterReport(name) for name in expected if name not in names]
    for each in missing:
        each.parts["features"] = Part(MISSING, f"{each.character}.npy: a character of the published splits, not there")
    return missing if len(missing) < len(expected) else []


def _try(part: Part, read: Callable):
    """What ``read`` gives; None, and the part is damaged, if it ends with an InputError."""
    try:
        result = read()
    except InputError as error:
        part.state, part.detail = DAMAGED, str(error)
        return None
    part.state = OK
    return result
