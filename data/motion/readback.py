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
    worst, poses = 0.0, {}
    placed = None if path.suffix.lower() == ".npz" else _Placed(path, blender, times)
    for side, (hand, local) in hands.items():
        meant = _meant(hand, local)
        if placed is None:
            written = read_mano_motion(path).local
            found, poses[side] = _meant(hand, written), lambda written=written: written
        else:
            found, poses[side] = placed.hand(hand, local, scale)
        palm = float(np.linalg.norm(hand.rest.joints[ROOTS[MIDDLE]]))
        joints = _comparable(hand)
        if found.shape[-1] != meant.shape[-1]:
            problem = f"{meant.shape[-1]} frames, found {found.shape[-1]}"
        else:
            away = np.sqrt(((found[joints] - meant[joints]) ** 2).sum(axis=1)) / palm
            worst = max(worst, float(np.nan_to_num(away, nan=np.inf).max(initial=0.0)))
            if worst <= TOLERANCE:
                continue
            place, frame = np.unravel_index(np.argmax(np.nan_to_num(away, nan=np.inf)), away.shape)
            (index,) = hand.map.in_file([joints[place]])
            problem = (
                f"joint {hand.skeleton.names[index]} of the {side} hand where the pose has it, found it {worst:.3g} "
                f"palm lengths away in frame {frame}"
            )
        raise InputError(
            f"{path}: read again after it was written, expected {problem}; the file was removed. Try another format, "
            f"or apply scale and rotation of the armature of {hand.name}"
        )
    return ReadBack(worst, poses)


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


class _Placed:
    """Joints of a file, read once for all its hands.

    Frames stand last in all arrays: each step is then arithmetic on whole rows of memory.
    """

    def __init__(self, path: Path, blender: str | None, times: np.ndarray | None) -> None:
        kind = path.suffix.lower()
        if kind == ".bvh":
            self.joints: Mapping[str, _Joint] = _bvh_joints(read_bvh(path))
        elif kind in GLTF_SUFFIXES:
            self.joints = _gltf_joints(read_gltf_character(path, with_skin=False), kind != ".vrma", times)
        else:
            self.joints = _fbx_joints(read_back_fbx(path, blender))
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
        count = max(place.shape[-1] for _, place in spaces)
        if count == 1:  # a motion that holds still is one key
            count = len(local)
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


def _gltf_joints(character: GltfCharacter, rests: bool, times: np.ndarray | None) -> dict[str, _Joint]:
    """The nodes of the first animation of a file; bones by their names, other nodes by theirs or their numbers.

    `rests`: its nodes rest as the target does. Those of a ``.vrma`` rest in a T-pose, from which no pose of a file of
    ours counts. `times`: seconds of the frames; None: the keys of the track that has most.
    """
    gltf, tracks = character.gltf, character.animations[0].tracks
    times = max((track.times for track in tracks), key=len) if times is None else times
    own = {(track.node, track.path): track for track in tracks}
    called = dict(zip(character.nodes.tolist(), character.skeleton.names, strict=True))
    taken = set(called.values())
    for node, name in enumerate(gltf.node_names):
        called.setdefault(node, name if name and name not in taken else f"node {node}")
        taken.add(called[node])
    called[-1] = ""
    rest = dict(zip(character.nodes.tolist(), usable(character.skeleton.rest)[:, :3, :3], strict=True))

    def values(node: int, path: str, still: np.ndarray) -> np.ndarray:
        track = own.get((node, path))
        if track is None:
            return still[node][:, None].astype(np.float32)
        exact = len(track.times) == 1 or np.array_equal(track.times, times) and track.values.ndim == 2
        return (track.values if exact else interpolated(track, times)).T.astype(np.float32)

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


def _fbx_joints(bones: Mapping[str, np.ndarray]) -> dict[str, _Joint]:
    """Bones as Blender has placed them in space."""

    def local(bone: int) -> tuple[np.ndarray, np.ndarray]:
        turns, places = (np.moveaxis(bones[key][:, bone], 0, -1).astype(np.float32) for key in ("turns", "places"))
        return turns, places

    return {name: _Joint("", partial(local, bone), _STILL) for bone, name in enumerate(bones["names"].tolist())}
