"""Rotation matrices and unit vectors: what is needed beside ``pytorch3d.transforms``.

Vectors are ``(..., 3)``, rotations ``(..., 3, 3)`` acting on columns, angles radians; any leading dimensions.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from pytorch3d.transforms import matrix_to_quaternion, quaternion_to_matrix, standardize_quaternion
from torch import Tensor

_TINY = 1e-24


def unit(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """``vector (..., 3)`` scaled to length 1; zero stays zero, and has a finite gradient."""
    return vector / vector.square().sum(-1, keepdim=True).clamp_min(_TINY).sqrt()


def unit_or_zero(vectors: Float[Tensor, "*batch 3"], eps: float = 1e-12) -> Float[Tensor, "*batch 3"]:
    """``vectors (..., 3)`` scaled to length 1 as the published networks are shown them; zero stays zero."""
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(eps)


def align(
    source: Float[Tensor, "... 3"], target: Float[Tensor, "... 3"], half_turn_axis: Float[Tensor, "... 3"]
) -> Float[Tensor, "... 3 3"]:
    """The smallest rotation that turns unit vectors ``source`` onto ``target``, ``(..., 3)`` to ``(..., 3, 3)``.

    Parallel vectors give exactly the identity. The angle is taken over its whole range, so bones more than 90° off
    are turned all the way; exactly opposite vectors, whose axis is not determined, are turned about
    ``half_turn_axis`` (a unit vector perpendicular to both).
    """
    axis = torch.linalg.cross(source, target, dim=-1)
    cos = (source * target).sum(-1)[..., None, None]
    eye = torch.eye(3, dtype=source.dtype, device=source.device)
    skew = _skew(axis)
    # Rodrigues without angle or unit axis: I + [v] + [v]^2 / (1 + cos). It is smooth everywhere but at -source.
    opposite = cos <= -1 + 1e-7
    turn = eye + skew + skew @ skew / torch.where(opposite, 1, 1 + cos)
    half_turn = 2 * half_turn_axis[..., :, None] * half_turn_axis[..., None, :] - eye
    return torch.where(opposite, half_turn, turn)


def rotation_from_rows(rows: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotations ``(..., 3, 3)`` from two rows ``(..., 6)``, not yet orthonormal (Gram–Schmidt, mathematics §6).

    What ``pytorch3d.transforms.rotation_6d_to_matrix`` computes, without its norms over three numbers, which take ten
    times as long as everything else here.
    """
    first, second = unit(rows[..., :3]), rows[..., 3:]
    second = unit(second - (first * second).sum(-1, keepdim=True) * first)
    return torch.stack([first, second, torch.linalg.cross(first, second, dim=-1)], dim=-2)


def orthonormal(matrices: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotations ``(..., 3, 3)`` nearest to averages of rotations.

    A step of Newton's iteration for the polar factor comes first: Gram–Schmidt alone favours the first rows.
    """
    matrices = 1.5 * matrices - 0.5 * matrices @ (matrices.transpose(-1, -2) @ matrices)
    return rotation_from_rows(matrices[..., :2, :].flatten(-2))


def rotation_vector(rotation: Float[Tensor, "n 3 3"]) -> Float[Tensor, "n 3"]:
    """Axis times sine of the angle up to 90°, and on to the full angle beyond; ``(n, 3, 3)`` to ``(n, 3)``."""
    skew = rotation - rotation.mT
    vector = torch.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], dim=-1) / 2
    sine = vector.norm(dim=-1, keepdim=True)
    cosine = ((rotation.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2).unsqueeze(-1)
    return vector * torch.where(sine > 1e-6, torch.atan2(sine, cosine) / sine.clamp_min(1e-6), 1.0)


def quaternion_of(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4"]:
    """Unit quaternions ``(..., 4)``, the real part first, of either sign; PyTorch3D's has a GPU waited for."""
    a, b, c, d, e, f, g, h, i = rotation.flatten(-2).unbind(-1)
    squares = torch.stack([1 + a + e + i, 1 + a - e - i, 1 - a + e - i, 1 - a - e + i], dim=-1)
    some = squares > 0
    twice = torch.where(some, torch.where(some, squares, 1).sqrt(), 0)
    w, x, y, z = twice.square().unbind(-1)
    rows = [[w, h - f, c - g, d - b], [h - f, x, d + b, c + g], [c - g, d + b, y, f + h], [d - b, g + c, h + f, z]]
    each = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2) / (2 * twice[..., None].clamp_min(0.1))
    best = twice.argmax(dim=-1)[..., None, None].expand(*twice.shape[:-1], 1, 4)
    return each.gather(-2, best).squeeze(-2)


def axis_angle(rotation: Float[Tensor, "*batch 3 3"]) -> tuple[Float[Tensor, "*batch 3"], Float[Tensor, " *batch"]]:
    """Unit axis ``(..., 3)`` and angle in [0, π]; both zero, with zero gradient, at an exact identity."""
    quaternion = standardize_quaternion(quaternion_of(rotation))
    real, imaginary = quaternion[..., 0], quaternion[..., 1:]
    turned = (imaginary != 0).any(-1, keepdim=True)
    # The norm has no slope at zero: step aside before the gradient is taken.
    imaginary = torch.where(turned, imaginary, torch.ones_like(imaginary))
    length = imaginary.norm(dim=-1, keepdim=True)
    axis = torch.where(turned, imaginary / length, 0.0)
    angle = torch.where(turned[..., 0], 2 * torch.atan2(length[..., 0], real), 0.0)
    return axis, angle


def safe_atan2(
    y: Float[Tensor, " *batch"], x: Float[Tensor, " *batch"], eps: float = 1e-4
) -> tuple[Float[Tensor, " *batch"], Float[Tensor, " *batch"]]:
    """``atan2(y, x)`` and the radius, both with zero gradient where the radius is under ``eps``."""
    safe = x.square() + y.square() > eps**2
    y_in, x_in = torch.where(safe, y, y.detach()), torch.where(safe, x, x.detach())
    # sqrt and atan2 have no slope at the origin: step aside before, not after, the gradient is taken.
    x_in = torch.where((y_in == 0) & (x_in == 0), 1.0, x_in)
    return torch.atan2(y_in, x_in), (x_in.square() + y_in.square()).sqrt()


def slerp(
    first: Float[Tensor, "*batch 3 3"], second: Float[Tensor, "*batch 3 3"], share: Float[Tensor, "*#batch 1"]
) -> Float[Tensor, "*batch 3 3"]:
    """Rotations ``(..., 3, 3)`` at ``share (..., 1)`` of the way from ``first`` to ``second``, the shorter way."""
    a, b = matrix_to_quaternion(first), matrix_to_quaternion(second)
    cos = (a * b).sum(-1, keepdim=True)
    b = torch.where(cos < 0, -b, b)
    angle = cos.abs().clamp(max=1).acos()
    # Near angles weigh linearly: there the sine would divide by nearly nothing.
    near = angle < 1e-4
    sine = torch.where(near, torch.ones_like(angle), angle.sin())
    weights = [torch.where(near, part, (part * angle).sin() / sine) for part in (1 - share, share)]
    return quaternion_to_matrix(torch.nn.functional.normalize(weights[0] * a + weights[1] * b, dim=-1))


def _skew(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
