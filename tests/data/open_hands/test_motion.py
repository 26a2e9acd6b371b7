"""Timing of the motion: holds, minimum-jerk transitions, endings."""

import numpy as np
import pytest

from data.open_hands.motion import angles_over_time, perform
from data.open_hands.shapes import HandShapes


@pytest.fixture(scope="module")
def shapes():
    return HandShapes.load()


def test_motion_passes_through_its_keys_smoothly(shapes):
    performance = perform(shapes, 10, np.random.default_rng(1))
    count = len(performance.shapes)
    angles = angles_over_time(performance, performance.wanted, np.ones(count, bool), 10.0, 600.0)
    assert angles.shape == (6000, 5, 4)
    np.testing.assert_allclose(angles[0], performance.wanted[0, 0], atol=1e-9)
    end = round(performance.holds[0] * 600)
    np.testing.assert_allclose(angles[end], performance.wanted[0, 1], atol=2e-3)
    speed = np.abs(np.diff(angles, axis=0)) * 600
    assert speed.max() < np.radians(90) * 1.9 / (0.5 * 0.35) * 1.5  # 1.9 is the peak of a minimum-jerk transition
    assert np.abs(np.diff(speed, axis=0)).max() < 0.5, "no jumps of velocity"


def test_refused_shapes_are_left_out(shapes):
    performance = perform(shapes, 5, np.random.default_rng(2))
    accepted = np.ones(len(performance.shapes), bool)
    accepted[0] = False
    angles = angles_over_time(performance, performance.wanted, accepted, 2.0, 60.0)
    np.testing.assert_allclose(angles[0], performance.wanted[1, 0], atol=1e-9)
    with pytest.raises(ValueError, match="reach"):
        angles_over_time(performance, performance.wanted, np.zeros_like(accepted), 2.0, 60.0)


def test_shapes_are_drawn_evenly(shapes):
    performance = perform(shapes, 200, np.random.default_rng(3))
    counts = np.bincount(performance.shapes, minlength=len(shapes.names))
    touching = shapes.touching.numpy()
    for kind in (True, False):
        assert np.ptp(counts[touching == kind]) <= 1
    assert 0.5 < counts[touching].sum() / counts.sum() < 0.75
