import numpy as np
import pytest
import torch
from smplx.lbs import lbs
from torch.autograd import gradcheck

from model.kinematics import fingers_of, with_wrist_and_tips
from model.mano import FoldedSkin, ManoHand
from model.mano_file import load_mano
from model.topology import MANO_TO_HAND, PARENTS, SIDES, TIPS
from tests.helpers import DEVICES, assert_close, relative_error, rotations, walk_the_tree

EYE = torch.eye(3, dtype=torch.float64)


@pytest.fixture(scope="module")
def hands(mano_models, mano_axes):
    """side → MANO hand in double precision."""
    return {side: ManoHand.load(mano_models, mano_axes, side, torch.float64) for side in SIDES}


def shapes(*batch, seed=0):
    return 1.5 * torch.randn(*batch, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


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
    def test_they_differ_from_walk_the_tree(self, hands, side):
        """That is why they are regressed: millimetres, for a bent hand."""
        local = rotations(10, 5, 3, angle=1.0)
        shaped = hands[side].with_shape(shapes(10))
        _, chain = walk_the_tree(with_wrist_and_tips(local), shaped.offsets)
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


class TestFolding:
    @pytest.mark.parametrize("side", ["right", "left"])
    def test_shares_cover_the_whole_regressor(self, mano_models, side):
        """Each joint's shares add up to its regressor row, which adds up to one."""
        model, tips = load_mano(mano_models, side)
        skin = FoldedSkin.of(model, tips)
        assert_close(skin.incidence @ skin.mass, np.ones(21), 1e-6)
        assert skin.incidence.sum(0).eq(1).all()  # every share belongs to one joint
        assert len(skin.joint) < 21 * 16 / 3  # far fewer pairs than there could be

    def test_moving_it_keeps_whole_numbers_whole(self, mano_models):
        skin = FoldedSkin.of(*load_mano(mano_models, "right")).to(torch.float32)
        assert skin.offsets.dtype == torch.float32 and skin.joint.dtype == torch.int64
