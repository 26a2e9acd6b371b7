"""Retargeted motions as ``.vrma``: an animation of the bones of a human, for any VRM avatar (VRMC_vrm_animation 1.0).

Who plays one takes turns from the file's own rest pose, which is to be a T-pose. So the nodes rest there, whatever the
character does: arms and hands stretched sideways, fingers straight. Its motion is the same either way, because the
keys hold whole rotations. Between the bones that VRM names stand none: what others turn goes into the next named one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from data.character.character import CharacterHand
from data.character.gltf import read_gltf_character
from data.formats.bvh import Bvh
from data.formats.gltf import SUFFIXES as GLTF_SUFFIXES
from data.formats.gltf_writer import GltfFile
from data.motion.glb import METRES, add_animation, posed, quaternions
from data.motion.humanoid import humanoid
from data.rig.hand_map import ancestors
from data.rig.rotations import file_rotations
from model.kinematics import tbs_from_angles
from model.topology import BONES_PER_FINGER, FINGERS, N_FINGERS, ROOTS
from utils.errors import InputError

EXTENSION = "VRMC_vrm_animation"
_SEGMENTS = {"thumb": ("Metacarpal", "Proximal", "Distal")}
_OTHER_SEGMENTS = ("Proximal", "Intermediate", "Distal")
_CALLED = {"pinky": "little"}


def human_bones(path: Path, hands: Mapping[str, CharacterHand]) -> dict[str, int]:
    """Bone of a human in VRM's words (``hips``, ``leftIndexProximal``) → joint of the skeleton.

    Args:
        path: the character's file, whose own table counts if it is a VRM.
        hands: side → hand, all of one skeleton.

    Raises:
        InputError: it has no hips that both hands hang on.
    """
    skeleton = next(iter(hands.values())).skeleton
    found = _own_table(path) or {
        _vrm_word(bone): joint
        for bone, joint in _spine(
            humanoid(skeleton.names, skeleton.parents, {side: hand.map.wrist for side, hand in hands.items()})
        ).items()
    }
    if "hips" not in found:
        raise InputError(
            f"{path}: expected a body with hips for `format` vrma, found none that the hands hang on; use glb or bvh"
        )
    for side, hand in hands.items():
        for finger, root in zip(FINGERS, ROOTS, strict=True):
            word = f"{side}{_CALLED.get(finger, finger).capitalize()}"
            for bone, segment in enumerate(_SEGMENTS.get(finger, _OTHER_SEGMENTS)):
                index = hand.map.indices[root + bone]
                if index is not None:
                    found[word + segment] = index
        found[f"{side}Hand"] = hand.map.wrist
    return found


def write_vrma(
    path: str | os.PathLike, character: Path, hands: Mapping[str, CharacterHand], bvh: Bvh, name: str
) -> None:
    """Write an animation.

    Args:
        path: to write.
        character: the target's file.
        hands: side → hand of the target.
        bvh: the motion, whose joints are those of the target's skeleton in its order.
        name: of the animation.

    Raises:
        InputError: as of `human_bones`.
    """
    skeleton = next(iter(hands.values())).skeleton
    table = human_bones(character, hands)
    joints = {index for hand in hands.values() for index in hand.map.indices if index is not None}
    hips = table["hips"]
    kept = [joint for joint in sorted({*table.values(), *joints}) if hips in (joint, *ancestors(joint, bvh.parents))]
    above = {j: next((a for a in ancestors(j, bvh.parents) if a in kept), -1) for j in kept}
    turned, places = posed(bvh)
    rests = _t_pose(table, hands, above, skeleton.heads)
    file = GltfFile()
    file.json["asset"]["generator"] = "Semantics2Hands"
    node = {joint: number for number, joint in enumerate(kept)}
    rotations, positions = {}, {}
    for joint, parent in above.items():
        back = np.eye(3) if parent < 0 else rests[parent].T
        offset = skeleton.heads[joint] - (0 if parent < 0 else skeleton.heads[parent])
        content = {
            "name": skeleton.names[joint],
            "translation": (METRES * offset).tolist(),
            "rotation": quaternions((back @ rests[joint])[None])[0].astype(float).tolist(),
        }
        below = [node[each] for each in kept if above[each] == joint]
        file.append("nodes", {**content, "children": below} if below else content)
        over = np.eye(3) if parent < 0 else np.swapaxes(turned[:, parent], -1, -2)
        rotations[node[joint]] = quaternions(over @ turned[:, joint])
        if joint == hips:
            positions[node[joint]] = METRES * places[:, joint]
    file.append("scenes", {"name": name, "nodes": [node[joint] for joint in kept if above[joint] < 0]})
    file.json["scene"] = 0
    add_animation(file, name, bvh, rotations, positions)
    bones = {bone: {"node": node[joint]} for bone, joint in table.items() if joint in node}
    file.json["extensions"] = {EXTENSION: {"specVersion": "1.0", "humanoid": {"humanBones": bones}}}
    file.json["extensionsUsed"] = [EXTENSION]
    file.write(path)


def _own_table(path: Path) -> dict[str, int]:
    """The bones but fingers that a VRM file names itself, by their numbers in its skeleton."""
    if path.suffix.lower() not in GLTF_SUFFIXES or not path.is_file():
        return {}
    character = read_gltf_character(path, with_skin=False)
    place = {node: joint for joint, node in enumerate(character.nodes.tolist())}
    fingers = tuple(word.capitalize() for word in (*FINGERS, *_CALLED.values()))
    return {
        bone: place[node]
        for bone, node in character.gltf.humanoid.items()
        if node in place and not any(finger in bone for finger in fingers)
    }


def _spine(bones: Mapping[str, int]) -> dict[str, int]:
    """VRM's three bones of a spine out of any number: the lowest, the next, and the highest."""
    spine = [joint for bone, joint in bones.items() if bone.startswith("spine_")]
    named = zip(("spine", "chest", "upper_chest"), [*spine[:2], *spine[2:][-1:]], strict=False)
    return {**{bone: joint for bone, joint in bones.items() if not bone.startswith("spine_")}, **dict(named)}


