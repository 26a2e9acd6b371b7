"""The body of one character moves as another's: bone by bone of the humanoid, feet where the source has them.

Bones turn in the character's space as the source's do since rest; arms and legs are first laid where the
source's rest, hands by their own frames. Places are the source's, in lengths of the leg, over its ground. Legs reach
their feet by bending in the plane in which the source's do, and the hips give way where a leg is too short: so a foot
that the source has planted stands as still as there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from data.formats.bvh import Bvh, tree_order
from data.formats.skeleton import Skeleton
from data.motion.glb import posed
from data.rig.hand_map import ancestors
from model.topology import SIDES
from utils import scratch

_LAID = ("upper_arm", "lower_arm", "upper_leg", "lower_leg")
_NEXT = {"upper_arm": "lower_arm", "lower_arm": "hand", "upper_leg": "lower_leg", "lower_leg": "foot"}
_NEEDED = ("hips", *(f"{side}_{bone}" for side in SIDES for bone in ("foot", "toes")))
"""Bones of the source of which all frames are needed at once."""
_REACH = 0.9999
_GROUND = 0.3
"""A source whose feet come no lower than this (leg lengths) beside where they rest does not stand where it rests."""
_STANDS = 0.15
"""A foot that moves slower than this, leg lengths a second, stands; one in the air moves some ten times as fast."""
_RETURN, _FREE = 20.0, 0.15
"""Seconds in which a foot comes back to where the source's is, while it stands and while it is in the air."""


@dataclass(frozen=True)
class Body:
    """A skeleton of which bones of a human are known."""

    skeleton: Skeleton
    bones: Mapping[str, int]
    turns: Mapping[str, np.ndarray]
    """Side → (3, 3) that brings the hand at rest into the frame of features."""

    def head(self, bone: str) -> np.ndarray:
        """(3,) where a bone begins at rest."""
        return self.skeleton.heads[self.bones[bone]]

    def leg(self, side: str) -> tuple[float, float]:
        """Lengths of upper and lower leg."""
        hip, knee, foot = (self.head(f"{side}_{bone}") for bone in ("upper_leg", "lower_leg", "foot"))
        return float(np.linalg.norm(knee - hip)), float(np.linalg.norm(foot - knee))

    def hip(self, side: str) -> np.ndarray:
        """(3,) where a leg begins at rest, from the middle of both."""
        heads = {each: self.head(f"{each}_upper_leg") for each in SIDES}
        return heads[side] - np.mean(list(heads.values()), axis=0)

    @property
    def stands(self) -> bool:
        """At rest both legs reach down from the trunk. They do not in files that tell each bone in a frame of its own:
        all their bones lie along one axis, and the rest is no pose."""
        arms = [
            self.head(bone) for side in SIDES for bone in (f"{side}_upper_arm", f"{side}_hand") if bone in self.bones
        ]
        trunk = np.mean(arms, axis=0) - self.head("hips")
        return all(trunk @ (self.head(f"{side}_upper_leg") - self.head(f"{side}_foot")) > 0 for side in SIDES)

    @property
    def stance(self) -> np.ndarray:
        """(3, 3) whose columns are the body's left, up and ahead at rest, each along an axis of its file: the identity
        in a file with y up that looks along z. Others have z up, or look back (VRM 0.x)."""
        left = self.head("left_upper_leg") - self.head("right_upper_leg")
        up = np.mean([self.head(f"{side}_upper_leg") - self.head(f"{side}_foot") for side in SIDES], axis=0)
        high = int(np.argmax(np.abs(up)))
        wide = int(np.argmax(np.where(np.arange(3) == high, -1, np.abs(left))))
        up, left = (np.copysign(np.eye(3)[axis], way[axis]) for axis, way in ((high, up), (wide, left)))
        return np.stack([left, up, np.cross(left, up)], axis=1)

    def standing(self) -> Body:
        """The same body with y up, looking along z."""
        stance, heads = self.stance, self.skeleton.heads
        turns = {side: turn @ stance for side, turn in self.turns.items()}
        return replace(self, skeleton=replace(self.skeleton, heads=heads @ stance), turns=turns)

    @property
    def leg_length(self) -> float:
        """Of both legs, on average."""
        return sum(sum(self.leg(side)) for side in SIDES) / 2


