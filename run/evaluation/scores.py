"""How good every frame of every method is, and what its gesture is called."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from pytorch3d.transforms import quaternion_to_matrix
from torch import Tensor

from data.features.row import HandFeatures
from data.open_hands.anatomy import finger_to_palm
from model.batch import Source, own_pose
from model.hands import PosedHand
from model.kinematics import tbs_angles
from model.measures import TIP_PAIRS, Measures, fingertip_contacts, measure
from model.topology import FINGERS, INDEX, MIDDLE, PINKY, RING, THUMB
from run.evaluation.line_up import LineUp

_ORDER = (THUMB, INDEX, MIDDLE, RING, PINKY)
_OPEN, _CLOSED = np.deg2rad(20.0), np.deg2rad(55.0)  # mean bend of the four fingers' joints


@dataclass
class DirectionScores:
    """Some windows of one direction: who, what gesture, and how good each method was.

    source, target (N,) are names of characters, source_ratio, target_ratio (N,) their mean finger lengths in palm
    lengths, contacts (N, T, 10) the touching fingertips of the source, bend (N, T) the mean bend of its fingers in
    radians.
    """

    name: str
    source: np.ndarray
    target: np.ndarray
    source_ratio: Tensor
    target_ratio: Tensor
    contacts: Tensor
    bend: Tensor
    methods: dict[str, Measures]

    def gestures(self) -> np.ndarray:
        """(N, T) names of the source's gestures."""
        return name_gestures(self.contacts, self.bend)


@torch.no_grad()
def score(
    line_up: LineUp,
    source: HandFeatures,
    target: HandFeatures,
    names: tuple[np.ndarray, np.ndarray],
    truth: bool = False,
) -> tuple[DirectionScores, dict[str, PosedHand]]:
    """Retarget windows ``(N, T, …)`` with every method and measure each frame.

    Args:
        line_up: the methods.
        source, target: whose motion, and whose hands.
        names: (N,) characters of source and target.
        truth: compare with the target's own pose too (within a domain, where both perform the same motion).
    """
    prepared = Source(source)
    posed = line_up.poses(target, source, prepared, names)
    shared = prepared.shared_with(target)
    recorded = own_pose(line_up.hands.shaped_hand(target), target).joints if truth else None
    measures = {method: measure(shared.directions, hand, shared.present, recorded) for method, hand in posed.items()}
    rests = [line_up.hands.shaped_hand(hands[:, :1]).at_rest().joints[:, 0] for hands in (source, target)]
    ratios = [finger_to_palm(rest)[..., :4].mean(-1) for rest in rests]
    way = "intra" if truth else f"{source.domain}2{target.domain}"
    return DirectionScores(way, *names, *ratios, *_contacts_and_bend(source, shared), measures), posed


def gestures_of(source: HandFeatures, target: HandFeatures) -> np.ndarray:
    """(N, T) names of the gestures of a source, as far as its fingers are the target's too; what `score` finds."""
    return name_gestures(*_contacts_and_bend(source, Source(source).shared_with(target)))


def _contacts_and_bend(source: HandFeatures, shared: Source) -> tuple[Tensor, Tensor]:
    angles = tbs_angles(quaternion_to_matrix(source.tbs[..., :4, :, :]))
    return fingertip_contacts(shared.directions.distance, shared.present), angles[..., 1].mean((-1, -2))


def name_gestures(contacts: Tensor, bend: Tensor) -> np.ndarray:
    """Names ``(...)`` of gestures: the fingers whose tips touch ("thumb-index"), or how far the hand is closed.

    contacts: (..., 10) bool, as `model.measures.TIP_PAIRS`; bend: (...) mean bend of the four fingers, radians.
    """
    codes = (contacts.long() * 2 ** torch.arange(len(TIP_PAIRS))).sum(-1).numpy()
    bend = bend.numpy()
    closing = np.digitize(bend, [_OPEN, _CLOSED])
    names = np.array(["no touch, open", "no touch, half closed", "no touch, closed"], dtype=object)[closing]
    for code in np.unique(codes[codes > 0]):
        names[codes == code] = _touching(int(code))
    return names


def _touching(code: int) -> str:
    """Fingers that touch, connected ones together: "thumb-index-middle", "thumb-index, ring-pinky"."""
    groups: list[set[int]] = []
    for number, pair in enumerate(TIP_PAIRS):
        if code >> number & 1:
            joined = [group for group in groups if group & set(pair)]
            groups = [group for group in groups if group not in joined] + [set(pair).union(*joined)]
    written = [[finger for finger in _ORDER if finger in group] for group in groups]
    written.sort(key=lambda group: _ORDER.index(group[0]))
    return ", ".join("-".join(FINGERS[finger] for finger in group) for group in written)
