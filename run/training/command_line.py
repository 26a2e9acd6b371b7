"""The command line that both training programs share: LightningCLI with this project's defaults and manners.

`python -m run.train_mixhand {fit,validate,test,predict}` and `python -m run.train_dm …`. Several `--config` are laid
over each other in order; options on the command line come last. Trainer defaults and callbacks live here, so that
configurations hold only what differs.
"""

from __future__ import annotations

import inspect
import logging
import os
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentError, Namespace
from lightning_fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from pytorch_lightning import LightningModule
from pytorch_lightning.callbacks import Callback, LearningRateMonitor, ModelCheckpoint, ProgressBar
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from data.mixhand import MixHandDataModule
from run.training import trusted_config
from run.training.callbacks import (
    Closing,
    FiniteLosses,
    ResumePoints,
    SavedConfig,
    best_checkpoints,
    progress_bar,
    quiet_lightning,
    say,
)
from run.training.checkpoints import SPECIAL_PATHS, TrustedCheckpoints, display_path, find_checkpoint, last_training
from run.training.open_weights import ENDING
from run.training.overview import SUBCOMMANDS
from run.training.pictures import HandPictures
from run.training.published_config import SUBCOMMAND_KEYS, read_config, translate
from run.training.writers import PredictionWriter, ResultsWriter
from utils.cli import guarded
from utils.errors import InputError, spoken
from utils.files import DISK_FULL, check_writable, unwritable

TRAINER_DEFAULTS = {"max_epochs": 100, "gradient_clip_val": 0.5, "log_every_n_steps": 10, "devices": 1}
OPTIMIZER_DEFAULT = {"class_path": "torch.optim.Adam", "init_args": {"lr": 1e-4}}
SEED = 9923
LOGS = "lightning_logs"
CONFIG_OPTIONS = ("--config", "-c")
OPTIONS = {
    **{name: f"--data.{name}" for name in inspect.signature(MixHandDataModule).parameters},
    "smplx_path": "--model.smplx_model_path",
    "mano_axes": "--model.mano_axis_path",
    "devices": "--trainer.devices",
    "max_epochs": "--trainer.max_epochs",
}
"""Setting, as messages name it → option of the training programs, where that is not ``--setting``."""


