"""Poses of hands on the target's whole skeleton, with the body motion of the source where both share it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from data.character.character import CharacterHand
from data.choices import FOLLOW, REST
from data.formats.bvh import CHANNEL_NAMES, Bvh, euler_from_rotations
from data.formats.skeleton import Skeleton
from data.motion.follow import Body, Followed
from data.motion.humanoid import NEEDED, humanoid, is_helper
from data.motion.keep import Kept, with_fingers
from data.motion.reading import Motion
from data.rig.hand_map import ancestors
from data.rig.rotations import file_rotations
from utils import scratch
from utils.errors import InputError

SAME_REST = np.radians(20.0)
"""A bone that rests this much elsewhere is another bone: its rotations cannot be taken over."""
_ORDER = "ZYX"
_LONG = 0.2


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
    skeleton = hung(next(iter(hands.values())).skeleton, hands)

    def turned(part: slice) -> dict[int, np.ndarray]:
        pairs = ((hands[side], local[part]) for side, local in poses.items())
        return {
            joint: turn for hand, some in pairs for joint, turn in file_rotations(hand.map, hand.rest, some).items()
        }

    fingers = frozenset(turned(slice(0)))
    if isinstance(body, Kept):
        whole = _joined(motion.frames, lambda part: with_fingers(body.bvh.at(part), skeleton, turned(part)))
        return WholeMotion(whole, True, fingers)
    shared = None if body == REST else _shared(skeleton, hands, motion)
    equal = shared is not None and _equal(skeleton, motion, shared)
    followed = _followed(skeleton, hands, motion, body) if body != REST and not equal else None
    kept = shared is not None or followed is not None

    def some(part: slice) -> Bvh:
        moving, turns = motion.at(part), turned(part)
        if followed is None:
            if not kept:
                turns = {**_free_wrists(skeleton, hands, moving), **turns}
            return _placed(skeleton, moving, turns, shared or {}, equal)
        moved, place = followed.at(part)
        hips = followed.hips
        top = [hips, *ancestors(hips, skeleton.parents)][-1]
        place = place + skeleton.heads[top] - skeleton.heads[hips]  # what is between the two rests
        return _placed(skeleton, moving, {**moved, **turns}, shared or {}, equal, (top, place))

    return WholeMotion(_joined(motion.frames, some), kept, fingers)


def _joined(frames: int, made: Callable[[slice], Bvh]) -> Bvh:
    """A motion that is made block by block."""
    first = made(slice(1))
    values = scratch.empty((frames, first.values.shape[1]))
    for part in scratch.blocks(frames):
        values[part] = made(part).values
    return replace(first, values=values)


def _followed(
    skeleton: Skeleton, hands: Mapping[str, CharacterHand], motion: Motion, body: str | None
) -> Followed | None:
    """The body as it follows the source's; None where one of them has none."""
    pair = bodies(skeleton, hands, motion)
    if pair is None and body == FOLLOW:
        raise InputError(
            f"{motion.path}: expected two bodies with hips, legs and feet on both sides, which stand at rest, for "
            "`body` follow, found none in the source or in the target; use `body` rest"
        )
    if pair is None or motion.bvh is None:
        return None
    return Followed(pair[0], motion.bvh, pair[1], motion.frame_rate)


def _placed(
    skeleton: Skeleton,
    motion: Motion,
    turned: Mapping[int, np.ndarray],
    shared: Mapping[int, int],
    equal: bool,
    place: tuple[int, np.ndarray] | None = None,
) -> Bvh:
    """All joints of a skeleton.

    Args:
        skeleton: of the target.
        motion: the source, F frames.
        turned: joint → (F, 3, 3) local rotations of those that are known.
        shared: joint → joint of the source, from which others have their channels.
        equal: whether these are those of one body; then helpers have them too.
        place: a root and its (F, 3) places; None: the source's, or at rest.
    """
    whole = motion.bvh
    columns, channels, starts = [], [], _starts(whole)
    for joint, parent in enumerate(skeleton.parents):
        names: tuple[str, ...] = ()
        if parent < 0:
            if place is not None and joint == place[0]:
                names, values = CHANNEL_NAMES[:3], place[1]
            else:
                names, values = _root(skeleton, joint, motion, shared.get(joint))
            columns.append(values)
        if joint in turned:
            names += tuple(f"{axis}rotation" for axis in _ORDER)
            columns.append(np.degrees(euler_from_rotations(turned[joint], _ORDER)))
        elif whole is not None and joint in shared and (equal or not is_helper(skeleton.names[joint])):
            source = shared[joint]
            own = [c for c, name in enumerate(whole.channels[source]) if name.endswith("rotation")]
            names += tuple(whole.channels[source][c] for c in own)
            columns.append(whole.values[:, [starts[source] + c for c in own]])
        else:
            names += tuple(f"{axis}rotation" for axis in _ORDER)
            columns.append(np.zeros((motion.frames, 3)))
        channels.append(names)
    return Bvh(
        joint_names=tuple(skeleton.names),
        parents=np.asarray(skeleton.parents, dtype=np.int64),
        offsets=skeleton.offsets,
        channels=tuple(channels),
        values=np.concatenate(columns, axis=1),
        frame_time=1 / motion.frame_rate,
        end_sites=_ends(skeleton),
    )


def _ends(skeleton: Skeleton) -> tuple[tuple[int, tuple[float, float, float]], ...]:
    """Where the bones of joints end below which there are no others."""
    if skeleton.tails is None:
        return ()
    leaves = np.setdiff1d(np.arange(len(skeleton.tails)), skeleton.parents)
    ways = skeleton.tails - skeleton.heads
    return tuple((int(leaf), tuple(ways[leaf])) for leaf in leaves if np.isfinite(ways[leaf]).all())


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
    found = {
        joint: number
        for joint, number in same.items()
        if skeleton.parents[joint] < 0 or same.get(int(skeleton.parents[joint])) == source.parents[number]
    }
    return None if _turned_over(skeleton.offsets[[*found]], source.offsets[[*found.values()]]) else found


def _turned_over(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether a bone of any size (J, 3) lies the other way round in the other rest: then one of them is no pose."""
    lengths = np.linalg.norm(first, axis=1), np.linalg.norm(second, axis=1)
    long = (lengths[0] > _LONG * lengths[0].max()) & (lengths[1] > _LONG * lengths[1].max())
    return bool(((first * second).sum(axis=1) < 0)[long].any())


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
    source, target = known_body(motion.skeleton, motion.own_hands), known_body(skeleton, hands)
    return None if source is None or target is None else (source, target)


def known_body(skeleton: Skeleton, hands: Mapping[str, CharacterHand]) -> Body | None:
    """The body that hands hang on, None unless it is known from hips to feet and stands at rest."""
    found = humanoid(skeleton, {side: hand.map.wrist for side, hand in hands.items()})
    if not all(bone in found for bone in NEEDED):
        return None
    body = Body(skeleton, found, {side: hand.rest.turn for side, hand in hands.items()})
    return body if body.stands else None


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
