"""`run.calculate_mixamo_axis` and `run.calculate_mano_axis`, options to files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from data.axes.estimate import estimate_axes
from data.axes.files import read_finger_axes
from data.character.reading import read_annotated
from model.mano import ManoHand
from model.topology import FINGERS
from run import calculate_mano_axis, calculate_mixamo_axis
from utils.errors import InputError
from utils.safe_read import read_pickle

ROOT = Path(__file__).parents[2]
REAL = os.environ.get("S2H_REAL_DATA")


@pytest.fixture
def meshes(golden, tmp_path):
    """A folder of two characters."""
    folder = tmp_path / "finger data"
    folder.mkdir()
    for name in ("Aj", "BigVegas"):
        shutil.copy(golden / "inputs" / f"{name}_mesh_data.npz", folder)
    return folder


def mixamo(*options):
    calculate_mixamo_axis.calculate([str(option) for option in options])


def mano(*options):
    calculate_mano_axis.calculate([str(option) for option in options])


def test_one_character(meshes, tmp_path, capsys):
    mixamo("--mesh_data", meshes / "Aj_mesh_data.npz", "--output", tmp_path / "out" / "a.pkl",
           "--picture", tmp_path / "a.png")  # fmt: skip
    printed = capsys.readouterr().out
    for word in ("right", "left", "thumb", "palm", "±", "written"):
        assert word in printed
    stored = read_pickle(tmp_path / "out" / "a.pkl")
    assert set(stored) == {"rhand", "lhand"} and stored["rhand"].shape == (5, 4, 3, 3)
    character = read_annotated(meshes / "Aj_mesh_data.npz", tmp_path / "out" / "a.pkl")
    for side in ("right", "left"):
        np.testing.assert_array_equal(character.hands[side].axes, estimate_axes(character.hand(side).bare).axes)
    with Image.open(tmp_path / "a.png") as picture:
        width, height = picture.size
        assert width > 1000 and height > 700
        assert len(picture.resize((64, 64)).getcolors(64 * 64)) > 50


def test_default_output_lies_beside_the_mesh(meshes):
    before = {path: path.stat().st_mtime_ns for path in meshes.iterdir()}
    mixamo("--mesh_data", meshes / "Aj_mesh_data.npz")
    assert set(meshes.iterdir()) - set(before) == {meshes / "Aj_finger_axis.pkl"}
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())


def test_published_method_and_preset(meshes, golden, tmp_path):
    mesh, out = meshes / "BigVegas_mesh_data.npz", tmp_path / "b.pkl"
    with np.load(golden / "axis_estimation.npz") as arrays:
        reference = dict(arrays)
    mixamo("--mesh_data", mesh, "--output", out, "--method", "mesh")
    expected = reference["BigVegas_rhand_axes_accepting_proposal"]
    np.testing.assert_allclose(read_finger_axes(out)["right"], expected, atol=1e-6)
    np.savez(tmp_path / "preset.npz", **{f"{s}hand": reference[f"BigVegas_{s}hand_preset_given"] for s in "rl"})
    mixamo("--mesh_data", mesh, "--output", out, "--method", "mesh", "--preset", tmp_path / "preset.npz")
    expected = reference["BigVegas_lhand_axes_after_preset"]
    np.testing.assert_allclose(read_finger_axes(out)["left"], expected, atol=1e-6)


def test_folder_goes_on_after_a_failure_and_skips_what_is_there(meshes, tmp_path, capsys):
    (meshes / "Broken_mesh_data.npz").write_bytes(b"no archive")
    out = tmp_path / "axes"
    with pytest.raises(InputError, match=r"1 of 3 characters failed \(Broken\)"):
        mixamo("--mesh_data", meshes, "--output", out, "--picture", tmp_path / "pictures")
    assert sorted(path.name for path in out.iterdir()) == ["Aj_finger_axis.pkl", "BigVegas_finger_axis.pkl"]
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["Aj.png", "BigVegas.png"]
    (meshes / "Broken_mesh_data.npz").unlink()
    (out / "Aj_finger_axis.pkl").write_bytes(b"annotated by hand")
    capsys.readouterr()
    mixamo("--mesh_data", meshes, "--output", out)
    assert "2 of 2 characters have axes already" in capsys.readouterr().out
    assert (out / "Aj_finger_axis.pkl").read_bytes() == b"annotated by hand"
    mixamo("--mesh_data", meshes, "--output", out, "--force")
    assert read_finger_axes(out / "Aj_finger_axis.pkl")


def test_a_rig_whose_names_tell_nothing_has_axes_by_its_map(golden, tmp_path):
    with np.load(golden / "inputs" / "Aj_mesh_data.npz") as file:
        arrays = dict(file)
    number = {name: f"Bone_{n:03d}" for n, name in enumerate(arrays["vgrp_label"].tolist())}
    maps = {}
    for side in ("Right", "Left"):
        hand = f"mixamorig:{side}Hand"
        fingers = {f: [number[f"{hand}{f.capitalize()}{k}"] for k in range(1, 5)] for f in FINGERS}
        maps[side.lower()] = {"wrist": number[hand], **fingers}
    for key in ("vgrp_label", "bone_names"):
        arrays[key] = np.array([number[name] for name in arrays[key].tolist()])
    np.savez(tmp_path / "No_mesh_data.npz", **arrays)
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(maps))
    shutil.copy(golden / "inputs" / "Aj_mesh_data.npz", tmp_path)
    mixamo("--mesh_data", tmp_path / "Aj_mesh_data.npz")
    with pytest.raises(InputError, match="`rig_map`"):
        mixamo("--mesh_data", tmp_path / "No_mesh_data.npz")
    mixamo("--mesh_data", tmp_path / "No_mesh_data.npz", "--rig_map", tmp_path / "map.yaml")
    found, expected = (read_pickle(tmp_path / f"{name}_finger_axis.pkl") for name in ("No", "Aj"))
    for key in ("rhand", "lhand"):
        np.testing.assert_allclose(found[key], expected[key], atol=1e-12)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--mesh_data", "{tmp}/nothing.npz"], "nothing.npz"),
        (["--mesh_data", "{tmp}"], "a folder without any"),
        (["--mesh_data", "{mesh}", "--output", "{tmp}/axes.txt"], r"ends with .pkl or .npz"),
        (["--mesh_data", "{mesh}", "--preset", "{tmp}/none.pkl"], "none.pkl"),
        (["--mesh_data", "{mesh}", "--preset", "{mesh}"], "keys rhand and lhand"),
        (["--mesh_data", "{mesh}", "--motion", "{tmp}/none.bvh"], "`motion`"),
    ],
)
def test_bad_options(meshes, tmp_path, options, words):
    names = {"tmp": tmp_path, "mesh": meshes / "Aj_mesh_data.npz"}
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=words):
        mixamo(*(option.format(**names) for option in options))
    assert sorted(tmp_path.rglob("*")) == before


def test_command_line_exits_with_one_line(tmp_path):
    command = [sys.executable, "-m", "run.calculate_mixamo_axis", "--mesh_data", str(tmp_path / "none.npz")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "none.npz" in done.stderr and "Traceback" not in done.stderr


def test_mano_as_published(mano_models, golden, tmp_path):
    out = tmp_path / "mano.pkl"
    mano("--smplx_path", mano_models, "--output", out, "--method", "mesh")
    stored = read_pickle(out)
    with np.load(golden / "axis_estimation.npz") as reference:
        for side in ("right", "left"):
            for part in ("", "_bend_bary", "_bend_index_tri"):
                expected = reference[f"mano_{side}{part or '_axes'}"]
                np.testing.assert_allclose(stored[f"{side[0]}hand{part}"], expected, atol=1e-4)


def test_mano_combined_is_read_back_and_bends_the_same_way(mano_models, tmp_path):
    out = tmp_path / "mano.npz"
    mano("--smplx_path", mano_models, "--output", out, "--picture", tmp_path / "mano.png")
    assert (tmp_path / "mano.png").stat().st_size > 10_000
    with np.load(out) as stored:
        for side in ("right", "left"):
            hand = ManoHand.load(mano_models, dict(stored), side, torch.float64)
            axes = hand.with_shape(torch.zeros(10, dtype=torch.float64)).axes[:, 2].numpy()
            np.testing.assert_allclose(axes, stored[f"{side[0]}hand"], atol=1e-5)


def test_one_mano_hand_alone(mano_models, tmp_path):
    mano("--smplx_path", mano_models / "mano" / "MANO_LEFT.pkl", "--output", tmp_path / "left.pkl")
    assert {key[0] for key in read_pickle(tmp_path / "left.pkl")} == {"l"}


def test_mano_missing(tmp_path):
    with pytest.raises(InputError, match="expected a MANO model"):
        mano("--smplx_path", tmp_path, "--output", tmp_path / "a.pkl")
    assert not (tmp_path / "a.pkl").exists()


@pytest.mark.skipif(not REAL, reason="S2H_REAL_DATA names no folder of real characters")
def test_motion_of_a_real_character_makes_its_axes_surer(tmp_path, capsys):
    mesh = Path(REAL) / "MixHand" / "finger_data" / "XBot_mesh_data.npz"
    mixamo("--mesh_data", mesh, "--output", tmp_path / "x.pkl", "--motion", Path(REAL) / "MixHand")
    printed = capsys.readouterr().out
    assert "motion" in printed and "100% ±4°" in printed
