"""Right hands of many MakeHuman bodies, sampled through `anny` (needed only to rebuild the assets).

A body gives its hand mesh, its sixteen bone heads and its skinning weights on the `mixamorig` rig. The hand is turned
into the frame of this project: wrist at the origin, pointing to −x, back of the hand +y, thumb side +z, centimetres.
Lengths of single bones, which MakeHuman cannot set, are varied on top of that by stretching the mesh along its bones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from anny import Anny  # pyright: ignore[reportMissingImports] (requirements-assets.txt)
from anny.models.phenotype import phenotype_blendshape_weights  # pyright: ignore[reportMissingImports]

from model.topology import FINGERS, JOINTS_PER_FINGER, N_FINGERS, N_JOINTS

ADULT_AGE = 2 / 3
"""`anny`'s age scale: 0 baby, 1/3 child, 2/3 young adult, 1 old."""
HAND_CONTROLS = {
    "r-hand-fingers-length-incr": 0.8,
    "r-hand-fingers-diameter-incr": 0.7,
    "r-hand-fingers-distance-incr": 0.6,
    "r-hand-scale-incr": 0.6,
}
"""MakeHuman's own controls of the right hand and how far (at most) they are moved either way."""
MINIMUM_HAND_WEIGHT = 1e-3
"""Vertices that do not follow the hand's bones belong to the forearm; this cuts the mesh cleanly behind the wrist."""


@dataclass(frozen=True)
class HandMesh:
    """What all sampled hands share: ``faces (F, 3)`` and skinning ``weights (V, 16)``, wrist then 5 × 3 bones."""

    faces: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class HandSample:
    """One hand: ``vertices (V, 3)`` and ``heads (16, 3)`` (wrist, then 5 × 3 finger bones), centimetres."""

    vertices: np.ndarray
    heads: np.ndarray


class BodyHands:
    """Samples right hands from `anny`'s linear body model."""

    def __init__(self) -> None:
        model = Anny(
            rig="mixamo",
            local_changes="default",
            phenotypes="all",
            phenotype_blendshapes="original",
            extrapolate_phenotypes=True,
        )
        self._model = model
        bones = list(model.bone_labels)
        prefix = "mixamorig:RightHand"
        names = [prefix, *(f"{prefix}{f.capitalize()}{k}" for f in FINGERS for k in (1, 2, 3))]
        chosen = [bones.index(name) for name in names]
        skin = torch.zeros(len(model.template_vertices), len(bones), dtype=model.dtype)
        skin.scatter_add_(1, model.vertex_bone_indices, model.vertex_bone_weights)
        skin = skin[:, chosen].numpy()
        kept = np.flatnonzero(skin.sum(1) > MINIMUM_HAND_WEIGHT)
        number = np.full(len(skin), -1)
        number[kept] = np.arange(len(kept))
        faces = number[model.get_triangular_faces().numpy()]
        faces = faces[(faces >= 0).all(1)]
        used = np.unique(faces)
        self.mesh = HandMesh(np.searchsorted(used, faces), _normalised(skin[kept[used]]))
        kept = kept[used]
        self._vertices = model.template_vertices[kept].numpy()
        self._vertex_basis = model.blendshapes[:, kept].numpy()
        self._heads = model.template_bone_heads[chosen].numpy()
        self._head_basis = model.bone_heads_blendshapes[:, chosen].numpy()

    def average(self) -> HandSample:
        """The hand of the body halfway between MakeHuman's extremes, a young adult."""
        return self._hand({"age": ADULT_AGE}, {})

    def sample(self, random: np.random.Generator, reach: float = 1.0) -> HandSample:
        """A hand of a random body, in MakeHuman's own relaxed pose; ``reach`` widens the hand controls."""
        body = {label: random.uniform(0, 1) for label in self._model.phenotype_labels}
        body["age"] = random.uniform(0.25, 1)
        controls = {name: reach * random.uniform(-most, most) for name, most in HAND_CONTROLS.items()}
        return self._hand(body, controls)

    def _hand(self, body: dict[str, float], controls: dict[str, float]) -> HandSample:
        model = self._model
        values = torch.full((1, len(model.phenotype_labels)), 0.5, dtype=model.dtype)
        for label, value in body.items():
            values[0, model.phenotype_labels.index(label)] = value
        weights = phenotype_blendshape_weights(
            values, model.phenotype_labels, model.anchors, model.stacked_phenotype_blend_shapes_mask, True
        )[0].numpy()
        local = np.zeros(2 * len(model.local_change_labels))
        for label, value in controls.items():
            position = 2 * model.local_change_labels.index(label)
            local[position + (value < 0)] = abs(value)
        weights = np.concatenate([weights, local])
        vertices = self._vertices + np.tensordot(weights, self._vertex_basis, 1)
        heads = self._heads + np.tensordot(weights, self._head_basis, 1)
        return _in_hand_frame(HandSample(vertices * 100, heads * 100))


