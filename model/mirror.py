"""Hands are mirror images: a right hand in a mirror (x → −x) is a left one, and moves as one (mathematics §1, §2).

With ``M = diag(−1, 1, 1)``, positions become ``M p`` and rotations ``M F M``. Twist and splay axes are mirrored, bend
is ``splay × twist``, a cross product, so its mirror image points the other way: ``Q → M Q D``, ``D = diag(1, −1, 1)``.
Twist-bend-splay rotations then become ``D S D`` (bends stay, twists and splays change sign) and the semantic matrix
``D`` times itself. All of these only change signs, so they are exact, and each is its own inverse.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from model.semantics import SemanticMatrix

POINT = (-1.0, 1.0, 1.0)
FRAME = (1.0, -1.0, 1.0)


def mirror_points(points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Positions, offsets or directions ``(..., 3)`` seen in the mirror."""
    return points * points.new_tensor(POINT)


def mirror_rotations(rotations: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Local or global rotations ``(..., 3, 3)`` of mirrored joints."""
    return rotations * _signs(rotations, POINT, POINT)


def mirror_axes(axes: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Anatomical axes ``(..., 3, 3)``, rows twist, bend, splay, of the mirrored hand."""
    return axes * _signs(axes, FRAME, POINT)


def mirror_tbs(tbs: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Twist-bend-splay rotations ``(..., 3, 3)`` of the mirrored hand."""
    return tbs * _signs(tbs, FRAME, FRAME)


def mirror_matrix(matrix: SemanticMatrix) -> SemanticMatrix:
    """The semantic matrix of the mirrored hand (mathematics §4)."""
    return matrix.map(lambda part: part * part.new_tensor(FRAME))


def _signs(like: Tensor, rows: tuple[float, ...], columns: tuple[float, ...]) -> Float[Tensor, "3 3"]:
    return torch.outer(like.new_tensor(rows), like.new_tensor(columns))
