"""What palm, bones, rig, mesh and motion say about the hinge of each finger of a hand.

Each piece of evidence names a bend axis and how far off it usually is. That spread is a standard deviation in
degrees, chosen from its geometry (a plane through three bones that bend by one degree is worth little; a section that
is a circle has no long side), so that `estimate` can weigh them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.axes.hand import BareHand
from data.axes.mesh_shape import directions_round
from model.topology import JOINTS_PER_FINGER, N_FINGERS, THUMB, WRIST
from utils.geometry import first_hits

SECTIONS = (0.5, 0.6, 0.7)
"""Where along the last bone the mesh is cut: under the nail a finger is broader than thick; at knuckles it is not."""

PALM_SPREAD = 10.0
THUMB_SPREAD = 25.0
"""The thumb closes towards the root of the little finger, more or less."""
MITTEN_SPREAD = 25.0
"""Palm of a hand that has only one finger beside the thumb."""
RIG_SPREAD, RIG_THUMB_SPREAD = 7.0, 15.0
RIG_AGREES = 20.0
"""If a rig's own axes lie further from the palm's (root mean square of the fingers), bones do not bend about them."""
MOTION_SPREAD = 4.0
LEAST_MOTION = np.radians(8.0)
"""Root mean square angle that a joint must have turned before its motion tells a hinge."""


@dataclass(frozen=True)
class Evidence:
    """One piece of evidence for one finger."""

    source: str
    """``"palm"``, ``"bones"``, ``"rig"``, ``"mesh"``, ``"motion"`` or ``"preset"``."""
    bend: np.ndarray
    """(3,) unit bend axis; a positive turn about it closes the finger."""
    spread: float
    """Its usual error, a standard deviation in degrees."""


@dataclass(frozen=True)
class MotionHinges:
    """Hinges seen in motion, of the 5 × 3 rotating joints in the hand's frame at rest (see `data.axes.motion`)."""

    axes: np.ndarray
    """(5, 3, 3) first principal directions of the joints' rotation vectors, of either sign; unit, or NaN."""
    share: np.ndarray
    """(5, 3) share of the rotation vectors' variance that lies along them."""
    angle: np.ndarray
    """(5, 3) root mean square of the angles about them, radians."""


def gather(hand: BareHand, motion: MotionHinges | None = None) -> list[list[Evidence]]:
    """All evidence for each of the five fingers, the anatomical one first; none for a missing finger.

    Signs are those of the anatomical axis: palm and handedness tell which way a hand closes, the others cannot.

    Raises:
        InputError: the hand has no palm (see `BareHand.palm_normal`).
    """
    evidence: list[list[Evidence]] = [[] for _ in range(N_FINGERS)]
    for finger in np.flatnonzero(hand.present).tolist():
        palm = _thumb(hand) if finger == THUMB else _palm(hand, finger)
        evidence[finger] = [palm, *_bones(hand, finger, palm.bend), *_mesh(hand, finger, palm.bend)]
        if motion is not None:
            evidence[finger] += _motion(hand, finger, palm.bend, motion)
    for finger, found in _rig(hand, evidence).items():
        evidence[finger].append(found)
    return evidence


