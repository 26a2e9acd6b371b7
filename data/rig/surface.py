"""The skin of one hand, cut out of a character's (mathematics §8)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.formats.skeleton import Skin
from data.rig.hand_map import HandMap, ancestors
from data.rig.rest import RestHand, turned
from model.topology import N_JOINTS, WRIST

WEIGHT_LIMIT = 0.2
"""A vertex belongs to the hand if one of the 21 joints has more than this share of it."""


@dataclass(frozen=True)
class HandSurface:
    """The skin of one hand, ready for linear blend skinning about `joints`; turned as the hand's offsets are."""

    vertices: np.ndarray
    """(V, 3) float32, centimetres (wrist not at the origin)."""
    faces: np.ndarray
    """(F, 3) int64."""
    weights: np.ndarray
    """(V, 21) float32 in hand order, each row sums to 1."""
    joints: np.ndarray
    """(21, 3) float32, centimetres, rest pose."""


def hand_surface(skin: Skin, parents: np.ndarray, hand: HandMap, rest: RestHand) -> HandSurface | None:
    """Cut a hand out of a skin; None if no vertex follows its joints.

    Kept are the vertices of which one of the 21 joints has more than 0.2, and the faces whose three vertices are
    kept. What `owners` gives a joint is added up, then each vertex's weights are scaled to sum 1 over the 21.

    Args:
        skin: of the character.
        parents: (J,) of the joints of its skeleton, each after its parent.
        hand, rest: which of them make up the hand, and how it rests.
    """
    weights = np.zeros((len(skin.vertices), N_JOINTS), skin.weights.dtype)
    for bone, joint in owners(hand, parents).items():
        weights[:, joint] += skin.weights[:, bone]
    kept = np.any(weights > WEIGHT_LIMIT, axis=1)
    if not kept.any():
        return None
    number = np.cumsum(kept) - 1
    weights = weights[kept]
    return HandSurface(
        vertices=turned(skin.vertices[kept], rest.turn).astype(np.float32),
        faces=number[skin.faces[kept[skin.faces].all(axis=1)]],
        weights=weights / weights.sum(axis=1, keepdims=True),
        joints=turned(rest.positions, rest.turn).astype(np.float32),
    )


def owners(hand: HandMap, parents: np.ndarray) -> dict[int, int]:
    """Joint of the skeleton → hand joint that gets its weights: the 21 joints their own; joints between two of them go
    to the upper one (mathematics §8), and what hangs on a finger beside them to the joint that it hangs on."""
    owner = {bone: joint for joint, bone in enumerate(hand.indices) if bone is not None}
    for bone in list(owner):
        above = ancestors(bone, parents)
        listed = next((place for place, each in enumerate(above) if each in owner), None)
        if listed is not None:  # the wrist's own ancestors end at a root and stay out
            owner.update(dict.fromkeys(above[:listed], owner[above[listed]]))
    for bone, parent in enumerate(np.asarray(parents).tolist()):
        if bone not in owner and owner.get(parent, WRIST) != WRIST:
            owner[bone] = owner[parent]
    return owner
