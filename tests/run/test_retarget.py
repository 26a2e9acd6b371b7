"""`python -m run.retarget` as a user runs it: sources, targets, methods, outputs, and everything that can be wrong."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest
import torch

from data.character.gltf import read_gltf_character
from data.character.reading import Reading, read_character
from data.formats.bvh import Bvh, read_bvh, write_bvh
from data.motion.mano_file import ManoMotion, read_mano_motion, write_mano_motion
from data.rig.rotations import file_rotations
from model.asrn import ASRN
from model.dm import DM
from model.kinematics import tbs_from_angles
from run.drawing.surfaces import bone_hand
from run.retarget import retarget
from run.retargeting import film as retarget_film
from tests.data.points.hands import MIRROR, angles, hand_points, listed
from tests.data.rig.rigs import character, skeleton
from tests.helpers import set_weights
from utils import scratch
from utils.errors import InputError

FRAMES = 30


@pytest.fixture(scope="module")
def files(tmp_path_factory, golden, mano_models):
    """A data set with two characters and MANO, a motion of the whole first one, and small untrained networks."""
    folder = tmp_path_factory.mktemp("retarget")
    (folder / "set" / "finger_data").mkdir(parents=True)
    (folder / "set" / "models").symlink_to(mano_models)
    for name in ("Aj", "Kaya"):
        for ending in ("mesh_data", "finger_axis"):
            shutil.copy(golden / "inputs" / f"{name}_{ending}.npz", folder / "set" / "finger_data")
    shutil.copy(golden / "inputs" / "mano_finger_axis.npz", folder / "set" / "finger_data")
    _write_motion(folder / "moves.bvh", golden)
    for method, cls in (("asrn", ASRN), ("dm", DM)):
        network = cls(hidden_channel=10, static_hidden_channel=6)
        set_weights(network, 1)
        content = {"state_dict": network.state_dict(), "hyper_parameters": dict(network.hparams)}
        torch.save(content, folder / f"{method}.ckpt")
    return folder


def _write_motion(path, golden) -> None:
    source = read_character(str(golden / "inputs" / "Aj_mesh_data.npz"), Reading(path.parent))
    bones = source.skeleton
    turned = np.broadcast_to(np.eye(3), (FRAMES, len(bones.names), 3, 3)).copy()
    time = torch.arange(FRAMES)[:, None, None] / FRAMES
    for side, hand in source.hands.items():
        angles = torch.zeros(FRAMES, 5, 3, 3)
        angles[..., 1] = 0.5 + 0.4 * torch.sin(6 * time + torch.arange(15).view(5, 3))
        angles[:, :, 0, 2] = 0.1
        local = hand.shaped.with_tbs(tbs_from_angles(angles)).local.double().numpy()
        for joint, values in file_rotations(hand.map, hand.rest, local).items():
            turned[:, joint] = values
        assert side == hand.side
    places = np.broadcast_to(bones.heads[0], (FRAMES, 3))
    write_bvh(path, Bvh.from_rotations(bones.names, bones.parents, bones.offsets, turned, frame_time=1 / 30,
                                       root_positions=places))  # fmt: skip


def run(files, *words) -> list[dict]:
    return retarget([str(word) for word in (*words, "--data_path", files / "set")])


def rotations_of(bvh: Bvh) -> dict[str, np.ndarray]:
    return dict(zip(bvh.joint_names, np.moveaxis(bvh.rotations(), 1, 0), strict=True))


def worst(first: dict, second: dict, names) -> float:
    chord = max(np.linalg.norm((first[name] - second[name]).reshape(-1, 9), axis=1).max() for name in names)
    return float(np.degrees(2 * np.arcsin(min(1, chord / 8**0.5))))


@pytest.mark.parametrize("method", ["tbs_copy", "rotation_copy", "optimize", "optimize --skin"])
def test_the_same_hand_in_and_out_is_the_identity(files, tmp_path, method):
    (report,) = run(files, files / "moves.bvh", "--target", "Aj", "--source_hand", "Aj", "--method", *method.split(),
                    "--output", tmp_path / "o.bvh", "--report")  # fmt: skip
    before, after = (rotations_of(read_bvh(path)) for path in (files / "moves.bvh", tmp_path / "o.bvh"))
    assert worst(before, after, before) < 0.5
    assert report["body_kept"] and report["body"] == "follow" and set(report["hands"]) == {"right", "left"}
    for hand in report["hands"].values():
        assert hand["S_finger"] > 0.9499 and hand["jerk_ratio"] == pytest.approx(1, abs=0.03)
        skin = hand["skin"]
        assert skin["frames"] == FRAMES and skin["false_touches"] == 0 and skin["deepest"] < 0.02


@pytest.mark.parametrize("words", [("asrn",), ("dm",), ("asrn", "--refine", "2")])
@pytest.mark.parametrize("target", ["Kaya", "mano"])
def test_networks_give_files_and_numbers(files, tmp_path, words, target):
    method, *more = words
    words = ["--target", target, "--method", method, "--ckpt_path", files / f"{method}.ckpt", *more]
    (report,) = run(files, files / "moves.bvh", *words, "--output", tmp_path / "made", "--format", "bvh", "--report")
    names = ["moves.bvh"] if target == "Kaya" else ["moves_right.bvh", "moves_left.bvh"]
    assert [name for name in names if not (tmp_path / "made" / name).is_file()] == []
    saved = json.loads((tmp_path / "made" / "moves_report.json").read_text())
    assert saved["hands"] == json.loads(json.dumps(report["hands"]))
    for hand in saved["hands"].values():
        assert -1 <= hand["S_finger"] <= 0.95 and hand["frames"] == FRAMES
        assert hand["joints_compared"] == 21


def test_refining_by_the_optimiser_finds_more_meaning(files, tmp_path):
    values = []
    for refine in (0, 4):
        (report,) = run(files, files / "moves.bvh", "--target", "Kaya", "--ckpt_path", files / "asrn.ckpt", "--refine",
                        refine, "--output", tmp_path / "made", "--report")  # fmt: skip
        assert report["method"] == "asrn"  # as the checkpoint says
        values.append(report["hands"]["right"]["S_finger"])
    assert values[1] > values[0] + 0.01


def test_the_optimiser_is_taken_where_nothing_is_named(files, tmp_path):
    values = []
    for words in ((), ("--method", "tbs_copy")):
        (report,) = run(files, files / "moves.bvh", "--target", "Kaya", *words, "--hands", "right", "--report",
                        "--output", tmp_path / f"{len(words)}.bvh")  # fmt: skip
        values.append((report["hands"]["right"]["S_finger"], report["method"]))
    assert values[0][1] == "optimize" and values[0] > values[1]


def test_folders_keep_their_layout_and_one_bad_file_stops_nothing(files, tmp_path, capsys):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    shutil.copy(files / "moves.bvh", tmp_path / "in" / "deep" / "one.bvh")
    shutil.copy(files / "moves.bvh", tmp_path / "in" / "two.bvh")
    (tmp_path / "in" / "bad.bvh").write_text("HIERARCHY\nnonsense")
    (tmp_path / "in" / "bad.npz").write_bytes(b"PK nonsense")
    np.savez(tmp_path / "in" / "weights.npz", weights=np.zeros(3))  # nothing of hands
    with pytest.raises(InputError, match="2 of 4"):
        run(files, tmp_path / "in", "--target", "Kaya", "--method", "tbs_copy", "--output", tmp_path / "out")
    made = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert made == ["deep/one.bvh", "two.bvh"]
    said = capsys.readouterr().out
    assert "bad.bvh" in said and "bad.npz" in said


def test_mano_parameters_in_and_out(files, tmp_path):
    angles = torch.zeros(12, 5, 3, 3)
    angles[..., 1] = torch.linspace(0, 1, 12)[:, None, None]
    local = tbs_from_angles(angles).double().numpy()
    wrist = np.broadcast_to(np.eye(3), (12, 3, 3))
    write_mano_motion(tmp_path / "in.npz", ManoMotion(local, wrist, np.ones(10), 25.0, "left"))
    run(files, tmp_path / "in.npz", "--target", "mano", "--shape", *["1"] * 10, "--method", "tbs_copy", "--output",
        tmp_path / "out.npz")  # fmt: skip
    found = read_mano_motion(tmp_path / "out.npz")
    assert np.abs(found.local - local).max() < 1e-5
    assert (found.fps, found.side) == (25.0, "left") and np.allclose(found.shape, 1)


def test_the_frame_rate_of_a_file_that_tells_none_is_said(files, tmp_path, capsys):
    np.savez(tmp_path / "in.npz", pose=np.zeros((4, 48)), shape=np.zeros(10), side="right")
    words = [tmp_path / "in.npz", "--target", "Kaya", "--method", "tbs_copy", "--output", tmp_path / "o.bvh"]
    (report,) = run(files, *words)
    assert report["frames_per_second"] == 30 and "tells no fps; taken as 30" in capsys.readouterr().err
    run(files, *words, "--fps", "25")
    assert "tells no fps" not in capsys.readouterr().err


def test_positions_alone_become_a_skeleton_and_move_a_character(files, tmp_path, capsys):
    points = listed(hand_points(angles(4, 1, share=0.3)), "MediaPipe, OpenPose") / 100
    content = {"fps": 24, "right": points.tolist(), "left": (points * MIRROR).tolist()}
    (tmp_path / "points.json").write_text(json.dumps(content))
    retarget([str(tmp_path / "points.json"), "--output", str(tmp_path / "hands.bvh")])
    own = read_bvh(tmp_path / "hands.bvh")
    assert own.joint_names[0] == "Hands" and own.n_frames == 4 and own.frame_time == pytest.approx(1 / 24)
    for source in ("points.json", "hands.bvh"):
        words = ("--target", "Kaya", "--method", "tbs_copy", "--output", tmp_path / f"{source}.bvh")
        run(files, tmp_path / source, *words)
    first, second = (rotations_of(read_bvh(tmp_path / f"{name}.bvh")) for name in ("points.json", "hands.bvh"))
    assert all(np.abs(first[name] - second[name]).max() < 1e-5 for name in first)
    with pytest.raises(InputError, match="--format glb: expected --target, found none"):
        retarget([str(tmp_path / "points.json"), "--output", str(tmp_path / "hands.glb")])
    still = np.broadcast_to(np.eye(3), (2, 5, 3, 3, 3)), np.broadcast_to(np.eye(3), (2, 3, 3))
    write_mano_motion(tmp_path / "m.npz", ManoMotion(*still, None, 30.0, "right"))
    with pytest.raises(InputError, match="expected `target`, since poses of MANO"):
        run(files, tmp_path / "m.npz", "--output", tmp_path / "m.bvh")


def test_one_hand_alone(files, tmp_path):
    (report,) = run(files, files / "moves.bvh", "--target", "Kaya", "--method", "tbs_copy", "--hands", "left",
                    "--output", tmp_path / "o.bvh", "--report")  # fmt: skip
    assert list(report["hands"]) == ["left"]
    before, after = (rotations_of(read_bvh(path)) for path in (files / "moves.bvh", tmp_path / "o.bvh"))
    right = [name for name in before if "RightHand" in name]
    assert worst(before, after, right) < 1e-4  # what is not retargeted moves as the source's


def test_glb_by_the_ending_and_four_fingers(files, tmp_path):
    target = character(skeleton(without=("pinky",)), tmp_path, "Mouse")
    bones = target.skeleton
    np.savez(
        tmp_path / "Mouse_mesh_data.npz", verts=target.skin.vertices.astype(np.float32), edges=np.zeros((0, 2), int),
        faces=target.skin.faces, weight=target.skin.weights, vgrp_label=np.array(bones.names),
        vgrp_cors=bones.heads.astype(np.float32), vgrp_parents=bones.parents, bone_names=np.array(bones.names),
        bone_cors=bones.heads.astype(np.float32), bone_parents=bones.parents,
    )  # fmt: skip
    (report,) = run(files, files / "moves.bvh", "--target", tmp_path / "Mouse_mesh_data.npz", "--ckpt_path",
                    files / "asrn.ckpt", "--output", tmp_path / "o.glb", "--report")  # fmt: skip
    found = read_gltf_character(tmp_path / "o.glb")
    assert found.skeleton.names == bones.names and found.clips == ("moves",)
    assert report["hands"]["right"]["joints_compared"] == 17


def test_a_mesh_without_weights_is_refused_or_drawn_as_bones(files, tmp_path, capsys):
    with np.load(files / "set" / "finger_data" / "Kaya_mesh_data.npz") as arrays:
        content = {**arrays, "weight": np.zeros_like(arrays["weight"])}
    np.savez(tmp_path / "Bare_mesh_data.npz", **content)
    words = [files / "moves.bvh", "--target", tmp_path / "Bare_mesh_data.npz", "--method", "tbs_copy", "--output"]
    with pytest.raises(InputError, match="found a mesh without skinning weights"):
        run(files, *words, tmp_path / "out", "--format", "gif", "glb")
    assert not (tmp_path / "out").exists()
    run(files, *words, tmp_path / "o.gif", "--film_size", "64")
    assert "drawn as bones" in capsys.readouterr().err and (tmp_path / "o.gif").stat().st_size > 2000


@pytest.mark.parametrize("format", ["mp4", "gif"])
def test_films_show_both_hands(files, tmp_path, format):
    pytest.importorskip("av")
    run(files, files / "moves.bvh", "--target", "Kaya", "--method", "tbs_copy", "--output", tmp_path / f"o.{format}",
        "--film_size", "64")  # fmt: skip
    assert (tmp_path / f"o.{format}").stat().st_size > 5000


def test_a_film_of_the_copy_shows_it_once_and_both_hands_line_up(files, tmp_path, monkeypatch):
    shapes = {}
    monkeypatch.setattr(
        retarget_film, "write_film", lambda path, frames, fps: shapes.update({path.name: next(frames)})
    )
    for method in ("tbs_copy", "rotation_copy"):
        run(files, files / "moves.bvh", "--target", "Kaya", "--method", method, "--output", tmp_path / f"{method}.gif",
            "--film_size", "64")  # fmt: skip
    copy, other = shapes["tbs_copy.gif"], shapes["rotation_copy.gif"]
    assert copy.shape[1] * 3 == other.shape[1] * 2 and copy.shape[0] == other.shape[0]


def test_films_of_hands_are_stacked_whatever_their_widths():
    clips: list = [_Pictures(4, 6, 10), _Pictures(3, 9, 20)]
    picture, again = retarget_film._stacked(clips)
    assert picture.shape == again.shape == (7, 9, 3)
    assert (picture[:4, :6] == 10).all() and (picture[:4, 6:] == 255).all() and (picture[4:] == 20).all()


class _Pictures(list):
    """Two pictures of one colour."""

    def __init__(self, height: int, width: int, value: int) -> None:
        super().__init__([np.full((height, width, 3), value, np.uint8)] * 2)
        self.shape = self[0].shape


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["{m}", "--target", "Kaya", "--ckpt_path", "nowhere.ckpt"], "nowhere.ckpt"),
        (["{m}", "--target", "Kaya", "--method", "dm", "--ckpt_path", "{asrn}"], "ASRN"),
        (["{m}", "--target", "Nobody", "--method", "tbs_copy"], "Nobody: .*there are: Aj, Kaya$"),
        (["{m}", "--target", "Kaya", "--method", "tbs_copy", "--source_hand", "Mano0"], "Mano0: .*are called mano"),
        (
            ["{m}", "--target", "Kaya", "--method", "asrn", "--ckpt_path", "{asrn}", "--refine", "-3"],
            "steps, 0 or more",
        ),
        (["{m}", "--target", "mano", "--method", "tbs_copy", "--shape", *["0"] * 9, "nan"], "found nan as number 10"),
        (
            ["{m}", "--target", "Kaya", "--method", "tbs_copy", "--fps", "1e5"],
            "to 10000 frames per second, found 100000",
        ),
        (["{m}", "--target", "Kaya", "--method", "tbs_copy", "--target_scale", "0.01"], "metres: --target_scale 100"),
        (["{m}", "--target", "Kaya", "--method", "tbs_copy", "--source_hand", "{tiny}"], "metres: by 100"),
        (["{m}", "--target", "Kaya", "--method", "tbs_copy", "--output", "/proc/x.bvh"], "--output .*cannot write in"),
        (["{m}", "--target", "Kaya", "--method", "tbs_copy", "--refine", "3"], "--refine"),
        (["{m}", "--target", "Kaya", "--method", "optimize", "--ckpt_path", "{asrn}"], "--ckpt_path"),
        (["{m}", "--target", "Kaya", "--method", "tbs_copy", "--format", "mano"], "MANO target"),
        (["{m}", "--target", "{m}", "--method", "tbs_copy", "--format", "glb"], "weights"),
        (["{m}", "--target", "Kaya", "--method", "tbs_copy", "--source_scale", "0.01"], "metres: `scale` 100"),
        (["{m}", "--target", "Kaya", "--method", "tbs_copy", "--source_scale", "-1"], "above 0"),
        (["{m}", "--target", "mano", "--method", "tbs_copy", "--shape", "1", "2"], "--shape"),
        (["{m}", "--target", "mano", "--method", "tbs_copy", "--smplx_path", "/nowhere"], "MANO model"),
        (["{m}", "--target", "Kaya", "--method", "tbs_copy", "--output", "{m}/x.bvh"], "--output"),
        (["{none}", "--target", "Kaya", "--method", "tbs_copy"], "found nothing"),
        (["{empty}", "--target", "Kaya", "--method", "tbs_copy"], "found none"),
        (["{nohands}", "--target", "Kaya", "--method", "tbs_copy"], "hand"),
        (["{m}", "--target", "Kaya", "--method", "tbs_copy", "--fps", "0"], "--fps"),
    ],
)
def test_mistakes_give_one_clear_line_and_no_files(files, tmp_path, words, says):
    (tmp_path / "empty").mkdir()
    bones = Bvh.from_rotations(
        ["Hips", "Leg"], [-1, 0], np.ones((2, 3)), np.tile(np.eye(3), (3, 2, 1, 1)), frame_time=1
    )
    write_bvh(tmp_path / "nohands.bvh", bones)
    moves = read_bvh(files / "moves.bvh")
    write_bvh(tmp_path / "tiny.bvh", dataclasses.replace(moves, offsets=moves.offsets * 0.01, end_sites=()))
    places = {"m": files / "moves.bvh", "asrn": files / "asrn.ckpt", "none": tmp_path / "none.bvh",
              "empty": tmp_path / "empty", "nohands": tmp_path / "nohands.bvh",
              "tiny": tmp_path / "tiny.bvh"}  # fmt: skip
    words = [word.format(**places) for word in words]
    if "--output" not in words:
        words += ["--output", str(tmp_path / "out")]
    with pytest.raises(InputError, match=says) as caught:
        run(files, *words)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named(files, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(InputError, match="permission"):
        run(
            files,
            files / "moves.bvh",
            "--target",
            "Kaya",
            "--method",
            "tbs_copy",
            "--output",
            tmp_path / "closed" / "x",
        )


def test_bones_of_missing_fingers_are_not_drawn():
    joints = np.random.default_rng(0).normal(size=(2, 21, 3))
    present = np.ones(21, bool)
    whole, _ = bone_hand(joints)
    present[9:13] = False
    part, faces = bone_hand(joints, 1.0, present)
    assert part.shape[1] < whole.shape[1] and faces.max() == part.shape[1] - 1


def test_the_printed_map_of_source_and_target_can_be_given_back(files, tmp_path, capsys):
    run(files, files / "moves.bvh", "--target", "Kaya", "--print_map")
    (tmp_path / "map.yaml").write_text(capsys.readouterr().out)
    words = (files / "moves.bvh", "--target", "Kaya", "--method", "tbs_copy", "--output")
    run(files, *words, tmp_path / "a.bvh")
    run(files, *words, tmp_path / "b.bvh", "--rig_map", tmp_path / "map.yaml")
    assert (tmp_path / "a.bvh").read_bytes() == (tmp_path / "b.bvh").read_bytes()
    np.savez(tmp_path / "in.npz", pose=np.zeros((4, 48)), side="right")
    with pytest.raises(InputError, match="expected a file with a rig .* found none; poses of MANO"):
        run(files, tmp_path / "in.npz", "--print_map")


@pytest.mark.parametrize("method", ["tbs_copy", "optimize"])
def test_the_size_of_a_block_does_not_matter(files, tmp_path, monkeypatch, method):
    """Read, written, read again and reported in blocks, with long arrays on disk or in memory."""
    results, source = [], files / "moves.bvh"
    for size, in_memory in ((4096, 1 << 22), (7, 1000)):
        monkeypatch.setattr(scratch, "FRAMES", size)
        monkeypatch.setattr(scratch, "IN_MEMORY", in_memory)
        output = tmp_path / f"{size}.bvh"
        words = [str(source), "--target", "Kaya", "--data_path", str(files / "set"), "--output", str(output)]
        (report,) = retarget([*words, "--method", method, "--report"])
        results.append((read_bvh(output).values, report["hands"]["right"]))
    (whole, told), (parts, told_of_parts) = results
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-6)
    for name in ("S_finger", "S_palm", "jerk_ratio", "joints_beyond_limits"):
        assert told_of_parts[name] == pytest.approx(told[name], rel=1e-6)
