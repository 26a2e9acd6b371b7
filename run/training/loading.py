"""A trained network and its data, from a configuration and a checkpoint, loaded as `predict` does, and nothing run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from model.methods import METHODS, of_kind, title_of
from run.training.callbacks import quiet_lightning
from run.training.checkpoints import SPECIAL_PATHS
from run.training.command_line import RetargetingCLI
from run.training.published_config import read_config
from run.training.trained import method_of, read_checkpoint
from utils.errors import InputError
from utils.parameters import init_parameters


class LoadedRun(RetargetingCLI):
    """The command line of `predict` up to the point where the trainer would start: everything is built and checked.

    `model` has the checkpoint's weights, `datamodule` is set up for testing.
    """

    def instantiate_trainer(self, **kwargs: Any) -> None:
        """None is needed: whatever the configuration says of hardware, logs and callbacks does not matter here."""
        return None

    def _run_subcommand(self, subcommand: str) -> None:
        path = self.config_init[subcommand].get("ckpt_path")
        self.datamodule.setup(subcommand)
        self.model.mano_hand(torch.zeros(1))
        self.model.load_state_dict(self.checkpoints.load_checkpoint(path)["state_dict"])
        self.model.eval()


def load_run(config: str | Path, checkpoint: str, program: str, options: Sequence[str] = ()) -> LoadedRun:
    """Load what a configuration (published ones too) and a checkpoint describe.

    Args:
        config: YAML file.
        checkpoint: a file, or "best" or "last" of the configuration's folder.
        program: module name of the entry point, for messages.
        options: further words of `predict`, such as ``--data.test_characters``.

    Raises:
        InputError: something is missing, damaged or does not fit together, or an option is unknown.
    """
    quiet_lightning()
    for name in ("pytorch_lightning", "lightning.fabric", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)  # no word about seeds and devices: nothing is trained
    method = _method(config, checkpoint)
    words = ["predict", "--config", str(config), "--ckpt_path", checkpoint, "--data.num_workers", "0"]
    return LoadedRun(METHODS[method].network_class, method, program, [*words, *options])


def _method(config: str | Path, checkpoint: str) -> str:
    """Of which method a run is: its checkpoint says so, or arguments in its configuration that only one method has."""
    content, _ = read_config(config)
    given = set(content.get("model") or {})
    known = {name: set(init_parameters(method.network_class)) for name, method in of_kind("network").items()}
    if checkpoint not in SPECIAL_PATHS:
        found = method_of(read_checkpoint(checkpoint), checkpoint)
        strange = given - known[found]
        other = next((name for name in known if strange and strange <= known[name]), None)
        if other is not None:
            raise InputError(
                f"{checkpoint}: expected a checkpoint of {title_of(other)}, as the configuration {config} is of it, "
                f"found one of {title_of(found)}; give the configuration of its training, such as "
                f"--config config/{title_of(found)}.yaml (open data: config/open/{title_of(found)}.yaml)"
            )
        return found
    fitting = [name for name in known if given <= known[name]]
    if len(fitting) != 1:
        raise InputError(
            f"{config}: expected a configuration of one method, found one of {' and '.join(fitting) or 'none'}; "
            f"give --ckpt_path a file instead of {checkpoint}"
        )
    return fitting[0]
