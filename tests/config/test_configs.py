"""Every configuration that ships is read by the program it is for, and builds what it says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from data.hand_stream import StreamDataModule
from data.mixhand import MixHandDataModule, expand_characters
from data.open_hands.library import OpenHands
from model.asrn import ASRN
from model.dm import DM
from model.feedback.module import Feedback
from run.training.command_line import RetargetingCLI

CONFIG = Path(__file__).resolve().parents[2] / "config"
METHODS = {
    "ASRN.yaml": (ASRN, "asrn", "run.train_mixhand"),
    "DM.yaml": (DM, "dm", "run.train_dm"),
    "Feedback.yaml": (Feedback, "feedback", "run.train_feedback"),
}
DATA = {"feedback": StreamDataModule}
OVERLAYS = sorted(path.name for path in (CONFIG / "hardware").glob("*.yaml"))


class Built(RetargetingCLI):
    """Stops when everything is built."""

    def _run_subcommand(self, subcommand: str) -> None:
        pass


def build(name: str, *words: str, folder: str = "") -> Built:
    return built(name, ["fit", "--config", str(CONFIG / folder / name), *words])


def built(name: str, words: list[str]) -> Built:
    cls, method, program = METHODS[name]
    return Built(cls, method, program, words, DATA.get(method, MixHandDataModule))


def test_all_files_are_covered():
    shipped = {str(path.relative_to(CONFIG)) for path in CONFIG.rglob("*.yaml")}
    assert shipped == {*METHODS, *(f"open/{name}" for name in METHODS), *(f"hardware/{n}" for n in OVERLAYS)}
    assert OVERLAYS == ["cpu.yaml", "cuda.yaml", "ddp.yaml"]


def test_published_settings(tmp_path, monkeypatch):
    """mathematics §6 and §10."""
    monkeypatch.chdir(tmp_path)
    asrn, dm = build("ASRN.yaml"), build("DM.yaml")
    for cli in (asrn, dm):
        hp, trainer = cli.model.hparams, cli.trainer
        assert (hp.hidden_channel, hp.static_hidden_channel, hp.kernel_size, hp.n_layers) == (256, 128, 3, 4)
        assert (hp.n_static_layers, hp.norm_type, hp.pose_repr, hp.is_rhand) == (2, "none", "ortho6d", True)
        assert hp.semi_supervised and hp.anatomical_limits == "published" and hp.lr_schedule == "constant"
        assert hp.optim_init["class_path"] == "torch.optim.Adam" and hp.optim_init["init_args"]["lr"] == 1e-4
        assert (trainer.max_epochs, trainer.gradient_clip_val, trainer.log_every_n_steps) == (100, 0.5, 10)
        assert (cli.datamodule.window_size, cli.datamodule.batch_size) == (8, 64)
        assert cli.config.fit.seed_everything == 9923 and cli.config.fit.trainer.accelerator == "gpu"
    hp = asrn.model.hparams
    assert (hp.anatomical_loss_type, hp.lambda_anatomical, hp.distance_weighted) == ("euler", 0.1, True)
    assert (hp.lambda_rf_unweighted, hp.tbs_input_normalization) == (0.05, False)
    assert {hp.lambda_rf, hp.lambda_rp, hp.lambda_semi_rf, hp.lambda_semi_rp} == {1.0}
    hp = dm.model.hparams
    assert (hp.anatomical_loss_type, hp.lambda_anatomical) == ("axis", 0.01)
    assert (hp.lambda_dm, hp.lambda_semi_dm) == (1.0, 1.0)


def test_checkpoints_watch_the_published_errors(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, term in (("ASRN.yaml", "rf_dir_err"), ("DM.yaml", "dm_err")):
        watched = [callback for callback in build(name).trainer.checkpoint_callbacks if hasattr(callback, "monitor")]
        assert [callback.monitor for callback in watched] == [
            f"val/mixamo_semi_{term}", f"val/mano_semi_{term}", None,
        ]  # fmt: skip
        metrics = {"epoch": torch.tensor(58), f"val/mixamo_semi_{term}": torch.tensor(-1.8)}
        assert watched[0].format_checkpoint_name(metrics).endswith("best_mixamo-epoch=58-mixamo_semi_rf=-1.80.ckpt")
        assert watched[2].every_n_epochs == 5


DEVICES = torch.cuda.device_count()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("folder", ["", "open"])
def test_overlays(name, overlay, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: min(1, DEVICES))  # more would start processes
    cli = build(name, "--config", str(CONFIG / "hardware" / overlay), folder=folder)
    wanted = yaml.safe_load((CONFIG / "hardware" / overlay).read_text())["trainer"]["accelerator"]
    assert cli.config.fit.trainer.accelerator == wanted
    on_gpu = wanted == "gpu" and torch.cuda.is_available()
    assert cli.trainer.strategy.root_device.type == ("cuda" if on_gpu else "cpu")


@pytest.mark.parametrize("name", METHODS)
def test_open_configurations(name, tmp_path, monkeypatch):
    """Splits are those of MixHand-Open, and nobody is trained and tested on."""
    monkeypatch.chdir(tmp_path)
    data = build(name, folder="open").config.fit.data
    assert Path(data.data_path).name == "MixHandOpen"
    splits = [expand_characters(data[f"{split}_characters"]) for split in ("train", "val", "test")]
    assert sum(len(set(names)) for names in splits) == len(set().union(*splits))
    open_hands = OpenHands.load()
    known = {**open_hands.characters, **open_hands.subjects}
    assert [{known[name] for name in names} for names in splits] == [{"train"}, {"val"}, {"test_outside"}]
    assert set(splits[0]) == {name for name, split in known.items() if split == "train"}


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(CONFIG.rglob("*.yaml")) if path.parent.name != "hardware"],
    ids=lambda p: str(p.relative_to(CONFIG)),
)
def test_only_what_differs_is_written(path, tmp_path, monkeypatch):
    """A value that equals the default has no place in a configuration (overlays exist to set them)."""
    monkeypatch.chdir(tmp_path)
    default = built(path.name, ["fit", "--trainer.accelerator", "cpu"]).config.fit
    given = yaml.safe_load(path.read_text())
    for group in ("model", "data"):
        for key, value in given.get(group, {}).items():
            assert default[group][key] != value, f"{group}.{key} is the default"
