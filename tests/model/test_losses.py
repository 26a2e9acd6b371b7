from math import pi, sin

import numpy as np
import pytest
import torch
from pytorch3d.transforms import (
    axis_angle_to_matrix,
    matrix_to_quaternion,
    quaternion_to_matrix,
    rotation_6d_to_matrix,
)
from torch.autograd import gradcheck

from model.kinematics import tbs_angles, tbs_from_angles
from model.losses import AnatomicalLoss, distance_term, finger_weights, unit_rows
from tests.helpers import DEVICES, assert_close, rotations

EVERY = [(kind, method, corrected) for kind in ("euler", "axis") for method in ("asrn", "dm") for corrected in (0, 1)]
FOUR, THUMB = range(4), 4


def one_joint(turn, finger=0, joint=1):
    """A frame ``(1, 5, 3, 3, 3)`` in which all joints rest but one."""
    frame = torch.eye(3, dtype=turn.dtype).repeat(1, 5, 3, 1, 1)
    frame[0, finger, joint] = turn
    return frame


def euler_by_hand(angles, method, saturate):
    """The Euler penalties of ``angles (n, 5, 3, 3)`` (twist, bend, splay), mathematics §6.1, joint by joint."""
    total = np.zeros(3)
    limit = pi / 6 if method == "asrn" else pi / 18
    for frame in angles.numpy():
        for finger, joint in np.ndindex(5, 3):
            twist, bend, splay = frame[finger, joint]
            if saturate:
                bend = np.arcsin(np.clip(np.sin(bend), -1, 2 / pi - 1e-7))
            total[0] += twist**2
            if joint:
                total[1] += splay**2
            else:
                total[1] += max(abs(splay) - (pi / 3 if finger == THUMB else limit), 0) ** 2
            if method == "dm" or joint:
                total[2] += min(bend, 0) ** 2
            else:
                total[2] += min(bend + (pi / 3 if finger == THUMB else pi / 18), 0) ** 2
            total[2] += max(bend - pi / 2, 0) ** 2
    return total / len(angles)


def axis_by_hand(axis, angle, method, corrected):
    """The axis penalties of unit ``axis (n, 5, 3, 3)`` and ``angle (n, 5, 3)``, mathematics §6.1, joint by joint."""
    total = np.zeros(3)
    narrow, wide = [sin(degrees * pi / 180) for degrees in (5, 10, 20)], sin(pi / 3)
    for vectors, turns in zip(axis.numpy(), angle.numpy(), strict=True):
        for finger, joint in np.ndindex(5, 3):
            x, y, z = vectors[finger, joint]
            for term, off in enumerate((abs(x), abs(z), 1 - y)):
                total[term] += off**2 if joint else 0
                if (joint == 0 and finger in FOUR) or (method == "dm" and not corrected):
                    total[term] += max(off - narrow[term], 0) ** 2
                if (finger, joint) == (THUMB, 0):
                    total[term] += max(off - wide, 0) ** 2
            total[2] += max(turns[finger, joint] - pi / 2, 0) ** 2
    return total / len(axis)


