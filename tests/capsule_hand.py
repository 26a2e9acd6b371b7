"""A hand of capsules, whose skin and gaps are known."""

from __future__ import annotations

import numpy as np
import torch

from data.rig.surface import HandSurface
from model.flesh import N_PHALANGES, flesh_of_radii
from model.topology import BONES_PER_FINGER, JOINTS_PER_FINGER, N_JOINTS, PARENTS
from tests.helpers import plausible_offsets


def capsule_mesh(ends: np.ndarray, radii: np.ndarray, rings: int = 24, around: int = 16):
    """A tapered capsule: points of the whole axis, pushed out to the surface by its own distance."""
    axis = ends[1] - ends[0]
    axis = axis / np.linalg.norm(axis)
    across = np.linalg.svd(axis[None])[2][1:]
    polar = np.linspace(0.02, np.pi - 0.02, rings)
    turn = np.linspace(0, 2 * np.pi, around, endpoint=False)
    ring = np.cos(turn)[:, None] * across[0] + np.sin(turn)[:, None] * across[1]
    ball = -np.cos(polar)[:, None, None] * axis + np.sin(polar)[:, None, None] * ring
    far = np.where(polar < np.pi / 2, 0, 1)
    vertices = (ends[far][:, None] + radii[far][:, None, None] * ball).reshape(-1, 3)
    number = np.arange(rings * around).reshape(rings, around)
    a, b = number[:-1], number[1:]
    c, d = np.roll(a, -1, axis=1), np.roll(b, -1, axis=1)
    faces = np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)])
    return vertices, faces


def capsule_hand(thickness: float = 1.2):
    """The surface of a hand of capsules, so much thicker than usual, and their ends and radii."""
    offsets = plausible_offsets().numpy()
    joints = np.zeros((N_JOINTS, 3))
    for joint in range(1, N_JOINTS):
        joints[joint] = joints[PARENTS[joint]] + offsets[joint]
    palm = np.linalg.norm(joints[1])
    flesh = flesh_of_radii(torch.from_numpy(offsets))
    ends, radii = flesh.ends.numpy(), thickness * flesh.radii.numpy()
    vertices, faces, weights, count = [], [], [], 0
    for phalanx in range(N_PHALANGES):
        joint = 1 + JOINTS_PER_FINGER * (phalanx // BONES_PER_FINGER) + phalanx % BONES_PER_FINGER
        mesh, triangles = capsule_mesh(ends[phalanx] * palm, radii[phalanx] * palm)
        vertices.append(mesh + joints[joint])
        faces.append(triangles + count)
        weights.append(np.eye(N_JOINTS)[[joint] * len(mesh)])
        count += len(mesh)
    surface = HandSurface(
        np.concatenate(vertices).astype(np.float32),
        np.concatenate(faces),
        np.concatenate(weights).astype(np.float32),
        joints.astype(np.float32),
    )
    return surface, ends, radii
