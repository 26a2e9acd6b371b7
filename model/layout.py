"""Frames last: the memory layout in which many small three-vectors are handled as a few long arrays.

Public functions take ``(..., joints, 3)``. Where the work is many products of three numbers, it is several times as
fast on a processor to bring all frames side by side in memory first.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor


def common_shape(*shapes: torch.Size) -> torch.Size:
    """The shape that all of these broadcast to. Raises ValueError.

    PyTorch's own function for it imports SymPy, which takes as long as all the work on a second of motion.
    """
    longest = max(len(shape) for shape in shapes)
    result = []
    for sizes in zip(*((*(1,) * (longest - len(shape)), *shape) for shape in shapes), strict=True):
        size = 0 if 0 in sizes else max(sizes)
        if any(each not in (1, size) for each in sizes):
            raise ValueError(f"shapes must fit together; got {', '.join(str(tuple(shape)) for shape in shapes)}")
        result.append(size)
    return torch.Size(result)


@lru_cache(maxsize=256)
def constant(values: tuple, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor of plain numbers, made once: a GPU would be waited for each time that one is brought to it. Not to be
    changed."""
    with torch.inference_mode(False):  # what is made inside could not be used with gradients
        return torch.tensor(values, dtype=dtype, device=device)


def frames_last(tensor: Tensor, own_dims: int) -> Tensor:
    """``(..., *own)`` with ``own_dims`` own dimensions to ``(*own, frames)``, contiguous."""
    own = tensor.shape[tensor.ndim - own_dims :]
    return tensor.reshape(-1, own.numel()).t().contiguous().unflatten(0, own)


def frames_first(tensor: Tensor, batch: torch.Size) -> Tensor:
    """``(*own, frames)`` to ``(*batch, *own)``, a view."""
    moved = tensor.movedim(-1, 0)
    return moved.reshape(*batch, *moved.shape[1:])


def turn(
    rotations: Float[Tensor, "n 3 3 frames"], vectors: Float[Tensor, "n 3 frames"]
) -> Float[Tensor, "n 3 frames"]:
    """``rotations (n, 3, 3, frames)`` times ``vectors (n, 3, frames)``."""
    return (rotations * vectors.unsqueeze(1)).sum(2)
