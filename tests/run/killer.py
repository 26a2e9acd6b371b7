"""A callback that kills its process as `kill -9` does: nothing is cleaned up."""

import os
import signal

from pytorch_lightning import Callback


class KillAt(Callback):
    """Kill after (or during) the step with this number.

    Args:
        step: optimiser steps done.
        moment: "batch" (before anything is saved), "validation" or "epoch" (before the end of the epoch is saved).
    """

    def __init__(self, step: int, moment: str = "batch") -> None:
        self.step, self.moment = step, moment

    def _maybe(self, trainer, moment: str) -> None:
        if moment == self.moment and trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_train_batch_end(self, trainer, *_) -> None:
        self._maybe(trainer, "batch")

    def on_validation_start(self, trainer, *_) -> None:
        self._maybe(trainer, "validation")

    def on_train_epoch_end(self, trainer, *_) -> None:
        self._maybe(trainer, "epoch")
