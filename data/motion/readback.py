"""What was written is read again and compared, joint by joint and frame by frame, with the pose that was meant.

It happens before a file gets its name: one that is wrong never takes the place of an older one.

The way back shares nothing with the way there: the file is read from disk, its joints are put where the file's own
hierarchy, rotations and places put them, and seen from its wrist. The pose meant is put together by the hand's own
forward kinematics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from data.character.character import CharacterHand
from data.character.gltf import read_gltf_character
from data.formats.bvh import Bvh, read_bvh
from data.formats.gltf import SUFFIXES as GLTF_SUFFIXES
from data.motion.fbx import read_back_fbx
from data.motion.mano_file import read_mano_motion
from data.rig.hand_map import ancestors
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
    poses: Mapping[str, np.ndarray]
    """Side → (F, 5, 3, 3, 3) local rotations in the canonical frame, as the file has them; what the rig has no joint
    for is as it was meant."""


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
    whole = _Placed(path, blender, times)
    for side, (hand, local) in hands.items():
        meant = _meant(hand, local)
        if path.suffix.lower() == ".npz":
            poses[side] = read_mano_motion(path).local
            found = _meant(hand, poses[side])
        else:
            found, poses[side] = whole.hand(hand, local, scale)
        palm = float(np.linalg.norm(hand.rest.joints[ROOTS[MIDDLE]]))
        joints = _comparable(hand)
        if len(found) != len(meant):
            problem = f"{len(meant)} frames, found {len(found)}"
        else:
            away = np.linalg.norm(found[:, joints] - meant[:, joints], axis=-1) / palm
            worst = max(worst, float(np.nan_to_num(away, nan=np.inf).max(initial=0.0)))
            if worst <= TOLERANCE:
                continue
            frame, place = np.unravel_index(np.argmax(np.nan_to_num(away, nan=np.inf)), away.shape)
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
    """(F, 21, 3) centimetres from the wrist, in the frame of features: the bones of the hand, turned."""
    turns = finger_chain(torch.from_numpy(np.ascontiguousarray(local)).double())
    return finger_positions(turns, torch.from_numpy(hand.rest.whole_offsets)).numpy()


class _Placed:
    """Joints of a file, read once for all its hands."""

    def __init__(self, path: Path, blender: str | None, times: np.ndarray | None) -> None:
        self.path, self.kind, self.times = path, path.suffix.lower(), times
        if self.kind == ".bvh":
            self.file = read_bvh(path)
        elif self.kind in GLTF_SUFFIXES:
            self.file = read_gltf_character(path)
        elif self.kind == ".fbx":
            self.file = read_back_fbx(path, blender)

    def hand(self, hand: CharacterHand, local: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """(F, 21, 3) the joints of a hand from its wrist, in the frame of features, NaN where there is none; and the
        rotations of its bones."""
        listed = hand.map.listed
        names = [hand.skeleton.names[number] for number in hand.map.in_file(listed)]
        if self.kind in GLTF_SUFFIXES:  # of the first animation
            places, turns = self.file.placed(0, [self.file.skeleton.names.index(name) for name in names], self.times)
        else:
            places, turns = (_by_bvh if self.kind == ".bvh" else _by_fbx)(self.file, names)
        if len(places) == 1:  # a motion that holds still is one key
            places, turns = (np.broadcast_to(part, (len(local), *part.shape[1:])) for part in (places, turns))
        joints = np.full((len(places), N_JOINTS, 3), np.nan)
        joints[:, listed] = scale * (places - places[:, :1]) @ turns[:, 0] @ hand.rest.turn.T
        return joints, _local(hand, turns, local) if len(places) == len(local) else local


def _local(hand: CharacterHand, turns: np.ndarray, meant: np.ndarray) -> np.ndarray:
    """(F, 5, 3, 3, 3) each bone seen from the one above it, in the frame of features."""
    listed = hand.map.listed
    turned = hand.rest.turn @ turns @ hand.rest.turn.T
    result = np.array(meant, dtype=np.float64)
    for joint in listed:
        finger, bone = divmod(joint - 1, JOINTS_PER_FINGER)
        if joint and bone < BONES_PER_FINGER and finger < N_FINGERS:
            above = PARENTS[joint]
            while above not in listed:
                above = PARENTS[above]
            result[:, finger, bone] = (
                np.swapaxes(turned[:, listed.index(above)], -1, -2) @ turned[:, listed.index(joint)]
            )
    return result


def _by_bvh(bvh: Bvh, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """(F, n, 3) places of joints, and (F, n, 3, 3) how they have turned since the rest pose."""
    wanted = [bvh.joint_names.index(name) for name in names]
    needed = sorted({above for joint in wanted for above in (joint, *ancestors(joint, bvh.parents))})
    turns = dict(zip(needed, np.moveaxis(bvh.rotations(needed), 1, 0), strict=True))
    starts = np.cumsum([0, *map(len, bvh.channels)])
    places = {}
    for joint in needed:  # every joint stands after the one above it
        place = np.broadcast_to(bvh.offsets[joint], (bvh.n_frames, 3)).copy()
        for column, channel in enumerate(bvh.channels[joint], start=starts[joint]):
            if channel.endswith("position"):
                place[:, "XYZ".index(channel[0])] = bvh.values[:, column]
        above = int(bvh.parents[joint])
        if above >= 0:
            place = places[above] + (turns[above] @ place[..., None])[..., 0]
            turns[joint] = turns[above] @ turns[joint]
        places[joint] = place
    return np.stack([places[joint] for joint in wanted], axis=1), np.stack([turns[joint] for joint in wanted], axis=1)


def _by_fbx(bones: Mapping[str, np.ndarray], names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """As `_by_bvh`."""
    order = [bones["names"].tolist().index(name) for name in names]
    return bones["places"][:, order], bones["turns"][:, order]
