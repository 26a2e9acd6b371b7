"""Networks of short windows on motions of any length and rate."""

from __future__ import annotations

from math import exp, pi

import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix

from model.asrn import ASRN
from model.hands import offset_hand
from model.kinematics import tbs_from_angles
from model.measures import jerk
from model.mirror import mirror_axes, mirror_points, mirror_rotations, mirror_tbs
from model.streaming import WINDOW, StreamingNetwork, TimeGrid, Windows
from tests.helpers import plausible_offsets, rotations, set_weights
from utils.errors import InputError


def small_network(is_rhand: bool = True) -> ASRN:
    network = ASRN(hidden_channel=10, static_hidden_channel=6, is_rhand=is_rhand, tbs_input_normalization=False)
    set_weights(network, 1)
    return network.eval()


def right_hand(seed: int):
    axes = torch.eye(3).expand(5, 4, 3, 3) * torch.tensor([-1.0, 1.0, 1.0])[:, None]  # twist to −x, splay up
    axes = torch.stack([axes[..., 0, :], axes[..., 2, :], axes[..., 1, :]], dim=-2)
    return offset_hand(plausible_offsets(seed=seed).float(), axes.contiguous(), "right")


def waving(frames: int, rate: float, hand) -> torch.Tensor:
    """Local rotations of fingers that bend at one to two times a second."""
    time = torch.arange(frames) / rate
    angles = torch.zeros(frames, 5, 3, 3)
    phase = torch.arange(15).view(5, 3)
    angles[..., 1] = 0.7 + 0.6 * torch.sin(time[:, None, None] * (6 + 0.3 * phase) + phase)
    return hand.with_tbs(tbs_from_angles(angles)).local


@pytest.mark.parametrize("frames", [1, 2, 3, 7, 12, 13, 97, 240])
@pytest.mark.parametrize("rate", [5.0, 7.0, 24.0, 29.97, 60.0, 120.0])
def test_any_length_and_rate_gives_as_many_rotations(frames, rate):
    hand = right_hand(0)
    result = StreamingNetwork(small_network(), right_hand(1)).tbs(hand, waving(frames, rate, hand), rate)
    assert result.shape == (frames, 5, 3, 3, 3)
    identity = result @ result.transpose(-1, -2)
    assert torch.allclose(identity, torch.eye(3).expand_as(identity), atol=1e-5)


@pytest.mark.parametrize(("count", "phases"), [(1, 1), (9, 2), (40, 3), (41, 4), (5, 3)])
def test_every_grid_time_lies_in_two_windows_whose_weights_add_up(count, phases):
    grid = TimeGrid(count, 5.0 * phases, phases)
    windows = Windows.over(grid)
    assert windows.times.shape[1] == WINDOW
    for time in range(count):
        for place in (windows.first[time], windows.second[time]):
            assert int(windows.times[place[0], place[1]]) == time
        assert 4 <= int(windows.first[time, 1]) < 8 and int(windows.second[time, 1]) < 4
    steps = windows.times.diff(dim=1)
    assert set(steps.unique().tolist()) <= {0, phases}


def test_blending_equal_predictions_gives_them_back():
    grid = TimeGrid(30, 15.0, 3)
    windows = Windows.over(grid)
    truth = rotations(30, 5, 3, seed=2, dtype=torch.float32)
    assert torch.allclose(windows.blend(truth[windows.times]), truth, atol=1e-5)


@pytest.mark.parametrize("rate", [24.0, 60.0, 29.97])
def test_spreading_keeps_constants_and_straight_lines(rate):
    grid = TimeGrid.of(int(4 * rate), rate)
    line = torch.arange(grid.count, dtype=torch.float64) / grid.rate
    assert torch.allclose(
        grid.spread(torch.ones(grid.count, 2, dtype=torch.float64)), torch.ones(1, dtype=torch.float64)
    )
    frames = torch.arange(grid.frames, dtype=torch.float64) / rate
    inside = (frames > 0.6) & (frames < frames[-1] - 0.6)
    assert torch.allclose(grid.spread(line)[inside], frames[inside], atol=2e-4)


def test_a_grid_is_no_longer_than_memory():
    """Ten seconds from frame to frame: 50 looks a frame."""
    assert TimeGrid.of(1000, 0.1).count == 49_951
    assert TimeGrid.of(1_000_000, 60.0).count == 250_001  # a long motion that is what it says
    with pytest.raises(InputError, match="less than 5.6 hours, found 10000 frames at 0.1 per second"):
        TimeGrid.of(10_000, 0.1)


def test_sampling_hits_frames_and_interpolates_between():
    axis = torch.tensor([0.3, -0.2, 0.9], dtype=torch.float64)
    turned = axis_angle_to_matrix(axis * torch.linspace(0, 1, 49, dtype=torch.float64)[:, None])
    grid = TimeGrid.of(49, 24.0)
    found = grid.sample(turned)
    expected = axis_angle_to_matrix(axis * (torch.arange(grid.count) / grid.rate / 2).clamp(max=1)[:, None])
    assert torch.allclose(found, expected, atol=1e-6)
    exact = TimeGrid.of(50, 60.0)
    assert torch.equal(exact.sample(turned.repeat(2, 1, 1)[:50])[:12], turned.repeat(2, 1, 1)[:48:4][:12])


