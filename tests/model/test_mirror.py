"""A left hand is a right hand in the mirror: exactly, sign by sign."""

from __future__ import annotations

import torch

from model.hands import offset_hand
from model.mirror import mirror_axes, mirror_matrix, mirror_points, mirror_rotations, mirror_tbs
from tests.helpers import plausible_offsets, rotations


def hands():
    """A right hand with axes of its own, and its mirror image."""
    offsets = plausible_offsets(seed=3)
    axes = rotations(5, 4, seed=4)
    right = offset_hand(offsets, axes, "right")
    return right, offset_hand(mirror_points(offsets), mirror_axes(axes), "left")


def test_mirrored_hand_moves_as_the_mirror_image():
    right, left = hands()
    local = rotations(7, 5, 3, seed=5)
    first, second = right.with_local_rotations(local), left.with_local_rotations(mirror_rotations(local))
    assert torch.equal(second.joints, mirror_points(first.joints))
    assert torch.allclose(
        second.rest if hasattr(second, "rest") else left.rest, mirror_rotations(right.rest), atol=1e-15
    )
    assert torch.allclose(second.tbs, mirror_tbs(first.tbs), atol=1e-15)
    for mine, theirs in zip(second.semantic_matrix(), mirror_matrix(first.semantic_matrix()), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-15)


def test_mirroring_twice_changes_nothing():
    values = rotations(3, seed=6)
    for mirror in (mirror_rotations, mirror_axes, mirror_tbs):
        assert torch.equal(mirror(mirror(values)), values)


def test_mirrored_axes_stay_right_handed_and_bends_keep_their_sign():
    axes = mirror_axes(rotations(5, 4, seed=7))
    assert torch.allclose(torch.linalg.det(axes), torch.ones(5, 4, dtype=axes.dtype))
    turn = torch.tensor(0.7, dtype=torch.float64)
    bend = torch.stack(
        [turn.cos(), turn * 0, turn.sin(), turn * 0, turn * 0 + 1, turn * 0, -turn.sin(), turn * 0, turn.cos()]
    )
    assert torch.equal(mirror_tbs(bend.view(3, 3)), bend.view(3, 3))
