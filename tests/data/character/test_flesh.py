import numpy as np
import pytest
import torch

from data.character.flesh import fit_flesh, sampled_skin, surface_distance
from data.open_hands.anatomy import finger_axes
from data.rig.surface import HandSurface
from model.flesh import N_PHALANGES, flesh_of_radii
from model.topology import BONES_PER_FINGER, JOINTS_PER_FINGER, N_JOINTS, PARENTS
from tests.helpers import plausible_offsets

AXES = finger_axes(plausible_offsets(), torch.tensor([0.0, 0, 1], dtype=torch.float64).expand(5, 3)).numpy()


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


@pytest.fixture(scope="module")
def known():
    """A hand of capsules, thicker than usual, and its flesh."""
    offsets = plausible_offsets().numpy()
    joints = np.zeros((N_JOINTS, 3))
    for joint in range(1, N_JOINTS):
        joints[joint] = joints[PARENTS[joint]] + offsets[joint]
    palm = np.linalg.norm(joints[1])
    flesh = flesh_of_radii(torch.from_numpy(offsets))
    ends, radii = flesh.ends.numpy(), 1.2 * flesh.radii.numpy()
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


def test_a_hand_of_capsules_is_found_again(known):
    surface, ends, radii = known
    found = fit_flesh(surface, AXES)
    for phalanx in range(N_PHALANGES):
        if phalanx % BONES_PER_FINGER:
            assert np.abs(found.radii[phalanx].numpy() - radii[phalanx]).max() < 0.004
            assert np.abs(found.ends[phalanx].numpy() - ends[phalanx]).max() < 0.012


def test_skin_lies_on_it(known):
    surface, _, _ = known
    flesh = fit_flesh(surface, AXES)
    points, owners = sampled_skin(surface)
    palm = np.linalg.norm(surface.joints[1])
    near = []
    for phalanx in range(N_PHALANGES):
        joint = 1 + JOINTS_PER_FINGER * (phalanx // BONES_PER_FINGER) + phalanx % BONES_PER_FINGER
        mine = (points[owners == joint] - surface.joints[joint]) / palm
        if phalanx % BONES_PER_FINGER:
            distance = surface_distance(mine, flesh.ends[phalanx].double().numpy(), flesh.radii[phalanx].numpy())
            near.append(np.abs(distance) <= 0.02)
    assert np.concatenate(near).mean() >= 0.98


def test_parts_without_skin_keep_the_radii_of_adult_hands(known):
    surface, _, _ = known
    found = fit_flesh(HandSurface(surface.vertices, surface.faces[:0], surface.weights, surface.joints), AXES)
    expected = flesh_of_radii(plausible_offsets())
    assert torch.allclose(found.radii, expected.radii.float(), atol=1e-6)
    assert torch.allclose(found.ends, expected.ends.float(), atol=1e-6)


def test_distance_from_a_capsule():
    ends, radii = np.array([[0.0, 0, 0], [2, 0, 0]]), np.array([1.0, 1.0])
    points = np.array([[1.0, 3, 0], [-2, 0, 0], [1, 0, 0]])
    assert np.allclose(surface_distance(points, ends, radii), [2, 1, -1])
