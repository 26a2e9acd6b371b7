"""A callback that keeps the gradients of each step, as they are before they are clipped."""

from __future__ import annotations

import os

import torch
from pytorch_lightning import Callback


class KeepGradients(Callback):
    """Write them, on the first process, as a list of {parameter: gradient}.

    Args:
        path: of the file.
    """

    def __init__(self, path: str) -> None:
        self.path, self.kept = path, []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        self.kept.append({name: p.grad.clone() for name, p in pl_module.named_parameters() if p.grad is not None})
        if trainer.is_global_zero:  # now: the process may be killed
            torch.save(self.kept, os.path.abspath(self.path))
