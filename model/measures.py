"""What a result is worth, measured in one place and frame by frame (mathematics §6): meaning, touches, joint error.

Tables, reports, the viewer and `test` take their means from here; what they average over is theirs to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from model import presence
from model.hands import PosedHand
from model.kinematics import tbs_from_angles
from model.limits import JointLimits
from model.semantics import SourceDirections, palm_length
from model.topology import N_FINGERS, TIPS
from utils import scratch

CONTACT = 0.02
"""Fingertips of a source nearer than this many palm lengths touch: pinch errors are measured there, as published."""
CLOSED = 3 * CONTACT
"""Fingertips of a result nearer than this look closed: pictures mark them green. No figure depends on it."""
S_FINGER_CEILING = 0.95
"""Best possible S_finger: its zero diagonal counts, 20 of 400 cosines."""
VIOLATION = 2.0
"""Degrees beyond its limits from which on a joint counts."""

_FIRST, _SECOND = torch.triu_indices(N_FINGERS, N_FINGERS, offset=1).tolist()
TIP_PAIRS = tuple(zip(_FIRST, _SECOND, strict=True))
"""The ten pairs of fingers, as numbers of two fingers."""
_CHUNK = 2048


@dataclass(frozen=True)
class Measures:
    """What one result reached in each frame, ``(...,)``. Joints that only one of the hands has do not count."""

    finger: Float[Tensor, "*batch queries"]
    """``(..., 20)`` mean cosine that each query joint has towards the finger joints; NaN where it does not count."""
    palm: Float[Tensor, "*batch 20"]
    """``(..., 20)`` the same towards the palm anchors."""
    ceiling: Float[Tensor, " *batch"]
    """Best possible S_finger: 1 − 1/n with n finger joints that both hands have, since the zero diagonal counts."""
    touching: Bool[Tensor, "*batch 10"]
    """``(..., 10)`` bool, which pairs of fingertips (`TIP_PAIRS`) touch in the source."""
    gaps: Float[Tensor, "*batch 10"]
    """``(..., 10)`` how far they are apart in the result, in its palm lengths."""
    squared_error: Float[Tensor, " *batch"] | None = None
    """Mean squared distance of the 21 joints from a recorded pose, in the hand's unit squared; None without one."""

    @property
    def s_finger(self) -> Float[Tensor, "..."]:
        """Mean cosine between the directions to finger joints, as published."""
        return self.finger.nanmean(-1)

    @property
    def s_palm(self) -> Float[Tensor, "..."]:
        """Mean cosine between the directions to palm anchors."""
        return self.palm.nanmean(-1)

    @property
    def pinch(self) -> Float[Tensor, "..."]:
        """Mean gap of the fingertips that touch in the source; NaN without touch."""
        return (self.gaps * self.touching).sum(-1) / self.touching.sum(-1)

    def at(self, index) -> Measures:
        """Some of the frames, by their leading dimensions."""
        return replace(self, **{name: part[index] for name, part in self._parts().items()})

    @staticmethod
    def joined(parts: Sequence[Measures]) -> Measures:
        """Of several batches, one after the other."""
        first = parts[0]
        return replace(first, **{name: torch.cat([getattr(part, name) for part in parts]) for name in first._parts()})

    def by_window(self, keep: Bool[Tensor, "windows time"] | None = None) -> dict[str, Shaped[Tensor, " windows"]]:
        """Values ``(N,)`` of windows ``(N, T)`` by metric: means over their frames, of pinches over touching pairs.

        Args:
            keep: ``(N, T)`` bool, the frames that count; None: all. Windows without one have NaN.
        """
        keep = torch.ones_like(self.s_palm, dtype=torch.bool) if keep is None else keep
        frames, touching = keep.sum(1), self.touching & keep[..., None]
        pairs = touching.flatten(1).sum(1)
        means = {"S_finger": self.s_finger, "S_palm": self.s_palm, "S_finger_ceiling": self.ceiling}
        if self.squared_error is not None:
            means["mixamo_MSE"] = self.squared_error
        return {
            **{name: (values * keep).sum(1) / frames for name, values in means.items()},
            "pinch_error": (self.gaps * touching).flatten(1).sum(1) / pairs,
            "pinch_pairs": pairs,
            "frames": frames,
        }

    def _parts(self) -> dict[str, Tensor]:
        """What there is, by name."""
        return {name: part for name, part in vars(self).items() if part is not None}


@dataclass(frozen=True)
class Scores:
    """What one result reached in each frame ``(F,)``, in a few numbers: a motion may be long."""

    s_finger: Float[Tensor, " frames"]
    s_palm: Float[Tensor, " frames"]
    pinch: Float[Tensor, " frames"]
    """NaN without touch."""
    touched: Bool[Tensor, " frames"]
    """Fingertips of the source touch."""

    @staticmethod
    def joined(parts: Iterable[Measures]) -> Scores:
        """Of measures of frames that follow each other."""
        rows = ((each.s_finger, each.s_palm, each.pinch, each.touching.any(-1)) for each in parts)
        return Scores(*map(torch.cat, zip(*rows, strict=True)))


