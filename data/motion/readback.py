"""What was written is read again and compared, joint by joint and frame by frame, with the pose that was meant.

The way back shares nothing with the way there: the file is read from disk, its joints are put where the file's own
hierarchy, rotations and places put them, and seen from its wrist. The pose meant is put together by the hand's own
forward kinematics.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from data.character.character import CharacterHand
from data.character.gltf import read_gltf_character
from data.formats.bvh import read_bvh
from data.formats.gltf import SUFFIXES as GLTF_SUFFIXES
from data.motion.mano_file import read_mano_motion
from data.rig.hand_map import ancestors
from model.kinematics import finger_chain, finger_positions
from model.topology import JOINTS_PER_FINGER, MIDDLE, N_JOINTS, ROOTS
from utils.errors import InputError

TOLERANCE = 1 / 900
"""How far a joint may be off, in lengths of the palm: a tenth of a millimetre at 9 cm."""


def check_written(path: Path, hands: Mapping[str, tuple[CharacterHand, np.ndarray]], scale: float = 1.0) -> float:
    """Compare a file with the poses it should hold.

    Args:
        path: the file that was written; ``.fbx`` files are not read again.
        hands: side → (hand of the target, (F, 5, 3, 3, 3) local rotations in the frame of features).
        scale: lengths of the hands, in those of the file.

    Returns:
        The largest distance of a joint from where it should be, in lengths of the palm.

    Raises:
        InputError: it differs; the file is gone then.
    """
    kind = path.suffix.lower()
    if kind == ".fbx":
        return 0.0
    worst = 0.0
    for side, (hand, local) in hands.items():
        meant = _meant(hand, local)
        found = _meant(hand, read_mano_motion(path).local) if kind == ".npz" else _found(path, hand, scale)
        if len(found) == 1:  # a motion that holds still is one key
            found = np.broadcast_to(found, meant.shape)
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
        path.unlink(missing_ok=True)
        raise InputError(
            f"{path}: read again after it was written, expected {problem}; the file was removed. Try another format, "
            f"or apply scale and rotation of the armature of {hand.name}"
        )
    return worst


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


def _found(path: Path, hand: CharacterHand, scale: float) -> np.ndarray:
    """(F, 21, 3) the joints of a hand in a file, from its wrist, in the frame of features; NaN where there is none."""
    listed = hand.map.listed
    names = [hand.skeleton.names[number] for number in hand.map.in_file(listed)]
    read = _by_gltf if path.suffix.lower() in GLTF_SUFFIXES else _by_bvh
    places, wrist = read(path, names)
    result = np.full((len(places), N_JOINTS, 3), np.nan)
    result[:, listed] = scale * (places - places[:, :1]) @ wrist @ hand.rest.turn.T
    return result


def _by_bvh(path: Path, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """(F, n, 3) places of joints, and (F, 3, 3) how the first one has turned since the rest pose."""
    bvh = read_bvh(path)
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
            place = places[above] + np.einsum("fij,fj->fi", turns[above], place)
            turns[joint] = turns[above] @ turns[joint]
        places[joint] = place
    return np.stack([places[joint] for joint in wanted], axis=1), turns[wanted[0]]


def _by_gltf(path: Path, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """As `_by_bvh`: of the first animation of a file."""
    character = read_gltf_character(path)
    bones = [character.skeleton.names.index(name) for name in names]
    places, turns = character.placed(0, bones)
    return places, turns[:, 0]
