"""From motions and a character to features in one command."""

from __future__ import annotations

import shutil

import pytest

from data.features.file import open_features
from run.prepare_mixhand import prepare
from utils.errors import InputError


@pytest.fixture
def folder(golden, tmp_path):
    """A data set that holds the mesh of a character."""
    (tmp_path / "data" / "finger_data").mkdir(parents=True)
    shutil.copy(golden / "inputs" / "Aj_mesh_data.npz", tmp_path / "data" / "finger_data")
    return tmp_path / "data"


def test_motions_become_features_and_what_fails_is_told(folder, golden, tmp_path, capsys):
    motion, broken = golden / "bvh" / "mixamo_clip_a.bvh", tmp_path / "broken.glb"
    broken.write_bytes(b"glTF")
    options = ["--character", "Aj", "--output_dir", str(folder)]
    with pytest.raises(InputError, match="1 of 1 files could not be converted"):
        prepare([str(motion), str(broken), *options])
    assert (folder / "finger_data" / "Aj_finger_axis.pkl").is_file()
    features = open_features(folder, "Aj")
    assert [clip.name for clip in features.clips] == ["mixamo_clip_a"] and features.side == "right"
    assert "broken.glb" in capsys.readouterr().out
    prepare([str(motion), *options])
    assert "up to date" in capsys.readouterr().out


def test_a_motion_without_its_character_is_refused_with_the_reason(golden, tmp_path, capsys):
    with pytest.raises(InputError, match="1 of 1 characters could not be preprocessed"):
        prepare([str(golden / "bvh" / "mixamo_clip_a.bvh"), "--output_dir", str(tmp_path / "data")])
    assert "mixamo_clip_a_mesh_data.npz: expected this file of the character" in capsys.readouterr().out


def test_what_is_no_motion(folder, tmp_path):
    (tmp_path / "x.bvh").write_text("nothing")
    with pytest.raises(InputError, match="x.bvh: expected a BVH file"):
        prepare([str(tmp_path / "x.bvh"), "--output_dir", str(folder)])
