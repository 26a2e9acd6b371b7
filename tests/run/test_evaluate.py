"""All methods on all test hands, through the command line; the figures are those of `test`."""

from __future__ import annotations

import csv
import json
import os
import resource
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.splits import each_with_the_others
from model.asrn import ASRN
from model.methods import available
from run.training.trained import load_network
from tests.run import published
from tests.run.conftest import only
from utils.errors import InputError

# The module is imported by others and run as a program, too.
pytestmark = pytest.mark.filterwarnings("ignore:.*found in sys.modules after import.*")
EVALUATE = "run.evaluate"
DATA = ["--data_path", "artifact/MixHand", "--output_dir", "out"]
NETWORKS = ["--asrn", "asrn.ckpt", "--dm", "dm.ckpt"]
PROGRAMS = {"asrn": "run.train_mixhand", "dm": "run.train_dm"}
PLOTS = ("methods", "gestures", "proportions", "joints")


def close(found: dict, expected: dict) -> None:
    """Every figure of `expected` is in `found`, equal to rounding."""
    for name, value in expected.items():
        if value is None:
            assert found[name] is None
        else:
            assert found[name] == pytest.approx(value, rel=2e-5, abs=1e-7), name


def test_figures_are_those_of_test(world, program):
    outcome = program(EVALUATE, *DATA, *NETWORKS, "--batch_size", "2")
    assert outcome.code == 0, outcome.err
    found = json.loads((world / "out" / "results.json").read_text())
    assert list(found["methods"]) == available(["asrn", "dm"]) and (found["windows"], found["frames"]) == (5, 40)
    assert found["checkpoints"] == {"asrn": "asrn.ckpt", "dm": "dm.ckpt"}
    for method, module in PROGRAMS.items():
        words = ["--config", f"{method}.yaml", "--ckpt_path", f"{method}.ckpt", "--trainer.default_root_dir", method]
        assert program(module, "test", *words).code == 0
        expected = json.loads(only(world / method, "results.json").read_text())["methods"]
        for name, entry in expected.items():
            for direction, figures in entry.items():
                close(found["methods"][name][direction], figures)
    check_files(world / "out", found)


