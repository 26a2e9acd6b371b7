"""Another frame rate for a motion."""

import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix, matrix_to_axis_angle

from run.viewing.motions import HandMotion


def turning(frames: int, rate: float, speed: float = 1.0) -> HandMotion:
    """All joints turn about one axis at `speed` radians per second."""
    axis = torch.nn.functional.normalize(torch.tensor([1.0, 2.0, -0.5]), dim=-1)
    angles = speed * torch.arange(frames) / rate
    local = axis_angle_to_matrix(angles[:, None] * axis)[:, None, None].expand(-1, 5, 3, -1, -1)
    return HandMotion(local.contiguous(), rate)


@pytest.mark.parametrize("rate", [5.0, 12.0, 24.0, 30.0, 60.0, 120.0])
def test_angles_are_those_of_the_times(rate):
    motion = turning(int(2 * rate) + 1, rate)
    shown = motion.at_rate(15.0)
    assert len(shown.local) == 31 and shown.duration == pytest.approx(2.0)
    angles = matrix_to_axis_angle(shown.local).norm(dim=-1)
    assert torch.allclose(angles, (torch.arange(31) / 15)[:, None, None].expand_as(angles), atol=2e-3)


def test_frames_of_both_rates_are_kept_exactly():
    motion = turning(121, 60.0)
    assert torch.equal(motion.at_rate(15.0).local, motion.local[::4])
    slow = turning(11, 5.0)
    assert torch.equal(slow.at_rate(15.0).local[::3], slow.local)


def test_long_motions_are_cut_and_one_frame_stays_one():
    assert turning(600, 60.0).at_rate(15.0, longest=2.0).duration == pytest.approx(2.0)
    assert len(turning(1, 24.0).at_rate(15.0).local) == 1


def test_half_turns_between_frames_stay_rotations():
    motion = HandMotion(torch.stack([torch.eye(3), torch.diag(torch.tensor([1.0, -1.0, -1.0]))]).view(2, 1, 1, 3, 3)
                        .expand(-1, 5, 3, -1, -1).contiguous(), 5.0)  # fmt: skip
    local = motion.at_rate(15.0).local
    assert torch.allclose(local @ local.transpose(-1, -2), torch.eye(3).expand_as(local), atol=1e-5)
