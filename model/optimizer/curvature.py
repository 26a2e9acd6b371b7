"""Value, gradient and Gauss–Newton matrix of the semantic objective by joint angles, in closed form.

The objective of a frame is a sum over finger joints i and points j (joints and palm anchors, mathematics §4)

    ½ w_ij |M_iᵀ e_ij − u_ij|²  +  ½ c_ij |M_iᵀ v_ij − s_ij|²,      v_ij = (p_j − p_i) / palm,  e_ij = unit(v_ij)

with ``u`` the source's directions and ``s = u · distance`` its coordinates. The first is w (1 − cosine); the second,
between fingertips only, holds touching fingertips together.

A joint angle turns a finger from its joint on about an axis ``a`` through a point ``c``. Seen from a frame that turns
along nothing changes, so a pair counts only where one of i and j is moved and the other is not, and the derivative
of ``M_iᵀ v_ij`` is then ``± M_iᵀ (a × (p_j − c))``: linear in the screw ``(a, c × a)``, with a lever that depends on j
alone. So 3×3 matrices of all pairs are summed over what moves together, expanded to 6×6 matrices on screws, and summed
again; no Jacobian of the 580 pairs is ever written down. Frames are the last dimension (see :mod:`model.layout`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import torch
from jaxtyping import Float
from torch import Tensor

from model.topology import BONES_PER_FINGER, JOINTS_PER_FINGER, N_FINGER_JOINTS, N_FINGERS

N_BODIES = N_FINGERS * BONES_PER_FINGER
"""What moves together: for each of the 15 rotating joints, its finger from there on."""
_FEW_FRAMES = 12
_TIPS = slice(BONES_PER_FINGER, None, JOINTS_PER_FINGER)
_TIP_POINTS = slice(BONES_PER_FINGER, N_FINGER_JOINTS, JOINTS_PER_FINGER)


@dataclass(frozen=True)
class Pairs:
    """What is wanted of the pairs, frames last.

    unit: ``(3, 20, 29, F)`` the source's directions, softened as below; weight: ``(20, 29, F or 1)``, zero for pairs
    that do not count; coords: ``(3, 5, 5, F)`` coordinates between the source's fingertips in palm lengths;
    contact: ``(5, 5, F)`` how much these count, or None. ``softening``: a distance, in palm lengths, under which the
    direction between two points loses its meaning: ``e = v / √(|v|² + softening²)``.
    """

    unit: Float[Tensor, "3 20 29 frames"]
    weight: Float[Tensor, "20 29 #frames"]
    coords: Float[Tensor, "3 5 5 frames"] | None
    contact: Float[Tensor, "5 5 frames"] | None
    softening: float


def objective(
    seen: Float[Tensor, "29 3 frames"], frames: Float[Tensor, "20 3 3 frames"], pairs: Pairs
) -> Float[Tensor, " frames"]:
    """Value ``(F,)``; see :func:`linearised`."""
    return _PairTerms(seen, frames, pairs).value()


def linearised(
    seen: Float[Tensor, "29 3 frames"],
    frames: Float[Tensor, "20 3 3 frames"],
    axes: Float[Tensor, "angles 3 frames"],
    per_joint: tuple[int, ...],
    pairs: Pairs,
) -> tuple[Float[Tensor, " frames"], Float[Tensor, "angles frames"], Float[Tensor, "angles angles frames"]]:
    """Value ``(F,)``, gradient ``(U, F)`` and Gauss–Newton matrix ``(U, U, F)`` by U joint angles.

    Args:
        seen: ``(29, 3, F)`` finger joints and palm anchors in palm lengths, wrist at the origin.
        frames: ``(20, 3, 3, F)`` frames of the finger joints.
        axes: ``(U, 3, F)`` the axis that each angle turns about, in the wrist's frame; finger by finger, from
            the root outwards.
        per_joint: how many angles belong to the first, second and third joint of a finger; alike in all fingers.
        pairs: the source's directions and the weights.
    """
    terms = _PairTerms(seen, frames, pairs)
    matrix, wrench = _between_moving_sets(_on_screws(terms.by_direction(), seen))
    axes = axes.unflatten(0, (N_FINGERS, -1)).movedim(2, 0)  # (3, 5, angles, F)
    joints = seen[:N_FINGER_JOINTS].unflatten(0, (N_FINGERS, JOINTS_PER_FINGER)).movedim(2, 0)
    number = [joint for joint, angles in enumerate(per_joint) for _ in range(angles)]
    screws = torch.cat([axes, torch.linalg.cross(joints[:, :, number], axes, dim=0)])
    gradient = (screws * wrench.unflatten(1, (N_FINGERS, -1))[:, :, number]).sum(0).flatten(0, 1)
    return terms.value(), gradient, _by_angles(matrix, screws, per_joint)


class _PairTerms:
    """Residuals of all pairs."""

    def __init__(
        self, seen: Float[Tensor, "29 3 frames"], frames: Float[Tensor, "20 3 3 frames"], pairs: Pairs
    ) -> None:
        self.pairs = pairs
        points = seen.movedim(1, 0)  # (3, 29, F)
        self.apart = points.unsqueeze(1) - points[:, :N_FINGER_JOINTS].unsqueeze(2)  # (3, 20, 29, F)
        columns = frames.movedim(0, 2).unsqueeze(3)  # (3 rows, 3 columns, 20, 1, F)
        unit = pairs.unit
        turned = columns[:, 0] * unit[0]
        self.turned = turned.addcmul_(columns[:, 1], unit[1]).addcmul_(columns[:, 2], unit[2])
        squared = _dot(self.apart, self.apart)
        self.inverse = squared.add_(pairs.softening**2).rsqrt_()
        self.direction = self.apart * self.inverse
        self.cosine = _dot(self.direction, self.turned)
        self.contact_gap = None
        if pairs.coords is not None:
            # The frame that sees the tips is i's; the wanted vector is the source's, turned into the wrist's frame.
            wanted = columns[:, :, _TIPS]
            wanted = (wanted * pairs.coords.unsqueeze(0)).sum(1)
            self.contact_gap = self.apart[:, _TIPS, _TIP_POINTS] - wanted  # (3, 5, 5, F)

    def value(self) -> Float[Tensor, " frames"]:
        """``(F,)``."""
        pairs = self.pairs
        # |e|² is not quite one where points nearly meet; nor is |u|², but that does not change.
        misfit = (_dot(self.direction, self.direction) + 1).mul_(0.5).sub_(self.cosine)
        value = (misfit * pairs.weight).flatten(0, 1).sum(0)
        if self.contact_gap is not None and pairs.contact is not None:
            value = value + 0.5 * (pairs.contact * _dot(self.contact_gap, self.contact_gap)).flatten(0, 1).sum(0)
        return value

    def by_direction(self) -> Float[Tensor, "4 3 20 29 frames"]:
        """What a change of ``v_ij`` does: ``(4, 3, 20, 29, F)``.

        Three columns of ``Pᵀ P``, the 3×3 Gauss–Newton matrix with ``P = (I − e eᵀ) / |v|``, and the gradient.
        """
        pairs, direction = self.pairs, self.direction
        squared = _dot(direction, direction)  # one, but where points nearly meet
        per_length = self.inverse * pairs.weight
        stiffness = per_length * self.inverse
        result = direction.new_empty(4, *direction.shape)
        pulled = direction * (squared - 2).mul_(stiffness)
        torch.mul(pulled.unsqueeze(0), direction.unsqueeze(1), out=result[:3])
        for c in range(3):
            result[c, c] += stiffness
        slope = torch.mul(direction, (1 - squared).add_(self.cosine), out=result[3])
        slope.sub_(self.turned).mul_(per_length)
        if self.contact_gap is not None and pairs.contact is not None:
            for c in range(3):
                result[c, c, _TIPS, _TIP_POINTS] += pairs.contact
            slope[:, _TIPS, _TIP_POINTS] += pairs.contact * self.contact_gap
        return result


# A screw is an angular and a linear velocity, (2, 3, ...); what belongs to it are quadratic forms of 6×6 and wrenches
# (torque and force). While they are summed, only the columns that are not each other's mirror image are kept: three
# of the angular block, three of the mixed one, the torque, three of the linear block, the force.
_ANGULAR, _MIXED, _TORQUE, _LINEAR, _FORCE, _COLUMNS = slice(0, 3), slice(3, 6), 6, slice(7, 10), 10, 11


def _on_screws(
    by_direction: Float[Tensor, "4 3 20 29 frames"], seen: Float[Tensor, "29 3 frames"]
) -> Float[Tensor, "11 3 15 29 frames"]:
    """The same by screws, which move point j by ``angular × p_j + linear``, summed over observers that move together.

    ``(4, 3, 20, 29, F)`` to ``(11, 3, 15, 29, F)``.
    """
    n_points, n_frames = seen.shape[0], seen.shape[-1]
    columns = by_direction.new_empty(_COLUMNS, 3, N_BODIES, n_points, n_frames)
    points = seen.movedim(1, 0)  # (3, 29, F)
    linear, mixed = columns[7:11], columns[3:7]  # with force and torque
    _cumulative(by_direction.unflatten(2, (N_FINGERS, JOINTS_PER_FINGER)), 3, out=linear.unflatten(2, (N_FINGERS, -1)))
    for c in range(3):
        a, b = (c + 1) % 3, (c + 2) % 3
        torch.mul(points[a], linear[:, b], out=mixed[:, c]).addcmul_(points[b], linear[:, a], value=-1)
    for c in range(3):
        a, b = (c + 1) % 3, (c + 2) % 3
        torch.mul(points[a], mixed[b], out=columns[c]).addcmul_(points[b], mixed[a], value=-1)
    return columns


def _between_moving_sets(
    columns: Float[Tensor, "11 3 15 29 frames"],
) -> tuple[Float[Tensor, "6 6 15 15 frames"], Float[Tensor, "6 15 frames"]]:
    """Sums over pairs of which joint a moves one point and joint b one point, from ``(11, 3, 15, 29, F)``.

    If ``T[a, b]`` is the sum over observers that a moves and points that b moves, a pair's sign ``(B_j − B_i)`` for a
    and for b makes it ``−T[a, b] − T[b, a]``; for joints of one finger, of which the outer moves a part of what the
    inner does, the sums over all observers and over all points come on top.

    Returns:
        *Minus* the forms ``(6, 6, 15, 15, F)``, columns before rows, and the gradient by screws ``(6, 15, F)``.
    """
    fingers = columns[..., :N_FINGER_JOINTS, :].unflatten(-2, (N_FINGERS, JOINTS_PER_FINGER))
    moved = _cumulative(fingers, 4)  # (11, 3, 15, 5, 3, F)
    of_observers = moved[..., 0, :].sum(3) + columns[..., N_FINGER_JOINTS:, :].sum(3)
    of_points = moved[:, :, ::BONES_PER_FINGER].sum(2).flatten(2, 3)
    own = of_observers + of_points
    wrench = (of_points - of_observers)[_TORQUE :: _FORCE - _TORQUE].flatten(0, 1)
    moved = moved.flatten(3, 4)

    outer = torch.arange(BONES_PER_FINGER, device=columns.device)
    outer = torch.maximum(outer[:, None], outer)
    matrix = columns.new_empty(2, 3, 2, 3, *moved.shape[2:])
    for half, other, part in ((0, 0, _ANGULAR), (1, 0, _MIXED), (1, 1, _LINEAR)):
        form = torch.add(moved[part], moved[part].transpose(2, 3), out=matrix[half, :, other])
        within = form.unflatten(3, (N_FINGERS, -1)).unflatten(2, (N_FINGERS, -1)).diagonal(dim1=2, dim2=4)
        within -= own[part].unflatten(2, (N_FINGERS, -1))[:, :, :, outer].movedim(2, -1)
    matrix[0, :, 1] = matrix[1, :, 0].transpose(0, 1)
    return matrix.flatten(2, 3).flatten(0, 1), wrench


def _by_angles(
    matrix: Float[Tensor, "6 6 15 15 frames"], screws: Float[Tensor, "6 5 angles frames"], per_joint: tuple[int, ...]
) -> Float[Tensor, "unknowns unknowns frames"]:
    """``(U, U, F)`` from minus the forms ``(6, 6, 15, 15, F)`` and the angles' ``screws (6, 5, angles, F)``."""
    n_frames, angles = screws.shape[-1], screws.shape[2]
    pushed = screws.new_empty(6, N_BODIES, N_FINGERS, angles, n_frames)
    result = screws.new_empty(N_FINGERS, angles, N_FINGERS, angles, n_frames)
    ends = list(accumulate(per_joint))
    of_joints = [slice(end - count, end) for end, count in zip(ends, per_joint, strict=True)]
    for joint, part in enumerate(of_joints):
        forms = matrix[:, :, :, joint::BONES_PER_FINGER].unsqueeze(4)  # (6, 6, 15, 5, 1, F)
        _sum_of_products(forms, screws[:, None, None, :, part], out=pushed[:, :, :, part])
    pushed.neg_()
    for joint, part in enumerate(of_joints):
        rows = pushed[:, joint::BONES_PER_FINGER].unsqueeze(2)  # (6, 5, 1, 5, angles, F)
        _sum_of_products(rows, screws[:, :, part, None, None], out=result[:, part])
    return result.flatten(2, 3).flatten(0, 1)


def _sum_of_products(a: Tensor, b: Tensor, out: Tensor) -> None:
    """``out = Σ a · b`` over the first dimension: with few frames few calls count, with many a small memory."""
    if a.shape[-1] < _FEW_FRAMES:
        torch.sum(a * b, 0, out=out)
        return
    torch.mul(a[0], b[0], out=out)
    for term, factor in zip(a[1:], b[1:], strict=True):
        out.addcmul_(term, factor)


def _cumulative(joints: Tensor, dim: int, out: Tensor | None = None) -> Tensor:
    """Sums over a finger from each rotating joint on: four joints to three sums along ``dim``."""
    first, second, third, tip = joints.unbind(dim)
    if out is None:
        shape = list(joints.shape)
        shape[dim] = BONES_PER_FINGER
        out = joints.new_empty(shape)
    torch.add(third, tip, out=out.select(dim, 2))
    torch.add(second, out.select(dim, 2), out=out.select(dim, 1))
    torch.add(first, out.select(dim, 1), out=out.select(dim, 0))
    return out


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a[0] * b[0]).addcmul_(a[1], b[1]).addcmul_(a[2], b[2])
