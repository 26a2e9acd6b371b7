"""Solving hand shapes for a hand's own proportions: stay near the written angles, but let the right points touch.

A shape is given as angles and *contacts*: pairs of joints that must meet, or should lie at a given distance. Each
problem is a small damped least-squares (Gauss–Newton) search; many are solved at once. Right hands only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from data.open_hands.anatomy import tbs_of
from model.hands import PosedHand, ShapedHand
from model.topology import BONES_PER_FINGER, N_FINGERS, N_JOINTS, THUMB

N_ANGLES = BONES_PER_FINGER + 1
"""Per finger: the bends of its three joints, and the splay of its root."""
ITERATIONS = 24
TOUCHING = 0.01
"""A touch is accepted when it is closer than this, in palm lengths."""
NEAR_WEIGHT = 0.1
"""How much less than a touch a wanted distance counts: it makes a shape look right, nothing depends on it."""

# Degrees: bends, root splay. At a bend of 90 twist and splay lose their meaning, so nothing comes near it.
_FINGER_LIMITS = ((-10, 86), (0, 86), (0, 80), (-25, 25))
_THUMB_LIMITS = ((-20, 75), (-10, 70), (-15, 85), (-30, 60))
_STIFFNESS = (1.0, 1.0, 1.4, 1.6)  # how dear a radian away from the written angle is
_THUMB_STIFFNESS = (0.6, 1.0, 1.0, 0.6)


@dataclass(frozen=True)
class Contacts:
    """Contacts of a batch of problems; unused rows have weight 0.

    pairs: ``(N, C, 2)`` joints; distance: ``(N, C)`` palm lengths, 0 for a touch; weight: ``(N, C)``.
    """

    pairs: Tensor
    distance: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Solution:
    """Angles ``(N, 5, 4)`` in radians, and how far each contact is from what it should be ``(N, C)``, palm lengths."""

    angles: Tensor
    error: Tensor

    def accepted(self, contacts: Contacts) -> Tensor:
        """Which problems ``(N,)`` meet all their touches."""
        touch = (contacts.weight > 0) & (contacts.distance == 0)
        return ((self.error <= TOUCHING) | ~touch).all(-1)


def limits() -> tuple[Tensor, Tensor]:
    """Lowest and highest angles ``(5, 4)`` in radians."""
    rows = torch.tensor([_FINGER_LIMITS] * THUMB + [_THUMB_LIMITS], dtype=torch.float64).deg2rad()
    return rows[..., 0], rows[..., 1]


def posed(hand: ShapedHand, angles: Tensor) -> PosedHand:
    """The hand with ``angles (..., 5, 4)``."""
    return hand.with_tbs(tbs_of(angles[..., :BONES_PER_FINGER], angles[..., BONES_PER_FINGER]))


def solve(hand: ShapedHand, written: Tensor, contacts: Contacts) -> Solution:
    """Angles near ``written (N, 5, 4)`` that satisfy the contacts and the joint limits.

    Args:
        hand: batch of N right hands.
        written: wanted angles, radians; clamped to the limits first.
        contacts: of the N problems.
    """
    low, high = (bound.flatten() for bound in limits())
    stiffness = torch.tensor([_STIFFNESS] * THUMB + [_THUMB_STIFFNESS], dtype=written.dtype).flatten() ** 2
    goal = written.flatten(1).clamp(low, high)
    angles = goal.clone()
    eye = torch.eye(len(low), dtype=written.dtype)
    for iteration in range(ITERATIONS):
        weight = 10.0 * 40.0 ** min(1.0, iteration / (ITERATIONS * 0.5))  # from soft to all but hard
        state = posed(hand, angles.unflatten(-1, (N_FINGERS, N_ANGLES)))
        residual, slope = _residuals(state, angles, contacts)
        pull = stiffness * (angles - goal)
        gradient = weight**2 * (slope.transpose(-1, -2) @ residual[..., None])[..., 0] + pull
        # Angles at a limit that would be pushed beyond it stay there, and the others take over.
        free = ~(((angles <= low) & (gradient > 0)) | ((angles >= high) & (gradient < 0)))
        slope = slope * free.unsqueeze(-2)
        system = weight**2 * slope.transpose(-1, -2) @ slope + torch.diag(stiffness) + 0.01 * eye
        step = -torch.linalg.solve(system, gradient * free) * free
        caution = 1.0 if iteration < ITERATIONS // 2 else 0.6  # full steps can swing to and fro for ever
        angles = (angles + caution * step.clamp(-0.3, 0.3)).clamp(low, high)
    angles = angles.unflatten(-1, (N_FINGERS, N_ANGLES))
    residual, _ = _residuals(posed(hand, angles), angles.flatten(1), contacts)
    error = residual.unflatten(-1, (-1, 3)).norm(dim=-1) / contacts.weight.clamp_min(1e-9)
    return Solution(angles, torch.where(contacts.weight > 0, error, 0))


def _residuals(state: PosedHand, angles: Tensor, contacts: Contacts) -> tuple[Tensor, Tensor]:
    """Contact residuals ``(N, 3C)`` in palm lengths and their derivatives ``(N, 3C, 20)`` by the angles.

    On a parametric hand the derivative is that of its skeleton, which is near enough.
    """
    rows = torch.arange(len(angles))[:, None]
    palm = state.palm_length[:, None, None]
    slope = _joint_slopes(state, angles) / palm[..., None]  # (N, 21, 3, 20)
    first, second = contacts.pairs.unbind(-1)
    apart = (state.joints[rows, first] - state.joints[rows, second]) / palm
    slope = slope[rows, first] - slope[rows, second]
    length = apart.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    direction = apart / length
    distance = contacts.distance[..., None]
    keeps_distance = (distance > 0)[..., None]
    radial = direction[..., :, None] * (direction[..., None, :] @ slope)
    slope = torch.where(keeps_distance, radial, slope)
    weight = contacts.weight[..., None]
    return ((apart - distance * direction) * weight).flatten(1), (slope * weight[..., None]).flatten(1, 2)


def _joint_slopes(state: PosedHand, angles: Tensor) -> Tensor:
    """Derivatives ``(N, 21, 3, 20)`` of the joints by the angles: a turn moves what lies beyond its joint."""
    n = len(angles)
    frames = state.frames.unflatten(-3, (N_FINGERS, BONES_PER_FINGER + 1))[:, :, :BONES_PER_FINGER]
    joints = state.joints[:, 1:].unflatten(1, (N_FINGERS, BONES_PER_FINGER + 1))
    splay = torch.zeros(n, N_FINGERS, BONES_PER_FINGER, dtype=angles.dtype)
    splay[..., 0] = angles.unflatten(-1, (N_FINGERS, N_ANGLES))[..., BONES_PER_FINGER]
    # The frame is … Ry(bend) Rz(splay): undo the splay to see the bend axis.
    bend_axis = frames[..., 0] * splay.sin()[..., None] + frames[..., 1] * splay.cos()[..., None]
    arms = joints[:, :, None] - joints[:, :, :BONES_PER_FINGER, None]  # (N, 5, turning joint, moved joint, 3)
    beyond = torch.ones(BONES_PER_FINGER, BONES_PER_FINGER + 1, dtype=angles.dtype).triu(1)[..., None]
    by_bend = torch.linalg.cross(bend_axis[..., None, :].expand_as(arms), arms, dim=-1) * beyond
    root_splay = frames[:, :, 0, :, 2]
    by_splay = torch.linalg.cross(root_splay[:, :, None].expand_as(arms[:, :, 0]), arms[:, :, 0], dim=-1) * beyond[0]
    per_finger = torch.cat([by_bend, by_splay[:, :, None]], dim=2)  # (N, 5, 4 angles, 4 joints, 3)
    slopes = torch.zeros(n, N_JOINTS, 3, N_FINGERS, N_ANGLES, dtype=angles.dtype)
    for finger in range(N_FINGERS):
        moved = slice(1 + 4 * finger, 5 + 4 * finger)
        slopes[:, moved, :, finger] = per_finger[:, finger].permute(0, 2, 3, 1)
    return slopes.flatten(-2)
