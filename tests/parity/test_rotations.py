"""Twist-bend-splay rotations from local rotations and back, on reference hands."""

import numpy as np
import pytest
import torch
from pytorch3d.transforms import matrix_to_quaternion, quaternion_to_matrix, standardize_quaternion

from model.hands import offset_hand
from model.kinematics import finger_part
from model.topology import SIDES, TIPS
from tests.helpers import tensor

PRECISIONS = [("f64", torch.float64, 1e-9), ("f32", torch.float32, 1e-5)]


@pytest.fixture(scope="module")
def reference(golden):
    return np.load(golden / "rotations.npz")


def hand(reference, side, dtype):
    offsets, axes = (tensor(reference[f"{side}_{name}"], dtype)[:, None] for name in ("offsets", "finger_axes"))
    return offset_hand(offsets, axes, side)


def same_quaternions(agree, matrices, quaternions, tolerance, group):
    """Compare rotations, and the quaternions themselves where their sign is not a matter of rounding."""
    expected = tensor(quaternions)
    agree(matrices, quaternion_to_matrix(expected), tolerance, f"{group}, as matrices")
    found = standardize_quaternion(matrix_to_quaternion(matrices))
    certain = (expected[..., :1].abs() > 1e-4).double()
    # Where w is small, a quaternion has the square root of the matrix's digits.
    agree(found * certain, expected * certain, 10 * tolerance, f"{group}, as quaternions")


@pytest.mark.parametrize(("suffix", "dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("side", SIDES)
def test_tbs_of_local_rotations(reference, agree, side, suffix, dtype, tolerance):
    local = finger_part(quaternion_to_matrix(tensor(reference[f"{side}_hand_rotations_in"], dtype)))
    posed = hand(reference, side, dtype).with_local_rotations(local)
    expected = reference[f"{side}_bs_from_hand_{suffix}"]
    same_quaternions(agree, posed.tbs, expected, tolerance, f"rotations, S from local {suffix}")


@pytest.mark.parametrize(("suffix", "dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("side", SIDES)
def test_the_wrist_is_dropped(reference, agree, side, suffix, dtype, tolerance):
    """Local rotations keep everything but the wrist. The reference kept tips, which cannot turn (mathematics §1)."""
    given = quaternion_to_matrix(tensor(reference[f"{side}_hand_rotations_in"], dtype))
    kept = quaternion_to_matrix(tensor(reference[f"{side}_hand_rotations_kept_{suffix}"]))
    found = hand(reference, side, dtype).with_local_rotations(finger_part(given)).local_all
    rotating = [joint for joint in range(found.shape[-3]) if joint not in TIPS]
    agree(found[..., rotating, :, :], kept[..., rotating, :, :], tolerance, f"rotations, local kept {suffix}")


@pytest.mark.parametrize(("suffix", "dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("side", SIDES)
def test_local_rotations_of_tbs(reference, agree, side, suffix, dtype, tolerance):
    posed = hand(reference, side, dtype).with_tbs(quaternion_to_matrix(tensor(reference[f"{side}_bs_in"], dtype)))
    expected = reference[f"{side}_hand_from_bs_{suffix}"]
    same_quaternions(agree, posed.local_all, expected, tolerance, f"rotations, local from S {suffix}")


@pytest.mark.parametrize("side", SIDES)
def test_quaternions_of_any_length(reference, agree, side):
    """The length of a quaternion has no meaning; the reference handed it on for some joints."""
    given = tensor(reference[f"{side}_hand_rotations_unnormalised_in"])
    assert (given.norm(dim=-1) - 1).abs().max() > 0.1
    posed = hand(reference, side, torch.float64).with_local_rotations(finger_part(quaternion_to_matrix(given)))
    expected = quaternion_to_matrix(tensor(reference[f"{side}_bs_from_unnormalised_f64"]))
    agree(posed.tbs, expected, 1e-9, "rotations, S from unnormalised f64")
