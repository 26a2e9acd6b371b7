"""`python -m run.check_mixhand`: each kind of folder is recognised, and each kind of damage is found and named."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.features.published import ObjectArrayWriter
from data.features.row import channels
from data.preparation.check import check_folder
from run.check_mixhand import advice, check
from run.preprocess_mixhand import preprocess
from tests.run.test_preprocess_mixhand import slowed
from utils.errors import InputError

ROOT = Path(__file__).parents[2]
PUBLISHED = ["Aj", "BigVegas", "Kaya", "SportyGranny", *(f"Mano{n}" for n in range(10))]


@pytest.fixture
def raw(golden, tmp_path):
    """Motions, meshes, axes and MANO; nothing preprocessed."""
    path = tmp_path / "data"
    for name, clip in (("Aj", "mixamo_clip_a"), ("Kaya", "mixamo_clip_b"), ("Mano0", "mano_clip")):
        (path / name).mkdir(parents=True)
        shutil.copyfile(golden / "bvh" / f"{clip}.bvh", path / name / "a.bvh")
    shutil.copyfile(golden / "bvh" / "mano_clip.npy", path / "Mano0" / "a.npy")
    shutil.copytree(golden / "inputs", path / "finger_data")
    (path / "models").mkdir()
    for side in ("right", "left"):
        shutil.move(path / "finger_data" / f"mano_{side}.npz", path / "models" / f"MANO_{side.upper()}.npz")
    return path


def publish(path, clips, domain):
    with path.open("wb") as stream:
        writer = ObjectArrayWriter(stream, len(clips), channels(domain))
        for frames in clips:
            writer.begin_clip(frames)
            stream.write(np.random.default_rng(frames).normal(size=(frames, channels(domain))).astype("<f4").tobytes())
        writer.finish()


@pytest.fixture
def published(golden, tmp_path):
    """The published archive's form: features, statistics, finger_data; no motions, no descriptions."""
    path = tmp_path / "MixHand"
    (path / "mean_var").mkdir(parents=True)
    for name in PUBLISHED:
        domain = "mano" if name.startswith("Mano") else "mixamo"
        publish(path / f"{name}.npy", [20, 9], domain)
        for which in ("mean", "var"):
            np.save(path / "mean_var" / f"{name}_{which}.npy", np.ones((channels(domain), 1), np.float32))
    shutil.copytree(golden / "inputs", path / "finger_data")
    return path


def report(path, models=None):
    return check_folder(path, models)


def states(folder, character):
    (each,) = [each for each in folder.characters if each.character == character]
    return {name: part.state for name, part in each.parts.items() if part.state != "-"}


def test_other_rates_and_skeletons_are_told(raw, mano_models, capsys):
    shutil.copyfile(raw / "Aj/a.bvh", raw / "Aj/b.bvh")
    slowed(raw, "Aj/b.bvh", 30, bones=1.25)
    (aj,) = [each for each in report(raw, mano_models).characters if each.character == "Aj"]
    assert aj.is_whole and len(aj.notes) == 2  # said, and not held against it
    slow = "Aj: 1 of 2 clips (b) at 30 frames per second where windows assume 60: kept as they are; "
    other = "Aj: 1 of 2 clips (b) of another skeleton than Aj's mesh: the bone to index 2 is 25% longer"
    assert aj.notes[0] == slow + "`resample` changes the rate" and aj.notes[1].startswith(other)
    check([str(raw), "--smplx_path", str(mano_models)])
    text = capsys.readouterr().out
    assert slow + "--resample changes the rate" in text and other in text
    assert text.count("Aj: ") == 2 and "Mano0: " not in text  # nothing is said of what is as it should be
    # Once preprocessed, the same is known without the motions.
    preprocess(["--data_path", str(raw), "--smplx_path", str(mano_models), "--resample", "--jobs", "1"])
    shutil.rmtree(raw / "Aj")
    (aj,) = [each for each in report(raw, mano_models).characters if each.character == "Aj"]
    assert "at 30 frames per second, which preprocessing changes to the 60 assumed" in aj.notes[0]


def test_the_published_archive(published, mano_models):
    folder = report(published, mano_models)
    assert folder.kind == "published features" and folder.is_whole
    assert [each.character for each in folder.characters] == sorted(PUBLISHED)
    assert states(folder, "Aj") == dict.fromkeys(("features", "statistics", "mesh", "axes"), "ok")
    assert states(folder, "Mano3") == dict.fromkeys(("features", "statistics"), "ok")
    assert folder.characters[0].parts["features"].detail == "2 clips, 29 frames"
    assert "nothing is missing; train" in advice(folder)[0]
    (published / "Mano3.npy").unlink()
    folder = report(published, mano_models)
    assert not folder.is_whole and states(folder, "Mano3")["features"] == "missing"
    assert any("Mano3" in step for step in advice(folder))


