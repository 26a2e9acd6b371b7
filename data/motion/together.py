"""Two hands that touch each other, in the source and on the target's body; and how they come to touch there too.

Arms of other lengths carry hands elsewhere: a clap misses, folded hands pass through each other. Both hands are
spheres along their bones. Where some of them touch in the source, those of the target shall be as near, seen from the
hands themselves; each hand is moved half the way, by no more than `FARTHEST`, and the arm bends to bring it there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch

from data.character.character import CharacterHand
from data.formats.bvh import Bvh, euler_from_rotations
from data.formats.skeleton import Skeleton
from data.motion.follow import between
from data.motion.glb import posed
from data.motion.humanoid import humanoid
from data.rig.hand_map import ancestors
from model.flesh import PALM
from model.topology import BONES_PER_FINGER, JOINTS_PER_FINGER, MIDDLE, N_FINGERS, ROOTS, SIDES
from model.touch import APART, TOUCHING, degree
from utils import scratch

FARTHEST = 2.0
"""Centimetres by which a hand is moved at most."""
_ALONG = (0.0, 0.5, 1.0)
_PALM_ALONG = (0.35, 0.7, 1.0)
_NEAR = 4.0
"""Palm lengths between two wrists beyond which hands cannot touch."""
_FADE, _SPREAD = 0.15, 0.05
"""Seconds before and after a touch in which hands are led to it, and over which its way is smoothed."""
_AT_ONCE = 256
_STEPS = 4
DEEPER = 0.1
"""Palm lengths: spheres tell no more."""
_LEAST = 1e-4


@dataclass(frozen=True)
class Spheres:
    """The two hands of a body as spheres that joints carry; as many of each, in the same order on every body."""

    carrier: Mapping[str, np.ndarray]
    """Side → (N,) joints."""
    offset: Mapping[str, np.ndarray]
    """Side → (N, 3) from the joint, at rest."""
    radius: Mapping[str, np.ndarray]
    """Side → (N,), centimetres."""
    palm: float
    """Length of the palm, centimetres, of both hands on average."""
    turn: Mapping[str, np.ndarray]
    """Side → (3, 3) that brings a hand at rest into the frame of features."""
    wrist: Mapping[str, int]

    @staticmethod
    def of(skeleton: Skeleton, hands: Mapping[str, CharacterHand]) -> Spheres:
        """Of the hands of both sides of a skeleton."""
        parts = {side: _spheres(skeleton, hands[side]) for side in SIDES}
        palms = [_palm(hands[side]) for side in SIDES]
        return Spheres(
            *({side: part[k] for side, part in parts.items()} for k in range(3)),
            palm=float(np.mean(palms)),
            turn={side: hands[side].rest.turn for side in SIDES},
            wrist={side: hands[side].map.wrist for side in SIDES},
        )  # fmt: skip

    def places(self, turned: np.ndarray, places: np.ndarray, side: str) -> np.ndarray:
        """(F, N, 3) centres of a hand, from rotations (F, J, 3, 3) and places (F, J, 3) of all joints."""
        joints = self.carrier[side]
        return places[:, joints] + np.einsum("fnij,nj->fni", turned[:, joints], self.offset[side])

    def seen(self, turned: np.ndarray, side: str) -> np.ndarray:
        """(F, 3, 3) that bring directions in space into the frame of features of a hand as it is turned."""
        return self.turn[side] @ np.swapaxes(turned[:, self.wrist[side]], -1, -2)


def _palm(hand: CharacterHand) -> float:
    return float(np.linalg.norm(hand.rest.positions[ROOTS[MIDDLE]] - hand.rest.positions[0]))


def _spheres(skeleton: Skeleton, hand: CharacterHand) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Carriers (N,), offsets (N, 3) and radii (N,) along the phalanges, then along the palm."""
    rest, indices = hand.rest.positions, hand.map.indices
    radii = hand.flesh.radii.double().numpy() * _palm(hand)
    found: list[tuple[int, np.ndarray, float]] = []
    for finger in range(N_FINGERS):
        carrier = hand.map.wrist
        for bone in range(BONES_PER_FINGER):
            joint = 1 + JOINTS_PER_FINGER * finger + bone
            carrier = carrier if indices[joint] is None else int(indices[joint] or 0)
            first, last = radii[BONES_PER_FINGER * finger + bone]
            for share in _ALONG:
                point = rest[joint] + share * (rest[joint + 1] - rest[joint])
                found.append((carrier, point, first + share * (last - first)))
    for number, root in enumerate(ROOTS[: N_FINGERS - 1]):
        first, last = radii[PALM + number]
        for share in _PALM_ALONG:
            point = rest[0] + share * (rest[root] - rest[0])
            found.append((hand.map.wrist, point, first + share * (last - first)))
    carriers = np.array([each[0] for each in found])
    return carriers, np.stack([each[1] for each in found]) - skeleton.heads[carriers], np.array([e[2] for e in found])


