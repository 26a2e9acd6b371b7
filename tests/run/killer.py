"""A callback that kills its process as `kill -9` does: nothing is cleaned up; or stops it as Ctrl-C does."""

import os
import signal

from pytorch_lightning import Callback


class KillAt(Callback):
    """Kill after (or during) the step with this number.

    Args:
        step: optimiser steps done.
        moment: "batch" (before anything is saved), "validation" or "epoch" (before the end of the epoch is saved).
        by: number of the signal.
    """

    def __init__(self, step: int, moment: str = "batch", by: int = int(signal.SIGKILL)) -> None:
        self.step, self.moment, self.by = step, moment, by

    def _maybe(self, trainer, moment: str) -> None:
        if moment == self.moment and trainer.global_step == self.step:
            os.kill(os.getpid(), self.by)

    def on_train_batch_end(self, trainer, *_) -> None:
        self._maybe(trainer, "batch")

    def on_validation_start(self, trainer, *_) -> None:
        self._maybe(trainer, "validation")

    def on_train_epoch_end(self, trainer, *_) -> None:
        self._maybe(trainer, "epoch")
