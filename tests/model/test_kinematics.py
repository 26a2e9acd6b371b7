from math import pi

import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix, matrix_to_quaternion, quaternion_to_matrix
from torch.autograd import gradcheck

from model.kinematics import (
    finger_chain,
    finger_part,
    finger_positions,
    fingers_of,
    local_from_tbs,
    rest_pose,
    tbs_angles,
    tbs_from_angles,
    tbs_from_local,
    with_tips,
    with_wrist,
    with_wrist_and_tips,
)
from model.rotations import unit
from model.topology import ROOTS, SIDES
from tests.helpers import DEVICES, assert_close, plausible_offsets, rotations, walk_the_tree

EYE = torch.eye(3, dtype=torch.float64)


class TestForwardKinematics:
    def test_equals_a_walk_along_the_tree(self):
        local, offsets = rotations(2, 3, 5, 3), plausible_offsets(2, 1)
        turns, places = walk_the_tree(with_wrist_and_tips(local), offsets)
        fingers = finger_chain(local)
        assert_close(with_wrist(fingers), turns, 1e-14)
        assert_close(with_tips(fingers).flatten(2, 3), turns[..., 1:, :, :], 1e-14)
        assert_close(finger_positions(fingers, offsets), places, 1e-14)

    def test_wrist_and_tips_are_added_and_dropped(self):
        local = rotations(2, 5, 3)
        whole = with_wrist_and_tips(local)
        assert torch.equal(finger_part(whole), local)
        for joint in (0, 4, 8, 12, 16, 20):
            assert torch.equal(whole[:, joint], EYE.expand(2, 3, 3))

    @pytest.mark.parametrize("device", DEVICES)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_type_and_device_are_kept(self, device, dtype):
        local, offsets = rotations(2, 5, 3).to(device, dtype), plausible_offsets(2).to(device, dtype)
        rest, fingers = rest_pose(offsets), finger_chain(local)
        places = finger_positions(fingers, offsets)
        for values in (fingers, places, rest, local_from_tbs(rest, local.new_zeros(5, 4, 3, 3), rest)):
            assert values.dtype == dtype and values.device.type == device
        _, expected = walk_the_tree(with_wrist_and_tips(local.double().cpu()), offsets.double().cpu())
        assert_close(places, expected, 1e-5)

    def test_gradients(self):
        local, offsets = rotations(2, 5, 3).requires_grad_(), plausible_offsets(2).requires_grad_()
        assert gradcheck(lambda turns, bones: finger_positions(finger_chain(turns), bones), (local, offsets))


class TestRestPose:
    @pytest.mark.parametrize("side", SIDES)
    def test_fingers_become_straight_flat_and_parallel(self, side):
        offsets = plausible_offsets(6, side=side)
        _, places = walk_the_tree(with_wrist_and_tips(rest_pose(offsets)), offsets)
        bones = fingers_of(places).diff(dim=-2)  # (6, 5, 3, 3)
        normal = unit(torch.linalg.cross(offsets[:, ROOTS[3]], offsets[:, ROOTS[2]], dim=-1))
        assert (bones * normal[:, None, None]).sum(-1).abs().max() < 1e-14
        root = offsets[:, ROOTS[0]]
        middle = unit(root - (root * normal).sum(-1, keepdim=True) * normal)
        assert_close(unit(bones[:, :4]), middle[:, None, None].expand(6, 4, 3, 3), 1e-14)
        assert_close(bones.norm(dim=-1), fingers_of(offsets)[..., 1:, :].norm(dim=-1), 1e-14)

    @pytest.mark.parametrize("batch", [1, 3])
    @pytest.mark.parametrize("side", SIDES)
    def test_items_do_not_mix(self, side, batch):
        """A cross product that picks the first dimension of length three would mix a batch of three."""
        offsets = plausible_offsets(batch, side=side, seed=4)
        together = rest_pose(offsets)
        alone = torch.stack([rest_pose(item) for item in offsets])
        assert torch.allclose(together, alone, rtol=0, atol=1e-14)

    def test_left_is_the_mirror_of_right(self):
        mirror = torch.diag(torch.tensor([-1.0, 1, 1], dtype=torch.float64))
        right = plausible_offsets(3)
        assert_close(rest_pose(right @ mirror), mirror @ rest_pose(right) @ mirror, 1e-14)

    def test_size_does_not_matter(self):
        offsets = plausible_offsets(2)
        assert_close(rest_pose(offsets * 0.01), rest_pose(offsets), 1e-13)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_bones_that_need_no_turn_are_not_turned(self, dtype):
        offsets = torch.zeros(21, 3, dtype=dtype)
        offsets[[1, 5, 9, 13, 17]] = torch.tensor(
            [[-9.0, 0, 0], [-8.5, 0, -2], [-7.5, 0, -4], [-8.5, 0, 2], [-3, 0, 3]], dtype=dtype
        )
        offsets.view(21, 3)[[2, 3, 4, 6, 7, 8, 10, 11, 12, 14, 15, 16, 18, 19, 20], 0] = -3
        offsets.requires_grad_()
        rest = rest_pose(offsets)
        assert torch.equal(rest, torch.eye(3, dtype=dtype).expand_as(rest))
        (gradient,) = torch.autograd.grad((rest * torch.randn_like(rest)).sum(), offsets)
        assert gradient.isfinite().all()

    def test_bones_far_off_are_turned_all_the_way(self):
        """A finger modelled pointing 130° to the side; the reference stopped at 90°, turned by the sine's angle."""
        offsets = plausible_offsets(2, seed=1)
        sideways = tbs_from_angles(torch.tensor([0.0, 130 / 180 * pi, 0.4], dtype=torch.float64))
        offsets[:, 14] = offsets[:, 14] @ sideways.T
        _, places = walk_the_tree(with_wrist_and_tips(rest_pose(offsets)), offsets)
        bones = unit(fingers_of(places).diff(dim=-2))
        assert_close(bones[:, 3], bones[:, 0], 1e-13)

    @pytest.mark.parametrize("bends", [(92.0, 81, 109), (30, 100, 70), (80, 90, 60)])
    @pytest.mark.parametrize("side", SIDES)
    def test_a_hand_that_rests_in_a_fist_opens_as_it_closed(self, side, bends):
        """Bones past 90 degrees have no way in the palm: the published steps turned them about themselves."""
        offsets = plausible_offsets(16, side=side).mean(0)
        turn = tbs_from_angles(torch.tensor([[0.0, bend, 0] for bend in bends], dtype=torch.float64) * pi / 180)
        sign = -1.0 if side == "right" else 1.0
        axes = torch.tensor([[sign, 0, 0], [0, 0, -sign], [0, 1, 0]], dtype=torch.float64)
        closed = EYE.expand(5, 3, 3, 3).clone()
        closed[:4] = axes.mT @ turn @ axes
        fist = offsets.clone()
        fingers_of(fist)[:, 1:] = (finger_chain(closed) @ fingers_of(offsets)[:, 1:, :, None])[..., 0]
        assert (fingers_of(fist)[:4, 1:, 1].sum(-1) < 0).all()  # palmwards
        opened = finger_chain(rest_pose(fist)) @ finger_chain(closed)
        apart = matrix_to_quaternion(opened[:4] @ finger_chain(rest_pose(offsets))[:4].mT)[..., 0].abs()
        assert 2 * torch.acos(apart.clamp(max=1)).max() < 8 / 180 * pi

    def test_gradients(self):
        offsets = plausible_offsets(3).requires_grad_()
        assert gradcheck(lambda offsets: rest_pose(offsets), offsets, fast_mode=True)


