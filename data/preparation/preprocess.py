"""From a prepared data set folder (BVH motions, meshes, axes) to feature files and statistics (mathematics §4, §5)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from data.character.character import CharacterHand
from data.character.reading import read_annotated
from data.dataset import MixHandFolder
from data.features.file import FORMATS, VERSION, is_up_to_date, stored_clips, stored_notes, writing_features
from data.features.row import CHUNK, compute_features
from data.features.windows import WindowMoments, remove_statistics, window_weights, write_statistics
from data.formats.bvh import read_bvh, read_skeleton
from data.preparation.resampling import ASSUMED, bone_lengths, resampled, rest_lengths
from data.preparation.unusual import UnusualClips
from data.rig import RigMap, find_hand
from data.rig.rotations import hand_rotations
from model.hands import ShapedHand
from model.mano import ManoHand
from model.mano_file import find_model_file
from model.topology import N_SHAPE, check_side
from utils.errors import InputError
from utils.files import content_hash, remove_leftovers
from utils.safe_read import read_npy

MIXAMO_STRIDE = 12
"""Mixamo motion is used at each 12th frame (60 → 5 frames per second)."""

Report = Callable[[str, int, int], None]
"""Told of progress: character, clips done, clips in all."""


@dataclass(frozen=True)
class Plan:
    """What there is to do for one character."""

    character: str
    domain: str
    motions: tuple[Path, ...]
    inputs: str
    """A hash of everything that the features and statistics depend on."""
    size: int
    """Bytes of the motions."""
    up_to_date: bool
    """The file is there already, made from the same inputs."""


@dataclass(frozen=True)
class Outcome:
    """What became of one character."""

    character: str
    domain: str
    clips: int
    frames: int
    written: bool
    """False: the file was there already, made from the same inputs."""
    notes: tuple[str, ...] = ()
    """What is unusual about its clips, and what was done about it."""


@dataclass(frozen=True)
class _ReadClip:
    """One motion file."""

    path: Path
    local: np.ndarray
    """(frames, 21, 3, 3) local rotations."""
    shapes: np.ndarray | None
    """(frames, 10) of a MANO hand."""
    frame_time: float
    bones: np.ndarray
    """(21,) lengths in the file."""


@dataclass(frozen=True)
class Preprocessor:
    """Turns the motions of characters into feature files.

    ``data_path`` is laid out as `data.dataset` says; nothing is written outside of it.

    Args:
        data_path: folder of the data set.
        mano_path: MANO file or folder; only read if a character has MANO motions.
        side: which hand to take from the motions.
        window_size: of the statistics.
        force: compute again what is up to date.
        layout: of the feature files, ``"ours"`` or ``"published"``; see `data.features.file`.
        rig_map: what the user says about rigs whose names tell nothing.
        resample: bring clips to the rate that windows assume; None: those of our own data, that is of MixHand-Open and
            of characters that run.convert_character has made. Published data stays as it is.
    """

    data_path: Path
    mano_path: Path
    side: str = "right"
    window_size: int = 8
    force: bool = False
    layout: str = "ours"
    rig_map: RigMap | None = None
    resample: bool | None = None

    def __post_init__(self) -> None:
        if self.layout not in FORMATS:
            raise InputError(f"`format`: expected one of {', '.join(FORMATS)}, found {self.layout!r}")

    def characters(self) -> list[str]:
        """Names of the folders that hold BVH files, sorted. Raises InputError if there are none."""
        if not self.data_path.is_dir():
            raise InputError(
                f"{self.data_path}: expected the folder of the data set, found no folder; set `data_path`"
            )
        names = self._folder.moving()
        if not names:
            raise InputError(f"{self.data_path}: expected a folder of .bvh files for each character, found none")
        return names

    def rig_files(self, characters: Sequence[str] | None = None) -> list[Path]:
        """The files that have a skeleton, meshes and motions, of these characters or of all.

        Raises:
            InputError: there are none.
        """
        meshes = self._folder.meshes()
        names = sorted({*meshes, *self._folder.moving()}) if characters is None else characters
        files = [
            path
            for name in names
            for path in (*([meshes[name]] if name in meshes else []), *self._folder.motions(name))
        ]
        if not files:
            raise InputError(f"{self.data_path}: expected meshes in finger_data or folders of .bvh files, found none")
        return files

    def plan(self, character: str) -> Plan:
        """Find out what there is to do for a character; reads its inputs once, for their hash.

        Raises:
            InputError: a file is missing, or its first motion cannot be read.
        """
        motions = self._folder.motions(character)
        if not motions:
            raise InputError(f"{self.data_path / character}: expected .bvh files of {character}, found none")
        domain = self._domain(character, motions)
        inputs = self._fingerprint(character, domain, motions)
        size = sum(path.stat().st_size for path in motions)
        done = not self.force and is_up_to_date(self.data_path, character, inputs)
        return Plan(character, domain, tuple(motions), inputs, size, done)

    def carry_out(self, plan: Plan, report: Report | None = None) -> Outcome:
        """Write the feature file and the statistics of a character, unless they are up to date.

        Raises:
            InputError: a file cannot be used; no feature file is written then.
        """
        if not plan.up_to_date:
            remove_leftovers(self._folder.path)
            self._write(plan, report)
        domain, clips = stored_clips(self.data_path, plan.character)
        frames = sum(clip.frames for clip in clips)
        notes = stored_notes(self.data_path, plan.character)
        return Outcome(plan.character, domain, len(clips), frames, not plan.up_to_date, notes)

    def run(self, character: str, report: Report | None = None) -> Outcome:
        """:meth:`plan` and :meth:`carry_out`."""
        return self.carry_out(self.plan(character), report)

    def _domain(self, character: str, motions: list[Path]) -> str:
        """A character with a mesh is a Mixamo character; otherwise its first motion tells."""
        if self._folder.mesh(character).is_file():
            return "mixamo"
        motion = read_skeleton(motions[0])
        return find_hand(motion.joint_names, self.side, str(motions[0]), motion.parents, self.rig_map).domain

    def _fingerprint(self, character: str, domain: str, motions: list[Path]) -> str:
        shapes = [path for motion in motions if (path := motion.with_suffix(".npy")).is_file()]
        hand = self._mano_files if domain == "mano" else self._folder.character_files(character)
        settings = [VERSION, self.side, self.window_size, [path.name for path in (*motions, *shapes)]]
        if self.layout != "ours":
            settings.append(self.layout)
        if self.rig_map is not None:
            settings.append(self.rig_map.names)
        if self._resamples(character):
            settings.append("resampled")
        return hashlib.sha256(json.dumps([settings, content_hash(*motions, *shapes, *hand)]).encode()).hexdigest()

    def _write(self, plan: Plan, report: Report | None) -> None:
        character, domain = plan.character, plan.domain
        of = None if domain == "mano" else self._character(character)
        hand = self._mano_hand if of is None else of.masked
        missing = () if of is None else of.missing
        if missing and self.layout == "published":
            raise InputError(
                f"{character}: expected a hand with all joints for `format` published, which cannot say which are "
                f"missing; found {len(missing)} missing; write it with `format` ours"
            )
        stride = MIXAMO_STRIDE if domain == "mixamo" else 1
        moments = WindowMoments()
        resample = self._resamples(character)
        unusual = UnusualClips(character, domain, None if of is None else rest_lengths(of.rest))
        published = len(plan.motions) if self.layout == "published" else None
        with writing_features(self.data_path, character, domain, self.side, plan.inputs, missing, published) as writer:
            for number, path in enumerate(plan.motions):
                if report is not None:
                    report(character, number, len(plan.motions))
                clip = _read_clip(path, of, self.side, self.rig_map)
                other_rate = unusual.saw(path.stem, clip.frame_time, clip.bones)
                clip = _at_assumed(clip, domain) if resample and other_rate else clip
                local = clip.local
                blocks = _summed(_blocks(hand, local, clip.shapes), len(local), stride, self.window_size, moments)
                writer.add_blocks(path.stem, len(local), blocks, clip.frame_time)
            writer.notes = unusual.notes(resample)
            # Before the features appear: whoever finds these up to date may rely on the statistics.
            statistics = moments.result()
            if statistics is None:
                remove_statistics(self.data_path, character)
            else:
                write_statistics(self.data_path, character, statistics)
        if report is not None:
            report(character, len(plan.motions), len(plan.motions))

    def _character(self, name: str) -> CharacterHand:
        mesh, axes = self._folder.character_files(name)
        character = read_annotated(mesh, axes, self.rig_map)
        if self.side not in character.sides:
            raise InputError(
                f"{mesh}: expected a {self.side} hand with axes in {axes.name}, found only the "
                f"{' and '.join(character.sides)} hand; change `is_rhand` or complete the files"
            )
        return character.hands[self.side]

    def _resamples(self, character: str) -> bool:
        return self._folder.is_ours(character) if self.resample is None else self.resample

    @property
    def _folder(self) -> MixHandFolder:
        return MixHandFolder(self.data_path)

    @cached_property
    def _mano_files(self) -> tuple[Path, Path]:
        axes = self._folder.mano_axes_file()
        return find_model_file(self.mano_path, check_side(self.side)), axes

    @cached_property
    def _mano_hand(self) -> ManoHand:
        return ManoHand.load(*self._mano_files, self.side)


def _read_clip(path: Path, hand: CharacterHand | None, side: str, rig_map: RigMap | None) -> _ReadClip:
    """Read a motion file; no hand of a character: a MANO hand."""
    motion = read_bvh(path)
    found = find_hand(motion.joint_names, side, str(path), motion.parents, rig_map)
    domain = "mano" if hand is None else hand.map.domain
    if found.domain != domain:
        raise InputError(
            f"{path}: expected a {domain} hand as {path.parent.name} has, found a {found.domain} hand; "
            f"keep them in different folders"
        )
    if motion.n_frames == 0:
        raise InputError(f"{path}: expected at least one frame, found none; remove the file or export it again")
    shapes = _shapes_of(path, motion.n_frames) if hand is None else None
    rest = None if hand is None else hand.rest
    local = hand_rotations(motion, found, rest, str(path))
    return _ReadClip(path, local, shapes, motion.frame_time, bone_lengths(found, motion))


def _at_assumed(clip: _ReadClip, domain: str) -> _ReadClip:
    """A clip at the rate that windows assume; as it is, if it tells no rate of its own."""
    if not clip.frame_time > 0:
        return clip
    rate = ASSUMED[domain]
    local, shapes = resampled(clip.local, clip.shapes, clip.frame_time, rate, str(clip.path))
    return replace(clip, local=local, shapes=shapes, frame_time=1 / rate)


def _blocks(hand: ManoHand | ShapedHand, local: np.ndarray, shapes: np.ndarray | None) -> Iterator[np.ndarray]:
    """Feature rows ``(some frames, channels)`` of a clip, a block after the other: a long clip is never held."""
    for start in range(0, len(local), CHUNK):
        part = slice(start, start + CHUNK)
        yield compute_features(hand, local[part], None if shapes is None else shapes[part])


def _summed(
    blocks: Iterator[np.ndarray], frames: int, stride: int, window_size: int, moments: WindowMoments
) -> Iterator[np.ndarray]:
    """Pass the blocks of a clip on, and add the frames that training uses to the statistics on the way."""
    weights = window_weights(-(-frames // stride), window_size)
    start = 0
    for rows in blocks:
        first = -start % stride
        kept = rows[first::stride]
        used = (start + first) // stride
        yield rows  # first: whoever takes them looks for NaN
        moments.add(kept, weights[used : used + len(kept)])
        start += len(rows)


@dataclass(frozen=True)
class MotionSummary:
    """What a motion file holds, in short."""

    domain: str
    side: str
    frames: int
    frame_time: float
    """Seconds."""
    bones: np.ndarray
    """(21,) lengths in the file."""


def check_motion(path: Path) -> MotionSummary:
    """Read a motion file with a whole hand of either side, and the MANO shapes beside it.

    Raises:
        InputError: it has no whole hand, no frames, or cannot be read; or its shapes cannot be used.
    """
    motion = read_bvh(path)
    found = find_hand(motion.joint_names, None, str(path), motion.parents)
    if motion.n_frames == 0:
        raise InputError(f"{path}: expected at least one frame, found none; remove the file or export it again")
    if found.domain == "mano":
        _shapes_of(path, motion.n_frames)
    return MotionSummary(found.domain, found.side, motion.n_frames, motion.frame_time, bone_lengths(found, motion))


def _shapes_of(motion: Path, frames: int) -> np.ndarray | None:
    """MANO shapes ``(frames, 10)`` beside a motion; None (the mean shape) if there is no such file."""
    path = motion.with_suffix(".npy")
    if not path.is_file():
        return None
    shapes = read_npy(path)
    if shapes.shape != (frames, N_SHAPE) or shapes.dtype.kind not in "fiu":
        raise InputError(
            f"{path}: expected one shape of {N_SHAPE} numbers for each of the {frames} frames of {motion.name}, "
            f"found an array {shapes.shape} of {shapes.dtype}; export both together"
        )
    bad = np.flatnonzero(~np.isfinite(shapes).all(axis=1))
    if len(bad):
        raise InputError(f"{path}: expected finite shapes, found NaN or infinite numbers in frame {bad[0]}")
    return shapes
