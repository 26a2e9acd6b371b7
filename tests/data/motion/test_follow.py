"""A body that follows another: the same limbs in space, feet that stand as the source's, any names and stance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data.character.reading import Reading
from data.formats.bvh import Bvh, write_bvh
from data.formats.skeleton import Skeleton
from data.motion.body import bodies, whole_motion
from data.motion.follow import between
from data.motion.glb import posed
from data.motion.humanoid import humanoid
from data.motion.reading import read_motions
from tests.data.rig.rigs import character, skeleton
from utils import scratch
from utils.errors import InputError

FRAMES = 40
BIPED = {
    "Hips": "Bip01 Pelvis",
    "Spine": "Bip01 Spine",
    "UpLeg": "Thigh",
    "Leg": "Calf",
    "Foot": "Foot",
    "Toes": "Toe0",
}


def whole_body(legs=(40.0, 40.0), foot=15.0, arm_down=0.0, wide=10.0, biped=False, seed=0):
    """The hands on an arm of two bones and a body with legs that stands on y = 0."""
    bones = skeleton(seed=seed)
    names, parents, heads = list(bones.names), list(bones.parents), list(bones.heads)
    hips = np.array([0.0, 8 + sum(legs) * 0.995, 0])
    heads = [head + hips - heads[0] for head in heads]
    for side, sign in (("Right", -1.0), ("Left", 1.0)):
        arm, hand = names.index(f"{side}Arm"), names.index(f"{side}Hand")
        below = [hand, *(j for j, name in enumerate(names) if name.startswith(f"{side}Hand") and j != hand)]
        names.append(f"{side}ForeArm")
        parents.append(arm)
        heads.append((heads[arm] + heads[hand]) / 2)
        parents[hand] = len(names) - 1
        turn = Rotation.from_euler("z", -sign * arm_down, degrees=True).as_matrix()
        for joint in (*below, len(names) - 1):
            heads[joint] = heads[arm] + turn @ (heads[joint] - heads[arm])
        hip = hips + [sign * wide, -2, 0]
        knee = hip + [0, -0.995 * legs[0], 0.0998 * legs[0]]
        ankle = knee + [0, -0.995 * legs[1], -0.0998 * legs[1]]
        above = 1 if biped else 0
        for bone, head in (("UpLeg", hip), ("Leg", knee), ("Foot", ankle), ("Toes", ankle + [0, -6.0, foot])):
            names.append(f"Bip01 {side[0]} {BIPED[bone]}" if biped else f"{side}{bone}")
            parents.append(above)
            heads.append(head)
            above = len(names) - 1
    if biped:
        names[0], names[1] = BIPED["Hips"], BIPED["Spine"]
    order = []
    waiting = [0]
    while waiting:
        order.append(waiting.pop())
        waiting += [joint for joint, parent in enumerate(parents) if parent == order[-1]]
    place = {joint: number for number, joint in enumerate(order)}
    return replace(
        bones,
        names=tuple(names[joint] for joint in order),
        parents=np.array([place.get(parents[joint], -1) for joint in order]),
        heads=np.array([heads[joint] for joint in order]),
    )


def dance(bones, tmp_path):
    """Knees bent and a turn to and fro, with both feet planted; the arms swing."""
    time = np.linspace(0, 2 * np.pi, FRAMES)
    turned = np.broadcast_to(np.eye(3), (FRAMES, len(bones.names), 3, 3)).copy()
    at = bones.names.index
    bend = 25 + 20 * np.sin(time)
    for side in ("Right", "Left"):
        for bone, angle in (("UpLeg", -bend), ("Leg", 2 * bend), ("Foot", -bend)):
            turned[:, at(side + bone)] = Rotation.from_euler("x", angle[:, None], degrees=True).as_matrix()
        turned[:, at(side + "Arm")] = Rotation.from_euler("z", 40 * np.sin(time)[:, None], degrees=True).as_matrix()
    turned[:, at("Spine")] = Rotation.from_euler("y", 30 * np.sin(time)[:, None], degrees=True).as_matrix()
    bvh = Bvh.from_rotations(bones.names, bones.parents, bones.offsets, turned, frame_time=1 / 30,
                             root_positions=np.broadcast_to(bones.heads[0], (FRAMES, 3)))  # fmt: skip
    _, places = posed(bvh)
    root = bones.heads[0] + (bones.heads[at("RightFoot")] - places[:, at("RightFoot")])
    bvh = Bvh.from_rotations(bones.names, bones.parents, bones.offsets, turned, frame_time=1 / 30, root_positions=root)
    write_bvh(tmp_path / "dance.bvh", bvh)
    (motion,) = read_motions(tmp_path / "dance.bvh", Reading(Path(".")))
    return motion


def twist(bones, tmp_path):
    """Both feet turn to and fro on their toes."""
    turned = np.broadcast_to(np.eye(3), (FRAMES, len(bones.names), 3, 3)).copy()
    yaw = 25 * np.sin(np.linspace(0, 4 * np.pi, FRAMES))[:, None]
    at = bones.names.index
    turned[:, 0] = Rotation.from_euler("y", yaw, degrees=True).as_matrix()
    toes = np.mean([bones.heads[at(f"{side}Toes")] for side in ("Right", "Left")], axis=0)
    for side in ("Right", "Left"):
        turned[:, at(f"{side}UpLeg")] = np.swapaxes(turned[:, 0], -1, -2)
        turned[:, at(f"{side}Foot")] = turned[:, 0]
    bvh = Bvh.from_rotations(bones.names, bones.parents, bones.offsets, turned, frame_time=1 / 30,
                             root_positions=np.broadcast_to(bones.heads[0], (FRAMES, 3)))  # fmt: skip
    places = posed(bvh)[1]
    middle = np.mean([places[:, at(f"{side}Toes")] for side in ("Right", "Left")], axis=0)
    bvh = Bvh.from_rotations(bones.names, bones.parents, bones.offsets, turned, frame_time=1 / 30,
                             root_positions=bones.heads[0] + toes - middle)  # fmt: skip
    write_bvh(tmp_path / "twist.bvh", bvh)
    (motion,) = read_motions(tmp_path / "twist.bvh", Reading(Path(".")))
    return motion


def rest_poses(target):
    return {side: np.broadcast_to(np.eye(3), (FRAMES, 5, 3, 3, 3)) for side in target.hands}


@pytest.mark.parametrize(
    "options",
    [
        {"legs": (30.0, 24.0)},
        {"foot": 28.0},
        {"arm_down": 45.0},
        {"wide": 18.0},
        {"biped": True, "legs": (45.0, 50.0)},
    ],
    ids=["short legs", "long feet", "A-pose", "wide hips", "legs on the spine"],
)
def test_limbs_point_as_the_sources_and_planted_feet_stay(tmp_path, options):
    motion = dance(whole_body(), tmp_path)
    target = character(whole_body(seed=3, **options), tmp_path)
    whole = whole_motion(target.hands, rest_poses(target), motion)
    assert whole.body_kept
    source, own = bodies(target.skeleton, target.hands, motion)
    before, after = posed(motion.bvh)[1], posed(whole.bvh)[1]
    for side in ("right", "left"):
        for bone in ("foot", "toes"):
            slid, there = (np.ptp(places[:, body.bones[f"{side}_{bone}"]], axis=0)
                           for places, body in ((after, own), (before, source)))  # fmt: skip
            assert (slid / own.leg_length - there / source.leg_length).max() < 0.01, (side, bone)
        low = after[:, own.bones[f"{side}_toes"], 1].min() - own.head(f"{side}_toes")[1]
        assert low > -0.01 * own.leg_length
        ways = []
        for places, body in ((before, source), (after, own)):
            way = places[:, body.bones[f"{side}_hand"]] - places[:, body.bones[f"{side}_lower_arm"]]
            ways.append(way / np.linalg.norm(way, axis=-1, keepdims=True))
        assert np.degrees(np.arccos(np.clip((ways[0] * ways[1]).sum(-1), -1, 1))).max() < 1e-3


@pytest.mark.parametrize("foot", [8.0, 30.0])
def test_long_feet_that_turn_on_their_toes_stay_there(tmp_path, foot):
    motion = twist(whole_body(), tmp_path)
    target = character(whole_body(seed=3, foot=foot), tmp_path)
    whole = whole_motion(target.hands, rest_poses(target), motion)
    source, own = bodies(target.skeleton, target.hands, motion)
    before, after = posed(motion.bvh)[1], posed(whole.bvh)[1]
    for side in ("right", "left"):
        slid, there = (np.ptp(places[:, body.bones[f"{side}_toes"]], axis=0).max() / body.leg_length
                       for places, body in ((after, own), (before, source)))  # fmt: skip
        assert slid - there < 0.01, (slid, there)


@pytest.mark.parametrize("wide", [6.0, 18.0])
def test_feet_stand_under_hips_of_another_width(tmp_path, wide):
    motion = dance(whole_body(), tmp_path)
    target = character(whole_body(seed=3, wide=wide), tmp_path)
    _, own = bodies(target.skeleton, target.hands, motion)
    places = posed(whole_motion(target.hands, rest_poses(target), motion).bvh)[1]
    apart = np.linalg.norm(places[:, own.bones["left_foot"]] - places[:, own.bones["right_foot"]], axis=-1)
    assert np.abs(apart - 2 * wide).max() < 0.1


STANCES = {
    "looks back": [[-1.0, 0, 0], [0, 1, 0], [0, 0, -1]],
    "z up": [[1.0, 0, 0], [0, 0, -1], [0, 1, 0]],
    "z up, looks along x": [[0.0, 0, 1], [1, 0, 0], [0, 1, 0]],
}


@pytest.mark.parametrize("stance", STANCES.values(), ids=STANCES)
def test_bodies_that_stand_otherwise_in_their_files(tmp_path, stance):
    """As a target (VRM 0.x looks back) and as a source (BVH with z up): the same dance, seen from there."""
    turn = np.array(stance)
    plain, bones = whole_body(seed=3, legs=(30.0, 24.0)), whole_body()
    motion = dance(bones, tmp_path)
    own = character(plain, tmp_path)
    meant = posed(whole_motion(own.hands, rest_poses(own), motion).bvh)[1]
    joints = list(bodies(own.skeleton, own.hands, motion)[1].bones.values())
    turned = character(replace(plain, heads=plain.heads @ turn.T), tmp_path)
    found = posed(whole_motion(turned.hands, rest_poses(turned), motion).bvh)[1]
    np.testing.assert_allclose(found[:, joints], meant[:, joints] @ turn.T, atol=1e-4)
    places = posed(motion.bvh)[1][:, 0] @ turn.T
    write_bvh(tmp_path / "turned.bvh", Bvh.from_rotations(
        bones.names, bones.parents, bones.offsets @ turn.T, turn @ motion.bvh.rotations() @ turn.T, frame_time=1 / 30,
        root_positions=places))  # fmt: skip
    (other,) = read_motions(tmp_path / "turned.bvh", Reading(Path(".")))
    found = posed(whole_motion(own.hands, rest_poses(own), other).bvh)[1]
    np.testing.assert_allclose(found[:, joints], meant[:, joints], atol=1e-3)


def test_the_bones_of_a_body_are_those_of_its_files_own_table(tmp_path):
    words = {"Hips": "hips", "Spine": "spine"}
    for side in ("Left", "Right"):
        called = {"Arm": "UpperArm", "ForeArm": "LowerArm", "Hand": "Hand", "UpLeg": "UpperLeg", "Leg": "LowerLeg",
                  "Foot": "Foot", "Toes": "Toes"}  # fmt: skip
        words |= {f"{side}{own}": f"{side.lower()}{human}" for own, human in called.items()}
    bones = whole_body(seed=3, legs=(30.0, 24.0))
    wrists = {side: bones.names.index(f"{side.capitalize()}Hand") for side in ("right", "left")}
    table = {words[name]: joint for joint, name in enumerate(bones.names) if name in words}
    nameless = replace(bones, names=tuple(f"Bone.{joint:03d}" for joint in range(len(bones.names))), human=table)
    assert humanoid(nameless, wrists) == {
        bone: joint for bone, joint in humanoid(bones, wrists).items() if "shoulder" not in bone
    }


def test_a_motion_on_its_own_skeleton_is_itself(tmp_path):
    motion = dance(whole_body(), tmp_path)
    target = character(whole_body(), tmp_path)
    whole = whole_motion(target.hands, rest_poses(target), motion)
    arm = whole.bvh.joint_names.index("RightArm")
    assert np.array_equal(whole.bvh.rotations([arm]), motion.bvh.rotations([arm]))


def test_twist_bones_are_left_to_what_drives_them(tmp_path):
    """Of another skeleton; on their own they are part of the motion."""

    def twisted(**options):
        bones = whole_body(**options)
        arm = bones.names.index("RightArm")
        return replace(bones, names=(*bones.names, "RightArmTwist"), parents=np.append(bones.parents, arm),
                       heads=np.vstack([bones.heads, bones.heads[arm] + [-1.0, 0, 0]]))  # fmt: skip

    motion = dance(twisted(), tmp_path)
    column = motion.bvh.values.shape[1] - 1
    motion.bvh.values[:, column] = 20.0
    for options, angle in (({}, 20.0), ({"legs": (44.0, 40.0)}, 0.0)):
        target = character(twisted(**options), tmp_path)
        bvh = whole_motion(target.hands, rest_poses(target), motion).bvh
        turned = bvh.rotations([bvh.joint_names.index("RightArmTwist")])
        assert np.degrees(Rotation.from_matrix(turned[:, 0]).magnitude()) == pytest.approx(angle, abs=1e-4)


def test_a_body_rests_where_it_shall_and_none_follows_without_legs(tmp_path):
    motion = dance(whole_body(), tmp_path)
    target = character(whole_body(legs=(30.0, 30.0)), tmp_path)
    assert not whole_motion(target.hands, rest_poses(target), motion, "rest").body_kept
    legless = character(skeleton(), tmp_path)
    with pytest.raises(InputError, match="expected two bodies with hips, legs and feet"):
        whole_motion(legless.hands, rest_poses(legless), motion, "follow")


def test_a_file_whose_rest_is_no_pose_moves_no_body(tmp_path):
    """Each bone lies along its own axis there, so that legs stand up from the hips."""
    bones = whole_body()
    heads = bones.heads.copy()
    for joint, name in enumerate(bones.names):
        if name.endswith(("Leg", "Foot", "Toes")):
            heads[joint, 1] = 2 * bones.heads[0, 1] - heads[joint, 1]
    motion = dance(replace(bones, heads=heads), tmp_path)
    target = character(whole_body(seed=3), tmp_path)
    assert bodies(target.skeleton, target.hands, motion) is None
    assert not whole_motion(target.hands, rest_poses(target), motion).body_kept
    with pytest.raises(InputError, match="which stand at rest, for `body` follow"):
        whole_motion(target.hands, rest_poses(target), motion, "follow")


def test_helpers_are_no_bones_of_the_body():
    names = (
        "root",
        "pelvis",
        "spine_01",
        "upperarm_twist_r",
        "upperarm_r",
        "lowerarm_r",
        "hand_r",
        "thigh_r",
        "calf_r",
    )
    found = humanoid(Skeleton(names, np.array([-1, 0, 1, 2, 2, 4, 5, 1, 7]), np.zeros((9, 3))), {"right": 6})
    assert {bone: names[joint] for bone, joint in found.items()} == {
        "hips": "pelvis", "spine_0": "spine_01", "right_upper_arm": "upperarm_r", "right_lower_arm": "lowerarm_r",
        "right_hand": "hand_r", "right_upper_leg": "thigh_r", "right_lower_leg": "calf_r",
    }  # fmt: skip


def test_the_smallest_turn():
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(2, 20, 3))
    found = np.einsum("fij,fj->fi", between(first, second), first)
    units = [way / np.linalg.norm(way, axis=-1, keepdims=True) for way in (found, second)]
    np.testing.assert_allclose(*units, atol=1e-9)


def test_the_size_of_a_block_does_not_matter(tmp_path, monkeypatch):
    motion, target = dance(whole_body(), tmp_path), character(whole_body(seed=3, foot=28.0), tmp_path)
    values = []
    for size in (4096, 7):
        monkeypatch.setattr(scratch, "FRAMES", size)
        values.append(whole_motion(target.hands, rest_poses(target), motion).bvh.values)
    np.testing.assert_allclose(values[1], values[0], rtol=0, atol=1e-9)
