"""Characters whose armature hangs below a node that is turned, moved, scaled or mirrored: right, or refused."""

from __future__ import annotations

import json
import re
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data.character.gltf import read_gltf_character
from data.formats.bvh import Bvh, write_bvh
from data.motion.glb import write_glb
from model.topology import FINGERS
from run.retarget import retarget
from tests.data.motion.test_follow import whole_body
from tests.data.rig.rigs import character
from utils.errors import InputError

FRAMES, RATE = 5, 30
TURNED = {"rotation": Rotation.from_euler("xyz", [-90, 20, 50], degrees=True).as_quat().tolist()}
HARMLESS = {
    "as it is": {},
    "z up": {"rotation": [-(0.5**0.5), 0, 0, 0.5**0.5]},
    "turned": TURNED,
    "moved": {"translation": [3.0, 1.0, -2.0]},
    "turned, moved and in feet": {**TURNED, "translation": [1.0, 0, 0], "scale": [0.3048] * 3},
}


def curled(bones) -> list:
    """Rest with fingers a little closed, as hands are modelled: so hands look right or left."""
    heads = bones.heads.copy()
    for side in ("Right", "Left"):
        for finger in FINGERS:
            for k in (2, 3, 4):
                joint = bones.names.index(f"{side}Hand{finger.capitalize()}{k}")
                heads[joint] += [0.0, -0.4 * k, 0.0]
    return heads


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a character that has an animation, ``plain.glb``, a motion, ``fist.bvh``, and what becomes of it
    on that character, ``moved.glb``."""
    folder = tmp_path_factory.mktemp("armatures")
    bones = whole_body(seed=2)
    bones = replace(bones, heads=np.asarray(curled(bones)))
    whole = character(bones, folder)
    turned = np.broadcast_to(np.eye(3), (FRAMES, len(bones.names), 3, 3)).copy()
    share = np.linspace(0, 1, FRAMES)[:, None]
    for side, sign in (("Right", 1.0), ("Left", -1.0)):
        for finger, closed in zip(FINGERS, (70, 65, 60, 30, 10), strict=True):
            for k in (1, 2, 3):
                joint = bones.names.index(f"{side}Hand{finger.capitalize()}{k}")
                turned[:, joint] = Rotation.from_euler("z", sign * closed * share, degrees=True).as_matrix()
    bvh = Bvh.from_rotations(bones.names, bones.parents, bones.offsets, turned, frame_time=1 / RATE,
                             root_positions=np.broadcast_to(bones.heads[0], (FRAMES, 3)))  # fmt: skip
    write_bvh(folder / "fist.bvh", bvh)
    write_glb(folder / "plain.glb", whole.skeleton, whole.skin, bvh, "fist")
    retarget([str(folder / "fist.bvh"), "--target", str(folder / "plain.glb"), "--output", str(folder / "moved.glb"),
              "--body", "rest", "--method", "tbs_copy"])  # fmt: skip
    return folder


def hang(path: Path, target: Path, **transform) -> Path:
    """A copy of a GLB whose scene hangs below one node more."""
    data = path.read_bytes()
    size = struct.unpack_from("<I", data, 12)[0]
    content, rest = json.loads(data[20 : 20 + size]), data[20 + size :]
    scene = content["scenes"][content.get("scene", 0)]
    content["nodes"].append({"name": "above", "children": scene["nodes"], **transform})
    scene["nodes"] = [len(content["nodes"]) - 1]
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    head = b"glTF" + struct.pack("<IIII", 2, 20 + len(text) + len(rest), len(text), 0x4E4F534A)
    target.write_bytes(head + text + rest)
    return target


def fingers(path: Path) -> dict[str, np.ndarray]:
    """Name → (F, 4) local rotations of the first animation's nodes that bend."""
    content = read_gltf_character(path)
    return {
        content.gltf.node_names[track.node]: track.values.reshape(-1, 4)
        for track in content.animations[0].tracks
        if track.path == "rotation" and re.search("Hand[A-Z][a-z]+[123]$", content.gltf.node_names[track.node])
    }


