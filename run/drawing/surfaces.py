"""What hands look like: the skin of characters, the surface of MANO, and bones for those whose mesh is not there."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.character.reading import read_annotated
from data.dataset import MixHandFolder
from data.features.row import HandFeatures
from data.rig.surface import HandSurface
from model.batch import HandModels
from model.hands import PosedHand
from model.measures import CLOSED
from model.skinning import skin_hand
from model.topology import PARENTS, ROOTS, TIPS
from run.drawing.bones import bone_mesh
from run.drawing.figure import HandCell
from utils.errors import InputError

# Roots of index to pinky are joined across the palm, and the palm is filled between neighbours and the wrist.
_KNUCKLES = (ROOTS[3], ROOTS[0], ROOTS[1], ROOTS[2])
_LINKS = tuple(zip(_KNUCKLES[:-1], _KNUCKLES[1:], strict=True))
_PLATES = tuple((0, a, b) for a, b in _LINKS)
_THICKNESS = 0.09  # of bones, in palm lengths
_AT_ONCE = 256  # poses that are skinned at once

TOUCH_NOTE = f"Fingertips that touch in the source: green where nearer than {CLOSED} palm lengths, red elsewhere"


def bone_hand(joints, palm_length: float = 1.0, present=None) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (..., V, 3) and faces (F, 3) of hands drawn from their joints (..., 21, 3); of joints that are not
    `present` (21,) nothing is drawn."""
    if present is None or np.all(present):
        return bone_mesh(joints, PARENTS, _THICKNESS * palm_length, _LINKS, _PLATES)
    kept = np.flatnonzero(present).tolist()
    place, parents = {joint: number for number, joint in enumerate(kept)}, []
    for joint in kept:
        above = PARENTS[joint]
        while above >= 0 and above not in place:
            above = PARENTS[above]
        parents.append(place.get(above, -1))
    knuckles = [place[joint] for joint in _KNUCKLES if joint in place]
    links = list(zip(knuckles[:-1], knuckles[1:], strict=True))
    plates = [(0, a, b) for a, b in links]
    return bone_mesh(np.asarray(joints)[..., kept, :], parents, _THICKNESS * palm_length, links, plates)


def posed_surface(posed: PosedHand, skin: HandSurface | None = None, present=None) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (..., V, 3), wrist at the origin, and faces (F, 3) of a hand in its poses: MANO's own surface, a
    character's `skin`, or, without either, bones of the joints that are `present`."""
    if posed.shaped.surface is not None:
        return posed.vertices().numpy(), posed.shaped.surface.hand.faces
    if skin is None or not len(skin.faces):
        return bone_hand(posed.joints.numpy(), float(posed.palm_length.mean()), present)
    arrays = [torch.as_tensor(part).float() for part in (skin.vertices, skin.weights, skin.joints)]
    if posed.joints.ndim == 2:
        return skin_hand(posed, *arrays).numpy(), skin.faces
    parts = [skin_hand(posed[start : start + _AT_ONCE], *arrays) for start in range(0, len(posed.joints), _AT_ONCE)]
    return torch.cat(parts).numpy(), skin.faces


class Surfaces:
    """The surfaces to draw: characters from their mesh files, MANO hands from their model, bones without either.

    Args:
        data_path: folder of the data set.
        hands: what makes the hands of features.
    """

    def __init__(self, data_path: str | Path, hands: HandModels) -> None:
        self.folder, self.hands = MixHandFolder(data_path), hands
        self.without_mesh: list[str] = []
        """Characters that are drawn as bones, because the data set has no mesh of them."""
        self._skin = cache(self._read)

    def pose(self, hands: HandFeatures, name: str, local: Tensor) -> tuple[np.ndarray, np.ndarray, PosedHand]:
        """One hand in a motion, or a frame of it.

        Args:
            hands: features (1, T, ...) that tell its proportions.
            name: of its character.
            local: (1, T, 5, 3, 3, 3) local rotations.

        Returns:
            Vertices (T, V, 3) with the wrist at the origin, faces (F, 3), and the pose (1, T).
        """
        posed = self.hands.shaped_hand(hands).with_local_rotations(local)
        vertices, faces = posed_surface(posed, None if hands.domain == "mano" else self._skin(name, hands.side))
        return vertices[0], faces, posed

    def _read(self, name: str, side: str) -> HandSurface | None:
        try:
            files = self.folder.character_files(name)
        except InputError:
            self.without_mesh.append(name)
            return None
        return read_annotated(*files).hand(side).surface


def hand_cells(surface: tuple, touching: list[list[tuple[int, int]]], captions=None, strong=None, color=None):
    """A `HandCell` for each frame of a surface that `Surfaces.pose` gave.

    Args:
        surface: vertices (T, V, 3), faces and the pose (1, T).
        touching: for each frame the pairs of fingers whose tips touch in the source.
        captions, strong: for each frame, as in `HandCell`; None: none.
        color: of the hand.
    """
    vertices, faces, posed = surface
    joints, palms = posed.joints[0].numpy(), posed.palm_length[0].tolist()
    cells = []
    for frame, pairs in enumerate(touching):
        tips = joints[frame, list(TIPS)]
        touches = [
            (tips[a], tips[b], bool(np.linalg.norm(tips[a] - tips[b]) < CLOSED * palms[frame])) for a, b in pairs
        ]
        cells.append(HandCell(
            vertices[frame], faces, palms[frame], captions[frame] if captions else "", touches,
            bool(strong[frame]) if strong is not None else False, color,
        ))  # fmt: skip
    return cells
