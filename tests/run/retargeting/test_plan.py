"""Outputs of `run.retarget` are planned before any work: nothing that is read is overwritten, nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from run.retargeting.plan import Plan, formats_of
from utils.errors import InputError


def plan(root: Path, output: Path, *names: str, formats=("bvh",), **changes) -> Plan:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    files = [root / name for name in names]
    return Plan(output, changes.pop("into_file", False), root, files, formats, changes.pop("report", False), False)


def test_motions_of_one_name_are_told_apart_by_their_endings(tmp_path):
    made = plan(tmp_path / "in", tmp_path / "out", "a.bvh", "a.npz", "b.bvh", "deep/a.bvh", "a_bvh.fbx")
    bases = [made.claim(file, file.stem) for file in made.files]
    names = [base.relative_to(tmp_path / "out").as_posix() for base in bases]
    assert names == ["a_bvh", "a_npz", "b", "deep/a", "a_bvh_2"]
    assert made.claim(made.files[1], "a_run") == tmp_path / "out" / "a_npz_run"


def test_a_second_motion_of_one_file_gets_a_number(tmp_path):
    made = plan(tmp_path, tmp_path / "o.glb", "a.glb", formats=("glb",), into_file=True)
    assert [made.claim(made.files[0], name).name for name in ("a_x", "a_y")] == ["o.glb", "o_2.glb"]


def test_what_is_read_is_not_overwritten(tmp_path):
    made = plan(tmp_path, tmp_path, "a.bvh", "b.bvh")
    with pytest.raises(InputError, match=r"a\.bvh would overwrite .*a\.bvh"):
        made.check(made.files)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(InputError, match="would overwrite"):
        plan(tmp_path, tmp_path / "link", "a.bvh").check([tmp_path / "a.bvh"])
    (tmp_path / "a_report.json").touch()
    with pytest.raises(InputError, match="a_report.json would overwrite"):
        plan(tmp_path, tmp_path, "a.bvh", formats=("glb",), report=True).check([tmp_path / "a_report.json"])
    plan(tmp_path, tmp_path, "a.bvh", formats=("glb",)).check([tmp_path / "a.bvh"])


def test_a_folder_in_the_way_is_said_before_the_work(tmp_path):
    (tmp_path / "out" / "a.bvh").mkdir(parents=True)
    with pytest.raises(InputError, match="found a folder"):
        plan(tmp_path / "in", tmp_path / "out", "a.bvh").check([])


@pytest.mark.parametrize("name", ["z8.obj", "z.xyz", "z.vrm", "z.avi", "z.tar.gz"])
def test_unknown_endings_list_the_known_ones(tmp_path, name):
    with pytest.raises(InputError, match=r"\.bvh, \.glb.*\.mp4, \.gif; found \."):
        formats_of(tmp_path / name, None, 1)
    (tmp_path / name).mkdir()
    assert formats_of(tmp_path / name, None, 1) == (["bvh"], False)
    assert formats_of(tmp_path / "folder", ["glb", "mp4", "glb"], 2) == (["glb", "mp4"], False)
    assert formats_of(tmp_path / "a.NPZ", None, 1) == (["mano"], True)