class Followed:
    """A body's motion on another skeleton.

    Feet stand over many frames, so where they shall be is worked out for the whole motion at first; all else, and the
    bulk of the numbers, a block of frames at a time.

    Args:
        source: whose joints are those of the motion.
        motion: F frames.
        target: that is to move so.
        frame_rate: of the motion, 1/s.
    """

    def __init__(self, source: Body, motion: Bvh, target: Body, frame_rate: float) -> None:
        self.motion, self.own, self.other = motion, source.stance, target.stance
        self.source, self.target = source.standing(), target.standing()
        self.hips = target.bones["hips"]
        self.pairs = {
            target.bones[bone]: (self.source.bones[own], _laid(self.source, own, self.target, bone))
            for bone, own in _pairs(self.source, self.target).items()
        }
        needed = [joint for bone, joint in self.source.bones.items() if bone in _NEEDED]
        turned, places = self._joints(needed)
        # Feet: the source's places, in lengths of the leg.
        feet_at_rest = [
            np.mean([body.head(f"{side}_foot") for side in SIDES], axis=0) for body in (self.source, self.target)
        ]
        lowest = min(float(np.quantile(places[self.source.bones[f"{side}_foot"]][:, 1], 0.01)) for side in SIDES)
        moved = lowest - min(self.source.head(f"{side}_foot")[1] for side in SIDES)
        ground = np.array([0.0, moved if abs(moved) > _GROUND * self.source.leg_length else 0.0, 0.0])
        self.ratio = self.target.leg_length / self.source.leg_length
        self.start = feet_at_rest[1] - self.ratio * (feet_at_rest[0] + ground)
        self.feet: dict[str, np.ndarray] = {}
        self.goals: dict[str, np.ndarray] = {}
        for side in SIDES:
            feet = _Feet(self.source, self.target, side, turned, places, frame_rate)
            self.feet[side], self.goals[side] = feet.turn, feet.goal(self.start, ground[1])

    def _joints(self, joints: list[int]) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
        """Joint → (F, 3, 3) rotations of some joints in the space of the standing source, and (F, 3) their places."""
        frames = self.motion.n_frames
        turns = {joint: scratch.empty((frames, 3, 3)) for joint in joints}
        places = {joint: scratch.empty((frames, 3)) for joint in joints}
        for part in scratch.blocks(frames):
            turned, placed = _seen(self.own, *posed(self.motion.at(part)))
            for joint in joints:
                turns[joint][part], places[joint][part] = turned[:, joint], placed[:, joint]
        return turns, places

    def at(self, part: slice) -> tuple[dict[int, np.ndarray], np.ndarray]:
        """Some frames: joint of the target → (n, 3, 3) local rotations since rest, of bones that follow; (n, 3) places
        of the hips."""
        local, place = self._at(part, *_seen(self.own, *posed(self.motion.at(part))))
        return {joint: self.other @ turn @ self.other.T for joint, turn in local.items()}, place @ self.other.T

    def _at(self, part: slice, turned: np.ndarray, places: np.ndarray) -> tuple[dict[int, np.ndarray], np.ndarray]:
        """`at` of bodies that stand upright: the source's rotations (n, J, 3, 3) and places (n, J, 3) in space."""
        source, target = self.source, self.target
        space = {joint: turned[:, own] @ laid for joint, (own, laid) in self.pairs.items()}
        goals = {side: goal[part] for side, goal in self.goals.items()}
        for side in SIDES:
            space[target.bones[f"{side}_foot"]] = self.feet[side][part]
        hip_joints = {side: _carried(target, space, f"{side}_upper_leg") for side in SIDES}
        middle = np.mean([places[:, source.bones[f"{side}_upper_leg"]] for side in SIDES], axis=0)
        place = self.start + self.ratio * middle - np.mean(list(hip_joints.values()), axis=0)
        place = place - np.stack([0 * place[:, 0], _drop(place, hip_joints, goals, target), 0 * place[:, 0]], axis=1)
        for side in SIDES:
            _bend_leg(target, side, goals[side] - place - hip_joints[side], space)
        local: dict[int, np.ndarray] = {}
        whole: dict[int, np.ndarray] = {}
        still = np.broadcast_to(np.eye(3), (len(turned), 3, 3))
        parents = target.skeleton.parents
        for joint in tree_order(parents):
            above = whole[int(parents[joint])] if parents[joint] >= 0 else still
            whole[joint] = space.get(joint, above)
            if joint in space:
                local[joint] = np.swapaxes(above, -1, -2) @ whole[joint]
        return local, place


