"""Linear blend skinning of a character's hand about its rest joints (mathematics §8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from model.hands import PosedHand


def linear_blend_skinning(
    vertices: Float[Tensor, "... vertices 3"],
    weights: Float[Tensor, "... vertices joints"],
    rest_joints: Float[Tensor, "... joints 3"],
    rotations: Float[Tensor, "... joints 3 3"],
    joints: Float[Tensor, "... joints 3"],
) -> Float[Tensor, "... vertices 3"]:
    """Vertices carried along by their joints: ``Σ_j w_vj (G_j (v − rest_j) + p_j)``.

    Args:
        vertices: ``(..., V, 3)`` at rest.
        weights: ``(..., V, J)`` skinning weights, rows adding up to 1.
        rest_joints: ``(..., J, 3)`` joints at rest, in the frame of ``vertices``.
        rotations: ``(..., J, 3, 3)`` global rotations.
        joints: ``(..., J, 3)`` posed joints. Leading dimensions broadcast; one unit of length throughout.

    Returns:
        ``(..., V, 3)`` in the frame of ``joints``.
    """
    moved = joints - (rotations @ rest_joints.unsqueeze(-1)).squeeze(-1)
    # Blend the transforms first: J products with (3 × 4) matrices for all vertices at once.
    transforms = torch.cat([rotations, moved.unsqueeze(-1)], dim=-1).flatten(-2)
    blended = (weights @ transforms).unflatten(-1, (3, 4))
    return (blended[..., :3] @ vertices.unsqueeze(-1)).squeeze(-1) + blended[..., 3]


def skin_hand(
    posed: PosedHand,
    vertices: Float[Tensor, "vertices 3"],
    weights: Float[Tensor, "vertices 21"],
    rest_joints: Float[Tensor, "21 3"],
) -> Float[Tensor, "... vertices 3"]:
    """The surface ``(..., V, 3)`` of a character's hand in a pose, wrist at the origin.

    Args:
        posed: the pose; lengths in the unit of ``vertices``.
        vertices: ``(V, 3)`` the hand's part of the mesh at rest; weights: ``(V, 21)``; rest_joints: ``(21, 3)``.
    """
    return linear_blend_skinning(vertices, weights, rest_joints, posed.global_rotations, posed.joints)
