"""What happens beside training: resume points, progress, the saved configuration, the closing summary."""

from __future__ import annotations

import logging
import shlex
import sys
import time
from pathlib import Path

from pytorch_lightning.callbacks import Callback, Checkpoint, ModelCheckpoint, ProgressBar, TQDMProgressBar
from pytorch_lightning.cli import SaveConfigCallback
from pytorch_lightning.utilities import rank_zero_only

from model.methods import METHODS
from run.training.checkpoints import CHECKPOINT_FOLDER, LAST, display_path
from run.training.processes import run_folder
from run.training.published_config import SUBCOMMAND_KEYS
from utils import cli
from utils.errors import InputError
from utils.files import atomic_write

DOMAINS = ("mixamo", "mano")
_QUIET_SECONDS = 5.0  # at most one progress line in this time when the output is no terminal


say = rank_zero_only(cli.say)
"""One line for the user, beside the program's own output, from the first process only."""


def best_checkpoints(method: str) -> list[ModelCheckpoint]:
    """The published checkpoint files: the best for each domain, and one each five epochs (mathematics §6, §10).

    `method` names a network, which says what is watched. The file names keep the published pattern, which says
    mixamo_semi_rf for all.
    """
    term = METHODS[method].watched
    best = [
        ModelCheckpoint(
            monitor=f"val/{domain}_semi_{term}",
            filename=f"best_{domain}-epoch={{epoch}}-{domain}_semi_rf={{val/{domain}_semi_{term}:.2f}}",
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )
        for domain in DOMAINS
    ]
    return [*best, ModelCheckpoint(every_n_epochs=5, save_top_k=-1, enable_version_counter=False)]


class ResumePoints(Checkpoint):
    """Keeps checkpoints/last.ckpt, from which `--ckpt_path last` continues exactly where it was written.

    Args:
        every_n_steps: also write it each so many steps within an epoch, so that a killed run loses little; 0 writes it
            at the end of epochs only.
        at_most_each: seconds that must have passed since the last one at the end of an epoch, so that short epochs do
            not spend their time with writing.
    """

    def __init__(self, every_n_steps: int = 1000, at_most_each: float = 10.0) -> None:
        self.every_n_steps, self.at_most_each = every_n_steps, at_most_each
        self._path: Path | None = None
        self._saved_step, self._saved_time = -1, -float("inf")

    def on_fit_start(self, trainer, pl_module) -> None:
        """Make the folder at once: it marks this run as the newest training."""
        folder = run_folder(trainer)
        if folder is None:
            return
        self._path = folder / CHECKPOINT_FOLDER / LAST
        if trainer.is_global_zero:
            self._path.parent.mkdir(parents=True, exist_ok=True)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        """Write within an epoch. After its last batch the validation is still to come: the epoch's end writes then."""
        due = self.every_n_steps > 0 and trainer.global_step % self.every_n_steps == 0
        if due and not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self._save(trainer)

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        """Write at the end of an epoch, after validation and after the best checkpoints."""
        due = time.monotonic() - self._saved_time >= self.at_most_each
        if trainer.strategy.broadcast(due):  # all processes take part in writing, or none
            self._save(trainer)

    def on_train_end(self, trainer, pl_module) -> None:
        """Write when all is done."""
        if self._saved_step != trainer.global_step:
            self._save(trainer)

    def _save(self, trainer) -> None:
        if self._path is not None:
            trainer.save_checkpoint(self._path, weights_only=False)
            self._saved_step, self._saved_time = trainer.global_step, time.monotonic()


class FiniteLosses(Callback):
    """Stops a training whose losses have become NaN or infinite: nothing good would come of it any more."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        """Look at each logged step; asking more often would keep a GPU waiting.

        Raises:
            InputError: a loss is not finite; checkpoints from before stay.
        """
        if (
            batch_idx + 1
        ) % trainer.log_every_n_steps and not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return
        losses = getattr(pl_module, "last_losses", {})
        finite = all(bool(loss.isfinite()) for loss in losses.values())
        if not trainer.strategy.reduce_boolean_decision(finite):  # all processes stop, or none
            shown = ", ".join(f"{domain} loss {loss}" for domain, loss in _losses(pl_module).items())
            raise InputError(
                f"step {trainer.global_step}: expected finite losses, found {shown}; lower --optim.lr, and leave "
                "--data.normalization false: networks and hands need features as they are"
            )


class SavedConfig(SaveConfigCallback):
    """config.yaml beside the logs, in a form that every sub-command reads: without ckpt_path and the like."""

    def setup(self, trainer, pl_module, stage) -> None:
        """Write it once, when the run's folder is known."""
        folder = run_folder(trainer)
        if self.already_saved or folder is None:
            return
        if trainer.is_global_zero:
            config = self.config.clone()
            for key in SUBCOMMAND_KEYS:
                config.pop(key, None)
            text = self.parser.dump(config, skip_none=False, skip_validation=True)
            with atomic_write(folder / self.config_filename) as temporary:
                temporary.write_text(text, encoding="utf-8")
        self.already_saved = True


