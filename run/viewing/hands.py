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

from data.character.character import Avatar, Skin, mano_avatar
from data.character.character import Hand as AvatarHand
from data.character.reading import Reading, read_avatar
from data.dataset import MixHandFolder
from data.motion.reading import read_motions
from data.splits import read_sides
from model.hands import PosedHand, ShapedHand
from model.mano import ManoHand
from model.mano_file import find_model_file
from model.proportions import Proportions, stretch_offsets, stretch_surface
from model.semantics import palm_length
from model.skinning import skin_hand
from model.topology import N_JOINTS, N_SHAPE, TIPS, WRIST
from run.drawing.surfaces import bone_hand
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
    avatar: Avatar
    """With this hand alone, and with these proportions."""
    own: AvatarHand
    faces: np.ndarray
    """(F, 3) triangles."""
    skin: tuple[Tensor, Tensor, Tensor] | None = None
    """Vertices (V, 3), weights (V, 21) and joints (21, 3) at rest; None: a MANO hand, or bones without skin."""

    @property
    def side(self) -> str:
        """``"right"`` or ``"left"``."""
        return self.own.side

    @property
    def shaped(self) -> ShapedHand:
        """Its proportions, ready for poses."""
        return self.own.shaped

    def vertices(self, posed: PosedHand) -> Tensor:
        """The surface ``(frames, V, 3)`` in a pose, wrist at the origin, in the hand's own unit."""
        if self.shaped.surface is not None:
            return posed.vertices()
        if self.skin is not None:
            return skin_hand(posed, *self.skin)
        # Bones that the hand does not have lie hidden in the wrist.
        joints = posed.joints * torch.from_numpy(self.own.present)[:, None]
        return torch.from_numpy(bone_hand(joints, self.palm_length)[0]).float()

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

    Raises:
        InputError: the folder is missing or holds no hand.
    """

    def __init__(self, data_path: str | Path, mano_path: str | Path | None = None, side: str = "right") -> None:
        self.data, self.folder, self.side = MixHandFolder(data_path), Path(data_path), side
        if not self.data.finger_data.is_dir():
            raise InputError(
                f"{self.folder}: expected a data set with the folder finger_data, found "
                f"{'none' if self.folder.is_dir() else 'nothing'}; the open one is built by\n  "
                + "\n  ".join(command.format(self.folder) for command in BUILD_COMMANDS)
            )
        self.reading = Reading(self.folder, self.data.mano_model(mano_path))
        meshes = self.data.meshes()
        self._domains = {name: "mixamo" if name in meshes else "mano" for name in {*meshes, *self.data.moving()}}
        self.mano = self._load_mano() if "mano" in self._domains.values() else None
        self.names = [name for name in self._ordered() if self._domains[name] == "mixamo" or self.mano is not None]
        if not self.names:
            raise InputError(f"{self.folder}: expected hands (mesh files in finger_data, or subjects and a MANO model "
                             f"in {self.reading.models}), found none")  # fmt: skip
        self._guests: dict[str, Avatar] = {}
        self._forget()

    def _forget(self) -> None:
        self._built = lru_cache(_KEPT)(self._build)
        self._avatar = lru_cache(_KEPT)(self._read)

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

    def add(self, name: str, avatar: Avatar) -> str:
        """Put a hand on the shelf; returns the name it has there.

        Raises:
            InputError: it has no hand of this side.
        """
        domain, base, number = avatar.hand(self.side).domain, name, 2
        while name in self._domains:
            name, number = f"{base} ({number})", number + 1
        self._guests[name], self._domains[name] = avatar, domain
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

    def _read(self, name: str, shape: tuple[float, ...] | None) -> Avatar:
        if shape is not None:
            guest = self._guests.get(name)
            model = self.mano if guest is None else guest.hand(self.side).model
            return mano_avatar(model, np.array(shape), self.folder / name)
        return self._guests[name] if name in self._guests else read_avatar(name, self.reading)

    def _build(self, name: str, proportions: Proportions | None, shape: tuple[float, ...] | None) -> Hand:
        avatar = self._avatar(name, shape)
        own = avatar.hand(self.side)
        avatar = replace(avatar, hands={self.side: own})
        if shape is not None:
            return Hand(name, avatar, own, own.model.faces)
        return _bone_hand(name, avatar, own, proportions)

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
        motion = next(read_motions(path, self.reading, own_hand=self._avatar(name, shape)))
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


def _bone_hand(name: str, avatar: Avatar, own: AvatarHand, proportions: Proportions) -> Hand:
    """A hand driven by its bones, stretched with all that hangs on it."""
    joints = torch.from_numpy(own.rig.joints).float()
    shaped = replace(own.shaped, offsets=stretch_offsets(own.shaped.offsets, proportions))
    if own.surface is None:
        skin, faces = None, bone_hand(shaped.at_rest().joints, 1.0)[1]
        moved = stretch_surface(joints, torch.eye(N_JOINTS), joints, proportions)[1]
    else:
        vertices, weights = (torch.from_numpy(part).float() for part in (own.surface.vertices, own.surface.weights))
        vertices, moved = stretch_surface(vertices, weights, joints, proportions)
        skin, faces = (vertices, weights, moved), own.surface.faces
    if proportions != Proportions():
        own = replace(own, shaped=shaped, rig=replace(own.rig, joints=moved.double().numpy()))
        avatar = _stretched(avatar, own, skin, faces)
    return Hand(name, avatar, own, faces, skin)


def _stretched(avatar: Avatar, own: AvatarHand, skin: tuple | None, faces: np.ndarray) -> Avatar:
    """An avatar whose hand has become `own`. Its skin is that of the hand alone: the rest has not been stretched."""
    rig, skeleton = own.rig, avatar.skeletons[own.side]
    shift = (rig.joints - avatar.hand(own.side).rig.joints) @ rig.turn  # in the character's frame
    heads, tails = skeleton.heads.copy(), dict(skeleton.tails)
    for joint, index in enumerate(rig.indices):
        if index is not None and index < len(heads):
            heads[index] += shift[joint]
            if index in tails:
                # A bone ends where the next joint is, also where that one, a tip, has no bone of its own.
                ends = joint if joint in (WRIST, *TIPS) else joint + 1
                tails[index] = tails[index] + shift[ends]
    mesh = None
    if skin is not None:
        weights = np.zeros((len(skin[0]), len(heads)), np.float32)
        for joint, index in enumerate(rig.indices):
            owner = rig.indices[WRIST] if index is None else index
            weights[:, owner] += skin[1][:, joint].numpy()
        place = skin[0].double().numpy() @ rig.turn + skeleton.heads[rig.indices[WRIST]]
        mesh = Skin(place, faces, weights)
    skeletons = {own.side: replace(skeleton, heads=heads, tails=tails)}
    return replace(avatar, path=Path(avatar.name), skeletons=skeletons, hands={own.side: own}, skin=mesh)
