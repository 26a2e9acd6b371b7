"""A line-up of methods for the same hands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from data.features.row import HandFeatures
from model.batch import HandModels, Source
from model.hands import PosedHand
from model.methods import CLOSING, METHODS, available, named
from model.network import TrainedNetwork
from model.posing import Task
from run.evaluation.touching import Fleshed
from utils.errors import InputError


class LineUp:
    """Some methods, ready to retarget.

    Args:
        names: of :mod:`model.methods`; the networks among them must be in ``networks``.
        networks: loaded networks by method.
        hands: what makes the hands of features.
        fleshed: what knows their flesh and skin; None: fingertips' joints stand for it.

    Raises:
        InputError: a name is unknown, or there is no checkpoint for it.
    """

    def __init__(
        self,
        names: Sequence[str],
        networks: Mapping[str, TrainedNetwork],
        hands: HandModels,
        fleshed: Fleshed | None = None,
    ) -> None:
        can = available(networks)
        self.networks, self.hands, self.fleshed = networks, hands, fleshed
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
        self,
        target: HandFeatures,
        source: HandFeatures,
        prepared: Source | None = None,
        names: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> dict[str, PosedHand]:
        """The hands of ``target (batch, time, …)`` in every method's pose for the motion of ``source``.

        ``prepared`` is ``Source(source)``, if there is one already; ``names`` (N,) are the characters of source and
        target, without which nothing is known of their skin.
        """
        prepared = Source(source) if prepared is None else prepared
        shaped, present = self.hands.shaped_hand(target), prepared.shared_with(target).present
        task, posed = Task(shaped, prepared, present), {}
        if self.fleshed is not None and names is not None and CLOSING in self.names:
            task = replace(task, touches=self.fleshed.goals(source, target, names))
        with torch.no_grad():
            for name in self.names:
                if name in self.networks:
                    # Each network sees its own input.
                    posed[name] = self.networks[name].retargeted(shaped, target, Source(source))
                else:
                    posed[name] = METHODS[name].posed(task)
        return posed
