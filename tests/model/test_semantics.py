import pytest
import torch
from torch.autograd import gradcheck

from model.hands import offset_hand
from model.kinematics import tbs_angles, tbs_from_angles
from model.semantics import (
    SourceDirections,
    pairwise_distances,
    palm_anchors,
    palm_length,
    semantic_matrix,
)
from model.topology import SIDES
from tests.helpers import DEVICES, assert_close, plausible_offsets, rotations


def posed(*batch, side="right", seed=0):
    """Any hand in any pose, axes at random."""
    offsets, axes = plausible_offsets(*batch, side=side, seed=seed), rotations(*batch, 5, 4, seed=seed + 1)
    return offset_hand(offsets, axes, side).with_tbs(rotations(*batch, 5, 3, seed=seed + 2))


def anchors_by_hand(joints):
    wrist, middle, ring, pinky, index, thumb = (joints[i] for i in (0, 1, 5, 9, 13, 17))
    fingers = (middle, ring, pinky, index)
    near = [root / 3 + 2 * wrist / 3 for root in fingers]
    far = [2 * root / 3 + wrist / 3 for root in fingers]
    return torch.stack([*near, *far, (thumb + wrist) / 2])


def matrix_by_hand(joints, frames):
    """Two loops over one hand."""
    points = torch.cat([joints[1:], anchors_by_hand(joints)])
    length = (joints[1] - joints[0]).norm()
    rows = [torch.stack([frames[i].T @ (point - joints[1 + i]) / length for point in points]) for i in range(20)]
    rows = torch.stack(rows)
    return rows[:, :20], rows[:, 20:]


class TestSemanticMatrix:
    @pytest.mark.parametrize("batch", [(), (1,), (3,), (2, 3)])
    def test_equals_two_loops(self, batch):
        hand = posed(*batch)
        finger, palm = hand.semantic_matrix()
        joints, frames = hand.joints.reshape(-1, 21, 3), hand.frames.reshape(-1, 20, 3, 3)
        expected = [matrix_by_hand(*item) for item in zip(joints, frames, strict=True)]
        assert_close(finger.reshape(-1, 20, 20, 3), torch.stack([e[0] for e in expected]), 1e-13)
        assert_close(palm.reshape(-1, 20, 9, 3), torch.stack([e[1] for e in expected]), 1e-13)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_diagonal_is_exactly_zero(self, dtype):
        hand = posed(4)
        finger, _ = semantic_matrix(hand.joints.to(dtype), hand.frames.to(dtype))
        assert finger.diagonal(dim1=-3, dim2=-2).abs().max() == 0

    def test_the_size_of_the_hand_does_not_matter(self):
        hand = posed(2)
        for ours, theirs in zip(semantic_matrix(0.01 * hand.joints, hand.frames), hand.semantic_matrix(), strict=True):
            assert_close(ours, theirs, 1e-13)
        unscaled = hand.semantic_matrix(normalise=False)
        for raw, scaled in zip(unscaled, hand.semantic_matrix(), strict=True):
            assert_close(raw, scaled * palm_length(hand.joints)[:, None, None, None], 1e-13)

    def test_turning_and_moving_the_hand_changes_nothing(self):
        hand, turn = posed(2), rotations(1)[0]
        moved = hand.joints @ turn.T + torch.tensor([3.0, -1, 2], dtype=torch.float64)
        for ours, theirs in zip(semantic_matrix(moved, turn @ hand.frames), hand.semantic_matrix(), strict=True):
            assert_close(ours, theirs, 1e-12)

    @pytest.mark.parametrize("side", SIDES)
    def test_a_mirrored_hand_means_the_same(self, side):
        """Mirrored bones, axes and angles: the same matrix, but for the sign of its bend components."""
        other = SIDES[1 - SIDES.index(side)]
        mirror = torch.tensor([-1.0, 1, 1], dtype=torch.float64)
        offsets, axes, tbs = plausible_offsets(3, side=side), rotations(3, 5, 4), rotations(3, 5, 3, seed=5)
        hand = offset_hand(offsets, axes, side).with_tbs(tbs)
        flip = torch.tensor([1.0, -1, 1], dtype=torch.float64)  # bend = splay × twist changes its sign
        mirrored_tbs = tbs_from_angles(tbs_angles(tbs) * torch.tensor([-1.0, 1, -1], dtype=torch.float64))
        mirrored = offset_hand(offsets * mirror, axes * mirror * flip[:, None], other).with_tbs(mirrored_tbs)
        assert_close(mirrored.joints, hand.joints * mirror, 1e-13)
        for ours, theirs in zip(mirrored.semantic_matrix(), hand.semantic_matrix(), strict=True):
            assert_close(ours, theirs * flip, 1e-12)

    def test_frames(self):
        hand = posed(2)
        axes = hand.shaped.axes.flatten(1, 2)
        expected = [[hand.global_rotations[n, 1 + i] @ axes[n, i].T for i in range(20)] for n in range(2)]
        assert_close(hand.frames, torch.stack([torch.stack(rows) for rows in expected]), 1e-14)

    def test_anchors(self):
        joints = posed().joints
        assert_close(palm_anchors(joints), anchors_by_hand(joints), 1e-15)

    def test_gradients(self):
        hand = posed(2)
        assert gradcheck(semantic_matrix, (hand.joints.requires_grad_(), hand.frames.requires_grad_()), fast_mode=True)


