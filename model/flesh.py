"""The flesh of a hand: tapered capsules about its bones, and the gaps between them (mathematics §19).

Joints lie inside fingers; what touches is skin. Each phalanx is one tapered capsule (the hull of two spheres), the
palm four, from the wrist towards the roots of the fingers. They move as the joints that carry them do. Lengths are
palm lengths of the hand itself, so flesh has no unit.

The gap of two capsules is ``min |p(s) − q(t)| − r(s) − r(t)`` over their axes, convex in ``(s, t)``, negative where
they overlap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from model.hands import Pick, PosedHand
from model.layout import frames_first, frames_last
from model.rotations import unit
from model.semantics import palm_length
from model.topology import (
    BONES_PER_FINGER,
    FINGERS,
    INDEX,
    JOINTS_PER_FINGER,
    MIDDLE,
    N_FINGERS,
    PINKY,
    RING,
    ROOTS,
    THUMB,
    WRIST,
)

N_PHALANGES = N_FINGERS * BONES_PER_FINGER
PALM = N_PHALANGES
"""The part that is the palm; the parts before it are phalanges, ``3 * finger + bone``."""
N_PARTS = N_PHALANGES + 1
N_PALM = N_FINGERS - 1
"""Capsules of the palm, one to the root of each finger but the thumb."""
N_CAPSULES = N_PHALANGES + N_PALM
CARRIERS = (
    tuple(1 + JOINTS_PER_FINGER * f + b for f in range(N_FINGERS) for b in range(BONES_PER_FINGER)) + (WRIST,) * N_PALM
)
"""The joint that carries each capsule."""
PART_NAMES = (*(f"{finger} {bone + 1}" for finger in FINGERS for bone in range(BONES_PER_FINGER)), "palm")

_NEIGHBOURS = ((MIDDLE, RING), (MIDDLE, INDEX), (RING, PINKY))


def _pairs() -> tuple[tuple[int, int], ...]:
    """Pairs of parts that can touch and need not: not within one finger, whose folds always meet; not the first
    phalanx of a finger and its neighbour, which meet in their web; on the palm only last phalanges, since the others
    meet it in the fold of their own root."""
    found = []
    for first in range(N_PHALANGES):
        f, b = divmod(first, BONES_PER_FINGER)
        for second in range(first + 1, N_PHALANGES):
            g, c = divmod(second, BONES_PER_FINGER)
            web = (b, c) == (0, 0) if (f, g) not in _NEIGHBOURS else 0 in (b, c)
            if f != g and not web:
                found.append((first, second))
        if b == BONES_PER_FINGER - 1:
            found.append((first, PALM))
    return tuple(found)


PART_PAIRS = _pairs()
"""The pairs of parts whose touches count."""
CAPSULE_PAIRS = tuple((a, b) for a, part in PART_PAIRS for b in (range(PALM, N_CAPSULES) if part == PALM else (part,)))
"""The same by capsules."""
N_CAPSULE_PAIRS = len(CAPSULE_PAIRS)
_OF_PART = tuple(PART_PAIRS.index((a, min(b, PALM))) for a, b in CAPSULE_PAIRS)
FIRST, SECOND = (tuple(pair[side] for pair in CAPSULE_PAIRS) for side in (0, 1))

FINGER_RADII = (
    (0.130, 0.093, 0.082, 0.067),
    (0.125, 0.087, 0.076, 0.065),
    (0.110, 0.074, 0.067, 0.056),
    (0.130, 0.093, 0.081, 0.066),
    (0.190, 0.132, 0.090, 0.080),
)
"""Radii at the four joints of middle, ring, pinky, index and thumb, in palm lengths, where nothing else tells; of the
tip the sphere that ends there."""
PALM_RADII = (0.16, 0.15)
"""Of the palm near the wrist and at the roots."""
PALM_SHARE = (0.3, 0.85)
"""Shares of the way from the wrist to a root between which the palm's capsules lie: beyond, fingers move the skin."""
ADULT_FLATNESS = 0.006
"""Of the same fingers; see `Flesh.flatness`."""
_ROUNDS = 4
_STEEPEST = 0.9


