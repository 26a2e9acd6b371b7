"""Both programs through their command lines: published files, everyday use, hostile input."""

from __future__ import annotations

import json
import pickle
import shlex
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from run.training.open_weights import write_weights
from tests.run import published
from tests.run.conftest import SMALL, only, run_process
from utils.safe_read import load_checkpoint

PROGRAMS = {"asrn": "run.train_mixhand", "dm": "run.train_dm"}
QUICK = [*SMALL, "--data.num_workers", "0", "--trainer.default_root_dir", "out"]
LOG = Path("out/lightning_logs/version_0")


def golden_losses(method: str) -> dict[str, float]:
    with np.load(published.GOLDEN / "losses" / f"{published.FULL[method]}.npz") as stored:
        return {name: float(stored[name]) for name in stored.files if name.startswith(("test/", "val/"))}


# -- published files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", PROGRAMS)
def test_published_files_give_the_golden_figures(method, world, program):
    """Configuration and checkpoint as published, nothing else on the command line."""
    outcome = program(PROGRAMS[method], "test", "--config", f"{method}.yaml", "--ckpt_path", f"{method}.ckpt")
    assert outcome.code == 0, outcome.err
    results = json.loads(only(world, "results.json").read_text())
    expected = golden_losses(method)
    for direction in ("mano2mixamo", "mixamo2mano"):
        for metric in ("S_finger", "S_palm"):
            wanted = expected[f"test/{direction}_{metric}"]
            assert results["methods"][method][direction][metric] == pytest.approx(wanted, rel=1e-5)
            assert results["logged"][f"test/{direction}_{metric}"] == pytest.approx(wanted, rel=1e-5)
            assert 0.9 < results["methods"]["tbs_copy"][direction][metric] < 1
    assert (results["windows"], results["frames"]) == (5, 40)
    dropped = next(line for line in outcome.err.splitlines() if "dropped" in line)
    assert all(key in dropped for key in ("gpus", "tpu_cores", "auto_lr_find", "amp_backend", "weights_save_path"))
    assert "replace_sampler_ddp" in dropped and "smplx_model_path" in outcome.err
    if not torch.cuda.is_available():
        assert "the CPU is used" in outcome.err
    assert "ASRN" in outcome.out if method == "asrn" else "DM" in outcome.out


def test_weights_alone_are_tested_and_not_continued(world, program):
    """Figures are those of the checkpoint up to its rounding to half precision."""
    write_weights(Path("asrn.safetensors"), "asrn", load_checkpoint("asrn.ckpt"), eight_bits=False)
    words = ["--config", "asrn.yaml", "--ckpt_path", "asrn.safetensors"]
    outcome = program("run.train_mixhand", "test", *words)
    assert outcome.code == 0, outcome.err
    results = json.loads(only(world, "results.json").read_text())
    expected = golden_losses("asrn")["test/mano2mixamo_S_finger"]
    assert results["methods"]["asrn"]["mano2mixamo"]["S_finger"] == pytest.approx(expected, abs=1e-3)
    rejected(program("run.train_mixhand", "fit", *words), "asrn.safetensors", "weights alone")


@pytest.mark.parametrize("method", PROGRAMS)
def test_published_checkpoint_within_a_domain(method, world, program):
    words = ["--ckpt_path", f"{method}.ckpt", "--data.data_path", "intra", "--data.protocol", "intra"]
    outcome = program(PROGRAMS[method], "test", "--config", f"{method}.yaml", *words)
    assert outcome.code == 0, outcome.err
    results = json.loads(only(world, "results.json").read_text())
    expected = golden_losses(method)["test/mixamo_MSE"]
    assert results["methods"][method]["mixamo_MSE"] == pytest.approx(expected, rel=1e-5)
    assert results["methods"][method]["mixamo_MSE_se"] > 0
    assert "MSE" in outcome.out


