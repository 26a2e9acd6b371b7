"""Hands that clap: they meet on arms of other lengths too, and nothing else is touched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from data.character.reading import Reading, read_character
from data.formats.bvh import Bvh, write_bvh
from data.motion import together
from data.motion.glb import posed
from data.motion.reading import read_motions
from data.motion.writing import Job
from data.rig.hand_map import ancestors
from model.touch import APART, TOUCHING
from tests.data.motion.test_follow import whole_body

RATE, FRAMES = 30, 60
SIDES = ("right", "left")


def clap(bones, closed: float) -> Bvh:
    """Arms swing to the front, stay, and swing back, twice, so many degrees at most."""
    share = np.minimum(1.2 * np.sin(np.linspace(0, 2 * np.pi, FRAMES)) ** 2, 1.0)
    turned = np.broadcast_to(np.eye(3), (FRAMES, len(bones.names), 3, 3)).copy()
    for side, sign in (("Right", 1.0), ("Left", -1.0)):
        swing = Rotation.from_euler("y", sign * closed * share[:, None], degrees=True)
        roll = Rotation.from_euler("x", -90.0 * share[:, None], degrees=True)  # palms to each other
        turned[:, bones.names.index(f"{side}Arm")] = (swing * roll).as_matrix()
    return Bvh.from_rotations(bones.names, bones.parents, bones.offsets, turned, frame_time=1 / RATE,
                              root_positions=np.broadcast_to(bones.heads[0], (FRAMES, 3)))  # fmt: skip


def longer_arms(bones, by: float):
    """The same body with lower arms that are longer by so many centimetres."""
    heads = bones.heads.copy()
    for side, sign in (("Right", -1.0), ("Left", 1.0)):
        hand = bones.names.index(f"{side}Hand")
        for joint in range(len(bones.names)):
            if joint == hand or hand in ancestors(joint, bones.parents):
                heads[joint] += [sign * by, 0, 0]
    return replace(bones, heads=heads)


def read(folder: Path, bvh: Bvh):
    write_bvh(folder / "clap.bvh", bvh)
    (motion,) = read_motions(folder / "clap.bvh", Reading(Path(".")))
    return motion


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory):
    """A motion in which two hands just touch."""
    folder, bones = tmp_path_factory.mktemp("clap"), whole_body(seed=1)
    known = read(folder, clap(bones, 0.0))
    for closed in np.arange(90.0, 130.0, 0.25):
        pair = together.moving(known.skeleton, known.own_hands, clap(bones, closed))
        if pair is not None and together.gaps(pair).min() < 0:
            return read(folder, clap(bones, closed))
    raise AssertionError("these hands never meet")


def job(source, bones, tmp_path: Path, hands_together: bool) -> Job:
    write_bvh(tmp_path / "target.bvh", clap(bones, 0.0))
    target = read_character(str(tmp_path / "target.bvh"), Reading(Path(".")))
    rest = torch.eye(3).expand(FRAMES, 5, 3, 3, 3).numpy()
    poses = dict.fromkeys(SIDES, rest)
    return Job(source, target, poses, body="follow", hands_together=hands_together)


@pytest.mark.parametrize("by", [-1.5, 1.0, 2.0])
def test_hands_meet_on_other_arms(source, tmp_path, by):
    bones = longer_arms(whole_body(seed=1), by)
    apart, joined = (job(source, bones, tmp_path, wanted) for wanted in (False, True))
    before, after = apart.hands_touch(SIDES), joined.hands_touch(SIDES)
    assert before is not None and after is not None and before["frames"] == after["frames"] >= 4
    assert after["gap"] < 0.25 * before["gap"] and after["gap"] < 0.05
    assert after["kept"] == 1 and after["deeper"] == 0
    was, now = (each.whole(SIDES).bvh for each in (apart, joined))
    (turned, places), (moved, where) = posed(was), posed(now)
    at = bones.names.index
    for side in ("Right", "Left"):
        hand = at(f"{side}Hand")
        assert np.abs(moved[:, hand] - turned[:, hand]).max() < 1e-9  # it is turned as it was
        steps = np.linalg.norm(where[:, hand] - places[:, hand], axis=-1)
        assert 0.1 < steps.max() <= together.FARTHEST + 1e-6
        assert np.abs(np.diff(steps)).max() < 0.6  # it comes and goes
        for upper, lower in ((f"{side}Arm", f"{side}ForeArm"), (f"{side}ForeArm", f"{side}Hand")):
            lengths = np.linalg.norm(where[:, at(lower)] - where[:, at(upper)], axis=-1)
            assert np.ptp(lengths) < 1e-9
    arms = [at(f"{side}{bone}") for side in ("Right", "Left") for bone in ("Arm", "ForeArm", "Hand")]
    others = [joint for joint in range(len(bones.names)) if joint not in arms]
    assert np.array_equal(was.rotations(others), now.rotations(others))
    near = np.flatnonzero(together.gaps(together.moving(source.skeleton, source.own_hands, source.bvh)) < APART)
    still = np.abs(np.arange(FRAMES)[:, None] - near).min(1) > 0.15 * RATE + 1
    assert still.sum() > 10 and np.array_equal(was.values[still], now.values[still])


def test_the_same_body_stays_as_it_is(source, tmp_path):
    bones = whole_body(seed=1)
    joined = job(source, bones, tmp_path, True)
    found = joined.hands_touch(SIDES)
    assert found is not None and found["kept"] == 1 and found["gap"] < 0.01


def test_one_hand_and_hands_far_apart_touch_nothing(source):
    assert together.moving(source.skeleton, {"right": source.own_hands["right"]}, source.bvh) is None
    near, far = np.array([TOUCHING, 1.0]), np.array([np.inf, np.inf])
    assert together.touch_report(far, near) is None
    found = together.touch_report(near, far)
    assert found == {"frames": 1, "kept": 0.0, "deeper": 0.0, "gap": pytest.approx(2 - TOUCHING)}
    deep = together.touch_report(np.array([0.0, 0.0]), np.array([-0.2, APART / 2]))
    assert deep is not None and (deep["kept"], deep["deeper"]) == (1.0, 0.5)