class RetargetingCLI(LightningCLI):
    """LightningCLI for one method.

    Args:
        model_class: the method's LightningModule.
        method: a network of :mod:`model.methods`.
        program: module name of the entry point, for printed commands.
        args: command-line words; None takes those of the process.
        data_class: what it is trained with.
    """

    def __init__(
        self,
        model_class: type[LightningModule],
        method: str,
        program: str,
        args: Sequence[str] | None = None,
        data_class: type[MixHandDataModule] = MixHandDataModule,
    ) -> None:
        self.method, self.program = method, program
        self.checkpoints = TrustedCheckpoints()
        self._resumed_run: Path | None = None
        quiet: dict[str, Any] = {"exit_on_error": False}
        super().__init__(
            model_class,
            data_class,
            save_config_callback=SavedConfig,
            seed_everything_default=SEED,
            trainer_defaults=TRAINER_DEFAULTS,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            parser_kwargs={
                **quiet,
                "prog": f"python -m {program}",
                "description": f"Train and test {method.upper()}. `%(prog)s SUBCOMMAND --help` lists all options. "
                f"{trusted_config.OPTION} lets configuration files name classes of any package and run their code.",
                **{name: dict(quiet) for name in SUBCOMMANDS},
            },
            args=list(sys.argv[1:] if args is None else args),
        )

    # ---- parsing ------------------------------------------------------------------------------------------------

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Sub-commands, and the arguments of the trainer's methods that are not options here."""
        hidden = {"model", "datamodule", "weights_only", "return_predictions"}
        return {
            "fit": hidden | {"train_dataloaders", "val_dataloaders"},
            "validate": hidden | {"dataloaders"},
            "test": hidden | {"dataloaders", "verbose"},
            "predict": hidden | {"dataloaders"},
        }

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The optimiser, and the callbacks that have settings."""
        parser.add_optimizer_args((torch.optim.Optimizer,), nested_key="optim", link_to="model.optim_init")
        parser.set_defaults({"optim": OPTIMIZER_DEFAULT})
        parser.add_lightning_class_args(ResumePoints, "resume_points")
        parser.add_lightning_class_args(HandPictures, "pictures")

    @staticmethod
    def link_optimizers_and_lr_schedulers(parser: LightningArgumentParser) -> None:
        """Give the optimiser to the model as plain dictionaries."""
        parser.link_arguments("optim", "model.optim_init", compute_fn=plain)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse; configurations go through `published_config` first. Raises InputError, naming the key."""
        words = translate_arguments(args)
        try:
            self.config = parser.parse_args(words)
        except ArgumentError as error:
            raise InputError(one_line(str(error))) from None

    def _parse_ckpt_path(self) -> None:
        """Resolve `--ckpt_path last|best`; hyper-parameters are compared later and never taken from a checkpoint."""
        config = self.config[self.config.subcommand]
        given, fitting = config.get("ckpt_path"), self.config.subcommand == "fit"
        if not given:
            return
        if given not in SPECIAL_PATHS:
            if not Path(given).is_file():
                found = "found a folder" if Path(given).is_dir() else "but it does not exist"
                raise InputError(
                    f"--ckpt_path {given}: expected a checkpoint file, {found}; give a file, last, or best"
                )
            if fitting and given.endswith(ENDING):
                raise InputError(
                    f"--ckpt_path {given}: expected a checkpoint to continue from, found weights alone, without the "
                    "state of their training; fit anew, or continue from a .ckpt"
                )
            return
        root = self._logs_root(config)
        if given == "last" and fitting:
            self._resumed_run, found = last_training(root)
            if found is None:
                say(f"--ckpt_path last: no checkpoint in {display_path(root)}, starting from scratch")
            else:
                say(f"--ckpt_path last: continuing {display_path(found)}")
        else:
            found = find_checkpoint(root, given)
            if found is None:
                advice = "train first, or set --trainer.default_root_dir to the folder of a training"
                if find_checkpoint(root, "last") is not None:
                    advice = "no epoch was validated yet: use --ckpt_path last"
                raise InputError(f"--ckpt_path {given}: no such checkpoint in {display_path(root)}; {advice}")
            say(f"--ckpt_path {given}: {display_path(found)}")
        config["ckpt_path"] = None if found is None else str(found)

    def _logs_root(self, config: Any) -> Path:
        """The folder that holds version_0, version_1, …"""
        logger = config.get("trainer.logger")
        arguments = getattr(logger, "init_args", None) or {}
        folder = arguments.get("save_dir") or config.get("trainer.default_root_dir") or "."
        return Path(folder) / (arguments.get("name") or LOGS)

    # ---- building -----------------------------------------------------------------------------------------------

    def instantiate_classes(self) -> None:
        """Build data, model and trainer. Raises InputError where a value does not suit them."""
        try:
            super().instantiate_classes()
        except (ArgumentError, MisconfigurationException, ValueError) as error:
            raise InputError(one_line(str(error))) from error
        self.checkpoints.module, self.checkpoints.trainer = self.model, self.trainer
        self.checkpoints.same_run = self._resumed_run is not None

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """The trainer with this project's logger, callbacks and checkpoint reader, on hardware that is there."""
        trainer = dict(self._get(self.config_init, "trainer"))
        fit_to_hardware(trainer)
        if trainer.get("logger") in (None, True) and not trainer.get("fast_dev_run"):
            version = None if self._resumed_run is None else int(self._resumed_run.name.removeprefix("version_"))
            folder = trainer.get("default_root_dir") or "."
            trainer["logger"] = TensorBoardLogger(str(folder), name=LOGS, version=version, default_hp_metric=False)
        elif self._resumed_run is not None and getattr(trainer.get("logger"), "_version", 0) is None:
            trainer["logger"]._version = int(self._resumed_run.name.removeprefix("version_"))
        plugins = trainer.get("plugins") or []
        trainer["plugins"] = [*(plugins if isinstance(plugins, list) else [plugins]), self.checkpoints]
        given = trainer.get("callbacks") or []
        trainer["callbacks"] = [*given, *self._own_callbacks(trainer, given)]
        return super().instantiate_trainer(**{**trainer, **kwargs})

    def _own_callbacks(self, trainer: dict[str, Any], given: list[Callback]) -> list[Callback]:
        """The callbacks that belong to every run, unless the configuration brings its own of the same purpose."""
        kinds = tuple(type(callback) for callback in given)
        added: list[Callback] = [
            Closing(self.program),
            FiniteLosses(),
            ResultsWriter(self._about()),
            PredictionWriter(),
        ]
        if trainer.get("enable_progress_bar") is not False and not any(issubclass(k, ProgressBar) for k in kinds):
            added.append(progress_bar())
        if trainer.get("logger") and LearningRateMonitor not in kinds:
            added.append(LearningRateMonitor())
        if trainer.get("enable_checkpointing") is not False:
            there = {callback.state_key for callback in given if isinstance(callback, ModelCheckpoint)}
            added += [callback for callback in best_checkpoints(self.method) if callback.state_key not in there]
        return added

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Any:
        if config.get("enable_checkpointing") is False:
            callbacks = [callback for callback in callbacks if not isinstance(callback, ResumePoints)]
        try:
            return super()._instantiate_trainer(config, callbacks)
        except RuntimeError as error:  # what SLURM or torchrun has started does not suit the trainer
            raise InputError(one_line(str(error))) from error

    def _about(self) -> dict[str, Any]:
        """What results.json says about the run."""
        config = self.config[self.subcommand]
        data = config["data"].as_dict()
        return {
            "method": self.method,
            "checkpoint": config.get("ckpt_path"),
            "protocol": data.get("protocol"),
            "data": {key: value for key, value in data.items() if key in ("data_path", "window_size", "frame_stride")}
            | {key: value for key, value in data.items() if key.startswith(("test_", "intra_"))},
        }

    def _run_subcommand(self, subcommand: str) -> None:
        """Check data, hand model and checkpoint before anything is written, then run."""
        path = self.config_init[subcommand].get("ckpt_path")
        if not self.trainer.fast_dev_run:
            check_writable(self.trainer.default_root_dir)
        self.datamodule.setup(subcommand)
        if self.datamodule.side != self.model.side:
            raise InputError(
                f"--model.is_rhand: expected {str(self.datamodule.side == 'right').lower()}, because the features in "
                f"{self.datamodule.data_path} are those of {self.datamodule.side} hands; found "
                f"{str(self.model.side == 'right').lower()}; change it, or preprocess the other hands"
            )
        self.model.mano_hand(torch.zeros(1))
        if path:
            self.checkpoints.prepare(path)
        elif subcommand != "fit":
            say(f"{subcommand}: no --ckpt_path, so the networks are untrained")
        try:
            super()._run_subcommand(subcommand)
        except MisconfigurationException as error:
            raise InputError(one_line(str(error))) from error
        except OSError as error:
            if error.filename is not None or error.errno not in DISK_FULL:
                raise
            # What Lightning and TensorBoard write themselves names no file.
            raise unwritable(self.trainer.log_dir or self.trainer.default_root_dir, error) from error
        except SystemExit:  # Lightning's own end of a run that Ctrl-C stopped
            if not self.trainer.interrupted:
                raise
        if self.trainer.interrupted:
            if subcommand == "fit":
                say("interrupted; the same command with --ckpt_path last continues")
            raise KeyboardInterrupt

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        if subcommand == "predict":
            kwargs["return_predictions"] = False  # PredictionWriter keeps them
        elif subcommand == "test":
            kwargs["verbose"] = False  # ResultsWriter prints
        return kwargs


