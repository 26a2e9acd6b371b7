"""Hands that lack some of the 21 joints, as cartoon characters do: what counts, and what stands in.

A mask `present (..., 21)` is true where a joint exists. A complete hand has None instead of a mask, and takes none of
the paths below. A joint counts in a comparison only if both hands have it.

Forward kinematics and the canonical rest pose need all bones, so a missing finger is given the bones of its nearest
neighbour (the palm then ends at the outermost finger that exists). No number that anyone sees depends on them.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from model.topology import (
    BONES_PER_FINGER,
    INDEX,
    JOINTS_PER_FINGER,
    MIDDLE,
    N_FINGERS,
    N_JOINTS,
    PALM_ANCHORS,
    PARENTS,
    PINKY,
    RING,
    ROOTS,
    THUMB,
)

_NEIGHBOURS = {
    MIDDLE: (RING, INDEX, PINKY),
    RING: (MIDDLE, PINKY, INDEX),
    PINKY: (RING, MIDDLE, INDEX),
    INDEX: (MIDDLE, RING, PINKY),
    THUMB: (INDEX, MIDDLE, RING, PINKY),
}
"""Whose bones a missing finger is given: the first of these that exists."""
_NEXT_BONE = 0.8
"""Length of a bone that is not known, in lengths of the one before."""


def both(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """The joints that two hands share; None if both are complete. Leading dimensions broadcast."""
    if first is None or second is None:
        return second if first is None else first
    return first & second


def finger_joints(present: Tensor) -> Tensor:
    """``(..., 20)`` the finger joints of ``present (..., 21)``."""
    return present[..., 1:]


def turning(present: Tensor) -> Tensor:
    """``(..., 5, 3)`` the joints that rotate."""
    return present[..., 1:].unflatten(-1, (N_FINGERS, JOINTS_PER_FINGER))[..., :BONES_PER_FINGER]


def anchors(present: Tensor) -> Tensor:
    """``(..., 9)`` the palm anchors: one exists if its finger does."""
    return present[..., [root for root, _ in PALM_ANCHORS]]


def pairs(first: Tensor, second: Tensor) -> Tensor:
    """``(..., n, m)`` which entries of a table count, from its rows ``(..., n)`` and columns ``(..., m)``."""
    return first.unsqueeze(-1) & second.unsqueeze(-2)


def item_means(values: Tensor, present: Tensor | None = None) -> Tensor:
    """Mean ``(batch,)`` over all but the first dimension.

    Args:
        values: ``(batch, …)``.
        present: bool of the same shape, or broadcast to it; only these are averaged. None: all.

    Returns:
        Means; NaN where nothing counts.
    """
    if present is None:
        return values.flatten(1).mean(1)
    present = present.expand_as(values)
    total = torch.where(present, values, 0).flatten(1).sum(1)
    return total / present.flatten(1).sum(1)


def mean(values: Tensor, present: Tensor | None = None) -> Tensor:
    """Mean over everything; with a mask, each item's own mean, averaged over the items in which anything counts."""
    if present is None:
        return values.mean()
    means = item_means(values, present)
    known = present.expand_as(values).flatten(1).any(1)
    return torch.where(known, means, 0).sum() / known.sum().clamp_min(1)


def unturned(rotations: Tensor, present: Tensor | None) -> Tensor:
    """Rotations ``(..., 5, 3, 3, 3)`` with the identity at joints that do not exist, ``present (..., 21)``."""
    if present is None:
        return rotations
    eye = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
    return torch.where(turning(present)[..., None, None], rotations, eye)


def with_stand_ins(offsets: Tensor, present: Tensor) -> Tensor:
    """Bone vectors ``(..., 21, 3)`` of whole hands from those of the joints that exist.

    A joint that exists has its vector from the nearest joint above it that exists. A missing finger gets its
    neighbour's bones; a missing joint lies evenly between those around it; a missing tip continues the finger.
    """
    return _mapped(offsets, present, _stand_ins)


def without_stand_ins(offsets: Tensor, present: Tensor) -> Tensor:
    """The inverse of :func:`with_stand_ins`: zero at missing joints, and vectors that lead over them."""
    return _mapped(offsets, present, _leading_over)


def _mapped(offsets: Tensor, present: Tensor, table) -> Tensor:
    """Each hand's ``(21, 21)`` table of weights, by its mask, times its vectors."""
    masks, number = present.reshape(-1, N_JOINTS).unique(dim=0, return_inverse=True)
    maps = torch.stack([table(tuple(mask)) for mask in masks.tolist()]).to(offsets)
    return maps[number].reshape(*present.shape, N_JOINTS) @ offsets


@lru_cache(maxsize=256)
def _stand_ins(present: tuple[bool, ...]) -> Tensor:
    table = torch.zeros(N_JOINTS, N_JOINTS, dtype=torch.float64)
    for root in ROOTS:
        if present[root]:
            _complete_finger(table, present, root)
    for finger, root in enumerate(ROOTS):
        if not present[root]:
            neighbour = next((other for other in _NEIGHBOURS[finger] if present[ROOTS[other]]), None)
            if neighbour is not None:
                source = ROOTS[neighbour]
                table[root : root + JOINTS_PER_FINGER] = table[source : source + JOINTS_PER_FINGER]
    return table


def _complete_finger(table: Tensor, present: tuple[bool, ...], root: int) -> None:
    """Fill the rows of a finger that has its first joint."""
    table[root, root] = 1
    joint, end = root, root + JOINTS_PER_FINGER
    while joint + 1 < end:
        following = next((j for j in range(joint + 1, end) if present[j]), None)
        if following is None:  # nothing is known of what lies beyond
            for j in range(joint + 1, end):
                # A finger's first bone lies in the palm: only beyond it, bones continue each other.
                table[j] = _NEXT_BONE * table[j - 1] if j - 1 > root else 0.4 * table[j - 1]
            return
        table[joint + 1 : following + 1, following] = 1 / (following - joint)
        joint = following


@lru_cache(maxsize=256)
def _leading_over(present: tuple[bool, ...]) -> Tensor:
    table = torch.zeros(N_JOINTS, N_JOINTS, dtype=torch.float64)
    for joint in range(1, N_JOINTS):
        if present[joint]:
            step = joint
            while True:
                table[joint, step] = 1
                step = PARENTS[step]
                if step <= 0 or present[step]:
                    break
    return table
