"""Motions of one hand: reading them from files, and another frame rate for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pytorch3d.transforms import matrix_to_quaternion, quaternion_to_matrix
from torch import Tensor

from data.bvh import read_bvh
from data.preprocess import find_hand_of
from model.kinematics import finger_part
from model.topology import N_JOINTS, TIPS
from utils.errors import InputError

_TURNING = [joint for joint in range(N_JOINTS) if joint not in TIPS]
USUAL_FRAME_TIME = 1 / 30
"""Seconds, where a file gives none."""


@dataclass(frozen=True)
class Motion:
    """Local rotations of one hand over time."""

    domain: str
    local: Tensor
    """``(frames, 5, 3, 3, 3)`` float32; one frame at least."""
    frame_time: float
    """Seconds; above zero."""

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the last."""
        return (len(self.local) - 1) * self.frame_time

    def at_rate(self, rate: float, longest: float = float("inf")) -> Motion:
        """The motion at `rate` frames per second, cut after `longest` seconds.

        Between frames, rotations are interpolated along the shortest way; a frame that both rates have is kept.
        """
        count = int(np.floor(min(self.duration, longest) * rate + 1e-6)) + 1
        place = torch.arange(count, dtype=torch.float64) / (rate * self.frame_time)
        whole = place.round()
        place = torch.where((place - whole).abs() < 1e-6, whole, place)  # no interpolation for rounding errors
        before = place.floor().long().clamp(max=len(self.local) - 1)
        after = (before + 1).clamp(max=len(self.local) - 1)
        share = (place - before).float()[:, None, None, None]
        local = self.local[before]
        between = share.flatten() > 0
        if between.any():
            local[between] = _slerp(local[between], self.local[after[between]], share[between])
        return Motion(self.domain, local, 1 / rate)


def _slerp(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """Rotations ``(n, 5, 3, 3, 3)`` at `share` ``(n, 1, 1, 1)`` of the way from `first` to `second`."""
    a, b = matrix_to_quaternion(first), matrix_to_quaternion(second)
    cos = (a * b).sum(-1, keepdim=True)
    b = torch.where(cos < 0, -b, b)
    angle = cos.abs().clamp(max=1).acos()
    # Near angles weigh linearly: there the sine would divide by nearly nothing.
    near = angle < 1e-4
    sine = torch.where(near, torch.ones_like(angle), angle.sin())
    weights = [torch.where(near, part, (part * angle).sin() / sine) for part in (1 - share, share)]
    return quaternion_to_matrix(torch.nn.functional.normalize(weights[0] * a + weights[1] * b, dim=-1))


def read_motion(path: str | Path, side: str, domain: str | None = None) -> Motion:
    """The motion of a hand in a BVH file.

    Args:
        path: the file.
        side: ``"right"`` or ``"left"``.
        domain: whose joints are expected (``"mixamo"`` or ``"mano"``); None takes what is there.

    Raises:
        InputError: the file is missing or damaged, or has no such hand or no frame.
    """
    path = Path(path)
    bvh = read_bvh(path)
    found = find_hand_of(bvh, side, path)
    if domain is not None and found.domain != domain:
        raise InputError(f"{path}: expected the joints of a {domain} hand, found those of a {found.domain} hand")
    if bvh.n_frames == 0:
        raise InputError(f"{path}: expected at least one frame, found none; export it again")
    local = torch.eye(3).repeat(bvh.n_frames, N_JOINTS, 1, 1)
    rotations = bvh.rotations([found.indices[joint] for joint in _TURNING])
    local[:, _TURNING] = torch.from_numpy(rotations).float()
    return Motion(found.domain, finger_part(local).contiguous(), bvh.frame_time or USUAL_FRAME_TIME)
