"""The hands of a data set, each with a surface and changeable proportions, and the motions that they have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import Tensor

from data.character import hand_mesh, load_character
from data.features import HandFeatures, compute_features, split
from model.hands import ManoHand, PosedHand, ShapedHand, offset_hand
from model.mano import find_model_file
from model.proportions import Proportions, stretch_offsets, stretch_surface
from model.semantics import palm_length
from model.skinning import skin_hand
from model.topology import N_JOINTS, N_SHAPE, hand_joint_names
from run.viewing.motions import Motion, read_motion
from utils.errors import InputError
from utils.trusted import read_npy

BUILD_COMMANDS = (
    "python -m run.build_open_hands --output {0}",
    "python -m run.preprocess_mixhand --data_path {0} --smplx_path {0}/models",
)
_MESH_END = "_mesh_data.npz"
_SPLIT_ORDER = ("test_outside", "test_inside", "val", "train")
_KEPT = 64
"""Hands kept ready; each is a few hundred kilobytes."""


@dataclass(frozen=True)
class Hand:
    """A hand of known proportions with its surface, float32, without leading dimensions."""

    name: str
    domain: str
    side: str
    shaped: ShapedHand
    static: HandFeatures
    """``(1,)`` its row at rest: what networks are told of it."""
    faces: np.ndarray
    """(F, 3) triangles."""
    joint_names: tuple[str, ...]
    """21 names, for motion files."""
    skin: tuple[Tensor, Tensor, Tensor] | None = None
    """Vertices (V, 3), weights (V, 21) and joints (21, 3) at rest, of a hand driven by offsets."""

    def pose(self, local: Tensor) -> PosedHand:
        """The hand with local rotations ``(frames, 5, 3, 3, 3)``."""
        return self.shaped.with_local_rotations(local)

    def vertices(self, posed: PosedHand) -> Tensor:
        """The surface ``(frames, V, 3)`` in a pose, wrist at the origin, in the hand's own unit."""
        return posed.vertices() if self.skin is None else skin_hand(posed, *self.skin)

    @property
    def palm_length(self) -> float:
        """From the wrist to the root of the middle finger at rest, in the hand's own unit."""
        return float(palm_length(self.shaped.at_rest().joints))

    @property
    def centimetres(self) -> float:
        """The hand's own unit of length, in centimetres."""
        return 100.0 if self.domain == "mano" else 1.0


