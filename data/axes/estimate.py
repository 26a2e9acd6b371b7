"""Axes of a hand from all evidence, with a confidence for each finger; or from the mesh alone, as published."""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, sqrt

import numpy as np

from data.axes.evidence import Evidence, MotionHinges, degrees_between, gather
from data.axes.hand import BareHand
from data.axes.mesh_shape import propose_splay
from data.choices import AXIS_METHODS as METHODS
from model.topology import FINGERS, N_FINGERS, THUMB, TIPS, WRIST
from utils.errors import InputError
from utils.geometry import angle_weighted_normals

NEAR = 20.0
"""Confidence is the chance that a bend axis is within so many degrees of the true hinge."""
DOUBTFUL, SURE = 0.7, 0.9
EVEN = 0.5
"""A confidence below this: the axis is rather off than right."""
FIST = np.radians([70.0, 90.0, 60.0])
"""Bend of the three joints in a closed hand."""
THUMB_IN_FIST = np.radians([25.0, 45.0, 60.0])
_ROUNDS = 20
_FAR = 2.0
"""Evidence that is this many of its own spreads off counts half (Cauchy's weights)."""


@dataclass(frozen=True)
class FingerEstimate:
    """The hinge of one finger, and how sure it is."""

    bend: np.ndarray
    """(3,) unit bend axis; NaN for a missing finger."""
    error: float
    """Expected error in degrees, a standard deviation; NaN for a missing finger."""
    evidence: tuple[Evidence, ...] = ()

    @property
    def confidence(self) -> float:
        """Chance in [0, 1] that the axis is within `NEAR` degrees of the true hinge."""
        return erf(NEAR / (sqrt(2) * self.error)) if self.error > 0 else float(self.error == 0)

    @property
    def word(self) -> str:
        """``"sure"``, ``"fair"``, ``"doubtful"`` or ``"missing"``."""
        if np.isnan(self.error):
            return "missing"
        return "sure" if self.confidence >= SURE else "fair" if self.confidence >= DOUBTFUL else "doubtful"


@dataclass(frozen=True)
class HandEstimate:
    """The axes of one hand."""

    hand: BareHand
    axes: np.ndarray
    """(5, 4, 3, 3) rows twist, bend, splay."""
    fingers: tuple[FingerEstimate, ...]
    """Five, in hand order."""
    method: str

    @property
    def doubtful(self) -> list[str]:
        """Names of the fingers that someone should look at."""
        return [name for name, finger in zip(FINGERS, self.fingers, strict=True) if finger.word == "doubtful"]

    @property
    def unsure(self) -> list[str]:
        """Names of the fingers whose axis is rather off than right: the evidence contradicts itself. A thumb of which
        only the palm tells (`doubtful`) is none of them."""
        return [name for name, finger in zip(FINGERS, self.fingers, strict=True) if 0 < finger.confidence < EVEN]

    @property
    def opening(self) -> list[str]:
        """Names of the fingers that a fist opens instead of closing: there the axes cannot be right."""
        bad = np.flatnonzero(self.hand.present & ~closes(self.hand, self.axes))
        return [FINGERS[finger] for finger in bad]


def estimate_axes(
    hand: BareHand,
    method: str = "combined",
    preset: np.ndarray | None = None,
    motion: MotionHinges | None = None,
) -> HandEstimate:
    """Estimate the axes of a hand.

    Args:
        method: ``"combined"`` weighs all evidence; ``"mesh"`` is the published estimate (mathematics §7), which is
            right only for fingers that are clearly broader than thick.
        preset: axes ``(5, 4, 3, 3)`` made earlier: fingers keep its splay axes; with ``"mesh"`` the nearest of
            the 360 directions.
        motion: hinges seen in motion, for ``"combined"``.

    Raises:
        InputError: the hand has no palm, or (``"mesh"``) its mesh is open at a finger.
        ValueError: `method` is neither.
    """
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {METHODS}; got {method!r}")
    if method == "mesh":
        fingers = _from_mesh(hand, preset)
    elif preset is not None:
        fingers = _from_preset(hand, preset)
    else:
        fingers = tuple(combine(evidence) for evidence in gather(hand, motion))
    axes = hand.rows(np.stack([finger.bend for finger in fingers]))
    if not np.isfinite(axes).all():
        lost = FINGERS[int(np.argwhere(~np.isfinite(axes))[0, 0])]
        raise InputError(
            f"{hand.name}: the {hand.side} {lost} has no axes: its joints or its skin do not make a finger; check the "
            f"rest pose of the rig"
        )
    return HandEstimate(hand, axes, fingers, method)


