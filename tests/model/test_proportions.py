"""Other proportions for a hand driven by bones."""

import numpy as np
import pytest
import torch

from data.character.reading import read_annotated
from model.hands import offset_hand
from model.kinematics import tbs_from_angles
from model.proportions import Proportions, stretch_offsets, stretch_surface
from model.skinning import skin_hand
from model.topology import INDEX, PARENTS, PINKY, ROOTS, TIPS


@pytest.fixture(scope="module")
def hand(golden):
    inputs = golden / "inputs"
    own = read_annotated(inputs / "Kaya_mesh_data.npz", inputs / "Kaya_finger_axis.npz").hand("right")
    mesh = own.surface
    offsets, axes = (torch.from_numpy(part) for part in (own.rest.offsets, own.axes))
    surface = [torch.as_tensor(part).double() for part in (mesh.vertices, mesh.weights, mesh.joints)]
    return offsets, axes, surface


def lengths(offsets):
    return offsets[1:].norm(dim=-1)


def test_ones_change_nothing(hand):
    offsets, _, (vertices, weights, joints) = hand
    assert torch.equal(stretch_offsets(offsets, Proportions()), offsets)
    moved, moved_joints = stretch_surface(vertices, weights, joints, Proportions())
    assert torch.allclose(moved, vertices, atol=1e-9)
    assert torch.allclose(moved_joints, joints, atol=1e-9)


def test_fingers_get_longer_and_the_palm_stays(hand):
    offsets, _, _ = hand
    fingers = (1.0, 1.0, 1.0, 1.5, 1.0)
    stretched = stretch_offsets(offsets, Proportions(finger_length=1.2, fingers=fingers))
    ratio = (lengths(stretched) / lengths(offsets)).reshape(5, 4)
    expected = torch.ones(5, 4, dtype=torch.float64) * 1.2
    expected[INDEX] = 1.8
    expected[:, 0] = 1
    assert torch.allclose(ratio, expected, atol=1e-12)
    cosines = torch.nn.functional.cosine_similarity(stretched[1:], offsets[1:], dim=-1)
    assert torch.allclose(cosines, torch.ones(20, dtype=torch.float64), atol=1e-12)


def test_palm_changes_along_and_across_on_their_own(hand):
    offsets, _, _ = hand
    longer = stretch_offsets(offsets, Proportions(palm_length=1.3))
    assert torch.allclose(longer[ROOTS[0]], 1.3 * offsets[ROOTS[0]], atol=1e-12)
    wider = stretch_offsets(offsets, Proportions(palm_width=1.3))
    assert torch.allclose(wider[ROOTS[0]], offsets[ROOTS[0]], atol=1e-12)  # the middle finger is what "along" means
    across = offsets[ROOTS[INDEX]] - offsets[ROOTS[PINKY]]
    across -= (across @ offsets[ROOTS[0]]) / offsets[ROOTS[0]].square().sum() * offsets[ROOTS[0]]
    before = (offsets[ROOTS[INDEX]] - offsets[ROOTS[PINKY]]) @ across
    after = (wider[ROOTS[INDEX]] - wider[ROOTS[PINKY]]) @ across
    assert 1.25 < after / before <= 1.3 + 1e-9
    assert torch.equal(longer[2:5], offsets[2:5])  # fingers keep their lengths


def test_surface_goes_along_with_the_bones(hand):
    offsets, axes, (vertices, weights, joints) = hand
    proportions = Proportions(1.4, 0.9, 1.1, (1.0, 1.2, 0.8, 1.0, 1.1))
    stretched = stretch_offsets(offsets, proportions)
    moved, moved_joints = stretch_surface(vertices, weights, joints, proportions)
    between = moved_joints - moved_joints[[max(parent, 0) for parent in PARENTS]]
    assert torch.allclose(between[1:], stretched[1:], atol=1e-5)  # joints of the file are in single precision
    assert torch.allclose(moved_joints[0], joints[0])
    posed = offset_hand(stretched, axes, "right").with_tbs(tbs_from_angles(torch.zeros(5, 3, 3, dtype=torch.float64)))
    skin = skin_hand(posed, moved, weights, moved_joints)
    for tip in TIPS:  # a fingertip has skin around it, as it had before
        before = (vertices - joints[tip]).norm(dim=-1).min()
        assert (skin - posed.joints[tip]).norm(dim=-1).min() < 1.5 * before + 0.2


def test_thickness_of_a_finger_stays(hand):
    _, _, (vertices, weights, joints) = hand
    moved, moved_joints = stretch_surface(vertices, weights, joints, Proportions(finger_length=1.5))
    near = weights[:, ROOTS[0] + 1] > 0.95  # the middle finger's second bone alone
    along = torch.nn.functional.normalize(joints[ROOTS[0] + 2] - joints[ROOTS[0] + 1], dim=-1)

    def spread(points, middle):
        out = points[near] - middle
        along_bone = out @ along
        return (out - along_bone[:, None] * along).norm(dim=-1), np.ptp(along_bone.numpy())

    before, after = spread(vertices, joints[ROOTS[0] + 1]), spread(moved, moved_joints[ROOTS[0] + 1])
    assert torch.allclose(before[0], after[0], atol=0.05)
    assert after[1] / before[1] == pytest.approx(1.5, abs=0.02)


@pytest.mark.parametrize("bad", [{"finger_length": 0.0}, {"palm_width": -1.0}, {"fingers": (1.0, 1.0)}])
def test_impossible_factors_are_refused(bad):
    with pytest.raises(ValueError, match="proportions"):
        Proportions(**bad)
