"""The canonical rest pose of reference hands."""

import numpy as np
import pytest
import torch
from pytorch3d.transforms import quaternion_to_matrix

from model.kinematics import finger_part, fingers_of, rest_pose, with_wrist_and_tips
from model.mano import ManoHand
from model.topology import SIDES
from tests.helpers import tensor, walk_the_tree

PRECISIONS = [("f64", torch.float64, 1e-9), ("f32", torch.float32, 1e-5)]


@pytest.fixture(scope="module")
def reference(golden):
    return np.load(golden / "rest_pose.npz")


@pytest.mark.parametrize(("suffix", "dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("side", SIDES)
def test_offset_hands(reference, agree, side, suffix, dtype, tolerance):
    offsets = tensor(reference[f"{side}_offsets"], dtype)
    rest = with_wrist_and_tips(rest_pose(offsets))
    expected = quaternion_to_matrix(tensor(reference[f"{side}_rest_pose_{suffix}"]))
    agree(rest[:, None], expected, tolerance, f"rest pose, rotations {suffix}")
    _, positions = walk_the_tree(rest, offsets)
    expected = reference[f"{side}_rest_positions_{suffix}"]
    agree(positions[:, None], expected, tolerance, f"rest pose, positions {suffix}")


@pytest.mark.parametrize("side", SIDES)
def test_a_batch_of_three_equals_its_items(reference, agree, side):
    """The reference took cross products along the batch when it had three items (its `_reference` arrays)."""
    rest = with_wrist_and_tips(rest_pose(tensor(reference[f"{side}_batch3_offsets"])))
    expected = quaternion_to_matrix(tensor(reference[f"{side}_batch3_rest_pose_itemwise"]))
    agree(rest[:, None], expected, 1e-9, "rest pose, batch of three f64")


@pytest.mark.parametrize("side", SIDES)
def test_planar_hands(reference, agree, side):
    rest = with_wrist_and_tips(rest_pose(tensor(reference[f"{side}_planar_offsets"])))
    expected = quaternion_to_matrix(tensor(reference[f"{side}_planar_rest_pose_reference"]))
    agree(rest[:, None], expected, 1e-9, "rest pose, planar f64")


@pytest.mark.parametrize("side", SIDES)
def test_aligned_hands_stay_as_they_are(reference, agree, side):
    """Bones that need no turn get the identity, where the reference divided by zero."""
    offsets = tensor(reference[f"{side}_aligned_offsets"])
    rest = rest_pose(offsets)
    assert rest.isfinite().all()
    # All bones of the four fingers run along the middle finger's root; the thumb lies in the palm's plane.
    bones = fingers_of(offsets)[:, :4, 1:]
    assert torch.linalg.cross(bones, fingers_of(offsets)[:, :1, :1].expand_as(bones), dim=-1).abs().max() < 1e-12
    eye = torch.eye(3, dtype=rest.dtype).expand_as(rest)
    agree(rest, eye, 1e-12, "rest pose, aligned (identity) f64")


@pytest.mark.parametrize("side", SIDES)
def test_mano_hands(reference, agree, mano_models, mano_axes, side):
    hand = ManoHand.load(mano_models, mano_axes, side, torch.float32)
    shaped = hand.with_shape(tensor(reference[f"mano_{side}_betas"], torch.float32))
    agree(shaped.offsets, reference[f"mano_{side}_offsets"], 1e-5, "rest pose, MANO offsets f32")
    expected = finger_part(quaternion_to_matrix(tensor(reference[f"mano_{side}_rest_pose_f32"])))
    agree(shaped.rest[:, None], expected, 1e-5, "rest pose, MANO rotations f32")
