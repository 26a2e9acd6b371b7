"""What a retargeted motion is worth, frame by frame: meaning, touches, smoothness, joint limits (mathematics §6)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model.hands import PosedHand
from model.kinematics import tbs_from_angles
from model.limits import JointLimits
from model.metrics import TIP_PAIRS, fingertip_contacts, fingertip_gaps
from model.motion import SourceMotion
from model.topology import BONES_PER_FINGER, JOINTS_PER_FINGER, N_FINGERS, PALM_ANCHORS, TIPS

VIOLATION = 2.0
"""Degrees beyond its limits from which on a joint counts."""
_CHUNK = 2048


@dataclass(frozen=True)
class FrameQuality:
    """What a result reached in each frame. Joints that only one of the hands has do not count."""

    s_finger: Tensor
    """``(F,)`` mean cosine between the directions to finger joints; the zero diagonal counts, as published."""
    s_palm: Tensor
    """``(F,)`` mean cosine between the directions to palm anchors."""
    pinch: Tensor
    """``(F,)`` mean distance in palm lengths of fingertips that touch in the source; NaN without touch."""
    excess: Tensor
    """``(F, 5, 3)`` degrees that each joint is turned beyond its limits."""


@torch.no_grad()
def frame_quality(source: SourceMotion, result: PosedHand, present: Tensor) -> FrameQuality:
    """Compare a result with its source.

    Args:
        source: the motion.
        result: the target's poses, ``(F,)``.
        present: ``(21,)`` bool, joints that both hands have.
    """
    fingers = present[1:]
    anchors = present[[root for root, _ in PALM_ANCHORS]]
    finger, palm = source.directions.cosines(result.joints, result.frames)
    tips = present[list(TIPS)]
    pairs = torch.tensor([bool(tips[a] and tips[b]) for a, b in TIP_PAIRS])
    touching = fingertip_contacts(source.semantic_matrix.finger) & pairs
    gaps = fingertip_gaps(result.joints)
    return FrameQuality(
        finger[:, fingers][..., fingers].mean((-1, -2)),
        palm[:, fingers][..., anchors].mean((-1, -2)),
        (gaps * touching).sum(-1) / touching.sum(-1),
        _beyond_limits(result.tbs) * rotating_mask(present),
    )


def rotating_mask(present: Tensor) -> Tensor:
    """``(5, 3)`` which rotating joints both hands have."""
    return present[1:].unflatten(0, (N_FINGERS, JOINTS_PER_FINGER))[:, :BONES_PER_FINGER]


def _beyond_limits(tbs: Tensor) -> Tensor:
    """Degrees ``(F, 5, 3)`` from rotations ``(F, 5, 3, 3, 3)`` to the nearest ones within the limits."""
    limits, parts = JointLimits(), []
    for part in tbs.split(_CHUNK):
        inside = tbs_from_angles(limits.nearest_angles(part))
        # The chord between two rotations: exact for small angles, where a trace is not.
        chord = (part - inside).flatten(-2).norm(dim=-1) / 8**0.5
        parts.append(torch.rad2deg(2 * torch.asin(chord.clamp(max=1))))
    return torch.cat(parts)


def jerk(local: Tensor, present: Tensor) -> float:
    """Mean size of the third difference over time of local rotations ``(F, 5, 3, 3, 3)``; 0 for fewer than 4 frames.

    Of rotations, not of positions: longer fingers do not count as more jerk.
    """
    if len(local) < 4:
        return 0.0
    third = local[3:] - 3 * local[2:-1] + 3 * local[1:-2] - local[:-3]
    return float(third.flatten(-2).norm(dim=-1)[:, rotating_mask(present)].mean())
