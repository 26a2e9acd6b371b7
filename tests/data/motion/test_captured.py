"""Poses of MANO hands in the spellings of capture programs and data sets: all mean the same fist and wrist."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix

from data.character.reading import Reading
from data.motion.captured import MANO_ORDER, Model
from data.motion.mano_file import arrays_of, is_mano_motion, read_mano_motion, read_mano_motions
from data.motion.reading import read_motions
from utils.errors import InputError

FRAMES = 5
RANDOM = np.random.default_rng(3)
POSE = {side: RANDOM.normal(scale=0.4, size=(FRAMES, 45)) for side in ("right", "left")}
WRIST = RANDOM.normal(scale=0.5, size=(FRAMES, 3))
MEAN, COMPONENTS = RANDOM.normal(scale=0.1, size=45), np.linalg.qr(RANDOM.normal(size=(45, 45)))[0]
BODY = RANDOM.normal(scale=0.3, size=(FRAMES, 63))
MIRROR = np.array([1.0, -1, -1])
"""What mirroring across x does to an axis-angle vector."""


def models(_side: str) -> Model:
    return Model(MEAN, COMPONENTS)


def matrices(vectors: np.ndarray) -> np.ndarray:
    return axis_angle_to_matrix(torch.from_numpy(vectors.reshape(*vectors.shape[:-1], -1, 3))).numpy()


def local(side: str) -> np.ndarray:
    return matrices(POSE[side])[:, MANO_ORDER].reshape(FRAMES, 5, 3, 3, 3)


RIGHT, LEFT = POSE["right"], POSE["left"]
WHOLE = np.concatenate([WRIST, BODY, np.zeros((FRAMES, 9)), LEFT, RIGHT], axis=1)
COEFFICIENTS = (RIGHT - MEAN) @ COMPONENTS.T
ONE_HAND = {
    "mano": {"pose": np.hstack([WRIST, RIGHT])},
    "arctic": {"rot": WRIST, "pose": RIGHT, "trans": np.zeros((FRAMES, 3)), "shape": np.zeros(10)},
    "grab": {"global_orient": WRIST, "hand_pose": np.zeros((FRAMES, 24)), "fullpose": RIGHT},
    "components": {"global_orient": WRIST, "hand_pose": COEFFICIENTS[:, :44]},
    "dexycb": {"pose_m": np.hstack([WRIST, COEFFICIENTS, WRIST]), "mano_side": np.array("right")},
    "hamer": {"hand_pose": matrices(RIGHT), "global_orient": matrices(WRIST), "is_right": np.ones(FRAMES)},
    "nine numbers": {"hand_pose": matrices(RIGHT).reshape(FRAMES, 135), "global_orient": matrices(WRIST)[:, 0]},
    "vectors": {"hand_pose": RIGHT.reshape(FRAMES, 15, 3), "global_orient": WRIST},
}


@pytest.mark.parametrize("kind", ONE_HAND)
def test_one_hand(tmp_path, kind):
    np.savez(tmp_path / "m.npz", **ONE_HAND[kind], framerate=np.array(120.0))
    assert is_mano_motion(arrays_of(tmp_path / "m.npz"))
    found = read_mano_motions(tmp_path / "m.npz", models)
    assert list(found) == ["right"] and found["right"].fps == 120
    expected = local("right")
    if kind == "components":  # the last component is left out
        vectors = MEAN + COEFFICIENTS[:, :44] @ COMPONENTS[:44]
        expected = matrices(vectors)[:, MANO_ORDER].reshape(expected.shape)
    np.testing.assert_allclose(found["right"].local, expected, atol=1e-9)
    np.testing.assert_allclose(found["right"].wrist, matrices(WRIST)[:, 0], atol=1e-9)


BOTH_HANDS = {
    "smplx": {"poses": WHOLE, "betas": np.zeros(300)},
    "smplh": {"poses": np.delete(WHOLE, range(66, 75), axis=1), "betas": np.zeros(16)},
    "parts": {"left_hand_pose": LEFT, "right_hand_pose": RIGHT, "global_orient": WRIST, "body_pose": BODY},
    "amass parts": {"pose_hand": np.hstack([LEFT, RIGHT]), "root_orient": WRIST, "pose_body": BODY},
}


@pytest.mark.parametrize("kind", BOTH_HANDS)
def test_both_hands_and_how_the_body_turns_the_wrists(tmp_path, kind):
    np.savez(tmp_path / "m.npz", **BOTH_HANDS[kind], mocap_frame_rate=np.array(30))
    found = read_mano_motions(tmp_path / "m.npz", models)
    assert list(found) == ["right", "left"]
    turns = matrices(np.hstack([WRIST, BODY]))
    for side, arm in (("right", (3, 6, 9, 14, 17, 19, 21)), ("left", (3, 6, 9, 13, 16, 18, 20))):
        wrist = turns[:, 0]
        for joint in arm:
            wrist = wrist @ turns[:, joint]
        np.testing.assert_allclose(found[side].local, local(side), atol=1e-9)
        np.testing.assert_allclose(found[side].wrist, wrist, atol=1e-9)
        assert found[side].shape is None and found[side].fps == 30


def test_a_left_hand_given_as_its_mirror_image(tmp_path):
    pose = np.concatenate([RIGHT, (LEFT.reshape(-1, 15, 3) * MIRROR).reshape(-1, 45)])
    arrays = {"hand_pose": matrices(pose), "is_right": np.repeat([1.0, 0], FRAMES), "betas": np.zeros((10, 10))}
    arrays["global_orient"] = matrices(np.concatenate([WRIST, WRIST * MIRROR]))
    np.savez(tmp_path / "m.npz", **arrays)
    found = read_mano_motions(tmp_path / "m.npz", models)
    for side in ("right", "left"):
        np.testing.assert_allclose(found[side].local, local(side), atol=1e-9)
        np.testing.assert_allclose(found[side].wrist, matrices(WRIST)[:, 0], atol=1e-9)
    np.savez(tmp_path / "uneven.npz", hand_pose=matrices(RIGHT), is_right=np.array([1, 1, 1, 0, 0]))
    with pytest.raises(InputError, match="uneven.npz: expected is_right to be the same .* found 3 right and 2 left"):
        read_mano_motions(tmp_path / "uneven.npz", models)


def test_json(tmp_path):
    arrays = {"hand_pose": RIGHT.tolist(), "global_orient": WRIST.tolist(), "fps": 60}
    frames = [{"hand_pose": a.tolist(), "global_orient": w.tolist()} for a, w in zip(RIGHT, WRIST, strict=True)]
    hands = {side: {"pose": pose.tolist(), "rot": WRIST.tolist()} for side, pose in POSE.items()}
    for name, content in (("arrays", arrays), ("frames", frames), ("hands", hands)):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(content))
        found = read_mano_motions(path, models)
        for side, motion in found.items():
            np.testing.assert_allclose(motion.local, local(side), atol=1e-9)
            np.testing.assert_allclose(motion.wrist, matrices(WRIST)[:, 0], atol=1e-9)
        assert list(found) == (["right", "left"] if name == "hands" else ["right"])
    assert read_mano_motion(tmp_path / "arrays.json").fps == 60


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "not JSON"), ("[]", "MANO motion"), ('{"pose": [[1, 2], [3]]}', "numbers in pose"),
     ('{"pose": [[null, 2]]}', "NaN"), ('{"pose": {"a": 1}}', "MANO motion"), ("3", "MANO motion")],
)  # fmt: skip
def test_bad_json_is_named(tmp_path, text, words):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(InputError, match=f"bad.json: .*{words}"):
        read_mano_motions(tmp_path / "bad.json", models)


def test_components_need_the_model(tmp_path):
    np.savez(tmp_path / "m.npz", **ONE_HAND["dexycb"])
    with pytest.raises(InputError, match="m.npz: .*give the model"):
        read_mano_motion(tmp_path / "m.npz")


def test_it_is_said_whose_components_are_taken(tmp_path, mano_models, mano_axes, caplog):
    np.savez(tmp_path / "m.npz", **ONE_HAND["dexycb"])
    list(read_motions(tmp_path / "m.npz", Reading(tmp_path, smplx_path=mano_models, mano_axes=mano_axes)))
    assert f"those of {mano_models / 'mano' / 'MANO_RIGHT.pkl'} are taken" in caplog.text
