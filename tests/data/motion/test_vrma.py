"""``.vrma``: the structure that VRM asks for, and the motion that comes back out of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from data.character.reading import Reading, read_character
from data.formats.gltf import read_container, read_gltf
from data.formats.gltf_writer import GltfFile
from data.motion.reading import read_motions
from data.motion.vrma import human_bones
from data.motion.writing import Job, check_target, output_paths, write_motion
from model.kinematics import tbs_from_angles
from tests.data.motion.test_writing import body_motion, difference
from tests.data.rig.rigs import character, skeleton
from utils.errors import InputError

SIDES = ("right", "left")
DOWN = np.array([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1.0]])  # hands that point obliquely at rest


def bent(character) -> tuple[dict, dict]:
    """Twist-bend-splay rotations and the poses that they are on a character's hands."""
    angles = torch.zeros(5, 5, 3, 3)
    angles[..., 1] = torch.linspace(0, 1, 5)[:, None, None] * torch.tensor([1.0, 1.2, 0.8])
    angles[..., 0, 2] = 0.1
    tbs = tbs_from_angles(angles)
    return dict.fromkeys(SIDES, tbs), {
        side: hand.shaped.with_tbs(tbs).local.double().numpy() for side, hand in character.hands.items()
    }


@pytest.mark.parametrize(
    "options", [{}, {"turn": DOWN}, {"metacarpals": True}, {"without": ("pinky",)}, {"tips": False}]
)
def test_a_motion_comes_back_with_the_same_bends(tmp_path, options):
    motion, target = body_motion(skeleton(), tmp_path), character(skeleton(**options), tmp_path)
    tbs, poses = bent(target)
    (path,), _ = write_motion(Job(motion, target, poses), output_paths(target, SIDES, tmp_path / "o", ["vrma"], False))
    assert path.suffix == ".vrma"
    (again,) = read_motions(path, Reading(tmp_path, fps=30))
    for side, track in again.tracks.items():
        found = track.hand.shaped.with_local_rotations(track.local).tbs
        there = torch.from_numpy(track.present[[1, 5, 9, 13, 17]])
        assert there.sum() == 5 - len(options.get("without", ()))
        there[4] = False  # the made characters' thumbs have axes that no estimate gives
        bends = torch.atan2(found[..., 0, 2], found[..., 2, 2])[:, there]
        expected = torch.atan2(tbs[side][..., 0, 2], tbs[side][..., 2, 2])[:, there]
        joints = 3 if options.get("tips", True) else 2  # where a last bone ends, skin tells, which a .vrma lacks
        assert (bends - expected)[..., :joints].abs().max() < 0.05  # axes of bare bones are estimated anew
        bones = np.diff(track.hand.rest.joints[1:4], axis=0)
        assert np.linalg.norm(np.cross(*bones)) < 1e-3 * np.prod(np.linalg.norm(bones, axis=1))  # in line at rest


def test_the_structure_is_vrms(tmp_path):
    motion, target = body_motion(skeleton(), tmp_path), character(skeleton(turn=DOWN), tmp_path)
    poses = bent(target)[1]
    (path,), _ = write_motion(Job(motion, target, poses), output_paths(target, SIDES, tmp_path / "o", ["vrma"], False))
    content, _ = read_container(path)
    extension = content["extensions"]["VRMC_vrm_animation"]
    assert content["extensionsUsed"] == ["VRMC_vrm_animation"] and extension["specVersion"] == "1.0"
    bones = {bone: entry["node"] for bone, entry in extension["humanoid"]["humanBones"].items()}
    assert bones == read_gltf(path).humanoid
    names = {bone: content["nodes"][node]["name"] for bone, node in bones.items()}
    assert names["hips"] == "Hips" and names["leftHand"] == "LeftHand"
    assert names["rightThumbMetacarpal"] == "RightHandThumb1" and names["rightLittleDistal"] == "RightHandPinky3"
    assert len(bones) == len(set(bones.values())) >= 2 * 16 + 1
    assert "meshes" not in content and len(content["animations"]) == 1
    moved = {channel["target"]["node"] for channel in content["animations"][0]["channels"]
             if channel["target"]["path"] == "translation"}  # fmt: skip
    assert moved <= {bones["hips"]}  # nothing else may
    children = {child for node in content["nodes"] for child in node.get("children", [])}
    assert content["scenes"][content["scene"]]["nodes"] == sorted({*range(len(content["nodes"]))} - children)


def test_fingers_rest_straight_and_hands_sideways(tmp_path):
    target = character(skeleton(turn=DOWN), tmp_path)
    motion = body_motion(skeleton(), tmp_path)
    (path,), _ = write_motion(Job(motion, target, bent(target)[1]),
                              output_paths(target, SIDES, tmp_path / "o", ["vrma"], False))  # fmt: skip
    (again,) = read_motions(path, Reading(tmp_path, fps=30))
    for side, track in again.tracks.items():
        assert np.array_equal(track.hand.rest.turn, np.eye(3)), side
    hips = motion.bvh.joint_names.index("Hips")
    own = again.bvh.joint_names.index("Hips")
    assert difference(again.bvh.rotations([own]), motion.bvh.rotations([hips])) < 1e-3


def test_a_hand_alone_is_refused(tmp_path):
    target = character(skeleton(), tmp_path)
    names = tuple(name.replace("Hips", "thing") for name in target.skeleton.names)
    hands = {side: replace(hand, skeleton=replace(hand.skeleton, names=names)) for side, hand in target.hands.items()}
    with pytest.raises(InputError, match="expected a body with hips for `format` vrma"):
        check_target(replace(target, hands=hands), ["vrma"])
    assert human_bones(target.path, target.hands)["hips"] == 0


def test_the_table_of_a_vrm_target_stays(tmp_path):
    """A motion written into a user's VRM leaves its extensions as they are."""
    motion, target = body_motion(skeleton(), tmp_path), character(skeleton(), tmp_path)
    poses = bent(target)[1]
    ((path,), _) = write_motion(
        Job(motion, target, poses), output_paths(target, SIDES, tmp_path / "o", ["glb"], False)
    )
    content, buffers = read_container(path)
    nodes = {node["name"]: number for number, node in enumerate(content["nodes"])}
    table = {bone: {"node": nodes[target.skeleton.names[joint]]}
             for bone, joint in human_bones(target.path, target.hands).items()}  # fmt: skip
    extensions = {"VRMC_vrm": {"specVersion": "1.0", "humanoid": {"humanBones": table}}}
    for number, node in enumerate(content["nodes"]):  # names that tell nothing
        node["name"] = f"n{number}"
    file = GltfFile({**content, "extensions": extensions, "extensionsUsed": ["VRMC_vrm"]}, buffers)
    file.write(tmp_path / "me.vrm")
    me = read_character(str(tmp_path / "me.vrm"), Reading(tmp_path))
    for kind in ("glb", "vrma"):
        ((again,), _) = write_motion(Job(motion, me, poses), output_paths(me, SIDES, tmp_path / "me", [kind], False))
        assert again.suffix == f".{kind}"
        assert {*read_gltf(again).humanoid} == {*table}
    assert read_container(tmp_path / "me.glb")[0]["extensions"] == extensions
