"""Joints, frames, anchors, semantic matrix and its gradient on reference characters."""

import numpy as np
import pytest
import torch
from pytorch3d.transforms import quaternion_to_matrix

from model.hands import offset_hand
from model.semantics import palm_anchors
from model.topology import SIDES
from tests.helpers import tensor

PRECISIONS = [("f64", torch.float64, 1e-9), ("f32", torch.float32, 1e-5)]


@pytest.fixture(scope="module", params=SIDES)
def reference(golden, request):
    return request.param, np.load(golden / f"geometry_mixamo_{request.param}.npz")


def pose(reference, dtype, items=slice(None)):
    """The reference hands in their poses, and the raw quaternions these come from."""
    side, arrays = reference
    offsets, axes = (tensor(arrays[name][items], dtype)[:, None] for name in ("offsets", "finger_axes"))
    raw = tensor(arrays["bs_in"][items], dtype).requires_grad_()
    return offset_hand(offsets, axes, side).with_tbs(quaternion_to_matrix(raw)), raw


@pytest.mark.parametrize(("suffix", "dtype", "tolerance"), PRECISIONS)
def test_geometry(reference, agree, suffix, dtype, tolerance):
    side, arrays = reference
    posed, _ = pose(reference, dtype)
    finger_coords, palm_coords = posed.semantic_matrix()
    tensor(arrays["finger_axes"], dtype)[:, None]
    found = {
        "hand_rotations": posed.local_all,
        "joints": posed.joints,
        "tbs_global": posed.frames.unflatten(-3, (5, 4)),
        "palm_anchors": palm_anchors(posed.joints),
        "rf": finger_coords,
        "rp": palm_coords,
    }
    for name, values in found.items():
        expected = tensor(arrays[f"{name}_{suffix}"])
        expected = quaternion_to_matrix(expected) if name == "hand_rotations" else expected
        agree(values, expected, tolerance, f"Mixamo, {name} {suffix}")


@pytest.mark.parametrize("first", [slice(0, 1)])
def test_options(reference, agree, first):
    """Without division by the palm's length; and without the rows of the thumb (of the first item's first frame)."""
    _, arrays = reference
    posed, _ = pose(reference, torch.float64, first)
    finger_coords, palm_coords = posed.semantic_matrix(normalise=False)
    agree(finger_coords[:, :1], arrays["rf_unnormalised_f64"], 1e-9, "Mixamo, rf without division f64")
    agree(palm_coords[:, :1], arrays["rp_unnormalised_f64"], 1e-9, "Mixamo, rp without division f64")
    without_thumb = posed.semantic_matrix()[1][:, :1, :16]
    agree(without_thumb, arrays["rp_without_thumb_rows_f64"], 1e-9, "Mixamo, rp without thumb f64")


# The reference has the gradient in double precision only; single precision is held to it too.
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_gradient(reference, agree, dtype, tolerance):
    _, arrays = reference
    posed, raw = pose(reference, dtype)
    finger_coords, palm_coords = posed.semantic_matrix()
    weights = (tensor(arrays[f"grad_weight_{part}"], dtype) for part in ("finger", "palm"))
    total = sum((part * weight).sum() for part, weight in zip((finger_coords, palm_coords), weights, strict=True))
    (gradient,) = torch.autograd.grad(total, raw)
    agree(gradient, arrays["grad_bs_f64"], tolerance, f"Mixamo, gradient {str(dtype).removeprefix('torch.')}")
