"""The anatomy-based semantic matrix: where joints and palm anchors lie, seen from every finger joint (SPEC §4).

``finger_coords[i, j] = M_iᵀ (p_j − p_i) / d`` and the same with palm anchors for ``palm_coords``. ``M_i`` is the
twist-bend-splay frame of finger joint i and ``d`` the distance from the wrist to the root of the middle finger.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.topology import N_FINGER_JOINTS, PALM_ANCHORS, ROOTS, WRIST


def bone_frames(global_rotations: Tensor, axes: Tensor) -> Tensor:
    """Twist-bend-splay frames ``M_i = G_i Q_i`` of the 20 finger joints, in the wrist's frame.

    Args:
        global_rotations: ``(..., 21, 3, 3)``.
        axes: ``(..., 5, 4, 3, 3)`` rows twist, bend, splay.

    Returns:
        ``(..., 20, 3, 3)``; columns are the joint's twist, bend and splay directions.
    """
    return global_rotations[..., 1:, :, :] @ axes.flatten(-4, -3).transpose(-1, -2)


def palm_anchors(joints: Tensor) -> Tensor:
    """The nine palm anchors ``(..., 9, 3)`` between the wrist and the finger roots of ``joints (..., 21, 3)``."""
    roots = joints[..., [root for root, _ in PALM_ANCHORS], :]
    share = joints.new_tensor([share for _, share in PALM_ANCHORS]).unsqueeze(-1)
    return share * roots + (1 - share) * joints[..., WRIST : WRIST + 1, :]


def palm_length(joints: Tensor) -> Tensor:
    """Distance ``(...,)`` from the wrist to the root of the middle finger, the scale of a hand."""
    return (joints[..., ROOTS[0], :] - joints[..., WRIST, :]).norm(dim=-1)


def semantic_matrix(joints: Tensor, frames: Tensor, normalise: bool = True) -> tuple[Tensor, Tensor]:
    """The semantic matrix of posed hands.

    Args:
        joints: ``(..., 21, 3)`` joint positions, any unit.
        frames: ``(..., 20, 3, 3)`` twist-bend-splay frames.
        normalise: divide by the palm length, so that the matrix has no unit.

    Returns:
        ``finger_coords (..., 20, 20, 3)`` (diagonal zero) and ``palm_coords (..., 20, 9, 3)``.
    """
    seen = torch.cat([joints[..., 1:, :], palm_anchors(joints)], dim=-2)
    if normalise:
        seen = seen / palm_length(joints)[..., None, None]
    # p_j − p_i first, so that the diagonal is exactly zero and near joints keep their digits.
    difference = seen.unsqueeze(-3) - seen[..., :N_FINGER_JOINTS, None, :]
    coords = difference @ frames
    return coords[..., :N_FINGER_JOINTS, :], coords[..., N_FINGER_JOINTS:, :]


class SourceDirections:
    """The directions of a source's semantic matrix, prepared once and compared with any number of results.

    Args:
        finger_coords: ``(..., 20, 20, 3)`` the source's finger coordinates.
        palm_coords: ``(..., 20, 9, 3)`` its palm coordinates.
    """

    def __init__(self, finger_coords: Tensor, palm_coords: Tensor) -> None:
        coords = torch.cat([finger_coords, palm_coords], dim=-2).transpose(-1, -2)
        self.distance = coords.square().sum(-2).sqrt()  # (..., 20, 29)
        self.unit = coords / self.distance.clamp_min(_TINY).unsqueeze(-2)  # (..., 20, 3, 29)

    def cosines(self, joints: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines between the source's directions and those of a result.

        Args:
            joints: ``(..., 21, 3)`` joints of the result; frames: ``(..., 20, 3, 3)`` its frames.

        Returns:
            ``(..., 20, 20)`` towards finger joints (zero on the diagonal) and ``(..., 20, 9)`` towards palm anchors.
            The scale of the hands does not matter.
        """
        seen = torch.cat([joints[..., 1:, :], palm_anchors(joints)], dim=-2)
        cosines = _DirectionCosines.apply(seen, frames, self.unit)
        return cosines[..., :N_FINGER_JOINTS], cosines[..., N_FINGER_JOINTS:]


_TINY = 1e-12


class _DirectionCosines(torch.autograd.Function):
    """``cos_ij = (M_i u_ij) · e_ij`` with ``e_ij`` the direction from joint i to point j, and its gradient by hand.

    ``seen (..., 29, 3)`` joints and anchors, ``frames (..., 20, 3, 3)``, ``unit (..., 20, 3, 29)`` constant. Cosines
    ``(..., 20, 29)``. One pass over the matrix each way, where automatic differentiation needs about fifteen.
    """

    @staticmethod
    def forward(ctx, seen: Tensor, frames: Tensor, unit: Tensor) -> Tensor:
        points = seen.transpose(-1, -2)
        direction = points.unsqueeze(-3) - seen[..., :N_FINGER_JOINTS, :, None]  # (..., 20, 3, 29)
        inverse = direction.square().sum(-2).clamp_min_(_TINY**2).rsqrt_()
        direction *= inverse.unsqueeze(-2)
        turned = frames @ unit
        cosines = (turned * direction).sum(-2)
        ctx.save_for_backward(direction, inverse, turned, cosines, unit)
        return cosines

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor):
        direction, inverse, turned, cosines, unit = ctx.saved_tensors
        grad_frames = grad_seen = None
        if ctx.needs_input_grad[1]:
            grad_frames = (direction * grad.unsqueeze(-2)) @ unit.transpose(-1, -2)
        if ctx.needs_input_grad[0]:
            # d cos / d direction is the part of `turned` across the direction, over the length.
            pull = torch.addcmul(turned, direction, cosines.unsqueeze(-2), value=-1)
            pull *= (grad * inverse).unsqueeze(-2)
            grad_seen = pull.sum(-3).transpose(-1, -2).contiguous()
            grad_seen[..., :N_FINGER_JOINTS, :] -= pull.sum(-1)
        return grad_seen, grad_frames, None
