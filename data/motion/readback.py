"""What was written is read again and compared, joint by joint and frame by frame, with the pose that was meant.

It happens before a file gets its name: one that is wrong never takes the place of an older one.

The way back shares nothing with the way there: the file is read from disk, its joints are put where the file's own
hierarchy, rotations, scales and places put them, and seen from its wrist. The pose meant is put together by the hand's
own forward kinematics. All in single precision, which is a thousand times finer than what is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from data.character.character import CharacterHand
from data.character.gltf import CM, GltfCharacter, interpolated, read_gltf_character
from data.formats.bvh import Bvh, read_bvh
from data.formats.gltf import SUFFIXES as GLTF_SUFFIXES
from data.formats.skeleton import usable
from data.motion.fbx import read_back_fbx
from data.motion.mano_file import read_mano_motion
from model.kinematics import finger_chain, finger_positions
from model.topology import BONES_PER_FINGER, JOINTS_PER_FINGER, MIDDLE, N_FINGERS, N_JOINTS, PARENTS, ROOTS
from utils import scratch
from utils.errors import InputError

TOLERANCE = 1 / 900
"""How far a joint may be off, in lengths of the palm: a tenth of a millimetre at 9 cm."""


@dataclass(frozen=True)
class ReadBack:
    """What a file holds."""

    worst: float
    """The largest distance of a joint from where it should be, in lengths of the palm."""
    _poses: Mapping[str, Callable[[], np.ndarray]]

    def pose(self, side: str) -> np.ndarray:
        """(F, 5, 3, 3, 3) local rotations of a hand in the canonical frame, as the file has them; what the rig has no
        joint for is as it was meant."""
        return self._poses[side]()


def check_written(
    path: Path,
    hands: Mapping[str, tuple[CharacterHand, np.ndarray]],
    scale: float = 1.0,
    blender: str | None = None,
    times: np.ndarray | None = None,
) -> ReadBack:
    """Compare a file with the poses it should hold.

    Args:
        path: the file that was written.
        hands: side → (hand of the target, (F, 5, 3, 3, 3) local rotations in the frame of features).
        scale: lengths of the hands, in those of the file.
        blender: that reads ``.fbx``; None: found by itself.
        times: (F,) seconds of the frames in a glTF file whose other bones have keys of their own.

    Raises:
        InputError: it differs.
    """
    joints = None if path.suffix.lower() == ".npz" else _joints_of(path, blender, times)
    told = {side: (hand, local, _Told(hand)) for side, (hand, local) in hands.items()}
    poses: dict[str, Callable[[], np.ndarray]] = {}
    for side, (hand, local, so_far) in told.items():
        if joints is None:
            written = read_mano_motion(path).local
            poses[side] = lambda written=written: written
            so_far.frames = len(written)
        else:
            poses[side] = partial(_poses, joints, hand, local)
            so_far.frames = joints.frames or len(local)
    for part in scratch.blocks(min(min(so_far.frames, len(local)) for _, local, so_far in told.values())):
        placed = None if joints is None else _Placed(joints.at(part))
        for side, (hand, local, so_far) in told.items():
            meant = _meant(hand, local[part])
            if placed is None:
                so_far.compare(_meant(hand, poses[side]()[part]), meant, part.start)
            else:
                so_far.compare(placed.hand(hand, local[part], scale)[0], meant, part.start)
    for side, (hand, local, so_far) in told.items():
        if so_far.frames != len(local):
            problem = f"{len(local)} frames, found {so_far.frames}"
        elif so_far.worst > TOLERANCE:
            (index,) = hand.map.in_file([so_far.joint])
            problem = (
                f"joint {hand.skeleton.names[index]} of the {side} hand where the pose has it, found it "
                f"{so_far.worst:.3g} palm lengths away in frame {so_far.frame}"
            )
        else:
            continue
        raise InputError(
            f"{path}: read again after it was written, expected {problem}; the file was removed. Try another format, "
            f"or apply scale and rotation of the armature of {hand.name}"
        )
    return ReadBack(max(so_far.worst for _, _, so_far in told.values()), poses)


class _Told:
    """How far the joints of a hand are off, block by block."""

    def __init__(self, hand: CharacterHand) -> None:
        self.palm = float(np.linalg.norm(hand.rest.joints[ROOTS[MIDDLE]]))
        self.joints = _comparable(hand)
        self.frames = 0
        """That the file has."""
        self.worst, self.joint, self.frame = 0.0, 0, 0

    def compare(self, found: np.ndarray, meant: np.ndarray, first: int) -> None:
        """Joints (21, 3, n) of the frames from ``first`` on."""
        away = np.sqrt(((found[self.joints] - meant[self.joints]) ** 2).sum(axis=1)) / self.palm
        away = np.nan_to_num(away, nan=np.inf)
        if away.max(initial=0.0) > self.worst:
            place, frame = np.unravel_index(np.argmax(away), away.shape)
            self.worst, self.joint, self.frame = float(away.max()), self.joints[place], first + int(frame)


def _comparable(hand: CharacterHand) -> list[int]:
    """Joints of the hand that the file has, and all joints above them too: what a short finger lacks moves none."""
    there = [index is not None for index in hand.map.indices]
    joints = []
    for root in ROOTS:
        for joint in range(root, root + JOINTS_PER_FINGER):
            if all(there[root:joint]) and there[joint]:
                joints.append(joint)
    return joints


def _meant(hand: CharacterHand, local: np.ndarray) -> np.ndarray:
    """(21, 3, F) centimetres from the wrist, in the frame of features: the bones of the hand, turned."""
    turns = finger_chain(torch.from_numpy(np.ascontiguousarray(local, dtype=np.float32)))
    offsets = torch.from_numpy(np.ascontiguousarray(hand.rest.whole_offsets, dtype=np.float32))
    return finger_positions(turns, offsets).permute(1, 2, 0).numpy()


@dataclass(frozen=True)
class _Joints:
    """The joints of a file."""

    frames: int
    """How many frames it has; 0: a motion that holds still, for as long as one likes."""
    at: Callable[[slice], Mapping[str, _Joint]]
    """Frames → joints by name."""


def _joints_of(path: Path, blender: str | None, times: np.ndarray | None) -> _Joints:
    kind = path.suffix.lower()
    if kind == ".bvh":
        bvh = read_bvh(path)
        return _Joints(bvh.n_frames, lambda part: _bvh_joints(bvh.at(part)))
    if kind in GLTF_SUFFIXES:
        return _gltf_joints(read_gltf_character(path, with_skin=False), kind != ".vrma", times)
    bones = read_back_fbx(path, blender)
    return _Joints(len(bones["places"]), lambda part: _fbx_joints(bones, part))


class _Placed:
    """Joints of a file in some frames, worked out once for all its hands.

    Frames stand last in all arrays: each step is then arithmetic on whole rows of memory.
    """

    def __init__(self, joints: Mapping[str, _Joint]) -> None:
        self.joints = joints
        self.known: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def _in_space(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """(3, 3, F) how the space below a joint is turned and scaled, and (3, F) where the joint is."""
        waiting = []
        while name and name not in self.known:
            waiting.append(name)
            name = self.joints[name].above
        for each in reversed(waiting):
            joint = self.joints[each]
            linear, place = joint.local()
            if joint.above:
                over, start = self.known[joint.above]
                linear, place = _product(over, linear), start + _product(over, place[:, None])[:, 0]
            self.known[each] = linear, place
        return self.known[waiting[0] if waiting else name]

    def hand(
        self, hand: CharacterHand, local: np.ndarray, scale: float
    ) -> tuple[np.ndarray, Callable[[], np.ndarray]]:
        """(21, 3, F) the joints of a hand from its wrist, in the frame of features, NaN where there is none; and what
        gives the rotations of its bones."""
        names = [hand.skeleton.names[number] for number in hand.map.in_file(hand.map.listed)]
        spaces = [self._in_space(name) for name in names]
        count = len(local)  # a motion that holds still is one key
        turn = hand.rest.turn.astype(np.float32)[:, :, None]
        turned = [
            _product(_product(turn, _product(linear, self.joints[name].back)), _across(turn))
            for name, (linear, _) in zip(names, spaces, strict=True)
        ]
        back, start = scale * _product(_across(turned[0]), turn), spaces[0][1]
        joints = np.full((N_JOINTS, 3, count), np.nan, np.float32)
        for joint, (_, place) in zip(hand.map.listed, spaces, strict=True):
            joints[joint] = _product(back, (place - start)[:, None])[:, 0]
        return joints, lambda: _local(hand, turned, local)


def _poses(joints: _Joints, hand: CharacterHand, meant: np.ndarray) -> np.ndarray:
    """(F, 5, 3, 3, 3) local rotations of a hand of a file."""
    result = scratch.empty(meant.shape, np.float32)
    for part in scratch.blocks(len(meant)):
        result[part] = _Placed(joints.at(part)).hand(hand, meant[part], 1.0)[1]()
    return result


def _local(hand: CharacterHand, turned: list[np.ndarray], meant: np.ndarray) -> np.ndarray:
    """(F, 5, 3, 3, 3) each bone seen from the one above it, in the frame of features."""
    listed = hand.map.listed
    result = np.array(meant, dtype=np.float32)
    for joint in listed:
        finger, bone = divmod(joint - 1, JOINTS_PER_FINGER)
        if joint and bone < BONES_PER_FINGER and finger < N_FINGERS:
            above = PARENTS[joint]
            while above not in listed:
                above = PARENTS[above]
            own = _product(_across(turned[listed.index(above)]), turned[listed.index(joint)])
            result[:, finger, bone] = np.moveaxis(own, -1, 0)
    return result


@dataclass(frozen=True)
class _Joint:
    """A joint of a file."""

    above: str
    """The joint that it hangs on; "" for a root."""
    local: Callable[[], tuple[np.ndarray, np.ndarray]]
    """→ (3, 3, F) linear part and (3, F) place, seen from there; F may be 1."""
    back: np.ndarray
    """(3, 3, 1) inverse of its linear part in space at rest."""


_STILL = np.eye(3, dtype=np.float32)[:, :, None]


def _product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(3, 3, F) times (3, n, F); F may be 1 in either."""
    result = first[:, 0, None] * second[None, 0]
    result += first[:, 1, None] * second[None, 1]
    result += first[:, 2, None] * second[None, 2]
    return result


