"""Files of positions in the spellings of recorders: all mean the same hands."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from data.character.reading import Reading
from data.motion import reading
from data.motion.mano_file import json_of
from data.motion.reading import find_motions, read_motions
from data.points.orders import ORDERS, order_of_points
from model.topology import FINGERS, ROOTS, TIPS
from tests.data.points.hands import MIRROR, angles, hand_points, listed, palm
from utils.errors import InputError

FRAMES = 6
MEDIAPIPE, WEBXR = "MediaPipe, OpenPose", "WebXR"
RIGHT, LEFT = (hand_points(angles(FRAMES, seed, share=0.3), side, seed=seed) / 100 for seed, side in
               enumerate(("right", "left")))  # fmt: skip
R, L = listed(RIGHT, MEDIAPIPE), listed(LEFT, MEDIAPIPE)
JOINTS = {"THUMB": ("CMC", "MCP", "IP", "TIP")} | {
    f"{finger}_FINGER": ("MCP", "PIP", "DIP", "TIP") for finger in ("INDEX", "MIDDLE", "RING", "PINKY")
}
NAMES = ["WRIST", *(f"{finger}_{joint}" for finger, joints in JOINTS.items() for joint in joints)]


def xyz(points: np.ndarray) -> list:
    return [dict(zip("xyz", point, strict=True)) for point in points.tolist()]


def down(points: np.ndarray) -> np.ndarray:
    """As a camera counts: y down, z away."""
    return points * np.array([1.0, -1, -1])


def read(path: Path, **options):
    side = options.pop("side", None)
    (motion,) = read_motions(path, Reading(path.parent / "none", side=side), **options)
    return motion


def check(motion, **hands: np.ndarray) -> None:
    """The motion's hands have their joints within half a millimetre of points (metres, hand order)."""
    assert list(motion.tracks) == [side for side in ("right", "left") if side in hands]
    starts = np.cumsum([0, *map(len, motion.bvh.channels)])
    for side, points in hands.items():
        track = motion.tracks[side]
        joints = track.hand.shaped.with_local_rotations(track.local).joints.double().numpy()
        wrist = starts[track.hand.map.wrist]
        placed = joints @ np.swapaxes(track.wrist, -1, -2) + motion.bvh.values[:, None, wrist : wrist + 3]
        off = np.linalg.norm(placed - 100 * points, axis=-1)
        assert np.isfinite(track.local.numpy()).all() and off[:, :17].max() < 0.05 * palm(points) / 0.09