def _seen(stance: np.ndarray, turned: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (F, J, 3, 3) and places (F, J, 3) of a body, from where it stands upright."""
    if np.array_equal(stance, np.eye(3)):
        return turned, places
    return stance.T @ turned @ stance, places @ stance


def _pairs(source: Body, target: Body) -> dict[str, str]:
    """Bone of the target → bone of the source that it follows; spines of other lengths go by their share."""
    count = [sum(bone.startswith("spine_") for bone in body.bones) for body in (source, target)]
    result = {}
    for bone in target.bones:
        if bone.startswith("spine_"):
            place = int(bone.removeprefix("spine_")) + 1
            own = f"spine_{-(-place * count[0] // count[1]) - 1}"
        else:
            own = bone
        if own in source.bones:
            result[bone] = own
    return result


def _laid(source: Body, own: str, target: Body, bone: str) -> np.ndarray:
    """(3, 3) that lays a bone of the target where the source's rests."""
    side, _, kind = bone.partition("_")
    if kind == "hand":
        return source.turns[side].T @ target.turns[side]
    if kind not in _LAID or f"{side}_{_NEXT[kind]}" not in source.bones:
        return np.eye(3)
    ways = [body.head(f"{side}_{_NEXT[kind]}") - body.head(f"{side}_{kind}") for body in (target, source)]
    return between(*ways)


def between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(..., 3, 3) the smallest turn of directions (..., 3) onto others."""
    first = first / np.linalg.norm(first, axis=-1, keepdims=True)
    second = second / np.linalg.norm(second, axis=-1, keepdims=True)
    axis, cosine = np.cross(first, second), (first * second).sum(-1)[..., None, None]
    cross = np.zeros((*axis.shape[:-1], 3, 3))
    for row, column, part, sign in (
        (0, 1, 2, -1),
        (1, 0, 2, 1),
        (0, 2, 1, 1),
        (2, 0, 1, -1),
        (1, 2, 0, -1),
        (2, 1, 0, 1),
    ):
        cross[..., row, column] = sign * axis[..., part]
    return np.eye(3) + cross + cross @ cross / np.maximum(1 + cosine, 1e-9)


class _Feet:
    """One foot of both bodies: ankle and toes, where the source has them and where the target shall.

    Attributes:
        turn: (F, 3, 3) of the target's foot since rest: the source's, but for a foot that stands.
    """

    def __init__(
        self,
        source: Body,
        target: Body,
        side: str,
        turned: Mapping[int, np.ndarray],
        places: Mapping[int, np.ndarray],
        frame_rate: float,
    ) -> None:
        foot, toes = f"{side}_foot", f"{side}_toes"
        self.ratio = target.leg_length / source.leg_length
        self.bones = [bone for bone in (foot, toes) if bone in source.bones and bone in target.bones]
        self.source, self.target, self.frame_rate = source, target, frame_rate
        self.places = [places[source.bones[bone]] for bone in self.bones]
        self.stands = [_stands(source, place, frame_rate) for place in self.places]
        self.turn = turned[source.bones[foot]]
        own, other = (body.hip(side) for body in (target, source))
        self.wider = turned[source.bones["hips"]] @ (own - self.ratio * other)
        if len(self.bones) > 1:
            self.own, self.other = (body.head(toes) - body.head(foot) for body in (target, source))
            self.turn = self._steady() @ self.turn

    def goal(self, start: np.ndarray, ground: float) -> np.ndarray:
        """(F, 3) where a foot shall be: where the source's is, beside it as far as the hips are wider, and on its toes
        where the source's foot rolls or turns over them; no lower under its height at rest than the source's.

        Args:
            start: (3,) of the target's places, less the source's in leg lengths.
            ground: how much higher the source moves than it rests.
        """
        goal = start + self.ratio * self.places[0]
        ways, further, wished = [np.zeros_like(goal)], np.zeros_like(goal), self.wider[:, [0, 2]]
        if len(self.bones) > 1:
            ways.append(self.turn @ self.own)
            longer = self.own - self.ratio * self.other
            further = ways[1] - self.ratio * (self.places[1] - self.places[0])
            goal[:, 1] += longer[1] - further[:, 1]
            wished = wished + _level(self.turn, longer) - further[:, [0, 2]]
        goal[:, [0, 2]] += _held(wished, further[:, [0, 2]], self.stands[0], self.stands[-1], self.frame_rate)
        for bone, place, way in zip(self.bones, self.places, ways, strict=True):
            under = np.minimum(0, self.ratio * (place[:, 1] - self.source.head(bone)[1] - ground))
            goal[:, 1] = np.maximum(goal[:, 1], self.target.head(bone)[1] + under - way[:, 1])
        return goal

    def _steady(self) -> np.ndarray:
        """(F, 3, 3) turns of a foot that is longer than the source's: standing, it rocks as far as that, not by as
        many degrees."""
        from scipy.spatial.transform import Rotation  # a twentieth of a second

        longer = 1 - min(1.0, self.ratio * float(np.linalg.norm(self.other) / np.linalg.norm(self.own)))
        steps = Rotation.from_matrix(self.turn[1:] @ np.swapaxes(self.turn[:-1], -1, -2)).as_rotvec()
        rocked = longer * np.cumsum(np.pad(steps, ((1, 0), (0, 0))), axis=0)
        both = np.minimum(*self.stands)
        back = _held(np.zeros_like(rocked), rocked, 0 * both, both, self.frame_rate)
        return Rotation.from_rotvec(back).as_matrix()


def _level(turn: np.ndarray, way: np.ndarray) -> np.ndarray:
    """(F, 2) a way (3,) of a foot over the ground, which turns but does not roll with it."""
    yaw = np.arctan2(-turn[:, 2, 0], turn[:, 0, 0])  # of the foot's x axis: rolling leaves it alone
    sine, cosine = np.sin(yaw), np.cos(yaw)
    return np.stack([cosine * way[0] + sine * way[2], cosine * way[2] - sine * way[0]], axis=1)


def _stands(source: Body, places: np.ndarray, frame_rate: float) -> np.ndarray:
    """(F − 1,) how much a joint stands from frame to frame: 1 at rest, 0 in the air."""
    speed = np.linalg.norm(np.diff(places, axis=0), axis=-1) * frame_rate / source.leg_length
    return 1 / (1 + (speed / _STANDS) ** 4)


def _held(
    wished: np.ndarray, further: np.ndarray, foot: np.ndarray, toes: np.ndarray, frame_rate: float
) -> np.ndarray:
    """(F, n) how far a foot is beside the source's place, so that what stands there stands here.

    A foot that is longer than the source's cannot have ankle and toes where they are: each keeps its place while it
    stands, and comes back in the air. The least sum of squares over all frames, a tridiagonal system.

    Args:
        wished: (F, n) where it would be without standing.
        further: (F, n) how much further the toes are from the foot than the source's.
        foot: (F − 1,) how much the foot stands between frames.
        toes: the same of the toes.
    """
    from scipy.linalg import solveh_banded  # a twentieth of a second

    moves = (frame_rate * _RETURN) ** 2
    each, toes = moves * (foot + toes + (_FREE / _RETURN) ** 2), moves * toes
    sides = np.zeros((2, len(wished)))
    sides[0] = 1 + np.append(each, 0) + np.insert(each, 0, 0)
    sides[1, :-1] = -each
    pulled = toes[:, None] * np.diff(further, axis=0)
    right = wished + np.pad(pulled, ((0, 1), (0, 0))) - np.pad(pulled, ((1, 0), (0, 0)))
    return solveh_banded(sides, right, lower=True)


def _carried(target: Body, space: Mapping[int, np.ndarray], bone: str) -> np.ndarray:
    """(F, 3) from the hips to a bone, whatever bones are between (a biped's legs hang on its spine)."""
    joint, hips = target.bones[bone], target.bones["hips"]
    chain = ancestors(joint, target.skeleton.parents)
    line = [joint, *chain[: chain.index(hips) + 1]] if hips in chain else [joint, hips]
    turn, result = space[hips], np.zeros((len(space[hips]), 3))
    for above, below in zip(line[:0:-1], line[-2::-1], strict=True):
        turn = space.get(above, turn)
        result = result + turn @ (target.skeleton.heads[below] - target.skeleton.heads[above])
    return result


def _drop(place: np.ndarray, hip_joints: Mapping, goals: Mapping, target: Body) -> np.ndarray:
    """(F,) how far the hips must come down for both legs to reach their feet."""
    drops = [np.zeros(len(place))]
    for side in SIDES:
        way = goals[side] - place - hip_joints[side]
        reach = _REACH * sum(target.leg(side))
        level = (way[:, [0, 2]] ** 2).sum(-1)
        deep = np.sqrt(np.maximum(reach**2 - level, 0))
        drops.append(np.where(level < reach**2, -way[:, 1] - deep, 0))
    return np.max(drops, axis=0)


def _bend_leg(target: Body, side: str, way: np.ndarray, space: dict[int, np.ndarray]) -> None:
    """Turn upper and lower leg so that the foot comes ``way`` (F, 3) from the hip; the knee points where it did."""
    upper, lower = (target.bones[f"{side}_{bone}"] for bone in ("upper_leg", "lower_leg"))
    knee = target.head(f"{side}_lower_leg") - target.head(f"{side}_upper_leg")
    shin = target.head(f"{side}_foot") - target.head(f"{side}_lower_leg")
    first, second = target.leg(side)
    far = np.clip(np.linalg.norm(way, axis=-1, keepdims=True), abs(first - second) + 1e-6, first + second - 1e-9)
    along = way / np.maximum(np.linalg.norm(way, axis=-1, keepdims=True), 1e-12)
    now = space[upper] @ knee
    out = now - (now * along).sum(-1, keepdims=True) * along
    size = np.linalg.norm(out, axis=-1, keepdims=True)
    ahead = space[upper] @ np.array([0.0, 0, 1])
    ahead = ahead - (ahead * along).sum(-1, keepdims=True) * along
    out = np.where(size > 1e-6 * first, out, ahead)
    out = out / np.linalg.norm(out, axis=-1, keepdims=True)
    share = (first**2 + far**2 - second**2) / (2 * far)
    wanted = share * along + np.sqrt(np.maximum(first**2 - share**2, 0)) * out
    space[upper] = between(now, wanted) @ space[upper]
    space[lower] = between(space[lower] @ shin, far * along - wanted) @ space[lower]
