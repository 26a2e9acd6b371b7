"""Characters from glTF files: bind pose, skins, motions."""

import numpy as np
import pytest

from data.character.gltf import interpolated, read_gltf_character
from data.character.reading import Reading, gltf_character
from data.formats.gltf import Track
from tests.data.rig.schemes import SCHEMES, made
from tests.gltf_files import GltfFile, animate, small_arm, translation
from utils.errors import InputError

HEADS = np.array([[0, 100, 0], [-20, 100, 0], [-50, 100, 0], [-60, 100, 2]])
HALF = np.sqrt(0.5)


def read(file, path, **more):
    return read_gltf_character(file.write(path / "a.glb"), **more)


def test_bones_and_skin(tmp_path):
    character = read(small_arm(), tmp_path)
    assert character.skeleton.names == ("Root", "Arm", "Hand", "Finger")
    np.testing.assert_array_equal(character.skeleton.parents, [-1, 0, 1, 2])
    np.testing.assert_allclose(character.skeleton.heads, HEADS, atol=1e-5)
    np.testing.assert_allclose(character.skeleton.axes, np.broadcast_to(np.eye(3), (4, 3, 3)), atol=1e-12)
    assert character.skin.vertices.shape == (32, 3) and character.skin.faces.shape == (48, 3)
    np.testing.assert_array_equal(character.skin.weights, np.repeat(np.eye(4), 8, axis=0))
    np.testing.assert_allclose(character.skin.vertices[24:].min(axis=0), [-69, 99, 1], atol=1e-5)


def test_the_bind_pose_counts_wherever_the_nodes_stand(tmp_path):
    file = small_arm(animated=False)
    file.json["nodes"][1]["rotation"] = [0, 0, HALF, HALF]
    file.json["nodes"][3]["translation"] = [0, -0.3, 0]
    posed, still = read(file, tmp_path), read(small_arm(False), tmp_path)
    np.testing.assert_allclose(posed.skeleton.rest, still.skeleton.rest, atol=1e-5)
    np.testing.assert_allclose(posed.skin.vertices, still.skin.vertices, atol=1e-5)


def test_a_scaled_and_turned_parent(tmp_path):
    """Exporters put centimetres under a node that scales by 0.01 and turns z up to y up."""
    file = small_arm(animated=False)
    turn = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 100.0]]) / 100
    top = file.node("Armature", children=[0], matrix=(turn.T.ravel()).tolist())
    back = np.linalg.inv(turn)
    heads = np.concatenate([HEADS / 100, np.ones((4, 1))], axis=1) @ back.T
    for node, head, parent in zip(range(4), heads, [np.zeros(4), *heads], strict=False):
        file.json["nodes"][node]["translation"] = (head - parent)[:3].tolist()
    vertices = np.frombuffer(bytes(file.binary), "<f4", 96, file.json["bufferViews"][1]["byteOffset"]).reshape(32, 3)
    file.json["meshes"][0]["primitives"][0]["attributes"]["POSITION"] = file.add(vertices @ back[:3, :3].T)
    file.json["skins"][0]["inverseBindMatrices"] = file.matrices([translation(*-head[:3]) for head in heads])
    assert top == 5
    character = read(file, tmp_path)
    still = read(small_arm(False), tmp_path)
    np.testing.assert_allclose(character.skeleton.heads, HEADS, atol=1e-4)
    np.testing.assert_allclose(character.skin.vertices, still.skin.vertices, atol=1e-4)
    np.testing.assert_allclose(character.skeleton.axes[0], [[1, 0, 0], [0, 0, -1], [0, 1, 0]], atol=1e-6)