def test_published_checkpoint_validates(world, program):
    outcome = program("run.train_mixhand", "validate", "--config", "asrn.yaml", "--ckpt_path", "asrn.ckpt")
    assert outcome.code == 0, outcome.err
    # Validation pairs SportyGranny with Mano7 to 9: the golden batch again.
    expected = golden_losses("asrn")["val/mixamo_semi_rf_dir_err"]
    line = next(line for line in outcome.out.splitlines() if "val/mixamo_semi_rf_dir_err" in line)
    assert float(line.split("│")[2]) == pytest.approx(expected, rel=1e-5)


def test_training_continues_from_a_published_checkpoint(world, program):
    """Epoch, step count and both optimisers' states go on; the new checkpoint loads again."""
    words = ["--config", "asrn.yaml", "--data.num_workers", "0", "--trainer.default_root_dir", "out"]
    outcome = program("run.train_mixhand", "fit", *words, "--ckpt_path", "asrn.ckpt", "--trainer.max_epochs", "60")
    assert outcome.code == 0, outcome.err
    last = torch.load(LOG / "checkpoints" / "last.ckpt", weights_only=True)
    assert (last["epoch"], last["global_step"]) == (59, 59 * 3 + 1)
    (optimizer,) = last["optimizer_states"]
    assert [len(group["params"]) for group in optimizer["param_groups"]] == [40, 40]
    assert {float(state["step"]) for state in optimizer["state"].values()} == {178.0}
    before = published.checkpoint("asrn")["optimizer_states"][1]["state"][3]["exp_avg_sq"]
    after = optimizer["state"][40 + 3]["exp_avg_sq"]
    assert after.shape == before.shape and (after > 0.998 * before).all()
    assert set(last["state_dict"]) == set(published.golden_weights("asrn"))
    assert set(last["hyper_parameters"]) >= set(published.checkpoint("asrn")["hyper_parameters"])
    assert isinstance(last["hyper_parameters"]["optim_init"], dict)


# -- everyday use ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", PROGRAMS)
@pytest.mark.parametrize("subcommand", ["fit", "validate", "test", "predict"])
def test_fast_dev_run(method, subcommand, world, program):
    outcome = program(PROGRAMS[method], subcommand, *QUICK, "--trainer.fast_dev_run", "true")
    assert outcome.code == 0, outcome.err
    assert not (world / "out").exists() or not list((world / "out").rglob("*.ckpt"))


def test_fit_then_the_commands_it_prints(world, program):
    """Checkpoint names, saved configuration, summary; the printed test command works as it stands."""
    outcome = program(
        "run.train_mixhand", "fit", *QUICK, "--trainer.max_epochs", "5", "--pictures.every_n_epochs", "0"
    )
    assert outcome.code == 0, outcome.err
    names = sorted(path.name for path in (LOG / "checkpoints").iterdir())
    assert "last.ckpt" in names
    assert sum(name.startswith("best_mixamo-epoch=") and "-mixamo_semi_rf=" in name for name in names) == 1
    assert sum(name.startswith("best_mano-epoch=") and "-mano_semi_rf=" in name for name in names) == 1
    assert "epoch=4-step=5.ckpt" in names
    assert "mixamo loss" in outcome.out and "mano loss" in outcome.out
    saved = yaml.safe_load((LOG / "config.yaml").read_text())
    assert "ckpt_path" not in saved and saved["seed_everything"] == 9923 and saved["trainer"]["max_epochs"] == 5
    assert saved["trainer"]["gradient_clip_val"] == 0.5 and saved["model"]["hidden_channel"] == 8
    commands = [line.strip() for line in outcome.out.splitlines() if line.startswith("  python -m")]
    assert len(commands) == 2
    words = shlex.split(commands[0])
    assert words[:4] == ["python", "-m", "run.train_mixhand", "test"]
    tested = program("run.train_mixhand", *words[3:])
    assert tested.code == 0, tested.err
    results = json.loads((LOG.parent / "version_1" / "results.json").read_text())
    assert set(results["methods"]) == {"rotation_copy", "tbs_copy", "asrn"}
    assert results["checkpoint"].endswith(Path(words[-1]).name)
    assert (LOG.parent / "version_1" / "results.csv").read_text().startswith("group,method,direction,metric,value")
    # The same configuration serves every sub-command.
    predicted = program("run.train_mixhand", "predict", "--config", LOG / "config.yaml", "--ckpt_path", "best")
    assert predicted.code == 0, predicted.err
    with np.load(LOG.parent / "version_2" / "predictions.npz") as arrays:
        assert arrays["mano2mixamo/local_rotations"].shape == (5, 8, 21, 4)
        assert arrays["mixamo2mano/joints"].shape == (5, 8, 21, 3)
        assert np.isfinite(arrays["mixamo2mano/tbs"]).all()
        assert set(arrays["mano2mixamo/target"]) == {"SportyGranny"} == set(arrays["mixamo2mano/source"])
        assert set(arrays["mano2mixamo/source"]) == {"Mano7"} and arrays["mano2mixamo/joint_names"][0] == "RightHand"


