"""Features of reference motions: BVH, character and shape files in, rows out. Float32, as the references are."""

from pathlib import Path

import numpy as np
import pytest
import torch

from data.character.reading import read_annotated
from data.features.row import compute_features, split
from data.formats.bvh import read_bvh
from data.rig import find_hand
from model.hands import offset_hand
from model.mano import ManoHand
from tests.golden_form import mano_clips, mixamo_clips

RELATIVE, ABSOLUTE = 1e-5, 3e-6
"""The references themselves were computed in float32: their quaternions are off by 1e-6, and by more where a small
change of offsets and rotations (float32 knows them to 1e-7) changes features more: see `spread`."""


def pytest_generate_tests(metafunc):
    golden = Path(metafunc.config.getoption("--golden"))
    for name, clips in (("mixamo_clip", mixamo_clips(golden)), ("mano_clip", mano_clips(golden))):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, clips)


def spread(compute, domain):
    """What rounding does to each part of the features: the largest change when what they come from changes by 1e-7.

    Args:
        compute: ``compute(share)`` gives rows from inputs changed by ``share()``, random factors near one.
    """
    generator = np.random.default_rng(0)
    rows = [torch.from_numpy(compute(share).astype(np.float64)) for share in (
        lambda shape: np.ones(shape), *[lambda shape: 1 + 1e-7 * generator.standard_normal(shape)] * 3)]  # fmt: skip
    exact, *changed = (split(domain, row) for row in rows)
    return {
        name: max((exact.part(name).abs() - other.part(name).abs()).abs().max().item() for other in changed)
        for name in ("axes_t", "finger_coords", "palm_coords", "local_rotations", "tbs")
    }


def assert_same_features(found, expected, domain, rounding):
    """Part by part; quaternions up to sign where the sign is free."""
    found, expected = (split(domain, torch.from_numpy(rows)) for rows in (found, expected))

    def close(ours, theirs, name):
        allowed = {"rtol": RELATIVE, "atol": ABSOLUTE + 3 * rounding.get(name, 0)}
        torch.testing.assert_close(ours, theirs, **allowed)

    static = "offsets" if domain == "mixamo" else "shape"
    for name in (static, "axes_t", "finger_coords", "palm_coords"):
        close(found.part(name), expected.part(name), name)
    for name in ("local_rotations", "tbs"):
        ours, theirs = found.part(name), expected.part(name)
        # q and −q are one rotation: everywhere for local rotations, at half turns for standardised ones.
        free = torch.ones(ours.shape[:-1], dtype=bool) if name == "local_rotations" else theirs[..., 0] < 1e-5
        sign = torch.where(free & ((ours * theirs).sum(-1) < 0), -1.0, 1.0)
        close(ours * sign[..., None], theirs, name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mixamo_clip(golden, mixamo_clip, dtype):
    expected = np.load(golden / "bvh" / f"{mixamo_clip}_features.npz")
    name = str(expected["character"])
    inputs = golden / "inputs"
    hand = read_annotated(inputs / f"{name}_mesh_data.npz", inputs / f"{name}_finger_axis.npz").hand("right")
    motion = read_bvh(golden / "bvh" / f"{mixamo_clip}.bvh")
    found = find_hand(motion.joint_names, "right")
    assert found.domain == "mixamo"
    names = [motion.joint_names[joint].split(":")[-1] for joint in found.indices]
    assert names == [name.split(":")[-1] for name in expected["hand_joint_names"]]
    local = motion.rotations(found.indices)

    def rows(share, dtype=torch.float64):
        offsets, axes = (torch.from_numpy(part) for part in (hand.rest.offsets, hand.axes))
        offsets = offsets * torch.from_numpy(share(tuple(offsets.shape)))
        return compute_features(offset_hand(offsets.to(dtype), axes.to(dtype), "right"), local * share(local.shape))

    ours = rows(np.ones, dtype)
    assert ours.shape == expected["features"].shape
    assert_same_features(ours, expected["features"], "mixamo", spread(rows, "mixamo"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mean_shape", [False, True])
def test_mano_clip(golden, mano_clip, mean_shape, dtype):
    expected = np.load(golden / "bvh" / f"{mano_clip}_features.npz")
    inputs = golden / "inputs"
    files = inputs / "mano_right.npz", inputs / "mano_finger_axis.npz"
    motion = read_bvh(golden / "bvh" / f"{mano_clip}.bvh")
    found = find_hand(motion.joint_names, "right")
    assert found.domain == "mano"
    assert [motion.joint_names[joint] for joint in found.indices] == expected["hand_joint_names"].tolist()
    local = motion.rotations(found.indices)
    theirs = expected["features_mean_shape" if mean_shape else "features"]
    local = local[: len(theirs)]
    shapes = np.zeros((len(local), 10)) if mean_shape else np.load(golden / "bvh" / f"{mano_clip}.npy")
    assert len(shapes) == len(local) == len(theirs)

    def rows(share, dtype=torch.float64):
        hand = ManoHand.load(*files, "right", dtype)
        return compute_features(hand, local * share(local.shape), None if mean_shape else shapes * share(shapes.shape))

    assert_same_features(rows(np.ones, dtype), theirs, "mano", spread(rows, "mano"))