def combine(evidence: list[Evidence]) -> FingerEstimate:
    """Weigh the evidence for one finger, the first being the anatomical one, which is never left out.

    Weights are the inverse squares of the spreads; those of evidence far from the result sink (Cauchy), so that what
    is wrong altogether, like a section of a finger as thick as it is broad, moves nothing. The expected error
    grows where the evidence disagrees.
    """
    if not evidence:
        return FingerEstimate(np.full(3, np.nan), float("nan"))
    axes = np.stack([each.bend for each in evidence])
    spreads = np.array([each.spread for each in evidence])
    bend = axes[0]
    for _ in range(_ROUNDS):
        off = np.array([degrees_between(axis, bend) for axis in axes])
        weights = 1 / (spreads**2 * (1 + (off / (_FAR * spreads)) ** 2))
        total = (weights[:, None] * axes).sum(0)
        bend = total / np.linalg.norm(total)
    off = np.array([degrees_between(axis, bend) for axis in axes])
    weights = 1 / (spreads**2 * (1 + (off / (_FAR * spreads)) ** 2))
    error = sqrt(1 / weights.sum() + (weights * off**2).sum() / weights.sum() / len(evidence))
    return FingerEstimate(bend, error, tuple(evidence))


def closes(hand: BareHand, axes: np.ndarray) -> np.ndarray:
    """(5,) bool: whether a positive bend of all joints brings the tip of each finger to the palm's side.

    Beginning with straight fingers and going half the way to a fist (the whole way would carry the tips of odd fingers
    through the palm), a finger's tip must come palmwards and nearer to the wrist; the thumb's nearer to
    the far edge of the palm.
    """
    _, straight = hand.bent_straight(axes, np.zeros_like(fist_angles()))
    _, closed = hand.bent_straight(axes, fist_angles() / 2)
    before, after = _tips(straight), _tips(closed)
    goals = np.tile(hand.joints[WRIST], (N_FINGERS, 1))
    goals[THUMB] = hand.fingers[hand.palm_fingers[1], 0]
    nearer = np.linalg.norm(after - goals, axis=-1) < np.linalg.norm(before - goals, axis=-1)
    palmwards = (after - before) @ hand.palm_normal < 0
    good = nearer & (palmwards | (np.arange(N_FINGERS) == THUMB))
    # A finger that rests rolled in has no straight pose to begin with: its axis must be that of the palm.
    rolled = (hand.bones[:, 0] @ hand.forward < 0.5) & (np.arange(N_FINGERS) != THUMB)
    return np.where(rolled, axes[:, 0, 1] @ np.cross(hand.palm_normal, hand.forward) > 0.5, good)


def fist_angles() -> np.ndarray:
    """(5, 3) radians: bend of the joints of a closed hand."""
    angles = np.tile(FIST, (N_FINGERS, 1))
    angles[THUMB] = THUMB_IN_FIST
    return angles


def _tips(joints: np.ndarray) -> np.ndarray:
    """(5, 3) the last joint of each finger that is there: its tip, as a rule."""
    ends = joints[[TIPS, [tip - 1 for tip in TIPS], [tip - 2 for tip in TIPS]]]
    return np.where(np.isfinite(ends[0]), ends[0], np.where(np.isfinite(ends[1]), ends[1], ends[2]))


def _from_mesh(hand: BareHand, preset: np.ndarray | None) -> tuple[FingerEstimate, ...]:
    """The published estimate; its expected error is how far it is from the combined one, at least."""
    normals = angle_weighted_normals(hand.vertices, hand.faces)
    others = [combine(evidence) for evidence in gather(hand)]
    result = []
    for finger in range(N_FINGERS):
        if not hand.present[finger]:
            result.append(FingerEstimate(np.full(3, np.nan), float("nan")))
            continue
        twist = hand.twist[finger, 2]
        found = propose_splay(hand.vertices, hand.faces, hand.last_joints[finger], twist, normals)
        if found is None:
            raise InputError(
                f"{hand.name}: the mesh is open round the last joint of the {hand.side} {FINGERS[finger]} finger, so "
                f"its shape tells no axis; use `method` combined"
            )
        splay = found.splay if preset is None else found.closest(preset[finger, 2, 2])
        bend = np.cross(splay, twist)
        error = degrees_between(bend, others[finger].bend) + others[finger].error
        result.append(FingerEstimate(bend, error, (Evidence("mesh", bend, error),)))
    return tuple(result)


def _from_preset(hand: BareHand, preset: np.ndarray) -> tuple[FingerEstimate, ...]:
    """The preset's splay axes, laid at right angles to this hand's bones; checked against the evidence."""
    others = [combine(evidence) for evidence in gather(hand)]
    result = []
    for finger in range(N_FINGERS):
        if not hand.present[finger]:
            result.append(FingerEstimate(np.full(3, np.nan), float("nan")))
            continue
        bend = np.cross(preset[finger, 2, 2], hand.twist[finger, 2])
        length = np.linalg.norm(bend)
        if length < 1e-3:
            raise InputError(
                f"{hand.name}: the preset's splay axis of the {hand.side} {FINGERS[finger]} finger points along the "
                f"bone; give a preset of a hand in this rest pose"
            )
        off = degrees_between(bend / length, others[finger].bend)
        result.append(FingerEstimate(bend / length, max(off - others[finger].error, 1.0), others[finger].evidence))
    return tuple(result)
