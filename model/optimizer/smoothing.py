"""One Gauss–Newton step of a whole sequence, in which frames are tied to their neighbours by accelerations.

Each frame has its own quadratic model; on top comes ½ weight · Σ_t |c_{t−1} − 2 c_t + c_{t+1}|² of what was changed.
The system is block pentadiagonal over time. Conjugate gradients solve it for all sequences side by side, with no loop
over time; each frame's own block is the preconditioner.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_ITERATIONS = 100
_ENOUGH = 1e-3  # of the first residual


def smooth_step(
    matrix: Float[Tensor, "batch time unknowns unknowns"],
    gradient: Float[Tensor, "batch time unknowns"],
    change: Float[Tensor, "batch time unknowns"],
    held: Bool[Tensor, "batch time unknowns"],
    weight: float,
) -> Float[Tensor, "batch time unknowns"]:
    """Step ``(B, T, U)`` that minimises the sum of the frames' quadratic models and of squared accelerations.

    Args:
        matrix: ``(B, T, U, U)`` positive semi-definite; gradient: ``(B, T, U)``.
        change: ``(B, T, U)`` what was changed so far; ``change + step`` shall be smooth.
        held: ``(B, T, U)`` unknowns that do not move.
        weight: of the accelerations; the rate of the frames is included.
    """
    free = (~held).to(gradient)
    own = matrix * free.unsqueeze(-1) * free.unsqueeze(-2)
    diagonal = own.diagonal(dim1=-2, dim2=-1)
    diagonal += held.to(own) + 1e-3 * (diagonal + 1)
    block = own.clone()
    block.diagonal(dim1=-2, dim2=-1).add_(free * weight * 6)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(block))

    def system(x: Float[Tensor, "batch time unknowns"]) -> Float[Tensor, "batch time unknowns"]:
        return (own @ x.unsqueeze(-1)).squeeze(-1) + weight * free * _jolts(x)

    residual = -free * (gradient + weight * _jolts(change))
    step = torch.zeros_like(residual)
    guess = (inverse @ residual.unsqueeze(-1)).squeeze(-1)
    direction, product = guess, _inner(residual, guess)
    enough = product * _ENOUGH**2
    for _ in range(_ITERATIONS):
        pushed = system(direction)
        # A sequence that is done has nothing left to divide by.
        length = product / _inner(direction, pushed).clamp_min(torch.finfo(step.dtype).tiny)
        step = step + length * direction
        residual = residual - length * pushed
        guess = (inverse @ residual.unsqueeze(-1)).squeeze(-1)
        before, product = product, _inner(residual, guess)
        if (product <= enough).all():
            break
        direction = guess + product / before.clamp_min(torch.finfo(step.dtype).tiny) * direction
    return step * free


def _inner(
    a: Float[Tensor, "batch time unknowns"], b: Float[Tensor, "batch time unknowns"]
) -> Float[Tensor, "batch 1 1"]:
    """Inner products of sequences, ``(B, 1, 1)``."""
    return (a * b).sum((1, 2), keepdim=True)


def _jolts(change: Float[Tensor, "batch time unknowns"]) -> Float[Tensor, "batch time unknowns"]:
    """Gradient ``Dᵀ D c`` of half the squared accelerations of ``change (B, T, U)``."""
    accelerations = change.diff(n=2, dim=1)
    padded = torch.nn.functional.pad(accelerations, (0, 0, 2, 2))
    return padded.diff(n=2, dim=1)
