"""Points of hands in known poses."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from data.open_hands.library import OpenHands
from data.points.orders import ORDERS
from model.hands import ShapedHand
from model.kinematics import tbs_from_angles
from model.limits import JointLimits
from model.topology import MIDDLE, ROOTS, THUMB
from tests.helpers import rotations

MIRROR = np.array([-1.0, 1, 1])
ORDER = {order.name: order for order in ORDERS}


@cache
def open_hand(name: str = "HandLong0") -> ShapedHand:
    return OpenHands.load().character_hand(name)


def angles(frames: int, seed: int = 0, share: float = 1.0) -> np.ndarray:
    """(F, 5, 3, 3) random twist, bend, splay within a share of the limits: fingers bend all over, the rest is around
    0; where a thumb is at 0 differs from hand to hand."""
    low, high = JointLimits().bounds.numpy()
    drawn = np.random.default_rng(seed).uniform(low, high, (frames, 5, 3, 3))
    drawn[..., [0, 2]] *= share
    drawn[:, THUMB] *= min(1.0, share + 0.1)
    return drawn


def hand_points(drawn: np.ndarray, side: str = "right", name: str = "HandLong0", seed: int = 0) -> np.ndarray:
    """(F, 21, 3) centimetres in hand order, turned and put anywhere, of an open hand in some poses."""
    posed = open_hand(name).with_tbs(tbs_from_angles(torch.from_numpy(drawn)).to(open_hand(name).offsets))
    joints = posed.joints.double().numpy() * (1 if side == "right" else MIRROR)
    turns = rotations(len(drawn), seed=seed).numpy()
    places = np.random.default_rng(seed).normal(scale=30, size=(len(drawn), 1, 3))
    return joints @ np.swapaxes(turns, -1, -2) + places


def palm(points: np.ndarray) -> float:
    return float(np.median(np.linalg.norm(points[:, ROOTS[MIDDLE]] - points[:, 0], axis=-1)))


def listed(points: np.ndarray, order: str) -> np.ndarray:
    """Points in hand order as a program lists them; joints that are none of the 21 lie half-way to the wrist."""
    known = ORDER[order]
    result = np.repeat(points.mean(axis=1, keepdims=True) / 2 + points[:, :1] / 2, known.count, axis=1)
    result[:, list(known.joints)] = points
    return result
