"""Axes from all evidence: true on hands whose hinges are known, in any position, with parts missing."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data.axes.estimate import closes, combine, estimate_axes, fist_angles
from data.axes.evidence import Evidence, MotionHinges, degrees_between, gather
from data.axes.mesh_shape import propose_splay
from data.character.reading import read_mesh_character
from data.open_hands.library import mirrored_axes
from model.topology import FINGERS, INDEX, MIDDLE, PINKY, RING, SIDES, THUMB
from utils.errors import InputError

REAL = os.environ.get("S2H_REAL_DATA")
needs_real = pytest.mark.skipif(not REAL, reason="S2H_REAL_DATA names no folder of real characters")


def errors(found: np.ndarray, true_bend: np.ndarray) -> np.ndarray:
    """(5, 3) degrees between bend axes ``(5, 4, 3, 3)`` and true hinges ``(5, 3, 3)``."""
    bend = found[:, :3, 1]
    sine = np.linalg.norm(np.cross(bend, true_bend), axis=-1)
    return np.degrees(np.arctan2(sine, (bend * true_bend).sum(-1)))


def check(all_errors: list[np.ndarray]) -> None:
    """The bounds that the project promises."""
    every = np.stack(all_errors)
    four, thumb = every[:, :4], every[:, 4, 1:]
    assert np.median(four) <= 10 and four.max() <= 20
    assert np.median(thumb) <= 25 and thumb.max() <= 40


@pytest.mark.parametrize("side", SIDES)
def test_open_hands_against_their_own_hinges(open_hands, rest_hand, side):
    found = []
    for name in list(open_hands.characters)[::6]:
        hand = rest_hand(name, side)
        estimate = estimate_axes(hand)
        true = open_hands.character_axes(name)
        true = true if side == "right" else mirrored_axes(true)
        found.append(errors(estimate.axes, true[:, :3, 1]))
        assert not estimate.doubtful and not estimate.opening
        expected = np.array([finger.error for finger in estimate.fingers])
        assert (found[-1].max(1) < 3 * expected).all(), "the expected error says nothing"
    check(found)


@needs_real
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", ["XBot", "YBot"])
def test_robots_from_mesh_and_skeleton_alone(name, side):
    truth = json.loads((Path(REAL) / "hinges_mixamo.json").read_text())
    hand = read_mesh_character(Path(REAL) / f"MixHand/finger_data/{name}_mesh_data.npz").hand(side).bare
    joints = [[f"{side.capitalize()}Hand{finger.capitalize()}{k}" for k in (1, 2, 3)] for finger in FINGERS]
    true = np.array([[truth[joint]["axis"] for joint in finger] for finger in joints])
    estimate = estimate_axes(hand)
    check([errors(estimate.axes, true)])
    assert closes(hand, estimate.axes).all()


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("degrees", [(0, 0, 45), (0, 0, 90), (90, 0, 0), (70, -120, 30)])
def test_turned_hands_turn_their_axes(rest_hand, side, degrees):
    """Arms that hang down or stretch forward do not matter to palm, bones and mesh."""
    turn = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    upright, turned = (estimate_axes(rest_hand("Hand10", side, each)) for each in (None, turn))
    np.testing.assert_allclose(turned.axes, upright.axes @ turn.T, atol=2e-3)
    assert not turned.opening


def test_axes_are_orthonormal_frames_that_point_down_the_bones(rest_hand):
    hand = rest_hand()
    axes = estimate_axes(hand).axes
    np.testing.assert_allclose(axes @ axes.swapaxes(-1, -2), np.broadcast_to(np.eye(3), axes.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(axes), 1, atol=1e-12)
    np.testing.assert_allclose(axes[:, :3, 0], hand.bones, atol=1e-12)
    assert (axes[:4, :, 2] @ hand.palm_normal > 0.8).all()  # splay leaves the back of the hand


@pytest.mark.parametrize("side", SIDES)
def test_fist_comes_to_the_palm(rest_hand, side):
    hand = rest_hand("Hand20", side)
    axes = estimate_axes(hand).axes
    _, joints = hand.bent(axes, fist_angles())
    tips = joints[[4, 8, 12, 16]] - joints[[1, 5, 9, 13]]
    assert (tips @ hand.palm_normal < -0.5).all()  # centimetres below their roots
    assert closes(hand, axes).all()
    opened = axes.copy()
    opened[:, :, 1:] *= -1
    assert not closes(hand, opened).any()


@pytest.mark.parametrize("missing", [(PINKY,), (INDEX,), (MIDDLE,), (RING, PINKY), (THUMB,)])
def test_missing_fingers(rest_hand, missing):
    whole = rest_hand("Hand08")
    hand = without(whole, missing)
    assert np.flatnonzero(~hand.present).tolist() == sorted(missing)
    estimate = estimate_axes(hand)
    rest = [finger for finger in range(5) if finger not in missing]
    expected = estimate_axes(whole).axes
    for finger in rest:
        assert degrees_between(estimate.axes[finger, 1, 1], expected[finger, 1, 1]) < 15
    assert [estimate.fingers[finger].word for finger in missing] == ["missing"] * len(missing)
    assert np.isfinite(estimate.axes).all() and not estimate.opening
    _, joints = hand.bent(estimate.axes, fist_angles())
    assert np.isnan(joints[[1 + 4 * finger for finger in missing]]).all()


def test_fingers_of_two_joints(rest_hand):
    whole = rest_hand("Hand08")
    joints, weights = whole.joints.copy(), whole.weights.copy()
    joints[[3, 4, 19, 20]] = np.nan  # middle finger and thumb
    weights[:, [2, 18]] += weights[:, [3, 19]]
    weights[:, [3, 19]] = 0
    hand = replaced(whole, joints=joints, weights=weights)
    estimate = estimate_axes(hand)
    assert hand.present.all() and not estimate.opening
    expected = estimate_axes(whole).axes
    assert degrees_between(estimate.axes[MIDDLE, 1, 1], expected[MIDDLE, 1, 1]) < 10
    assert degrees_between(estimate.axes[THUMB, 1, 1], expected[THUMB, 1, 1]) < 30
    assert np.isfinite(estimate_axes(hand, "mesh").axes).all()


def test_hands_without_a_palm_are_refused(rest_hand):
    whole = rest_hand("Hand08")
    with pytest.raises(InputError, match="two or more fingers"):
        estimate_axes(without(whole, (MIDDLE, RING, PINKY, INDEX)))
    joints = whole.joints.copy()
    joints[[9, 13]] = joints[0] + [[-1, 0, 0], [-2, 0, 0]]
    with pytest.raises(InputError, match="no plane"):
        estimate_axes(replaced(whole, joints=joints))


def test_bones_of_no_length_do_not_matter_much(rest_hand):
    whole = rest_hand("Hand08")
    joints = whole.joints.copy()
    joints[3] = joints[2]  # the middle finger's second bone
    estimate = estimate_axes(replaced(whole, joints=joints))
    assert np.isfinite(estimate.axes).all() and not estimate.opening


def test_rig_axes_are_believed_where_the_fingers_agree(rest_hand, open_hands):
    hand = rest_hand("Hand05")
    true = open_hands.character_axes("Hand05")
    axes = np.broadcast_to(np.eye(3), (21, 3, 3)).copy()
    axes[1:] = true[:, :, [2, 0, 1]].reshape(20, 3, 3)  # this rig's y runs down the bone, z is the hinge
    told = estimate_axes(replaced(hand, bone_axes=axes))
    plain = estimate_axes(hand)
    for finger in range(5):
        sources = [each.source for each in told.fingers[finger].evidence]
        assert "rig" in sources
        before, after = (degrees_between(e.axes[finger, 1, 1], true[finger, 1, 1]) for e in (plain, told))
        assert after < max(0.8 * before, 1.0)


def test_rig_axes_of_any_roll_are_not_believed(rest_hand):
    hand = rest_hand("Hand05")
    rolls = np.random.default_rng(4).uniform(0, 2 * np.pi, 20)
    axes = np.broadcast_to(np.eye(3), (21, 3, 3)).copy()
    frames = estimate_axes(hand).axes.reshape(20, 3, 3)
    axes[1:] = Rotation.from_rotvec(rolls[:, None] * frames[:, 0]).as_matrix() @ frames.swapaxes(-1, -2)
    axes[1:] = axes[1:].swapaxes(-1, -2)
    told = gather(replaced(hand, bone_axes=axes))
    assert not any(each.source == "rig" for finger in told for each in finger)


def test_motion_is_the_best_evidence(rest_hand, open_hands):
    hand = rest_hand("Hand05")
    true = open_hands.character_axes("Hand05")[:, :3, 1]
    motion = MotionHinges(-true, np.full((5, 3), 0.99), np.full((5, 3), 0.8))  # signs are not known in motion
    assert errors(estimate_axes(hand, motion=motion).axes, true).max() < 6
    still = MotionHinges(-true, np.full((5, 3), 0.99), np.full((5, 3), 0.01))
    np.testing.assert_array_equal(estimate_axes(hand, motion=still).axes, estimate_axes(hand).axes)


def test_preset_is_kept(rest_hand):
    hand = rest_hand()
    preset = estimate_axes(hand).axes
    turned = hand.rows(np.stack([Rotation.from_rotvec(0.3 * r[2, 0]).apply(r[2, 1]) for r in preset]))
    np.testing.assert_allclose(estimate_axes(hand, preset=turned).axes, turned, atol=1e-6)
    by_mesh = estimate_axes(hand, "mesh", turned).axes
    for finger in range(5):
        assert degrees_between(by_mesh[finger, 2, 1], turned[finger, 2, 1]) <= 0.51  # the nearest of 360


def test_mesh_method_tells_where_it_is_off(rest_hand):
    hand = rest_hand("Hand05")
    estimate = estimate_axes(hand, "mesh")
    for finger in range(5):
        found = propose_splay(hand.vertices, hand.faces, hand.fingers[finger, 2], hand.twist[finger, 2])
        np.testing.assert_allclose(estimate.axes[finger, 2, 2], found.splay, atol=1e-9)
        off = degrees_between(estimate.fingers[finger].bend, estimate_axes(hand).fingers[finger].bend)
        assert estimate.fingers[finger].error >= off


def test_open_meshes(rest_hand):
    hand = rest_hand("Hand05")
    away = (hand.vertices[hand.faces].mean(1) - hand.fingers[INDEX, 2])[:, 0]
    broken = replaced(hand, faces=hand.faces[away > -1.0])
    with pytest.raises(InputError, match="open round the last joint"):
        estimate_axes(broken, "mesh")
    assert not estimate_axes(broken).opening
    assert not estimate_axes(replaced(hand, faces=hand.faces[:0])).opening


def test_one_bad_witness_moves_nothing():
    good, bad = np.array([0, 0, 1.0]), np.array([1.0, 0, 0])
    alone = combine([Evidence("palm", good, 10.0)])
    mixed = combine([Evidence("palm", good, 10.0), Evidence("mesh", bad, 20.0)])
    assert degrees_between(mixed.bend, good) < 8
    assert mixed.error > alone.error and mixed.confidence < alone.confidence
    agreeing = combine([Evidence("palm", good, 10.0), Evidence("mesh", good, 10.0)])
    assert agreeing.error == pytest.approx(10 / np.sqrt(2))


def test_unknown_method(rest_hand):
    with pytest.raises(ValueError, match="method"):
        estimate_axes(rest_hand(), "guess")


def replaced(hand, **changed):
    """A copy of a hand with other fields."""
    return replace(hand, **changed)


def without(hand, fingers):
    """The hand without some fingers."""
    joints = hand.joints.copy()
    for finger in fingers:
        joints[1 + 4 * finger : 5 + 4 * finger] = np.nan
    return replaced(hand, joints=joints)


@pytest.mark.parametrize("side", SIDES)
def test_a_hand_that_rests_in_a_fist_bends_as_it_would_open(rest_hand, side):
    """The palm's axis is that of the straight finger, not of one whose bones point back to the wrist."""
    hand = replace(rest_hand("HandLong0", side), bone_axes=None, faces=np.zeros((0, 3), np.int64))
    axes = estimate_axes(hand).axes
    _, joints = hand.bent(axes, np.where(np.arange(5)[:, None] == THUMB, 0.3, np.radians([90.0, 80, 105])))
    found = estimate_axes(replace(hand, joints=joints, whole=joints))
    fingers = [FINGERS.index(name) for name in FINGERS if name != "thumb"]
    assert not found.opening and not found.doubtful
    assert (found.axes[fingers, 0, 1] * axes[fingers, 0, 1]).sum(-1).min() > np.cos(np.radians(15))
