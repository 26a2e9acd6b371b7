"""Poses from points: points are met, poses are those that made them, limits are kept."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from data.points.hand import fitted
from data.points.motion import _poses
from data.points.solve import Fingers, solve
from model.kinematics import tbs_from_angles
from model.limits import BEND, JointLimits
from tests.data.points.hands import angles, hand_points, open_hand, palm


def fingers() -> Fingers:
    hand = open_hand()
    rest, axes = hand.rest.double(), hand.axes.double()
    bones = hand.offsets.double()[1:].reshape(5, 4, 3).numpy()
    rows = (axes[:, :1] @ rest[:, :1].mT)[:, 0]
    return Fingers(
        rows.numpy(), bones[:, 0], np.linalg.norm(bones[:, 1:], axis=-1), float(np.linalg.norm(bones[0, 0]))
    )


def placed(hand: Fingers, drawn: np.ndarray) -> np.ndarray:
    """(F, 5, 3, 3) where the joints after the roots are: frame after frame along each finger."""
    frame = torch.from_numpy(hand.neutral).mT
    place, result = torch.from_numpy(hand.roots), []
    for joint, turn in enumerate(tbs_from_angles(torch.from_numpy(drawn)).unbind(-3)):
        frame = frame @ turn
        place = place + torch.from_numpy(hand.lengths[:, joint, None]) * frame[..., 0]
        result.append(place)
    return torch.stack(result, dim=-2).numpy()


def test_points_of_poses_within_the_limits_are_met():
    hand = fingers()
    drawn = angles(400, seed=1)
    found, away = solve(hand, placed(hand, drawn))
    np.testing.assert_allclose(away, np.linalg.norm(placed(hand, found) - placed(hand, drawn), axis=-1), atol=1e-9)
    low, high = JointLimits().bounds.numpy()
    assert (found >= low).all() and (found <= high).all()
    away = away * 90 / hand.palm
    assert away.mean() < 0.15 and np.percentile(away, 97) < 0.5 and away.max() < 8


def test_poses_come_back_where_points_tell_them():
    hand = fingers()
    drawn = angles(300, seed=2)
    drawn[..., 0] = 0  # a twist is seen in the next bone only, as its splay is
    drawn[:, :, 1:, 2] *= 0.3
    found, away = solve(hand, placed(hand, drawn))
    assert away.max() * 90 / hand.palm < 0.5
    off = np.degrees(np.abs(found - drawn))
    assert off[:, :4, :, BEND].max() < 3 and off[..., BEND].mean() < 0.5
    assert np.percentile(off, 99) < 6


def test_beyond_the_limits_the_nearest_is_taken():
    hand = fingers()
    drawn = np.zeros((1, 5, 3, 3))
    drawn[:, :4, 1, BEND] = np.radians(-60)  # no finger bends backwards so far
    found, away = solve(hand, placed(hand, drawn))
    np.testing.assert_allclose(found[0, :4, 1, BEND], np.radians(-15), atol=1e-6)
    assert away[0, :4].max() > 0.1 * hand.palm
    nearest = away.copy()
    for change in (np.radians(2), -np.radians(2)):  # turning the root does not help
        moved = found.copy()
        moved[..., 0, BEND] += change
        worse = np.linalg.norm(placed(hand, moved) - placed(hand, drawn), axis=-1)
        assert ((worse**2).sum(-1) > (nearest**2).sum(-1))[0, :4].all()


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", ["HandLong0", "HandShort0"])
def test_a_hand_of_its_own_meets_the_points(tmp_path, side, name):
    points = hand_points(angles(300, seed=3, share=0.5), side, name)
    hand = fitted(points, side)
    local, away = _poses(tmp_path, hand)
    assert local.shape == (300, 15, 3, 3)
    away = away * 90 / palm(points)
    assert away[:, :4].max() < 0.5, "fingers"
    assert np.median(away[:, 4]) < 0.1 and np.percentile(away[:, 4], 95) < 0.5, "thumb"
    wrist = np.linalg.norm(hand.place - points[:, 0], axis=-1)
    assert wrist.max() < 1e-4 and np.abs(np.linalg.det(hand.wrist) - 1).max() < 1e-9


def test_noise_is_not_followed_beyond_itself(tmp_path):
    drawn = angles(200, seed=4, share=0.3)
    points = hand_points(drawn)
    noise = np.random.default_rng(0).normal(scale=0.15 * palm(points) / 9, size=points.shape)
    clean, noisy = (_poses(tmp_path, fitted(each, "right")) for each in (points, points + noise))
    cos = (np.einsum("fjab,fjab->fj", clean[0], noisy[0]) - 1) / 2
    assert np.degrees(np.arccos(np.clip(cos, -1, 1))).mean() < 12
    assert noisy[1].mean() < 0.3 * palm(points) / 9


@pytest.mark.slow
def test_ten_thousand_frames_take_less_than_four_seconds(tmp_path):
    hand = fitted(hand_points(angles(10_000, seed=5, share=0.4)), "right")
    start = time.process_time()
    _poses(tmp_path, hand)
    assert time.process_time() - start < 4