@dataclass(frozen=True)
class Flesh:
    """Capsules of one hand or several, in palm lengths; leading dimensions broadcast as those of hands do."""

    ends: Float[Tensor, "... capsules 2 3"]
    """``(..., 19, 2, 3)`` centres of their two spheres, from the joint that carries them, with the hand at rest."""
    radii: Float[Tensor, "... capsules 2"]
    """``(..., 19, 2)``."""
    flatness: Float[Tensor, "... capsules"]
    """``(..., 19)`` how much broader than round, and as much thinner: ``e (cos² − sin²)`` is added to the radius, the
    angle being that from the bend axis."""

    def to(self, like: Tensor) -> Flesh:
        """The same in the type and on the device of a tensor."""
        return Flesh(self.ends.to(like), self.radii.to(like), self.flatness.to(like))

    def picked(self, pick: Pick) -> Flesh:
        """The flesh of some of the hands."""
        return Flesh(pick(self.ends, 3), pick(self.radii, 2), pick(self.flatness, 1))

    def placed(self, posed: PosedHand) -> Float[Tensor, "... capsules 2 3"]:
        """Centres ``(..., 19, 2, 3)`` in a pose, in palm lengths, wrist at the origin."""
        joints = posed.joints / palm_length(posed.joints)[..., None, None]
        turned = (posed.fingers.flatten(-4, -3).unsqueeze(-3) @ self.ends[..., :PALM, :, :, None]).squeeze(-1)
        fingers = joints[..., list(CARRIERS[:PALM]), None, :] + turned
        palm = self.ends[..., PALM:, :, :].expand(*fingers.shape[:-3], -1, -1, -1)
        return torch.cat([fingers, palm], dim=-3)

    def touches(self, posed: PosedHand) -> Touches:
        """The gaps of a pose and where they are, ``(..., pairs)``; see :class:`Touches`."""
        ends = self.placed(posed)
        batch = ends.shape[:-3]
        radii, flatness = self.radii.expand(*batch, -1, -1), self.flatness.expand(*batch, -1)
        near = nearest(frames_last(ends, 3), frames_last(radii, 2))
        frames = frames_last(capsule_frames(posed).expand(*batch, -1, -1, -1), 3)
        near = flattened(near, frames, frames_last(flatness, 1), list(FIRST), list(SECOND))
        return Touches(*(frames_first(part, batch) for part in near))


class Touches(NamedTuple):
    """Where capsules are nearest to each other, pairs as in `CAPSULE_PAIRS`."""

    gap: Tensor
    """``(..., pairs)`` palm lengths, negative where they overlap."""
    along: Tensor
    """``(..., 2, pairs)`` where on the first and second one's axis, from 0 at its joint to 1."""
    places: Tensor
    """``(..., 2, 3, pairs)`` the points of their axes."""
    normal: Tensor
    """``(..., 3, pairs)`` unit vector from the first to the second."""


def nearest(ends: Float[Tensor, "capsules 2 3 frames"], radii: Float[Tensor, "capsules 2 #frames"]) -> Touches:
    """Gaps of all `CAPSULE_PAIRS`, frames last: gap ``(pairs, F)``, along ``(2, pairs, F)``, places
    ``(2, 3, pairs, F)``, normal ``(3, pairs, F)``.

    The gradient is that of the gap where the nearest places are, which at a minimum is the whole of it.
    """
    return nearest_of(ends, radii, list(FIRST), list(SECOND))