def stretched(
    mesh: HandMesh,
    hand: HandSample,
    bone_lengths: np.ndarray,
    thickness: np.ndarray,
    palm: np.ndarray,
) -> HandSample:
    """A hand with other bone lengths: every bone is scaled along itself, the palm along the hand's axes.

    Args:
        bone_lengths: ``(5, 3)`` factors; thickness: ``(5,)`` factors across the finger.
        palm: ``(3,)`` factors along x, y, z.
    """
    heads = hand.heads[1:].reshape(N_FINGERS, 3, 3)
    ends = np.concatenate([heads[:, 1:], 2 * heads[:, 2:] - heads[:, 1:2]], axis=1)
    bones = ends - heads
    along = bones / np.linalg.norm(bones, axis=-1, keepdims=True)
    project = along[..., :, None] * along[..., None, :]
    scale = bone_lengths[..., None, None] * project + thickness[:, None, None, None] * (np.eye(3) - project)
    moved = [heads[:, 0] * palm]
    for k in range(2):
        moved.append(moved[-1] + bone_lengths[:, k : k + 1] * bones[:, k])
    moved = np.stack(moved, axis=1)
    transforms = np.concatenate([np.diag(palm)[None], scale.reshape(-1, 3, 3)])
    shifts = np.concatenate([np.zeros((1, 3)), (moved - (scale @ heads[..., None])[..., 0]).reshape(-1, 3)])
    per_vertex = np.einsum("vb,bij->vij", mesh.weights, transforms)
    vertices = np.einsum("vij,vj->vi", per_vertex, hand.vertices) + mesh.weights @ shifts
    return HandSample(vertices, np.concatenate([np.zeros((1, 3)), moved.reshape(-1, 3)]))


def joints_with_tips(hand: HandSample, tip_vertices: np.ndarray) -> np.ndarray:
    """The 21 joints in hand order; the tips are vertices of the mesh, one a finger."""
    joints = np.zeros((N_JOINTS, 3))
    joints[0] = hand.heads[0]
    fingers = joints[1:].reshape(N_FINGERS, JOINTS_PER_FINGER, 3)
    fingers[:, :3] = hand.heads[1:].reshape(N_FINGERS, 3, 3)
    fingers[:, 3] = hand.vertices[tip_vertices]
    return joints


def _in_hand_frame(hand: HandSample) -> HandSample:
    wrist, heads = hand.heads[0], hand.heads[1:].reshape(N_FINGERS, 3, 3)
    middle, pinky, index = (heads[FINGERS.index(f), 0] - wrist for f in ("middle", "pinky", "index"))
    up = _unit(np.cross(pinky, index))
    back = -_unit(middle - (middle @ up) * up)
    frame = np.stack([back, up, np.cross(back, up)])
    return HandSample((hand.vertices - wrist) @ frame.T, (hand.heads - wrist) @ frame.T)


def _normalised(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum(1, keepdims=True)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