class TestEuler:
    @pytest.mark.parametrize("method", ["asrn", "dm"])
    def test_published(self, method):
        tbs = rotations(40, 5, 3)
        expected = euler_by_hand(tbs_angles(tbs), method, saturate=True)
        assert_close(torch.stack(AnatomicalLoss("euler", method)(tbs)), expected, 1e-12)

    @pytest.mark.parametrize("method", ["asrn", "dm"])
    def test_corrected_reads_bends_up_to_180_degrees(self, method):
        generator = torch.Generator().manual_seed(0)
        angles = torch.rand(40, 5, 3, 3, generator=generator, dtype=torch.float64) - 0.5
        # Twist and splay up to ±86°, bend from −89° to 178°: backwards, no joint goes beyond a right angle.
        angles = angles * torch.tensor([3.0, 4.65, 3.0], dtype=torch.float64)
        angles[..., 1] += 0.78
        expected = euler_by_hand(angles, method, saturate=False)
        found = AnatomicalLoss("euler", method, corrected=True)(tbs_from_angles(angles))
        assert_close(torch.stack(found), expected, 1e-12)

    @pytest.mark.parametrize("degrees", [95, 120, 150, 179])
    def test_a_bend_beyond_90_degrees(self, degrees):
        """It costs its excess; the published penalty takes it for a half turn of twist and splay."""
        bend = degrees * pi / 180
        frame = one_joint(tbs_from_angles(torch.tensor([0, bend, 0], dtype=torch.float64)))
        twist, splay, excess = AnatomicalLoss("euler", "asrn", corrected=True)(frame)
        assert twist.item() < 1e-20 and splay.item() < 1e-20
        assert excess.item() == pytest.approx((bend - pi / 2) ** 2, rel=1e-9)
        twist, splay, excess = AnatomicalLoss("euler", "asrn")(frame)
        assert twist.item() == pytest.approx(pi**2) and splay.item() == pytest.approx(pi**2) and excess.item() == 0

    def test_the_published_bend_saturates(self):
        """Between 39.54° and 90° it has no slope; the corrected one has where the limit is exceeded."""
        angles = torch.tensor([0, 100 / 180 * pi, 0], dtype=torch.float64, requires_grad=True)
        slopes = []
        for corrected in (False, True):
            bend = AnatomicalLoss("euler", "asrn", corrected)(one_joint(tbs_from_angles(angles)))[2]
            slopes.append(torch.autograd.grad(bend, angles)[0][1].item())
        assert slopes[0] == 0
        assert slopes[1] == pytest.approx(2 * 10 / 180 * pi, rel=1e-9)

    @pytest.mark.parametrize("method", ["asrn", "dm"])
    def test_hands_within_the_limits_cost_nothing(self, method):
        angles = torch.zeros(3, 5, 3, 3, dtype=torch.float64)
        angles[..., 1] = torch.rand(3, 5, 3, dtype=torch.float64) * pi / 2
        angles[:, :, 0, 2] = 0.1  # roots may splay
        for corrected in (False, True):
            total = sum(AnatomicalLoss("euler", method, corrected)(tbs_from_angles(angles)))
            assert total.item() < 1e-20


class TestAxis:
    @pytest.mark.parametrize("corrected", [False, True])
    @pytest.mark.parametrize("method", ["asrn", "dm"])
    def test_formula(self, method, corrected):
        axis = torch.nn.functional.normalize(torch.randn(30, 5, 3, 3, dtype=torch.float64), dim=-1)
        angle = 0.05 + 3 * torch.rand(30, 5, 3, dtype=torch.float64)
        found = AnatomicalLoss("axis", method, corrected)(axis_angle_to_matrix(axis * angle[..., None]))
        assert_close(torch.stack(found), axis_by_hand(axis, angle, method, corrected), 1e-9)

    def test_dm_limits_of_the_roots(self):
        """Published DM applies them to all joints on top; corrected DM is ASRN's."""
        tbs = rotations(20, 5, 3)
        published, corrected = (torch.stack(AnatomicalLoss("axis", "dm", c)(tbs)) for c in (False, True))
        assert (published > corrected + 0.1).all()
        assert_close(corrected, torch.stack(AnatomicalLoss("axis", "asrn")(tbs)), 0)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_an_unturned_joint_costs_nothing(self, dtype):
        tbs = torch.eye(3, dtype=dtype).repeat(2, 5, 3, 1, 1).requires_grad_()
        terms = AnatomicalLoss("axis", "dm")(tbs)
        (gradient,) = torch.autograd.grad(sum(terms), tbs)
        assert [term.item() for term in terms] == [0, 0, 0]
        assert gradient.abs().max() == 0

    def test_both_signs_of_a_quaternion_are_one_rotation(self):
        quaternions = torch.nn.functional.normalize(torch.randn(9, 5, 3, 4, dtype=torch.float64), dim=-1)
        for kind, method, corrected in EVERY:
            loss = AnatomicalLoss(kind, method, bool(corrected))
            ours, theirs = (torch.stack(loss(quaternion_to_matrix(sign * quaternions))) for sign in (1, -1))
            assert_close(ours, theirs, 1e-12)


SINGULAR = {
    "identity": (0.0, 0.0, 0.0),
    "bend of 90°": (0.0, pi / 2, 0.0),
    "bend of −90°": (0.0, -pi / 2, 0.0),
    "bend of 180°": (0.0, pi, 0.0),
    "twist of 180°": (pi, 0.0, 0.0),
    "splay of 180°": (0.0, 0.0, pi),
    "all at once": (pi / 2, pi / 2, pi / 2),
}