def nearest_of(ends: Tensor, radii: Tensor, first: list[int] | Tensor, second: list[int] | Tensor) -> Touches:
    """The same for some pairs of capsules, by their numbers."""
    points = ends.movedim(2, 0)  # (3, capsules, 2, F)
    begin = points[:, :, 0][:, first], points[:, :, 0][:, second]
    axis = points[:, :, 1][:, first] - begin[0], points[:, :, 1][:, second] - begin[1]
    radius = radii[:, 0][first], radii[:, 0][second]
    taper = radii[:, 1][first] - radius[0], radii[:, 1][second] - radius[1]
    with torch.no_grad():
        s, t = _parameters(begin, axis, taper)
    places = begin[0] + s * axis[0], begin[1] + t * axis[1]
    apart = places[1] - places[0]
    length = _dot(apart, apart).clamp_min(1e-12).sqrt()
    gap = length - (radius[0] + s * taper[0]) - (radius[1] + t * taper[1])
    return Touches(gap, torch.stack([s, t]), torch.stack(places), apart / length)


def flattened(
    near: Touches,
    frames: Float[Tensor, "capsules 3 3 frames"],
    flatness: Float[Tensor, "19 #frames"],
    first: list[int] | Tensor,
    second: list[int] | Tensor,
) -> Touches:
    """Gaps of fingers that are broader than thick, from those of round ones, frames last (see `Flesh.flatness`)."""
    gap = near.gap
    for number in (first, second):
        seen = (frames[number] * near.normal.movedim(1, 0).unsqueeze(2)).sum(1)  # (pairs, 3, F) along, across, up
        gap = gap - flatness[number] * (seen[:, 1].square() - seen[:, 2].square())
    return near._replace(gap=gap)


def capsule_frames(posed: PosedHand) -> Float[Tensor, "... capsules 3 3"]:
    """Frames ``(..., 19, 3, 3)`` of the capsules, columns along, across and out of the back of the hand: of phalanges
    their joints', of the palm one of its own, from its roots."""
    joints = posed.joints
    forward = unit(joints[..., ROOTS[0], :])
    normal = torch.linalg.cross(joints[..., ROOTS[INDEX], :], joints[..., ROOTS[PINKY], :], dim=-1)
    normal = unit(normal - (normal * forward).sum(-1, keepdim=True) * forward)
    palm = torch.stack([forward, torch.linalg.cross(normal, forward, dim=-1), normal], dim=-1)
    fingers = posed.frames[..., [carrier - 1 for carrier in CARRIERS[:PALM]], :, :]
    palm = palm.unsqueeze(-3).expand(*fingers.shape[:-3], N_PALM, 3, 3)
    return torch.cat([fingers, palm], dim=-3)