CASES = {
    "one frame an object": ([{"handedness": "right", "jointPositions": p} for p in R.tolist()], {"right": RIGHT}),
    "sides": ({"fps": 25, "right": R.tolist(), "left": L.tolist()}, {"right": RIGHT, "left": LEFT}),
    "frames of sides": (
        {"fps": 25, "frames": [{"left_hand": {"joints": b}, "right_hand": {"joints": a}}
                               for a, b in zip(R.tolist(), L.tolist(), strict=True)]},
        {"right": RIGHT, "left": LEFT},
    ),
    "frames of hands": (
        {"frames": [{"hands": [{"handedness": "Left", "landmarks": xyz(down(b))},
                               {"handedness": "Right", "landmarks": xyz(down(a))}]}
                    for a, b in zip(R, L, strict=True)]},
        {"right": RIGHT, "left": LEFT},
    ),
    "MediaPipe solutions": (
        [{"multiHandedness": [{"label": "Left", "score": 0.9}, {"label": "Right", "score": 0.9}],
          "multiHandLandmarks": [xyz(b), xyz(a)],
          "multiHandWorldLandmarks": [xyz(down(b)), xyz(down(a))]} for a, b in zip(R, L, strict=True)],
        {"right": RIGHT, "left": LEFT},
    ),
    "MediaPipe tasks": (
        [{"landmarks": [xyz(a * 0.1)], "worldLandmarks": [xyz(down(a))],
          "handedness": [[{"categoryName": "Right", "score": 0.98}]]} for a in R],
        {"right": RIGHT},
    ),
    "bare": (R.tolist(), {"right": RIGHT}),
    "flat": (L.reshape(FRAMES, 63).tolist(), {"left": LEFT}),
    "confidences": ({"keypoints": np.concatenate([L, np.ones((FRAMES, 21, 1))], -1).tolist()}, {"left": LEFT}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_json(tmp_path, case):
    content, hands = CASES[case]
    (tmp_path / "p.json").write_text(json.dumps(content))
    motion = read(tmp_path / "p.json")
    check(motion, **hands)
    told = isinstance(content, dict) and "fps" in content
    assert motion.frame_rate == (25 if told else 30) and motion.rate_told == told
    assert find_motions(tmp_path) == [tmp_path / "p.json"]


ARRAYS = {
    "one": ({"joints": R, "fps": 50.0}, {"right": RIGHT}),
    "sides": ({"left_joints": L, "right_joints": R}, {"right": RIGHT, "left": LEFT}),
    "named": ({"points": L[:, ::-1], "joint_names": np.array(NAMES[::-1]), "side": "left"}, {"left": LEFT}),
    "stacked": ({"keypoints_3d": np.stack([L, R], axis=1)}, {"right": RIGHT, "left": LEFT}),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_npz(tmp_path, case):
    arrays, hands = ARRAYS[case]
    np.savez(tmp_path / "p.npz", **arrays)
    check(read(tmp_path / "p.npz"), **hands)


def table(path: Path, names: list[str], rows: list) -> None:
    path.write_text("\n".join([",".join(names), *(",".join(map(str, row)) for row in rows)]) + "\n")


def test_npy_and_tables(tmp_path):
    np.save(tmp_path / "a.npy", R)
    check(read(tmp_path / "a.npy"), right=RIGHT)
    flat = R.reshape(FRAMES, 63)
    np.savetxt(tmp_path / "b.csv", flat, delimiter=",")
    check(read(tmp_path / "b.csv"), right=RIGHT)
    numbers = [f"{axis}{joint}" for joint in range(21) for axis in "xyz"]
    table(tmp_path / "c.csv", ["time", *numbers], [[f / 60, *row] for f, row in enumerate(flat.tolist())])
    motion = read(tmp_path / "c.csv")
    check(motion, right=RIGHT)
    assert motion.frame_rate == 60 and motion.rate_told
    sides = [f"{side}_{name}_{axis}" for side in ("left", "right") for name in NAMES for axis in "xyz"]
    table(tmp_path / "d.csv", sides, np.hstack([L.reshape(FRAMES, 63), flat]).tolist())
    check(read(tmp_path / "d.csv"), right=RIGHT, left=LEFT)
    rows = [[f, hand, name, *points[f, j]] for f in range(FRAMES) for hand, points in (("Right", R), ("Left", L))
            for j, name in enumerate(NAMES)]  # fmt: skip
    table(tmp_path / "e.csv", ["frame", "hand", "landmark", "x", "y", "z"], rows)
    check(read(tmp_path / "e.csv"), right=RIGHT, left=LEFT)
    rows = [[f, hand, *points[f].ravel()] for f in range(FRAMES) for hand, points in (("Right", R), ("Left", L))]
    table(tmp_path / "f.csv", ["frame", "hand", *numbers], rows)
    check(read(tmp_path / "f.csv"), right=RIGHT, left=LEFT)
    (tmp_path / "other.csv").write_text("name,score\na,1\n")
    np.save(tmp_path / "shape.npy", np.zeros((FRAMES, 10)))
    assert [path.name for path in find_motions(tmp_path)] == [
        f"{x}" for x in ("a.npy", "b.csv", "c.csv", "d.csv", "e.csv", "f.csv")
    ]


@pytest.mark.parametrize("order", [order.name for order in ORDERS])
@pytest.mark.parametrize("side", ["right", "left"])
def test_orders_are_recognised(tmp_path, order, side):
    points = RIGHT if side == "right" else LEFT
    assert order_of_points(listed(points, order)).name == order
    np.savez(tmp_path / "p.npz", joints=listed(points, order))
    check(read(tmp_path / "p.npz"), **{side: points})


def test_an_unknown_order_is_refused(tmp_path):
    np.save(tmp_path / "p.npy", R[:, np.random.default_rng(0).permutation(21)])
    with pytest.raises(
        InputError, match=r"p.npy: expected the 21 joints .*MediaPipe.* found points that make no hand"
    ):
        read(tmp_path / "p.npy")
    np.save(tmp_path / "q.npy", R[:, :20])
    with pytest.raises(InputError, match=r"q.npy: expected 21, 25, 26 points of three numbers a hand, found an array"):
        read(tmp_path / "q.npy")
    np.save(tmp_path / "r.npy", R[..., :2])
    with pytest.raises(InputError, match="take world landmarks"):
        read(tmp_path / "r.npy")


@pytest.mark.parametrize(("factor", "word"), [(1, "metres"), (100, "centimetres"), (1000, "millimetres")])
def test_units_are_recognised(tmp_path, caplog, factor, word):
    np.save(tmp_path / "p.npy", R * factor)
    check(read(tmp_path / "p.npy"), right=RIGHT)
    assert f" {word};" in caplog.text and "0.0" in caplog.text and "MediaPipe" in caplog.text


def test_unknown_units_become_a_palm_of_nine_centimetres(tmp_path, caplog):
    np.save(tmp_path / "p.npy", R * 7000)
    check(read(tmp_path / "p.npy"), right=RIGHT * 0.09 / palm(RIGHT))
    assert "no known unit" in caplog.text
    np.save(tmp_path / "q.npy", R / 2)
    check(read(tmp_path / "q.npy", scale=200.0), right=RIGHT)


def test_image_units_are_recognised_and_a_nearer_hand_is_no_larger(tmp_path, caplog):
    drawn = angles(40, 3, share=0.3)
    points = listed(hand_points(drawn, seed=3), MEDIAPIPE) / 100
    near = np.random.default_rng(0).uniform(1, 3, (40, 1, 1))
    seen = down(points - points[:, :1]) * near * [9 / 16, 1, 9 / 16] + [0.5, 0.5, 0]
    (tmp_path / "p.json").write_text(json.dumps([{"landmarks": xyz(each)} for each in seen]))
    motion = read(tmp_path / "p.json")
    assert "normalised image units (width to height 1.78" in caplog.text
    true = read_points(tmp_path, points)
    cos = (np.einsum("...ab,...ab", motion.tracks["right"].local, true.tracks["right"].local) - 1) / 2
    assert np.degrees(np.arccos(np.clip(cos, -1, 1))).mean() < 3


def read_points(folder: Path, points: np.ndarray):
    np.save(folder / "true.npy", points)
    return read(folder / "true.npy")


def test_the_side_is_told_by_geometry_or_asked_for(tmp_path, caplog):
    flat = angles(FRAMES) * 0
    points = listed(hand_points(flat), MEDIAPIPE) / 100
    np.save(tmp_path / "flat.npy", points)
    with pytest.raises(InputError, match="flat.npy: expected a file that says whose hand .* `hands` right"):
        read(tmp_path / "flat.npy")
    assert list(read(tmp_path / "flat.npy", side="left").tracks) == ["left"]
    np.savez(tmp_path / "unity.npz", right_joints=R * MIRROR)
    check(read(tmp_path / "unity.npz"), right=RIGHT)
    assert "left-handed, and were mirrored" in caplog.text
    (tmp_path / "selfie.json").write_text(json.dumps([{"handedness": "Left", "landmarks": xyz(down(p))} for p in R]))
    check(read(tmp_path / "selfie.json"), right=RIGHT)
    assert "called left, but bends as a right hand" in caplog.text


def test_gaps_are_filled_and_said(tmp_path, caplog):
    frames = 60
    share = np.linspace(0, 1, frames)[:, None, None, None]
    points = hand_points(share * angles(1, 5, share=0.2), seed=0) / 100
    points = points[:, :1] * 0 + (points - points[:, :1]) @ np.eye(3)
    known = listed(points, MEDIAPIPE)
    lost: list = [{"right": each} for each in known.tolist()]
    lost[10:14] = [{"right": None}, {}, None, {"right": [[None] * 3] * 21}]
    lost[30:50] = [{"right": [[0, 0, 0]] * 21}] * 20
    lost[-2:] = [None, {}]
    (tmp_path / "p.json").write_text(json.dumps({"fps": 30, "frames": lost}))
    motion = read(tmp_path / "p.json")
    whole = motion.tracks["right"]
    assert motion.frames == frames
    assert "right hand not seen in frames 10 to 13: filled" in caplog.text
    assert "not seen in frames 30 to 49, 58 to 59: it waits in its last pose" in caplog.text
    local = whole.local.double()
    assert torch.equal(local[30], local[29]) and torch.equal(local[34], local[29])  # it waits
    assert not torch.equal(local[40], local[29]) and torch.equal(local[59], local[57])
    steps = (local[1:] - local[:-1]).abs().amax((1, 2, 3, 4))
    assert steps.max() < 1.1 * steps[:9].max() + (local[50] - local[29]).abs().max() / 15


def test_radii_come_along(tmp_path):
    radii = np.linspace(0.012, 0.004, 25)
    frames = [
        {"handedness": "right", "jointPositions": p, "radii": radii.tolist()} for p in listed(RIGHT, WEBXR).tolist()
    ]
    (tmp_path / "p.json").write_text(json.dumps(frames))
    motion = read(tmp_path / "p.json")
    places = dict(zip([0, *ROOTS, *TIPS], [0, 11, 16, 21, 6, 1, 14, 19, 24, 9, 4], strict=True))
    for joint, place in places.items():
        assert motion.radii["right"][joint] == pytest.approx(100 * radii[place])
    assert len(FINGERS) == 5 and motion.radii["right"].shape == (21,)


BROKEN = {
    "p.json": ('[{"right": [[0, 1', "p.json: this is not JSON"),
    "q.json": (json.dumps([{"right": R[0].tolist()}, {"right": R[0, :20].tolist()}]), "q.json: frame 1: expected 21"),
    "r.json": (json.dumps([{"right": R[0].tolist()}, {"right": [["a", 0, 0]] * 21}]), "r.json: frame 1: expected 21"),
    "s.json": (json.dumps([{"right": None}, {"right": None}]), "s.json: expected a hand in some frame, found none"),
    "a.csv": ("x,y\n1,2\n", "a.csv, line 1: expected columns of 21, 25, 26 joints"),
    "b.csv": (",".join(["1"] * 62) + "\n", "b.csv, line 1: expected 63, 75, 78 numbers a row, found 62"),
    "c.csv": ("\n".join([",".join(["1"] * 63), ",".join(["1"] * 62)]), "c.csv, line 2: expected 63 cells .* found 62"),
    "d.csv": ("\n".join([",".join(["1"] * 63), ",".join(["1"] * 62 + ["q"])]), "d.csv, line 2: expected a number"),
    "e.csv": ("", "e.csv: expected rows"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused_with_their_place(tmp_path, name):
    text, message = BROKEN[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read(tmp_path / name)


@pytest.mark.parametrize("far", [1e10, 1e200, 1e308])
def test_positions_beyond_all_space_are_refused_without_a_warning(tmp_path, far, recwarn):
    points = R.copy()
    points[3, 2, 0] = far
    np.save(tmp_path / "p.npy", points)
    with pytest.raises(InputError, match="p.npy: frame 3: expected positions within 1e\\+09, found 1e\\+"):
        read(tmp_path / "p.npy")
    points = R * 1e-9
    points[3, 2, 0] = 1e8  # far away only once the hand has the size of one
    np.save(tmp_path / "q.npy", points)
    with pytest.raises(InputError, match="q.npy: frame 3: expected positions within 1e\\+09 centimetres"):
        read(tmp_path / "q.npy")
    assert not recwarn.list


@pytest.fixture(autouse=True)
def _heard(caplog):
    caplog.set_level(logging.WARNING)


def test_a_folder_of_json_is_parsed_once(tmp_path, monkeypatch):
    parsed = []
    monkeypatch.setattr(reading, "json_of", lambda path: parsed.append(path) or json_of(path))
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps(R.tolist()))
    for path in find_motions(tmp_path):
        check(read(path), right=RIGHT)
    assert sorted(path.stem for path in parsed) == ["a", "b"] and reading._looked_at.keys().isdisjoint(parsed)