def test_bones_between_joints_and_several_skins(tmp_path):
    """The hand is a bone although no skin lists it, and a second mesh has a skin of its own on the last bone."""
    file = small_arm(animated=False)
    skin = file.json["skins"][0]
    skin["joints"] = [0, 1]
    skin["inverseBindMatrices"] = file.matrices([translation(0, -1, 0), translation(0.2, -1, 0)])
    primitive = file.json["meshes"][0]["primitives"][0]
    primitive["indices"] = file.add(np.arange(12).reshape(-1, 1), "u2")
    corners = file.add([[0.0, 0, 0], [0.1, 0, 0], [0, 0.1, 0]])
    joints, weights = file.add(np.zeros((3, 4)), "u2"), file.add(np.tile([255, 0, 0, 0], (3, 1)), "u1", True)
    attributes = {"POSITION": corners, "JOINTS_0": joints, "WEIGHTS_0": weights}
    own = file.append("skins", {"joints": [3], "inverseBindMatrices": file.matrices([np.eye(4)])})
    file.node("Nail", mesh=file.append("meshes", {"primitives": [{"attributes": attributes}]}), skin=own)
    character = read(file, tmp_path)
    assert character.skeleton.names == ("Root", "Arm", "Hand", "Finger")
    np.testing.assert_allclose(character.skeleton.heads, HEADS, atol=1e-5)
    np.testing.assert_allclose(character.skin.vertices[-3:], HEADS[3] + [[0, 0, 0], [10, 0, 0], [0, 10, 0]], atol=1e-5)
    np.testing.assert_array_equal(character.skin.weights[-3:, 3], 1)


def test_second_set_of_joints(tmp_path):
    file = small_arm(animated=False)
    attributes = file.json["meshes"][0]["primitives"][0]["attributes"]
    attributes["WEIGHTS_0"] = file.add(np.tile([0.3, 0, 0, 0], (32, 1)))
    attributes["JOINTS_1"] = file.add(np.tile([3, 0, 0, 0], (32, 1)), "u1")
    attributes["WEIGHTS_1"] = file.add(np.tile([0.1, 0, 0, 0], (32, 1)))
    weights = read(file, tmp_path).skin.weights
    np.testing.assert_allclose(weights[0], [0.75, 0, 0, 0.25], atol=1e-6)
    np.testing.assert_allclose(weights[-1], [0, 0, 0, 1], atol=1e-6)


def test_rigid_meshes_follow_their_bone_and_others_are_left_out(tmp_path):
    file = small_arm(animated=False)
    mesh = file.append("meshes", {"primitives": [{"attributes": {"POSITION": file.add(np.eye(3) / 10)}}]})
    file.node("Ring", 3, mesh=mesh, translation=[0, 0.5, 0])
    file.node("Floor", mesh=mesh)
    character = read(file, tmp_path)
    np.testing.assert_allclose(character.skin.vertices[-3:], HEADS[3] + [0, 50, 0] + 10 * np.eye(3), atol=1e-5)
    np.testing.assert_array_equal(character.skin.weights[-1], [0, 0, 0, 1])
    assert character.notes == ("1 meshes that no bone moves were left out",)


def test_seams_are_welded(tmp_path):
    file = small_arm(animated=False)
    primitive = file.json["meshes"][0]["primitives"][0]
    repeated = np.concatenate([np.arange(24, 32)] * 2)
    data = bytes(file.binary)
    vertices = np.frombuffer(data, "<f4", 96, file.json["bufferViews"][1]["byteOffset"]).reshape(32, 3)[repeated]
    joints = np.tile([3, 0, 0, 0], (16, 1))
    primitive["attributes"] = {
        "POSITION": file.add(vertices), "JOINTS_0": file.add(joints, "u1"), "WEIGHTS_0": file.add((joints > 0) * 1.0),
    }  # fmt: skip
    primitive["indices"] = file.add([[0], [1], [2], [8], [9], [11], [0], [8], [1]], "u1")
    skin = read(file, tmp_path).skin
    assert len(skin.vertices) == 4
    np.testing.assert_array_equal(skin.faces, [[0, 1, 2], [0, 1, 3]])  # the third had no area


def test_motion(tmp_path):
    character = read(small_arm(), tmp_path)
    assert character.clips == ("wave",)
    bvh = character.motion(0, 10)
    assert (bvh.joint_names, bvh.n_frames, bvh.frame_time) == (character.skeleton.names, 11, 0.1)
    np.testing.assert_allclose(bvh.offsets, [[0, 100, 0], [-20, 0, 0], [-30, 0, 0], [-10, 0, 2]], atol=1e-5)
    np.testing.assert_allclose(bvh.values[:, :3], np.tile([0, 100, 0], (11, 1)), atol=1e-9)
    np.testing.assert_allclose(bvh.values[:, 11], np.linspace(0, 90, 11), atol=1e-4)  # z of the hand
    others = np.delete(bvh.values, 11, axis=1)[:, 3:]
    np.testing.assert_allclose(others, 0, atol=1e-6)
    ((leaf, end),) = bvh.end_sites
    assert leaf == 3
    np.testing.assert_allclose(end, [-(83**0.5), 0, 0], atol=1e-4)  # as far as the corners of its box of skin


