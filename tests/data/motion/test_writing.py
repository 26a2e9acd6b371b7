"""Every output is read back and compared joint by joint."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.blender import find_blender
from data.character.gltf import read_gltf_character
from data.character.mano import mano_character
from data.character.reading import Reading, gltf_character
from data.formats.bvh import Bvh, read_bvh, write_bvh
from data.formats.gltf import read_container
from data.motion.body import whole_motion
from data.motion.glb import quaternions, write_into_gltf
from data.motion.mano_file import read_mano_motion
from data.motion.reading import Motion, read_motions
from data.motion.writing import Job, check_target, output_paths, write_motion
from data.rig.rotations import file_rotations
from model.mano import ManoHand
from tests.data.rig.rigs import character, skeleton
from tests.helpers import rotations
from utils.errors import InputError

FRAMES = 5


def body_motion(bones, tmp_path, name="moves", fps=30) -> Motion:
    """A motion of all joints of a skeleton, written and read."""
    path = tmp_path / f"{name}.bvh"
    turned = rotations(FRAMES, len(bones.names), seed=1, angle=1.0).numpy()
    places = bones.heads[0] + np.arange(FRAMES)[:, None] * [1.0, 0.5, 0.25]
    bvh = Bvh.from_rotations(
        bones.names, bones.parents, bones.offsets, turned, frame_time=1 / fps, root_positions=places
    )
    write_bvh(path, bvh)
    (motion,) = read_motions(path, Reading(Path(".")))
    return motion


def poses(*sides: str) -> dict[str, np.ndarray]:
    return {side: rotations(FRAMES, 5, 3, seed=seed, angle=1.5).numpy() for seed, side in enumerate(sides, start=5)}


def difference(first: np.ndarray, second: np.ndarray) -> float:
    """Largest angle in degrees between rotations."""
    chord = np.linalg.norm((first - second).reshape(-1, 9), axis=1).max() / 8**0.5
    return float(np.degrees(2 * np.arcsin(min(1, chord))))


@pytest.mark.parametrize("options", [{}, {"seed": 3}, {"metacarpals": True}, {"without": ("pinky",)}])
def test_bvh_keeps_the_body_and_replaces_the_fingers(tmp_path, options):
    motion = body_motion(skeleton(), tmp_path)
    target = character(skeleton(**options), tmp_path)
    made = poses("right", "left")
    paths, kept = write_motion(
        Job(motion, target, made), output_paths(target, ("right", "left"), tmp_path / "o", ["bvh"], False)
    )
    assert kept and paths == [tmp_path / "o.bvh"]
    found, bones = read_bvh(paths[0]), target.skeleton
    assert found.joint_names == bones.names and np.allclose(found.offsets, bones.offsets, atol=1e-6)
    turned = {name: found.rotations([joint])[:, 0] for joint, name in enumerate(found.joint_names)}
    source = {name: motion.bvh.rotations([joint])[:, 0] for joint, name in enumerate(motion.bvh.joint_names)}
    for name in ("Hips", "Spine", "RightArm", "LeftArm", "RightHand", "LeftHand"):
        assert np.array_equal(turned[name], source[name]), name
    for side in made:
        for joint, expected in file_rotations(target.hands[side].map, target.hands[side].rest, made[side]).items():
            assert difference(turned[bones.names[joint]], expected) < 1e-5, bones.names[joint]
    assert np.array_equal(found.values[:, :3], motion.bvh.values[:, :3])


def test_a_body_of_other_names_rests(tmp_path):
    motion = body_motion(skeleton(), tmp_path)
    bones = skeleton()
    bones = replace(bones, names=tuple(n.replace("Hips", "pelvis_x") for n in bones.names))
    target = character(bones, tmp_path)
    whole = whole_motion(target.hands, poses("right", "left"), motion)
    assert not whole.body_kept
    arm = whole.bvh.joint_names.index("RightArm")
    assert np.array_equal(whole.bvh.rotations([arm])[:, 0], np.broadcast_to(np.eye(3), (FRAMES, 3, 3)))


def test_a_larger_body_moves_further(tmp_path):
    motion = body_motion(skeleton(), tmp_path)
    target = character(skeleton(scale=1.5), tmp_path)
    whole = whole_motion(target.hands, poses("right", "left"), motion)
    assert np.allclose(whole.bvh.values[:, :3], 1.5 * motion.bvh.values[:, :3])


def test_glb_holds_the_motion_of_the_bvh(tmp_path):
    motion, target = body_motion(skeleton(), tmp_path), character(skeleton(seed=3), tmp_path)
    job = Job(motion, target, poses("right", "left"))
    (bvh, glb), _ = write_motion(job, output_paths(target, ("right", "left"), tmp_path / "o", ["bvh", "glb"], False))
    found, expected = read_gltf_character(glb), read_bvh(bvh)
    assert found.skeleton.names == expected.joint_names
    again = found.motion(0, 30.0)
    assert again.n_frames == FRAMES
    for joint, name in enumerate(expected.joint_names):
        assert difference(again.rotations([joint]), expected.rotations([joint])) < 1e-3, name
    assert np.allclose(again.values[:, :3], expected.values[:, :3], atol=1e-3)  # where the root is
    assert np.allclose(found.skin.vertices, target.skin.vertices, atol=1e-4)
    assert np.allclose(found.skin.weights, target.skin.weights, atol=1e-6)
    _validate(glb)


def test_the_users_gltf_gets_an_animation_and_keeps_the_rest(tmp_path):
    motion, first = body_motion(skeleton(), tmp_path), character(skeleton(turn=np.eye(3)), tmp_path)
    (own,), _ = write_motion(Job(motion, first, poses("right", "left")),
                             output_paths(first, ("right", "left"), tmp_path / "own", ["glb"], False))  # fmt: skip
    _tilt(own)
    content = read_gltf_character(own)
    target = gltf_character(own, content, Reading(Path(".")))
    made = {side: rotations(FRAMES, 5, 3, seed=seed, angle=1.5).numpy() for seed, side in ((8, "right"), (9, "left"))}
    job = Job(motion, target, made)
    (glb,), _ = write_motion(job, output_paths(target, ("right", "left"), tmp_path / "new", ["glb"], False))
    assert job.stays == {glb: [content.animations[0].name]}
    expected, found = job.whole(("right", "left")).bvh, read_gltf_character(glb)
    assert len(found.clips) == 2 and found.animations[0].name == "moves"
    again = found.motion(0, 30.0)
    for joint, name in enumerate(expected.joint_names):
        assert difference(again.rotations([joint]), expected.rotations([joint])) < 1e-3, name
    (before, _), (after, data) = read_container(own), read_container(glb)
    for key in ("meshes", "skins", "materials", "scenes"):
        assert before[key] == after[key]
    assert data[0].startswith(read_container(own)[1][0])
    _validate(glb)


def _tilt(path: Path) -> None:
    """Give the bones of a file axes of their own at rest: nodes turned, and the bind pose with them."""
    from data.formats.gltf_writer import GltfFile

    content, buffers = read_container(path)
    file = GltfFile(content, buffers)
    turn = rotations(1, seed=30)[0].numpy()
    quaternion = _quaternion(turn)
    joints = content["skins"][0]["joints"]
    parent = {child: number for number, node in enumerate(content["nodes"]) for child in node.get("children", [])}
    world = {}
    for joint in joints:
        node = content["nodes"][joint]
        above = world.get(parent.get(joint), (np.eye(3), np.zeros(3)))
        place = above[1] + np.array(node["translation"])  # nothing was turned before
        node["translation"] = (turn.T @ node["translation"]).tolist() if joint != joints[0] else node["translation"]
        node["rotation"] = quaternion if joint == joints[0] else [0.0, 0, 0, 1]
        world[joint] = (np.eye(3), place)
    inverse = np.tile(np.eye(4, dtype=np.float32), (len(joints), 1, 1))
    inverse[:, :3, :3] = turn.T
    inverse[:, :3, 3] = [-turn.T @ world[joint][1] for joint in joints]
    content["skins"][0]["inverseBindMatrices"] = file.accessor(inverse)
    file.write(path)


def _quaternion(turn: np.ndarray) -> list[float]:
    from data.motion.glb import quaternions

    return quaternions(turn[None])[0].astype(float).tolist()


@pytest.mark.parametrize("side", ["right", "left"])
def test_mano_parameters_and_bvh_and_glb_agree(tmp_path, mano_models, mano_axes, side):
    model = ManoHand.load(mano_models, mano_axes, side)
    shape = np.linspace(-1, 1, 10)
    target = mano_character(model, shape, mano_models)
    motion = body_motion(skeleton(), tmp_path)
    job = Job(motion, target, poses(side))
    paths, _ = write_motion(job, output_paths(target, (side,), tmp_path / "o", ["mano", "bvh", "glb"], False))
    assert [path.name for path in paths] == ["o.npz", "o.bvh", "o.glb"]
    found = read_mano_motion(paths[0])
    assert np.abs(found.local - job.poses[side]).max() < 1e-7
    assert found.fps == 30 and found.side == side and np.allclose(found.shape, shape, atol=1e-6)
    bvh, glb = read_bvh(paths[1]), read_gltf_character(paths[2]).motion(0, 30.0)
    for finger in range(5):
        for k in range(3):
            joint = 1 + 4 * finger + k
            assert difference(bvh.rotations([joint])[:, 0], job.poses[side][:, finger, k]) < 1e-5
            assert difference(glb.rotations([joint])[:, 0], job.poses[side][:, finger, k]) < 1e-3
    offsets = 100 * target.hands[side].shaped.offsets.numpy()
    assert np.abs(bvh.offsets[1:] - offsets[1:]).max() < 1e-5
    _validate(paths[2])


def test_targets_that_cannot_be_written_are_refused(tmp_path):
    target = character(skeleton(), tmp_path)
    with pytest.raises(InputError, match="MANO target"):
        check_target(target, ["mano"])
    bare = type(target)("bare", tmp_path / "bare.bvh", "skeleton", target.hands)
    for kind in ("glb", "fbx"):
        with pytest.raises(InputError, match="weights"):
            check_target(bare, [kind])
    check_target(bare, ["bvh"])


def test_nothing_half_written(tmp_path, monkeypatch):
    motion, target = body_motion(skeleton(), tmp_path), character(skeleton(), tmp_path)
    made = poses("right", "left")
    made["left"] = np.full_like(made["left"], np.nan)
    folder = tmp_path / "new"
    with pytest.raises((InputError, ValueError)):
        write_motion(
            Job(motion, target, made), output_paths(target, ("right", "left"), folder / "o", ["bvh", "glb"], False)
        )
    assert not folder.exists() or not list(folder.iterdir())


def test_fbx_is_read_back_by_blender(tmp_path):
    try:
        command = find_blender()
    except InputError as error:
        pytest.skip(str(error))
    if command is None:
        pytest.skip("no Blender here (S2H_BLENDER, PATH, .venv-blender)")
    motion, target = body_motion(skeleton(), tmp_path), character(skeleton(seed=3), tmp_path)
    job = Job(motion, target, poses("right", "left"))
    (fbx, glb), _ = write_motion(job, output_paths(target, ("right", "left"), tmp_path / "o", ["fbx", "glb"], False))
    expected = job.whole(("right", "left")).bvh
    for made, tolerance in ((fbx, 0.01), (glb, 0.01)):
        back = tmp_path / f"{made.suffix[1:]}.bvh"
        script = Path(__file__).parents[3] / "blender_scripts" / "fbx2bvh.py"
        words = [*command, str(script), "--", "--input_fbx", str(made), "--output_bvh", str(back), "--fps", "30"]
        clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        subprocess.run(words, env=clean, check=True, capture_output=True, timeout=300)
        found = read_bvh(back)
        assert found.n_frames == FRAMES
        for joint, name in enumerate(expected.joint_names):
            turned = found.rotations([found.joint_names.index(name)])
            assert difference(turned, expected.rotations([joint])) < tolerance, (made.name, name)


def _validate(path: Path) -> None:
    """Khronos' validator finds no error, where it is installed (S2H_GLTF_VALIDATOR names its folder)."""
    folder = os.environ.get("S2H_GLTF_VALIDATOR")
    if folder is None or shutil.which("node") is None:
        return
    script = (
        "const v=require(process.argv[1]);const fs=require('fs');"
        "v.validateBytes(new Uint8Array(fs.readFileSync(process.argv[2])))"
        ".then(r=>console.log(JSON.stringify(r.issues)))"
    )
    done = subprocess.run(
        ["node", "-e", script, str(Path(folder) / "node_modules" / "gltf-validator"), str(path)],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    issues = json.loads(done.stdout)
    assert issues["numErrors"] == 0, [message for message in issues["messages"] if message["severity"] == 0]


@pytest.fixture(scope="module", autouse=True)
def _validator(tmp_path_factory):
    """Install the validator if npm can; `_validate` says nothing without it, the test below says why."""
    if "S2H_GLTF_VALIDATOR" in os.environ or shutil.which("npm") is None:
        yield
        return
    folder = tmp_path_factory.mktemp("validator")
    words = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), "gltf-validator@2.0.0-dev.3.10"]
    try:
        done = subprocess.run(words, capture_output=True, timeout=60)
    except subprocess.TimeoutExpired:
        done = None
    if done is not None and done.returncode == 0:
        os.environ["S2H_GLTF_VALIDATOR"] = str(folder)
    yield
    if os.environ.get("S2H_GLTF_VALIDATOR") == str(folder):
        del os.environ["S2H_GLTF_VALIDATOR"]