def test_tensorboard_shows_losses_rates_and_hands(world, program):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    extra = ["--trainer.max_epochs", "1", "--trainer.log_every_n_steps", "1", "--data.batch_size", "16"]
    assert program("run.train_dm", "fit", *QUICK, *extra).code == 0
    events = EventAccumulator(str(LOG))
    events.Reload()
    tags = events.Tags()
    assert {"val/mano2mixamo", "val/mixamo2mano"} <= set(tags["images"])
    assert {"train/mixamo_loss", "train/mano_loss", "val/mixamo_semi_dm_err"} <= set(tags["scalars"])
    assert any(tag.startswith("lr-") for tag in tags["scalars"])
    picture = events.Images("val/mano2mixamo")[0]
    assert (picture.width, picture.height) == (5 * 160, 2 * 160)


def test_overlays_and_print_config(world, program):
    Path("a.yaml").write_text("model: {lambda_rf: 0.5, hidden_channel: 32}\noptim: {lr: 1e-3}\n")
    Path("b.yaml").write_text("model: {hidden_channel: 64}\n")
    outcome = program("run.train_mixhand", "fit", "--config", "a.yaml", "--config", "b.yaml", "--print_config")
    config = yaml.safe_load(outcome.out)
    assert outcome.code == 0
    assert (config["model"]["lambda_rf"], config["model"]["hidden_channel"]) == (0.5, 64)
    assert config["optim"]["class_path"] == "torch.optim.Adam" and config["optim"]["init_args"]["lr"] == 1e-3
    assert list(config)[:3] == ["seed_everything", "trainer", "model"] and {"data", "ckpt_path"} <= set(config)


def test_help_lists_what_can_be_set(world, program):
    outcome = program("run.train_mixhand", "fit", "--help")
    assert outcome.code == 0
    for words in ("--model.lambda_rf", "width of the networks", "--data.train_characters", "--ckpt_path", "--optim"):
        assert words in outcome.out
    assert "--weights_only" not in outcome.out


def test_other_optimisers_can_be_chosen(world, program):
    words = ["--optim", "SGD", "--optim.lr", "0.01", "--trainer.fast_dev_run", "true"]
    assert program("run.train_dm", "fit", *QUICK, *words).code == 0


def test_last_without_a_training(world, program):
    """`fit` starts from scratch and says so; `test` has nothing to test."""
    fit = program("run.train_dm", "fit", *QUICK, "--ckpt_path", "last", "--trainer.max_epochs", "1")
    assert fit.code == 0 and "starting from scratch" in fit.err
    test = program("run.train_dm", "test", *SMALL, "--trainer.default_root_dir", "empty", "--ckpt_path", "last")
    assert test.code == 2 and "no such checkpoint" in test.err and not Path("empty").exists()


