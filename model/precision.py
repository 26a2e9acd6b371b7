"""Mixed precision: only the networks' products are done in few bits.

Rotations, positions, losses and metrics would lose the digits that they are made of, and so stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn


class FewBits(nn.Module):
    """Base of networks that can be trained in mixed precision."""

    mixed: torch.dtype | None = None
    """What products are done in, if not in the type of the weights."""

    def in_few_bits(self, products: Callable[..., Tensor], *inputs: Any) -> Tensor:
        """``products(*inputs)``, in the type of the first of the inputs, whatever it was computed in."""
        if self.mixed is None:
            return products(*inputs)
        with torch.autocast(inputs[0].device.type, self.mixed):
            return products(*inputs).to(inputs[0].dtype)


def networks_only(step: Callable[..., Any]) -> Callable[..., Any]:
    """Leave to :meth:`FewBits.in_few_bits` what Lightning's mixed precision would do to all of a step."""

    @wraps(step)
    def run(self, batch, batch_idx: int) -> Any:
        device = self.device.type
        if not torch.is_autocast_enabled(device):
            return step(self, batch, batch_idx)
        self.mixed = torch.get_autocast_dtype(device)
        try:
            with torch.autocast(device, enabled=False):
                return step(self, batch, batch_idx)
        finally:
            self.mixed = None

    return run
