import dataclasses

import numpy as np
import pytest
import torch
from smplx.lbs import lbs
from torch.autograd import gradcheck

from model.hands import ManoAxes, ManoHand, offset_hand
from model.kinematics import fingers_of, forward_kinematics, with_wrist_and_tips
from model.mano_file import load_mano
from model.topology import MANO_TO_HAND, PARENTS, SIDES, TIPS
from tests.helpers import DEVICES, assert_close, plausible_offsets, relative_error, rotations
from utils.errors import InputError

EYE = torch.eye(3, dtype=torch.float64)


@pytest.fixture(scope="module")
def hands(mano_models, mano_axes):
    """side → MANO hand in double precision."""
    return {side: ManoHand.load(mano_models, mano_axes, side, torch.float64) for side in SIDES}


def shapes(*batch, seed=0):
    return 1.5 * torch.randn(*batch, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class TestOffsetHand:
    def test_joints_are_forward_kinematics(self):
        offsets, axes, tbs = plausible_offsets(2, 1), rotations(2, 1, 5, 4), rotations(2, 4, 5, 3)
        posed = offset_hand(offsets, axes, "right").with_tbs(tbs)
        turns, places = forward_kinematics(posed.local_all, offsets)
        assert_close(posed.joints, places, 1e-14)
        assert_close(posed.global_rotations, turns, 1e-14)
        assert_close(posed.tbs, tbs, 1e-13)

    def test_at_rest(self):
        offsets = plausible_offsets(3)
        posed = offset_hand(offsets, rotations(3, 5, 4), "right").at_rest()
        assert_close(fingers_of(posed.joints).diff(dim=-2), fingers_of(offsets)[..., 1:, :], 1e-14)
        assert torch.equal(posed.local, EYE.expand(3, 5, 3, 3, 3))

    def test_neutral_tbs_is_the_canonical_rest_pose(self):
        hand = offset_hand(plausible_offsets(3), rotations(3, 5, 4), "right")
        assert_close(hand.with_tbs(EYE.expand(3, 5, 3, 3, 3)).local, hand.rest, 1e-14)

    def test_a_positive_bend_closes_the_hand(self, mano_axes):
        """With anatomical axes: twist along the bone, splay up, bend = splay × twist."""
        offsets = plausible_offsets()
        bones = torch.nn.functional.normalize(fingers_of(offsets)[:4, 1:2], dim=-1)
        splay = torch.tensor([0.0, 1, 0], dtype=torch.float64).expand_as(bones)
        bend = torch.nn.functional.normalize(torch.linalg.cross(splay, bones, dim=-1), dim=-1)
        rows = torch.stack([bones, bend, torch.linalg.cross(bones, bend, dim=-1)], dim=-2)
        axes = torch.cat([rows, rows[:1]]).expand(5, 4, 3, 3)
        straight = offset_hand(offsets, axes, "right").with_tbs(EYE.expand(5, 3, 3, 3))
        angle = torch.tensor(0.8, dtype=torch.float64)
        turn = torch.stack([angle.cos(), angle * 0, angle.sin(), -angle.sin(), angle * 0, angle.cos()])
        turn = torch.stack([turn[0], turn[1], turn[2], turn[1], angle * 0 + 1, turn[1], turn[3], turn[4], turn[5]])
        bent = offset_hand(offsets, axes, "right").with_tbs(turn.view(3, 3).expand(5, 3, 3, 3))
        tips = list(TIPS[:4])
        drop = bent.joints[tips, 1] - straight.joints[tips, 1]
        assert (drop < -2).all()  # centimetres towards the palm

    @pytest.mark.parametrize("batch", [1, 3])
    def test_items_do_not_mix(self, batch):
        offsets, axes, tbs = plausible_offsets(batch), rotations(batch, 5, 4), rotations(batch, 5, 3)
        together = offset_hand(offsets, axes, "left").with_tbs(tbs)
        for n in range(batch):
            alone = offset_hand(offsets[n], axes[n], "left").with_tbs(tbs[n])
            assert_close(together.joints[n], alone.joints, 1e-14)
            assert_close(together.frames[n], alone.frames, 1e-14)
            for ours, theirs in zip(together.semantic_matrix(), alone.semantic_matrix(), strict=True):
                assert_close(ours[n], theirs, 1e-13)

    def test_gradients(self):
        inputs = plausible_offsets(2), rotations(2, 5, 4), rotations(2, 5, 3, seed=3)

        def joints_and_frames(offsets, axes, tbs):
            posed = offset_hand(offsets, axes, "right").with_tbs(tbs)
            return posed.joints, posed.frames

        assert gradcheck(joints_and_frames, tuple(values.requires_grad_() for values in inputs), fast_mode=True)

    def test_it_has_no_surface_of_its_own(self):
        with pytest.raises(ValueError, match="model.skinning"):
            offset_hand(plausible_offsets(), rotations(5, 4), "right").at_rest().vertices()

    def test_stages_are_immutable(self):
        hand = offset_hand(plausible_offsets(), rotations(5, 4), "right")
        with pytest.raises(dataclasses.FrozenInstanceError):
            hand.offsets = None
        with pytest.raises(dataclasses.FrozenInstanceError):
            hand.at_rest().joints = None

    def test_unknown_side(self):
        with pytest.raises(ValueError, match="side"):
            offset_hand(plausible_offsets(), rotations(5, 4), "both")


def regressed_joints(model, tips, betas, local):
    """Joints of a MANO hand the long way: skin all vertices with smplx, regress, append tips, put in hand order.

    ``betas (n, 10)``, ``local (n, 5, 3, 3, 3)``; also the vertices, both with the wrist at the origin.
    """
    pose = EYE.repeat(len(betas), 16, 1, 1)
    bones = [MANO_TO_HAND[1 + 4 * finger + k] for finger in range(5) for k in range(3)]
    pose[:, bones] = local.flatten(1, 2)
    vertices, _ = lbs(
        betas, pose, model.v_template, model.shapedirs, model.posedirs, model.J_regressor, model.parents,
        model.lbs_weights, pose2rot=False,
    )  # fmt: skip
    joints = torch.cat([torch.einsum("jv,nvx->njx", model.J_regressor, vertices), vertices[:, tips]], dim=1)
    wrist = joints[:, :1]
    return joints[:, list(MANO_TO_HAND)] - wrist, vertices - wrist


class TestManoHand:
    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
    @pytest.mark.parametrize("side", SIDES)
    def test_joints_are_those_of_the_posed_surface(self, mano_models, mano_axes, side, dtype, tolerance):
        """The folded constants give what skinning 778 vertices and regressing gives."""
        betas, local = shapes(20), rotations(20, 5, 3, angle=2.5)
        hand = ManoHand.load(mano_models, mano_axes, side, dtype)
        posed = hand.with_shape(betas.to(dtype)).with_local_rotations(local.to(dtype))
        joints, vertices = regressed_joints(*load_mano(mano_models, side), betas, local)
        assert posed.joints.dtype == posed.vertices().dtype == dtype
        assert_close(posed.joints, joints, tolerance)
        assert_close(posed.vertices(), vertices, tolerance)

    @pytest.mark.parametrize("side", SIDES)
    def test_they_differ_from_forward_kinematics(self, hands, side):
        """That is why they are regressed: millimetres, for a bent hand."""
        local = rotations(10, 5, 3, angle=1.0)
        shaped = hands[side].with_shape(shapes(10))
        _, chain = forward_kinematics(with_wrist_and_tips(local), shaped.offsets)
        difference = (shaped.with_local_rotations(local).joints - chain).norm(dim=-1)
        assert 5e-4 < difference.max() < 2e-2

    @pytest.mark.parametrize("side", SIDES)
    def test_rest(self, hands, mano_models, side):
        betas = shapes(4)
        shaped = hands[side].with_shape(betas)
        joints, _ = regressed_joints(*load_mano(mano_models, side), betas, EYE.expand(4, 5, 3, 3, 3))
        parents = [max(parent, 0) for parent in PARENTS]
        assert_close(shaped.offsets, joints - joints[:, parents], 1e-12)
        assert_close(shaped.at_rest().joints, joints, 1e-12)
        assert shaped.offsets[:, 0].abs().max() == 0

    def test_shape_and_time_broadcast(self, hands):
        betas, tbs = shapes(2, 1), rotations(2, 3, 5, 3)
        posed = hands["right"].with_shape(betas).with_tbs(tbs)
        repeated = hands["right"].with_shape(betas.expand(2, 3, 10)).with_tbs(tbs)
        for name in ("joints", "frames", "tbs", "local_all", "global_rotations"):
            assert_close(getattr(posed, name), getattr(repeated, name), 1e-13)
        assert_close(posed.vertices(), repeated.vertices(), 1e-13)

    @pytest.mark.parametrize("batch", [(), (1,), (3,), (2, 2)])
    def test_any_batch(self, hands, batch):
        betas, tbs = shapes(*batch), rotations(*batch, 5, 3)
        posed = hands["left"].with_shape(betas).with_tbs(tbs)
        assert posed.joints.shape == (*batch, 21, 3) and posed.vertices().shape == (*batch, 778, 3)
        items = zip(betas.reshape(-1, 1, 10), tbs.reshape(-1, 1, 5, 3, 3, 3), strict=True)
        alone = [hands["left"].with_shape(shape).with_tbs(turn) for shape, turn in items]
        assert_close(posed.joints.reshape(-1, 21, 3), torch.cat([item.joints for item in alone]), 1e-13)
        assert_close(posed.vertices().reshape(-1, 778, 3), torch.cat([item.vertices() for item in alone]), 1e-13)
        frames = torch.cat([item.frames for item in alone])
        assert_close(posed.frames.reshape(-1, 20, 3, 3), frames, 1e-13)

    @pytest.mark.parametrize("side", SIDES)
    def test_axes(self, hands, side):
        """Right-handed orthonormal rows; twist along the bone; splay up."""
        shaped = hands[side].with_shape(shapes(5))
        axes = shaped.axes
        assert_close(axes @ axes.mT, EYE.expand_as(axes), 1e-13)
        assert_close(torch.linalg.cross(axes[..., 2, :], axes[..., 0, :], dim=-1), axes[..., 1, :], 1e-13)
        bones = fingers_of(shaped.offsets)[..., 1:, :]
        assert_close(axes[..., :3, 0, :], bones / bones.norm(dim=-1, keepdim=True), 1e-13)
        assert torch.equal(axes[..., 3, 0, :], axes[..., 2, 0, :])
        assert (axes[..., 2, 1] > 0).all()

    @pytest.mark.parametrize("side", SIDES)
    def test_gradients(self, hands, side):
        """To the pose and the shape, through axes, rest pose, surface and frames."""
        betas, tbs = shapes(2, 1).requires_grad_(), rotations(2, 2, 5, 3, angle=1.5).requires_grad_()

        def pose(betas, tbs):
            posed = hands[side].with_shape(betas).with_tbs(tbs)
            return posed.joints, posed.frames

        assert gradcheck(pose, (betas, tbs), fast_mode=True)

    @pytest.mark.parametrize("device", DEVICES)
    def test_devices(self, hands, device):
        betas, tbs = shapes(2, 1), rotations(2, 3, 5, 3)
        expected = hands["right"].with_shape(betas).with_tbs(tbs)
        hand = hands["right"].to(device=device, dtype=torch.float32)
        posed = hand.with_shape(betas.to(device, torch.float32)).with_tbs(tbs.to(device, torch.float32))
        for name in ("joints", "frames"):
            assert getattr(posed, name).device.type == device
            assert relative_error(getattr(posed, name), getattr(expected, name)) < 1e-5
        assert relative_error(posed.vertices(), expected.vertices()) < 1e-5

    def test_own_tip_vertices(self, mano_models, mano_axes, tmp_path):
        arrays = dict(np.load(mano_axes.parent / "mano_right.npz"))
        tips = np.array([10, 20, 30, 40, 50])
        np.savez(tmp_path / "MANO_RIGHT.npz", **arrays, tip_vertices=tips)
        posed = ManoHand.load(tmp_path, mano_axes, "right", torch.float64).with_shape(shapes(1)).at_rest()
        # index, middle, pinky, ring, thumb of the file; middle, ring, pinky, index, thumb of the hand
        assert_close(posed.joints[:, list(TIPS)], posed.vertices()[:, tips[[1, 3, 2, 0, 4]]], 1e-12)

    def test_faces(self, hands, golden):
        assert np.array_equal(hands["right"].faces, np.load(golden / "inputs" / "mano_right.npz")["f"])

    def test_wrong_number_of_shape_components(self, hands):
        with pytest.raises(ValueError, match="betas.*10"):
            hands["right"].with_shape(torch.zeros(2, 9))

    def test_axes_that_were_not_loaded(self, mano_models):
        shaped = ManoHand.load(mano_models, None, "right", torch.float64).with_shape(shapes(1))
        assert shaped.at_rest().joints.isfinite().all()
        with pytest.raises(ValueError, match="axes"):
            _ = shaped.with_tbs(rotations(1, 5, 3)).joints


class TestManoAxes:
    @pytest.fixture
    def content(self, mano_axes):
        return dict(np.load(mano_axes))

    def test_mapping_and_file_are_the_same(self, mano_axes, content):
        for side in SIDES:
            ours, theirs = ManoAxes.read(content, side), ManoAxes.read(mano_axes, side)
            assert torch.equal(ours.rows, theirs.rows)
            assert torch.equal(ours.bend_barycentric, theirs.bend_barycentric)
            assert torch.equal(ours.bend_triangles, theirs.bend_triangles)

    def test_missing_side(self, content):
        del content["lhand"]
        with pytest.raises(InputError, match="lhand"):
            ManoAxes.read(content, "left")

    @pytest.mark.parametrize("shape", [(5, 4, 3, 3), (4, 3, 3)])
    def test_wrong_shape(self, content, shape):
        with pytest.raises(InputError, match="rhand.*5×3×3"):
            ManoAxes.read({**content, "rhand": np.zeros(shape)}, "right")

    def test_nan(self, content):
        content["rhand"] = np.full((5, 3, 3), np.nan)
        with pytest.raises(InputError, match="rhand"):
            ManoAxes.read(content, "right")

    def test_wrong_barycentrics(self, content):
        with pytest.raises(InputError, match="bend_bary"):
            ManoAxes.read({**content, "rhand_bend_bary": np.zeros((5, 2))}, "right")

    def test_faces_that_do_not_exist(self, content, mano_models):
        content["rhand_bend_index_tri"] = np.full((5, 2), 1538)
        with pytest.raises(InputError, match="1538"):
            ManoHand.load(mano_models, content, "right")