def test_khronos_validator_was_used():
    if "S2H_GLTF_VALIDATOR" not in os.environ:
        pytest.skip("no gltf-validator: npm or the network is missing")
    assert shutil.which("node")


def test_write_into_gltf_needs_a_skin(tmp_path):
    motion, first = body_motion(skeleton(), tmp_path), character(skeleton(), tmp_path)
    (own,), _ = write_motion(Job(motion, first, poses("right", "left")),
                             output_paths(first, ("right", "left"), tmp_path / "own", ["glb"], False))  # fmt: skip
    content, buffers = read_container(own)
    for node in content["nodes"]:
        node.pop("mesh", None)
        node.pop("skin", None)
    from data.formats.gltf_writer import GltfFile

    GltfFile(content, buffers).write(tmp_path / "bare.glb")
    with pytest.raises(InputError, match="weights"):
        write_into_gltf(tmp_path / "x.glb", tmp_path / "bare.glb", motion.bvh, "a")
    assert not (tmp_path / "x.glb").exists()


def test_quaternions_do_not_jump():
    """Players blend between keys: q and -q are one rotation, and a long way apart."""
    angle = np.linspace(0, 4 * np.pi, 101)
    cos, sin, zero, one = np.cos(angle), np.sin(angle), np.zeros(101), np.ones(101)
    turns = np.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], axis=-1).reshape(-1, 3, 3)
    found = quaternions(turns)
    assert (np.linalg.norm(np.diff(found, axis=0), axis=1) < 0.1).all()
    np.testing.assert_allclose(np.abs(found[:, 3]), np.abs(np.cos(angle / 2)), atol=1e-6)
