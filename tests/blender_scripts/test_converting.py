"""run.convert_character with Blender, also on real files and on damaged ones; they skip where there is no Blender."""

import os
import random
import resource
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from data.blender import BlenderWorker, find_blender
from data.character.gltf import read_gltf_character
from data.character.reading import read_annotated
from data.dataset import character_files
from data.formats.bvh import read_bvh
from data.formats.character_files import Request
from run.convert_character import convert
from tests.data.formats.test_gltf_fuzz import mutated_bytes

REAL = os.environ.get("S2H_REAL_DATA")
needs_real = pytest.mark.skipif(REAL is None, reason="S2H_REAL_DATA (a folder of real files) is not set")


def program(blender):
    """The value of --blender."""
    return blender[0]


def request(path, folder):
    return Request(str(path), str(folder / "m.npz"), str(folder / "clips"), "clip", fps=25)


def test_fbx_and_gltf_in_one_command(blender, files, truth, tmp_path, capsys):
    source = tmp_path / "in"
    source.mkdir()
    for name in ("arm.fbx", "motion.fbx", "still.glb", "no_armature.fbx"):
        shutil.copy(files / name, source)
    options = [str(source), "--output_dir", str(tmp_path / "out"), "--blender", program(blender), "--jobs", "2"]
    for told in ("no_armature.fbx: expected an armature", "3 files are up to date"):
        with pytest.raises(Exception, match="1 of 4 files"):
            convert([*options, "--fps", "25"])
        assert told in capsys.readouterr().out
    made = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.[bn][vp][hz]")}
    assert made == {
        "arm/arm.bvh", "motion/motion.bvh", "finger_data/arm_mesh_data.npz", "finger_data/still_mesh_data.npz"
    }  # fmt: skip
    for name in ("arm", "motion"):
        bvh = read_bvh(tmp_path / "out" / name / f"{name}.bvh")
        np.testing.assert_allclose(bvh.rotations([2])[:, 0], truth["wave"], atol=1e-6)


def test_a_file_that_breaks_blender_does_not_stop_the_others(blender, files, tmp_path):
    with BlenderWorker(blender, timeout=120, memory_gb=0) as worker:
        assert worker.convert(request(files / "arm.fbx", tmp_path)).error is None
        worker.process.kill()
        worker.process.wait()
        assert "Blender broke down" in worker.convert(request(files / "arm.fbx", tmp_path)).error
        assert worker.convert(request(files / "arm.fbx", tmp_path)).frames == 11
        worker.timeout = 0.0001
        assert "was not done after 0.0001 s" in worker.convert(request(files / "arm.fbx", tmp_path)).error


def test_the_program_named_must_be_one(tmp_path):
    with pytest.raises(Exception, match="`blender`: expected Blender or a Python with bpy, found no program"):
        find_blender(tmp_path / "blender")


@pytest.mark.slow
def test_damaged_fbx_files(blender, files, tmp_path):
    rng = random.Random(0)
    whole = (files / "arm.fbx").read_bytes()
    path = tmp_path / "a.fbx"
    made = 0
    with BlenderWorker(blender, timeout=60, memory_gb=1) as worker:
        worker.convert(request(files / "arm.fbx", tmp_path))  # so that the start is not measured
        for number in range(600):
            path.write_bytes(mutated_bytes(whole, rng))
            started = time.perf_counter()
            result = worker.convert(request(path, tmp_path))
            took = time.perf_counter() - started
            assert took < 5, f"mutation {number}"
            assert result.error is None or "\n" not in result.error, result.error
            made += result.error is None
    assert 0 < made < 600
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024 < 1000
    assert {item.name for item in tmp_path.iterdir()} <= {"a.fbx", "m.npz", "clips"}


