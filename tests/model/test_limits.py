import pytest
import torch

from model.kinematics import tbs_from_angles
from model.limits import JointLimits, turning_axes


def within(*batch, seed=0, dtype=torch.float64):
    """Random angles ``(*batch, 5, 3, 3)`` within the limits."""
    low, high = JointLimits().like(torch.zeros(1, dtype=dtype))
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(*batch, 5, 3, 3, generator=generator, dtype=dtype)


def test_angles_within_come_back():
    """Also those with bends beyond 90°, which a matrix does not show at once."""
    angles = within(200)
    assert (angles[..., 1] > 1.6).any()
    found = JointLimits().nearest_angles(tbs_from_angles(angles))
    assert (tbs_from_angles(found) - tbs_from_angles(angles)).abs().max() < 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bend_of_90_degrees(dtype):
    """Twist and splay turn about one axis there; what they do together must not be lost."""
    angles = torch.zeros(3, 5, 3, 3, dtype=dtype)
    angles[..., 1] = torch.tensor([89.9, 90.0, 90.1], dtype=dtype).deg2rad()[:, None, None]
    angles[:, :4, 2, 1] = 1.5  # the last joints do not bend so far
    angles[..., 0], angles[..., 2] = 0.1, -0.05
    found = JointLimits().nearest_angles(tbs_from_angles(angles))
    assert (tbs_from_angles(found) - tbs_from_angles(angles)).abs().max() < 2e-3
    assert JointLimits().excess(found).max() == 0


def test_beyond_the_limits():
    limits = JointLimits()
    angles = torch.zeros(1, 5, 3, 3, dtype=torch.float64)
    angles[..., 0, 2] = 1.5  # splay
    found = limits.nearest_angles(tbs_from_angles(angles))
    assert limits.excess(angles).max() > 0.4
    assert limits.excess(found).max() == 0
    assert torch.allclose(found[:, :4, 0, 2], limits.bounds[1, :4, 0, 2], atol=1e-4)


def test_single_precision_keeps_the_limits_of_double():
    low, high = JointLimits().like(torch.zeros(1))
    exact = JointLimits().bounds
    assert (low.double() >= exact[0]).all()
    assert (high.double() <= exact[1]).all()


def test_turning_axes():
    """Against finite differences of the frame."""
    angles = within(4, seed=1)
    frames = tbs_from_angles(angles)
    axes = turning_axes(frames, angles)
    for number in range(3):
        step = torch.zeros(3, dtype=torch.float64)
        step[number] = 1e-6
        moved = (tbs_from_angles(angles + step) - tbs_from_angles(angles - step)) / 2e-6
        axis = axes[..., number]
        expected = torch.linalg.cross(axis.unsqueeze(-1).expand_as(frames), frames, dim=-2)
        assert (moved - expected).abs().max() < 1e-8


def test_ranges_must_be_ranges():
    with pytest.raises(ValueError, match="finger_bend"):
        JointLimits(finger_bend=((1, 0), (0, 1), (0, 1)))


def in_degrees(finger: int, joint: int, kind: int, degrees: float) -> torch.Tensor:
    angles = torch.zeros(1, 5, 3, 3, dtype=torch.float64)
    angles[:, finger, joint, kind] = degrees
    return angles.deg2rad()


@pytest.mark.parametrize(
    ("finger", "kind", "lowest", "highest"),
    [
        (0, 1, (-35, -15, -20), (100, 115, 95)),  # fingers bend, and stretch backwards a little
        (3, 2, (-30, -12, -12), (30, 12, 12)),  # spread
        (2, 0, (-15, -12, -12), (15, 12, 12)),  # hardly turn about their bones
        (4, 1, (-60, -30, -30), (90, 90, 100)),  # the thumb
        (4, 2, (-60, -20, -20), (60, 20, 20)),
        (4, 0, (-45, -20, -20), (45, 20, 20)),
    ],
)
def test_how_far_joints_go(finger, kind, lowest, highest):
    """A joint asked to go 10 degrees further stays where an adult's hand does."""
    limits = JointLimits()
    for joint in range(3):
        for edge, way in ((lowest[joint], -1), (highest[joint], 1)):
            assert limits.excess(in_degrees(finger, joint, kind, edge)).max() < 1e-9
            asked = in_degrees(finger, joint, kind, edge + 10 * way)
            assert limits.excess(asked).max().rad2deg() == pytest.approx(10)
            reached = limits.nearest_angles(tbs_from_angles(asked))
            assert reached[0, finger, joint, kind].rad2deg() == pytest.approx(edge, abs=0.1)
