import pytest
import torch

from model.hands import offset_hand
from model.metrics import (
    CONTACT,
    S_FINGER_CEILING,
    gap_closed,
    joint_error,
    pinch_error,
    s_finger_ceiling,
    semantic_similarity,
)
from model.semantics import SourceDirections
from model.topology import TIPS
from tests.helpers import DEVICES, assert_close, plausible_offsets, rotations


def posed(*batch, seed=0):
    offsets, axes = plausible_offsets(*batch, seed=seed), rotations(*batch, 5, 4, seed=seed)
    return offset_hand(offsets, axes, "right").with_tbs(rotations(*batch, 5, 3, seed=seed + 1))


class TestSimilarity:
    @pytest.mark.parametrize("device", DEVICES)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_a_hand_means_what_it_means(self, dtype, device):
        """Finger similarity ends at 0.95, since the zero diagonal counts; palm similarity at 1."""
        hand = posed(3, 2)
        coords = hand.semantic_matrix().map(lambda part: part.to(device, dtype))
        joints, frames = (part.to(device, dtype) for part in (hand.joints, hand.frames))
        finger, palm = semantic_similarity(SourceDirections(coords), joints, frames)
        assert S_FINGER_CEILING == 0.95
        assert_close(finger, torch.full((3,), 0.95), 1e-6)
        assert_close(palm, torch.ones(3), 1e-6)

    def test_size_does_not_matter(self):
        hand = posed(2, 2)
        directions = SourceDirections(hand.semantic_matrix(normalise=False))
        finger, palm = semantic_similarity(directions, 100 * hand.joints, hand.frames)
        assert_close(finger, [0.95, 0.95], 1e-12)
        assert_close(palm, torch.ones(2), 1e-12)

    def test_means_over_time_of_cosines(self):
        source, result = posed(2, 3, seed=1), posed(2, 3, seed=5)
        directions = SourceDirections(source.semantic_matrix())
        found = semantic_similarity(directions, result.joints, result.frames)
        pairs = zip(source.semantic_matrix(), result.semantic_matrix(), strict=True)
        for value, (theirs, ours) in zip(found, pairs, strict=True):
            length = (theirs.norm(dim=-1) * ours.norm(dim=-1)).clamp_min(1e-30)
            assert_close(value, ((theirs * ours).sum(-1) / length).flatten(1).mean(1), 1e-12)

    def test_masks(self):
        """Query joints of the finger part, anchors of the palm part."""
        source, result = posed(2, 3, seed=1), posed(2, 3, seed=5)
        directions = SourceDirections(source.semantic_matrix())
        finger, palm = directions.cosines(result.joints, result.frames)
        found = semantic_similarity(directions, result.joints, result.frames, [0, 7], [8])
        assert_close(found[0], finger[:, :, [0, 7], :].mean((1, 2, 3)), 1e-14)
        assert_close(found[1], palm[..., [8]].mean((1, 2, 3)), 1e-14)


class TestPinches:
    def hand(self, thumb_to_index, thumb_to_middle, palm=1.0):
        """Joints of one frame: tips far apart along z, but for thumb, index and middle, apart along x."""
        joints = torch.zeros(21, 3, dtype=torch.float64)
        joints[1, 0] = -palm
        for number, tip in enumerate(TIPS):
            joints[tip, 2] = 10.0 * (number + 1)
        joints[[TIPS[0], TIPS[3]], 2] = joints[TIPS[4], 2]
        joints[TIPS[3], 0] = thumb_to_index
        joints[TIPS[0], 0] = -thumb_to_middle
        return joints

    def coords(self, joints):
        """Finger coordinates as far as their lengths go."""
        points = joints[..., 1:, :]
        palm = (joints[..., 1, :] - joints[..., 0, :]).norm(dim=-1)[..., None, None, None]
        return (points.unsqueeze(-3) - points.unsqueeze(-2)) / palm

    def test_counted_by_hand(self):
        """Two windows of two frames. Touching at the source: in window 0 one pair, then thumb, index and middle; in
        window 1 nothing."""
        source = torch.stack([
            torch.stack([self.hand(0.01, 0.5), self.hand(0.004, 0.003)]),
            torch.stack([self.hand(0.021, 0.5), self.hand(3, 4)]),
        ])  # fmt: skip
        result = torch.stack([
            torch.stack([self.hand(0.6, 0.1, palm=2), self.hand(0.2, 0.3, palm=2)]),
            torch.stack([self.hand(0, 0), self.hand(0, 0)]),
        ])  # fmt: skip
        error, count = pinch_error(self.coords(source), result)
        assert count.tolist() == [4, 0]
        # In palm lengths (2): 0.6; then thumb to index 0.2, thumb to middle 0.3, index to middle 0.5.
        assert error[0].item() == pytest.approx((0.6 + 0.2 + 0.3 + 0.5) / 2 / 4, rel=1e-12)
        assert error[1].isnan()

    @pytest.mark.parametrize(("distance", "touches"), [(0.99 * CONTACT, 1), (1.01 * CONTACT, 0)])
    def test_contact(self, distance, touches):
        source = self.hand(distance, 5)[None, None]
        assert pinch_error(self.coords(source), source)[1].item() == touches

    def test_every_pair_of_tips_counts_once(self):
        joints = torch.zeros(1, 1, 21, 3, dtype=torch.float64)
        joints[..., 1, 0] = 1
        assert pinch_error(self.coords(joints), joints)[1].item() == 10

    def test_a_perfect_copy_has_the_sources_distance(self):
        joints = self.hand(0.01, 5)[None, None]
        error, _ = pinch_error(self.coords(joints), 3 * joints)
        assert error.item() == pytest.approx(0.01, rel=1e-12)


def test_joint_error():
    truth = torch.randn(2, 3, 21, 3, dtype=torch.float64)
    joints = truth.clone()
    joints[0, 1, 4] += torch.tensor([1.0, -2.0, 2.0])
    assert_close(joint_error(joints, truth), [9 / (3 * 21), 0], 1e-12)


def test_the_ceiling_of_hands_with_and_without_a_pinky():
    similarity = torch.zeros(2, dtype=torch.float64)
    torch.testing.assert_close(s_finger_ceiling(similarity), torch.full_like(similarity, 0.95))
    present = torch.ones(2, 1, 21, dtype=torch.bool)
    present[1, :, 9:13] = False
    expected = torch.tensor([1 - 1 / 20, 1 - 1 / 16], dtype=torch.float64)
    torch.testing.assert_close(s_finger_ceiling(similarity, present), expected)


def test_gap_closed():
    """0 is the copy, 1 the optimum; where they are hardly apart, nothing is said."""
    assert gap_closed(0.93, 0.9, 0.94, 1e-3) == pytest.approx(0.75)
    assert gap_closed(0.89, 0.9, 0.94, 1e-3) == pytest.approx(-0.25)
    assert gap_closed(0.94, 0.94, 0.94, 1e-3) is None and gap_closed(0.93, 0.9, 0.904, 5e-3) is None