def translate_arguments(words: Sequence[str]) -> list[str]:
    """Command-line words in which each configuration that needs it is replaced by its translation, as text.

    Raises InputError if a configuration is missing or no mapping, or names classes of packages that are not trusted.
    """
    trusted = trusted_config.OPTION in words
    translated, words = [], [word for word in words if word != trusted_config.OPTION]
    check = (lambda *_: None) if trusted else trusted_config.check_classes
    while words:
        word = words.pop(0)
        option, equals, value = word.partition("=")
        if option not in CONFIG_OPTIONS or (not equals and not words):
            if (value or word).lower().endswith((".yaml", ".yml", ".json")) and Path(value or word).is_file():
                check(read_config(value or word)[0], value or word)  # a group's own configuration: --optim adam.yaml
            translated.append(word)
            continue
        path = value if equals else words.pop(0)
        if path.lstrip().startswith("{"):  # the configuration itself, as text
            translated += [option, path]
            continue
        config, old = read_config(path)
        check(config, path)
        result = translate(config, old, path)
        for key in [key for key in SUBCOMMAND_KEYS if key != "ckpt_path"]:
            result.changed |= result.config.pop(key, None) is not None
        for line in result.notes:
            say(f"note: {line}")
        text = yaml.safe_dump(result.config, sort_keys=False) if result.changed else path
        translated += [option, text]
    return translated