def check_files(folder: Path, results: dict) -> None:
    """Tables repeat the figures of results.json; pictures are whole."""
    shown = f"{results['methods']['asrn']['mano2mixamo']['S_finger']:.4f}"
    for name in ("tables.md", "tables.tex"):
        assert shown in (folder / name).read_text()
    with open(folder / "results.csv", newline="") as file:
        row = next(r for r in csv.DictReader(file) if r["method"] == "asrn" and r["metric"] == "S_finger")
    assert f"{float(row['value']):.4f}" == shown
    with open(folder / "breakdown.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["breakdown"] for row in rows} == {"by_character", "by_gesture", "by_pair"}
    for plot in PLOTS:
        with Image.open(folder / "figures" / f"{plot}.png") as picture:
            assert picture.width > 500 and len(picture.convert("RGB").getcolors(1 << 24)) > 10
        root = ElementTree.parse(folder / "figures" / f"{plot}.svg").getroot()
        assert root.tag.endswith("svg") and any("ASRN" in (e.text or "") for e in root.iter())
        assert f"figures/{plot}.png" in (folder / "tables.md").read_text()
    assert not list(folder.rglob(".*"))


def test_breakdowns_add_up(world, program):
    assert program(EVALUATE, *DATA, *NETWORKS).code == 0
    found = json.loads((world / "out" / "results.json").read_text())
    for direction in ("mano2mixamo", "mixamo2mano"):
        overall = found["methods"]["asrn"][direction]["S_finger"]
        for kind in ("by_character", "by_gesture", "by_pair"):
            parts = [part["asrn"] for part in found[kind][direction].values()]
            frames = sum(part["frames"] for part in parts)
            assert frames == found["frames"]
            mean = sum(part["S_finger"] * part["frames"] for part in parts) / frames
            assert mean == pytest.approx(overall, rel=1e-5)
        assert sum(found["by_joint"][direction]["asrn"]) / 20 == pytest.approx(overall, rel=1e-5)
    assert list(found["by_character"]["mano2mixamo"]) == ["SportyGranny"]
    assert set(found["ratios"]) == {"SportyGranny", "Mano7"}


def test_both_protocols_and_few_windows(world, program):
    words = ["--data_path", "intra", "--output_dir", "out", "--protocol", "both", "--max_windows", "2", *NETWORKS]
    words += ["--smplx_path", "artifact/smplx/models", "--methods", "tbs_copy,asrn"]
    outcome = program(EVALUATE, *words, "--is_rhand", "true")
    assert outcome.code == 0, outcome.err
    found = json.loads((world / "out" / "results.json").read_text())
    assert found["windows_by_direction"] == {"mano2mixamo": 2, "mixamo2mano": 2, "intra": 2}
    assert list(found["methods"]) == ["tbs_copy", "asrn"] and found["methods"]["asrn"]["mixamo_MSE"] > 0
    assert "MSE (cm²)" in outcome.out and "within the domain" in (world / "out" / "tables.md").read_text()


def test_within_a_domain_as_test(world, program):
    words = ["--data_path", "intra", "--output_dir", "out", "--protocol", "intra", "--asrn", "asrn.ckpt"]
    assert program(EVALUATE, *words, "--smplx_path", "artifact/smplx/models").code == 0
    found = json.loads((world / "out" / "results.json").read_text())
    with np.load(published.GOLDEN / "losses" / f"{published.FULL['asrn']}.npz") as stored:
        expected = float(stored["test/mixamo_MSE"])
    assert found["methods"]["asrn"]["mixamo_MSE"] == pytest.approx(expected, rel=1e-5)


def test_copies_need_no_checkpoint(world, program):
    outcome = program(EVALUATE, *DATA, "--methods", "rotation_copy,tbs_copy")
    assert outcome.code == 0, outcome.err
    assert "ASRN" not in outcome.out and "Twist-bend-splay copy" in outcome.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--asrn", "dm.ckpt"], "dm.ckpt: expected a checkpoint of ASRN, found one of DM; give it to --dm"),
        (["--methods", "asrn", "--dm", "dm.ckpt"], "method asrn: expected its checkpoint"),
        (["--methods", "magic"], "method 'magic' is unknown"),
        (["--is_rhand", "false"], "--is_rhand false: artifact/MixHand has features of the right hand"),
        (["--test_characters", "Nobody"], "Nobody"),
        (["--data_path", "nowhere"], "nowhere"),
        (["--max_windows", "0"], "--max_windows: expected at least 1"),
        (["--batch_size", "0"], "--batch_size: expected at least 1, found 0"),
        (["--output_dir", "asrn.yaml"], "asrn.yaml: expected a folder to write to, found a file"),
        (["--smplx_path", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_line(words, message, world, program):
    outcome = program(EVALUATE, *DATA, *words)
    assert outcome.code == 2
    errors = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and message in errors[0], outcome.err
    assert not (world / "out").exists()


def test_an_unwritable_folder_is_found_before_the_work(world, program, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    outcome = program(EVALUATE, *DATA)
    assert outcome.code == 2 and "no permission to write" in outcome.err


def test_a_checkpoint_of_the_other_hand(world, program):
    content = published.checkpoint("dm")
    content["hyper_parameters"]["is_rhand"] = False
    torch.save(content, world / "left.ckpt")
    outcome = program(EVALUATE, *DATA, "--dm", "left.ckpt")
    assert outcome.code == 2 and "DM: expected a checkpoint of the right hand" in outcome.err


def test_checkpoints_that_do_not_say_what_they_are(tmp_path):
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "bare.ckpt")
    with pytest.raises(InputError, match="hyper_parameters and state_dict"):
        load_network(tmp_path / "bare.ckpt")


def test_everyone_meets_every_other_within_a_domain():
    assert each_with_the_others(["a", "b", "c"]) == (["a", "a", "b", "b", "c", "c"], ["b", "c", "a", "c", "a", "b"])


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("hidden_channel", 1_000_000, "whole number from 1 to 4096; got 1000000"),
        ("hidden_channel", -8, "from 1 to 4096; got -8"),
        ("hidden_channel", "wide", "from 1 to 4096; got 'wide'"),
        ("hidden_channel", 8.0, "from 1 to 4096; got 8.0"),
        ("static_hidden_channel", 0, "from 1 to 4096"),
        ("kernel_size", 4, "must be odd"),
        ("n_layers", 10**9, "from 1 to 64"),
        ("n_static_layers", None, "from 1 to 64; got None"),
        ("pose_repr", "euler", "pose_repr"),
        ("norm_type", "layer", "norm"),
        ("hidden_channel", 4096, "of another shape"),  # it would be built, and the weights say otherwise
        ("hidden_channel", 9, "of another shape"),
    ],
)
def test_hyper_parameters_are_not_believed(tmp_path, name, value, says):
    network = ASRN(hidden_channel=8, static_hidden_channel=8)
    settings = {**network.hparams, name: value}
    torch.save({"state_dict": network.state_dict(), "hyper_parameters": settings}, tmp_path / "x.ckpt")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=says) as caught:
        load_network(tmp_path / "x.ckpt")
    assert "x.ckpt" in str(caught.value) and "\n" not in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 << 10  # KiB


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["state_dict"].update({"recon_nets.0.res_blocks.0.conv1.bias": "text"}),
        lambda c: c["state_dict"].update(
            {"recon_nets.0.res_blocks.0.conv1.bias": torch.zeros(()).expand(10**6, 10**6)}
        ),
        lambda c: c["state_dict"].update({"recon_nets.0.res_blocks.0.net.0.bias": torch.zeros(()).expand(10**12)}),
        lambda c: c["state_dict"].update({"recon_nets.0.res_blocks.0.conv1.bias": torch.full((8,), float("nan"))}),
        lambda c: c.update(hyper_parameters=["lambda_rf"]),
    ],
)
def test_weights_are_not_believed(tmp_path, change):
    network = ASRN(hidden_channel=8, static_hidden_channel=8)
    content = {"state_dict": dict(network.state_dict()), "hyper_parameters": dict(network.hparams)}
    change(content)
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(InputError, match="x.ckpt"):
        load_network(tmp_path / "x.ckpt")
