"""What a result is worth, frame by frame and by window, and the methods that make one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from model.hands import offset_hand
from model.kinematics import tbs_from_angles
from model.measures import CONTACT, S_FINGER_CEILING, Measures, beyond_limits, gap_closed, jerk, measure
from model.motion import MotionRetargeting, SourceMotion, optimum
from model.semantics import SourceDirections, semantic_matrix
from model.topology import ROOTS, TIPS
from tests.helpers import DEVICES, assert_close, plausible_offsets, rotations

ALL = torch.ones(21, dtype=torch.bool)


def posed(*batch, seed=0):
    offsets, axes = plausible_offsets(*batch, seed=seed), rotations(*batch, 5, 4, seed=seed)
    return offset_hand(offsets, axes, "right").with_tbs(rotations(*batch, 5, 3, seed=seed + 1))


class TestSimilarity:
    @pytest.mark.parametrize("device", DEVICES)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_a_hand_means_what_it_means(self, dtype, device):
        """Finger similarity ends at 0.95, since the zero diagonal counts; palm similarity at 1."""
        hand = posed(3, 2)
        matrix = hand.semantic_matrix().map(lambda part: part.to(device, dtype))
        result = SimpleNamespace(joints=hand.joints.to(device, dtype), frames=hand.frames.to(device, dtype))
        found = measure(SourceDirections(matrix), result).by_window()
        assert S_FINGER_CEILING == 0.95
        assert_close(found["S_finger"], torch.full((3,), 0.95), 1e-6)
        assert_close(found["S_palm"], torch.ones(3), 1e-6)

    def test_size_does_not_matter(self):
        hand = posed(2, 2)
        directions = SourceDirections(hand.semantic_matrix(normalise=False))
        found = measure(directions, SimpleNamespace(joints=100 * hand.joints, frames=hand.frames))
        assert_close(found.s_finger, torch.full((2, 2), 0.95, dtype=torch.float64), 1e-12)
        assert_close(found.s_palm, torch.ones(2, 2), 1e-12)

    def test_means_over_time_of_cosines(self):
        source, result = posed(2, 3, seed=1), posed(2, 3, seed=5)
        found = measure(SourceDirections(source.semantic_matrix()), result).by_window()
        pairs = zip(source.semantic_matrix(), result.semantic_matrix(), strict=True)
        for name, (theirs, ours) in zip(("S_finger", "S_palm"), pairs, strict=True):
            length = (theirs.norm(dim=-1) * ours.norm(dim=-1)).clamp_min(1e-30)
            assert_close(found[name], ((theirs * ours).sum(-1) / length).flatten(1).mean(1), 1e-12)

    def test_masks(self):
        """Query joints of the finger part, anchors of the palm part."""
        source, result = posed(2, 3, seed=1), posed(2, 3, seed=5)
        directions = SourceDirections(source.semantic_matrix())
        finger, palm = directions.cosines(result.joints, result.frames)
        found = measure(directions, result, queries=[0, 7], anchors=[8])
        assert_close(found.s_finger, finger[:, :, [0, 7], :].mean((2, 3)), 1e-14)
        assert_close(found.s_palm, palm[..., [8]].mean((2, 3)), 1e-14)


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

    def pinches(self, source, result):
        """(error, pairs) by window; the frames do not matter."""
        frames = torch.eye(3, dtype=source.dtype).expand(*source.shape[:-2], 20, 3, 3)
        found = measure(
            SourceDirections(semantic_matrix(source, frames)), SimpleNamespace(joints=result, frames=frames)
        )
        found = found.by_window()
        return found["pinch_error"], found["pinch_pairs"]

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
        error, count = self.pinches(source, result)
        assert count.tolist() == [4, 0]
        # In palm lengths (2): 0.6; then thumb to index 0.2, thumb to middle 0.3, index to middle 0.5.
        assert error[0].item() == pytest.approx((0.6 + 0.2 + 0.3 + 0.5) / 2 / 4, rel=1e-12)
        assert error[1].isnan()

    @pytest.mark.parametrize(("distance", "touches"), [(0.99 * CONTACT, 1), (1.01 * CONTACT, 0)])
    def test_contact(self, distance, touches):
        source = self.hand(distance, 5)[None, None]
        assert self.pinches(source, source)[1].item() == touches

    def test_every_pair_of_tips_counts_once(self):
        joints = torch.zeros(1, 1, 21, 3, dtype=torch.float64)
        joints[..., 1, 0] = 1
        assert self.pinches(joints, joints)[1].item() == 10

    def test_a_perfect_copy_has_the_sources_distance(self):
        joints = self.hand(0.01, 5)[None, None]
        error, _ = self.pinches(joints, 3 * joints)
        assert error.item() == pytest.approx(0.01, rel=1e-12)


def test_joint_error():
    hand = posed(2, 3)
    recorded = hand.joints.clone()
    recorded[0, 1, 4] += torch.tensor([1.0, -2.0, 2.0])
    found = measure(SourceDirections(hand.semantic_matrix()), hand, recorded=recorded)
    assert_close(found.squared_error, [[0, 9 / 21, 0], [0, 0, 0]], 1e-12)
    assert_close(found.by_window()["mixamo_MSE"], [9 / (3 * 21), 0], 1e-12)
    assert measure(SourceDirections(hand.semantic_matrix()), hand).squared_error is None


def test_the_ceiling_of_hands_with_and_without_a_pinky():
    hand = posed(2, 3)
    present = torch.ones(2, 1, 21, dtype=torch.bool)
    present[1, :, 9:13] = False
    found = measure(SourceDirections(hand.semantic_matrix()), hand, present)
    expected = torch.tensor([1 - 1 / 20, 1 - 1 / 16], dtype=torch.float64)
    torch.testing.assert_close(found.ceiling, expected[:, None].expand(2, 3))
    torch.testing.assert_close(found.s_finger, found.ceiling)


def test_gap_closed():
    """0 is the copy, 1 the optimum; where they are hardly apart, nothing is said."""
    assert gap_closed(0.93, 0.9, 0.94, 1e-3) == pytest.approx(0.75)
    assert gap_closed(0.89, 0.9, 0.94, 1e-3) == pytest.approx(-0.25)
    assert gap_closed(0.94, 0.94, 0.94, 1e-3) is None and gap_closed(0.93, 0.9, 0.904, 5e-3) is None


def hand(seed: int):
    rows = torch.tensor([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]], dtype=torch.float64)
    return offset_hand(plausible_offsets(seed=seed), rows.expand(5, 4, 3, 3).contiguous(), "right")


def motion(frames: int = 12) -> SourceMotion:
    angles = torch.zeros(frames, 5, 3, 3, dtype=torch.float64)
    angles[..., 1] = torch.linspace(0.1, 1.2, frames, dtype=torch.float64)[:, None, None]
    return SourceMotion(hand(0), hand(0).with_tbs(tbs_from_angles(angles)).local, 30.0)


@pytest.mark.parametrize("method", ["rotation_copy", "tbs_copy", "optimize"])
def test_the_same_hand_reaches_the_ceiling(method):
    source = motion()
    result = MotionRetargeting(method, source.hand, ALL)(source)
    found = measure(source.directions, result, ALL)
    assert torch.allclose(found.s_finger, torch.full((12,), 0.95, dtype=torch.float64), atol=1e-6)
    assert torch.allclose(found.s_palm, torch.ones(12, dtype=torch.float64), atol=1e-6)
    assert beyond_limits(result.tbs, ALL).max() < 1e-3
    assert jerk(result.local, ALL) == pytest.approx(jerk(source.local, ALL), rel=1e-2)


def test_the_optimum_is_above_the_copy_and_the_optimiser_between():
    source, target = motion(), hand(5)
    scores = [
        float(measure(source.directions, result, ALL).s_finger.mean())
        for result in (
            MotionRetargeting("tbs_copy", target, ALL)(source),
            MotionRetargeting("optimize", target, ALL)(source),
            optimum(target, source, ALL),
        )
    ]
    assert scores[0] < scores[1] <= scores[2] + 1e-3


def test_missing_fingers_do_not_count():
    source, target, mask = motion(), hand(5), ALL.clone()
    mask[ROOTS[2] : ROOTS[2] + 4] = False
    first = MotionRetargeting("tbs_copy", target, mask)(source)
    wild = first.local.clone()
    wild[:, 2] = wild[:, 2] @ wild[:, 0] @ wild[:, 0]
    second = target.with_local_rotations(wild)
    one, two = (measure(source.directions, result, mask) for result in (first, second))
    for name in ("s_finger", "s_palm"):
        assert torch.equal(getattr(one, name), getattr(two, name)), name
    assert torch.equal(beyond_limits(first.tbs, mask), beyond_limits(second.tbs, mask))
    assert jerk(first.local, mask) == jerk(wild, mask)
    assert float(one.s_finger.max()) <= 1 - 1 / 16 + 1e-9


def test_joints_beyond_their_limits_are_counted_in_degrees():
    angles = torch.zeros(4, 5, 3, 3, dtype=torch.float64)
    angles[:, 3, 1, 2] = torch.deg2rad(torch.tensor(40.0, dtype=torch.float64))  # 12° are allowed
    excess = beyond_limits(hand(0).with_tbs(tbs_from_angles(angles)).tbs, ALL)
    assert torch.allclose(excess[:, 3, 1], torch.full((4,), 28.0, dtype=torch.float64), atol=0.5)
    assert float(excess.sum()) == pytest.approx(float(excess[:, 3, 1].sum()), abs=1e-3)


def test_jerk_is_the_third_difference():
    """Quadratic motion has none, cubic motion 3! a frame; measured on all nine numbers of a rotation's matrix."""
    time = torch.arange(8.0)[:, None, None, None, None]
    still = torch.ones(1, 5, 3, 3, 3)
    assert jerk(time**2 * still, ALL) == pytest.approx(0, abs=1e-4)
    assert jerk(time**3 * still, ALL) == pytest.approx(6 * 3)
    assert jerk((time**3 * still)[:3], ALL) == 0


def test_the_pinch_of_a_frame_is_the_mean_of_the_pairs_that_touch():
    touching, gaps = torch.zeros(2, 10, dtype=torch.bool), torch.full((2, 10), 9.0)
    touching[0, [2, 5]], gaps[0, 2], gaps[0, 5] = True, 0.1, 0.3
    found = Measures(torch.ones(2, 20), torch.ones(2, 20), torch.ones(2), touching, gaps)
    assert found.pinch[0] == pytest.approx(0.2) and found.pinch[1].isnan()
