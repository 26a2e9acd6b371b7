import numpy as np
import torch

from data.character.flesh import fit_flesh, sampled_skin, surface_distance
from data.open_hands.anatomy import finger_axes
from data.rig.surface import HandSurface
from model.flesh import N_PHALANGES, flesh_of_radii
from model.topology import BONES_PER_FINGER, JOINTS_PER_FINGER
from tests.helpers import plausible_offsets

AXES = finger_axes(plausible_offsets(), torch.tensor([0.0, 0, 1], dtype=torch.float64).expand(5, 3)).numpy()


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
