"""What several processes of one training or test (DDP) must do together: all of them call these, or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Trainer


def run_folder(trainer: Trainer) -> Path | None:
    """The run's folder, from the first process; None where nothing is kept (no logger, or a `fast_dev_run`).

    Lightning sends it from process to process each time it is asked for: who asks on the first process alone waits
    for ever.
    """
    folder = trainer.log_dir
    return None if folder is None or trainer.fast_dev_run else Path(folder)


def gathered(trainer: Trainer, value: Any) -> list[Any] | None:
    """The value of each process, in their order, on the first one; None on the others."""
    if trainer.world_size == 1:
        return [value]
    values = [None] * trainer.world_size if trainer.is_global_zero else None
    torch.distributed.gather_object(value, values)
    return values
