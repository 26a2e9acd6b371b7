"""Other proportions for a character's hand: bones longer or shorter, and a surface that follows them.

A hand of shape components has its own ways to change (:class:`model.hands.ManoHand`); this is for hands that are
driven by offsets. Directions of bones and anatomical axes stay, so the same angles still mean the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from model.rotations import unit
from model.topology import INDEX, JOINTS_PER_FINGER, MIDDLE, N_FINGERS, PARENTS, PINKY, ROOTS, WRIST


@dataclass(frozen=True)
class Proportions:
    """Factors of a hand's lengths; 1 leaves them as they are. All must be above zero."""

    finger_length: float = 1.0
    """Of all fingers."""
    palm_length: float = 1.0
    """Of the palm, from the wrist towards the root of the middle finger."""
    palm_width: float = 1.0
    """Of the palm, from the index to the pinky."""
    fingers: tuple[float, float, float, float, float] = (1.0, 1.0, 1.0, 1.0, 1.0)
    """Of each finger in hand order (middle, ring, pinky, index, thumb), beside ``finger_length``."""

    def __post_init__(self) -> None:
        factors = (self.finger_length, self.palm_length, self.palm_width, *self.fingers)
        if len(self.fingers) != N_FINGERS or not all(0 < factor < float("inf") for factor in factors):
            raise ValueError(f"proportions must be {N_FINGERS} fingers' and three more factors above 0; got {self}")


def stretch_offsets(offsets: Float[Tensor, "*batch 21 3"], proportions: Proportions) -> Float[Tensor, "*batch 21 3"]:
    """Bone vectors ``(..., 21, 3)`` of the changed hand from those at rest, any unit."""
    stretched = offsets.clone()
    factors = _finger_factors(offsets, proportions)
    bones = stretched[..., 1:, :].unflatten(-2, (N_FINGERS, JOINTS_PER_FINGER))
    bones[..., 1:, :] *= factors[:, None, None]
    roots = list(ROOTS)
    stretched[..., roots, :] = (_palm_map(offsets, proportions).unsqueeze(-3) @ offsets[..., roots, :, None])[..., 0]
    return stretched


def stretch_surface(
    vertices: Float[Tensor, "vertices 3"],
    weights: Float[Tensor, "vertices 21"],
    joints: Float[Tensor, "21 3"],
    proportions: Proportions,
) -> tuple[Float[Tensor, "vertices 3"], Float[Tensor, "21 3"]]:
    """A hand's surface at rest that fits the stretched bones.

    Each vertex goes along with its joints, as in skinning, but by linear maps: along a finger's bone the surface gets
    longer, across it stays as thick.

    Args:
        vertices: ``(V, 3)`` at rest; weights: ``(V, 21)``, rows adding up to 1; joints: ``(21, 3)`` at rest.
        proportions: the factors.

    Returns:
        Vertices ``(V, 3)`` and joints ``(21, 3)`` of the changed hand, the wrist where it was.
    """
    offsets = joints - joints[[max(parent, WRIST) for parent in PARENTS]]
    moved = [joints[WRIST]]
    for joint, offset in enumerate(stretch_offsets(offsets, proportions)[1:], start=1):
        moved.append(moved[PARENTS[joint]] + offset)
    moved = torch.stack(moved)
    maps = _joint_maps(offsets, proportions)  # (21, 3, 3)
    shifts = moved - (maps @ joints.unsqueeze(-1)).squeeze(-1)
    blended = (weights @ torch.cat([maps, shifts.unsqueeze(-1)], dim=-1).flatten(-2)).unflatten(-1, (3, 4))
    return (blended[..., :3] @ vertices.unsqueeze(-1)).squeeze(-1) + blended[..., 3], moved


def _finger_factors(like: Tensor, proportions: Proportions) -> Float[Tensor, "5"]:
    return proportions.finger_length * like.new_tensor(proportions.fingers)


def _palm_map(offsets: Float[Tensor, "*batch 21 3"], proportions: Proportions) -> Float[Tensor, "*batch 3 3"]:
    """``(..., 3, 3)``: longer along the palm, wider across it, as thick as it was."""
    index, pinky, middle = (offsets[..., ROOTS[finger], :] for finger in (INDEX, PINKY, MIDDLE))
    along = unit(middle)
    across = unit(torch.linalg.cross(torch.linalg.cross(index, pinky, dim=-1), along, dim=-1))
    eye = torch.eye(3, dtype=offsets.dtype, device=offsets.device)
    return eye + _along(along, proportions.palm_length) + _along(across, proportions.palm_width)


def _joint_maps(offsets: Float[Tensor, "*batch 21 3"], proportions: Proportions) -> Float[Tensor, "*batch 21 3 3"]:
    """What happens to the surface around each joint, ``(..., 21, 3, 3)``; at tips the same as at the bone before."""
    bones = unit(offsets[..., 1:, :]).unflatten(-2, (N_FINGERS, JOINTS_PER_FINGER))[..., 1:, :]
    bones = torch.cat([bones, bones[..., -1:, :]], dim=-2)
    factors = _finger_factors(offsets, proportions)[:, None, None, None]
    eye = torch.eye(3, dtype=offsets.dtype, device=offsets.device)
    fingers = eye + (factors - 1) * bones[..., :, None] * bones[..., None, :]
    return torch.cat([_palm_map(offsets, proportions).unsqueeze(-3), fingers.flatten(-4, -3)], dim=-3)


def _along(direction: Float[Tensor, "*batch 3"], factor: float) -> Float[Tensor, "*batch 3 3"]:
    return (factor - 1) * direction[..., :, None] * direction[..., None, :]
