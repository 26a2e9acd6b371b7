"""Hands and poses drawn at random, to train a network that is to know every rig (mathematics §21).

Right hands of other proportions than any in a data set: palms narrow and wide, fingers short and long, thumbs here
and there, and axes as badly estimated as those of rigs from anywhere.
"""

from __future__ import annotations

from math import pi, radians

import torch
from jaxtyping import Float
from pytorch3d.transforms import axis_angle_to_matrix
from torch import Generator, Tensor

from model.hands import ShapedHand, offset_hand
from model.limits import JointLimits
from model.topology import BONES_PER_FINGER, N_FINGERS, THUMB

_FINGERS = [finger for finger in range(N_FINGERS) if finger != THUMB]
# Middle, ring, pinky, index, thumb; palm lengths, forward, towards the thumb, out of the back. Means of adult hands,
# rounded.
_ROOTS = [[1.0, 0.0, 0.02], [0.95, -0.20, 0.02], [0.87, -0.40, 0.0], [0.99, 0.24, 0.0], [0.31, 0.27, -0.13]]
_LENGTHS = [1.07, 1.0, 0.82, 0.98, 0.85]
_SHARES = [[0.47, 0.28, 0.25]] * 4 + [[0.42, 0.32, 0.26]]


class Draw:
    """Numbers from one generator."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator

    def normal(self, *size: int) -> Tensor:
        """Standard normal numbers."""
        return torch.randn(*size, generator=self.generator)

    def uniform(self, low: float, high: float, *size: int) -> Tensor:
        """Numbers from ``low`` to ``high``."""
        return low + (high - low) * torch.rand(*size, generator=self.generator)

    def number(self, below: int, *size: int) -> Tensor:
        """Whole numbers below ``below``."""
        return torch.randint(below, size, generator=self.generator)


def random_hands(count: int, draw: Draw) -> ShapedHand:
    """Right hands ``(count, …)`` in palm lengths."""
    width = draw.uniform(0.6, 1.7, count)
    roots = torch.tensor(_ROOTS).repeat(count, 1, 1)
    roots[:, _FINGERS, 1] *= width[:, None]
    roots[:, 1:THUMB, 0] += 0.05 * draw.normal(count, 3)
    roots[:, 1:THUMB, 1] += 0.03 * draw.normal(count, 3)
    roots[:, 0, 2] = 0.035 + 0.035 * draw.normal(count)
    roots[:, 1, 2] = 0.02 + 0.03 * draw.normal(count)
    roots[:, THUMB, 1] *= 0.3 + 0.7 * width
    roots[:, THUMB] += 0.08 * draw.normal(count, 3)
    roots[:, 0, 0] = (1 - roots[:, 0, 2].square()).sqrt()
    lengths = _lengths(count, draw)
    strange = (torch.rand(count, generator=draw.generator) < 0.5).float()  # half of them: axes badly estimated
    frames, flat = _frames(count, draw, strange)
    bones = flat * lengths[..., None]
    offsets = torch.cat([roots[:, :, None], bones], dim=2).flatten(1, 2)
    offsets = torch.cat([torch.zeros(count, 1, 3), offsets], dim=1)
    tips = frames[:, :, -1:] @ axis_angle_to_matrix(
        0.02 * strange[:, None, None, None] * draw.normal(count, N_FINGERS, 1, 3)
    )
    axes = torch.cat([frames, tips], dim=2).transpose(-1, -2)
    return offset_hand(offsets, axes, "right")


def _lengths(count: int, draw: Draw) -> Float[Tensor, "count 5 3"]:
    fingers = torch.tensor(_LENGTHS) * draw.uniform(0.45, 1.2, count, 1) * (0.10 * draw.normal(count, N_FINGERS)).exp()
    fingers[:, THUMB] *= (0.15 * draw.normal(count)).exp()
    shares = torch.tensor(_SHARES) * (0.15 * draw.normal(count, N_FINGERS, BONES_PER_FINGER)).exp()
    return fingers[..., None] * shares / shares.sum(-1, keepdim=True)


def _frames(
    count: int, draw: Draw, strange: Float[Tensor, " count"]
) -> tuple[Float[Tensor, "count 5 3 3 3"], Float[Tensor, "count 5 3 3"]]:
    """Frames of joints (columns twist, bend, splay) in a flat hand, and the directions of its bones."""
    odd, zero = strange[:, None, None], torch.zeros(count, N_FINGERS, BONES_PER_FINGER)
    roll = (3 + 7 * odd) * draw.normal(count, N_FINGERS, 1) + (0.5 + 2 * odd) * draw.normal(*zero.shape)
    roll[:, THUMB] += draw.uniform(-100, -45, count, 1) + 4 * draw.normal(count, BONES_PER_FINGER)
    yaw = zero.clone()
    yaw[:, THUMB] = draw.uniform(10, 70, count, 1)
    yaw[:, THUMB, 1:] += ((4 + 11 * strange[:, None]) * draw.normal(count, 2) + 8).cumsum(-1)
    roll, yaw = torch.deg2rad(roll), torch.deg2rad(yaw)
    flat = torch.stack([yaw.cos(), yaw.sin(), zero], dim=-1)
    tilt = radians(3) * odd[..., None] * draw.normal(*zero.shape, 3)
    tilt[..., 0] = 0
    turns = torch.stack([zero, zero, yaw], -1), torch.stack([roll, zero, zero], -1), tilt
    first, second, third = (axis_angle_to_matrix(turn) for turn in turns)
    return first @ second @ third, flat


def warped_hands(hands: ShapedHand, draw: Draw) -> ShapedHand:
    """Right hands ``(count, …)`` with other proportions: longer and shorter bones, wider palms, other thumbs."""
    offsets, count = hands.offsets.clone(), len(hands.offsets)
    bones = offsets[:, 1:].unflatten(1, (N_FINGERS, BONES_PER_FINGER + 1))
    palm = bones[:, 0, 0].norm(dim=-1)
    ratio = bones[:, _FINGERS, 1:].norm(dim=-1).sum(-1).mean(-1) / palm
    factor = draw.uniform(0.5, 1.15, count) / ratio
    scale = (
        factor[:, None, None] * (0.08 * (draw.normal(count, N_FINGERS, 1) + draw.normal(count, N_FINGERS, 3))).exp()
    )
    scale[:, THUMB] *= (factor.rsqrt() * (0.08 * draw.normal(count)).exp())[:, None]
    bones[:, :, 1:] *= scale[..., None]
    bones[:, 1:, 0] += palm[:, None, None] * 0.02 * draw.normal(count, N_FINGERS - 1, 3)
    bones[:, THUMB, 0] += palm[:, None] * 0.025 * draw.normal(count, 3)
    sigma = torch.tensor([radians(3)] * 4 + [radians(8)])
    roll = torch.zeros(count, N_FINGERS, 1, 3)
    roll[:, :, 0, 0] = sigma * draw.normal(count, N_FINGERS)
    axes = axis_angle_to_matrix(roll) @ hands.axes
    return offset_hand(offsets, axes, "right")


def random_angles(count: int, draw: Draw) -> Float[Tensor, "count 5 3 3"]:
    """Poses within the limits: twist, bend and splay of each joint, radians."""
    angles = torch.zeros(count, N_FINGERS, BONES_PER_FINGER, 3)
    curl = draw.uniform(-0.25, 1.5, count, N_FINGERS, 1) * draw.uniform(0.25, 1, count, 1, 1)
    angles[..., 1] = curl * draw.uniform(0.4, 1.2, count, N_FINGERS, 3) + 0.12 * draw.normal(count, N_FINGERS, 3)
    angles[:, _FINGERS, 0, 2] = 0.16 * draw.normal(count, 4)
    angles[:, _FINGERS, :, 0] = 0.04 * draw.normal(count, 4, 3)
    angles[:, THUMB, 0, 0] = 0.3 * draw.normal(count)
    angles[:, THUMB, 0, 1] = draw.uniform(-0.5, 1.1, count)
    angles[:, THUMB, 0, 2] = draw.uniform(-0.5, 1.05, count)
    angles[:, THUMB, 1:, 1] = draw.uniform(-0.2, 1.2, count, 2)
    return angles.clamp(*JointLimits().like(angles))


def shaken(tbs: Float[Tensor, "count 5 3 3 3"], share: float, draw: Draw) -> Float[Tensor, "count 5 3 3 3"]:
    """Poses of which a ``share`` is turned at random, beyond the limits too, as those of real rigs are."""
    turn = 0.2 * draw.normal(*tbs.shape[:-1])
    turn[:, THUMB] *= 1.6
    turn = turn * (torch.rand(len(tbs), 1, 1, 1, generator=draw.generator) < share)
    return tbs @ axis_angle_to_matrix(turn.clamp(-pi / 2, pi / 2))
