"""The body of one character moves as another's: bone by bone of the humanoid, feet where the source has them.

Bones turn in the character's space as the source's do since rest; arms and legs are first laid where the
source's rest, hands by their own frames. Places are the source's, in lengths of the leg, over its ground. Legs reach
their feet by bending in the plane in which the source's do, and the hips give way where a leg is too short: so a foot
that the source has planted stands as still as there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from data.formats.bvh import Bvh, tree_order
from data.formats.skeleton import Skeleton
from data.motion.glb import posed
from data.rig.hand_map import ancestors
from model.topology import SIDES

_LAID = ("upper_arm", "lower_arm", "upper_leg", "lower_leg")
_NEXT = {"upper_arm": "lower_arm", "lower_arm": "hand", "upper_leg": "lower_leg", "lower_leg": "foot"}
_REACH = 0.9999
_GROUND = 0.3
"""A source whose feet come no lower than this (leg lengths) beside where they rest does not stand where it rests."""


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

    @property
    def leg_length(self) -> float:
        """Of both legs, on average."""
        return sum(sum(self.leg(side)) for side in SIDES) / 2


def follow(source: Body, motion: Bvh, target: Body) -> tuple[dict[int, np.ndarray], np.ndarray]:
    """The body's motion on another skeleton.

    Args:
        source: whose joints are those of the motion.
        motion: F frames.
        target: that is to move so.

    Returns:
        Joint of the target → (F, 3, 3) local rotations since rest, of bones that follow; (F, 3) places of the hips.
    """
    turned, places = posed(motion)
    parents = target.skeleton.parents
    ratio = target.leg_length / source.leg_length
    space: dict[int, np.ndarray] = {}
    for bone, own in _pairs(source, target).items():
        space[target.bones[bone]] = turned[:, source.bones[own]] @ _laid(source, own, target, bone)
    # Feet: the source's places, in lengths of the leg.
    feet_at_rest = [np.mean([body.head(f"{side}_foot") for side in SIDES], axis=0) for body in (source, target)]
    feet = {side: places[:, source.bones[f"{side}_foot"]] for side in SIDES}
    lowest = min(float(np.quantile(foot[:, 1], 0.01)) for foot in feet.values())
    moved = lowest - min(source.head(f"{side}_foot")[1] for side in SIDES)
    ground = np.array([0.0, moved if abs(moved) > _GROUND * source.leg_length else 0.0, 0.0])
    start = feet_at_rest[1] - ratio * (feet_at_rest[0] + ground)
    goals = {side: _goal(source, turned, places, target, side, start, ground[1]) for side in SIDES}
    hip_joints = {side: _carried(target, space, f"{side}_upper_leg") for side in SIDES}
    middle = np.mean([places[:, source.bones[f"{side}_upper_leg"]] for side in SIDES], axis=0)
    place = start + ratio * middle - np.mean(list(hip_joints.values()), axis=0)
    place = place - np.stack([0 * place[:, 0], _drop(place, hip_joints, goals, target), 0 * place[:, 0]], axis=1)
    for side in SIDES:
        _bend_leg(target, side, goals[side] - place - hip_joints[side], space)
    local: dict[int, np.ndarray] = {}
    whole: dict[int, np.ndarray] = {}
    still = np.broadcast_to(np.eye(3), (motion.n_frames, 3, 3))
    for joint in tree_order(parents):
        above = whole[int(parents[joint])] if parents[joint] >= 0 else still
        whole[joint] = space.get(joint, above)
        if joint in space:
            local[joint] = np.swapaxes(above, -1, -2) @ whole[joint]
    return local, place


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


def _goal(
    source: Body, turned: np.ndarray, places: np.ndarray, target: Body, side: str, start: np.ndarray, ground: float
) -> np.ndarray:
    """(F, 3) where a foot shall be: where the source's is, and on its toes where the source's foot rolls over them; no
    lower under its height at rest than the source's.

    Args:
        turned: (F, J, 3, 3) since rest and places (F, J, 3) of the source's joints.
        start: (3,) of the target's places, less the source's in leg lengths.
        ground: how much higher the source moves than it rests.
    """
    toes, foot = f"{side}_toes", f"{side}_foot"
    ratio, turn = target.leg_length / source.leg_length, turned[:, source.bones[foot]]
    goal = start + ratio * places[:, source.bones[foot]]
    ways = {foot: np.zeros_like(goal)}
    if toes in source.bones and toes in target.bones:
        own, other = (body.head(toes) - body.head(foot) for body in (target, source))
        longer = own - ratio * other
        yaw = np.arctan2(-turn[:, 2, 0], turn[:, 0, 0])  # of the foot's x axis: rolling leaves it alone
        sine, cosine = np.sin(yaw), np.cos(yaw)
        level = [cosine * longer[0] + sine * longer[2], 0 * yaw + longer[1], cosine * longer[2] - sine * longer[0]]
        goal = goal + ratio * (turn @ other) + np.stack(level, axis=1) - turn @ own
        ways[toes] = turn @ own
    for bone, way in ways.items():
        under = np.minimum(0, ratio * (places[:, source.bones[bone], 1] - source.head(bone)[1] - ground))
        goal[:, 1] = np.maximum(goal[:, 1], target.head(bone)[1] + under - way[:, 1])
    return goal


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
