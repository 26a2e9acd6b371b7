"""A trained network from its checkpoint alone, ready to retarget; nothing that trains is imported for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from model.network import RetargetingNetwork, network_of
from utils.errors import InputError
from utils.safe_read import load_checkpoint

# A hyper-parameter that only this method has, and the program that trains it.
METHOD_MARKS = {"lambda_rf": ("ASRN", "run.train_mixhand"), "lambda_dm": ("DM", "run.train_dm")}
TWO_NAMES = (("conv1", "net.0"), ("conv2", "net.4"))


def method_of(checkpoint: Mapping[str, Any], path: str | Path) -> str:
    """ "asrn" or "dm", from what a checkpoint says of its network. Raises InputError if it does not say."""
    given = checkpoint.get("hyper_parameters") or {}
    found = [title.lower() for mark, (title, _) in METHOD_MARKS.items() if mark in given]
    weights = checkpoint.get("state_dict")
    if len(found) != 1 or not isinstance(weights, dict) or not weights:
        raise InputError(
            f"{path}: expected a checkpoint with hyper_parameters and state_dict; train one, or give --config"
        )
    return found[0]


def load_network(path: str | Path, method: str | None = None, **overrides: Any) -> RetargetingNetwork:
    """A trained network from its checkpoint alone, ready to retarget.

    Args:
        path: a checkpoint, of this program or a published one.
        method: "asrn" or "dm", if it must be this one.
        overrides: arguments of the network that replace those of the checkpoint (``smplx_model_path``, …).

    Raises:
        InputError: the file is missing or damaged, is of another method or hand, or does not say how its network was
            built.
    """
    content = load_checkpoint(path)
    found = method_of(content, path)
    if method not in (None, found):
        raise InputError(f"{path}: expected a checkpoint of {method.upper()}, found one of {found.upper()}; "
                         f"give it to --{found}, or use --method {found} (run.retarget)")  # fmt: skip
    network = network_of(found, {**content["hyper_parameters"], **overrides})
    network.load_state_dict(match_weights(content["state_dict"], str(path), network))
    return network.eval()


def check_side(networks: Mapping[str, RetargetingNetwork], side: str, where: str | Path) -> None:
    """Raise InputError if a network was trained for the other hand than the features in `where` show."""
    for method, network in networks.items():
        if network.side != side:
            raise InputError(
                f"{method.upper()}: expected a checkpoint of the {side} hand, as {where} has it, found one of the "
                f"{network.side} hand; give another checkpoint, or data preprocessed with --is_rhand "
                f"{str(network.side == 'right').lower()}"
            )


def match_weights(weights: dict[str, Any], path: str, module: nn.Module) -> dict[str, Any]:
    """The weights under every name the model wants; one of the two published names of a convolution is enough."""
    wanted = module.state_dict()
    weights = dict(weights)
    for name in wanted:
        if name not in weights and (twin := _twin(name)) in weights:
            weights[name] = weights[twin]
    _check_numbers(weights, path)
    for name in [name for name in weights if name not in wanted and _twin(name) in wanted]:
        del weights[name]
    missing = [name for name in wanted if name not in weights]
    surplus = [name for name in weights if name not in wanted]
    shapes = [
        f"{name} is {tuple(weights[name].shape)} instead of {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in weights and weights[name].shape != value.shape
    ]
    problems = [
        f"{label}: {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        for label, names in (("missing", missing), ("unknown", surplus), ("of another shape", shapes))
        if names
    ]
    if problems:
        raise InputError(
            f"{path}: the weights do not fit {type(module).__name__} as configured ({'; '.join(problems)}); "
            "give the configuration the checkpoint was trained with, and the program of its method"
        )
    return weights


def _check_numbers(weights: dict[str, Any], path: str) -> None:
    """Raise InputError where weights are not finite, or where the two published names of one disagree."""
    for name, value in weights.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise InputError(
                f"{path}: expected finite weights, found NaN or infinity in {name}; use another checkpoint"
            )
        twin = weights.get(_twin(name))
        if twin is not None and twin is not value and not torch.equal(twin, value):
            raise InputError(
                f"{path}: expected the same weights under {name} and {_twin(name)}, found different ones; "
                "use another checkpoint"
            )


def _twin(name: str) -> str:
    for first, second in TWO_NAMES:
        for old, new in ((first, second), (second, first)):
            if f".{old}." in name:
                return name.replace(f".{old}.", f".{new}.")
    return name
