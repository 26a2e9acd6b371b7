"""Forward kinematics, the canonical rest pose, and twist-bend-splay rotations both ways (mathematics §2).

Everything works on rotation matrices acting on column vectors, with any leading batch dimensions. The five
fingers are handled side by side: only the three steps along a finger are sequential.

``axes`` are the anatomical axes of the finger joints, rows twist, bend and splay, in the frame of the joint at
rest: twist points down the bone, splay out of the back of the hand, and a positive turn about bend closes it.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from model.rotations import align, unit
from model.topology import (
    BONES_PER_FINGER,
    INDEX,
    JOINTS_PER_FINGER,
    MIDDLE,
    N_FINGERS,
    PINKY,
    THUMB,
)

ROLLED = 0.5
"""A bone of a finger whose cosine with its finger's straight way is below this rests rolled in."""


def fingers_of(joints: Shaped[Tensor, "... 21 n"]) -> Shaped[Tensor, "... 5 4 n"]:
    """View the 20 finger joints of a per-joint vector ``(..., 21, 3)`` as ``(..., 5, 4, 3)``."""
    return joints[..., 1:, :].unflatten(-2, (N_FINGERS, JOINTS_PER_FINGER))


def finger_part(local: Float[Tensor, "*batch 21 3 3"]) -> Float[Tensor, "*batch 5 3 3 3"]:
    """The 15 rotating joints ``(..., 5, 3, 3, 3)`` of rotations of all joints ``(..., 21, 3, 3)``."""
    return local[..., 1:, :, :].unflatten(-3, (N_FINGERS, JOINTS_PER_FINGER))[..., :BONES_PER_FINGER, :, :]


def with_wrist_and_tips(local: Float[Tensor, "*batch 5 3 3 3"]) -> Float[Tensor, "*batch 21 3 3"]:
    """All 21 local rotations ``(..., 21, 3, 3)`` from those of the 15 rotating joints ``(..., 5, 3, 3, 3)``.

    The wrist and the tips get the identity.
    """
    batch = local.shape[:-4]
    eye = torch.eye(3, dtype=local.dtype, device=local.device)
    tips = torch.cat([local, eye.expand(*batch, N_FINGERS, 1, 3, 3)], dim=-3)
    return torch.cat([eye.expand(*batch, 1, 3, 3), tips.flatten(-4, -3)], dim=-3)


def with_tips(fingers: Float[Tensor, "*batch 5 3 3 3"]) -> Float[Tensor, "*batch 5 4 3 3"]:
    """Global rotations ``(..., 5, 4, 3, 3)`` of the finger joints from those of the rotating ones; tips as parents."""
    return torch.cat([fingers, fingers[..., -1:, :, :]], dim=-3)


def with_wrist(fingers: Float[Tensor, "*batch 5 3 3 3"]) -> Float[Tensor, "*batch 21 3 3"]:
    """Global rotations ``(..., 21, 3, 3)`` of all joints from those of the rotating ones, wrist the identity."""
    all_joints = with_tips(fingers).flatten(-4, -3)
    eye = torch.eye(3, dtype=fingers.dtype, device=fingers.device)
    return torch.cat([eye.expand(*fingers.shape[:-4], 1, 3, 3), all_joints], dim=-3)


def finger_chain(local: Float[Tensor, "*batch 5 3 3 3"]) -> Float[Tensor, "*batch 5 3 3 3"]:
    """Global rotations of the rotating joints, ``G_k = G_{k-1} F_k`` below a wrist at rest.

    Args:
        local: ``(..., 5, 3, 3, 3)`` local rotations F.

    Returns:
        ``(..., 5, 3, 3, 3)`` global rotations.
    """
    first = local[..., 0, :, :]
    second = first @ local[..., 1, :, :]
    third = second @ local[..., 2, :, :]
    return torch.stack([first, second, third], dim=-3)


def finger_positions(
    rotations: Float[Tensor, "... 5 3 3 3"], offsets: Float[Tensor, "... 21 3"]
) -> Float[Tensor, "... 21 3"]:
    """Joint positions from the global rotations of the rotating joints, wrist at the origin and unturned.

    Args:
        rotations: ``(..., 5, 3, 3, 3)`` global rotations.
        offsets: ``(..., 21, 3)`` bone vectors from the parent, in the parent's frame.

    Returns:
        ``(..., 21, 3)`` positions in the unit of ``offsets``.
    """
    bones = fingers_of(offsets)
    roots = bones[..., :1, :]
    steps = (rotations @ bones[..., 1:, :, None]).squeeze(-1)
    roots = roots.expand(*steps.shape[:-2], 1, 3)
    fingers = torch.cat([roots, steps], dim=-2).cumsum(dim=-2).flatten(-3, -2)
    return torch.cat([torch.zeros_like(fingers[..., :1, :]), fingers], dim=-2)