def test_raw_folders_and_ours(raw, capsys):
    folder = report(raw)
    assert folder.kind == "raw motions" and folder.is_whole
    assert advice(folder) == [f"preprocess: `python -m run.preprocess_mixhand --data_path {raw}`"]
    assert states(folder, "Mano0") == {"motions": "ok"}
    before = {path: path.read_bytes() for path in raw.rglob("*") if path.is_file()}
    check([str(raw)])
    assert {path: path.read_bytes() for path in raw.rglob("*") if path.is_file()} == before
    for layout in ("ours", "published"):
        preprocess(["--data_path", str(raw), "--format", layout])
        folder = report(raw)
        assert folder.kind == "features and raw motions" and folder.is_whole
        assert states(folder, "Mano0") == {"features": "ok", "statistics": "ok", "motions": "ok"}
        assert "nothing is missing" in advice(folder)[0]


def nan_in_ours(path):
    rows = np.load(path / "Aj.npy", mmap_mode="r+")
    stamp = (path / "Aj.npy").stat()
    rows[7, 3] = np.nan
    rows.flush()
    os.utime(path / "Aj.npy", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # as if nobody had touched it


DAMAGE = {
    "truncated features": (lambda p: cut(p / "Aj.npy", 1000), "features", "damaged", "data are|bytes|announces"),
    "NaN in features": (nan_in_ours, "features", "damaged", "NaN or infinite ones in frame 7"),
    "other channels": (lambda p: np.save(p / "Aj.npy", np.zeros((4, 100), np.float32)), "features", "damaged", "2127"),
    "statistics": (
        lambda p: [np.save(p / "mean_var" / f"Mano0_{w}.npy", np.zeros(4)) for w in ("mean", "var")],
        "statistics", "damaged", "Mano0_mean.npy.*2074",
    ),
    "motion": (lambda p: cut(p / "Aj" / "a.bvh", 3000), "motions", "damaged", "a.bvh, line"),
    "shapes": (lambda p: np.save(p / "Mano0" / "a.npy", np.zeros((3, 10))), "motions", "damaged", "a.npy.*20 frames"),
    "no mesh": (lambda p: (p / "finger_data" / "Aj_mesh_data.npz").unlink(), "mesh", "missing", "Aj_mesh_data.npz"),
    "bad mesh": (lambda p: cut(p / "finger_data" / "Aj_mesh_data.npz", 99), "mesh", "damaged", "Aj_mesh_data.npz"),
    "no axes": (lambda p: (p / "finger_data" / "Aj_finger_axis.npz").unlink(), "axes", "missing", "Aj_finger_axis"),
    "bad axes": (
        lambda p: np.savez(p / "finger_data" / "Aj_finger_axis.npz", rhand=np.zeros((5, 3, 3))),
        "axes", "damaged", "rhand: expected rows",
    ),
}  # fmt: skip


def cut(path, size):
    path.write_bytes(path.read_bytes()[:-size])


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_found(raw, case, capsys):
    hurt, part, state, reason = DAMAGE[case]
    preprocess(["--data_path", str(raw)])
    hurt(raw)
    character = "Mano0" if part == "statistics" or case == "shapes" else "Aj"
    folder = report(raw)
    assert not folder.is_whole and states(folder, character)[part] == state
    (each,) = [each for each in folder.characters if each.character == character]
    assert len(each.problems) == 1
    assert re.search(reason, each.problems[0])
    assert [other.character for other in folder.characters if not other.is_whole] == [character]
    assert any(character in step for step in advice(folder))


@pytest.mark.parametrize("name", ["Aj", "Mano0"])
def test_damage_of_a_published_file(published, mano_models, name):
    cut(published / f"{name}.npy", 5000)
    folder = report(published, mano_models)
    assert states(folder, name)["features"] == "damaged" and not folder.is_whole


def test_missing_mano(raw):
    (raw / "finger_data" / "mano_finger_axis.npz").unlink()
    shutil.rmtree(raw / "models")
    folder = report(raw)
    assert not folder.is_whole
    assert folder.mano["axes"].state == folder.mano["model, right"].state == "missing"
    assert any("mano.is.tue.mpg.de" in step for step in advice(folder))
    assert any("calculate_mano_axis" in step for step in advice(folder))


def test_the_command(raw, tmp_path):
    command = [sys.executable, "-m", "run.check_mixhand", str(raw), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["whole"] is True
    cut(raw / "Aj" / "a.bvh", 500)
    done = subprocess.run(command[:-1], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "error: " in done.stderr and "1 of 5 characters (Aj)" in done.stderr
    assert "a.bvh" in done.stdout and "next: repair or remove" in done.stdout


def test_no_data_set(tmp_path):
    with pytest.raises(InputError, match="found nothing"):
        report(tmp_path / "none")
    with pytest.raises(InputError, match="expected feature files"):
        report(tmp_path)


def test_features_that_have_changed_since_are_found(raw):
    """Also where size, time and numbers are such as they could be."""
    preprocess(["--data_path", str(raw)])
    path = raw / "Aj.npy"
    stamp = path.stat()
    rows = np.load(path, mmap_mode="r+")
    rows[3, 7] += 0.25
    rows.flush()
    del rows
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    folder = report(raw)
    assert states(folder, "Aj")["features"] == "damaged" and not folder.is_whole
    assert states(folder, "Kaya")["features"] == "ok"
    with pytest.raises(InputError, match="missing or damaged"):
        check([str(raw)])