class TestEverywhere:
    @pytest.mark.parametrize(("kind", "method", "corrected"), EVERY)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("place", SINGULAR)
    def test_losses_and_gradients_are_finite(self, place, dtype, kind, method, corrected):
        """To the raw network output of either form, at the rotations where angles or axes are not determined."""
        twist, bend, splay = SINGULAR[place]
        exact = tbs_from_angles(torch.tensor([twist, bend, splay], dtype=torch.float64))
        exact = torch.where(exact.abs() < 1e-15, 0.0, exact).repeat(2, 5, 3, 1, 1).to(dtype)
        loss = AnatomicalLoss(kind, method, bool(corrected))
        forms = [
            (exact[..., :2, :].flatten(-2), rotation_6d_to_matrix),
            (matrix_to_quaternion(exact), quaternion_to_matrix),
        ]
        for raw, decode in forms:
            raw = raw.clone().requires_grad_()
            terms = loss(decode(raw))
            (gradient,) = torch.autograd.grad(sum(terms), raw)
            assert all(term.isfinite() for term in terms) and gradient.isfinite().all()

    @pytest.mark.parametrize(("kind", "method", "corrected"), EVERY)
    def test_gradients(self, kind, method, corrected):
        """Away from the kinks of the limits, which random rotations miss."""
        loss = AnatomicalLoss(kind, method, bool(corrected))
        assert gradcheck(loss, rotations(2, 5, 3, seed=6).requires_grad_(), fast_mode=True)

    @pytest.mark.parametrize(("kind", "method", "corrected"), EVERY)
    @pytest.mark.parametrize("device", DEVICES)
    def test_single_precision_and_devices(self, device, kind, method, corrected):
        loss, tbs = AnatomicalLoss(kind, method, bool(corrected)), rotations(20, 5, 3, angle=2.5)
        found = torch.stack(loss(tbs.to(device, torch.float32)))
        assert found.dtype == torch.float32 and found.device.type == device
        assert_close(found, torch.stack(loss(tbs)), 1e-5)

    @pytest.mark.parametrize(("kind", "method", "corrected"), EVERY)
    def test_batches_are_means(self, kind, method, corrected):
        loss, tbs = AnatomicalLoss(kind, method, bool(corrected)), rotations(3, 2, 5, 3)
        items = torch.stack([torch.stack(loss(frame)) for frame in tbs.flatten(0, 1)])
        assert_close(torch.stack(loss(tbs)), items.mean(0), 1e-13)

    def test_unknown_settings(self):
        with pytest.raises(ValueError, match="anatomical_loss_type.*'angle'"):
            AnatomicalLoss("angle", "asrn")
        with pytest.raises(ValueError, match="method.*'tbs'"):
            AnatomicalLoss("euler", "tbs")


class TestWeights:
    def test_near_joints_count_more(self):
        distance = torch.rand(2, 3, 20, 29, dtype=torch.float64)
        weights = finger_weights(distance, True, 0.05)
        assert_close(weights, torch.softmax(-distance[..., :20], dim=-1) + 0.05, 1e-14)
        assert_close(weights.sum(-1), torch.full((2, 3, 20), 2.0), 1e-14)

    def test_unweighted_is_the_mean(self):
        weights = finger_weights(torch.rand(2, 3, 20, 29), False, 0.05)
        assert weights.shape == (2, 3, 20, 20) and (weights == 1 / 20).all()


class TestDistances:
    @pytest.mark.parametrize("batch", [(1,), (3,), (2, 3)])
    def test_formula(self, batch):
        joints, other = (torch.randn(*batch, 20, 3, dtype=torch.float64) for _ in range(2))

        def rows(points):
            matrix = (points.unsqueeze(-2) - points.unsqueeze(-3)).norm(dim=-1)
            return matrix / matrix.norm(dim=-1, keepdim=True)

        source = (other.unsqueeze(-2) - other.unsqueeze(-3)).norm(dim=-1)
        assert_close(unit_rows(source), rows(other), 1e-14)
        expected = (rows(joints) - rows(other)).square().mean()
        assert_close(distance_term(joints, unit_rows(source)), expected, 1e-12)
        assert_close(distance_term(7 * joints, unit_rows(source)), expected, 1e-12)

    def test_gradients(self):
        joints = torch.randn(2, 20, 3, dtype=torch.float64, requires_grad=True)
        source = unit_rows(torch.rand(2, 20, 20, dtype=torch.float64))
        assert gradcheck(lambda joints: distance_term(joints, source), joints)

    def test_the_same_hand_costs_nothing(self):
        joints = torch.randn(2, 20, 3, dtype=torch.float64, requires_grad=True)
        distances = (joints.unsqueeze(-2) - joints.unsqueeze(-3)).square().sum(-1).detach().sqrt()
        loss = distance_term(joints, unit_rows(distances))
        (gradient,) = torch.autograd.grad(loss, joints)
        assert loss.item() < 1e-30 and gradient.abs().max() < 1e-15
