"""Anatomical axes of the open hands, and posing their meshes: what characters and the parametric hand share.

Right hands in the project's frame. Tensors are float64. See mathematics §2 and §7.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.hands import ShapedHand, offset_hand
from model.kinematics import fingers_of, tbs_from_angles
from model.skinning import linear_blend_skinning
from model.topology import BONES_PER_FINGER, N_FINGERS, N_JOINTS, PARENTS


def offsets_of(joints: Tensor) -> Tensor:
    """Bone vectors ``(..., 21, 3)`` of rest joints; the wrist's is zero."""
    bones = joints[..., 1:, :] - joints[..., list(PARENTS[1:]), :]
    return torch.cat([torch.zeros_like(joints[..., :1, :]), bones], dim=-2)


def bend_across(vertices: Tensor, faces: Tensor, hinge_faces: Tensor, hinge_weights: Tensor) -> Tensor:
    """Bend directions ``(..., 5, 3)`` across the fingers, tied to the surface ``vertices (..., V, 3)``.

    Args:
        faces: ``(F, 3)``; hinge_faces: ``(5, 2)``; hinge_weights: ``(5, 2, 3)`` barycentric.
    """
    corners = vertices[..., faces[hinge_faces], :]
    points = (hinge_weights[..., None] * corners).sum(-2)
    across = points[..., 1, :] - points[..., 0, :]
    return across / across.norm(dim=-1, keepdim=True)


def finger_axes(offsets: Tensor, bend: Tensor) -> Tensor:
    """Axes ``(..., 5, 4, 3, 3)``, rows twist, bend, splay; the tip repeats the last bone's (mathematics §7).

    Args:
        offsets: ``(..., 21, 3)`` bone vectors; bend: ``(..., 5, 3)`` unit directions across the fingers.
    """
    bones = fingers_of(offsets)[..., 1:, :]
    twist = bones / bones.norm(dim=-1, keepdim=True)
    twist = torch.cat([twist, twist[..., -1:, :]], dim=-2)
    bend = bend.unsqueeze(-2)
    bend = bend - (bend * twist).sum(-1, keepdim=True) * twist
    bend = bend / bend.norm(dim=-1, keepdim=True)
    return torch.stack([twist, bend, torch.linalg.cross(twist, bend, dim=-1)], dim=-2)


def tbs_of(bend: Tensor, splay: Tensor) -> Tensor:
    """Rotations ``(..., 5, 3, 3, 3)`` from bends ``(..., 5, 3)`` and root splays ``(..., 5)``, radians, no twist."""
    angles = torch.zeros(*bend.shape, 3, dtype=bend.dtype)
    angles[..., 1] = bend
    angles[..., 0, 2] = splay
    return tbs_from_angles(angles)


def reposed(vertices: Tensor, joints: Tensor, weights: Tensor, hand: ShapedHand, tbs: Tensor) -> tuple[Tensor, Tensor]:
    """A mesh and its joints in another pose, by linear blend skinning.

    Args:
        vertices: ``(V, 3)``; joints: ``(21, 3)`` at rest; weights: ``(V, 16)`` wrist and 15 bones.
        hand: the hand of those joints; tbs: ``(..., 5, 3, 3, 3)``.

    Returns:
        ``(..., V, 3)`` and ``(..., 21, 3)``.
    """
    posed = hand.with_tbs(tbs)
    bones = [0, *(1 + 4 * f + k for f in range(N_FINGERS) for k in range(BONES_PER_FINGER))]
    turns, heads = posed.global_rotations[..., bones, :, :], posed.joints[..., bones, :]
    return linear_blend_skinning(vertices, weights, joints[bones], turns, heads), posed.joints


def hand_of(joints: Tensor, bend: Tensor, side: str = "right") -> ShapedHand:
    """The hand with rest ``joints (..., 21, 3)`` whose fingers bend about ``bend (..., 5, 3)``."""
    if joints.shape[-2:] != (N_JOINTS, 3):
        raise ValueError(f"`joints` must end with ({N_JOINTS}, 3); got {tuple(joints.shape)}")
    offsets = offsets_of(joints)
    return offset_hand(offsets, finger_axes(offsets, bend), side)


def finger_to_palm(joints: Tensor) -> Tensor:
    """Finger lengths over palm length ``(..., 5)``: root to tip along the bones, over wrist to middle root."""
    bones = fingers_of(offsets_of(joints))
    return bones[..., 1:, :].norm(dim=-1).sum(-1) / bones[..., :1, 0, :].norm(dim=-1)
