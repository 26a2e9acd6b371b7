"""`python -m run.convert_interhand_bvh`: folders, subjects, the summary, and going on after an interruption."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from data.formats.bvh import read_bvh
from data.preparation.interhand_conversion import folders_of_subjects, read_subjects
from run.convert_interhand_bvh import convert
from run.preprocess_mixhand import preprocess
from tests.data.preparation.test_interhand import hand
from utils.errors import InputError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def annotations(tmp_path):
    """Three captures of both hands."""
    captures = {}
    for number, frames in enumerate(([0, 3, 6, 9, 30], [5, 8, 11], [4])):
        captures[str(number)] = {
            str(frame): {"right": hand(frame), "left": hand(frame + 1) if frame != 3 else None} for frame in frames
        }
    path = tmp_path / "in" / "annotations.json"
    path.parent.mkdir()
    path.write_text(json.dumps(captures))
    return path


@pytest.fixture
def run(annotations, mano_models, tmp_path):
    def run(*options, output="out"):
        common = [
            "--smplx_path",
            str(mano_models),
            "--input",
            str(annotations),
            "--output_dir",
            str(tmp_path / output),
        ]
        convert([*common, *options])
        return tmp_path / output

    return run


def names(folder, pattern="**/*.bvh"):
    return sorted(str(path.relative_to(folder)) for path in folder.glob(pattern))


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.bvh")}


def test_both_hands_and_the_summary(run, capsys):
    folder = run("--hand", "both")
    assert names(folder) == ["left/0_6_9.bvh", "left/1_5_11.bvh", "right/0_0_9.bvh", "right/1_5_11.bvh"]
    assert read_bvh(folder / "left/0_6_9.bvh").joint_names[0] == "left_wrist"
    with (folder / "summary.csv").open() as stream:
        rows = {(row["capture"], row["hand"]): row for row in csv.DictReader(stream)}
    assert len(rows) == 6
    counts = {"frames": "5", "step": "3", "runs": "1", "written": "2", "longest": "2",
              "gaps": "1", "missing": "1", "single": "2", "uneven": "0", "note": ""}  # fmt: skip
    assert counts.items() <= rows["0", "left"].items()
    assert rows["2", "right"]["note"] == "no runs"
    assert "missing" in capsys.readouterr().out


def test_finished_captures_are_not_done_again(run, capsys):
    folder = run()
    before = stamps(folder)
    (folder / "1_5_11.bvh").write_text("damaged")
    (folder / "0_0_9.npy").unlink()
    run()
    assert "1 captures were finished earlier" in capsys.readouterr().out
    after = stamps(folder)
    assert {path.name for path in after if after[path] != before[path]} == {"0_0_9.bvh", "1_5_11.bvh"}
    assert read_bvh(folder / "1_5_11.bvh").n_frames == 3 and (folder / "0_0_9.npy").is_file()
    run()
    assert stamps(folder) == after


def test_an_interruption_costs_one_capture(run, monkeypatch, tmp_path):
    expected = {path.name: path.read_bytes() for path in run(output="whole").iterdir() if path.suffix != ".json"}
    from data.preparation import interhand_conversion as conversion

    write, count = conversion.write_runs, []

    def interrupted(*arguments):
        count.append(arguments[0].name)
        if len(count) == 2:
            raise KeyboardInterrupt
        return write(*arguments)

    monkeypatch.setattr(conversion, "write_runs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run()
    run()
    assert count == ["0", "1", "1", "2"]
    assert {
        path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.suffix != ".json"
    } == expected


def test_damage_keeps_what_was_finished(run, annotations, tmp_path):
    annotations.write_text(annotations.read_text()[:-200])
    with pytest.raises(InputError, match="annotations.json: expected JSON, but it is damaged"):
        run()
    assert names(tmp_path / "out") == ["0_0_9.bvh", "1_5_11.bvh"]


def test_a_folder_of_another_conversion(run, annotations, tmp_path):
    folder = run()
    with pytest.raises(InputError, match="conversion.json: this folder holds the conversion of other annotations"):
        run("--hand", "left")
    annotations.write_text(json.dumps({"7": {"1": {"right": hand(1)}, "2": {"right": hand(2)}}}))
    with pytest.raises(InputError, match="other annotations"):
        run()
    run("--force")
    assert names(folder) == ["7_1_2.bvh"] and names(folder, "*.npy") == ["7_1_2.npy"]


def test_force_removes_nothing_outside(run, tmp_path):
    folder = run()
    for name in ("victim.bvh", "victim.npy"):
        (tmp_path / name).write_text("keep")
    state = json.loads((folder / "conversion.json").read_text())
    state["captures"]["0"][0]["files"] = {"../victim.bvh": 4, "/etc/x.bvh": 1}
    (folder / "conversion.json").write_text(json.dumps(state))
    run("--force")
    assert (tmp_path / "victim.bvh").read_text() == "keep" and (tmp_path / "victim.npy").exists()
    for text in ("[]", '{"identity": 1}', "{" * 5, '{"identity": {}, "captures": [], "complete": 1}'):
        (folder / "conversion.json").write_text(text)
        with pytest.raises(InputError, match="`force`"):
            run()


def test_subjects_get_their_folders(run, tmp_path):
    subjects = tmp_path / "subjects.csv"
    subjects.write_text("capture,subject\nCapture0,12\nCapture1,3\nCapture2,12\n")
    folder = run("--split_subjects", str(subjects))
    assert names(folder) == ["Mano0/1_5_11.bvh", "Mano1/0_0_9.bvh"]
    assert names(folder, "**/*.npy") == ["Mano0/1_5_11.npy", "Mano1/0_0_9.npy"]
    subjects.write_text("0 12\n")
    with pytest.raises(InputError, match="expected the subjects of all captures, found none for 1, 2"):
        run("--split_subjects", str(subjects), output="other")
    assert names(tmp_path / "other") == ["Mano0/0_0_9.bvh"]


def test_lists_of_subjects(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("﻿# InterHand\n\ntrain/Capture10;7;male\nCapture2\t7\n3, 11\n4 2\n")
    subjects = read_subjects(path)
    assert subjects == {"10": "7", "2": "7", "3": "11", "4": "2"}
    assert folders_of_subjects(subjects) == {"4": "Mano0", "10": "Mano1", "2": "Mano1", "3": "Mano2"}
    many = folders_of_subjects({str(n): f"subject{n}" for n in range(26)})
    assert many["9"] == "Mano9" and many["10"] == "Mano0" and many["25"] == "Mano5"
    for text, reason in (
        ("1 2\n1 3\n", "line 2: expected one subject for capture 1"),
        ("1\n", "line 1"),
        ("", "found none"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=reason):
            read_subjects(path)
    path.write_bytes(b"\xff\xfe1")
    with pytest.raises(InputError, match="expected text"):
        read_subjects(path)


def test_what_was_converted_can_be_preprocessed(run, golden, tmp_path, mano_models):
    subjects = tmp_path / "subjects.csv"
    subjects.write_text("0 1\n1 1\n2 1\n")
    folder = run("--split_subjects", str(subjects))
    (folder / "finger_data").mkdir()
    shutil.copy(golden / "inputs" / "mano_finger_axis.npz", folder / "finger_data")
    preprocess(["--data_path", str(folder), "--smplx_path", str(mano_models)])
    assert (folder / "Mano0.npy").is_file()


def test_the_command_fails_in_one_line(tmp_path):
    command = [
        sys.executable,
        "-m",
        "run.convert_interhand_bvh",
        "--input",
        "none",
        "--output_dir",
        str(tmp_path / "o"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not (tmp_path / "o").exists()
