"""The motion of one hand, and another frame rate for it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from pytorch3d.transforms import matrix_to_quaternion, quaternion_to_matrix
from torch import Tensor

from data.motion.reading import Motion


@dataclass(frozen=True)
class HandMotion:
    """Local rotations of one hand over time."""

    local: Tensor
    """``(frames, 5, 3, 3, 3)`` float32, in the canonical frame; one frame at least."""
    frame_rate: float
    """Frames per second; above zero."""
    whole: Motion | None = None
    """The motion that it is a part of: with the body, and the other hand."""

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the last."""
        return (len(self.local) - 1) / self.frame_rate

    def at_rate(self, rate: float, longest: float = float("inf")) -> HandMotion:
        """The motion at `rate` frames per second, cut after `longest` seconds.

        Between frames, rotations are interpolated along the shortest way; a frame that both rates have is kept.
        """
        count = int(np.floor(min(self.duration, longest) * rate + 1e-6)) + 1
        place = torch.arange(count, dtype=torch.float64) * (self.frame_rate / rate)
        whole = place.round()
        place = torch.where((place - whole).abs() < 1e-6, whole, place)  # no interpolation for rounding errors
        before = place.floor().long().clamp(max=len(self.local) - 1)
        after = (before + 1).clamp(max=len(self.local) - 1)
        share = (place - before).float()[:, None, None, None]
        local = self.local[before]
        between = share.flatten() > 0
        if between.any():
            local[between] = _slerp(local[between], self.local[after[between]], share[between])
        return replace(self, local=local, frame_rate=rate)


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