def rest_pose(offsets: Float[Tensor, "*batch 21 3"]) -> Float[Tensor, "*batch 5 3 3 3"]:
    """Rotations R that bring a hand into its canonical rest pose: fingers straight, flat, parallel (mathematics §2).

    The palm plane goes through the wrist and the roots of index and pinky. Every bone is turned into it; all but
    the thumb's are then turned along the direction of the middle finger's root. Which side of the plane is up makes no
    difference, so right and left hands are treated alike.

    A bone that rests rolled in, as in a fist, has no direction of its own in the palm: it is turned the shortest way,
    and the thumb of such a hand is straightened too.

    Args:
        offsets: ``(..., 21, 3)`` bone vectors; any unit.

    Returns:
        ``(..., 5, 3, 3, 3)`` local rotations of the 15 rotating joints.
    """
    bones = fingers_of(offsets)
    roots = bones[..., 0, :]
    normal = unit(torch.linalg.cross(roots[..., INDEX, :], roots[..., PINKY, :], dim=-1))
    normal = normal.unsqueeze(-2)  # one for all fingers
    forward = _flatten_onto(roots[..., MIDDLE, :].unsqueeze(-2), normal)

    parallel = torch.arange(N_FINGERS, device=offsets.device) != THUMB
    across = torch.linalg.cross(normal, forward, dim=-1)
    above, along = torch.eye(3, dtype=offsets.dtype, device=offsets.device), None
    fist = torch.zeros_like(roots[..., :1, 0], dtype=torch.bool)
    turns = []
    for k in range(BONES_PER_FINGER):
        direction = unit((above @ bones[..., k + 1, :, None]).squeeze(-1))
        rolled = parallel & ((direction * forward).sum(-1) < ROLLED)
        fist = fist | rolled.any(-1, keepdim=True)
        flat = _flatten_onto(direction, normal)
        if along is not None:
            flat = torch.where((fist & ~parallel)[..., None], along, flat)
        goal = torch.where(parallel[:, None], forward, flat)
        shortest = align(direction, goal, across)
        turn = torch.where(
            rolled[..., None, None], shortest, align(flat, goal, normal) @ align(direction, flat, forward)
        )
        turns.append(above.transpose(-1, -2) @ turn @ above)
        above, along = turn @ above, goal
    return torch.stack(turns, dim=-3)


def local_from_tbs(
    tbs: Float[Tensor, "... 5 3 3 3"], axes: Float[Tensor, "... 5 4 3 3"], rest: Float[Tensor, "... 5 3 3 3"]
) -> Float[Tensor, "... 5 3 3 3"]:
    """Local rotations ``F = R Q S Qᵀ`` of twist-bend-splay rotations S (mathematics §2).

    Args:
        tbs: ``(..., 5, 3, 3, 3)`` twist-bend-splay rotations.
        axes: ``(..., 5, 4, 3, 3)`` rows twist, bend, splay (``Q`` is their transpose).
        rest: ``(..., 5, 3, 3, 3)`` canonical rest pose R.
    """
    rows = axes[..., :BONES_PER_FINGER, :, :]
    return (rest @ rows.transpose(-1, -2)) @ tbs @ rows


def tbs_from_local(
    local: Float[Tensor, "... 5 3 3 3"], axes: Float[Tensor, "... 5 4 3 3"], rest: Float[Tensor, "... 5 3 3 3"]
) -> Float[Tensor, "... 5 3 3 3"]:
    """Twist-bend-splay rotations ``S = Qᵀ Rᵀ F Q``; the inverse of :func:`local_from_tbs`."""
    rows = axes[..., :BONES_PER_FINGER, :, :]
    columns = rows.transpose(-1, -2)
    return (rest @ columns).transpose(-1, -2) @ local @ columns


def tbs_angles(tbs: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Angles ``(..., 3)`` twist, bend, splay in radians of ``S = Rx(twist) Ry(bend) Rz(splay)``, ``(..., 3, 3)``.

    The bend lies in [−π/2, π/2]; at its ends twist and splay are not unique. Gradients are finite inside.
    """
    twist = torch.atan2(-tbs[..., 1, 2], tbs[..., 2, 2])
    bend = torch.asin(tbs[..., 0, 2].clamp(-1, 1))
    splay = torch.atan2(-tbs[..., 0, 1], tbs[..., 0, 0])
    return torch.stack([twist, bend, splay], dim=-1)


def tbs_from_angles(angles: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotations ``(..., 3, 3)`` from twist, bend, splay ``(..., 3)`` in radians: ``Rx(twist) Ry(bend) Rz(splay)``."""
    (ct, cb, cs), (st, sb, ss) = angles.cos().unbind(-1), angles.sin().unbind(-1)
    rows = [
        torch.stack([cb * cs, -cb * ss, sb], dim=-1),
        torch.stack([ct * ss + st * sb * cs, ct * cs - st * sb * ss, -st * cb], dim=-1),
        torch.stack([st * ss - ct * sb * cs, st * cs + ct * sb * ss, ct * cb], dim=-1),
    ]
    return torch.stack(rows, dim=-2)


def _flatten_onto(vector: Float[Tensor, "... 3"], normal: Float[Tensor, "... 3"]) -> Float[Tensor, "... 3"]:
    return unit(vector - (vector * normal).sum(-1, keepdim=True) * normal)
