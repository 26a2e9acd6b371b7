"""What a retargeting is worth (SPEC §6): semantic similarity, closed pinches, joint error.

All are per window, ``(batch,)``, so that means and standard errors can be taken over windows; `joint_similarity` and
`fingertip_gaps` are what they are means of, frame by frame.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.semantics import SourceDirections, palm_length
from model.topology import N_FINGERS, TIPS

CONTACT = 0.02
"""Fingertips nearer than this many palm lengths touch."""
S_FINGER_CEILING = 0.95
"""Best possible S_finger: its zero diagonal counts, 20 of 400 cosines."""

_FIRST, _SECOND = torch.triu_indices(N_FINGERS, N_FINGERS, offset=1).tolist()
TIP_PAIRS = tuple(zip(_FIRST, _SECOND, strict=True))
"""The ten pairs of fingers, as numbers of two fingers."""
_TIPS = [tip - 1 for tip in TIPS]


def semantic_similarity(
    source: SourceDirections,
    joints: Tensor,
    frames: Tensor,
    finger_mask: list[int] | None = None,
    anchor_mask: list[int] | None = None,
) -> tuple[Tensor, Tensor]:
    """S_finger and S_palm ``(batch,)``: mean cosines between a source's semantic matrix and a result's.

    Args:
        source: directions of the source, ``(batch, time, …)``.
        joints: ``(batch, time, 21, 3)``; frames: ``(batch, time, 20, 3, 3)`` of the result.
        finger_mask: query joints that count in S_finger; None: all 20.
        anchor_mask: anchors that count in S_palm; None: all 9.
    """
    finger, palm = joint_similarity(source, joints, frames, anchor_mask)
    if finger_mask is not None:
        finger = finger[..., finger_mask]
    return finger.flatten(1).mean(1), palm.flatten(1).mean(1)


def joint_similarity(
    source: SourceDirections, joints: Tensor, frames: Tensor, anchor_mask: list[int] | None = None
) -> tuple[Tensor, Tensor]:
    """What S_finger and S_palm are means of: the mean cosine of each query joint, both ``(batch, time, 20)``.

    Args as those of :func:`semantic_similarity`.
    """
    finger, palm = source.cosines(joints, frames)
    if anchor_mask is not None:
        palm = palm[..., anchor_mask]
    return finger.mean(-1), palm.mean(-1)


def pinch_error(finger_coords: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
    """How far fingertips of the result are apart where those of the source touch.

    Args:
        finger_coords: ``(batch, time, 20, 20, 3)`` the source's finger coordinates, in its palm lengths.
        joints: ``(batch, time, 21, 3)`` joints of the result.

    Returns:
        Mean distance ``(batch,)`` in palm lengths of the result, NaN in windows without contact, and the number
        ``(batch,)`` of touching pairs it is the mean of.
    """
    gaps, touching = fingertip_gaps(joints), fingertip_contacts(finger_coords)
    count = touching.flatten(1).sum(1)
    return (gaps * touching).flatten(1).sum(1) / count, count


def fingertip_contacts(finger_coords: Tensor) -> Tensor:
    """Which of the ten pairs `TIP_PAIRS` of fingertips touch, ``(..., 10)`` bool, from a source's finger coordinates
    ``(..., 20, 20, 3)`` in its palm lengths."""
    tips = torch.tensor(_TIPS, device=finger_coords.device)
    return finger_coords[..., tips[_FIRST], tips[_SECOND], :].norm(dim=-1) < CONTACT


def fingertip_gaps(joints: Tensor) -> Tensor:
    """Distances ``(..., 10)`` of the pairs `TIP_PAIRS` of fingertips of ``joints (..., 21, 3)``, in palm lengths."""
    tips = torch.tensor(_TIPS, device=joints.device) + 1
    gaps = (joints[..., tips[_FIRST], :] - joints[..., tips[_SECOND], :]).norm(dim=-1)
    return gaps / palm_length(joints).unsqueeze(-1)


def joint_error(joints: Tensor, truth: Tensor) -> Tensor:
    """Mean squared distance ``(batch,)`` over time and all 21 joints of two ``(batch, time, 21, 3)``; unit squared."""
    return (joints - truth).square().sum(-1).flatten(1).mean(1)