@needs_real
@pytest.mark.parametrize("name", ["XBot", "DoubleLegTakedown", "Skinning_Test", "Twist_Dance", "Ymca_Dance"])
def test_hands_turn_as_in_the_prepared_motions(blender, tmp_path, name):
    """To the last digit with the bpy wheels 4.2 and 5.0; Blender 3.4 reckons a little differently (3e-5 degrees)."""
    own = request(Path(REAL) / "fbx" / f"{name}.fbx", tmp_path)
    own.fps = None
    with BlenderWorker(blender, timeout=120, memory_gb=0) as worker:
        result = worker.convert(own)
    assert result.error is None
    prepared = Path(REAL) / "MixHand" / "XBot" / ("Sample.bvh" if name == "XBot" else f"{name}.bvh")
    ours, theirs = read_bvh(result.clips[0]), read_bvh(prepared)
    assert ours.joint_names == theirs.joint_names and ours.n_frames == theirs.n_frames
    assert ours.frame_time == pytest.approx(theirs.frame_time, abs=1e-6)
    first = np.cumsum([0, *map(len, ours.channels)])
    hands = [j for j, bone in enumerate(ours.joint_names) if "Hand" in bone]
    columns = [column for joint in hands for column in range(first[joint], first[joint] + 3)]
    tolerance = 1e-9 if Path(blender[0]).name.startswith("python") else 2e-4
    np.testing.assert_allclose(ours.values[:, columns], theirs.values[:, columns], rtol=0, atol=tolerance)
    np.testing.assert_allclose(ours.offsets, theirs.offsets, atol=2e-5)


@needs_real
@pytest.mark.parametrize("name", ["XBot", "YBot"])
def test_hands_are_those_of_the_prepared_meshes(blender, tmp_path, name):
    own = request(Path(REAL) / "fbx" / f"{name}.fbx", tmp_path)
    own.mesh = str(tmp_path / f"{name}_mesh_data.npz")
    with BlenderWorker(blender, timeout=120, memory_gb=0) as worker:
        assert worker.convert(own).error is None
    prepared = Path(REAL) / "MixHand" / "finger_data"
    theirs = read_annotated(*character_files(prepared, name))
    ours = read_annotated(own.mesh, prepared / f"{name}_finger_axis.pkl")
    for side in ("right", "left"):
        one, other = ours.hand(side).surface, theirs.hand(side).surface
        np.testing.assert_allclose(one.vertices, other.vertices, atol=2e-6)
        np.testing.assert_array_equal(one.faces, other.faces)
        np.testing.assert_allclose(one.weights, other.weights, atol=1e-7)
        np.testing.assert_allclose(one.joints, other.joints, atol=1e-6)


@needs_real
@pytest.mark.parametrize("name", ["Granny/granny.gltf", "human-male.glb", "godot_hand_r.gltf"])
def test_both_ways_agree_on_real_gltf(blender, tmp_path, name):
    path = Path(REAL) / "rigs" / name
    own = request(path, tmp_path)
    own.fps = 60
    with BlenderWorker(blender, timeout=120, memory_gb=0) as worker:
        result = worker.convert(own)
    assert result.error is None
    character = read_gltf_character(path)
    with np.load(own.mesh) as data:
        theirs = dict(data)
    order = [list(theirs["bone_names"]).index(bone) for bone in character.skeleton.names]
    assert sorted(character.skeleton.names) == sorted(theirs["bone_names"])
    np.testing.assert_allclose(character.skeleton.heads, theirs["bone_cors"][order], atol=3e-4)
    np.testing.assert_allclose(character.skeleton.axes, theirs["bone_axes"][order], atol=2e-6)
    assert character.skin.vertices.shape == theirs["verts"].shape
    np.testing.assert_allclose(
        np.sort(character.skin.vertices, axis=0), np.sort(theirs["verts"].astype(float), axis=0), atol=3e-4
    )
    for number, clip in enumerate(result.clips):
        ours, bvh = character.motion(number, 60), read_bvh(clip)
        same = [bvh.joint_names.index(bone) for bone in ours.joint_names]
        # Between keys Blender interpolates quaternions linearly, we along the arc.
        np.testing.assert_allclose(ours.rotations(), bvh.rotations(same), atol=2e-3)
        np.testing.assert_allclose(ours.values[:, :3], bvh.values[:, :3], atol=1e-3)