def _parameters(
    begin: tuple[Tensor, Tensor], axis: tuple[Tensor, Tensor], taper: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Where two tapered capsules are nearest: nearest points of the axes, then by turns the exact place on one for the
    place on the other."""
    squares = [_dot(each, each).clamp_min(1e-12) for each in axis]
    between = begin[0] - begin[1]
    mixed, on_first, on_second = _dot(axis[0], axis[1]), _dot(axis[0], between), _dot(axis[1], between)
    steep = squares[0] * squares[1] - mixed.square()
    s = ((mixed * on_second - on_first * squares[1]) / steep.clamp_min(1e-9)).clamp(0, 1)
    t = ((mixed * s + on_second) / squares[1]).clamp(0, 1)
    s = ((mixed * t - on_first) / squares[0]).clamp(0, 1)
    lengths = [square.sqrt() for square in squares]
    slopes = [(each / length).clamp(-_STEEPEST, _STEEPEST) for each, length in zip(taper, lengths, strict=True)]
    shifts = [slope * (1 - slope.square()).rsqrt() for slope in slopes]
    for _ in range(_ROUNDS):
        t = _on_axis(begin[0] + s * axis[0] - begin[1], axis[1], squares[1], lengths[1], shifts[1])
        s = _on_axis(begin[1] + t * axis[1] - begin[0], axis[0], squares[0], lengths[0], shifts[0])
    return s, t


def _on_axis(point: Tensor, axis: Tensor, square: Tensor, length: Tensor, shift: Tensor) -> Tensor:
    """The place on a capsule's axis that minimises the distance to a point less the radius, from 0 to 1."""
    along = _dot(point, axis)
    height = (_dot(point, point) - along.square() / square).clamp_min(0).sqrt()
    return (along / square + shift * height / length).clamp(0, 1)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(0)


def part_gaps(gap: Float[Tensor, "*batch capsule_pairs"]) -> Float[Tensor, "*batch part_pairs"]:
    """Gaps ``(..., 73)`` of `PART_PAIRS` from those of `CAPSULE_PAIRS`: of the palm's capsules the nearest counts."""
    number = torch.tensor(_OF_PART, device=gap.device).expand(gap.shape)
    result = gap.new_full((*gap.shape[:-1], len(PART_PAIRS)), torch.inf)
    return result.scatter_reduce(-1, number, gap, "amin")


def by_capsules(gap: Float[Tensor, "*batch part_pairs"]) -> Float[Tensor, "*batch capsule_pairs"]:
    """The same ``(...)`` for each of `CAPSULE_PAIRS` from that of its `PART_PAIRS`."""
    return gap[..., list(_OF_PART)]


def flesh_of_radii(
    offsets: Float[Tensor, "*batch 21 3"], radii: Float[Tensor, "*batch 21"] | None = None, tips_inside: bool = False
) -> Flesh:
    """Flesh about bare bones, from the radius at each joint or from those of adult hands.

    Args:
        offsets: ``(..., 21, 3)`` bone vectors at rest, any unit.
        radii: ``(..., 21)`` distance from each joint to the skin, in the same unit, as OpenXR gives it; NaN or None:
            `FINGER_RADII`.
        tips_inside: tip joints are the centres of the last spheres, as in OpenXR; False: they lie on the skin.
    """
    palm = offsets[..., ROOTS[0], :].norm(dim=-1)[..., None, None, None]
    bones = (offsets[..., 1:, :] / palm.squeeze(-1)).unflatten(-2, (N_FINGERS, JOINTS_PER_FINGER))
    default = bones.new_tensor(FINGER_RADII).expand(bones.shape[:-1])
    wrist = bones.new_tensor(PALM_RADII[0]).expand(bones.shape[:-3])
    if radii is not None:
        given = (radii / palm[..., 0, 0]).to(bones)
        fingers, root = given[..., 1:].unflatten(-1, (N_FINGERS, JOINTS_PER_FINGER)), given[..., WRIST]
        default = torch.where(fingers > 0, fingers, default)
        wrist = torch.where(root > 0, root, wrist)
    outer = bones[..., 1:, :]
    back = torch.zeros_like(outer[..., 0])
    if not tips_inside:
        back[..., -1] = default[..., -1]
    length = outer.norm(dim=-1).clamp_min(1e-9)
    outer = outer * (1 - (back / length).clamp(max=0.9)).unsqueeze(-1)
    fingers = torch.stack([torch.zeros_like(outer), outer], dim=-2).flatten(-4, -3)
    finger_radii = torch.stack([default[..., :-1], default[..., 1:]], dim=-1).flatten(-3, -2)
    roots = bones[..., :THUMB, 0, :]
    ends = torch.stack([share * roots for share in PALM_SHARE], dim=-2)
    thick = default[..., :THUMB, 0] * (PALM_RADII[1] / default.new_tensor(FINGER_RADII)[:THUMB, 0])
    palm_radii = torch.stack([wrist[..., None].expand_as(thick), thick], dim=-1)
    radii = torch.cat([finger_radii, palm_radii], dim=-2)
    flatness = torch.full_like(radii[..., 0], ADULT_FLATNESS)
    flatness[..., PALM:] = 0
    return Flesh(torch.cat([fingers, ends], dim=-3), radii, flatness)
