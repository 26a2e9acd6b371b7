"""The hands that can be chosen, each with a surface and changeable proportions: of a data set, and dropped in."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.character.character import Character, CharacterHand
from data.character.mano import mano_character
from data.character.reading import Reading, read_character
from data.dataset import MixHandFolder
from data.formats.skeleton import Skin
from data.motion.reading import read_motions
from data.rig import RigMap
from data.splits import read_sides
from model.hands import PosedHand, ShapedHand
from model.mano import ManoHand
from model.mano_file import find_model_file
from model.proportions import Proportions, stretch_surface
from model.semantics import palm_length
from model.topology import N_JOINTS, N_SHAPE, TIPS, WRIST
from run.drawing.surfaces import posed_surface
from run.viewing.motions import HandMotion
from utils.errors import InputError
from utils.safe_read import read_npy

BUILD_COMMANDS = (
    "python -m run.build_open_hands --output {0}",
    "python -m run.preprocess_mixhand --data_path {0} --smplx_path {0}/models",
)
_SPLIT_ORDER = ("test_outside", "test_inside", "val", "train")
_KEPT = 64
"""Hands kept ready; each is a few hundred kilobytes."""


@dataclass(frozen=True)
class Hand:
    """A hand of known proportions with its surface, float32, without leading dimensions."""

    name: str
    character: Character
    """With this hand alone, and with these proportions."""
    own: CharacterHand

    @property
    def side(self) -> str:
        """``"right"`` or ``"left"``."""
        return self.own.side

    @property
    def shaped(self) -> ShapedHand:
        """Its proportions, ready for poses."""
        return self.own.shaped

    @cached_property
    def faces(self) -> np.ndarray:
        """(F, 3) triangles."""
        return posed_surface(self.shaped.at_rest(), self.own.surface, self.own.present)[1]

    def vertices(self, posed: PosedHand) -> Tensor:
        """The surface ``(frames, V, 3)`` in a pose, wrist at the origin, in the hand's own unit."""
        return torch.from_numpy(posed_surface(posed, self.own.surface, self.own.present)[0]).float()

    @cached_property
    def palm_length(self) -> float:
        """From the wrist to the root of the middle finger at rest, in the hand's own unit."""
        return float(palm_length(self.shaped.at_rest().joints))


class Shelf:
    """The hands of one side in a data set folder laid out as DATA.md says, and those of files that are added.

    Args:
        data_path: folder of the data set.
        mano_path: MANO file or folder; None: as `MixHandFolder.mano_model` says.
        side: ``"right"`` or ``"left"``.
        rig_map: what the user says about rigs whose names tell nothing, also those of files that are added.

    Raises:
        InputError: the folder is missing or holds no hand.
    """

    def __init__(
        self,
        data_path: str | Path,
        mano_path: str | Path | None = None,
        side: str = "right",
        rig_map: RigMap | None = None,
    ) -> None:
        self.data, self.folder, self.side = MixHandFolder(data_path), Path(data_path), side
        if not self.data.finger_data.is_dir():
            raise InputError(
                f"{self.folder}: expected a data set with the folder finger_data, found "
                f"{'none' if self.folder.is_dir() else 'nothing'}; the open one is built by\n  "
                + "\n  ".join(command.format(self.folder) for command in BUILD_COMMANDS)
            )
        self.reading = Reading(self.folder, self.data.mano_model(mano_path), rig_map=rig_map)
        meshes = self.data.meshes()
        self._domains = {name: "mixamo" if name in meshes else "mano" for name in {*meshes, *self.data.moving()}}
        self.mano = self._load_mano() if "mano" in self._domains.values() else None
        self.names = [name for name in self._ordered() if self._domains[name] == "mixamo" or self.mano is not None]
        if not self.names:
            raise InputError(f"{self.folder}: expected hands (mesh files in finger_data, or subjects and a MANO model "
                             f"in {self.reading.models}), found none")  # fmt: skip
        self._guests: dict[str, Character] = {}
        self._forget()

    def _forget(self) -> None:
        self._built = lru_cache(_KEPT)(self._build)
        self._character = lru_cache(_KEPT)(self._read)

    def for_visitor(self) -> Shelf:
        """The same hands, to which others can be added that only this visitor sees."""
        own = copy(self)
        own._domains, own.names, own._guests = dict(self._domains), list(self.names), dict(self._guests)
        own._forget()
        return own

    def _ordered(self) -> list[str]:
        """Hands that were kept for testing first: they are what one wants to see."""
        sides = read_sides(self.folder) if self.data.splits.is_file() else {}
        ranks = {
            name: rank
            for rank, split in enumerate(_SPLIT_ORDER)
            for names in sides.get(split, {}).values()
            for name in names
        }
        return sorted(self._domains, key=lambda name: (ranks.get(name, len(_SPLIT_ORDER)), name))

    def _load_mano(self) -> ManoHand | None:
        """The parametric hand; None where there is no model (a data set of characters needs none)."""
        try:
            find_model_file(self.reading.models, self.side)
        except InputError:
            return None
        return self.reading.mano(self.side)

    # -- hands -----------------------------------------------------------------------------------------------------

    def domain(self, name: str) -> str:
        """``"mixamo"`` for a hand driven by its bones, ``"mano"`` for the parametric hand."""
        return self._domains[name]

    def add(self, name: str, character: Character) -> str:
        """Put a hand on the shelf; returns the name it has there.

        Raises:
            InputError: it has no hand of this side.
        """
        domain, base, number = character.hand(self.side).domain, name, 2
        while name in self._domains:
            name, number = f"{base} ({number})", number + 1
        self._guests[name], self._domains[name] = character, domain
        self.names = [name, *self.names]
        return name

    def discard(self, name: str) -> None:
        """Take away a hand that was added."""
        del self._guests[name], self._domains[name]
        self._forget()  # another hand may come under this name
        self.names = [each for each in self.names if each != name]

    def hand(self, name: str, proportions: Proportions | None = None, shape: Sequence[float] | None = None) -> Hand:
        """A hand, with other `proportions` (driven by bones) or shape components (parametric) than its own."""
        if self.domain(name) == "mano":
            return self._built(name, None, tuple(self.shape(name) if shape is None else map(float, shape)))
        return self._built(name, proportions or Proportions(), None)

    def shape(self, name: str) -> tuple[float, ...]:
        """Shape components of a parametric hand: of a subject, those of the first frame of its first motion that has
        some, else zeros."""
        if name in self._guests:
            return tuple(self._guests[name].hand(self.side).shape.tolist())
        for path in sorted((self.folder / name).glob("*.npy")) if self.domain(name) == "mano" else ():
            shapes = read_npy(path)
            if shapes.ndim == 2 and shapes.shape[1] == N_SHAPE and len(shapes) and np.isfinite(shapes[0]).all():
                return tuple(map(float, shapes[0]))
        return (0.0,) * N_SHAPE

    def _read(self, name: str, shape: tuple[float, ...] | None) -> Character:
        if shape is not None:
            guest = self._guests.get(name)
            model = self.mano if guest is None else guest.hand(self.side).model
            return mano_character(model, np.array(shape), self.folder / name)
        return self._guests[name] if name in self._guests else read_character(name, self.reading)

    def _build(self, name: str, proportions: Proportions | None, shape: tuple[float, ...] | None) -> Hand:
        character = self._character(name, shape)
        own = character.hand(self.side)
        if shape is None and proportions != Proportions():
            own = _stretched(name, own, proportions)
            character = replace(character, path=Path(name))
        return Hand(name, replace(character, hands={self.side: own}), own)

    # -- motions ---------------------------------------------------------------------------------------------------

    def clips(self, name: str) -> list[str]:
        """Names of a hand's motions in the data set."""
        return sorted(path.stem for path in self._motion_files(name))

    def motion(self, name: str, clip: str) -> HandMotion:
        """A motion of a hand of the data set. Raises InputError if its file cannot be used."""
        path = next((path for path in self._motion_files(name) if path.stem == clip), None)
        if path is None:
            raise InputError(f"{self.folder / name}: expected the motion {clip}.bvh, found nothing")
        shape = self.shape(name) if self.domain(name) == "mano" else None
        motion = next(read_motions(path, self.reading, own_hand=self._character(name, shape)))
        return hand_motion(motion, self.side)

    def _motion_files(self, name: str) -> list[Path]:
        return self.data.motions(name)


