from math import pi

import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix, matrix_to_axis_angle, rotation_6d_to_matrix
from torch.autograd import gradcheck

from model.rotations import (
    align,
    axis_angle,
    orthonormal,
    rotation_from_rows,
    rotation_vector,
    safe_atan2,
    slerp,
    unit,
    unit_or_zero,
)
from tests.helpers import assert_close, rotations

AXIS = unit(torch.tensor([[1.0, 2, -1]]).double())
EYE = torch.eye(3, dtype=torch.float64)


def about(axis, angle):
    return axis_angle_to_matrix(axis * angle)


class TestUnit:
    def test_zero_stays_zero(self):
        vectors = torch.tensor([[3.0, 0, 4], [0, 0, 0], [1e-5, 0, 0]])
        for scaled in (unit(vectors), unit_or_zero(vectors)):
            assert_close(scaled, [[0.6, 0, 0.8], [0, 0, 0], [1, 0, 0]], 1e-6)

    def test_gradient_at_zero_is_finite(self):
        vector = torch.zeros(3, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(unit(vector).sum(), vector)
        assert gradient.isfinite().all()


class TestAlign:
    @pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 1.0, pi / 2, 2.5, pi - 1e-2])
    def test_any_angle(self, angle):
        axis = unit(torch.tensor([[0.0, 1, 2]]).double())
        assert (AXIS * axis).sum().abs() < 1e-15
        target = (about(axis, angle) @ AXIS.unsqueeze(-1)).squeeze(-1)
        assert_close(align(AXIS, target, axis), about(axis, angle), 1e-10)

    def test_opposite_vectors_are_turned_half_around_the_given_axis(self):
        source, axis = torch.tensor([[1.0, 0, 0]]).double(), torch.tensor([[0.0, 0, 1]]).double()
        source.requires_grad_()
        turn = align(source, -source.detach(), axis)
        assert torch.equal(turn.detach()[0], torch.diag(torch.tensor([-1.0, -1, 1])).double())
        (gradient,) = torch.autograd.grad(turn.sum(), source)
        assert gradient.isfinite().all()


class TestFromRows:
    @pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 2e-6), (torch.float64, 1e-14)])
    def test_as_pytorch3d(self, dtype, tolerance):
        rows = torch.randn(3, 2, 6, dtype=dtype, generator=torch.Generator().manual_seed(0))
        assert_close(rotation_from_rows(rows), rotation_6d_to_matrix(rows), tolerance)

    def test_gradients(self):
        rows = torch.randn(2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
        assert gradcheck(rotation_from_rows, rows)


class TestOrthonormal:
    def test_rotations_stay(self):
        given = rotations(7)
        assert_close(orthonormal(given), given, 1e-14)

    def test_near_the_polar_factor_of_an_average(self):
        first = rotations(50, seed=1)
        average = torch.lerp(first, first @ about(AXIS, 0.4), 0.3)
        left, _, right = torch.linalg.svd(average)
        assert_close(orthonormal(average), left @ right, 2e-3)


class TestRotationVector:
    @pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-3, 1.0, 2.0, 3.1])
    def test_axis_times_angle(self, angle):
        assert_close(rotation_vector(about(AXIS, angle)), AXIS * angle, 1e-9)


class TestAxisAngle:
    def test_as_pytorch3d(self):
        given = rotations(20, seed=2)
        axis, angle = axis_angle(given)
        assert_close(axis * angle.unsqueeze(-1), matrix_to_axis_angle(given), 1e-7)
        assert ((angle >= 0) & (angle <= pi)).all()

    def test_identity_has_no_axis_and_no_gradient(self):
        given = EYE.clone().requires_grad_()
        axis, angle = axis_angle(given)
        (gradient,) = torch.autograd.grad(axis.sum() + angle, given)
        assert not axis.any() and not angle.any() and not gradient.any()


class TestSafeAtan2:
    def test_angle_and_radius(self):
        angle, radius = safe_atan2(torch.tensor(3.0), torch.tensor(-4.0))
        assert_close(angle, torch.atan2(torch.tensor(3.0), torch.tensor(-4.0)), 0)
        assert_close(radius, torch.tensor(5.0), 1e-7)

    @pytest.mark.parametrize("size", [0.0, 1e-5])
    def test_no_gradient_near_the_origin(self, size):
        y, x = (torch.tensor(size, dtype=torch.float64, requires_grad=True) for _ in range(2))
        gradients = torch.autograd.grad(sum(safe_atan2(y, x)), (y, x))
        assert not any(gradients)


class TestSlerp:
    @pytest.mark.parametrize("angle", [0.0, 1e-6, 0.5, 3.0])
    @pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
    def test_share_of_the_way(self, angle, share):
        first = rotations(1, seed=3)
        second, expected = first @ about(AXIS, angle), first @ about(AXIS, share * angle)
        assert_close(slerp(first, second, torch.full((1, 1), share, dtype=torch.float64)), expected, 1e-9)
