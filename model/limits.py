"""How far the joints of a hand turn, as twist, bend and splay angles, and the angles nearest to a rotation.

``S = Rx(twist) Ry(bend) Rz(splay)`` of mathematics §2. Bends may pass 90°, where twist and splay turn about one and
the same axis and only their sum is seen; angles are therefore searched within the limits, not read from the matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, radians

import torch
from jaxtyping import Float
from torch import Tensor

from model.kinematics import tbs_angles, tbs_from_angles
from model.rotations import rotation_vector
from model.topology import BONES_PER_FINGER, N_FINGERS, THUMB
from utils.cached import cached_property

TWIST, BEND, SPLAY = range(3)

Range = tuple[float, float]
Ranges = tuple[Range, Range, Range]
"""Lowest and highest angle of the three joints of a finger, from its root outwards."""


def _degrees(*ranges: Range) -> Ranges:
    first, second, third = ((radians(low), radians(high)) for low, high in ranges)
    return first, second, third


@dataclass(frozen=True)
class JointLimits:
    """Lowest and highest angles in radians, for each joint from the finger's root outwards.

    The defaults are active ranges of motion of adult hands, rounded outwards: fingers bend up to 100°, 115° and 95°,
    stretch backwards a little, spread by 30°, and hardly turn about their bones. The thumb's saddle joint turns
    about all three axes. A negative splay is as large as a positive one, so both sides share the limits.
    """

    finger_twist: Ranges = _degrees((-15, 15), (-12, 12), (-12, 12))
    finger_bend: Ranges = _degrees((-35, 100), (-15, 115), (-20, 95))
    finger_splay: Ranges = _degrees((-30, 30), (-12, 12), (-12, 12))
    thumb_twist: Ranges = _degrees((-45, 45), (-20, 20), (-20, 20))
    thumb_bend: Ranges = _degrees((-60, 90), (-30, 90), (-30, 100))
    thumb_splay: Ranges = _degrees((-60, 60), (-20, 20), (-20, 20))

    def __post_init__(self) -> None:
        for name, ranges in vars(self).items():
            if len(ranges) != BONES_PER_FINGER or not all(-pi <= low <= high <= pi for low, high in ranges):
                raise ValueError(f"`{name}` must be three ranges (low, high) of radians within ±π; got {ranges}")

    @cached_property
    def bounds(self) -> Float[Tensor, "2 5 3 3"]:
        """``(2, 5, 3, 3)`` float64: lowest and highest; fingers, joints, and twist, bend, splay."""
        finger = torch.tensor([self.finger_twist, self.finger_bend, self.finger_splay], dtype=torch.float64)
        thumb = torch.tensor([self.thumb_twist, self.thumb_bend, self.thumb_splay], dtype=torch.float64)
        rows = torch.stack([thumb if number == THUMB else finger for number in range(N_FINGERS)])
        return rows.permute(3, 0, 2, 1).contiguous()

    def like(self, tensor: Tensor) -> tuple[Float[Tensor, "5 3 3"], Float[Tensor, "5 3 3"]]:
        """Lowest and highest angles ``(5, 3, 3)`` on the device and in the type of ``tensor``.

        Rounded inwards, so that an angle in single precision keeps the limits in double precision too.
        """
        low, high = self.bounds.to(tensor)
        tiny = torch.finfo(tensor.dtype).eps
        return low + low.abs() * tiny, high - high.abs() * tiny

    def excess(self, angles: Float[Tensor, "*batch 5 3 3"]) -> Float[Tensor, "*batch 5 3 3"]:
        """How far ``angles (..., 5, 3, 3)`` are beyond the limits, radians; zero within."""
        low, high = self.bounds.to(angles)
        return torch.relu(angles - high) + torch.relu(low - angles)

    def nearest_angles(self, tbs: Float[Tensor, "*batch 5 3 3 3"]) -> Float[Tensor, "*batch 5 3 3"]:
        """The angles within the limits that turn most nearly as ``tbs (..., 5, 3, 3, 3)`` does.

        Returns:
            ``(..., 5, 3, 3)`` twist, bend, splay. Rotations that can be had within the limits come back as they are.
        """
        low, high = self.like(tbs)
        angles, beyond = self._read(tbs)
        outside = (beyond[..., 0] > 0).nonzero(as_tuple=True)
        angles = angles.clamp(low, high)
        if len(outside[0]):
            bounds = (bound.expand(angles.shape)[outside] for bound in (low, high))
            angles[outside] = _search(tbs[outside], angles[outside], *bounds)
        return angles

    def angles(self, tbs: Float[Tensor, "*batch 5 3 3 3"]) -> Float[Tensor, "*batch 5 3 3"]:
        """The angles ``(..., 5, 3, 3)`` of ``tbs (..., 5, 3, 3, 3)``; of two readings the one nearer the limits."""
        return self._read(tbs)[0]

    def _read(
        self, tbs: Float[Tensor, "*batch 5 3 3 3"]
    ) -> tuple[Float[Tensor, "*batch 5 3 3"], Float[Tensor, "*batch 5 3 1"]]:
        """Angles, and how far ``(..., 5, 3, 1)`` a joint's are beyond the limits."""
        low, high = self.like(tbs)
        first = tbs_angles(tbs)
        # Every rotation has a second reading, with its bend beyond 90°.
        flip = first.new_tensor([pi, pi, pi])
        second = torch.stack([first[..., 0] + pi, pi - first[..., 1], first[..., 2] + pi], dim=-1)
        second = torch.remainder(second + flip, 2 * pi) - flip
        beyond = [torch.relu(each - high) + torch.relu(low - each) for each in (first, second)]
        beyond = [each.sum(-1, keepdim=True) for each in beyond]
        return torch.where(beyond[1] < beyond[0], second, first), torch.minimum(*beyond)