class TestTwistBendSplay:
    def test_there_and_back(self):
        local, axes, rest = rotations(2, 3, 5, 3), rotations(2, 1, 5, 4, seed=1), rotations(2, 1, 5, 3, seed=2)
        assert_close(local_from_tbs(tbs_from_local(local, axes, rest), axes, rest), local, 1e-14)

    def test_formula(self):
        """S = Qᵀ Rᵀ F Q with Q the transposed rows, joint by joint."""
        local, axes, rest = rotations(5, 3), rotations(5, 4, seed=1), rotations(5, 3, seed=2)
        tbs = tbs_from_local(local, axes, rest)
        for finger in range(5):
            for joint in range(3):
                columns = axes[finger, joint].T
                expected = columns.T @ rest[finger, joint].T @ local[finger, joint] @ columns
                assert_close(tbs[finger, joint], expected, 1e-14)

    def test_both_signs_of_a_quaternion_are_one_rotation(self):
        local, axes, rest = rotations(5, 3), rotations(5, 4, seed=1), rotations(5, 3, seed=2)
        quaternions = matrix_to_quaternion(local)
        for sign in (1, -1, 3):
            assert_close(tbs_from_local(quaternion_to_matrix(sign * quaternions), axes, rest),
                         tbs_from_local(local, axes, rest), 1e-13)  # fmt: skip

    def test_a_pure_bend_turns_about_the_bend_axis(self):
        axes, angles = rotations(5, 4), torch.zeros(5, 3, 3, dtype=torch.float64)
        angles[..., 1] = 0.7
        local = local_from_tbs(tbs_from_angles(angles), axes, EYE.expand(5, 3, 3, 3))
        assert_close(local, axis_angle_to_matrix(0.7 * axes[:, :3, 1]), 1e-14)

    def test_gradients(self):
        inputs = [rotations(2, 5, n, seed=n).requires_grad_() for n in (3, 4)]
        assert gradcheck(local_from_tbs, (inputs[0], inputs[1], inputs[0]))
        assert gradcheck(tbs_from_local, (inputs[0], inputs[1], inputs[0]))


class TestAngles:
    def test_order_of_the_turns(self):
        """Rx(twist) Ry(bend) Rz(splay)."""
        angles = torch.tensor([0.3, -0.8, 1.1], dtype=torch.float64)
        about = [axis_angle_to_matrix(angle * axis) for angle, axis in zip(angles, EYE, strict=True)]
        assert_close(tbs_from_angles(angles), about[0] @ about[1] @ about[2], 1e-15)

    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-13)])
    def test_there_and_back(self, dtype, tolerance):
        generator = torch.Generator().manual_seed(0)
        angles = torch.rand(50, 3, generator=generator, dtype=dtype) - 0.5
        angles = angles * torch.tensor([6.2, 3.0, 6.2], dtype=dtype)
        assert_close(tbs_angles(tbs_from_angles(angles)), angles, tolerance)

    @pytest.mark.parametrize("bend", [pi / 2, -pi / 2])
    def test_gimbal_lock_gives_the_bend(self, bend):
        found = tbs_angles(tbs_from_angles(torch.tensor([0.0, bend, 0.0], dtype=torch.float64)))
        assert found.isfinite().all() and abs(found[1] - bend) < 1e-7

    def test_gradients(self):
        angles = torch.tensor([[0.2, 0.9, -0.4], [1.0, -0.5, 2.0]], dtype=torch.float64, requires_grad=True)
        assert gradcheck(tbs_from_angles, angles)
        assert gradcheck(tbs_angles, rotations(4, angle=1.2).requires_grad_())
