"""The retargeting methods behind one call: a source's features on a hand, any number of frames at any rate."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pytorch3d.transforms import quaternion_to_matrix
from torch import Tensor

from data.features import HandFeatures
from model.hands import PosedHand
from model.kinematics import finger_part
from model.optimizer import OptimizerSettings, optimise
from model.retargeting import Retargeting, Source
from run.viewing.hands import Hand

NETWORK_STEP = 0.2
"""Seconds between the frames that the networks were trained on."""
REACH = 8
"""Frames on either side that a frame of a network's result depends on (SPEC §6: four blocks of two convolutions)."""
TITLES = {
    "rotation_copy": "rotation copy",
    "tbs_copy": "twist-bend-splay copy",
    "dm": "DM",
    "asrn": "ASRN",
    "optimizer": "optimiser",
}


class Methods:
    """The methods that can be shown, cheapest first.

    Args:
        networks: trained networks by their short names; those that are missing are not offered.
    """

    def __init__(self, networks: Mapping[str, Retargeting]) -> None:
        self._networks = dict(networks)
        self.names = [name for name in TITLES if name in networks or name not in ("dm", "asrn")]

    def margin(self, method: str, frame_time: float) -> int:
        """Frames around a part of a motion that change its result."""
        return REACH * _stride(frame_time) if method in self._networks else 0

    @torch.inference_mode()
    def pose(self, method: str, hand: Hand, source: HandFeatures, frame_time: float) -> PosedHand:
        """The poses ``(frames,)`` in which `hand` means what `source` ``(frames,)`` means.

        Args:
            method: one of :attr:`names`.
            hand: the target.
            source: features of the source, one frame after the other.
            frame_time: seconds between them.
        """
        if method == "rotation_copy":
            return hand.pose(finger_part(quaternion_to_matrix(source.local_rotations)))
        tbs = quaternion_to_matrix(source.tbs)
        if method == "tbs_copy":
            return hand.shaped.with_tbs(tbs)
        if method == "optimizer":
            settings = OptimizerSettings(contact_weight=1.0, frame_rate=1 / frame_time)
            return optimise(hand.shaped, source.finger_coords, source.palm_coords, tbs, settings)
        return hand.shaped.with_tbs(self._predict(self._networks[method], hand, source, _stride(frame_time)))

    def _predict(self, network: Retargeting, hand: Hand, source: HandFeatures, stride: int) -> Tensor:
        """``(frames, 5, 3, 3, 3)``. A motion of a higher rate is several motions of the trained one, each a frame
        later than the one before; their results are put side by side again."""
        frames = len(source.rows)
        stride = min(stride, frames)
        length = -(-frames // stride)
        number = torch.arange(length * stride).view(length, stride).T.clamp(max=frames - 1)  # (stride, length)
        target = HandFeatures(hand.domain, hand.side, hand.static.rows.expand(stride, length, -1))
        (output,) = network(target, Source(source[number]))
        return network.decode(output).transpose(0, 1).flatten(0, 1)[:frames]


def _stride(frame_time: float) -> int:
    return max(1, round(NETWORK_STEP / frame_time))
