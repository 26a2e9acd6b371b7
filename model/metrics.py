"""What a retargeting is worth (mathematics §6): semantic similarity, closed pinches, joint error.

All are per window, ``(batch,)``, so that means and standard errors can be taken over windows; `joint_similarity` and
`fingertip_gaps` are what they are means of, frame by frame.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model import presence
from model.semantics import SourceDirections, palm_length
from model.topology import N_FINGERS, TIPS

CONTACT = 0.02
"""Fingertips of a source nearer than this many palm lengths touch: pinch errors are measured there, as published."""
CLOSED = 3 * CONTACT
"""Fingertips of a result nearer than this look closed: pictures mark them green. No figure depends on it."""
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
    present: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """S_finger and S_palm ``(batch,)``: mean cosines between a source's semantic matrix and a result's.

    Args:
        source: directions of the source, ``(batch, time, …)``.
        joints: ``(batch, time, 21, 3)``; frames: ``(batch, time, 20, 3, 3)`` of the result.
        finger_mask: query joints that count in S_finger; None: all 20.
        anchor_mask: anchors that count in S_palm; None: all 9.
        present: ``(batch, time or 1, 21)`` bool, joints that both hands have; None: all. Cosines of others are left
            out of the means (with n finger joints, S_finger can reach 1 − 1/n).
    """
    finger, palm = source.cosines(joints, frames)
    of_finger = of_palm = None
    if present is not None:
        rows = presence.finger_joints(present)
        of_finger, of_palm = presence.pairs(rows, rows), presence.pairs(rows, presence.anchors(present))
    if finger_mask is not None:
        finger = finger[..., finger_mask, :]
        of_finger = None if of_finger is None else of_finger[..., finger_mask, :]
    if anchor_mask is not None:
        palm = palm[..., anchor_mask]
        of_palm = None if of_palm is None else of_palm[..., anchor_mask]
    return presence.item_means(finger, of_finger), presence.item_means(palm, of_palm)


def joint_similarity(
    source: SourceDirections,
    joints: Tensor,
    frames: Tensor,
    anchor_mask: list[int] | None = None,
    present: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """What S_finger and S_palm are means of: the mean cosine of each query joint, both ``(batch, time, 20)``.

    Args as those of :func:`semantic_similarity`; NaN for joints that do not count.
    """
    finger, palm = source.cosines(joints, frames)
    if present is not None:
        rows = presence.finger_joints(present)
        finger = finger.where(presence.pairs(rows, rows), torch.nan)
        palm = palm.where(presence.pairs(rows, presence.anchors(present)), torch.nan)
    if anchor_mask is not None:
        palm = palm[..., anchor_mask]
    return (finger.mean(-1), palm.mean(-1)) if present is None else (finger.nanmean(-1), palm.nanmean(-1))


def pinch_error(finger_coords: Tensor, joints: Tensor, present: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """How far fingertips of the result are apart where those of the source touch.

    Args:
        finger_coords: ``(batch, time, 20, 20, 3)`` the source's finger coordinates, in its palm lengths.
        joints: ``(batch, time, 21, 3)`` joints of the result.
        present: ``(batch, time or 1, 21)`` bool, joints that both hands have; None: all.

    Returns:
        Mean distance ``(batch,)`` in palm lengths of the result, NaN in windows without contact, and the number
        ``(batch,)`` of touching pairs it is the mean of.
    """
    gaps, touching = fingertip_gaps(joints), fingertip_contacts(finger_coords, present)
    count = touching.flatten(1).sum(1)
    return (gaps * touching).flatten(1).sum(1) / count, count


def fingertip_contacts(finger_coords: Tensor, present: Tensor | None = None) -> Tensor:
    """Which of the ten pairs `TIP_PAIRS` of fingertips touch, ``(..., 10)`` bool, from a source's finger coordinates
    ``(..., 20, 20, 3)`` in its palm lengths; only tips that count, ``present (..., 21)``."""
    tips = torch.tensor(_TIPS, device=finger_coords.device)
    first, second = tips[_FIRST], tips[_SECOND]
    touching = finger_coords[..., first, second, :].norm(dim=-1) < CONTACT
    return touching if present is None else touching & present[..., 1 + first] & present[..., 1 + second]


def fingertip_gaps(joints: Tensor) -> Tensor:
    """Distances ``(..., 10)`` of the pairs `TIP_PAIRS` of fingertips of ``joints (..., 21, 3)``, in palm lengths."""
    tips = torch.tensor(_TIPS, device=joints.device) + 1
    gaps = (joints[..., tips[_FIRST], :] - joints[..., tips[_SECOND], :]).norm(dim=-1)
    return gaps / palm_length(joints).unsqueeze(-1)


def gap_closed(method: float, copy: float, optimum: float, least: float) -> float | None:
    """Which share of what is attainable beyond twist-bend-splay copy a method attains; None if that is too little.

    Args:
        method: S_finger or S_palm of the method; copy, optimum: of the copy and of the optimiser.
        least: room between them below which a share of it says nothing.
    """
    room = optimum - copy
    return (method - copy) / room if room >= least else None


def s_finger_ceiling(similarity: Tensor, present: Tensor | None = None) -> Tensor:
    """Best possible S_finger ``(batch,)``: 1 − 1/n with n finger joints that both hands have, since the zero diagonal
    counts.

    Args:
        similarity: ``(batch,)`` S_finger, whose type and place the result has.
        present: ``(batch, time or 1, 21)`` joints that both hands have; None: all, 0.95.
    """
    if present is None:
        return torch.full_like(similarity, S_FINGER_CEILING)
    return (1 - 1 / presence.finger_joints(present).sum(-1)).to(similarity).mean(-1)


def joint_error(joints: Tensor, truth: Tensor, present: Tensor | None = None) -> Tensor:
    """Mean squared distance ``(batch,)`` over time and all 21 joints of two ``(batch, time, 21, 3)``; unit squared.

    With ``present (batch, time or 1, 21)`` only over the joints that count.
    """
    return presence.item_means((joints - truth).square().sum(-1), present)