def hand_motion(motion, side: str) -> HandMotion:
    """One hand of a `data.motion.reading.Motion`. Raises InputError if it moves the other one alone."""
    if side not in motion.tracks:
        found = " and ".join(motion.tracks)
        raise InputError(
            f"{motion.path}: expected a {side} hand, found only the {found} hand; start with --side {found}"
        )
    return HandMotion(motion.tracks[side].local, motion.frame_rate, motion)


def _stretched(name: str, own: CharacterHand, proportions: Proportions) -> CharacterHand:
    """A hand driven by its bones with other proportions, and all that hangs on it. Its skin is that of the hand alone:
    the rest has not been stretched."""
    rest, skeleton, surface = own.rest, own.skeleton, own.surface
    joints = torch.from_numpy(rest.joints)
    if surface is None:
        _, moved = stretch_surface(joints, torch.eye(N_JOINTS, dtype=joints.dtype), joints, proportions)
    else:
        skin = (
            torch.from_numpy(part).double() for part in (surface.vertices - surface.joints[WRIST], surface.weights)
        )
        vertices, moved = stretch_surface(*skin, joints, proportions)
    wrist = rest.positions[WRIST]
    positions = moved.numpy() @ rest.turn + wrist  # in the character's frame
    shift = positions - rest.positions
    heads, tails = skeleton.heads.copy(), None if skeleton.tails is None else skeleton.tails.copy()
    bones = [(joint, index) for joint, index in enumerate(own.map.indices) if index is not None]
    for joint, index in bones:
        heads[index] += shift[joint]
        if tails is not None:
            # A bone ends where the next joint is, also where that one, a tip, has no bone of its own.
            tails[index] += shift[joint if joint in (WRIST, *TIPS) else joint + 1]
    mesh = None
    if surface is not None:
        weights = np.zeros((len(vertices), len(heads)), np.float32)
        weights[:, [index for _, index in bones]] = surface.weights[:, [joint for joint, _ in bones]]
        mesh = Skin(vertices.numpy() @ rest.turn + wrist, surface.faces, weights)
    return replace(
        own,
        name=name,
        rest=replace(rest, positions=positions),
        skeleton=replace(skeleton, heads=heads, tails=tails),
        skin=mesh,
        given_axes=own.axes @ rest.turn,
    )
