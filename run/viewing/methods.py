"""The retargeting methods behind one call: a source's motion on a hand, any number of frames at any rate."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pytorch3d.transforms import quaternion_to_matrix

from data.features import HandFeatures
from model.hands import PosedHand
from model.kinematics import finger_part
from model.optimizer import OptimizerSettings, optimise
from model.retargeting import Retargeting
from model.streaming import StreamingNetwork
from run.methods import METHODS, NETWORKS
from run.viewing.hands import Hand

CONTACT_WEIGHT = 1.0


class Methods:
    """The methods that can be shown, in the order of tables.

    Args:
        networks: trained networks by their short names; those that are missing are not offered.
    """

    def __init__(self, networks: Mapping[str, Retargeting]) -> None:
        self._networks = dict(networks)
        self.names = [name for name in METHODS if name in networks or name not in NETWORKS]

    def looks_around(self, method: str) -> bool:
        """Whether a frame's result depends on the frames around it."""
        return method in self._networks

    @torch.inference_mode()
    def pose(self, method: str, hand: Hand, source: Hand, features: HandFeatures, frame_rate: float) -> PosedHand:
        """The poses ``(frames,)`` in which `hand` means what the source means.

        Args:
            method: one of :attr:`names`.
            hand: the target.
            source: the hand that moves.
            features: ``(frames,)`` of its motion, one frame after the other.
            frame_rate: frames per second.
        """
        local = finger_part(quaternion_to_matrix(features.local_rotations))
        if method == "rotation_copy":
            return hand.pose(local)
        if method in self._networks:
            streaming = StreamingNetwork(self._networks[method], hand.shaped, hand.shape)
            return hand.shaped.with_tbs(streaming.tbs(source.shaped, local, frame_rate))
        tbs = quaternion_to_matrix(features.tbs)
        if method == "tbs_copy":
            return hand.shaped.with_tbs(tbs)
        weight = CONTACT_WEIGHT if method == "optimizer_contacts" else 0.0
        settings = OptimizerSettings(contact_weight=weight, frame_rate=frame_rate)
        return optimise(hand.shaped, features.finger_coords, features.palm_coords, tbs, settings)