def test_at_five_frames_a_second_it_is_the_network_on_overlapping_windows():
    network, target, hand = small_network(), right_hand(1), right_hand(0)
    local = waving(8, 5.0, hand)
    found = StreamingNetwork(network, target).tbs(hand, local, 5.0)
    assert found.shape[0] == 8
    longer = StreamingNetwork(network, target).tbs(hand, waving(40, 5.0, hand), 5.0)
    assert torch.allclose(found[:4], longer[:4], atol=0.2)  # the first window is the same, the second sees the end


def test_left_hands_go_through_a_right_network_as_mirror_images():
    network, target, hand = small_network(), right_hand(1), right_hand(0)
    local = waving(50, 30.0, hand)
    right = StreamingNetwork(network, target).tbs(hand, local, 30.0)
    left_hands = [offset_hand(mirror_points(h.offsets), mirror_axes(h.axes), "left") for h in (target, hand)]
    left = StreamingNetwork(network, left_hands[0]).tbs(left_hands[1], mirror_rotations(local), 30.0)
    assert torch.allclose(left, mirror_tbs(right), atol=1e-6)
    network_of_left = small_network(is_rhand=False)
    back = StreamingNetwork(network_of_left, target).tbs(hand, local, 30.0)
    direct = StreamingNetwork(network_of_left, left_hands[0]).tbs(left_hands[1], mirror_rotations(local), 30.0)
    assert torch.allclose(back, mirror_tbs(direct), atol=1e-6)


@pytest.mark.parametrize("rate", [24.0, 60.0, 120.0])
def test_result_is_as_smooth_as_the_source(rate, monkeypatch):
    """Although predictions on the three grids do not agree by a degree."""

    def predicted(self, posed, grid):
        change = 0.3 * posed.semantic_matrix()[0][:, :15, 16].unflatten(1, (5, 3))
        off = 0.02 * (torch.arange(grid.count) % grid.phases - 1)[:, None, None, None]
        return posed.tbs @ axis_angle_to_matrix(change + off)

    monkeypatch.setattr(StreamingNetwork, "_predicted", predicted)
    hand = right_hand(0)
    local = waving(int(4 * rate), rate, hand)
    tbs = StreamingNetwork(small_network(), hand).tbs(hand, local, rate)
    everything = torch.ones(21, dtype=torch.bool)
    ratio = jerk(hand.with_tbs(tbs).local, everything) / jerk(local, everything)
    assert 0.8 < ratio < 1.25


def test_hands_of_two_sides_are_refused():
    hand = right_hand(0)
    left = offset_hand(mirror_points(hand.offsets), mirror_axes(hand.axes), "left")
    with pytest.raises(ValueError, match="one side"):
        StreamingNetwork(small_network(), hand).tbs(left, waving(3, 5.0, hand), 5.0)


def test_a_left_hand_does_in_space_what_its_mirror_image_does():
    """Mirrored here by hand: places and bones in the plane x = 0, axes so that twist and splay are images and bend is
    splay × twist. What a network of right hands makes of left ones is the image of what it makes of the right ones."""
    flip = torch.tensor([-1.0, 1.0, 1.0])

    def image(hand):
        twist, _, splay = (hand.axes * flip).unbind(-2)
        axes = torch.stack([twist, torch.linalg.cross(splay, twist), splay], dim=-2)
        return offset_hand(hand.offsets * flip, axes, "left")

    network, target, hand = small_network(), right_hand(1), right_hand(0)
    local = waving(20, 30.0, hand)
    right = target.with_tbs(StreamingNetwork(network, target).tbs(hand, local, 30.0))
    turned = torch.diag(flip) @ local @ torch.diag(flip)
    left = image(target).with_tbs(StreamingNetwork(network, image(target)).tbs(image(hand), turned, 30.0))
    assert (right.joints - target.at_rest().joints).abs().max() > 1  # centimetres: it moves
    assert torch.allclose(left.joints, right.joints * flip, atol=1e-4)


@pytest.mark.parametrize("rate", [15.0, 60.0])
def test_a_network_that_always_adds_the_same_turn_adds_it(rate, monkeypatch):
    """Behind the source's own rotation: S_src C."""
    turn = axis_angle_to_matrix(torch.tensor([0.2, -0.4, 0.1]))
    monkeypatch.setattr(StreamingNetwork, "_predicted", lambda self, posed, grid: posed.tbs @ turn)
    hand = right_hand(0)
    local = waving(30, rate, hand)
    found = StreamingNetwork(small_network(), hand).tbs(hand, local, rate)
    assert torch.allclose(found, hand.with_local_rotations(local).tbs @ turn, atol=1e-5)


def test_corrections_are_filtered_over_eight_hundredths_of_a_second():
    """A Gaussian lets exp(−(2π f σ)² / 2) of a swing through."""
    grid, swing = TimeGrid.of(600, 60.0), 2.0
    times = torch.arange(grid.count, dtype=torch.float64) / grid.rate
    passed = grid.spread(torch.cos(2 * pi * swing * times))[150:450].abs().max()
    assert abs(float(passed) - exp(-0.5 * (2 * pi * swing * 0.08) ** 2)) < 0.01