def apart(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> float:
    """Degrees between rotations, at most."""
    assert first.keys() == second.keys() and len(first) == 30
    worst = 0.0
    for name, values in first.items():
        other = second[name]
        count = max(len(values), len(other))  # what holds still has one key
        turns = [Rotation.from_quat(np.broadcast_to(each, (count, 4))) for each in (values, other)]
        worst = max(worst, float(np.degrees((turns[0].inv() * turns[1]).magnitude()).max()))
    return worst


@pytest.mark.parametrize("kind", HARMLESS)
def test_a_target_may_stand_anywhere(made, tmp_path, kind):
    target = hang(made / "plain.glb", tmp_path / "target.glb", **HARMLESS[kind])
    retarget([str(made / "fist.bvh"), "--target", str(target), "--output", str(tmp_path / "moved.glb"),
              "--body", "rest", "--method", "tbs_copy"])  # fmt: skip
    assert apart(fingers(tmp_path / "moved.glb"), fingers(made / "moved.glb")) < 0.01


@pytest.mark.parametrize("kind", HARMLESS)
def test_a_source_may_stand_anywhere(made, tmp_path, kind):
    source = hang(made / "plain.glb", tmp_path / "source.glb", **HARMLESS[kind])
    retarget([str(source), "--target", str(made / "plain.glb"), "--output", str(tmp_path / "moved.glb"), "--fps", "30",
              "--body", "rest", "--method", "tbs_copy"])  # fmt: skip
    expected = fingers(made / "plain.glb")
    assert apart(fingers(tmp_path / "moved.glb"), expected) < 0.1


@pytest.mark.parametrize("scale", [[-1.0, 1, 1], [1.0, 1, -1], [-1.0, -1, -1]])
@pytest.mark.parametrize("as_source", [False, True])
def test_mirrored_hands_are_refused(made, tmp_path, scale, as_source):
    mirrored = hang(made / "plain.glb", tmp_path / "mirrored.glb", scale=scale)
    words = [mirrored, made / "plain.glb"] if as_source else [made / "fist.bvh", mirrored]
    with pytest.raises(InputError, match="mirrored.glb: expected a right hand, found one that a negative scale turns"):
        retarget([str(words[0]), "--target", str(words[1]), "--output", str(tmp_path / "moved.glb")])
    assert not (tmp_path / "moved.glb").exists()


@pytest.mark.parametrize("scale", [[1.0, 1.5, 1.0], [1.0, 1.05, 1.0]])
def test_sheared_hands_are_refused(made, tmp_path, scale):
    sheared = hang(made / "plain.glb", tmp_path / "sheared.glb", **TURNED, scale=scale)
    with pytest.raises(InputError, match="apply scale and rotation of the armature"):
        retarget([str(made / "fist.bvh"), "--target", str(sheared), "--output", str(tmp_path / "moved.glb")])
    assert not (tmp_path / "moved.glb").exists()


def test_a_sheared_source_is_said(made, tmp_path, capsys):
    sheared = hang(made / "plain.glb", tmp_path / "sheared.glb", scale=[1.0, 1.5, 1.0])
    retarget([str(sheared), "--target", str(made / "plain.glb"), "--output", str(tmp_path / "moved.glb")])
    said = capsys.readouterr().err
    assert "sheared.glb, both hands: it is scaled unevenly, by 1.50 to 1" in said and said.count("unevenly") == 1


@pytest.mark.parametrize("scale", ["0.5", "2"])
def test_a_scaled_target_stays_where_it_stands(made, tmp_path, scale):
    retarget([str(made / "fist.bvh"), "--target", str(made / "plain.glb"), "--output", str(tmp_path / "moved.glb"),
              "--target_scale", scale, "--body", "rest", "--method", "tbs_copy"])  # fmt: skip
    content = read_gltf_character(tmp_path / "moved.glb")
    at_rest = read_gltf_character(made / "plain.glb").skeleton.heads
    assert np.allclose(content.skeleton.heads, at_rest, atol=1e-4)
    hips = int(content.nodes[0])
    places = [t.values for t in content.animations[0].tracks if t.node == hips and t.path == "translation"]
    assert all(np.allclose(100 * place.reshape(-1, 3), at_rest[0], atol=1e-3) for place in places)
    assert apart(fingers(tmp_path / "moved.glb"), fingers(made / "moved.glb")) < 0.01
