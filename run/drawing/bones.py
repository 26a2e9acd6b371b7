"""A body for hands of which only the joints are known: balls, limbs between them and a palm, as one mesh."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from run.drawing.render import as_array

_SIDES = 12


def bone_mesh(joints, parents: Sequence[int], radius, links: Sequence = (), plates: Sequence = ()):
    """Vertices (..., V, 3) and faces (F, 3) of a jointed figure.

    joints (..., J, 3); parents: J ints, -1 for the root; radius: of limbs and balls in the joints' unit, a number or
    (J,); links: further pairs of joints to join by a limb; plates: triples of joints between which a plate as thick
    as the balls is spanned (a palm). The frames of a motion share the faces.
    """
    joints = as_array(joints).astype(float)
    radius = np.broadcast_to(np.asarray(radius, dtype=float), joints.shape[-2:-1])
    ball, ball_faces = _ball()
    tube_faces = _tube_faces()
    parts = [joints[..., :, None, :] + radius[:, None, None] * ball]
    faces = [ball_faces + len(ball) * j for j in range(len(radius))]
    start = len(radius) * len(ball)
    for a, b in [(p, j) for j, p in enumerate(parents) if p >= 0] + [tuple(link) for link in links]:
        parts.append(_tube(joints[..., a, :], joints[..., b, :], radius[a], radius[b])[..., None, :, :])
        faces.append(tube_faces + start)
        start += 2 * _SIDES
    for triple in plates:
        corners = joints[..., list(triple), :]
        across = np.cross(corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :])
        across = across / np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-12)
        lift = across[..., None, :] * radius[list(triple)][:, None]
        parts.append(np.concatenate([corners + lift, corners - lift], axis=-2)[..., None, :, :])
        faces.append(np.array([[0, 1, 2], [5, 4, 3]]) + start)
        start += 6
    flat = [part.reshape(part.shape[:-3] + (-1, 3)) for part in parts]
    return np.concatenate(flat, axis=-2), np.concatenate(faces)


def _tube(a, b, radius_a, radius_b):
    """Rings (..., 2 * _SIDES, 3) round a and b (..., 3)."""
    along = b - a
    along = along / np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-12)
    helper = np.eye(3)[np.abs(along).argmin(axis=-1)]
    first = np.cross(along, helper)
    first = first / np.maximum(np.linalg.norm(first, axis=-1, keepdims=True), 1e-12)
    second = np.cross(along, first)
    angle = np.linspace(0.0, 2.0 * np.pi, _SIDES, endpoint=False)[:, None]
    ring = np.cos(angle) * first[..., None, :] + np.sin(angle) * second[..., None, :]
    return np.concatenate([a[..., None, :] + radius_a * ring, b[..., None, :] + radius_b * ring], axis=-2)


@lru_cache(maxsize=1)
def _tube_faces():
    """Faces of one tube, outside counter-clockwise; the open ends are hidden in the balls."""
    here = np.arange(_SIDES)
    after = (here + 1) % _SIDES
    lower = np.stack([here, after, after + _SIDES], axis=1)
    upper = np.stack([here, after + _SIDES, here + _SIDES], axis=1)
    return np.concatenate([lower, upper])


@lru_cache(maxsize=1)
def _ball(rings: int = 7):
    """A unit sphere: vertices (V, 3) and faces (F, 3), outside counter-clockwise."""
    polar = np.linspace(0.0, np.pi, rings + 1)[1:-1, None]
    turn = np.linspace(0.0, 2.0 * np.pi, _SIDES, endpoint=False)[None]
    x, y, z = np.broadcast_arrays(np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar))
    vertices = np.concatenate([np.stack([x, y, z], axis=-1).reshape(-1, 3), [[0, 0, 1.0], [0, 0, -1.0]]])
    here = np.arange(_SIDES)
    after = (here + 1) % _SIDES
    faces = []
    for ring in range(rings - 2):
        above, below = ring * _SIDES, (ring + 1) * _SIDES
        faces.append(np.stack([above + here, below + here, below + after], axis=1))
        faces.append(np.stack([above + here, below + after, above + after], axis=1))
    north, south = len(vertices) - 2, len(vertices) - 1
    faces.append(np.stack([np.full(_SIDES, north), here, after], axis=1))
    last = (rings - 2) * _SIDES
    faces.append(np.stack([np.full(_SIDES, south), last + after, last + here], axis=1))
    return vertices, np.concatenate(faces)