def cosines_by_hand(source, joints, frames):
    """Cosines through the whole matrices; 0 where a vector is."""
    result = []
    for ours, theirs in zip(semantic_matrix(joints, frames), source, strict=True):
        length = ours.norm(dim=-1) * theirs.norm(dim=-1)
        result.append(torch.where(length > 0, (ours * theirs).sum(-1) / length.clamp_min(1e-300), 0.0))
    return result


class TestDirections:
    @pytest.mark.parametrize("device", DEVICES)
    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 1e-13)])
    @pytest.mark.parametrize("batch", [(1,), (3,), (2, 3), (3, 1)])
    def test_cosines_equal_those_of_the_matrices(self, batch, dtype, tolerance, device):
        source, result = posed(*batch, seed=1), posed(*batch, seed=7)
        expected = cosines_by_hand(source.semantic_matrix(), result.joints, result.frames)
        coords = source.semantic_matrix().map(lambda part: part.to(device, dtype))
        found = SourceDirections(coords).cosines(result.joints.to(device, dtype), result.frames.to(device, dtype))
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.dtype == dtype and ours.device.type == device
            assert_close(ours, theirs, tolerance)

    def test_distances(self):
        matrix = posed(2, 3).semantic_matrix()
        expected = torch.cat(matrix, dim=-2).norm(dim=-1)
        assert_close(SourceDirections(matrix).distance, expected, 1e-14)

    def test_the_diagonal_has_neither_cosine_nor_slope(self):
        hand = posed(2)
        directions = SourceDirections(hand.semantic_matrix())
        joints = hand.joints.requires_grad_()
        finger, _ = directions.cosines(joints, hand.frames)
        diagonal = finger.diagonal(dim1=-2, dim2=-1)
        assert diagonal.abs().max() == 0
        (gradient,) = torch.autograd.grad(diagonal.sum(), joints)
        assert gradient.abs().max() == 0

    @pytest.mark.parametrize("batch", [(2,), (1, 2), (3, 1)])
    def test_gradients(self, batch):
        """The gradient is written by hand."""
        directions = SourceDirections(posed(*batch, seed=1).semantic_matrix())
        result = posed(*batch, seed=7)
        joints, frames = result.joints.requires_grad_(), result.frames.requires_grad_()
        assert gradcheck(directions.cosines, (joints, frames))

    @pytest.mark.parametrize("wanted", ["joints", "frames"])
    def test_gradient_of_one_input_alone(self, wanted):
        directions = SourceDirections(posed(2, seed=1).semantic_matrix())
        result = posed(2, seed=7)
        weights = torch.randn(2, 20, 20, dtype=torch.float64)
        both = {name: getattr(result, name).clone().requires_grad_() for name in ("joints", "frames")}
        alone = {name: values.detach().clone().requires_grad_(name == wanted) for name, values in both.items()}
        gradients = []
        for inputs in (both, alone):
            total = (directions.cosines(inputs["joints"], inputs["frames"])[0] * weights).sum()
            gradients.append(torch.autograd.grad(total, inputs[wanted])[0])
        assert_close(gradients[1], gradients[0], 1e-14)

    def test_coincident_joints_are_finite(self):
        """Bones of no length: direction and slope are zero, not NaN."""
        hand = posed(2)
        joints = hand.joints.clone()
        joints[:, 3] = joints[:, 2]
        joints.requires_grad_()
        finger, palm = SourceDirections(semantic_matrix(joints.detach(), hand.frames)).cosines(joints, hand.frames)
        assert finger[:, 1, 2].abs().max() == 0
        (gradient,) = torch.autograd.grad(finger.sum() + palm.sum(), joints)
        assert gradient.isfinite().all()


class TestPairwiseDistances:
    @pytest.mark.parametrize("batch", [(), (1,), (3,), (2, 3)])
    def test_values(self, batch):
        points = torch.randn(*batch, 20, 3, dtype=torch.float64)
        expected = (points.unsqueeze(-2) - points.unsqueeze(-3)).norm(dim=-1)
        assert_close(pairwise_distances(points), expected, 1e-14)

    def test_gradients(self):
        points = torch.randn(2, 20, 3, dtype=torch.float64, requires_grad=True)

        def off_diagonal(points):
            """The diagonal has a kink, at which our gradient is zero."""
            distances = pairwise_distances(points)
            return distances[..., ~torch.eye(20, dtype=torch.bool)]

        assert gradcheck(off_diagonal, points)
        (gradient,) = torch.autograd.grad(pairwise_distances(points).diagonal(dim1=-2, dim2=-1).sum(), points)
        assert gradient.abs().max() == 0