def _search(
    goal: Float[Tensor, "n 3 3"], angles: Float[Tensor, "n 3"], low: Float[Tensor, "n 3"], high: Float[Tensor, "n 3"]
) -> Float[Tensor, "n 3"]:
    """Angles ``(n, 3)`` within bounds whose rotation is nearest to ``goal (n, 3, 3)``: a few Gauss–Newton steps.

    Where twist and splay cannot be told apart, the smaller ones are taken.
    """
    angles = torch.cat([angles[:, :1] * 0.5, angles[:, 1:2], angles[:, 2:] * 0.5], dim=1)
    stay = angles.new_tensor([1e-3, 1e-6, 1e-3])
    for _ in range(12):
        turned = tbs_from_angles(angles)
        error = rotation_vector(goal @ turned.mT)  # still to turn, in the frame that does not turn
        slope = turning_axes(turned, angles)
        gradient = -(slope.mT @ error[..., None])[..., 0]
        free = ~(((angles <= low) & (gradient > 0)) | ((angles >= high) & (gradient < 0)))
        slope = slope * free.unsqueeze(-2)
        system = slope.mT @ slope + torch.diag_embed(stay + (~free).to(angles))
        step = torch.linalg.solve(system, -gradient * free)
        angles = (angles + step.clamp(-0.5, 0.5)).clamp(low, high)
    return angles


def turning_axes(frames: Float[Tensor, "... 3 3"], angles: Float[Tensor, "... 3"]) -> Float[Tensor, "... 3 3"]:
    """Axes about which twist, bend and splay turn a joint, as columns.

    Args:
        frames: ``(..., 3, 3)`` frames ``M = N Rx(twist) Ry(bend) Rz(splay)``, whatever ``N`` is.
        angles: ``(..., 3)`` their twist, bend, splay.

    Returns:
        ``(..., 3, 3)`` unit columns, in the frame in which ``M`` is given.
    """
    bend, splay = angles[..., 1, None], angles[..., 2, None]
    x, y, z = frames.unbind(-1)
    across = x * splay.cos() - y * splay.sin()
    return torch.stack(
        [across * bend.cos() + z * bend.sin(), x * splay.sin() + y * splay.cos(), z],
        dim=-1,
    )