def towards(axis: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The axis or its opposite, whichever is nearer to the reference."""
    return axis if axis @ reference >= 0 else -axis


def _palm(hand: BareHand, finger: int) -> Evidence:
    """A finger bends about the line that lies in the palm at right angles to it."""
    along = hand.bones[finger].sum(0)
    flat = along - (along @ hand.palm_normal) * hand.palm_normal
    if flat @ hand.forward < 0.3 * np.linalg.norm(along):  # a finger that stands up, or rests rolled in as in a fist
        flat = hand.forward
    spread = MITTEN_SPREAD if THUMB in hand.palm_fingers else PALM_SPREAD
    return Evidence("palm", _unit(np.cross(hand.palm_normal, flat)), spread)


def _thumb(hand: BareHand) -> Evidence:
    """The thumb closes across the palm: its tip goes towards the middle of the palm's far edge."""
    finger = hand.fingers[THUMB]
    edge = (hand.joints[WRIST] + hand.fingers[hand.palm_fingers[1], 0]) / 2
    along = _unit(hand.bones[THUMB, 1:].sum(0))
    across = edge - finger[1]
    across = across - (across @ along) * along
    if np.linalg.norm(across) < 1e-6 * np.linalg.norm(edge - finger[1]):  # the thumb points at the edge already
        across = -hand.palm_normal - (-hand.palm_normal @ along) * along
    return Evidence("palm", np.cross(along, _unit(across)), THUMB_SPREAD)


def _bones(hand: BareHand, finger: int, palm: np.ndarray) -> list[Evidence]:
    """Three bones that are not in line lie in the plane in which the finger bends."""
    first, second, third = hand.bones[finger]
    normal = np.cross(first, second) + np.cross(second, third)
    bend = np.degrees(np.linalg.norm(normal) / 2)
    if bend < 0.5:
        return []
    floor = 18.0 if finger == THUMB else 6.0  # the thumb's first joint bends in a plane of its own
    return [Evidence("bones", towards(_unit(normal), palm), float(np.hypot(floor, 30.0 / bend)))]


def _mesh(hand: BareHand, finger: int, palm: np.ndarray) -> list[Evidence]:
    """A finger bends about the long way across its last bone."""
    twist, head = hand.bones[finger, 2], hand.last_joints[finger]
    last = 2 if np.isfinite(hand.fingers[finger, 2]).all() else 1
    root = 1 + JOINTS_PER_FINGER * finger
    own = hand.weights[:, root + last : root + JOINTS_PER_FINGER].sum(-1) > 0.5
    if not own.any() or not len(hand.faces):
        return []
    length = ((hand.vertices[own] - head) @ twist).max()
    rays = directions_round(twist)
    shape, sections = np.zeros((3, 3)), 0
    for place in SECTIONS:
        hits = first_hits(hand.vertices, hand.faces, head + place * length * twist, rays)
        if hits.found.all():
            section = hits.points - hits.points.mean(0)
            shape += section.T @ section / (section**2).sum()
            sections += 1
    if not sections:
        return []
    sizes, ways = np.linalg.eigh(shape)
    ratio = np.sqrt(sizes[2] / max(sizes[1], 1e-12))
    return [Evidence("mesh", towards(ways[:, 2], palm), min(8.0 + 1.5 / max(ratio - 1, 1e-3), 90.0))]


def _rig(hand: BareHand, evidence: list[list[Evidence]]) -> dict[int, Evidence]:
    """Riggers turn a bone so that it bends about one of its own axes: the same one in all fingers."""
    if hand.bone_axes is None:
        return {}
    found: dict[int, tuple[np.ndarray, float, int]] = {}
    for finger in np.flatnonzero(hand.present):
        joints = 1 + JOINTS_PER_FINGER * finger + np.array([1, 2])
        axes = hand.bone_axes[joints].mean(0)
        sizes = np.linalg.norm(axes, axis=-1)
        if not (np.isfinite(axes).all() and (sizes > 0.9).all()):  # the two bones do not agree
            continue
        axes = axes / sizes[:, None]
        likeness = axes @ evidence[finger][0].bend
        which = int(np.abs(likeness).argmax())
        bend = axes[which] * np.sign(likeness[which])
        found[int(finger)] = (bend, degrees_between(bend, evidence[finger][0].bend), which)
    four = [finger for finger in found if finger != THUMB]
    same = len({found[finger][2] for finger in four}) == 1
    if len(four) < 2 or not same or np.sqrt(np.mean([found[finger][1] ** 2 for finger in four])) > RIG_AGREES:
        return {}
    agreed = {finger: Evidence("rig", found[finger][0], RIG_SPREAD) for finger in four}
    if THUMB in found and found[THUMB][1] < 2 * RIG_AGREES:
        agreed[THUMB] = Evidence("rig", found[THUMB][0], RIG_THUMB_SPREAD)
    return agreed


def _motion(hand: BareHand, finger: int, palm: np.ndarray, motion: MotionHinges) -> list[Evidence]:
    """The upper joints are hinges; the root also spreads, so it only serves where they hardly move."""
    for joints in ((1, 2), (0,)):
        axes, angle, share = (part[finger, list(joints)] for part in (motion.axes, motion.angle, motion.share))
        usable = np.isfinite(axes).all(-1) & (angle > LEAST_MOTION)
        if not usable.any() or (joints == (0,) and finger == THUMB):
            continue
        axes = np.stack([towards(axis, palm) for axis in axes[usable]])
        total = (axes * (angle[usable] * share[usable])[:, None]).sum(0)
        loose = 1 - np.average(share[usable], weights=angle[usable])
        spread = MOTION_SPREAD * (1 if joints != (0,) else 3) + 40.0 * loose
        return [Evidence("motion", _unit(total), float(spread))]
    return []


def degrees_between(a: np.ndarray, b: np.ndarray) -> float:
    """Angle between two unit vectors, degrees; exact for small ones."""
    return float(np.degrees(2 * np.arctan2(np.linalg.norm(a - b), np.linalg.norm(a + b))))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