def plain(value: Any) -> Any:
    """Namespaces as dictionaries, in all depths."""
    if isinstance(value, Namespace):
        return value.as_dict()
    return {key: plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def one_line(message: str) -> str:
    """A parser's message of many lines as one that names the key and what is wrong with it."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if not lines:
        return "the configuration cannot be used"
    problems = [i for i, line in enumerate(lines) if line.startswith("- Problem with given class_path")]
    if problems:
        first = problems[0]
        lines = [lines[0], *(line.removeprefix("- ") for line in lines[first : first + 2])]
    text = re.sub(r"<class '([\w.]+)'>", r"\1", " ".join(lines))
    text = re.sub(r"^Subcommand '(\w+)' does not accept option '(.+)'$", r"unknown key '\2' (see \1 --help)", text)
    text = text.replace("Parser key ", "key ")
    return text if len(text) < 500 else text[:497] + "..."


def fit_to_hardware(trainer: dict[str, Any]) -> None:
    """Use the CPU, and say so in one line, where a GPU is asked for but there is none. Changes `trainer`."""
    wanted = trainer.get("accelerator")
    if wanted not in ("gpu", "cuda") or torch.cuda.is_available():
        return
    say(f"note: accelerator={wanted} is asked for but no GPU is here; the CPU is used")
    processes = launched_here()
    trainer.update(accelerator="cpu", devices=processes, strategy="auto" if processes == 1 else "ddp")
    if str(trainer.get("precision")).startswith(("16", "bf16")):
        trainer["precision"] = "32-true"


def launched_here() -> int:
    """How many processes of this training torchrun or SLURM has started on this machine; 1 without them."""
    if TorchElasticEnvironment.detect():
        return int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if SLURMEnvironment.detect():
        return max(1, int(os.environ["SLURM_NTASKS"]) // int(os.environ.get("SLURM_JOB_NUM_NODES", 1)))
    return 1


class _Remarks(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(f"note: {spoken(record.getMessage(), OPTIONS).removeprefix('note: ')}")


def show_remarks() -> None:
    """Print what the data module has to say (clips left out, windows without partner), a line each."""
    logger = logging.getLogger("data")
    if not any(isinstance(handler, _Remarks) for handler in logger.handlers):
        logger.addHandler(_Remarks())
    logger.setLevel(logging.INFO)
    logger.propagate = False


def run_program(
    model_class: type[LightningModule],
    method: str,
    program: str,
    data_class: type[MixHandDataModule] = MixHandDataModule,
) -> None:
    """An entry point: run the command line of `method` with errors as one line."""
    quiet_lightning()
    show_remarks()
    # Windows are gathered from memory-mapped files; more workers than this project sets up do not help.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")  # Lightning's own affair
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
    try:
        guarded(lambda: RetargetingCLI(model_class, method, program, data_class=data_class), OPTIONS)
    finally:
        # Threads of a process group that are still there when Python ends are now and then an abort.
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
