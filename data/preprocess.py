"""From a prepared data set folder (BVH motions, meshes, axes) to feature files and statistics (SPEC §4, §5)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from data.bvh import read_bvh
from data.character import Character, character_files, read_character
from data.features import compute_features
from data.hand_motion import hand_rotations
from data.rig import RigMap, find_hand
from data.store import VERSION, is_up_to_date, open_features, writing_features
from data.windows import window_statistics, write_statistics
from model.hands import ManoHand, ShapedHand, offset_hand
from model.mano import find_model_file
from model.topology import N_SHAPE, check_side
from utils.errors import InputError
from utils.files import content_hash
from utils.trusted import read_npy

NOT_CHARACTERS = ("std_bvhs", "mean_var", "ref", "finger_data", "models")
MIXAMO_STRIDE = 12
"""Mixamo motion is used at each 12th frame (60 → 5 frames per second)."""

Report = Callable[[str, int, int], None]
"""Told of progress: character, clips done, clips in all."""


@dataclass(frozen=True)
class Outcome:
    """What became of one character."""

    character: str
    domain: str
    clips: int
    frames: int
    written: bool
    """False: the file was there already, made from the same inputs."""


@dataclass(frozen=True)
class Preprocessor:
    """Turns the motions of characters into feature files.

    ``data_path`` holds a folder of BVH files for each character and the folder ``finger_data`` with
    ``<character>_mesh_data.npz`` and ``<character>_finger_axis.pkl``, or ``mano_finger_axis.pkl`` for the MANO hand.
    Nothing is written outside of it.

    Args:
        data_path: folder of the data set.
        mano_path: MANO file or folder; only read if a character has MANO motions.
        side: which hand to take from the motions.
        window_size: of the statistics.
        force: compute again what is up to date.
        rig_map: what the user says about rigs whose names tell nothing.
    """

    data_path: Path
    mano_path: Path
    side: str = "right"
    window_size: int = 8
    force: bool = False
    rig_map: RigMap | None = None

    def characters(self) -> list[str]:
        """Names of the folders that hold BVH files, sorted. Raises InputError if there are none."""
        if not self.data_path.is_dir():
            raise InputError(
                f"{self.data_path}: expected the folder of the data set, found no folder; set --data_path"
            )
        folders = [path for path in self.data_path.iterdir() if path.is_dir() and path.name not in NOT_CHARACTERS]
        names = sorted(path.name for path in folders if _motions(path))
        if not names:
            raise InputError(f"{self.data_path}: expected a folder of .bvh files for each character, found none")
        return names

    def rigs(self, character: str) -> list[Path]:
        """The files of a character that have a skeleton: its motions, and its mesh if it has one."""
        mesh = self._finger_data / f"{character}_mesh_data.npz"
        return [*([mesh] if mesh.is_file() else []), *_motions(self.data_path / character)]

    def run(self, character: str, report: Report | None = None) -> Outcome:
        """Write the feature file and the statistics of a character, unless they are up to date.

        Raises:
            InputError: a file is missing or cannot be used; no feature file is written then.
        """
        folder = self.data_path / character
        motions = _motions(folder)
        if not motions:
            raise InputError(f"{folder}: expected .bvh files of {character}, found none")
        domain = self._domain(character, motions)
        inputs = self._fingerprint(character, domain, motions)
        written = self.force or not is_up_to_date(self.data_path, character, inputs)
        if written:
            self._write(character, domain, motions, inputs, report)
        file = open_features(self.data_path, character, MIXAMO_STRIDE)
        if written:
            statistics = window_statistics(file, self.window_size)
            if statistics is not None:
                write_statistics(self.data_path, character, statistics)
        return Outcome(character, file.domain, len(file.clips), len(file.rows), written)

    def _domain(self, character: str, motions: list[Path]) -> str:
        """A character with a mesh is a Mixamo character; otherwise its first motion tells."""
        if (self._finger_data / f"{character}_mesh_data.npz").is_file():
            return "mixamo"
        motion = read_bvh(motions[0])
        return find_hand(motion.joint_names, self.side, str(motions[0]), motion.parents, self.rig_map).domain

    def _fingerprint(self, character: str, domain: str, motions: list[Path]) -> str:
        """A hash of everything that the features and statistics depend on."""
        shapes = [path for motion in motions if (path := motion.with_suffix(".npy")).is_file()]
        hand = self._mano_files if domain == "mano" else character_files(self._finger_data, character)
        settings = [VERSION, self.side, self.window_size, [path.name for path in (*motions, *shapes)]]
        if self.rig_map is not None:
            settings.append(self.rig_map.names)
        return hashlib.sha256(json.dumps([settings, content_hash(*motions, *shapes, *hand)]).encode()).hexdigest()

    def _write(self, character: str, domain: str, motions: list[Path], inputs: str, report: Report | None) -> None:
        of = None if domain == "mano" else self._character(character)
        hand = self._mano_hand if of is None else _shaped(of, self.side)
        missing = () if of is None else of.missing(self.side)
        with writing_features(self.data_path, character, domain, self.side, inputs, missing) as writer:
            for number, path in enumerate(motions):
                if report is not None:
                    report(character, number, len(motions))
                rows, frame_time = _features_of(path, hand, of, self.side, self.rig_map)
                writer.add_clip(path.stem, rows, frame_time)
        if report is not None:
            report(character, len(motions), len(motions))

    def _character(self, name: str) -> Character:
        mesh, axes = character_files(self._finger_data, name)
        character = read_character(mesh, axes, self.rig_map)
        if self.side not in character.sides:
            raise InputError(
                f"{mesh}: expected a {self.side} hand with axes in {axes.name}, found only the "
                f"{' and '.join(character.sides)} hand; change --is_rhand or complete the files"
            )
        return character

    @property
    def _finger_data(self) -> Path:
        return self.data_path / "finger_data"

    @cached_property
    def _mano_files(self) -> tuple[Path, ...]:
        axes = [self._finger_data / f"mano_finger_axis{ending}" for ending in (".pkl", ".npz")]
        found = [path for path in axes if path.is_file()]
        if not found:
            raise InputError(
                f"{axes[0]}: expected the axes of the MANO hand, found nothing; make them or copy them there"
            )
        return find_model_file(self.mano_path, check_side(self.side)), found[0]

    @cached_property
    def _mano_hand(self) -> ManoHand:
        return ManoHand.load(*self._mano_files, self.side)


def _motions(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.suffix.lower() == ".bvh" and path.is_file())


def _shaped(character: Character, side: str) -> ShapedHand:
    """The hand of a character, in single precision."""
    offsets, axes = (torch.from_numpy(part[side]).float() for part in (character.offsets, character.axes))
    rest = character.rest[side]
    return offset_hand(offsets, axes, side, None if rest.complete else torch.from_numpy(rest.present))


def _features_of(
    path: Path, hand: ManoHand | ShapedHand, character: Character | None, side: str, rig_map: RigMap | None
) -> tuple[np.ndarray, float]:
    """Feature rows ``(frames, channels)`` of a motion file, and its frame time; no character: a MANO hand."""
    motion = read_bvh(path)
    found = find_hand(motion.joint_names, side, str(path), motion.parents, rig_map)
    domain = "mano" if character is None else character.maps[side].domain
    if found.domain != domain:
        raise InputError(
            f"{path}: expected a {domain} hand as {path.parent.name} has, found a {found.domain} hand; "
            f"keep them in different folders"
        )
    if motion.n_frames == 0:
        raise InputError(f"{path}: expected at least one frame, found none; remove the file or export it again")
    shapes = _shapes_of(path, motion.n_frames) if character is None else None
    rest = None if character is None else character.rest[side]
    return compute_features(hand, hand_rotations(motion, found, rest, str(path)), shapes), motion.frame_time


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
