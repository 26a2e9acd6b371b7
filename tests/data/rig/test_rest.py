"""Hands at rest out of skeletons: tips, missing joints, and the turn into the frame of features."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data.rig import find_hand
from data.rig.rest import canonical_turn, rest_hand, turned
from model.topology import hand_joint_names
from tests.helpers import plausible_offsets
from utils.errors import InputError


def skeleton(side="right", tips=True):
    """Names, heads (J, 3), and parents of a hand; without tips these are left out."""
    offsets = plausible_offsets(side=side).numpy()
    heads = offsets.copy()
    for joint in range(1, 21):
        heads[joint] += heads[0 if joint % 4 == 1 else joint - 1]
    kept = [joint for joint in range(21) if tips or joint == 0 or joint % 4]
    names = hand_joint_names("mixamo", side)
    parents = [-1 if j == 0 else kept.index(0 if j % 4 == 1 else j - 1) for j in kept]
    return [names[joint] for joint in kept], heads[kept], parents, offsets


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_complete_hand(side):
    names, heads, parents, offsets = skeleton(side)
    rest = rest_hand(find_hand(names, side, parents=parents), heads)
    assert rest.complete and np.array_equal(rest.turn, np.eye(3))
    np.testing.assert_allclose(rest.offsets, offsets, atol=1e-12)


def test_tips_from_tails():
    names, heads, parents, offsets = skeleton(tips=False)
    _, all_heads, _, _ = skeleton()
    tails = np.full_like(heads, np.nan)
    for finger in range(5):
        tails[names.index(hand_joint_names("mixamo", "right")[4 * finger + 3])] = all_heads[4 * finger + 4]
    rest = rest_hand(find_hand(names, "right", parents=parents), heads, tails)
    np.testing.assert_allclose(rest.offsets, offsets, atol=1e-12)


def test_tips_from_skin():
    names, heads, parents, offsets = skeleton(tips=False)
    _, all_heads, _, _ = skeleton()
    vertices, weights = [], []
    for finger in range(5):
        bone = names.index(hand_joint_names("mixamo", "right")[4 * finger + 3])
        for share in (0.0, 0.5, 1.0):
            vertices.append(heads[bone] + share * (all_heads[4 * finger + 4] - heads[bone]))
            weights.append(np.eye(len(names))[bone])
        vertices.append(heads[bone] + [0, 90, 0])  # carried by another bone for the most part
        weights.append(0.4 * np.eye(len(names))[bone] + 0.6 * np.eye(len(names))[0])
    rest = rest_hand(find_hand(names, "right", parents=parents), heads, None, np.array(vertices), np.array(weights))
    np.testing.assert_allclose(rest.offsets, offsets, atol=1e-12)


def test_a_tip_of_which_nothing_is_known_is_missing():
    names, heads, parents, _ = skeleton(tips=False)
    rest = rest_hand(find_hand(names, "right", parents=parents), heads)
    assert np.flatnonzero(~rest.present).tolist() == [4, 8, 12, 16, 20]
    assert (rest.offsets[[4, 8]] == 0).all()


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("missing", [(), (9, 10, 11, 12), (1, 2, 3, 4)])
def test_hands_that_point_elsewhere_are_turned_back(side, missing):
    _, heads, _, _ = skeleton(side)
    present = np.array([joint not in missing for joint in range(21)])
    own = canonical_turn(heads, present, side)
    assert np.array_equal(own, np.eye(3))
    for seed in range(20):
        turn = Rotation.random(random_state=seed).as_matrix()
        back = canonical_turn(heads @ turn.T, present, side) @ turn
        assert np.degrees(np.arccos((np.trace(back) - 1) / 2)) < 15
        np.testing.assert_allclose(np.linalg.det(back), 1)
        # Once turned, it needs no further turn.
        assert np.array_equal(canonical_turn(heads @ (back).T, present, side), np.eye(3))
    little = Rotation.from_rotvec([0.02, -0.01, 0.03]).as_matrix()
    assert np.array_equal(canonical_turn(heads @ little.T, present, side), np.eye(3))


def test_a_palm_without_a_plane():
    names, heads, parents, _ = skeleton()
    with pytest.raises(InputError, match="a.npz: expected the roots of the right hand's fingers to span a palm"):
        rest_hand(find_hand(names, "right", parents=parents), heads * [1, 0, 0], source="a.npz")


def test_nothing_is_done_to_vectors_in_the_frame_of_features():
    vectors = np.ones((3, 3), np.float32)
    assert turned(vectors, np.eye(3)) is vectors
    assert turned(vectors, Rotation.random(random_state=0).as_matrix()).dtype == np.float32
