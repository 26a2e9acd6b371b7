"""The published direct optimiser of one frame's pose: Adam on quaternions (mathematics §9).

Kept to reproduce its numbers. :mod:`model.optimizer` finds better poses in a few steps, for whole sequences at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi

import torch
from jaxtyping import Float, Int
from pytorch3d.transforms import (
    axis_angle_to_matrix,
    matrix_to_quaternion,
    quaternion_to_axis_angle,
    quaternion_to_matrix,
    standardize_quaternion,
)
from torch import Tensor

from model import kinematics
from model.hands import PosedHand, ShapedHand
from model.losses import FOUR_FINGERS
from model.semantics import SemanticMatrix, SourceDirections
from model.topology import INDEX, JOINTS_PER_FINGER, MIDDLE, N_FINGER_JOINTS, N_FINGERS, PINKY, RING, THUMB

ADJACENT = {
    MIDDLE: (RING, INDEX),
    RING: (MIDDLE, PINKY),
    PINKY: (RING,),
    INDEX: (MIDDLE,),
    THUMB: (MIDDLE, RING, PINKY, INDEX),
}
N_NEIGHBOURS = 2
LIMITS_WEIGHT = 0.1
GOOD_ENOUGH = 0.96
"""Both mean cosines above this end the search."""


@dataclass(frozen=True)
class Progress:
    """What a step began with: total loss and its parts, as they are reported."""

    iteration: int
    loss: float
    finger: float
    palm: float
    twist: float
    splay: float
    bend: float

    def __str__(self) -> str:
        return (
            f"iter {self.iteration:.2f} loss {self.loss:.2f} corr_palm_dir_loss: {self.palm:.2f} "
            f"corr_finger_dir_loss {self.finger:.2f} twist_loss {self.twist:.2f} splay_loss {self.splay:.2f} "
            f"bend_loss {self.bend:.2f}"
        )


def optimise_frame(
    hand: ShapedHand,
    matrix: SemanticMatrix,
    start: Float[Tensor, "1 1 5 3 4"],
    lr: float,
    iterations: int,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Float[Tensor, "1 1 5 3 4"]:
    """Pose one hand by the published search.

    Args:
        hand: the target, leading dimensions ``(1, 1)``.
        matrix: the source's, leading dimensions ``(1, 1)``.
        start: ``(1, 1, 5, 3, 4)`` twist-bend-splay quaternions to begin with.
        lr: Adam's learning rate.
        iterations: steps at most.
        report: called at every step.

    Returns:
        ``(1, 1, 5, 3, 4)`` quaternions, not of unit length.
    """
    quaternions = start.clone().requires_grad_()
    directions = SourceDirections(matrix)
    neighbours = nearest_neighbours(directions.distance[..., :N_FINGER_JOINTS])
    adam = torch.optim.Adam([quaternions], lr=lr)
    for iteration in range(iterations):
        finger, palm = directions.cosines(*_joints_and_frames(hand, quaternions))
        finger_loss, palm_loss = -finger.gather(-1, neighbours).mean(), -palm.mean()
        twist, splay, bend = joint_penalties(quaternions)
        loss = finger_loss + palm_loss + LIMITS_WEIGHT * (twist + splay + bend)
        parts = (loss, finger_loss, palm_loss, twist, splay, bend)
        report(Progress(iteration, *(part.item() for part in parts)))
        adam.zero_grad()
        loss.backward()
        adam.step()
        if -finger_loss > GOOD_ENOUGH and -palm_loss > GOOD_ENOUGH:
            break
    return quaternions.detach()


def nearest_neighbours(distance: Float[Tensor, "*batch 20 20"]) -> Int[Tensor, "*batch 20 2"]:
    """For each finger joint the two nearest joints of adjacent fingers, ``(..., 20, 2)``.

    Args:
        distance: ``(..., 20, 20)`` between the source's finger joints.
    """
    allowed = torch.zeros(N_FINGERS, JOINTS_PER_FINGER, N_FINGERS, JOINTS_PER_FINGER, dtype=torch.bool)
    for finger, others in ADJACENT.items():
        allowed[finger, :, list(others)] = True
    allowed = allowed.reshape(N_FINGER_JOINTS, N_FINGER_JOINTS).to(distance.device)
    return distance.masked_fill(~allowed, float("inf")).topk(N_NEIGHBOURS, largest=False).indices


def joint_penalties(
    quaternions: Float[Tensor, "... 5 3 4"],
) -> tuple[Float[Tensor, ""], Float[Tensor, ""], Float[Tensor, ""]]:
    """Sums over the joints of squared twists, splays and bends that a hand cannot make; bends are not clamped."""
    angles = kinematics.tbs_angles(quaternion_to_matrix(quaternions))
    twist, bend, splay = angles.unbind(-1)
    roots = torch.relu(splay[..., FOUR_FINGERS, 0].abs() - pi / 18).square().sum(-1)
    thumb = torch.relu(splay[..., THUMB, 0].abs() - pi / 3).square()
    splay = splay[..., 1:].square().flatten(-2).sum(-1) + thumb + roots
    bend = torch.relu(-bend).square() + torch.relu(bend - pi / 2).square()
    return twist.square().flatten(-2).sum(-1).mean(), splay.mean(), bend.flatten(-2).sum(-1).mean()


def _joints_and_frames(
    hand: ShapedHand, quaternions: Float[Tensor, "... 5 3 4"]
) -> tuple[Float[Tensor, "... 21 3"], Float[Tensor, "... 20 3 3"]]:
    """Joints and frames of the pose that quaternions of any length stand for.

    On the way to a MANO model the published program turns quaternions into rotation vectors as if they were of unit
    length, which makes the model's angles longer by the quaternions' length; its frames are not affected.
    """
    posed = hand.with_tbs(quaternion_to_matrix(quaternions))
    if hand.surface is None:
        return posed.joints, posed.frames
    return _bent_by_length(posed, quaternions.norm(dim=-1, keepdim=True)).joints, posed.frames


def _bent_by_length(posed: PosedHand, length: Float[Tensor, "... 5 3 1"]) -> PosedHand:
    vectors = quaternion_to_axis_angle(standardize_quaternion(matrix_to_quaternion(posed.local)))
    return posed.shaped.with_local_rotations(axis_angle_to_matrix(vectors * length))
