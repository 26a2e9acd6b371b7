"""What a result is worth, frame by frame, and the methods that make one."""

from __future__ import annotations

import pytest
import torch

from model.hands import offset_hand
from model.kinematics import tbs_from_angles
from model.motion import MotionRetargeting, SourceMotion, optimum
from model.quality import frame_quality, jerk
from model.topology import ROOTS
from tests.helpers import plausible_offsets

ALL = torch.ones(21, dtype=torch.bool)


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
    quality = frame_quality(source, result, ALL)
    assert torch.allclose(quality.s_finger, torch.full((12,), 0.95, dtype=torch.float64), atol=1e-6)
    assert torch.allclose(quality.s_palm, torch.ones(12, dtype=torch.float64), atol=1e-6)
    assert quality.excess.max() < 1e-3
    assert jerk(result.local, ALL) == pytest.approx(jerk(source.local, ALL), rel=1e-2)


def test_the_optimum_is_above_the_copy_and_the_optimiser_between():
    source, target = motion(), hand(5)
    scores = [
        float(frame_quality(source, result, ALL).s_finger.mean())
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
    one, two = (frame_quality(source, result, mask) for result in (first, second))
    for name in ("s_finger", "s_palm", "excess"):
        assert torch.equal(getattr(one, name), getattr(two, name)), name
    assert jerk(first.local, mask) == jerk(wild, mask)
    assert float(one.s_finger.max()) <= 1 - 1 / 16 + 1e-9


def test_joints_beyond_their_limits_are_counted_in_degrees():
    source = motion(4)
    angles = torch.zeros(4, 5, 3, 3, dtype=torch.float64)
    angles[:, 3, 1, 2] = torch.deg2rad(torch.tensor(40.0, dtype=torch.float64))  # 12° are allowed
    quality = frame_quality(source, hand(0).with_tbs(tbs_from_angles(angles)), ALL)
    assert torch.allclose(quality.excess[:, 3, 1], torch.full((4,), 28.0, dtype=torch.float64), atol=0.5)
    assert float(quality.excess.sum()) == pytest.approx(float(quality.excess[:, 3, 1].sum()), abs=1e-3)
