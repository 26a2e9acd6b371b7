"""The methods of retargeting by name, and a line-up of them for the same hands: copies, networks, optimiser."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch

from data.features.row import HandFeatures
from model.batch import HandModels, Source, copied_poses
from model.hands import PosedHand
from model.network import RetargetingNetwork
from model.optimizer import OptimizerSettings, optimise_hands
from utils.errors import InputError

METHODS = {
    "rotation_copy": "Rotation copy", "tbs_copy": "Twist-bend-splay copy", "dm": "DM", "asrn": "ASRN",
    "optimizer": "Optimiser", "optimizer_contacts": "Optimiser, contacts",
}  # fmt: skip
"""Name on the command line and in results.json -> as it is written in tables and pictures."""
COPIES = ("rotation_copy", "tbs_copy")
_OPTIMIZER_CHANGES = {"optimizer": {}, "optimizer_contacts": {"contact_weight": 1000.0}}
OPTIMIZERS = {name: OptimizerSettings.converged(**changes) for name, changes in _OPTIMIZER_CHANGES.items()}
"""The training-free methods, run until nothing changes; the second one also closes the contacts of the source."""
NETWORKS = ("dm", "asrn")


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

    def __init__(self, names: Sequence[str], networks: Mapping[str, RetargetingNetwork], hands: HandModels) -> None:
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
