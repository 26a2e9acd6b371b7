"""Poses of hands on the target's whole skeleton, with the body motion of the source where both share it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from data.character.character import CharacterHand
from data.choices import FOLLOW, REST
from data.formats.bvh import CHANNEL_NAMES, Bvh, euler_from_rotations
from data.formats.skeleton import Skeleton
from data.motion.follow import Body, follow
from data.motion.humanoid import NEEDED, humanoid, is_helper
from data.motion.keep import Kept, with_fingers
from data.motion.reading import Motion
from data.rig.hand_map import ancestors
from data.rig.rotations import file_rotations
from utils.errors import InputError

SAME_REST = np.radians(20.0)
"""A bone that rests this much elsewhere is another bone: its rotations cannot be taken over."""
_ORDER = "ZYX"


@dataclass(frozen=True)
class WholeMotion:
    """A motion of all joints of a target."""

    bvh: Bvh
    body_kept: bool
    """The body moves: as the source's, or as in an animation of its own; otherwise all but the hands rests."""
    fingers: frozenset[int] = frozenset()
    """Joints that the poses of the hands move."""


def whole_motion(
    hands: Mapping[str, CharacterHand],
    poses: Mapping[str, np.ndarray],
    motion: Motion,
    body: str | Kept | None = None,
) -> WholeMotion:
    """Put poses of hands on their skeleton.

    Args:
        hands: side → hand of the target; all of one skeleton.
        poses: side → (F, 5, 3, 3, 3) local rotations in the canonical frame.
        motion: the source.
        body: `FOLLOW`, `REST`, an animation that is kept; None: followed where that can be.

    Returns:
        All joints of the skeleton in its order. Finger joints have the poses. The body follows bone by bone
        (`data.motion.follow`) where both are humanoid; otherwise it has the source's channels unchanged if both
        skeletons share the way from the root to the hands, and rests if not. Twist bones and other helpers of another
        skeleton rest: what drives them there moves them. Joints of a hand that do not hang below each other in the
        file do so here.
    """
    frames, skeleton = motion.frames, hung(next(iter(hands.values())).skeleton, hands)
    turned: dict[int, np.ndarray] = {}
    for side, local in poses.items():
        turned.update(file_rotations(hands[side].map, hands[side].rest, local))
    fingers = frozenset(turned)
    if isinstance(body, Kept):
        return WholeMotion(with_fingers(body.bvh, skeleton, turned), True, fingers)
    shared = None if body == REST else _shared(skeleton, hands, motion)
    place, top = None, -1
    equal = shared is not None and _equal(skeleton, motion, shared)
    if body != REST and not equal:
        pair = bodies(skeleton, hands, motion)
        if pair is None and body == FOLLOW:
            raise InputError(
                f"{motion.path}: expected two bodies with hips, legs and feet on both sides for `body` follow, found "
                "none in the source or in the target; use `body` rest"
            )
        if pair is not None and motion.bvh is not None:
            moved, place = follow(pair[0], motion.bvh, pair[1], motion.frame_rate)
            turned = {**moved, **turned}
            hips = pair[1].bones["hips"]
            top = [hips, *ancestors(hips, skeleton.parents)][-1]
            place = place + skeleton.heads[top] - skeleton.heads[hips]  # what is between the two rests
    kept = shared is not None or place is not None
    whole = motion.bvh
    columns, channels, starts = [], [], _starts(whole)
    free = _free_wrists(skeleton, hands, motion) if not kept else {}
    for joint, parent in enumerate(skeleton.parents):
        names: tuple[str, ...] = ()
        if parent < 0:
            if place is not None and joint == top:
                names, values = CHANNEL_NAMES[:3], place
            else:
                names, values = _root(skeleton, joint, motion, None if shared is None else shared.get(joint))
            columns.append(values)
        if joint in turned or joint in free:
            rotations = turned[joint] if joint in turned else free[joint]
            names += tuple(f"{axis}rotation" for axis in _ORDER)
            columns.append(np.degrees(euler_from_rotations(rotations, _ORDER)))
        elif whole is not None and joint in (shared or {}) and (equal or not is_helper(skeleton.names[joint])):
            source = (shared or {})[joint]
            own = [c for c, name in enumerate(whole.channels[source]) if name.endswith("rotation")]
            names += tuple(whole.channels[source][c] for c in own)
            columns.append(whole.values[:, [starts[source] + c for c in own]])
        else:
            names += tuple(f"{axis}rotation" for axis in _ORDER)
            columns.append(np.zeros((frames, 3)))
        channels.append(names)
    tails = np.full_like(skeleton.heads, np.nan) if skeleton.tails is None else skeleton.tails
    leaves = np.setdiff1d(np.arange(len(tails)), skeleton.parents)
    ends = [
        (int(leaf), tuple(tails[leaf] - skeleton.heads[leaf])) for leaf in leaves if np.isfinite(tails[leaf]).all()
    ]
    bvh = Bvh(
        joint_names=tuple(skeleton.names),
        parents=np.asarray(skeleton.parents, dtype=np.int64),
        offsets=skeleton.offsets,
        channels=tuple(channels),
        values=np.concatenate(columns, axis=1),
        frame_time=1 / motion.frame_rate,
        end_sites=tuple(ends),
    )
    return WholeMotion(bvh, kept, fingers)


