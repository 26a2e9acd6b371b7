"""The demo from nothing to the table, on a few hands; and what it may not do twice."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from data.dataset import MixHandFolder
from data.features.windows import BatchRequest
from data.mixhand import MixHandDataModule
from data.splits import read_splits
from model.batch import HandModels, own_pose
from model.methods import METHODS
from run import demo
from run.evaluation.comparison import most_different, window_names
from run.evaluation.skin import Skins, SkinTally
from run.training.open_weights import all_open_weights
from tests.run.conftest import ROOT, run_process
from utils.errors import InputError

NETWORKS = ["dm", "asrn", "feedback"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder in which the small demo has run."""
    folder = tmp_path_factory.mktemp("demo")
    done = run_process(folder, "run.demo", "--small", "--data_path", "open", "--output", "out")
    assert done.returncode == 0, done.stderr + done.stdout
    for word in ("Building", "features", "epoch 2/2", "outside", "inside", "Feedback as trained here", "hands.png"):
        assert word in done.stdout
    return folder


def test_results_compare_all_methods(finished):
    results = json.loads((finished / "out" / "results.json").read_text())
    for group in ("methods", "methods_inside"):
        assert list(results[group]) == list(METHODS)
        for entry in results[group].values():
            for direction in ("mano2mixamo", "mixamo2mano"):
                assert {"S_finger", "S_palm", "pinch_error", "S_finger_se"} <= set(entry[direction])
        assert results[group]["tbs_copy"]["mano2mixamo"]["S_finger"] > 0.9
    assert results["windows"] > 0 and results["windows_inside"] > 0
    assert not set(results["test_characters"]) & set(results["test_characters_inside"])
    assert {"build", "preprocess", "test", "draw"} <= set(results["seconds"])


def test_touches_of_skin_are_measured_on_meshes(finished):
    results = json.loads((finished / "out" / "results.json").read_text())
    for group in ("skin", "skin_inside"):
        for direction in ("mano2mixamo", "mixamo2mano"):
            found = results[group][direction]
            assert list(found) == list(METHODS) and found["optimizer"]["touches"] > 10
            assert found["optimizer_contacts"]["touches_kept"] > found["rotation_copy"]["touches_kept"]
    assert "### Touches of skin: test hands outside" in (finished / "out" / "tables.md").read_text()


def test_a_hand_in_its_own_pose_keeps_every_touch(finished):
    """Of both domains; measured as source and as result, each by its own mesh."""
    data = finished / "open"
    folder = MixHandFolder(data)
    hands = HandModels(str(folder.models), str(folder.mano_axes), "right")
    module = MixHandDataModule(str(data), num_workers=0, test_characters=read_splits(data)["test_outside"])
    windows = module.windows("test")
    batch = windows.batch(BatchRequest(0, np.arange(0, len(windows), max(1, len(windows) // 12))))
    skins = Skins(folder, hands)
    for features, names in zip((batch.first, batch.second), window_names(windows, batch), strict=True):
        tally, some = SkinTally(skins, ["own", "flat"]), np.ones(len(names), bool)
        own = own_pose(hands.shaped_hand(features), features)
        flat = own.shaped.with_local_rotations(torch.eye(3).expand_as(own.local))
        tally.add(features, features, (names, names), np.arange(len(names)), {"own": own, "flat": flat}, some)
        found = tally.figures()
        assert found["own"]["touches"] > 3 and found["own"]["touches_kept"] == 1
        assert found["own"]["false_touches"] == found["own"]["deepest"] == 0
        assert found["flat"]["touches_kept"] < 0.5


def test_networks_have_the_open_weights_and_one_is_trained_beside(finished):
    results = json.loads((finished / "out" / "results.json").read_text())
    assert [Path(path) for path in results["checkpoints"].values()] == list(all_open_weights().values())
    below, above = (results["methods"][name] for name in ("rotation_copy", "feedback"))
    for way, found in results["trained_here"]["feedback"].items():
        assert below[way]["S_finger"] < found["S_finger"] < above[way]["S_finger"]


@pytest.mark.parametrize("words, methods", [((), []), (("dm", "asrn", "dm"), ["dm", "asrn"]), (("all",), NETWORKS)])
def test_what_is_trained_in_full_is_asked_for(monkeypatch, words, methods):
    asked = []
    monkeypatch.setattr(demo, "demo", lambda output, data, in_full, *others: asked.append(in_full))
    demo.main(["--train", *words] if words else [])
    assert asked == [methods]


def test_hands_are_drawn(finished):
    with Image.open(finished / "out" / "hands.png") as picture:
        assert picture.width > 1000 and picture.height > 500


def test_a_finished_training_is_not_repeated_but_a_changed_one_is(finished, monkeypatch):
    """What is reused depends on everything that went into it."""
    monkeypatch.chdir(finished)
    started: list[str] = []
    monkeypatch.setattr(demo, "run_together", lambda jobs, cores: started.extend(jobs))
    data, epochs = Path("open"), [*demo.MINUTE, *demo.SHORT]
    checkpoints = demo.train(Path("out"), data, ["feedback"], epochs, cores=1)
    assert started == []
    assert checkpoints == {"feedback": Path("out/FEEDBACK.ckpt")} and checkpoints["feedback"].is_file()
    for methods, changed in ((["feedback"], ["--trainer.max_epochs", "3"]), (["asrn", "feedback"], epochs)):
        with pytest.raises(InputError, match="no checkpoint"):
            demo.train(Path("out"), data, methods, changed, cores=1)
    assert started == ["FEEDBACK", "ASRN"]
    key = demo.training_key("asrn", data, epochs)
    path = next(data.glob("Hand*.json"))
    description = json.loads(path.read_text())
    path.write_text(json.dumps({**description, "checked": "again"}))
    assert demo.training_key("asrn", data, epochs) == key
    path.write_text(json.dumps({**description, "inputs": "others"}))
    assert demo.training_key("asrn", data, epochs) != key


def test_a_failing_step_stops_the_demo(tmp_path, capfd):
    with pytest.raises(InputError, match="run.train_dm failed"):
        demo.run_together({"DM": ("run.train_dm", ["fit", "--config", "nowhere.yaml"])}, cores=1)
    assert "nowhere.yaml" in capfd.readouterr().err
    with pytest.raises(InputError, match="splits.yaml"):
        read_splits(tmp_path)


def test_command_line_module_finds_the_repository():
    assert demo.ROOT == ROOT


def test_gestures_that_differ_most():
    """By pinch error among touching frames, by S_finger among others; each pair of people once."""
    nan = float("nan")
    touching = torch.zeros(3, 2, 10, dtype=torch.bool)
    touching[0, 0, 9] = touching[1, 1, 9] = touching[2, 1, 3] = True
    pinch = torch.tensor([[0.1, nan], [nan, 0.9], [nan, 0.3]])
    direction = SimpleNamespace(
        pinch={"a": pinch, "b": torch.zeros(3, 2).where(~pinch.isnan(), pinch)},
        s_finger={"a": torch.tensor([[0.9, 0.5], [0.9, 0.9], [0.6, 0.9]]), "b": torch.full((3, 2), 0.9)},
        touching=touching,
        characters=(["s0", "s1", "s2"], ["t0", "t1", "t2"]),
    )
    # Window 0 shows the same touch as window 1, and less clearly; but it differs most without contact.
    assert most_different(direction, contacts=2, others=2) == [(1, 1), (2, 1), (0, 1)]
