"""A trained network from its checkpoint alone, ready to retarget; nothing that trains is imported for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model.methods import METHODS, of_kind, title_of
from model.network import TrainedNetwork
from run.training.open_weights import ENDING, read_weights
from utils.errors import InputError, some
from utils.safe_read import load_checkpoint

TWO_NAMES = (("conv1", "net.0"), ("conv2", "net.4"))


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """What a checkpoint holds, or a file of weights, which is state_dict and hyper_parameters alone.

    Raises InputError if the file is missing or damaged.
    """
    return read_weights(path) if str(path).endswith(ENDING) else load_checkpoint(path)


def method_of(checkpoint: Mapping[str, Any], path: str | Path) -> str:
    """The name of a method, from what a checkpoint says of its network. Raises InputError if it does not say."""
    given = checkpoint.get("hyper_parameters") or {}
    found = [name for name, method in of_kind("network").items() if method.mark in given]
    if len(found) != 1 or not isinstance(given, dict) or not checkpoint.get("state_dict"):
        raise InputError(
            f"{path}: expected a checkpoint with hyper_parameters and state_dict; train one, or give --config"
        )
    return found[0]


def load_network(path: str | Path, method: str | None = None, **overrides: Any) -> TrainedNetwork:
    """A trained network from its checkpoint alone, ready to retarget.

    Args:
        path: a checkpoint, of this program or a published one, or a file of weights (.safetensors).
        method: the name of the method that it must be of, if it must.
        overrides: arguments of the network that replace those of the checkpoint (``smplx_model_path``, …).

    Raises:
        InputError: the file is missing or damaged, is of another method or hand, or does not say how its network was
            built.
    """
    content = read_checkpoint(path)
    found = method_of(content, path)
    if method not in (None, found):
        raise InputError(f"{path}: expected a checkpoint of {title_of(method)}, found one of {title_of(found)}; "
                         f"give it to --{found}, or use --method {found} (run.retarget)")  # fmt: skip
    arguments = {**content["hyper_parameters"], **overrides}
    with torch.device("meta"):  # shapes alone: what the file says of its network is compared before it is believed
        weights = match_weights(weights_of(content, path), path, _built(found, arguments, path), title_of(found))
    network = _built(found, arguments, path)
    network.load_state_dict(weights)
    network.method = found
    return network.eval()


def _built(method: str, arguments: Mapping[str, Any], path: str | Path) -> TrainedNetwork:
    try:
        return METHODS[method].network_of(arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: expected hyper_parameters that build a network; {reason}; train it again") from None


def check_side(loaded: Mapping[str, TrainedNetwork], side: str, where: str | Path) -> None:
    """Raise InputError if a network was trained for the other hand than the features in `where` show."""
    for method, network in loaded.items():
        if not network.both_sides and network.side != side:
            raise InputError(
                f"{title_of(method)}: expected a checkpoint of the {side} hand, as {where} has it, found one of the "
                f"{network.side} hand; give another checkpoint, or data preprocessed with --is_rhand "
                f"{str(network.side == 'right').lower()}"
            )


def weights_of(checkpoint: Mapping[str, Any], path: str | Path) -> dict[str, Tensor]:
    """The weights in a checkpoint. Raises InputError if there are none, or what it holds has another form."""
    weights, given = checkpoint.get("state_dict"), checkpoint.get("hyper_parameters") or {}
    if not isinstance(weights, dict) or not weights:
        raise InputError(f"{path}: expected a checkpoint with a state_dict, found {sorted(map(str, checkpoint))[:8]}")
    strange = [str(name)[:60] for name, value in weights.items() if not isinstance(value, Tensor)]
    if strange or not isinstance(given, dict):
        raise InputError(f"{path}: expected tensors in state_dict and a dictionary of hyper_parameters, found "
                         f"{', '.join(strange[:3]) or 'other hyper_parameters'}; use another checkpoint")  # fmt: skip
    return weights


def match_weights(
    weights: dict[str, Tensor], path: str | Path, module: nn.Module, title: str | None = None
) -> dict[str, Tensor]:
    """The weights under every name the model wants; one of the two published names of a convolution is enough.

    ``title`` is what messages call the model; None: its class.
    """
    wanted = module.state_dict()
    weights = dict(weights)
    for name in wanted:
        if name not in weights and (twin := _twin(name)) in weights:
            weights[name] = weights[twin]
    whole = dict(weights)
    for name in [name for name in weights if name not in wanted and _twin(name) in wanted]:
        del weights[name]
    missing = [name for name in wanted if name not in weights]
    surplus = [name for name in weights if name not in wanted]
    shapes = [
        f"{name} is {tuple(value.shape)} instead of {tuple(fitting.shape)}"
        for name, value in whole.items()
        if (fitting := wanted.get(name, wanted.get(_twin(name)))) is not None and value.shape != fitting.shape
    ]
    problems = [
        f"{label}: {some(names, 3)}"
        for label, names in (("missing", missing), ("unknown", surplus), ("of another shape", shapes))
        if names
    ]
    if problems:
        raise InputError(
            f"{path}: the weights do not fit {title or type(module).__name__} as configured ({'; '.join(problems)}); "
            "give the configuration the checkpoint was trained with, and the program of its method"
        )
    _check_numbers(whole, path)
    return weights


def _check_numbers(weights: dict[str, Tensor], path: str | Path) -> None:
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
