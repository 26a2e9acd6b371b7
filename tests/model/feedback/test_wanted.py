"""What a source asks of a pose, in numbers."""

import pytest
import torch

from model.feedback.chain import frames_last_tbs
from model.feedback.wanted import excess
from model.kinematics import tbs_from_angles
from model.topology import THUMB


def beyond(finger: int, joint: int, axis: int, degrees: float) -> tuple[float, float]:
    """Excess of bend and lean of one joint that is turned about one axis."""
    angles = torch.zeros(1, 5, 3, 3, dtype=torch.float64)
    angles[0, finger, joint, axis] = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    bend, lean = excess(frames_last_tbs(tbs_from_angles(angles)))
    others = bend.clone(), lean.clone()
    for each in others:
        each[finger, joint] = 0
    assert max(float(each.abs().max()) for each in others) < 1e-6
    return float(bend[finger, joint, 0]), float(lean[finger, joint, 0])


@pytest.mark.parametrize(
    ("finger", "joint", "allowed"),
    [(0, 0, 34.0), (0, 1, 17.0), (3, 2, 17.0), (THUMB, 0, 75.0), (THUMB, 1, 29.0), (THUMB, 2, 29.0)],
)
def test_how_far_bend_axes_may_lean(finger, joint, allowed):
    """By splay and by twist, in degrees; 1 − cos beyond."""
    for axis in (0, 2):
        assert beyond(finger, joint, axis, allowed - 0.5)[1] == 0
        expected = torch.deg2rad(torch.tensor([allowed, allowed + 5.0])).cos()
        assert beyond(finger, joint, axis, allowed + 5)[1] == pytest.approx(float(expected[0] - expected[1]), abs=1e-5)


@pytest.mark.parametrize(("finger", "joint", "low", "high"), [(0, 0, -35, 100), (1, 1, -15, 115), (THUMB, 1, -30, 90)])
def test_how_far_joints_may_bend(finger, joint, low, high):
    assert beyond(finger, joint, 1, high - 1.0)[0] == beyond(finger, joint, 1, low + 1.0)[0] == 0
    for degrees in (high + 10.0, low - 10.0):
        assert beyond(finger, joint, 1, degrees)[0] == pytest.approx(torch.pi / 18, abs=1e-4)