# -- hostile input ---------------------------------------------------------------------------------------------------


def rejected(outcome, *words: str) -> None:
    """One line, naming what is wrong; no traceback, nothing written."""
    assert outcome.code == 2
    errors = [line for line in outcome.err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and "Traceback" not in outcome.err, outcome.err
    assert all(word in errors[0] for word in words), errors[0]
    assert not Path("lightning_logs").exists() and not Path("out").exists()


def test_stopped_by_hand_and_continued_too_far(world, program, monkeypatch):
    """Ctrl-C says how to go on; a schedule that was planned for its length is not driven beyond it."""
    length = ["--model.lr_schedule", "one_cycle", "--data.batch_size", "16", "--resume_points.every_n_steps", "1"]
    words = ["fit", "--config", "asrn.yaml", *QUICK, *length, "--trainer.limit_val_batches", "1"]
    stop = ["--trainer.callbacks+", "tests.run.killer.KillAt", "--trainer.callbacks.step", "2"]
    stop += ["--trainer.callbacks.by", str(int(signal.SIGINT))]
    before = signal.getsignal(signal.SIGINT)
    try:
        stopped = program("run.train_mixhand", *words, "--trainer.max_epochs", "1", *stop)
    finally:
        signal.signal(signal.SIGINT, before)
    assert stopped.code == 130, stopped.err
    assert "the same command with --ckpt_path last continues" in stopped.err and "Traceback" not in stopped.err
    longer = program("run.train_mixhand", *words, "--trainer.max_epochs", "2", "--ckpt_path", "last")
    assert longer.code == 2, longer.err
    assert "error: --trainer.max_epochs: expected at most 3 steps in all" in longer.err and "found 6" in longer.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model: {lambda_fr: 1}", ["unknown key 'model.lambda_fr'"]),
        ("trainer: {max_epoch: 1}", ["unknown key 'trainer.max_epoch'"]),
        ("modle: {}\ndata: {batch: 3}", ["unknown key"]),
        ("model: {hidden_channel: many}", ["model.hidden_channel", "many"]),
        ("model: {norm_type: layer}", ["model.norm_type", "layer"]),
        ("- 1\n- 2", ["c.yaml", "mapping"]),
        ("model: {hidden_channel: 8", ["c.yaml", "not valid YAML"]),
        ("data: {batch_size: 0}", ["batch_size", "at least 1"]),
        ("trainer: {callbacks: [{class_path: no.such.Callback}]}", ["trainer.callbacks", "no.such.Callback"]),
        ("model: {kernel_size: 4}", ["kernel_size"]),
    ],
)
def test_bad_configurations(text, words, world, program):
    Path("c.yaml").write_text(text)
    rejected(program("run.train_mixhand", "fit", "--config", "c.yaml"), *words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--config", "nowhere.yaml"], ["nowhere.yaml", "does not exist"]),
        (["--model.no_such_key", "3"], ["model.no_such_key"]),
        (["--ckpt_path", "nowhere.ckpt"], ["nowhere.ckpt", "does not exist"]),
        (["--data.data_path", "nowhere"], ["nowhere"]),
        (["--data.train_characters", "[Nobody, Mano0]"], ["Nobody"]),
        (["--model.smplx_model_path", "nowhere/models"], ["nowhere/models"]),
        (["--model.is_rhand", "false"], ["--model.is_rhand", "right hands", "false"]),
        (["--ckpt_path", "artifact"], ["artifact", "folder"]),
    ],
)
def test_bad_options(options, words, world, program):
    rejected(program("run.train_mixhand", "fit", *SMALL, *options), *words)


