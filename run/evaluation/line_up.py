"""The methods of retargeting by name, and a line-up of them for the same hands: copies, networks, optimiser."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from data.features.row import HandFeatures
from model.asrn import ASRN
from model.dm import DM
from model.hands import PosedHand
from model.optimizer import OptimizerSettings, optimise_hands
from model.retargeting import HandModels, Retargeting, Source, copied_poses
from run.training.checkpoints import METHOD_MARKS, fit_to_model
from utils.errors import InputError
from utils.safe_read import load_checkpoint

METHODS = {
    "rotation_copy": "Rotation copy", "tbs_copy": "Twist-bend-splay copy", "dm": "DM", "asrn": "ASRN",
    "optimizer": "Optimiser", "optimizer_contacts": "Optimiser, contacts",
}  # fmt: skip
"""Name on the command line and in results.json -> as it is written in tables and pictures."""
COPIES = ("rotation_copy", "tbs_copy")
_OPTIMIZER_CHANGES = {"optimizer": {}, "optimizer_contacts": {"contact_weight": 1000.0}}
OPTIMIZERS = {name: OptimizerSettings.converged(**changes) for name, changes in _OPTIMIZER_CHANGES.items()}
"""The training-free methods, run until nothing changes; the second one also closes the contacts of the source."""
NETWORKS: dict[str, type[Retargeting]] = {"dm": DM, "asrn": ASRN}


def available(networks: Iterable[str] = NETWORKS) -> list[str]:
    """Names of all methods, in the order of tables, of which only these networks can be used."""
    given = {*COPIES, *networks, *OPTIMIZERS}
    return [name for name in METHODS if name in given]


class LineUp:
    """Some methods, ready to retarget.

    Args:
        names: of :data:`METHODS`; the networks among them must be in ``networks``.
        networks: loaded networks by method.
        hands: what makes the hands of features.

    Raises:
        InputError: a name is unknown, or there is no checkpoint for it.
    """

    def __init__(self, names: Sequence[str], networks: Mapping[str, Retargeting], hands: HandModels) -> None:
        self.names, self.networks, self.hands = list(dict.fromkeys(names)), networks, hands
        can = available(networks)
        for name in self.names:
            if name in NETWORKS and name not in networks:
                raise InputError(f"method {name}: expected its checkpoint, found none; give --{name} CHECKPOINT")
            if name not in can:
                raise InputError(f"method {name!r} is unknown; choose among {', '.join(can)}")
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
        posed = copied_poses(shaped, prepared) if set(COPIES) & set(self.names) else {}
        with torch.no_grad():
            for name in self.names:
                if name in self.networks:
                    network = self.networks[name]
                    (output,) = network(target, Source(source))  # each network sees its own input
                    posed[name] = shaped.with_tbs(network.decode(output))
                elif name in OPTIMIZERS:
                    posed[name] = optimise_hands(shaped, source, OPTIMIZERS[name], present=present)
        return {name: posed[name] for name in self.names}


def method_of(checkpoint: Mapping[str, Any], path: str | Path) -> str:
    """ "asrn" or "dm", from what a checkpoint says of its network. Raises InputError if it does not say."""
    given = checkpoint.get("hyper_parameters") or {}
    found = [title.lower() for mark, (title, _) in METHOD_MARKS.items() if mark in given]
    if len(found) != 1 or not checkpoint.get("state_dict"):
        raise InputError(
            f"{path}: expected a checkpoint with hyper_parameters and state_dict; train one, or give --config"
        )
    return found[0]


def load_network(path: str | Path, method: str | None = None, **overrides: Any) -> Retargeting:
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
        raise InputError(f"{path}: expected a checkpoint of {METHODS[method]}, found one of {METHODS[found]}; "
                         f"give it to --{found}, or use --method {found} (run.retarget)")  # fmt: skip
    cls = NETWORKS[found]
    known = inspect.signature(cls.__init__).parameters
    arguments = {name: value for name, value in content["hyper_parameters"].items() if name in known}
    network = cls(**{**arguments, **overrides})
    network.load_state_dict(fit_to_model(content, str(path), network, None)["state_dict"])
    return network.eval()


def check_side(networks: Mapping[str, Retargeting], side: str, where: str | Path) -> None:
    """Raise InputError if a network was trained for the other hand than the features in `where` show."""
    for method, network in networks.items():
        if network.side != side:
            raise InputError(
                f"{METHODS[method]}: expected a checkpoint of the {side} hand, as {where} has it, found one of the "
                f"{network.side} hand; give another checkpoint, or data preprocessed with --is_rhand "
                f"{str(network.side == 'right').lower()}"
            )
