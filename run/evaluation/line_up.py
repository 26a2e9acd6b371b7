"""A line-up of methods for the same hands, and the networks among them from their checkpoints."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from data.features.row import HandFeatures
from model.hands import PosedHand
from model.methods import METHODS, Task, available, named, of_kind, title_of
from model.retargeting import HandModels, Retargeting, Source
from run.training.checkpoints import fit_to_model
from utils.errors import InputError
from utils.safe_read import load_checkpoint


class LineUp:
    """Some methods, ready to retarget.

    Args:
        names: of :mod:`model.methods`; the networks among them must be in ``networks``.
        networks: loaded networks by method.
        hands: what makes the hands of features.

    Raises:
        InputError: a name is unknown, or there is no checkpoint for it.
    """

    def __init__(self, names: Sequence[str], networks: Mapping[str, Retargeting], hands: HandModels) -> None:
        can = available(networks)
        self.networks, self.hands = networks, hands
        try:
            self.names = list(dict.fromkeys(named(name).name for name in names))
        except KeyError as error:
            raise InputError(f"method {error} is unknown; choose among {', '.join(can)}") from None
        for name in self.names:
            if name not in can:
                raise InputError(f"method {name}: expected its checkpoint, found none; give --{name} CHECKPOINT")
        if not self.names:
            raise InputError(f"expected at least one method, found none; choose among {', '.join(can)}")

    def poses(
        self, target: HandFeatures, source: HandFeatures, prepared: Source | None = None
    ) -> dict[str, PosedHand]:
        """The hands of ``target (batch, time, …)`` in every method's pose for the motion of ``source``.

        ``prepared`` is ``Source(source)``, if there is one already.
        """
        prepared = Source(source) if prepared is None else prepared
        shaped, present = self.hands.shaped_hand(target), prepared.shared_with(target).present
        task, posed = Task(shaped, prepared, present), {}
        with torch.no_grad():
            for name in self.names:
                if name in self.networks:
                    network = self.networks[name]
                    (output,) = network(target, Source(source))  # each network sees its own input
                    posed[name] = shaped.with_tbs(network.decode(output))
                else:
                    posed[name] = METHODS[name].pose(task)
        return posed


def method_of(checkpoint: Mapping[str, Any], path: str | Path) -> str:
    """The name of a method, from what a checkpoint says of its network. Raises InputError if it does not say."""
    given = checkpoint.get("hyper_parameters") or {}
    found = [name for name, method in of_kind("network").items() if method.mark in given]
    if len(found) != 1 or not isinstance(given, dict) or not checkpoint.get("state_dict"):
        raise InputError(
            f"{path}: expected a checkpoint with hyper_parameters and state_dict; train one, or give --config"
        )
    return found[0]


def load_network(path: str | Path, method: str | None = None, **overrides: Any) -> Retargeting:
    """A trained network from its checkpoint alone, ready to retarget.

    Args:
        path: a checkpoint, of this program or a published one.
        method: the name of the method that it must be of, if it must.
        overrides: arguments of the network that replace those of the checkpoint (``smplx_model_path``, …).

    Raises:
        InputError: the file is missing or damaged, is of another method or hand, or does not say how its network was
            built.
    """
    content = load_checkpoint(path)
    found = method_of(content, path)
    if method not in (None, found):
        raise InputError(f"{path}: expected a checkpoint of {title_of(method)}, found one of {title_of(found)}; "
                         f"give it to --{found}, or use --method {found} (run.retarget)")  # fmt: skip
    cls = METHODS[found].network_class
    known = inspect.signature(cls.__init__).parameters
    arguments = {name: value for name, value in content["hyper_parameters"].items() if name in known}
    arguments.update(overrides)
    with torch.device("meta"):  # shapes alone: what the file says of its network is compared before it is believed
        weights = fit_to_model(content, str(path), _built(cls, arguments, path), None)["state_dict"]
    network = _built(cls, arguments, path)
    network.load_state_dict(weights)
    return network.eval()


def _built(cls: type[Retargeting], arguments: dict[str, Any], path: str | Path) -> Retargeting:
    try:
        return cls(**arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: expected hyper_parameters that build a network; {reason}; train it again") from None


def check_side(loaded: Mapping[str, Retargeting], side: str, where: str | Path) -> None:
    """Raise InputError if a network was trained for the other hand than the features in `where` show."""
    for method, network in loaded.items():
        if network.side != side:
            raise InputError(
                f"{title_of(method)}: expected a checkpoint of the {side} hand, as {where} has it, found one of the "
                f"{network.side} hand; give another checkpoint, or data preprocessed with --is_rhand "
                f"{str(network.side == 'right').lower()}"
            )