@pytest.mark.parametrize(
    ("rate", "words"), [("-1", ["--optim", "-1"]), ("1e30", ["finite losses", "nan", "--optim.lr"])]
)
def test_bad_learning_rates(rate, words, world, program):
    result = program("run.train_mixhand", "fit", *SMALL, "--optim.lr", rate, "--trainer.max_epochs", "3")
    error = result.err.strip().splitlines()[-1]
    assert result.code == 2 and error.startswith("error: ") and "Traceback" not in result.err
    assert all(word in error for word in words), error


def test_bad_subcommand(world, program):
    rejected(program("run.train_mixhand", "train"), "fit", "test", "train")


def altered(folder: Path, **changes) -> Path:
    content = published.checkpoint("asrn")
    content["hyper_parameters"] = {**content["hyper_parameters"], **changes}
    torch.save(content, folder / "altered.ckpt")
    return folder / "altered.ckpt"


def test_checkpoints_that_do_not_fit(world, program):
    published_run = ["test", "--config", "asrn.yaml", "--data.num_workers", "0", "--trainer.default_root_dir", "out"]
    rejected(program("run.train_mixhand", *published_run, "--ckpt_path", "dm.ckpt"), "DM", "run.train_dm")
    size = program("run.train_mixhand", *published_run, "--model.hidden_channel", "128", "--ckpt_path", "asrn.ckpt")
    rejected(size, "hidden_channel=256 in the checkpoint but 128")
    hand = altered(world, is_rhand=False)
    rejected(program("run.train_mixhand", *published_run, "--ckpt_path", hand), "is_rhand=False")
    # Without hyper-parameters the weights themselves tell.
    torch.save({"state_dict": published.golden_weights("dm")}, "bare.ckpt")
    rejected(
        program("run.train_mixhand", *published_run, "--ckpt_path", "bare.ckpt"), "do not fit ASRN", "conv1.weight"
    )
    torch.save({"weights": torch.zeros(3)}, "none.ckpt")
    rejected(program("run.train_mixhand", *published_run, "--ckpt_path", "none.ckpt"), "state_dict")


def test_weights_that_contradict_themselves_or_are_no_numbers(world, program):
    run = ["test", "--config", "asrn.yaml", "--data.num_workers", "0", "--trainer.default_root_dir", "out"]
    content = published.checkpoint("asrn")
    name = next(name for name in content["state_dict"] if "conv1.weight" in name)
    for change, word in ((1.0, "different ones"), (float("nan"), "NaN")):
        altered_weight = content["state_dict"][name] + change
        torch.save({**content, "state_dict": {**content["state_dict"], name: altered_weight}}, "altered.ckpt")
        rejected(program("run.train_mixhand", *run, "--ckpt_path", "altered.ckpt"), name, word)


class Malice:
    """Would create a file when unpickled."""

    def __reduce__(self):
        return (open, ("executed.txt", "w"))


def test_damaged_and_malicious_checkpoints(world, program):
    words = ["test", "--config", "asrn.yaml", "--trainer.default_root_dir", "out"]
    Path("damaged.ckpt").write_bytes(Path("asrn.ckpt").read_bytes()[:100_000])
    rejected(program("run.train_mixhand", *words, "--ckpt_path", "damaged.ckpt"), "damaged.ckpt")
    torch.save({"state_dict": {}, "evil": Malice()}, "evil.ckpt")
    rejected(program("run.train_mixhand", *words, "--ckpt_path", "evil.ckpt"), "evil.ckpt", "open")
    Path("pickle.ckpt").write_bytes(pickle.dumps(Malice()))
    rejected(program("run.train_mixhand", *words, "--ckpt_path", "pickle.ckpt"), "pickle.ckpt")
    assert not Path("executed.txt").exists()


def test_errors_leave_a_process_with_code_2(world):
    """Once in a process of its own, as a shell sees it."""
    done = run_process(world, "run.train_dm", "fit", "--config", "nowhere.yaml")
    assert done.returncode == 2 and done.stderr.strip().splitlines()[-1].startswith(
        "error: configuration nowhere.yaml"
    )
    assert "Traceback" not in done.stderr
