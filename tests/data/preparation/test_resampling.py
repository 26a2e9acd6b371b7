"""Motions at the rate that windows assume, and clips of another skeleton."""

import numpy as np
import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix

from data.formats.bvh import Bvh, read_bvh
from data.preparation import resampling
from data.preparation.resampling import bone_lengths, difference, is_assumed, resampled
from data.rig import find_hand
from model.topology import PARENTS, hand_joint_names
from utils.errors import InputError


def turning(frames: int, rate: float) -> np.ndarray:
    """(F, 2, 3, 3) joints that turn about fixed axes, two and three radians a second."""
    time = torch.arange(frames, dtype=torch.float64) / rate
    axes = torch.nn.functional.normalize(torch.tensor([[1.0, 2, -1], [0, -1, 3]], dtype=torch.float64), dim=-1)
    speeds = torch.tensor([2.0, 3.0], dtype=torch.float64)
    return axis_angle_to_matrix(time[:, None, None] * speeds[:, None] * axes).numpy()


@pytest.mark.parametrize(("rate", "goal"), [(30.0, 60.0), (24.0, 60.0), (120.0, 60.0), (59.0, 60.0), (30.0, 5.0)])
def test_even_turning_stays_even(rate, goal, monkeypatch):
    """Great arcs are exact for a joint that turns evenly; chunks do not show."""
    monkeypatch.setattr(resampling, "_CHUNK", 7)
    shapes = np.arange(31.0)[:, None] * [1.0, -2.0]
    local, line = resampled(turning(31, rate), shapes, 1 / rate, goal)
    count = 1 + int(30 / rate * goal + 1e-6)
    assert len(local) == len(line) == count
    np.testing.assert_allclose(local, turning(count, goal), atol=1e-9)
    np.testing.assert_allclose(line, (np.arange(count) / goal * rate)[:, None] * [1.0, -2.0], atol=1e-9)


def test_every_second_frame_is_a_frame():
    local = turning(21, 120.0)
    found, none = resampled(local, None, 0.008333, 60.0)  # as exporters round it
    assert none is None
    np.testing.assert_allclose(found, local[::2], atol=1e-12)
    assert len(resampled(local[:1], None, 1 / 30, 60.0)[0]) == 1


def test_a_clip_does_not_become_endless():
    with pytest.raises(InputError, match="at most 1000000 frames at 60 per second, found 5999401; give it its true"):
        resampled(np.broadcast_to(np.eye(3), (10_000, 1, 3, 3)), None, 10.0, 60.0)


def test_rates_that_are_meant():
    assert is_assumed(1 / 60, "mixamo") and is_assumed(0.0167, "mixamo") and is_assumed(1 / 59.94, "mixamo")
    assert is_assumed(0.2, "mano") and not is_assumed(0.2, "mixamo") and not is_assumed(1 / 60, "mano")
    assert not is_assumed(1 / 50, "mixamo") and not is_assumed(0.0, "mixamo")


def hand_of(offsets: np.ndarray, without: str = "") -> np.ndarray:
    names = hand_joint_names("mano", "right")
    kept = [joint for joint, name in enumerate(names) if not without or without not in name]
    place = {old: new for new, old in enumerate(kept)}
    parents = [place.get(PARENTS[old], -1) for old in kept]
    turns = np.broadcast_to(np.eye(3), (1, len(kept), 3, 3))
    motion = Bvh.from_rotations([names[old] for old in kept], parents, offsets[kept], turns, frame_time=0.2)
    return bone_lengths(find_hand(motion.joint_names, "right", "x", motion.parents), motion)


def test_which_skeletons_are_another(golden):
    offsets = read_bvh(golden / "bvh" / "mano_clip.bvh").offsets
    same = hand_of(offsets)
    assert difference(same, same) is None
    assert difference(hand_of(2.54 * offsets), same) is None  # another unit
    assert difference(hand_of(offsets * np.where(np.arange(21) == 6, 1.08, 1.0)[:, None]), same) is None
    long = offsets.copy()
    long[6] *= 1.3  # hand order: the ring finger's second joint
    assert difference(hand_of(long), same) == "the bone to ring 2 is 30% longer"
    long[15] *= 0.5
    assert difference(hand_of(long), same) == "the bone to index 3 is 50% shorter, and 1 more differ"
    cartoon = hand_of(offsets, without="pinky")
    assert difference(cartoon, same) == "lacks pinky 1, pinky 2, pinky 3"
    assert difference(same, cartoon) == "also has pinky 1, pinky 2, pinky 3"
