"""The retargeting methods behind one call: a source's motion on a hand, any number of frames at any rate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from model.hands import PosedHand
from model.methods import METHODS, available, of_kind
from model.motion import MotionRetargeting, SourceMotion
from model.network import TrainedNetwork
from model.streaming import streamed
from run.training.open_weights import all_open_weights
from run.training.trained import check_side, load_network
from run.viewing.hands import Hand
from utils.errors import InputError


class Methods:
    """The methods that can be shown, in the order of tables.

    Args:
        networks: trained networks by their short names; those that are missing are not offered.
    """

    def __init__(self, networks: Mapping[str, TrainedNetwork]) -> None:
        self._networks = dict(networks)
        self.names = available(networks)

    def reach(self, method: str) -> int:
        """Frames around a part of a motion that change its result."""
        return METHODS[method].reach if method in METHODS else 0

    @torch.inference_mode()
    def pose(self, method: str, hand: Hand, source: SourceMotion, present: torch.Tensor) -> PosedHand:
        """The poses ``(frames,)`` in which `hand` means what the source means.

        Args:
            method: one of :attr:`names`.
            hand: the target.
            source: the motion, one frame after the other.
            present: ``(21,)`` bool, joints that both hands have.
        """
        network = None
        if method in self._networks:
            network = streamed(self._networks[method], hand.shaped, hand.own.shape, present)
        return MotionRetargeting(method, hand.shaped, present, network)(source)


def demo_checkpoints(folder: Path) -> dict[str, Path]:
    """The checkpoint of each method that `python -m run.demo` has trained into a folder; open weights of the others.

    Raises:
        InputError: it has trained none.
    """
    found = {method: folder / f"{method.upper()}.ckpt" for method in of_kind("network")}
    found = {method: path for method, path in found.items() if path.is_file()}
    if not found:
        raise InputError(f"{folder}: expected trainings of the demo, found none; run `make demo` first")
    return all_open_weights() | found


def load_networks(checkpoints: dict[str, Path | None], side: str | None) -> tuple[dict, str]:
    """Networks by method, and the side of hand that they, and what is shown, are for.

    Raises:
        InputError: a file is not a checkpoint of its method, or two of different sides were given.
    """
    networks = {method: load_network(path, method) for method, path in checkpoints.items() if path is not None}
    sides = [network.side for network in networks.values() if not network.both_sides]
    side = side or next(iter(sides), "right")
    check_side(networks, side, "--side")
    return networks, side
