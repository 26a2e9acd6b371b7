import pytest
import torch

from model.hands import offset_hand
from model.skinning import linear_blend_skinning, skin_hand
from tests.helpers import DEVICES, assert_close, plausible_offsets, rotations


@pytest.fixture
def hand():
    """A mesh of random points about a hand, its weights and rest joints, and three poses."""
    offsets = plausible_offsets()
    shaped = offset_hand(offsets, rotations(5, 4), "right")
    rest = shaped.at_rest().joints
    weights = torch.rand(40, 21, dtype=torch.float64) ** 4
    vertices = rest[torch.randint(21, (40,))] + torch.randn(40, 3, dtype=torch.float64)
    return shaped, vertices, weights / weights.sum(-1, keepdim=True), rest


def test_vertices_follow_their_joints(hand):
    """Σ_j w_vj (G_j (v − rest_j) + p_j), in a loop."""
    shaped, vertices, weights, rest = hand
    posed = shaped.with_tbs(rotations(2, 5, 3))
    found = skin_hand(posed, vertices, weights, rest)
    for frame in range(2):
        moved = [(vertices - rest[j]) @ posed.global_rotations[frame, j].T + posed.joints[frame, j] for j in range(21)]
        assert_close(found[frame], sum(weights[:, j, None] * moved[j] for j in range(21)), 1e-13)


def test_a_resting_hand_keeps_its_surface(hand):
    shaped, vertices, weights, rest = hand
    assert_close(skin_hand(shaped.at_rest(), vertices, weights, rest), vertices, 1e-13)


def test_the_place_of_the_mesh_does_not_matter(hand):
    """The surface is relative to the wrist, wherever the mesh stands."""
    shaped, vertices, weights, rest = hand
    posed, shift = shaped.with_tbs(rotations(5, 3)), torch.tensor([10.0, 120, -3], dtype=torch.float64)
    moved = skin_hand(posed, vertices + shift, weights, rest + shift)
    assert_close(moved, skin_hand(posed, vertices, weights, rest), 1e-12)


@pytest.mark.parametrize("device", DEVICES)
def test_batches_of_meshes(device):
    vertices, rest, joints = (torch.randn(2, 3, n, 3, device=device) for n in (11, 6, 6))
    weights = torch.softmax(torch.randn(2, 3, 11, 6, device=device), dim=-1)
    turns = rotations(2, 3, 6, dtype=torch.float32).to(device)
    found = linear_blend_skinning(vertices, weights, rest, turns, joints)
    for item in range(2):
        for frame in range(3):
            place = item, frame
            alone = linear_blend_skinning(vertices[place], weights[place], rest[place], turns[place], joints[place])
            assert_close(found[place], alone, 1e-5)
