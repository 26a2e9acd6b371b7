"""The hands of MixHand-Open, as they ship: characters and the parametric hand, right side and mirrored left.

The asset file (`assets/hands.npz`, made by `python -m run.make_open_assets`) holds for all hands together: faces,
skinning weights (as triplets; bones: wrist, then 5 × 3), tip vertices and the hinges' ties to the surface; for the
characters: joints, and vertices as mean + coefficients · basis (cm); for the parametric hand: template, shape
directions, joint regressor (metres, MANO's bone order) and the subjects' shape components.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from data.open_hands import anatomy
from data.rig.surface import HandSurface
from model.hands import ShapedHand
from model.mano import ManoHand
from model.mirror import mirror_axes, mirror_rotations
from model.topology import FINGERS, MANO_BONES, N_FINGERS, N_JOINTS
from utils.safe_read import read_npz

ASSETS = Path(__file__).parent / "assets" / "hands.npz"

SPLITS = ("train", "val", "test_inside", "test_outside")
_NAMES = {"train": "", "val": "Val", "inside": "Inside", "long": "Long", "short": "Short"}
_SPLIT_OF = {"train": "train", "val": "val", "inside": "test_inside", "long": "test_outside", "short": "test_outside"}
_TIP_ORDER = tuple(FINGERS.index(f) for f in ("index", "middle", "pinky", "ring", "thumb"))
_MANO_ORIGIN = np.array([0.09, 0.006, 0.004])  # like MANO's, the template's wrist is not at the origin
_ROOT_PARENT = 2**32 - 1


@dataclass(frozen=True)
class OpenHands:
    """The assets, loaded once; float64. See the module's docstring."""

    arrays: dict[str, np.ndarray]

    @staticmethod
    def load(path: Path = ASSETS) -> OpenHands:
        """Read the asset file.

        Raises:
            InputError: it is missing or damaged.
        """
        return OpenHands(dict(read_npz(path)))

    @cached_property
    def faces(self) -> np.ndarray:
        """Triangles ``(F, 3)`` of the right hand."""
        return self.arrays["faces"].astype(np.int64)

    @cached_property
    def weights(self) -> np.ndarray:
        """Skinning weights ``(V, 16)``: wrist, then the 15 bones in hand order."""
        dense = np.zeros((len(self.arrays["mano_template"]), 1 + 3 * N_FINGERS))
        dense[self.arrays["skin_vertices"], self.arrays["skin_bones"]] = self.arrays["skin_weights"]
        return dense / dense.sum(1, keepdims=True)

    @cached_property
    def characters(self) -> dict[str, str]:
        """Name → split of the characters."""
        return _named("Hand", self.arrays["character_split"])

    @cached_property
    def subjects(self) -> dict[str, str]:
        """Name → split of the subjects of the parametric hand."""
        return _named("Mano", self.arrays["subject_split"])

    def character_vertices(self, name: str) -> np.ndarray:
        """Rest vertices ``(V, 3)`` of a character's right hand, cm."""
        coefficients = self.arrays["character_coefficients"][list(self.characters).index(name)].astype(np.float64)
        return self.arrays["character_mean"] + np.tensordot(coefficients, self.arrays["character_basis"], 1)

    def character_joints(self, name: str) -> np.ndarray:
        """Rest joints ``(21, 3)`` of a character's right hand, cm, float32 values (as its mesh file holds them)."""
        return self.arrays["character_joints"][list(self.characters).index(name)].astype(np.float64)

    def character_axes(self, name: str) -> np.ndarray:
        """Axes ``(5, 4, 3, 3)`` of a character's right hand, rows twist, bend, splay."""
        across = anatomy.bend_across(
            torch.as_tensor(self.character_vertices(name)),
            torch.as_tensor(self.faces),
            torch.as_tensor(self.arrays["hinge_faces"].astype(np.int64)),
            torch.as_tensor(self.arrays["hinge_weights"].astype(np.float64)),
        )
        offsets = anatomy.offsets_of(torch.as_tensor(self.character_joints(name)))
        return anatomy.finger_axes(offsets, across).numpy()

    def betas(self, name: str) -> np.ndarray:
        """Shape components ``(10,)`` of a subject."""
        return self.arrays["subject_betas"][list(self.subjects).index(name)].astype(np.float64)

    def mano_arrays(self, side: str) -> dict[str, np.ndarray]:
        """The parametric hand in MANO's file layout (mathematics §3), metres; arrays only."""
        a = self.arrays
        template = a["mano_template"].astype(np.float64) + _MANO_ORIGIN
        shapedirs = a["mano_shapedirs"].astype(np.float64)
        faces = self.faces
        if side == "left":
            template, shapedirs, faces = mirrored(template), mirrored(shapedirs, axis=1), faces[:, ::-1]
        n = len(template)
        regressor = np.zeros((16, n))
        regressor[a["regressor_joints"], a["regressor_vertices"]] = a["regressor_weights"]
        regressor /= regressor.sum(1, keepdims=True)
        weights = np.zeros((n, 16))
        weights[:, [0, *MANO_BONES]] = self.weights
        parents = [_ROOT_PARENT, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14]
        return {
            "v_template": template,
            "f": faces.astype(np.uint32),
            "shapedirs": shapedirs,
            "posedirs": np.zeros((n, 3, 135), dtype=np.float32),
            "J_regressor": regressor,
            "J": regressor @ template,
            "weights": weights,
            "kintree_table": np.array([parents, range(16)], dtype=np.int64),
            "hands_mean": np.zeros(45),
            "hands_components": np.eye(45),
            "tip_vertices": a["tips"].astype(np.int64)[list(_TIP_ORDER)],
        }

    def mano_axes(self) -> dict[str, np.ndarray]:
        """Axes of the parametric hand in the layout of `mano_finger_axis.pkl` (mathematics §5, §7), both sides."""
        triangles = self.arrays["hinge_faces"].astype(np.int64)
        weights = self.arrays["hinge_weights"].astype(np.float64)
        template = torch.as_tensor(self.arrays["mano_template"].astype(np.float64))
        across = anatomy.bend_across(
            template, torch.as_tensor(self.faces), torch.as_tensor(triangles), torch.as_tensor(weights)
        )
        arrays = self.mano_arrays("right")
        regressed = torch.as_tensor(arrays["J_regressor"]) @ template
        # The axes of a finger are annotated at its last joint: twist from there to the tip.
        last = torch.stack([regressed[MANO_BONES[3 * f + 2]] for f in range(N_FINGERS)])
        tips = template[self.arrays["tips"].astype(np.int64)]
        twist = (tips - last) / (tips - last).norm(dim=-1, keepdim=True)
        bend = across - (across * twist).sum(-1, keepdim=True) * twist
        bend = bend / bend.norm(dim=-1, keepdim=True)
        rows = torch.stack([twist, bend, torch.linalg.cross(twist, bend)], dim=-2).numpy()
        return {
            "rhand": rows,
            "rhand_bend_index_tri": triangles,
            "rhand_bend_bary": weights,
            "lhand": mirrored_axes(rows),
            # Mirroring swaps the ends of the bend axis; the left mesh's faces run the other way round.
            "lhand_bend_index_tri": triangles[:, ::-1].copy(),
            "lhand_bend_bary": weights[:, ::-1, ::-1].copy(),
        }

    def character_hand(self, name: str) -> ShapedHand:
        """A character's right hand, ready to take poses; cm."""
        offsets = anatomy.offsets_of(torch.as_tensor(self.character_joints(name)))
        return anatomy.offset_hand(offsets, torch.as_tensor(self.character_axes(name)), "right")

    def character_surface(self, name: str) -> HandSurface:
        """The skin of a character's right hand at rest; cm."""
        weights = np.zeros((len(self.weights), N_JOINTS), np.float32)
        weights[:, [0, *(1 + 4 * f + k for f in range(N_FINGERS) for k in range(3))]] = self.weights
        vertices, joints = self.character_vertices(name), self.character_joints(name)
        return HandSurface(vertices.astype(np.float32), self.faces, weights, joints.astype(np.float32))

    def characters_hand(self, names: list[str]) -> ShapedHand:
        """Several characters' right hands as one batch ``(len(names), …)``; cm."""
        joints = torch.stack([torch.as_tensor(self.character_joints(name)) for name in names])
        axes = torch.stack([torch.as_tensor(self.character_axes(name)) for name in names])
        return anatomy.offset_hand(anatomy.offsets_of(joints), axes, "right")

    def mano_hand(self, folder: Path, side: str = "right") -> ManoHand:
        """The parametric hand through the code that loads MANO, from ``folder`` that holds ``mano/MANO_RIGHT.npz``."""
        return ManoHand.load(folder, self.mano_axes(), side, dtype=torch.float64)


def mirrored(points: np.ndarray, axis: int = -1) -> np.ndarray:
    """Points with x turned to −x; ``axis`` is the one that holds x, y, z."""
    points = points.copy()
    np.moveaxis(points, axis, -1)[..., 0] *= -1
    return points


def mirrored_axes(rows: np.ndarray) -> np.ndarray:
    """Axes ``(..., 3, 3)`` of the other hand, as `model.mirror` has them."""
    return mirror_axes(torch.as_tensor(rows)).numpy()


def mirrored_rotations(rotations: np.ndarray) -> np.ndarray:
    """Rotations ``(..., 3, 3)`` seen in a mirror across x = 0."""
    return mirror_rotations(torch.as_tensor(rotations)).numpy()


def _named(prefix: str, splits: np.ndarray) -> dict[str, str]:
    names, count = {}, {}
    for split in splits.tolist():
        number = count.get(split, 0)
        count[split] = number + 1
        text = f"{number:02d}" if split == "train" else str(number)
        names[f"{prefix}{_NAMES[split]}{text}"] = _SPLIT_OF[split]
    return names