def _across(matrix: np.ndarray) -> np.ndarray:
    """The transpose of (3, 3, F)."""
    return matrix.swapaxes(0, 1)


def _bvh_joints(bvh: Bvh) -> dict[str, _Joint]:
    starts = np.cumsum([0, *map(len, bvh.channels)])

    def local(joint: int) -> tuple[np.ndarray, np.ndarray]:
        linear, place = _STILL, np.repeat(bvh.offsets[joint][:, None], bvh.n_frames, axis=1).astype(np.float32)
        for column, channel in enumerate(bvh.channels[joint], start=starts[joint]):
            axis, values = "XYZ".index(channel[0]), bvh.values[:, column].astype(np.float32)
            if channel.endswith("position"):
                place[axis] = values
            elif channel.endswith("rotation"):
                linear = _product(linear, _about(axis, np.radians(values)))
        return linear, place

    names = ("", *bvh.joint_names)
    return {
        name: _Joint(names[int(parent) + 1], partial(local, joint), _STILL)
        for joint, (name, parent) in enumerate(zip(bvh.joint_names, bvh.parents, strict=True))
    }


def _about(axis: int, angles: np.ndarray) -> np.ndarray:
    """(3, 3, F) turns about one of the axes."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    turn = np.zeros((3, 3, len(angles)), np.float32)
    turn[axis, axis] = 1
    turn[first, first] = turn[second, second] = np.cos(angles)
    turn[second, first] = np.sin(angles)
    turn[first, second] = -turn[second, first]
    return turn


def _gltf_joints(character: GltfCharacter, rests: bool, times: np.ndarray | None) -> _Joints:
    """The nodes of the first animation of a file; bones by their names, other nodes by theirs or their numbers.

    `rests`: its nodes rest as the target does. Those of a ``.vrma`` rest in a T-pose, from which no pose of a file of
    ours counts. `times`: seconds of the frames; None: the keys of the track that has most.
    """
    tracks = character.animations[0].tracks
    times = max((track.times for track in tracks), key=len) if times is None else times
    own = {(track.node, track.path): track for track in tracks}
    exact = {
        key: len(track.times) > 1 and track.values.ndim == 2 and np.array_equal(track.times, times)
        for key, track in own.items()
    }

    def at(part: slice) -> Mapping[str, _Joint]:
        def values(node: int, path: str, still: np.ndarray) -> np.ndarray:
            track = own.get((node, path))
            if track is None:
                return still[node][:, None].astype(np.float32)
            if len(track.times) == 1:
                return track.values.T.astype(np.float32)
            found = track.values[part] if exact[node, path] else interpolated(track, times[part])
            return found.T.astype(np.float32)

        return _nodes(character, rests, values)

    return _Joints(len(times) if len(times) > 1 else 0, at)


def _nodes(
    character: GltfCharacter, rests: bool, values: Callable[[int, str, np.ndarray], np.ndarray]
) -> dict[str, _Joint]:
    """Nodes by name; ``values`` gives what a node has of a kind, (n, F)."""
    gltf = character.gltf
    called = dict(zip(character.nodes.tolist(), character.skeleton.names, strict=True))
    taken = set(called.values())
    for node, name in enumerate(gltf.node_names):
        called.setdefault(node, name if name and name not in taken else f"node {node}")
        taken.add(called[node])
    called[-1] = ""
    rest = dict(zip(character.nodes.tolist(), usable(character.skeleton.rest)[:, :3, :3], strict=True))

    def local(node: int) -> tuple[np.ndarray, np.ndarray]:
        if node in gltf.matrices:
            matrix = gltf.matrices[node].astype(np.float32)
            return matrix[:3, :3, None], matrix[:3, 3, None]
        turn = _of_quaternions(values(node, "rotation", gltf.rotations))
        place = values(node, "translation", gltf.translations)
        return turn * values(node, "scale", gltf.scales)[None], np.float32(CM) * place

    return {
        called[node]: _Joint(
            called[int(parent)],
            partial(local, node),
            np.linalg.inv(rest[node]).astype(np.float32)[:, :, None] if rests and node in rest else _STILL,
        )
        for node, parent in enumerate(gltf.parents.tolist())
    }


def _of_quaternions(values: np.ndarray) -> np.ndarray:
    """(4, F) x, y, z, w → (3, 3, F)."""
    x, y, z, w = values / np.sqrt((values**2).sum(axis=0))
    return np.stack([
        np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)]),
        np.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)]),
        np.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]),
    ])  # fmt: skip


def _fbx_joints(bones: Mapping[str, np.ndarray], part: slice) -> dict[str, _Joint]:
    """Bones as Blender has placed them in space."""

    def local(bone: int) -> tuple[np.ndarray, np.ndarray]:
        turns, places = (np.moveaxis(bones[key][part, bone], 0, -1).astype(np.float32) for key in ("turns", "places"))
        return turns, places

    return {name: _Joint("", partial(local, bone), _STILL) for bone, name in enumerate(bones["names"].tolist())}
