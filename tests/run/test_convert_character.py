"""The command that turns characters into mesh and motion files."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.formats.bvh import read_bvh
from run.convert_character import convert
from tests.gltf_files import animate, small_arm
from utils.errors import InputError

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_blender(monkeypatch):
    """These tests need none, and must not find one."""
    monkeypatch.setattr("run.convert_character.find_blender", lambda wanted: None)


@pytest.fixture
def folder(tmp_path):
    """Two characters, one of them deeper down, and a file that is none."""
    source = tmp_path / "in"
    (source / "deeper").mkdir(parents=True)
    file = small_arm()
    animate(file, "walk/run", 0, "translation", [0.0, 1.0], [[0, 1, 0], [0, 1, 1]])
    file.write(source / "Aj.glb")
    small_arm().write(source / "deeper" / "Kaya.gltf")
    (source / "notes.txt").write_text("not a character")
    return source


def contents(folder):
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_files_of_a_data_set(folder, tmp_path):
    before = contents(folder)
    convert([str(folder), "--recursive", "--output_dir", str(tmp_path / "out")])
    assert set(contents(tmp_path / "out")) == {
        "finger_data/Aj_mesh_data.npz", "finger_data/Aj_source.json", "Aj/wave.bvh", "Aj/walk_run.bvh",
        "finger_data/Kaya_mesh_data.npz", "finger_data/Kaya_source.json", "Kaya/Kaya.bvh",
    }  # fmt: skip
    assert contents(folder) == before
    assert read_bvh(tmp_path / "out" / "Kaya" / "Kaya.bvh").n_frames == 61  # 60 a second
    with np.load(tmp_path / "out" / "finger_data" / "Aj_mesh_data.npz") as data:
        assert set(data) == {
            "verts", "edges", "faces", "weight", "vgrp_label", "vgrp_cors", "vgrp_parents",
            "bone_names", "bone_cors", "bone_parents", "bone_tails", "bone_axes",
        }  # fmt: skip


def test_what_is_up_to_date_is_not_made_again(folder, tmp_path, capsys):
    options = [str(folder), "--recursive", "--output_dir", str(tmp_path / "out")]
    convert(options)
    first = contents(tmp_path / "out")
    convert(options)
    assert contents(tmp_path / "out") == first
    assert "2 files are up to date" in capsys.readouterr().out
    (tmp_path / "out" / "Aj" / "wave.bvh").unlink()
    small_arm(animated=False).write(folder / "deeper" / "Kaya.gltf")
    convert(options)
    second = contents(tmp_path / "out")
    changed = {path for path in first if first[path] != second[path]}
    assert "Aj/wave.bvh" in changed and "finger_data/Kaya_mesh_data.npz" in changed
    convert([*options, "--fps", "30"])
    assert read_bvh(tmp_path / "out" / "Aj" / "wave.bvh").n_frames == 31
    third = contents(tmp_path / "out")
    convert([*options, "--fps", "30", "--force"])
    assert third["Aj/wave.bvh"] != contents(tmp_path / "out")["Aj/wave.bvh"]


def test_motions_from_other_files_of_one_character(folder, tmp_path):
    files = [str(folder / "Aj.glb"), str(folder / "deeper" / "Kaya.gltf")]
    motion = small_arm()
    del motion.json["skins"], motion.json["meshes"]
    motion.json["nodes"].pop()
    motion.write(folder / "deeper" / "Kaya.gltf")
    convert([*files, "--character", "Aj", "--output_dir", str(tmp_path / "out")])
    made = set(contents(tmp_path / "out" / "Aj"))
    assert made == {"Aj_wave.bvh", "Aj_walk_run.bvh", "Kaya.bvh"}


def test_failures_do_not_stop_the_others(folder, tmp_path, capsys):
    (folder / "Bad.glb").write_bytes(b"glTF")
    (folder / "Ascii.fbx").write_text("; FBX 7.3.0 project file")
    with pytest.raises(InputError, match="2 of 3 files could not be converted"):
        convert([str(folder), "--output_dir", str(tmp_path / "out")])
    told = capsys.readouterr().out
    assert "Bad.glb: expected a glTF 2.0 file" in told
    assert "Ascii.fbx: expected a binary FBX file, found an ASCII FBX file" in told
    assert {path.split("/")[-1][:2] for path in contents(tmp_path / "out")} == {"Aj", "wa"}


def test_advice_where_there_is_no_blender(tmp_path, capsys):
    from tests.data.formats.test_fbx_check import fbx

    (tmp_path / "a.fbx").write_bytes(fbx())
    with pytest.raises(InputError, match="1 of 1"):
        convert([str(tmp_path / "a.fbx"), "--output_dir", str(tmp_path / "out")])
    assert "`make blender` sets up the bpy module" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["nowhere"], "nowhere: expected a file or folder, found nothing"),
        (["in"], "found none; `recursive` looks deeper"),
    ],
)
def test_inputs_that_cannot_be_used(folder, tmp_path, monkeypatch, options, reason):
    (folder / "Aj.glb").unlink()
    (tmp_path / "other").mkdir()
    small_arm().write(tmp_path / "other" / "kaya.glb")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=reason):
        convert([*options, "--output_dir", "out"])
    assert not (tmp_path / "out").exists()


def test_a_second_file_of_one_name_is_refused_and_the_first_is_converted(folder, tmp_path, monkeypatch, capsys):
    (tmp_path / "other").mkdir()
    small_arm().write(tmp_path / "other" / "aj.glb")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="1 of 2"):
        convert([str(folder / "Aj.glb"), "other", "--output_dir", "out"])
    assert "expected another name than" in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "out" / "finger_data" / "Aj_mesh_data.npz").is_file()


def test_adjusted_bones_are_asked_for(folder, tmp_path):
    convert([str(folder / "Aj.glb"), "--output_dir", str(tmp_path / "out"), "--adjust_bone"])
    assert (tmp_path / "out" / "finger_data" / "Aj_mesh_data.npz").is_file()


def test_the_command_fails_without_a_traceback(tmp_path):
    command = [sys.executable, "-m", "run.convert_character", str(tmp_path / "a.glb"), "--output_dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stdout + done.stderr
