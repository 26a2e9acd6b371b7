import dataclasses

import pytest
import torch
from torch.autograd import gradcheck

import model.hands
from model.hands import offset_hand
from model.kinematics import fingers_of
from model.mano import ManoHand
from model.topology import TIPS
from tests.helpers import assert_close, plausible_offsets, rotations, walk_the_tree

EYE = torch.eye(3, dtype=torch.float64)


class TestOffsetHand:
    def test_joints_are_walk_the_tree(self):
        offsets, axes, tbs = plausible_offsets(2, 1), rotations(2, 1, 5, 4), rotations(2, 4, 5, 3)
        posed = offset_hand(offsets, axes, "right").with_tbs(tbs)
        turns, places = walk_the_tree(posed.local_all, offsets)
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


def test_the_published_name_of_the_mano_hand():
    assert model.hands.ManoHand is ManoHand