def _losses(pl_module) -> dict[str, str]:
    """The latest training loss of both domains, by domain."""
    return {domain: f"{float(loss):.3f}" for domain, loss in getattr(pl_module, "last_losses", {}).items()}


class LossBar(TQDMProgressBar):
    """The progress bar of a terminal, with the training losses of both domains."""

    def get_metrics(self, trainer, pl_module) -> dict[str, str]:
        """Only the two losses; everything else is in TensorBoard."""
        return _losses(pl_module)


class LossLines(ProgressBar):
    """Progress where no terminal is: one line every few seconds and at the end of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self._enabled, self._said, self._began, self._first = True, 0.0, 0.0, 0

    def disable(self) -> None:
        """Say nothing (Lightning asks this of all processes but the first)."""
        self._enabled = False

    def enable(self) -> None:
        """Speak again."""
        self._enabled = True

    def on_train_start(self, trainer, pl_module) -> None:
        """Start the clock."""
        self._began, self._first, self._said = time.monotonic(), trainer.global_step, time.monotonic()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        """A line when the last one is long enough ago."""
        if time.monotonic() - self._said > _QUIET_SECONDS:
            self._say(trainer, f"batch {batch_idx + 1}/{self.total_train_batches}")

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        """A line for each epoch, unless epochs are much shorter than the usual pause."""
        last = trainer.current_epoch + 1 == trainer.max_epochs
        if last or time.monotonic() - self._said > 0.2 * _QUIET_SECONDS:
            self._say(trainer, "done")

    def _say(self, trainer, where: str) -> None:
        self._said = time.monotonic()
        if not self._enabled:
            return
        rate = (trainer.global_step - self._first) / max(1e-9, self._said - self._began)
        total = f"/{trainer.max_epochs}" if trainer.max_epochs and trainer.max_epochs > 0 else ""
        losses = "".join(f"  {domain} loss {loss}" for domain, loss in _losses(trainer.lightning_module).items())
        print(f"epoch {trainer.current_epoch + 1}{total}  {where}{losses}  {rate:.1f} steps/s", flush=True)


def progress_bar() -> ProgressBar:
    """A bar for a terminal, lines for anything else."""
    return LossBar() if sys.stderr.isatty() else LossLines()


class Closing(Callback):
    """At the end of `fit`: where the best checkpoints lie and the command that tests each of them."""

    def __init__(self, program: str) -> None:
        self.program = program

    def on_fit_end(self, trainer, pl_module) -> None:
        """Print the summary, on the first process, if something was saved."""
        folder = run_folder(trainer)
        if trainer.is_global_zero and folder is not None:
            print("\n".join(self.lines(trainer, folder)), flush=True)

    def lines(self, trainer, folder: Path) -> list[str]:
        """The summary's lines; `folder` is the run's."""
        config = display_path(folder / "config.yaml")
        lines, seen = [], set()
        for callback in trainer.checkpoint_callbacks:
            path = getattr(callback, "best_model_path", "")
            if path and getattr(callback, "monitor", None) and Path(path).is_file() and path not in seen:
                seen.add(path)
                shown = display_path(path)
                score = f"{float(callback.best_model_score):.4f}" if callback.best_model_score is not None else "?"
                command = ["python", "-m", self.program, "test", "--config", config, "--ckpt_path", shown]
                lines += [f"Best {callback.monitor} = {score}: {shown}", f"  {shlex.join(command)}"]
        last = folder / CHECKPOINT_FOLDER / LAST
        if not lines and last.is_file():
            command = ["python", "-m", self.program, "test", "--config", config, "--ckpt_path", display_path(last)]
            lines = [f"Last checkpoint: {display_path(last)}", f"  {shlex.join(command)}"]
        return lines


class _NoAdvertisement(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return "Tip:" not in record.getMessage()


def quiet_lightning() -> None:
    """Leave out Lightning's recommendations of other products."""
    for name in ("pytorch_lightning.utilities.rank_zero", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).addFilter(_NoAdvertisement())
