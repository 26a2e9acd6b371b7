"""Cameras and lines of the pictures; their look is checked by eye."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data.axes.estimate import estimate_axes
from model.topology import INDEX, PINKY, SIDES
from run.axes.pictures import axes_page, axis_lines, hand_camera
from run.drawing.render import camera


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("view", ["palm", "back", "side"])
def test_cameras_are_those_of_the_renderer_for_hands_of_the_usual_frame(rest_hand, side, view):
    found = hand_camera(rest_hand("Hand05", side), view)
    np.testing.assert_allclose(found @ found.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(found) == pytest.approx(1)
    assert (found * camera(view, side)).sum(1).min() > 0.95


def test_turned_hands_look_the_same(rest_hand):
    turn = Rotation.from_euler("xyz", [40, 70, 10], degrees=True).as_matrix()
    upright, turned = rest_hand("Hand05"), rest_hand("Hand05", "right", turn)
    np.testing.assert_allclose(hand_camera(turned) @ turn, hand_camera(upright), atol=1e-4)


def test_lines_of_missing_fingers_are_left_out(rest_hand):
    hand = rest_hand()
    axes = estimate_axes(hand).axes
    lines = axis_lines(hand, axes, 2.0)
    assert len(lines) == 45
    for line in lines:
        assert np.linalg.norm(line.ends[1] - line.ends[0]) == pytest.approx(2.0)
    joints = hand.joints.copy()
    joints[9:13] = np.nan
    fewer = axis_lines(replace(hand, joints=joints), axes, 2.0)
    assert (
        len(fewer) == 36 and PINKY not in {line.finger for line in fewer} and INDEX in {line.finger for line in fewer}
    )


def test_page_has_a_row_a_hand(rest_hand):
    estimates = [estimate_axes(rest_hand("Hand05", side)) for side in SIDES]
    one, two = axes_page(estimates[:1], "Hand05"), axes_page(estimates, "Hand05 – both")
    assert one.dtype == np.uint8 and one.shape[1:] == two.shape[1:] and two.shape[0] > 1.8 * one.shape[0]
    assert (one != 255).any(axis=-1).mean() > 0.1
