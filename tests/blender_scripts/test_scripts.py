"""fbx2bvh.py and fbx2mesh.py, on files whose truth is known; they skip where there is no Blender."""

import ast
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from data.blender import SCRIPTS
from data.character.gltf import read_gltf_character
from data.formats.bvh import read_bvh
from data.formats.skeleton import mesh_arrays
from tests.blender_scripts.conftest import run

ROOT = Path(__file__).parents[2]
NAMES = ("Root", "Arm", "Hand", "Tip")
SHARED = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "data" / "formats").glob("*.py"))
SHARED += ["utils/errors.py", "utils/files.py", "utils/scratch.py"]
"""What runs inside Blender too: the folder data/formats and what it stands on."""
GUARDED = {("data/formats/number_rows.py", "orjson")}
"""Faster where it is installed, done without elsewhere."""


def to_bvh(blender, *arguments):
    return run(blender, SCRIPTS / "fbx2bvh.py", *arguments)


def to_mesh(blender, *arguments):
    return run(blender, SCRIPTS / "fbx2mesh.py", *arguments)


@pytest.mark.parametrize(
    "path",
    [*SHARED, *(f"blender_scripts/{name}.py" for name in ("importing", "fbx2bvh", "fbx2mesh", "convert_worker"))],
)
def test_old_blenders_can_read_the_code(path):
    """Blender 2.82 has Python 3.7."""
    ast.parse((ROOT / path).read_text(encoding="utf-8"), feature_version=(3, 7))


@pytest.mark.parametrize("path", SHARED)
def test_blender_needs_only_numpy(path):
    """The law of data/formats: NumPy, the standard library, and each other."""
    modules = {name.removesuffix(".py").replace("/", ".") for name in SHARED}
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    tried = {id(node) for block in ast.walk(tree) if isinstance(block, ast.Try) for node in ast.walk(block)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            names = inside if set(inside) <= modules else [node.module]  # `from utils import scratch`
        else:
            continue
        for name in names:
            known = name in modules or name.split(".")[0] in {"numpy", *sys.stdlib_module_names}
            assert known or ((path, name) in GUARDED and id(node) in tried), f"{path} imports {name}"


@pytest.mark.parametrize("name", ["arm.fbx", "motion.fbx", "arm.glb"])
def test_motion_has_the_rotations_that_were_made(blender, files, truth, tmp_path, name):
    done = to_bvh(blender, "--input_fbx", files / name, "--output_bvh", tmp_path / "a.bvh", "--fps", 25)
    assert done.returncode == 0, done.stderr
    bvh = read_bvh(tmp_path / "a.bvh")
    assert (bvh.joint_names, bvh.n_frames, bvh.frame_time) == (NAMES, 11, 0.04)
    np.testing.assert_allclose(bvh.rotations([2])[:, 0], truth["wave"], atol=1e-6)
    np.testing.assert_allclose(bvh.rotations([0, 1, 3]), np.broadcast_to(np.eye(3), (11, 3, 3, 3)), atol=1e-6)
    np.testing.assert_allclose(bvh.offsets.cumsum(axis=0), [truth["heads"][bone] for bone in NAMES], atol=2e-5)
    np.testing.assert_allclose(bvh.values[:, :3], [truth["heads"]["Root"]] * 11, atol=2e-5)


def test_rates(blender, files, tmp_path):
    """FBX keeps its own rate; glTF, which has none, is sampled 60 times a second."""
    for name, frames, rate in (("arm.fbx", 11, 25), ("arm.glb", 25, 60)):
        assert to_bvh(blender, "--input_fbx", files / name, "--output_bvh", tmp_path / "a.bvh").returncode == 0
        bvh = read_bvh(tmp_path / "a.bvh")
        assert bvh.n_frames == frames
        assert bvh.frame_time == pytest.approx(1 / rate, abs=1e-6)


@pytest.mark.parametrize("name", ["arm.fbx", "still.fbx", "arm.glb"])
def test_mesh_of_several_skins(blender, files, truth, tmp_path, name):
    done = to_mesh(blender, "--input", files / name, "--output", tmp_path / "a_mesh_data.npz")
    assert done.returncode == 0 and "1 meshes that no bone moves were left out" in done.stdout
    with np.load(tmp_path / "a_mesh_data.npz") as data:
        arrays = dict(data)
    assert tuple(arrays["bone_names"]) == tuple(arrays["vgrp_label"]) == NAMES
    np.testing.assert_array_equal(arrays["bone_parents"], [-1, 0, 1, 2])
    np.testing.assert_allclose(arrays["bone_cors"], [truth["heads"][bone] for bone in NAMES], atol=2e-5)
    assert arrays["verts"].shape == (32, 3) and arrays["faces"].shape == (48, 3) and arrays["edges"].shape == (72, 2)
    np.testing.assert_allclose(arrays["verts"].min(axis=0), [0, 99, -1], atol=2e-5)
    np.testing.assert_allclose(arrays["verts"].max(axis=0), [68, 101, 3], atol=2e-5)
    np.testing.assert_array_equal(arrays["weight"].sum(axis=0), [8, 8, 8, 8])
    owner = arrays["weight"].argmax(axis=1)
    near = np.abs(arrays["verts"] - arrays["bone_cors"][owner] - [4, 0, 0]).max(axis=0)
    np.testing.assert_allclose(near, [4, 1, 1], atol=2e-5)  # each box lies beyond the head of its bone
    assert np.isfinite(arrays["bone_tails"]).all()
    np.testing.assert_allclose(arrays["bone_tails"][:3], arrays["bone_cors"][1:], atol=1e-6)


def test_both_ways_agree_on_gltf(blender, files, tmp_path):
    assert to_mesh(blender, "--input", files / "arm.glb", "--output", tmp_path / "a.npz").returncode == 0
    character = read_gltf_character(files / "arm.glb")
    ours = mesh_arrays(character.skeleton, character.skin)
    with np.load(tmp_path / "a.npz") as data:
        order = [list(data["bone_names"]).index(name) for name in ours["bone_names"]]
        for key in ("bone_cors", "bone_tails", "bone_axes"):
            np.testing.assert_allclose(ours[key], data[key][order], atol=2e-5)
        rows = [np.lexsort(np.rint(table * 1e3).T) for table in (ours["verts"], data["verts"])]
        np.testing.assert_allclose(ours["verts"][rows[0]], data["verts"][rows[1]], atol=2e-5)
        np.testing.assert_array_equal(ours["weight"][rows[0]], data["weight"][rows[1]][:, order])


def test_one_of_several_armatures(blender, files, tmp_path):
    done = to_mesh(blender, "--input", files / "two.glb", "--output", tmp_path / "a.npz")
    assert done.returncode == 2 and not list(tmp_path.iterdir())
    assert "two.glb: expected one armature, found 2 of 2: One, Two; name it with --armature" in done.stderr
    assert (
        to_mesh(blender, "--input", files / "two.glb", "--output", tmp_path / "a.npz", "--armature", "Two").returncode
        == 0
    )
    with np.load(tmp_path / "a.npz") as data:
        assert data["verts"].shape == (32, 3) and data["verts"].max() < 102 and data["verts"][:, 0].max() < 1e-4


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_armature.fbx", "expected an armature, found none"),
        ("motion.fbx", "expected a mesh with skin, found none"),
        ("nothing.fbx", "expected a file, found nothing"),
        ("truth.json", "expected .fbx, .gltf, .glb or .vrm, found .json"),
    ],
)
def test_what_has_no_mesh_is_explained(blender, files, tmp_path, name, reason):
    done = to_mesh(blender, "--input", files / name, "--output", tmp_path / "a.npz")
    assert done.returncode == 2 and not list(tmp_path.iterdir())
    assert done.stderr.startswith("error: ") and reason in done.stderr and "Traceback" not in done.stderr