def test_motion_is_relative_to_the_bind_pose(tmp_path):
    file = small_arm()
    file.json["nodes"][1]["rotation"] = [HALF, 0, 0, HALF]
    bvh = read(file, tmp_path).motion(0, 10)
    np.testing.assert_allclose(bvh.values[:, 6], 90, atol=1e-4)  # x of the arm
    np.testing.assert_allclose(bvh.rotations([2])[-1, 0], [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-6)


def test_animated_nodes_above_the_skeleton_move_its_root(tmp_path):
    file = small_arm(animated=False)
    top = file.node("Armature", children=[0])
    animate(file, "walk", top, "translation", [0.0, 1.0], [[0, 0, 0], [0, 0, 1.0]])
    animate(file, "walk", 1, "scale", [0.0, 1.0], [[1, 1, 1], [2, 2, 2.0]])
    bvh = read(file, tmp_path).motion(0, 2)
    np.testing.assert_allclose(bvh.values[:, :3], [[0, 100, 0], [0, 100, 50], [0, 100, 100]], atol=1e-5)
    np.testing.assert_allclose(bvh.values[:, 3:], 0, atol=1e-9)


def track(interpolation, values, path="translation", times=(0.0, 2.0)):
    return Track(0, path, np.array(times), np.array(values, dtype=float), interpolation)


def test_interpolation():
    times = np.array([-1, 0, 0.5, 1, 2, 3.0])
    ramp = [[0, 0, 0], [4, 0, 0]]
    np.testing.assert_allclose(interpolated(track("LINEAR", ramp), times)[:, 0], [0, 0, 1, 2, 4, 4])
    np.testing.assert_allclose(interpolated(track("STEP", ramp), times)[:, 0], [0, 0, 0, 0, 4, 4])
    cubic = [[[9, 0, 0], [0, 0, 0], [1, 0, 0]], [[-1, 0, 0], [4, 0, 0], [9, 0, 0]]]
    t = 0.25
    expected = 2 * (t**3 - 2 * t**2 + t) + 4 * (3 * t**2 - 2 * t**3) - 2 * (t**3 - t**2)
    np.testing.assert_allclose(interpolated(track("CUBICSPLINE", cubic), times)[:, 0], [0, 0, expected, 2.5, 4, 4])
    one = track("LINEAR", [[7, 8, 9]], times=[1.0])
    np.testing.assert_array_equal(interpolated(one, times), np.tile([7.0, 8, 9], (6, 1)))


def test_rotations_take_the_shorter_way():
    half = np.radians(30) / 2
    far = [0, 0, -np.sin(half), -np.cos(half)]  # the same rotation as its negative
    values = interpolated(track("LINEAR", [[0, 0, 0, 1], far], "rotation"), np.array([0, 1, 2.0]))
    angles = 2 * np.degrees(np.arctan2(values[:, 2] * np.sign(values[:, 3]), np.abs(values[:, 3])))
    np.testing.assert_allclose(angles, [0, 15, 30], atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, atol=1e-12)


def test_motion_alone_without_skin(tmp_path):
    """Motions that FBX2glTF makes have nodes only."""
    file = small_arm()
    for key in ("skins", "meshes"):
        del file.json[key]
    file.json["nodes"].pop()
    animate(file, "wave", 0, "translation", [0.0, 1.0], [[0, 1, 0], [0, 2, 0]])
    character = read(file, tmp_path)
    assert character.skin is None and character.skeleton.names == ("Root", "Arm", "Hand", "Finger")
    np.testing.assert_allclose(character.motion(0, 1).values[:, 1], [100, 200])


def test_files_without_armature(tmp_path):
    file = GltfFile()
    file.node("Lamp")
    with pytest.raises(InputError, match="a.glb: expected an armature, found neither skins nor animated nodes"):
        read(file, tmp_path)


def two_arms():
    file = small_arm(animated=False)
    other = [file.node(f"Other{n}", 5 + n - 1 if n else None, translation=[0, 0, 0.1]) for n in range(2)]
    file.append("skins", {"joints": other})
    return file


def test_several_armatures(tmp_path):
    assert read(two_arms(), tmp_path).skeleton.names[0] == "Root"  # the only one with a mesh
    assert read(two_arms(), tmp_path, armature="Other0").skeleton.names == ("Other0", "Other1")
    file = two_arms()
    file.node("Second", mesh=0, skin=1)
    joints = file.add(np.zeros((32, 4)), "u1")
    file.json["meshes"][0]["primitives"][0]["attributes"]["JOINTS_0"] = joints
    with pytest.raises(InputError, match="one armature, found 2 of 2: Root, Other0; name it with `armature`"):
        read(file, tmp_path)
    with pytest.raises(InputError, match="one armature named Nobody, found 0 of 2"):
        read(file, tmp_path, armature="Nobody")


def test_names_that_cannot_be_written(tmp_path):
    file = small_arm()
    for node, name in enumerate(["", "Arm", "Arm", "a\nb"]):
        file.json["nodes"][node]["name"] = name
    assert read(file, tmp_path).skeleton.names == ("node0", "Arm", "Arm.001", "a_b")


def test_long_animations_are_refused(tmp_path):
    file = small_arm(animated=False)
    animate(file, "age", 1, "translation", [0.0, 1e9], [[0, 0, 0], [0, 0, 1.0]])
    with pytest.raises(InputError, match="animation age: expected at most 625000 frames, found 6e\\+10"):
        read(file, tmp_path).motion(0, 60)


def test_bind_matrices_without_inverse(tmp_path):
    file = small_arm()
    file.json["skins"][0]["inverseBindMatrices"] = file.matrices(np.zeros((4, 4, 4)))
    with pytest.raises(InputError, match="inverse bind matrix of .* that can be inverted"):
        read(file, tmp_path)


def humanoid(table: str, skinned: bool) -> tuple[GltfFile, list[str | None]]:
    """A rig whose names tell nothing and whose VRM table names every bone; the 21 names of its right hand."""
    rig = made(SCHEMES["vrm 0" if table == "VRM" else "vrm 1"])
    file = GltfFile()
    heads = np.zeros((len(rig.names), 3))
    for number, parent in enumerate(rig.parents):
        offset = [-0.1, 0.01 * (number % 5), 0]
        file.node(f"Bone.{number:03d}", parent if parent >= 0 else None, translation=offset)
        heads[number] = np.add(offset, heads[parent] if parent >= 0 else 0)
    nodes = {name: number for number, name in enumerate(rig.names)}
    bones = {**nodes, "hips": nodes.pop("Hips")}
    listed = [{"bone": bone, "node": node} for bone, node in bones.items()]
    content = listed if table == "VRM" else {item["bone"]: {"node": item["node"]} for item in listed}
    file.json["extensions"] = {table: {"humanoid": {"humanBones": content}}}
    if skinned:
        binds = file.matrices([translation(*-head) for head in heads])
        file.append("skins", {"joints": list(range(len(rig.names))), "inverseBindMatrices": binds})
    return file, [None if name is None else f"Bone.{rig.names.index(name):03d}" for name in rig.answer["right"]]


@pytest.mark.parametrize("table", ["VRM", "VRMC_vrm", "VRMC_vrm_animation"])
@pytest.mark.parametrize("skinned", [True, False])
def test_the_table_of_a_vrm_file_comes_before_names(tmp_path, table, skinned):
    file, answer = humanoid(table, skinned)
    character = read(file, tmp_path)
    assert list(character.hands.names["right"]) == answer
    found = gltf_character(tmp_path / "a.vrm", character, Reading(tmp_path))
    names = found.skeleton.names
    assert [None if i is None else names[i] for i in found.hand("right").map.indices] == answer
    assert found.sides == ("right", "left")


def test_a_table_that_names_a_node_that_is_not_there(tmp_path):
    file, _ = humanoid("VRM", skinned=True)
    file.json["extensions"]["VRM"]["humanoid"]["humanBones"][3]["node"] = 999
    with pytest.raises(InputError, match="a.glb: expected a whole number .* as node of the bone"):
        read(file, tmp_path)
    file.json["extensions"]["VRM"]["humanoid"] = []
    with pytest.raises(InputError, match="a.glb: expected a glTF 2.0 file, but it is damaged"):
        read(file, tmp_path)
