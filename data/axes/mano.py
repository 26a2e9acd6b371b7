"""Axes of a MANO hand, tied to its surface so that they follow its shape (mathematics §7)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from data.axes.estimate import FingerEstimate, HandEstimate
from data.axes.evidence import degrees_between
from data.axes.files import hand_key
from data.axes.hand import BareHand
from model.topology import FINGERS
from utils.errors import InputError
from utils.geometry import first_hits

LEAST_RISE = 0.1
"""Splay axes of MANO's files point up by at least this much, so that no hand shape turns them over."""


def upright(estimate: HandEstimate) -> HandEstimate:
    """The estimate with all splay axes pointing up, as MANO's files need.

    Whoever reads a MANO axes file turns splay axes that point down over, and with them the direction in which a finger
    closes. A published estimate is turned over likewise; a combined one, whose closing direction is known, is turned
    about the bone as little as it takes, and its expected error grows by that angle.
    """
    hand, fingers = estimate.hand, []
    for finger, own in enumerate(estimate.fingers):
        twist = hand.twist[finger, 2]
        splay = np.cross(twist, _unit(own.bend - (own.bend @ twist) * twist))
        if estimate.method == "mesh":
            fingers.append(own if splay[1] >= 0 else replace(own, bend=-own.bend))
            continue
        highest = np.array([0.0, 1.0, 0.0]) - twist[1] * twist
        height = np.linalg.norm(highest)
        if splay[1] >= LEAST_RISE or height <= LEAST_RISE:
            fingers.append(own)
            continue
        # In the plane across the bone: `highest` is the way up, and the splay axis keeps to its own side of it.
        level = _unit(np.cross(twist, highest))
        level = level if splay @ level >= 0 else -level
        rise = LEAST_RISE / height
        turned = rise * highest / height + np.sqrt(1 - rise**2) * level
        bend = np.cross(turned, twist)
        error = own.error + degrees_between(turned, splay)
        fingers.append(FingerEstimate(bend, error, own.evidence))
    return replace(estimate, fingers=tuple(fingers), axes=hand.rows(np.stack([finger.bend for finger in fingers])))


def mano_arrays(hand: BareHand, axes: np.ndarray) -> dict[str, np.ndarray]:
    """What a MANO axes file holds of one hand.

    Args:
        axes: ``(5, 4, 3, 3)``; those of the last bones are stored.

    Returns:
        ``{r,l}hand (5, 3, 3)``, ``…_bend_bary (5, 2, 3)`` and ``…_bend_index_tri (5, 2)``: where rays from the third
        joint along −bend (entry 0) and +bend (entry 1) leave the surface.

    Raises:
        InputError: the surface is open there.
    """
    rows = axes[:, 2].copy()
    triangles, weights = np.zeros((len(FINGERS), 2), np.int64), np.zeros((len(FINGERS), 2, 3))
    for finger, name in enumerate(FINGERS):
        twist, bend = rows[finger, 0], rows[finger, 1]
        hits = first_hits(hand.vertices, hand.faces, hand.fingers[finger, 2], np.stack([-bend, bend]))
        if not hits.found.all():
            raise InputError(
                f"{hand.name}: its surface is open at the last joint of the {name} finger; repair the model"
            )
        rows[finger, 1] = _unit(hits.points[1] - hits.points[0])
        rows[finger, 2] = np.cross(twist, rows[finger, 1])
        triangles[finger], weights[finger] = hits.faces, hits.barycentric
    key = hand_key(hand.side)
    return {key: rows, f"{key}_bend_bary": weights, f"{key}_bend_index_tri": triangles}


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