class Shelf:
    """The hands of one side in a data set folder laid out as DATA.md says.

    Args:
        data_path: folder of the data set.
        mano_path: MANO file or folder; None: the folder's own ``models``, or ``artifact/smplx/models``.
        side: ``"right"`` or ``"left"``.

    Raises:
        InputError: the folder is missing or holds no hand.
    """

    def __init__(self, data_path: str | Path, mano_path: str | Path | None = None, side: str = "right") -> None:
        self.folder, self.side = Path(data_path), side
        if not (self.folder / "finger_data").is_dir():
            raise InputError(
                f"{self.folder}: expected a data set with the folder finger_data, found "
                f"{'none' if self.folder.is_dir() else 'nothing'}; the open one is built by\n  "
                + "\n  ".join(command.format(self.folder) for command in BUILD_COMMANDS)
            )
        own = self.folder / "models"
        self._mano_path = Path(mano_path or (own if own.is_dir() else "artifact/smplx/models"))
        meshes = {path.name.removesuffix(_MESH_END) for path in (self.folder / "finger_data").glob(f"*{_MESH_END}")}
        moving = {path.parent.name for path in self.folder.glob("*/*.[bB][vV][hH]")}
        self._domains = {name: "mixamo" if name in meshes else "mano" for name in meshes | moving}
        if not self._domains:
            raise InputError(f"{self.folder}: expected hands (finger_data/*{_MESH_END}, folders of .bvh), found none")
        self.names = self._ordered()
        self.mano = self._load_mano() if "mano" in self._domains.values() else None
        if self.mano is None:
            self.names = [name for name in self.names if self._domains[name] == "mixamo"]
        if not self.names:
            raise InputError(f"{self._mano_path}: expected a MANO model for the subjects of {self.folder}, found none")
        self._built = lru_cache(_KEPT)(self._build)
        self._character = lru_cache(_KEPT)(load_character)

    def _ordered(self) -> list[str]:
        """Hands that were kept for testing first: they are what one wants to see."""
        ranks: dict[str, int] = {}
        splits = self.folder / "splits.yaml"
        if splits.is_file():
            try:
                content = yaml.safe_load(splits.read_text(encoding="utf-8"))
                for rank, split_name in enumerate(_SPLIT_ORDER):
                    for names in content.get(split_name, {}).values():
                        ranks.update((name, rank) for name in names)
            except (OSError, yaml.YAMLError, AttributeError, TypeError) as error:
                raise InputError(f"{splits}: expected splits of characters ({error}); build the data again") from None
        return sorted(self._domains, key=lambda name: (ranks.get(name, len(_SPLIT_ORDER)), name))

    def _load_mano(self) -> ManoHand | None:
        """The parametric hand; None where there is no model (a data set of characters needs none)."""
        axes = [self.folder / "finger_data" / f"mano_finger_axis{end}" for end in (".pkl", ".npz")]
        found = [path for path in axes if path.is_file()]
        try:
            find_model_file(self._mano_path, self.side)
        except InputError:
            return None
        return ManoHand.load(self._mano_path, found[0], self.side) if found else None

    def domain(self, name: str) -> str:
        """``"mixamo"`` for a character, ``"mano"`` for a subject with the parametric hand."""
        return self._domains[name]

    def first(self, domain: str, moving: bool = False) -> str | None:
        """The first hand of a domain (with a motion), None if there is none."""
        return next((n for n in self.names if self.domain(n) == domain and (not moving or self.clips(n))), None)

    def clips(self, name: str) -> list[str]:
        """Names of a hand's motions."""
        folder = self.folder / name
        return sorted(path.stem for path in folder.glob("*") if path.suffix.lower() == ".bvh")

    def motion(self, name: str, clip: str) -> Motion:
        """A motion of a hand. Raises InputError if its file cannot be used."""
        paths = [path for path in (self.folder / name).glob("*") if path.suffix.lower() == ".bvh"]
        path = next((path for path in paths if path.stem == clip), self.folder / name / f"{clip}.bvh")
        return read_motion(path, self.side, self.domain(name))

    def shape(self, name: str) -> tuple[float, ...]:
        """Shape components of a subject: those of the first frame of its first motion that has some, else zeros."""
        for path in sorted((self.folder / name).glob("*.npy")) if self.domain(name) == "mano" else ():
            shapes = read_npy(path)
            if shapes.ndim == 2 and shapes.shape[1] == N_SHAPE and len(shapes) and np.isfinite(shapes[0]).all():
                return tuple(map(float, shapes[0]))
        return (0.0,) * N_SHAPE

    def hand(self, name: str, proportions: Proportions | None = None, shape: Sequence[float] | None = None) -> Hand:
        """A hand, with other `proportions` (a character) or shape components (a subject) than its own."""
        if self.domain(name) == "mano":
            return self._built(name, None, tuple(self.shape(name) if shape is None else map(float, shape)))
        return self._built(name, proportions or Proportions(), None)

    def _build(self, name: str, proportions: Proportions | None, shape: tuple[float, ...] | None) -> Hand:
        build = self._build_character if shape is None else self._build_subject
        return build(name, proportions if shape is None else shape)

    def _build_character(self, name: str, proportions: Proportions) -> Hand:
        character = self._character(self.folder / "finger_data", name)
        mesh = hand_mesh(character, self.side)
        offsets, axes = (torch.from_numpy(part[self.side]).float() for part in (character.offsets, character.axes))
        shaped = offset_hand(stretch_offsets(offsets, proportions), axes, self.side)
        vertices, weights, joints = (
            torch.as_tensor(part).float() for part in (mesh.vertices, mesh.weights, mesh.joint_positions)
        )
        vertices, joints = stretch_surface(vertices, weights, joints, proportions)
        names = tuple(character.mesh.bone_names[bone] for bone in character.bones[self.side])
        static = _rest_row("mixamo", shaped, None)
        return Hand(name, "mixamo", self.side, shaped, static, mesh.faces, names, (vertices, weights, joints))

    def _build_subject(self, name: str, shape: tuple[float, ...]) -> Hand:
        shaped = self.mano.with_shape(torch.tensor(shape))
        names = hand_joint_names("mano", self.side)
        static = _rest_row("mano", self.mano, np.array([shape]))
        return Hand(name, "mano", self.side, shaped, static, self.mano.faces, names)


def _rest_row(domain: str, hand: ManoHand | ShapedHand, shapes: np.ndarray | None) -> HandFeatures:
    rest = np.broadcast_to(np.eye(3), (1, N_JOINTS, 3, 3)).copy()
    return split(domain, torch.from_numpy(compute_features(hand, rest, shapes)), hand.side)