class Meeting(NamedTuple):
    """How near two hands come, frame by frame."""

    gap: np.ndarray
    """(F,) between their nearest spheres, palm lengths; infinite where they are far apart."""
    way: np.ndarray
    """(F, 3) by which the left hand would have to move, seen from the right one, to touch as another pair does."""


class BothHands(NamedTuple):
    """Two hands, and how their whole skeleton moves."""

    spheres: Spheres
    motion: Callable[[slice], Bvh]
    frames: int


def moving(skeleton: Skeleton, hands: Mapping[str, CharacterHand], bvh: Bvh) -> BothHands | None:
    """Both hands of a body in a motion; None unless it has both."""
    if any(side not in hands for side in SIDES):
        return None
    return BothHands(Spheres.of(skeleton, hands), bvh.at, bvh.n_frames)


def gaps(hands: BothHands) -> np.ndarray:
    """(F,) between the nearest spheres of two hands, palm lengths; infinite where they are far apart."""
    result = np.full(hands.frames, np.inf)
    for part in scratch.blocks(hands.frames, _AT_ONCE):
        turned, places = posed(hands.motion(part))
        near = np.flatnonzero(_near(hands.spheres, places))
        if len(near):
            _, gap = _between(hands.spheres, turned[near], places[near])
            result[part.start + near] = gap.min((1, 2))
    return result


def _near(spheres: Spheres, places: np.ndarray) -> np.ndarray:
    """(F,) bool, frames in which two hands may touch."""
    way = places[:, spheres.wrist["right"]] - places[:, spheres.wrist["left"]]
    return np.linalg.norm(way, axis=-1) < _NEAR * spheres.palm


