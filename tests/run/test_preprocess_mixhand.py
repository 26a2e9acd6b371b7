"""`python -m run.preprocess_mixhand` on a small data set made of the reference motions."""

import hashlib
import json
import os
import pickletools
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.features.file import open_features
from data.features.windows import read_statistics, window_statistics
from data.formats.bvh import Bvh, read_bvh, write_bvh
from data.mixhand import MixHandDataModule
from run import preprocess_mixhand
from run.preprocess_mixhand import preprocess
from utils.errors import InputError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(golden, tmp_path):
    """BigVegas and Granny with a motion each, Aj with two, a MANO subject with shapes, and what belongs to them."""
    path = tmp_path / "data" / "Mix Hand"
    motions = {
        "Aj/b walk.bvh": "mixamo_clip_a",
        "Aj/a.bvh": "mixamo_clip_a",
        "SportyGranny/clip.bvh": "mixamo_clip_b",
        "BigVegas/clip.BVH": "mixamo_clip_c",
        "Mano0/clip.bvh": "mano_clip",
        "std_bvhs/clip.bvh": "mixamo_clip_a",
    }
    for target, source in motions.items():
        (path / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(golden / "bvh" / f"{source}.bvh", path / target)
    shutil.copyfile(golden / "bvh" / "mano_clip.npy", path / "Mano0" / "clip.npy")
    shutil.copytree(golden / "inputs", path / "finger_data")
    (path / "models" / "mano").mkdir(parents=True)
    for side in ("right", "left"):
        model = path / "models" / "mano" / f"MANO_{side.upper()}.npz"
        shutil.move(path / "finger_data" / f"mano_{side}.npz", model)
    (path / "ref").mkdir()
    return path


def run(folder, *options):
    preprocess(["--data_path", str(folder), *options])


def files_below(path):
    return {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}


def test_features_are_those_of_the_references(folder, golden, capsys):
    before = files_below(folder.parents[1])
    run(folder)
    table = capsys.readouterr().out
    clips = {"Aj": ["mixamo_clip_a"] * 2, "SportyGranny": ["mixamo_clip_b"],
             "BigVegas": ["mixamo_clip_c"], "Mano0": ["mano_clip"]}  # fmt: skip
    for name, sources in clips.items():
        expected = [np.load(golden / "bvh" / f"{source}_features.npz")["features"] for source in sources]
        file = open_features(folder, name)
        np.testing.assert_allclose(np.abs(file.rows), np.abs(np.concatenate(expected)), rtol=1e-5, atol=3e-6)
        assert file.side == "right"
        assert name in table
    assert [clip.name for clip in open_features(folder, "Aj").clips] == ["a", "b walk"]
    assert open_features(folder, "Aj").clips[0].frame_time == pytest.approx(1 / 60, abs=1e-5)
    new = files_below(folder.parents[1]) - before
    endings = (".npy", ".json")
    expected = {f"data/Mix Hand/{name}{ending}" for name in clips for ending in endings}
    # 30, 16 and 8 frames at 60 per second hold no window of 8 at 5 per second; the subject's 20 frames do.
    expected |= {f"data/Mix Hand/mean_var/Mano0_{which}.npy" for which in ("mean", "var")}
    assert new == expected


@pytest.mark.parametrize("spelling", ["{}/", "{}//", "{}/../Mix Hand", "./{}"])
def test_any_spelling_of_the_path(folder, spelling, monkeypatch):
    monkeypatch.chdir(folder.parent)
    run(spelling.format(folder.name), "--characters", "Aj")
    assert files_below(folder.parent) >= {"Mix Hand/Aj.npy", "Mix Hand/Aj.json"}
    assert [path.name for path in folder.parent.iterdir()] == ["Mix Hand"]


def test_unchanged_inputs_are_skipped_by_content(folder, capsys):
    run(folder)
    stamps = {path: path.stat().st_mtime_ns for path in folder.glob("*.npy")}
    os.utime(folder / "Aj" / "a.bvh")  # a new time, the same content
    shutil.copyfile(folder / "SportyGranny" / "clip.bvh", folder / "SportyGranny" / "more.bvh")
    np.save(folder / "Mano0" / "clip.npy", np.zeros((20, 10)))
    capsys.readouterr()
    run(folder)
    changed = {path.stem for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp}
    assert changed == {"SportyGranny", "Mano0"}
    assert capsys.readouterr().out.count("up to date") == 2
    run(folder, "--force", "--characters", "Aj")
    changed = {path.stem for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp}
    assert changed == {"SportyGranny", "Mano0", "Aj"}


def test_other_settings_are_computed_again(folder, capsys):
    run(folder, "--characters", "Mano0")
    run(folder, "--characters", "Mano0", "--window_size", "4")
    assert "up to date" not in capsys.readouterr().out


def test_without_shapes_the_mean_shape_is_taken(folder, golden):
    (folder / "Mano0" / "clip.npy").unlink()
    run(folder)
    expected = np.load(golden / "bvh" / "mano_clip_features.npz")["features_mean_shape"]
    np.testing.assert_allclose(np.abs(open_features(folder, "Mano0").rows[:6]), np.abs(expected), rtol=1e-5, atol=3e-6)


def test_a_bad_file_does_not_stop_the_others(folder, capsys):
    (folder / "Aj" / "b walk.bvh").write_text("HIERARCHY\nROOT")
    np.save(folder / "Mano0" / "clip.npy", np.zeros((3, 10)))
    with pytest.raises(InputError, match="2 of 4 characters.*Aj, Mano0"):
        run(folder)
    out = " ".join(capsys.readouterr().out.split())
    assert "Aj failed:" in out and "b walk.bvh" in out
    assert "Mano0 failed:" in out and "clip.npy: expected one shape of 10 numbers for each of the 20 frames" in out
    assert {path.name for path in folder.glob("*.npy")} == {"BigVegas.npy", "SportyGranny.npy"}


def test_shapes_that_are_not_finite(folder, capsys):
    shapes = np.zeros((20, 10))
    shapes[7, 2] = np.nan
    np.save(folder / "Mano0" / "clip.npy", shapes)
    with pytest.raises(InputError):
        run(folder, "--characters", "Mano0")
    assert "frame 7" in capsys.readouterr().out


def test_a_hand_that_the_motions_do_not_have(folder, capsys):
    with pytest.raises(InputError, match="1 of 1"):
        run(folder, "--characters", "Mano0", "--is_rhand", "false")
    assert "left hand" in capsys.readouterr().out


def test_left_hands(folder):
    run(folder, "--is_rhand", "false", "--characters", "Aj")
    left = open_features(folder, "Aj")
    run(folder, "--characters", "Aj")
    right = open_features(folder, "Aj")
    assert (left.side, right.side) == ("left", "right")
    # The left hand points to +x: its middle finger's bones do.
    assert left.rows[0, 6] > 0 > right.rows[0, 6]


def test_a_character_without_mesh(folder, capsys):
    (folder / "finger_data" / "Aj_mesh_data.npz").unlink()
    with pytest.raises(InputError, match="1 of 1"):
        run(folder, "--characters", "Aj")
    assert "Aj_mesh_data.npz" in capsys.readouterr().out


def test_subjects_without_the_axes_of_the_mano_hand(folder, capsys):
    (folder / "finger_data" / "mano_finger_axis.npz").unlink()
    with pytest.raises(InputError, match="1 of 4 characters.*Mano0"):
        run(folder)
    assert "mano_finger_axis" in capsys.readouterr().out


def test_unknown_characters_are_named(folder):
    with pytest.raises(InputError, match="--characters.*Aj, BigVegas, Mano0, SportyGranny.*found Nobody"):
        run(folder, "--characters", "Aj", "Nobody")


def test_folders_without_motions(tmp_path):
    with pytest.raises(InputError, match="found no folder"):
        run(tmp_path / "nowhere")
    (tmp_path / "finger_data").mkdir()
    with pytest.raises(InputError, match="found none"):
        run(tmp_path)


def without_tip_joints(motion: Bvh) -> Bvh:
    """The motion as exporters write it that end fingers with an `End Site` instead of a fourth joint."""
    kept = [joint for joint, name in enumerate(motion.joint_names) if not name.endswith("4")]
    new = {joint: number for number, joint in enumerate(kept)}
    tips = [joint for joint, name in enumerate(motion.joint_names) if name.endswith("4")]
    return Bvh.from_rotations(
        [motion.joint_names[joint] for joint in kept],
        [new.get(int(motion.parents[joint]), -1) for joint in kept],
        motion.offsets[kept],
        motion.rotations(kept),
        frame_time=motion.frame_time,
        end_sites=[(new[int(motion.parents[tip])], motion.offsets[tip]) for tip in tips],
    )


def test_fingers_that_end_without_a_fourth_joint(folder):
    run(folder, "--characters", "Aj")
    expected = np.array(open_features(folder, "Aj").rows)
    for path in (folder / "Aj").glob("*.bvh"):
        write_bvh(path, without_tip_joints(read_bvh(path)))
    run(folder, "--characters", "Aj")
    np.testing.assert_allclose(np.abs(open_features(folder, "Aj").rows), np.abs(expected), atol=2e-6)


def digests(folder):
    """Of everything that preprocessing writes, but for the times in the descriptions."""
    found = {}
    for path in sorted([*folder.glob("*.npy"), *folder.glob("mean_var/*.npy")]):
        found[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted(folder.glob("*.json")):
        found[path.name] = {key: value for key, value in json.loads(path.read_text()).items() if key != "checked"}
    return found


def stretched(source, target, times):
    """A motion repeated, so that it takes a while."""
    motion = read_bvh(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_bvh(target, replace(motion, values=np.tile(motion.values, (times, 1))))


@pytest.fixture
def alone(folder):
    """What one process writes."""
    run(folder, "--jobs", "1")
    return digests(folder)


@pytest.mark.parametrize("backend", ["loky", "dask", pytest.param("ray", marks=pytest.mark.slow)])
def test_two_workers_write_the_same(folder, alone, backend, monkeypatch, capsys):
    if backend == "ray":
        pytest.importorskip("ray", reason="Ray is not installed (pip install 'ray>=2.40,<3')")
    monkeypatch.setattr(preprocess_mixhand, "SMALL", 0)  # or so little would not be handed to other processes
    run(folder, "--force", "--jobs", "2", "--backend", backend)
    assert digests(folder) == alone
    assert capsys.readouterr().out.count("written") == 4
    (folder / "Aj" / "a.bvh").write_text("")
    with pytest.raises(InputError, match="1 of 4 characters.*Aj"):
        run(folder, "--force", "--jobs", "2", "--backend", backend)
    assert "a.bvh" in capsys.readouterr().out
    (folder / "Aj" / "a.bvh").unlink()


def test_workers_that_are_not_there(folder, monkeypatch):
    monkeypatch.setattr("utils.parallel.CONNECT_SECONDS", 0.5)
    with pytest.raises(InputError, match="`cluster` tcp://127.0.0.1:9: no Dask scheduler answers"):
        run(folder, "--backend", "dask", "--cluster", "tcp://127.0.0.1:9")
    with pytest.raises(InputError, match="--jobs: expected at least 1, found 0"):
        run(folder, "--jobs", "0")


def test_killed_and_started_again(folder, golden):
    """`kill -9` after the first of several characters: the rest is done later, and nothing differs."""
    for number in range(6):
        stretched(golden / "bvh" / "mixamo_clip_a.bvh", folder / f"C{number}" / "a.bvh", 40)
        for ending in ("mesh_data", "finger_axis"):
            source = folder / "finger_data" / f"Aj_{ending}.npz"
            shutil.copyfile(source, source.with_name(f"C{number}_{ending}.npz"))
    command = [sys.executable, "-m", "run.preprocess_mixhand", "--data_path", str(folder), "--jobs", "1"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    while process.poll() is None and not any(folder.glob("C*.json")):
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -9
    first = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    assert 1 <= len(first) < 10
    # A temporary file of the killed run, long ago; and one of a run that is at work.
    old, new = folder / ".C5-0123456789ab.npy", folder / ".C5-ba9876543210.npy"
    for path in (old, new):
        path.write_bytes(b"half a file")
    os.utime(old, (0, 0))
    run(folder)
    assert all((folder / name).stat().st_mtime_ns == stamp for name, stamp in first.items())
    assert new.exists() and not old.exists()
    resumed = digests(folder)
    run(folder, "--force")
    assert digests(folder) == resumed and len(resumed) > 20


def test_a_killed_run_loses_no_statistics(folder, monkeypatch):
    """They are there before the features are: features that count as up to date have theirs."""

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("data.preparation.preprocess.write_statistics", killed)
    with pytest.raises(KeyboardInterrupt):
        run(folder, "--characters", "Mano0")
    assert not (folder / "Mano0.npy").exists()
    monkeypatch.undo()
    run(folder, "--characters", "Mano0")
    assert (folder / "mean_var" / "Mano0_mean.npy").exists()


def test_statistics_are_those_of_the_file(folder, golden):
    """Summed on the way to the disk, in blocks; read back in one piece."""
    stretched(golden / "bvh" / "mixamo_clip_a.bvh", folder / "Aj" / "long.bvh", 41)
    run(folder)
    for name in ("Aj", "Mano0"):
        expected = window_statistics(open_features(folder, name, 12), 8)
        found = read_statistics(open_features(folder, name))
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


LOAD_AS_PUBLISHED = """
import sys
import numpy as np
content = np.load(sys.argv[1], allow_pickle=True)
assert content.dtype == object and content.ndim == 1
np.savez(sys.argv[2], *[clip.astype(np.float32) for clip in content])
"""


def test_the_published_layout(folder, tmp_path, capsys):
    run(folder)
    ours = {name: np.array(open_features(folder, name).rows) for name in ("Aj", "Mano0")}
    statistics = {path.name: path.read_bytes() for path in folder.glob("mean_var/*.npy")}
    run(folder, "--format", "published")
    assert capsys.readouterr().out.count("written") == 8
    assert {path.name: path.read_bytes() for path in folder.glob("mean_var/*.npy")} == statistics
    for name, rows in ours.items():
        # In a process of its own: here nothing is unpickled.
        subprocess.run(
            [sys.executable, "-c", LOAD_AS_PUBLISHED, folder / f"{name}.npy", tmp_path / "a.npz"], check=True
        )
        with np.load(tmp_path / "a.npz") as clips:
            assert [len(clips[key]) for key in clips] == {"Aj": [30, 30], "Mano0": [20]}[name]
            assert np.array_equal(np.concatenate([clips[key] for key in clips]), rows)
        assert np.array_equal(open_features(folder, name).rows, rows)
    names = {argument for opcode, argument, _ in pickletools.genops((folder / "Aj.npy").read_bytes()[128:])
             if opcode.name == "GLOBAL"}  # fmt: skip
    assert names == {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}  # NumPy 1 knows these
    run(folder, "--format", "published")
    assert capsys.readouterr().out.count("up to date") == 4
    run(folder)
    assert capsys.readouterr().out.count("written") == 4


def slowed(folder, place, rate, bones=1.0):
    """The motion at another rate, its index finger's bones longer."""
    motion = read_bvh(folder / place)
    offsets = motion.offsets.copy()
    index = [joint for joint, name in enumerate(motion.joint_names) if "RightHandIndex" in name]
    offsets[index[1:]] *= bones
    write_bvh(folder / place, replace(motion, frame_time=1 / rate, offsets=offsets))


def test_other_rates_and_skeletons_are_told_and_nothing_is_changed(folder, golden, capsys):
    slowed(folder, "Aj/a.bvh", 30, bones=1.25)
    run(folder)
    text = capsys.readouterr().out
    assert "Aj: 1 of 2 clips (a) at 30 frames per second where windows assume 60: kept as they are; --resample" in text
    assert "Aj: 1 of 2 clips (a) of another skeleton than Aj's mesh: the bone to index 2 is 25% longer" in text
    assert "SportyGranny:" not in text and "Mano0:" not in text  # nothing is said of what is as it should be
    kept = open_features(folder, "Aj")
    expected = np.load(golden / "bvh" / "mixamo_clip_a_features.npz")["features"]
    assert [clip.frames for clip in kept.clips] == [len(expected)] * 2
    assert kept.rows[: len(expected)].tobytes() == kept.rows[len(expected) :].tobytes()
    run(folder)
    assert "at 30 frames per second" in capsys.readouterr().out  # told again, though up to date


def test_resampled(folder, capsys):
    slowed(folder, "Aj/a.bvh", 30)
    run(folder, "--characters", "Aj")
    rows = np.array(open_features(folder, "Aj").rows)
    capsys.readouterr()
    run(folder, "--resample", "--characters", "Aj", "Mano0")
    told = "Aj: 1 of 2 clips (a) at 30 frames per second, which preprocessing changes to the 60 assumed"
    assert told in capsys.readouterr().out
    file = open_features(folder, "Aj")
    frames = file.clips[1].frames
    assert file.clips[0].frames == 2 * frames - 1 and file.clips[0].frame_time == pytest.approx(1 / 60)
    # Every second frame is one of the file's.
    np.testing.assert_allclose(np.abs(file.rows[: 2 * frames - 1 : 2]), np.abs(rows[:frames]), rtol=1e-5, atol=3e-6)
    np.testing.assert_array_equal(file.rows[2 * frames - 1 :], rows[frames:])  # the clip at 60 is as it was


def test_what_we_have_made_is_resampled_unless_asked_otherwise(folder, capsys):
    slowed(folder, "Aj/a.bvh", 30)
    slowed(folder, "SportyGranny/clip.bvh", 30)
    (folder / "finger_data" / "Aj_source.json").write_text("{}")  # by run.convert_character
    run(folder)
    text = capsys.readouterr().out
    assert "Aj: 1 of 2 clips (a) at 30 frames per second, which preprocessing changes" in text
    assert "SportyGranny: 1 of 1 clips (clip) at 30 frames per second where windows assume 60: kept" in text
    run(folder, "--resample", "false", "--characters", "Aj")
    assert open_features(folder, "Aj").clips[0].frames == open_features(folder, "Aj").clips[1].frames


def test_left_hands_in_the_published_layout(folder):
    run(folder, "--format", "published", "--is_rhand", "false", "--characters", "Aj")
    assert open_features(folder, "Aj").side == "left"


def test_what_was_written_can_be_trained_with(folder):
    run(folder)
    data = MixHandDataModule(
        str(folder), window_size=2, batch_size=2, num_workers=0, frame_stride=2,
        train_characters=["Aj", "BigVegas", "Mano0"], val_characters=["SportyGranny", "Mano0"],
    )  # fmt: skip
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch.first.offsets.shape == (2, 2, 21, 3) and batch.second.shape.shape == (2, 2, 10)
    description = json.loads((folder / "Aj.json").read_text())
    assert description["channels"] == 2127 and description["frames"] == 60


def test_the_command_fails_without_a_traceback(folder):
    (folder / "Aj" / "a.bvh").write_text("")
    command = [sys.executable, "-m", "run.preprocess_mixhand", "--data_path", str(folder), "--characters", "Aj"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: 1 of 1 characters")
    assert "Traceback" not in done.stdout + done.stderr
    assert "a.bvh" in done.stdout
