"""Hands that lack some of the 21 joints, as cartoon characters do: what counts, and what stands in.

A mask `present (..., 21)` is true where a joint exists. A complete hand has None instead of a mask, and takes none of
the paths below. A joint counts in a comparison only if both hands have it.

Forward kinematics and the canonical rest pose need all bones, so a missing finger is given the bones of its nearest
neighbour (the palm then ends at the outermost finger that exists). No number that anyone sees depends on them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

from model.topology import BONES_PER_FINGER, INDEX, JOINTS_PER_FINGER, MIDDLE, N_FINGERS, PINKY, RING, THUMB

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
    """``(..., 9)`` the palm anchors (:data:`model.topology.PALM_ANCHORS`): one exists if its finger does."""
    roots = present[..., 1::JOINTS_PER_FINGER]
    fingers, thumb = roots[..., :THUMB], roots[..., THUMB:]
    return torch.cat([fingers, fingers, thumb], dim=-1)


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
    completed = _by_fingers(offsets, present, _COMPLETED)
    roots = present[..., 1::JOINTS_PER_FINGER]
    source = _WHOSE.to(present.device, non_blocking=True)[_number(roots)]  # (..., 5)
    # A finger that does not exist comes last, for hands without any: it has no bones.
    completed = torch.cat([completed, torch.zeros_like(completed[..., :1, :, :])], dim=-3)
    index = source[..., None, None].expand(*completed.shape[:-3], N_FINGERS, JOINTS_PER_FINGER, 3)
    return _with_wrist(completed.gather(-3, index))


def without_stand_ins(offsets: Tensor, present: Tensor) -> Tensor:
    """The inverse of :func:`with_stand_ins`: zero at missing joints, and vectors that lead over them."""
    return _with_wrist(_by_fingers(offsets, present, _LEADING_OVER))


# What is to be done depends on which joints of a finger exist, sixteen cases: they are looked up in tables, so that no
# mask is ever read on the way (a GPU would be waited for).


def _by_fingers(offsets: Tensor, present: Tensor, table: Tensor) -> Tensor:
    """Each finger's ``(4, 4)`` table of weights, by its joints that exist, times its vectors: ``(..., 5, 4, 3)``."""
    fingers = present[..., 1:].unflatten(-1, (N_FINGERS, JOINTS_PER_FINGER))
    weights = table.to(offsets, non_blocking=True)[_number(fingers)]
    return weights @ offsets[..., 1:, :].unflatten(-2, (N_FINGERS, JOINTS_PER_FINGER))


def _with_wrist(fingers: Tensor) -> Tensor:
    joints = fingers.flatten(-3, -2)
    return torch.cat([torch.zeros_like(joints[..., :1, :]), joints], dim=-2)


def _number(flags: Tensor) -> Tensor:
    """The binary number that bools ``(..., n)`` write, the first one counting most."""
    number = flags[..., 0].long()
    for each in range(1, flags.shape[-1]):
        number = 2 * number + flags[..., each]
    return number


def _neighbours(roots: Sequence[bool]) -> list[int]:
    """Whose bones each finger has, by which fingers exist."""
    return [
        finger if roots[finger] else next((other for other in _NEIGHBOURS[finger] if roots[other]), N_FINGERS)
        for finger in range(N_FINGERS)
    ]


def _completed_finger(present: Sequence[bool]) -> list[list[float]]:
    """Weights of the vectors that there are in those of the whole finger; zero where its first joint is missing."""
    table = [[0.0] * JOINTS_PER_FINGER for _ in range(JOINTS_PER_FINGER)]
    if not present[0]:
        return table
    table[0][0] = 1.0
    joint = 0
    while joint + 1 < JOINTS_PER_FINGER:
        following = next((j for j in range(joint + 1, JOINTS_PER_FINGER) if present[j]), None)
        if following is None:  # nothing is known of what lies beyond
            for j in range(joint + 1, JOINTS_PER_FINGER):
                # A finger's first bone lies in the palm: only beyond it, bones continue each other.
                share = _NEXT_BONE if j > 1 else 0.4
                table[j] = [share * weight for weight in table[j - 1]]
            break
        for j in range(joint + 1, following + 1):
            table[j][following] = 1 / (following - joint)
        joint = following
    return table


def _leading_over(present: Sequence[bool]) -> list[list[float]]:
    """Weights of the whole finger's vectors in those that lead from each joint that exists to the one before it."""
    table = [[0.0] * JOINTS_PER_FINGER for _ in range(JOINTS_PER_FINGER)]
    for joint, exists in enumerate(present):
        step = joint
        while exists and step >= 0:
            table[joint][step] = 1.0
            step -= 1
            if step >= 0 and present[step]:
                break
    return table


def _every(rows: Callable[[Sequence[bool]], Any], count: int, dtype: torch.dtype) -> Tensor:
    """What ``rows`` makes of every combination of ``count`` bools, in the order of :func:`_number`."""
    return torch.tensor([rows(flags) for flags in product((False, True), repeat=count)], dtype=dtype)


_COMPLETED = _every(_completed_finger, JOINTS_PER_FINGER, torch.float64)
_LEADING_OVER = _every(_leading_over, JOINTS_PER_FINGER, torch.float64)
_WHOSE = _every(_neighbours, N_FINGERS, torch.long)