def test_what_has_no_motion_is_explained(blender, files, tmp_path):
    done = to_bvh(blender, "--input_fbx", files / "still.fbx", "--output_bvh", tmp_path / "a.bvh")
    assert done.returncode == 2 and "expected an animation, found none" in done.stderr
    done = to_bvh(blender, "--input_fbx", files / "arm.fbx", "--output_bvh", tmp_path / "a.bvh", "--animation", "jump")
    assert done.returncode == 2 and "expected an animation named jump, found wave" in done.stderr


def test_folders(blender, files, tmp_path):
    done = to_bvh(blender, "--input_fbx", files, "--output_bvh", tmp_path)
    assert done.returncode == 2
    made = {"arm_fbx.bvh", "arm_glb.bvh", "motion.bvh"}
    assert {path.name for path in tmp_path.iterdir()} == made
    assert "skipped:" in done.stdout and "still.fbx: expected an animation, found none" in done.stdout
    times = {name: (tmp_path / name).stat().st_mtime_ns for name in made}
    done = to_bvh(blender, "--input_fbx", files, "--output_bvh", tmp_path)
    assert done.stdout.count("up to date") == 3
    assert times == {name: (tmp_path / name).stat().st_mtime_ns for name in made}


def strip_keys(data: bytes) -> bytes:
    """The FBX file with all animation curves of the finger tip as Mixamo writes them: with arrays of no keys."""
    head = struct.Struct("<IIIB" if struct.unpack_from("<I", data, 23)[0] < 7500 else "<QQQB")

    def record(at: int) -> tuple[bytes, int]:
        end, count, size, length = head.unpack_from(data, at)
        if end == 0:
            return b"", at + head.size
        name = data[at + head.size : at + head.size + length]
        start = at + head.size + length
        properties = data[start : start + size]
        if name in (b"KeyTime", b"KeyValueFloat"):
            properties = properties[:1] + struct.pack("<III", 0, 0, 0)
        children, place, inside = [], start + size, []
        while place < end:
            child, place = record(place)
            inside.append(child)
            children.append(child)
        return (name, count, properties, inside), end

    def pack(tree, at: int) -> bytes:
        name, count, properties, inside = tree
        body = properties
        for child in inside:
            body += pack(child, at + head.size + len(name) + len(body)) if child else bytes(head.size)
        return head.pack(at + head.size + len(name) + len(body), count, len(properties), len(name)) + name + body

    out, at = data[:27], 27
    while at < len(data):
        tree, at = record(at)
        if not tree:
            break
        out += pack(tree, len(out))
    return out + data[at - head.size :]


def test_curves_without_keys(blender, files, tmp_path):
    """Mixamo's own FBX gives the tips of fingers curves with no keys at all."""
    (tmp_path / "empty.fbx").write_bytes(strip_keys((files / "arm.fbx").read_bytes()))
    done = to_mesh(blender, "--input", tmp_path / "empty.fbx", "--output", tmp_path / "a.npz")
    assert done.returncode == 0, done.stderr
    done = to_bvh(blender, "--input_fbx", tmp_path / "empty.fbx", "--output_bvh", tmp_path / "a.bvh")
    assert done.returncode == 2 and "expected an animation, found none" in done.stderr
