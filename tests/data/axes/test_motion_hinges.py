"""Hinges from motions of which they are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data.axes.estimate import estimate_axes
from data.axes.evidence import degrees_between
from data.axes.motion import bvh_files, hinges_from_files
from data.formats.bvh import Bvh, write_bvh
from model.topology import PARENTS, hand_joint_names
from utils.errors import InputError

FRAMES = 60


def write_motion(path, hand, axes, side="right", turn=None, drop=(), bend=1.2, seed=0):
    """A clip on the hand's skeleton, turned by ``turn``: its joints bend about ``axes (5, 4, 3, 3)`` and wobble."""
    random = np.random.default_rng(seed)
    names = [f"mixamorig:{name}" for name in hand_joint_names("mixamo", side)]
    kept = [joint for joint in range(21) if joint not in drop]
    number = {joint: place for place, joint in enumerate(kept)}
    rotations = np.broadcast_to(np.eye(3), (FRAMES, 21, 3, 3)).copy()
    angles = bend * (1 + np.sin(np.linspace(0, 9, FRAMES)))[:, None, None] / 2
    vectors = angles[..., None] * axes[:, :3, 1] + 0.02 * random.normal(size=(FRAMES, 5, 3, 3))
    turned = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(FRAMES, 5, 3, 3, 3)
    rotations[:, 1:].reshape(FRAMES, 5, 4, 3, 3)[:, :, :3] = turned
    offsets = hand.joints - hand.joints[[max(parent, 0) for parent in PARENTS]]
    turn = np.eye(3) if turn is None else turn
    motion = Bvh.from_rotations(
        [names[joint] for joint in kept],
        [number.get(PARENTS[joint], -1) for joint in kept],
        (offsets @ turn.T)[kept],
        (turn @ rotations @ turn.T)[:, kept],
        frame_time=1 / 60,
    )
    write_bvh(path, motion)
    return path


@pytest.fixture
def hand(rest_hand):
    """A hand at rest."""
    return rest_hand("Hand12")


@pytest.fixture
def other_axes(hand):
    """Axes 12 degrees from the estimate, about the bones."""
    rows = estimate_axes(hand).axes
    bend = [Rotation.from_rotvec(np.radians(12) * r[2, 0]).apply(r[2, 1]) for r in rows]
    return hand.rows(np.stack(bend))


@pytest.mark.parametrize("degrees", [(0, 0, 0), (0, 0, 60), (90, 20, 0)])
def test_hinges_are_found_whatever_the_rest_pose_of_the_file(hand, other_axes, tmp_path, degrees):
    turn = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    found = hinges_from_files(hand, [write_motion(tmp_path / "a.bvh", hand, other_axes, turn=turn)])
    likeness = np.abs((found.hinges.axes * other_axes[:, :3, 1]).sum(-1))
    assert np.degrees(np.arccos(likeness.clip(max=1))).max() < 1
    assert found.hinges.share.min() > 0.99 and not found.refused
    told = estimate_axes(hand, motion=found.hinges).axes
    assert max(degrees_between(told[f, 2, 1], other_axes[f, 2, 1]) for f in range(5)) < 4


def test_several_files_count_by_their_frames(hand, other_axes, tmp_path):
    files = [write_motion(tmp_path / f"{n}.bvh", hand, other_axes, seed=n) for n in range(3)]
    single = hinges_from_files(hand, files[:1]).hinges
    both = hinges_from_files(hand, files).hinges
    np.testing.assert_allclose(both.angle, single.angle, rtol=0.02)


def test_motion_without_tips_or_a_finger(hand, other_axes, tmp_path):
    # Recognised or refused with a reason, depending on what the rig's map accepts; never an error.
    found = hinges_from_files(hand, [write_motion(tmp_path / "a.bvh", hand, other_axes, drop=(4, 8, 12, 16, 20))])
    assert len(found.used) + len(found.refused) == 1


def test_another_rest_pose_is_refused(hand, other_axes, rest_hand, tmp_path):
    curled = hand.joints.copy()
    for joint in (2, 3, 4, 6, 7, 8, 10, 11, 12, 14, 15, 16):
        curled[joint] = curled[joint - 1] + [0.2 * joint % 3 - 1, -2, 1.0 * (joint % 2)]
    path = write_motion(tmp_path / "a.bvh", replace(hand, joints=curled), other_axes)
    found = hinges_from_files(hand, [path])
    assert found.hinges is None and "rest pose" in found.refused[path]


def test_motion_of_the_other_hand_is_refused(hand, other_axes, tmp_path):
    path = write_motion(tmp_path / "a.bvh", hand, other_axes, side="left")
    found = hinges_from_files(hand, [path])
    assert found.hinges is None and "right hand" in found.refused[path]


def test_still_motion_tells_nothing(hand, other_axes, tmp_path):
    found = hinges_from_files(hand, [write_motion(tmp_path / "a.bvh", hand, other_axes, bend=0.0)])
    np.testing.assert_array_equal(estimate_axes(hand, motion=found.hinges).axes, estimate_axes(hand).axes)


def test_folders_of_motion(tmp_path):
    for name in ("Aj/b.bvh", "Aj/a.BVH", "Kaya/c.bvh", "d.bvh"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert bvh_files([tmp_path], "Aj") == [tmp_path / "Aj/a.BVH", tmp_path / "Aj/b.bvh"]
    assert bvh_files([tmp_path], "Nobody") == [tmp_path / "d.bvh"]
    assert bvh_files([tmp_path / "Kaya/c.bvh"], "Aj") == [tmp_path / "Kaya/c.bvh"]
    with pytest.raises(InputError, match="`motion`"):
        bvh_files([tmp_path / "nothing"], "Aj")
