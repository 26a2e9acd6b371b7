"""Real characters and motions, where they are (S2H_REAL_DATA; nothing of them is kept)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from data.character.gltf import read_gltf_character
from data.formats.bvh import read_bvh
from run.retarget import retarget

REAL = os.environ.get("S2H_REAL_DATA")
pytestmark = pytest.mark.skipif(REAL is None, reason="S2H_REAL_DATA (a folder of real files) is not set")


def worst_angle(first, second) -> float:
    """Degrees between the rotations of two motions of the same joints."""
    chord = np.linalg.norm((first.rotations() - second.rotations()).reshape(-1, 9), axis=1).max() / 8**0.5
    return float(np.degrees(2 * np.arcsin(min(1, chord))))


def run(target, output, *words) -> dict:
    data = Path(REAL) / "MixHand"
    motion = data / "XBot" / "Ymca_Dance.bvh"
    common = ["--source_hand", "XBot", "--data_path", data, "--output", output, "--report"]
    (report,) = retarget([str(word) for word in (motion, "--target", target, *common, *words)])
    return report


@pytest.mark.parametrize("method", ["tbs_copy", "rotation_copy", "optimize"])
def test_a_real_hand_in_and_out_is_the_identity(tmp_path, method):
    run("XBot", tmp_path / "o.bvh", "--method", method)
    source = read_bvh(Path(REAL) / "MixHand" / "XBot" / "Ymca_Dance.bvh")
    made = read_bvh(tmp_path / "o.bvh")
    order = [source.joint_names.index(name) for name in made.joint_names]
    difference = made.rotations() - source.rotations(order)
    assert np.degrees(2 * np.arcsin(np.linalg.norm(difference.reshape(-1, 9), axis=1).max() / 8**0.5)) < 0.5


@pytest.mark.parametrize("rig", ["Granny/granny.gltf", "human-male.glb", "godot_hand_r.gltf"])
def test_real_gltf_characters_hold_the_motion(tmp_path, rig):
    report = run(Path(REAL) / "rigs" / rig, tmp_path, "--method", "optimize", "--format", "bvh", "glb")
    bvh, glb = read_bvh(tmp_path / "Ymca_Dance.bvh"), read_gltf_character(tmp_path / "Ymca_Dance.glb")
    assert glb.skeleton.names == bvh.joint_names and glb.clips[0] == "Ymca_Dance"
    assert worst_angle(glb.motion(0, 30.0), bvh) < 1e-3
    for hand in report["hands"].values():
        assert hand["S_finger"] > hand["S_finger_tbs_copy"]
        assert hand["S_finger_gap_closed"] is None or hand["S_finger_gap_closed"] > 0.5  # None: there is no gap
        assert hand["jerk_ratio"] < 1.4