def hung(skeleton: Skeleton, hands: Mapping[str, CharacterHand]) -> Skeleton:
    """The skeleton with the joints of its hands below each other, wherever the file hangs them."""
    parents = np.array(skeleton.parents, dtype=np.int64)
    for hand in hands.values():
        for joint, above in hand.map.made_parents.items():
            parents[joint] = above
    return skeleton if np.array_equal(parents, skeleton.parents) else replace(skeleton, parents=parents)


def _root(skeleton: Skeleton, joint: int, motion: Motion, source: int | None) -> tuple[tuple[str, ...], np.ndarray]:
    """Position channels of a root, (F, 3): the source's, scaled to the target's size, or its own place at rest."""
    names = CHANNEL_NAMES[:3]
    whole = motion.bvh
    if source is not None and whole is not None:
        own = [c for c, name in enumerate(whole.channels[source]) if name.endswith("position")]
        if len(own) == 3:
            start = _starts(whole)[source]
            positions = whole.values[:, [start + c for c in own]]
            ratio = _size_ratio(skeleton, joint, whole, source)
            return tuple(whole.channels[source][c] for c in own), positions * ratio
    return names, np.broadcast_to(skeleton.heads[joint], (motion.frames, 3))


def _size_ratio(skeleton: Skeleton, joint: int, whole: Bvh, source: int) -> float:
    """How much larger the target is than the file of the source: by the height of the root over the ground."""
    own, other = skeleton.heads[joint, 1], whole.offsets[source, 1]
    if other > 1e-3 and own > 1e-3:
        ratio = own / other
        return 1.0 if abs(ratio - 1) < 1e-6 else float(ratio)
    return 1.0


def _starts(bvh: Bvh | None) -> np.ndarray:
    return np.zeros(1, np.int64) if bvh is None else np.cumsum([0, *map(len, bvh.channels)])


def _shared(skeleton: Skeleton, hands: Mapping[str, CharacterHand], motion: Motion) -> dict[int, int] | None:
    """Joint of the target → joint of the source, where the two skeletons are one above the hands; else None."""
    if motion.bvh is None or motion.skeleton is None:
        return None
    source = motion.skeleton
    numbers: dict[str, int] = {}
    for number, name in enumerate(source.names):
        numbers.setdefault(plain_name(name), number)
    same = {
        joint: numbers[plain] for joint, name in enumerate(skeleton.names) if (plain := plain_name(name)) in numbers
    }
    for hand in hands.values():
        joint = hand.map.wrist
        while joint >= 0:
            if joint not in same:
                return None
            parent = int(skeleton.parents[joint])
            above = int(source.parents[same[joint]])
            if (parent < 0) != (above < 0) or (parent >= 0 and same.get(parent) != above):
                return None
            if parent >= 0 and not _alike(skeleton.offsets[joint], source.offsets[same[joint]]):
                return None
            joint = parent
    return {
        joint: number
        for joint, number in same.items()
        if skeleton.parents[joint] < 0 or same.get(int(skeleton.parents[joint])) == source.parents[number]
    }


def _equal(skeleton: Skeleton, motion: Motion, shared: Mapping[int, int]) -> bool:
    """Whether the bodies are one at rest, so that channels can be taken over as they are."""
    if motion.skeleton is None or len(shared) < len(skeleton.names):
        return False
    other = motion.skeleton.offsets[[shared[joint] for joint in range(len(skeleton.names))]]
    return bool(np.abs(other - skeleton.offsets).max() < 1e-3 * np.abs(skeleton.offsets).max())


def bodies(skeleton: Skeleton, hands: Mapping[str, CharacterHand], motion: Motion) -> tuple[Body, Body] | None:
    """The bodies of source and target, None unless both are known from hips to feet."""
    if motion.skeleton is None:
        return None
    result = []
    for bones, own in ((motion.skeleton, motion.own_hands), (skeleton, hands)):
        found = humanoid(bones.names, bones.parents, {side: hand.map.wrist for side, hand in own.items()})
        if not all(bone in found for bone in NEEDED):
            return None
        result.append(Body(bones, found, {side: hand.rest.turn for side, hand in own.items()}))
    return result[0], result[1]


def _alike(first: np.ndarray, second: np.ndarray) -> bool:
    lengths = np.linalg.norm(first) * np.linalg.norm(second)
    return bool(lengths < 1e-9 or first @ second >= np.cos(SAME_REST) * lengths)


def _free_wrists(skeleton: Skeleton, hands: Mapping[str, CharacterHand], motion: Motion) -> dict[int, np.ndarray]:
    """Wrists of hands without a body keep their turning in space, where the source has no body either."""
    result = {}
    for side, hand in hands.items():
        track, wrist = motion.tracks[side], hand.map.wrist
        alone = motion.skeleton is None or not _has_body(motion.skeleton)
        if skeleton.parents[wrist] < 0 and alone:
            turn = hand.rest.turn.T @ track.hand.rest.turn
            result[wrist] = turn @ track.wrist @ turn.T
    return result


def _has_body(skeleton: Skeleton) -> bool:
    names = [plain_name(name) for name in skeleton.names]
    return any(name in names for name in ("hips", "pelvis", "spine")) or len(names) > 50


def plain_name(name: str) -> str:
    """A joint's name without prefix and case: ``mixamorig6:LeftArm`` and ``mixamorig_LeftArm`` are ``leftarm``."""
    name = name.rsplit(":", 1)[-1]
    return re.sub(r"^mixamorig\d*_?", "", name, flags=re.IGNORECASE).lower()