def _vrm_word(bone: str) -> str:
    first, *others = bone.split("_")
    return first + "".join(word.capitalize() for word in others)


def _t_pose(
    table: Mapping[str, int], hands: Mapping[str, CharacterHand], above: Mapping[int, int], heads: np.ndarray
) -> dict[int, np.ndarray]:
    """Joint → (3, 3) how it is turned in space in a T-pose, seen from its rest pose."""
    own: dict[int, np.ndarray] = {}
    local: dict[int, np.ndarray] = {}
    for side, hand in hands.items():
        sideways = np.array([-1.0 if side == "right" else 1.0, 0, 0])
        for first, second in (("UpperArm", "LowerArm"), ("LowerArm", "Hand")):
            if side + first in table and side + second in table:
                start, end = table[side + first], table[side + second]
                own[start] = _arc(heads[end] - heads[start], sideways)
        own[hand.map.wrist] = hand.rest.turn
        flat = tbs_from_angles(hand.shaped.offsets.new_zeros(1, N_FINGERS, BONES_PER_FINGER, 3))
        straight = hand.shaped.with_tbs(flat).local.double().numpy()
        local.update({joint: turns[0] for joint, turns in file_rotations(hand.map, hand.rest, straight).items()})
    result: dict[int, np.ndarray] = {}
    for joint in sorted(above, key=lambda each: _depth(each, above)):
        parent = np.eye(3) if above[joint] < 0 else result[above[joint]]
        result[joint] = own[joint] if joint in own else parent @ local.get(joint, np.eye(3))
    return result


def _depth(joint: int, above: Mapping[int, int]) -> int:
    return 0 if above[joint] < 0 else 1 + _depth(above[joint], above)


def _arc(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The shortest turn from one direction to another."""
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    axis, cos = np.cross(start, end), float(start @ end)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    if cos < -1 + 1e-9:  # the other way round: half a turn about the vertical
        return np.diag([-1.0, 1.0, -1.0])
    return np.eye(3) + cross + cross @ cross / (1 + cos)