def measure(
    source: SourceDirections,
    result: PosedHand,
    present: Bool[Tensor, "... 21"] | None = None,
    recorded: Float[Tensor, "... 21 3"] | None = None,
    queries: list[int] | None = None,
    anchors: list[int] | None = None,
) -> Measures:
    """Compare a result with its source, frame by frame.

    Args:
        source: directions of the source's semantic matrix, ``(...)``.
        result: the target in its poses, ``(...)``.
        present: ``(..., 21)`` bool, joints that both hands have; None: all. Cosines of others are left out of the
            means (with n finger joints, S_finger can reach 1 − 1/n).
        recorded: ``(..., 21, 3)`` joints of the pose that the result should have, in the same unit.
        queries: query joints that count in S_finger; None: all 20.
        anchors: palm anchors that count in S_palm; None: all 9.
    """
    finger, palm = source.cosines(result.joints, result.frames)
    touching = fingertip_contacts(source.distance, present)
    error = None if recorded is None else (result.joints - recorded).square().sum(-1)
    ceiling = torch.full_like(finger[..., 0, 0], S_FINGER_CEILING)
    if present is not None:
        rows = presence.finger_joints(present)
        finger = finger.where(presence.pairs(rows, rows), torch.nan)
        palm = palm.where(presence.pairs(rows, presence.anchors(present)), torch.nan)
        error = None if error is None else error.where(present, torch.nan)
        ceiling = (1 - 1 / rows.sum(-1)).to(ceiling).expand_as(ceiling)
    if queries is not None:
        finger = finger[..., queries, :]
    if anchors is not None:
        palm = palm[..., anchors]
    return Measures(
        finger.nanmean(-1),
        palm.nanmean(-1),
        ceiling,
        touching,
        fingertip_gaps(result.joints).expand_as(touching),
        None if error is None else error.nanmean(-1),
    )


def fingertip_contacts(
    distance: Float[Tensor, "... 20 points"], present: Bool[Tensor, "... 21"] | None = None
) -> Bool[Tensor, "... 10"]:
    """Which of the ten pairs `TIP_PAIRS` of fingertips touch, ``(..., 10)`` bool.

    Args:
        distance: ``(..., 20, 20 or more)`` between a source's finger joints, in its palm lengths.
        present: ``(..., 21)`` bool, only tips that count; None: all.
    """
    tips = torch.tensor(TIPS, device=distance.device)
    first, second = tips[_FIRST], tips[_SECOND]
    touching = distance[..., first - 1, second - 1] < CONTACT
    return touching if present is None else touching & present[..., first] & present[..., second]


def fingertip_gaps(joints: Float[Tensor, "*batch 21 3"]) -> Float[Tensor, "*batch 10"]:
    """Distances ``(..., 10)`` of the pairs `TIP_PAIRS` of fingertips of ``joints (..., 21, 3)``, in palm lengths."""
    tips = torch.tensor(TIPS, device=joints.device)
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


def beyond_limits(tbs: Float[Tensor, "frames 5 3 3 3"], present: Bool[Tensor, "21"]) -> Float[Tensor, "frames 5 3"]:
    """Degrees ``(F, 5, 3)`` from rotations ``(F, 5, 3, 3, 3)`` to the nearest ones within the limits of their joints;
    0 for joints that do not count, ``present (21,)``."""
    limits, parts = JointLimits(), []
    for part in tbs.split(_CHUNK):
        inside = tbs_from_angles(limits.nearest_angles(part))
        # The chord between two rotations: exact for small angles, where a trace is not.
        chord = (part - inside).flatten(-2).norm(dim=-1) / 8**0.5
        parts.append(torch.rad2deg(2 * torch.asin(chord.clamp(max=1))))
    return torch.cat(parts) * presence.turning(present)


def jerk(local: Float[Tensor, "frames 5 3 3 3"], present: Bool[Tensor, "21"]) -> float:
    """Mean size of the third difference over time of local rotations ``(F, 5, 3, 3, 3)``; 0 for fewer than 4 frames.

    Of rotations, not of positions: longer fingers do not count as more jerk. Only joints ``present (21,)`` count.
    """
    if len(local) < 4:
        return 0.0
    turning, total = presence.turning(present), 0.0
    for part in scratch.blocks(len(local) - 3):
        some = local[part.start : part.stop + 3]
        third = some[3:] - 3 * some[2:-1] + 3 * some[1:-2] - some[:-3]
        total += float(third.flatten(-2).norm(dim=-1)[:, turning].double().mean(-1).sum())
    return total / (len(local) - 3)
