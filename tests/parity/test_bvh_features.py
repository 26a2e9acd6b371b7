"""Features of reference motions: BVH, character and shape files in, rows out. Float32, as the references are."""

import numpy as np
import pytest
import torch

from data.character.mesh_file import read_character
from data.features.row import compute_features, split
from data.formats.bvh import read_bvh
from data.rig import find_hand
from model.hands import offset_hand
from model.mano import ManoHand

CLIPS = ("mixamo_clip_a", "mixamo_clip_b", "mixamo_clip_c")
TOLERANCE = {"rtol": 1e-5, "atol": 3e-6}
"""The references themselves were computed in float32: their quaternions are off by 1e-6."""


def assert_same_features(found, expected, domain):
    """Part by part; quaternions up to sign where the sign is free."""
    found, expected = (split(domain, torch.from_numpy(rows)) for rows in (found, expected))
    static = "offsets" if domain == "mixamo" else "shape"
    for name in (static, "axes_t", "finger_coords", "palm_coords"):
        torch.testing.assert_close(found.part(name), expected.part(name), **TOLERANCE)
    for name in ("local_rotations", "tbs"):
        ours, theirs = found.part(name), expected.part(name)
        # q and −q are one rotation: everywhere for local rotations, at half turns for standardised ones.
        free = torch.ones(ours.shape[:-1], dtype=bool) if name == "local_rotations" else theirs[..., 0] < 1e-5
        sign = torch.where(free & ((ours * theirs).sum(-1) < 0), -1.0, 1.0)
        torch.testing.assert_close(ours * sign[..., None], theirs, **TOLERANCE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("clip", CLIPS)
def test_mixamo_clip(golden, clip, dtype):
    expected = np.load(golden / "bvh" / f"{clip}_features.npz")
    name = str(expected["character"])
    inputs = golden / "inputs"
    character = read_character(inputs / f"{name}_mesh_data.npz", inputs / f"{name}_finger_axis.npz")
    motion = read_bvh(golden / "bvh" / f"{clip}.bvh")
    found = find_hand(motion.joint_names, "right")
    assert found.domain == "mixamo"
    names = [motion.joint_names[joint].split(":")[-1] for joint in found.indices]
    assert names == [name.split(":")[-1] for name in expected["hand_joint_names"]]
    offsets, axes = (torch.from_numpy(part["right"]).to(dtype) for part in (character.offsets, character.axes))
    rows = compute_features(offset_hand(offsets, axes, "right"), motion.rotations(found.indices))
    assert rows.shape == expected["features"].shape
    assert_same_features(rows, expected["features"], "mixamo")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mean_shape", [False, True])
def test_mano_clip(golden, mean_shape, dtype):
    expected = np.load(golden / "bvh" / "mano_clip_features.npz")
    inputs = golden / "inputs"
    hand = ManoHand.load(inputs / "mano_right.npz", inputs / "mano_finger_axis.npz", "right", dtype)
    motion = read_bvh(golden / "bvh" / "mano_clip.bvh")
    found = find_hand(motion.joint_names, "right")
    assert found.domain == "mano"
    assert [motion.joint_names[joint] for joint in found.indices] == expected["hand_joint_names"].tolist()
    local = motion.rotations(found.indices)
    if mean_shape:
        theirs = expected["features_mean_shape"]
        rows = compute_features(hand, local[: len(theirs)])
    else:
        theirs = expected["features"]
        rows = compute_features(hand, local, np.load(golden / "bvh" / "mano_clip.npy"))
    assert_same_features(rows, theirs, "mano")
