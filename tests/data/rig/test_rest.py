"""Hands at rest out of skeletons: tips, missing joints, and the turn into the frame of features."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data.formats.skeleton import Skeleton, Skin
from data.rig import find_hand
from data.rig.rest import canonical_turn, rest_hand, turned
from model.topology import FINGERS, ROOTS, hand_joint_names
from tests.data.rig import rigs
from tests.helpers import plausible_offsets
from utils.errors import InputError


def skeleton(side="right", tips=True):
    """A hand, and its offsets; without tips these are left out."""
    offsets = plausible_offsets(side=side).numpy()
    heads = offsets.copy()
    for joint in range(1, 21):
        heads[joint] += heads[0 if joint % 4 == 1 else joint - 1]
    kept = [joint for joint in range(21) if tips or joint == 0 or joint % 4]
    names = hand_joint_names("mixamo", side)
    parents = [-1 if j == 0 else kept.index(0 if j % 4 == 1 else j - 1) for j in kept]
    return Skeleton(tuple(names[joint] for joint in kept), np.array(parents), heads[kept]), heads, offsets


def at_rest(bones, side="right", skin=None, source=""):
    """The hand of a skeleton."""
    return rest_hand(find_hand(bones.names, side, parents=bones.parents), bones, skin, source)


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_complete_hand(side):
    bones, _, offsets = skeleton(side)
    rest = at_rest(bones, side)
    assert rest.complete and not rest.made_up.any() and np.array_equal(rest.turn, np.eye(3))
    np.testing.assert_allclose(rest.offsets, offsets, atol=1e-12)
    np.testing.assert_allclose(rest.whole_offsets, offsets, atol=1e-12)


def last_bones(bones):
    """Numbers of the last bones of the five fingers."""
    return [bones.names.index(hand_joint_names("mixamo", "right")[4 * finger + 3]) for finger in range(5)]


def test_tips_from_tails():
    bones, heads, offsets = skeleton(tips=False)
    tails = np.full_like(bones.heads, np.nan)
    tails[last_bones(bones)] = heads[4::4]
    rest = at_rest(replace(bones, tails=tails))
    np.testing.assert_allclose(rest.offsets, offsets, atol=1e-12)
    assert not rest.made_up.any()


def test_tips_from_joints_that_hang_on_the_last_bones():
    bones, heads, offsets = skeleton(tips=False)
    names = (*bones.names, *(f"x{finger}" for finger in range(5)))
    parents = np.concatenate([bones.parents, last_bones(bones)])
    rest = at_rest(Skeleton(names, parents, np.concatenate([bones.heads, heads[4::4]])))
    np.testing.assert_allclose(rest.offsets, offsets, atol=1e-12)


def skin_to(bones, heads):
    """Three vertices along each last bone, and one beside it that another bone carries for the most part."""
    vertices, weights = [], []
    for finger, bone in enumerate(last_bones(bones)):
        for share in (0.0, 0.5, 1.0):
            vertices.append(bones.heads[bone] + share * (heads[4 * finger + 4] - bones.heads[bone]))
            weights.append(np.eye(len(bones.names))[bone])
        vertices.append(bones.heads[bone] + [0, 90, 0])
        weights.append(0.4 * np.eye(len(bones.names))[bone] + 0.6 * np.eye(len(bones.names))[0])
    return Skin(np.array(vertices), np.zeros((0, 3), int), np.array(weights))


def test_tips_from_skin():
    bones, heads, offsets = skeleton(tips=False)
    rest = at_rest(bones, skin=skin_to(bones, heads))
    np.testing.assert_allclose(rest.offsets, offsets, atol=1e-12)
    assert rest.complete and not rest.made_up.any()


def test_tails_come_before_skin():
    bones, heads, offsets = skeleton(tips=False)
    tails = np.full_like(bones.heads, np.nan)
    tails[last_bones(bones)[0]] = heads[4] + [0, 1, 0]
    rest = at_rest(replace(bones, tails=tails), skin=skin_to(bones, heads))
    np.testing.assert_allclose(rest.offsets[4], offsets[4] + [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(rest.offsets[8], offsets[8], atol=1e-12)


def test_a_tip_of_which_nothing_is_known_is_made_up():
    bones, _, offsets = skeleton(tips=False)
    rest = at_rest(bones)
    assert rest.complete and np.flatnonzero(rest.made_up).tolist() == [4, 8, 12, 16, 20]
    np.testing.assert_allclose(rest.offsets[4::4], 0.85 * offsets[3::4], atol=1e-12)


def test_joints_of_a_short_finger_lie_between_its_last_one_and_its_tip():
    bones, heads, _ = skeleton()
    kept = [joint for joint in range(21) if joint != 3]
    parents = np.array([kept.index(p) if p != 3 else kept.index(2) for p in bones.parents[kept] if p >= 0])
    short = Skeleton(tuple(bones.names[j] for j in kept), np.concatenate([[-1], parents]), heads[kept])
    hand = replace(find_hand(bones.names, "right", parents=bones.parents), indices=(*range(3), None, *range(3, 20)))
    rest = rest_hand(hand, short)
    assert np.flatnonzero(~rest.present).tolist() == np.flatnonzero(rest.made_up).tolist() == [3]
    np.testing.assert_allclose(rest.positions[3], (heads[2] + heads[4]) / 2, atol=1e-12)
    np.testing.assert_allclose(rest.offsets[4], heads[4] - heads[2], atol=1e-12)


@pytest.mark.parametrize("missing", ["pinky", "index", "thumb"])
def test_missing_fingers_lie_beside_their_neighbour(missing):
    bones = rigs.skeleton(without=(missing,))
    rest, finger = at_rest(bones), FINGERS.index(missing)
    own = slice(ROOTS[finger], ROOTS[finger] + 4)
    assert not rest.present[own].any() and rest.present.sum() == 17 and rest.made_up[own].all()
    assert (rest.offsets[own] == 0).all()
    whole = at_rest(rigs.skeleton())
    assert np.linalg.norm(rest.joints[own] - whole.joints[own], axis=1).max() < 5.0  # centimetres from a real one


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("missing", [(), (9, 10, 11, 12), (1, 2, 3, 4)])
def test_hands_that_point_elsewhere_are_turned_back(side, missing):
    _, heads, _ = skeleton(side)
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
    bones, _, _ = skeleton()
    with pytest.raises(InputError, match="a.npz: expected the roots of the right hand's fingers to span a palm"):
        at_rest(replace(bones, heads=bones.heads * [1, 0, 0]), source="a.npz")


def test_nothing_is_done_to_vectors_in_the_frame_of_features():
    vectors = np.ones((3, 3), np.float32)
    assert turned(vectors, np.eye(3)) is vectors
    assert turned(vectors, Rotation.random(random_state=0).as_matrix()).dtype == np.float32


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_turned_hand_comes_back_into_the_convention(side):
    turn = Rotation.from_rotvec(np.radians(80) * np.array([0.2, 0.5, 1.0]) / np.linalg.norm([0.2, 0.5, 1.0]))
    rest = at_rest(rigs.skeleton(turn=turn.as_matrix()), side)
    assert np.allclose(rest.turn @ rest.turn.T, np.eye(3)) and np.linalg.det(rest.turn) == pytest.approx(1)
    assert np.allclose(canonical_turn(rest.joints, rest.present, side), np.eye(3))
    flat, offsets = plausible_offsets(side=side).numpy()[1:], rest.offsets[1:]
    cosines = (offsets * flat).sum(1) / np.linalg.norm(offsets, axis=1) / np.linalg.norm(flat, axis=1)
    assert np.degrees(np.arccos(cosines)).max() < 15


def test_a_missing_finger_is_a_little_shorter_than_its_neighbour():
    """So that a network that sees a whole hand sees a likely one."""
    bones, heads, _ = skeleton()
    kept = [joint for joint in range(21) if not 9 <= joint <= 12]  # no pinky
    parents = [-1 if j == 0 else kept.index(0 if j % 4 == 1 else j - 1) for j in kept]
    rest = at_rest(Skeleton(tuple(bones.names[joint] for joint in kept), np.array(parents), heads[kept]))
    pinky, ring = (rest.positions[first + 3] - rest.positions[first] for first in (9, 5))
    assert not rest.present[9:13].any()
    assert np.linalg.norm(pinky) == pytest.approx(0.85 * np.linalg.norm(ring))
