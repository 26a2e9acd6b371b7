"""The motion of one hand, and another frame rate for it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from data.motion.reading import Motion
from model.rotations import slerp


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
            local[between] = slerp(local[between], self.local[after[between]], share[between])
        return replace(self, local=local, frame_rate=rate)
