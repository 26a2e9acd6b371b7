"""MANO motions as .npz: written and read, and the spellings that are about."""

from __future__ import annotations

import numpy as np
import pytest

from data.motion.mano_file import ManoMotion, read_mano_motion, write_mano_motion
from model.topology import FINGERS
from tests.helpers import rotations
from utils.errors import InputError


def motion(frames: int = 6) -> ManoMotion:
    local = rotations(frames, 5, 3, seed=1, angle=1.5).numpy()
    return ManoMotion(local, rotations(frames, seed=2).numpy(), np.arange(10.0) / 10, 24.0, "left")


def test_what_is_written_is_read(tmp_path):
    write_mano_motion(tmp_path / "m.npz", motion())
    found = read_mano_motion(tmp_path / "m.npz")
    assert np.abs(found.local - motion().local).max() < 1e-7
    assert np.abs(found.wrist - motion().wrist).max() < 1e-7
    assert np.array_equal(found.shape, motion().shape)
    assert (found.fps, found.side, found.varying_shape) == (24.0, "left", False)


def test_pose_is_in_manos_order(tmp_path):
    # MANO's order: index, middle, pinky, ring, thumb; the vector says which it is.
    pose = np.repeat(np.arange(15.0) / 10, 3).reshape(1, 45) * np.tile([1.0, 0, 0], 15)
    np.savez(tmp_path / "p.npz", pose=pose)
    found = read_mano_motion(tmp_path / "p.npz")
    for place, finger in enumerate(("index", "middle", "pinky", "ring", "thumb")):
        for joint in range(3):
            turned = found.local[0, FINGERS.index(finger), joint]
            assert np.arctan2(turned[2, 1], turned[1, 1]) == pytest.approx((3 * place + joint) / 10)
    assert np.array_equal(found.wrist, np.eye(3)[None]) and found.shape is None and found.fps is None


def test_other_spellings_mean_the_same(tmp_path):
    write_mano_motion(tmp_path / "m.npz", motion())
    with np.load(tmp_path / "m.npz") as arrays:
        pose, local = arrays["pose"], arrays["local_rotations"]
    mean = np.linspace(-0.2, 0.2, 45)
    spellings = {
        "split": {"hand_pose": pose[:, 3:], "global_orient": pose[:, :3], "betas": np.ones((6, 10))},
        "matrices": {"local_rotations": local},
        "relative": {"poses": pose - np.concatenate([np.zeros(3), mean]), "flat_hand_mean": np.array(False)},
    }
    for name, arrays in spellings.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
        found = read_mano_motion(tmp_path / f"{name}.npz", mean)
        assert np.abs(found.local - motion().local).max() < 1e-6, name
        assert np.abs(found.wrist - motion().wrist).max() < 1e-6, name


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"verts": np.zeros((3, 3))}, "MANO motion"),
        ({"pose": np.zeros((4, 47))}, "45"),
        ({"pose": np.full((4, 45), np.nan)}, "frame 0"),
        ({"pose": np.zeros((4, 45)), "shape": np.zeros(9)}, "shape"),
        ({"pose": np.zeros((4, 45)), "fps": np.array(-1.0)}, "frames per second"),
        ({"pose": np.zeros((4, 45)), "fps": np.array(0.001)}, "0.1 to 10000 frames per second, found 0.001"),
        ({"pose": np.zeros((4, 45)), "fps": np.array(1e5)}, "0.1 to 10000 frames per second"),
        ({"pose": np.zeros((4, 45)), "fps": np.array(np.nan)}, "frames per second, found nan"),
        ({"pose": np.zeros((4, 45)), "fps": np.array("thirty")}, "number of frames per second, found 'thirty'"),
        ({"pose": np.zeros((4, 45)), "side": np.array("top")}, "side"),
        ({"local_rotations": np.zeros((4, 15, 3, 3))}, "rotations"),
        ({"pose": np.zeros((4, 45)), "flat_hand_mean": np.array(False)}, "mean pose"),
    ],
)
def test_bad_files_are_named(tmp_path, arrays, words):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(InputError, match=words) as caught:
        read_mano_motion(tmp_path / "bad.npz")
    assert "bad.npz" in str(caught.value)