def _between(spheres: Spheres, turned: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(F, N, N, 3) from the spheres of the right hand to those of the left, centimetres, and (F, N, N) their gaps."""
    right, left = (spheres.places(turned, places, side) for side in ("right", "left"))
    way = left[:, None] - right[:, :, None]
    radii = spheres.radius["right"][:, None] + spheres.radius["left"]
    return way, (np.linalg.norm(way, axis=-1) - radii) / spheres.palm


def brought_together(
    source: BothHands, target: BothHands, result: Bvh, skeleton: Skeleton, wrists: Mapping[str, int]
) -> Bvh:
    """A motion in which hands touch where the source's do.

    Args:
        source, target: both pairs of hands, in as many frames.
        result: the target's motion.
        skeleton: of the target; its joints are those of ``result``.
        wrists: side → joint.

    Returns:
        The same motion but for the upper arms, lower arms and hands; it itself where nothing touches, or where the
        target's arms are not known.
    """
    bones = humanoid(skeleton, wrists)
    if any(f"{side}_{bone}" not in bones for side in SIDES for bone in ("upper_arm", "lower_arm")):
        return result
    way = _led(*_wished(source, target), 1 / result.frame_time)
    if not np.abs(way).max(initial=0.0) > _LEAST:
        return result
    values = scratch.empty(result.values.shape)
    for part in scratch.blocks(result.n_frames):
        values[part] = result.values[part]
        some = part.start + np.flatnonzero(np.abs(way[part]).max(1) > _LEAST)
        if len(some):
            values[some] = _moved(replace(result, values=result.values[some]), way[some], bones).values
    return replace(result, values=values)


def _wished(source: BothHands, target: BothHands) -> tuple[np.ndarray, np.ndarray]:
    """(F,) how much hands touch in the source, and (F, 3) the way in space, centimetres, that brings the left hand of
    the target to the right one as the source's are: towards the mean over all that touches, and then as near."""
    much, way = np.zeros(source.frames), np.zeros((source.frames, 3))
    for part in scratch.blocks(source.frames, _AT_ONCE):
        turned, places = posed(source.motion(part))
        near = np.flatnonzero(_near(source.spheres, places))
        if not len(near):
            continue
        own, gap = _between(source.spheres, turned[near], places[near])
        weight = degree(torch.from_numpy(gap)).numpy()
        some = np.flatnonzero(weight.max((1, 2)) > 0)
        if not len(some):
            continue
        near, weight, gap = near[some], weight[some], gap[some]
        moved, where = posed(target.motion(part))
        other, _ = _between(target.spheres, moved[near], where[near])
        aim = _aimed(own[some], source.spheres, turned[near], target.spheres, moved[near])
        radii = target.spheres.radius["right"][:, None] + target.spheres.radius["left"]
        wanted = aim * (radii + gap * target.spheres.palm)[..., None] - other
        total = weight.sum((1, 2))
        much[part.start + near] = weight.max((1, 2))
        mean = (weight[..., None] * wanted).sum((1, 2)) / total[:, None]
        # Half of what hands may move is for the place of the touch, the rest for its gap.
        mean = mean * np.minimum(1, FARTHEST / np.maximum(np.linalg.norm(mean, axis=-1, keepdims=True), 1e-12))
        way[part.start + near] = _nearest_as(gap.min((1, 2)) * target.spheres.palm, other, radii, mean)
    return much, way


def _nearest_as(gap: np.ndarray, ways: np.ndarray, radii: np.ndarray, way: np.ndarray) -> np.ndarray:
    """(F, 3) the way of the left hand, so changed that the nearest of all spheres, ``ways`` (F, N, N, 3) from each
    other before it, have a gap (F,), centimetres."""
    frames = np.arange(len(gap))
    for _ in range(_STEPS):
        apart = ways + way[:, None, None]
        size = np.linalg.norm(apart, axis=-1)
        between_all = (size - radii).reshape(len(gap), -1)
        nearest = between_all.argmin(1)
        out = (
            apart.reshape(len(gap), -1, 3)[frames, nearest]
            / np.maximum(size.reshape(len(gap), -1)[frames, nearest], 1e-9)[:, None]
        )
        way = way + (gap - between_all[frames, nearest])[:, None] * out
    return way


def _aimed(own: np.ndarray, source: Spheres, turned: np.ndarray, target: Spheres, moved: np.ndarray) -> np.ndarray:
    """(F, N, N, 3) directions of the source's ways ``own`` in the target's space: as both hands see them, averaged."""
    found = np.zeros_like(own)
    for side in SIDES:
        there = np.swapaxes(target.seen(moved, side), -1, -2) @ source.seen(turned, side)
        found += np.einsum("fij,fabj->fabi", there, own)
    return found / np.maximum(np.linalg.norm(found, axis=-1, keepdims=True), 1e-9)


def _led(much: np.ndarray, way: np.ndarray, frame_rate: float) -> np.ndarray:
    """(F, 3) the way, full while hands touch, coming and going in `_FADE` seconds, smooth in between."""
    from scipy.ndimage import gaussian_filter1d  # a tenth of a second

    reach = max(1, round(_FADE * frame_rate))
    padded = np.pad(much, reach)
    share = np.arange(-reach, reach + 1) / (reach + 1)
    bump = (1 - share**2) ** 2
    envelope = np.max([bump[k] * padded[k : k + len(much)] for k in range(len(bump))], axis=0)
    spread = max(_SPREAD * frame_rate, 0.5)
    total = gaussian_filter1d(much, spread, mode="constant", truncate=8.0)
    mean = gaussian_filter1d(much[:, None] * way, spread, axis=0, mode="constant", truncate=8.0)
    mean = np.where(total[:, None] > 1e-12, mean / np.maximum(total, 1e-12)[:, None], 0.0)
    led = envelope[:, None] * mean
    size = np.linalg.norm(led, axis=-1, keepdims=True)
    most = 2 * FARTHEST  # of which each hand goes half
    free = 0.75 * most  # beyond, it comes to its end softly
    kept = np.where(size < free, size, free + (most - free) * np.tanh((size - free) / (most - free)))
    return led * (kept / np.maximum(size, 1e-12))


def _moved(bvh: Bvh, way: np.ndarray, bones: Mapping[str, int]) -> Bvh:
    """Some frames with each hand moved half the ``way`` (F, 3) towards the other; hands stay turned as they are."""
    turned, places = posed(bvh)
    local: dict[int, np.ndarray] = {}
    for side, sign in (("right", -0.5), ("left", 0.5)):
        upper, lower, hand = (bones[f"{side}_{bone}"] for bone in ("upper_arm", "lower_arm", "hand"))
        shoulder, elbow, wrist = (places[:, joint] for joint in (upper, lower, hand))
        first, second = _bent(elbow - shoulder, wrist - elbow, wrist + sign * way - shoulder)
        whole = turned.copy()
        for joint in range(len(bvh.parents)):
            above = ancestors(joint, bvh.parents)
            if joint == hand or hand in above:
                continue
            if joint == lower or lower in above:
                whole[:, joint] = second @ turned[:, joint]
            elif joint == upper or upper in above:
                whole[:, joint] = first @ turned[:, joint]
        for joint in (upper, lower, hand):
            parent = int(bvh.parents[joint])
            local[joint] = np.swapaxes(whole[:, parent], -1, -2) @ whole[:, joint] if parent >= 0 else whole[:, joint]
    return _with_rotations(bvh, local)


def _bent(upper: np.ndarray, lower: np.ndarray, goal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(F, 3, 3) turns of the upper and of the lower arm, from their bones (F, 3), that bring the wrist to ``goal``
    (F, 3) from the shoulder; the elbow stays in the plane in which it is."""
    first, second = (np.linalg.norm(bone, axis=-1, keepdims=True) for bone in (upper, lower))
    far = np.linalg.norm(goal, axis=-1, keepdims=True)
    along = goal / np.maximum(far, 1e-12)
    far = np.clip(far, np.abs(first - second) + 1e-6, 0.9999 * (first + second))
    out = upper - (upper * along).sum(-1, keepdims=True) * along
    out = out / np.maximum(np.linalg.norm(out, axis=-1, keepdims=True), 1e-9)
    share = (first**2 + far**2 - second**2) / (2 * far)
    elbow = share * along + np.sqrt(np.maximum(first**2 - share**2, 0)) * out
    turn = between(upper, elbow)
    carried = (turn @ lower[..., None])[..., 0]
    return turn, between(carried, far * along - elbow) @ turn


def _with_rotations(bvh: Bvh, local: Mapping[int, np.ndarray]) -> Bvh:
    """A motion with other local rotations (F, 3, 3) of some joints."""
    values, start = bvh.values.copy(), 0
    for joint, channels in enumerate(bvh.channels):
        if joint in local:
            own = [c for c, name in enumerate(channels) if name.endswith("rotation")]
            order = "".join(channels[c][0] for c in own)
            values[:, [start + c for c in own]] = np.degrees(euler_from_rotations(local[joint], order))
        start += len(channels)
    return replace(bvh, values=values)


def touch_report(source: np.ndarray, result: np.ndarray) -> dict[str, float | int] | None:
    """What became of the touches of two hands, from their gaps (F,) in both; None where the source's never touch.

    Returns:
        frames: in which the source's touch; kept: share of them in which the result's are nearer than
        `model.touch.APART`; deeper: share in which they are over `DEEPER` deeper in each other; gap: by how much their
        gap is another one there, palm lengths, on average.
    """
    touching = source <= TOUCHING
    if not touching.any():
        return None
    own, other = source[touching], np.minimum(result[touching], 2.0)
    return {
        "frames": int(touching.sum()),
        "kept": float((other < APART).mean()),
        "deeper": float((other < np.minimum(own, 0) - DEEPER).mean()),
        "gap": float(np.abs(other - own).mean()),
    }
