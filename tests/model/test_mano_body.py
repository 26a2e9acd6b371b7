"""The surface of a MANO hand against smplx, which is the reference."""

from __future__ import annotations

import math

import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix, random_rotations

from model.mano_body import ManoBody
from model.mano_file import find_model_file, read_mano_arrays
from model.smplx_model import load_smplx

SIDES = ("right", "left")


def body(mano_models, side, dtype=torch.float64):
    return ManoBody.of(read_mano_arrays(find_model_file(mano_models, side)), dtype)


def sample(batch, dtype):
    torch.manual_seed(3)
    count = math.prod(batch)
    return (
        torch.randn(*batch, 10, dtype=dtype),
        random_rotations(16 * count or 1, dtype=dtype)[: 16 * count].reshape(*batch, 16, 3, 3),
    )


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 2e-6)])
@pytest.mark.parametrize("batch", [1, 3])
def test_smplx_says_the_same(mano_models, side, dtype, tolerance, batch):
    lbs = pytest.importorskip("smplx.lbs").lbs
    model = body(mano_models, side, dtype)
    betas, rotations = sample((batch,), dtype)
    expected, joints = lbs(
        betas, rotations, model.v_template, model.shapedirs, model.posedirs, model.J_regressor, model.parents,
        model.lbs_weights, pose2rot=False,
    )  # fmt: skip
    vertices, places = model.vertices(betas, rotations)
    torch.testing.assert_close(vertices, expected, rtol=0, atol=tolerance)
    torch.testing.assert_close(places, joints, rtol=0, atol=tolerance)


@pytest.mark.parametrize("batch", [(), (2, 3), (0,)])
def test_any_leading_dimensions(mano_models, batch):
    model = body(mano_models, "right")
    betas, rotations = sample(batch, torch.float64)
    vertices, places = model.vertices(betas, rotations)
    assert vertices.shape == (*batch, len(model.v_template), 3) and places.shape == (*batch, 16, 3)
    if batch == (2, 3):
        torch.testing.assert_close(vertices[1, 2], model.vertices(betas[1, 2], rotations[1, 2])[0])


def test_at_rest_it_is_the_shape(mano_models):
    """Single-precision weights add up to one but for 1e-7."""
    model = body(mano_models, "left")
    betas, _ = sample((2,), torch.float64)
    vertices, places = model.vertices(betas, torch.eye(3).double().expand(2, 16, 3, 3))
    torch.testing.assert_close(vertices, model.shaped(betas), rtol=0, atol=1e-7)
    torch.testing.assert_close(places, model.J_regressor @ model.shaped(betas))


def test_gradients(mano_models):
    model = body(mano_models, "right")
    model = model.to(torch.float64)
    betas, rotations = sample((1,), torch.float64)

    def some(betas, rotations):
        return model.vertices(betas, rotations)[0][:, ::97]

    assert torch.autograd.gradcheck(some, (betas.requires_grad_(), rotations.requires_grad_()))


def test_smplx_own_model_of_the_same_file(mano_models):
    pytest.importorskip("smplx", reason="smplx is not installed")
    theirs = load_smplx(mano_models, "right")
    ours = body(mano_models, "right")
    angles = torch.linspace(-1, 1, 48, dtype=torch.float64)
    betas = torch.linspace(-2, 2, 10, dtype=torch.float64)
    expected = theirs(betas=betas[None], global_orient=angles[None, :3], hand_pose=angles[None, 3:]).vertices[0]
    vertices, _ = ours.vertices(betas, axis_angle_to_matrix(angles.view(16, 3)))
    torch.testing.assert_close(vertices, expected, rtol=0, atol=1e-7)  # smplx adds 1e-8 to rotation vectors
