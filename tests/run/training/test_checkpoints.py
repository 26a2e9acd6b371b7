"""Finding, reading, checking and writing checkpoints."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from model.asrn import ASRN
from model.dm import DM
from run.training.checkpoints import (
    TrustedCheckpoints,
    close_epoch,
    display_path,
    find_checkpoint,
    fit_to_model,
    last_training,
    merge_optimizer_states,
    run_folders,
)
from tests.run import published
from utils.errors import InputError

SMALL = {"hidden_channel": 8, "static_hidden_channel": 6}


def put(root: Path, version: int, *names: str) -> Path:
    folder = root / f"version_{version}" / "checkpoints"
    folder.mkdir(parents=True)
    for second, name in enumerate(names):
        (folder / name).touch()
        os.utime(folder / name, (1000 + second, 1000 + second))
    return folder


def test_runs_are_ordered_by_number(tmp_path):
    for number in (2, 10, 9):
        put(tmp_path, number)
    (tmp_path / "version_x").mkdir()
    assert [folder.name for folder in run_folders(tmp_path)] == ["version_10", "version_9", "version_2"]


def test_last_and_best(tmp_path):
    put(tmp_path, 0, "best_mixamo-epoch=3-mixamo_semi_rf=-1.80.ckpt", "best_mano-epoch=4.ckpt", "last.ckpt")
    put(tmp_path, 1, "best_mano-epoch=1.ckpt", "epoch=4-step=10.ckpt", "epoch=9-step=20.ckpt")
    put(tmp_path, 2)
    (tmp_path / "version_3").mkdir()  # a test: no checkpoints
    assert find_checkpoint(tmp_path, "last").name == "epoch=9-step=20.ckpt"
    assert find_checkpoint(tmp_path, "best").name == "best_mano-epoch=1.ckpt"
    # Training goes on with the newest training, even if that was killed before its first checkpoint.
    assert last_training(tmp_path) == (tmp_path / "version_2", None)
    assert last_training(tmp_path / "nowhere") == (None, None)
    assert find_checkpoint(tmp_path / "nowhere", "best") is None


def test_optimiser_states_are_merged_in_order():
    manifest = published.checkpoint("dm")
    merged = merge_optimizer_states(manifest["optimizer_states"])
    model = DM()
    groups = [{"params": list(net.parameters())} for net in model.recon_nets]
    optimizer = torch.optim.Adam(groups, lr=1.0)
    optimizer.load_state_dict(merged)
    for net, state in enumerate(manifest["optimizer_states"]):
        for parameter, values in zip(model.recon_nets[net].parameters(), state["state"].values(), strict=True):
            assert torch.equal(optimizer.state[parameter]["exp_avg"], values["exp_avg"])
    assert [group["lr"] for group in optimizer.param_groups] == [1e-4, 1e-4]


def test_one_name_of_a_convolution_is_enough():
    model = ASRN(**SMALL)
    weights = model.state_dict()
    for gone in (".net.", ".conv"):
        kept = {name: w for name, w in weights.items() if not ("res_blocks" in name and gone in name)}
        assert len(kept) < len(weights)
        content = {"state_dict": kept, "pytorch-lightning_version": "2.0.0"}
        assert set(fit_to_model(content, "x.ckpt", model, None)["state_dict"]) == set(weights)


def test_a_checkpoint_saved_here_has_all_published_names():
    assert set(ASRN().state_dict()) == set(published.golden_weights("asrn"))
    assert set(DM().state_dict()) == set(published.golden_weights("dm"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hyper_parameters": {"lambda_dm": 1.0}}, "checkpoint of DM; use python -m run.train_dm"),
        ({"hyper_parameters": {"n_layers": 5}}, "n_layers=5 in the checkpoint but 4"),
        ({"state_dict": {}}, "state_dict"),
        ({"state_dict": {"a": torch.zeros(1)}}, "missing.*unknown: a"),
    ],
)
def test_what_does_not_fit_is_named(change, words):
    model = ASRN(**SMALL)
    content = {"state_dict": model.state_dict(), "hyper_parameters": {}, **change}
    with pytest.raises(InputError, match=words):
        fit_to_model(content, "x.ckpt", model, None)


def test_closing_an_epoch():
    def progress(completed, started=3):
        return {"ready": 3, "started": started, "processed": 3, "completed": completed}

    def loop(completed, started=3):
        batches = {"current": {"ready": 5, "completed": 5}, "total": {"ready": 15}, "is_last_batch": True}
        both = {"total": progress(completed, started), "current": progress(completed, started)}
        return {"epoch_progress": both, "epoch_loop.batch_progress": batches}

    finished = loop(2)
    close_epoch(finished)
    assert finished["epoch_progress"]["current"]["completed"] == 3
    assert finished["epoch_loop.batch_progress"]["current"] == {"ready": 0, "completed": 0}
    assert finished["epoch_loop.batch_progress"]["total"] == {"ready": 15}
    over = loop(3)
    close_epoch(over)
    assert over == finished
    for untouched in (loop(2, started=4), {}):
        before = repr(untouched)
        close_epoch(untouched)
        assert repr(untouched) == before


def test_writing_is_atomic(tmp_path, monkeypatch):
    files, path = TrustedCheckpoints(), tmp_path / "a.ckpt"
    files.save_checkpoint({"a": torch.ones(2)}, path)

    def fail(content, target):
        Path(target).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(InputError, match="disk full"):
        files.save_checkpoint({"a": torch.zeros(2)}, path)
    assert torch.equal(torch.load(path, weights_only=True)["a"], torch.ones(2))
    assert [file.name for file in tmp_path.iterdir()] == ["a.ckpt"]
    files.remove_checkpoint(path)
    files.remove_checkpoint(path)
    assert not path.exists()


def test_paths_are_shown_as_a_user_would_type_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert display_path(tmp_path / "a" / "b.ckpt") == "a/b.ckpt"
    assert display_path("/elsewhere/b.ckpt") == "/elsewhere/b.ckpt"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full")
def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    """Every write to /dev/full fails as on a full disk."""

    def full(checkpoint, path):
        return torch_save(checkpoint, "/dev/full")

    torch_save = torch.save
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match=r"last\.ckpt: cannot write this file .*free some space"):
        TrustedCheckpoints().save_checkpoint({"w": torch.zeros(10**6)}, tmp_path / "last.ckpt")
    assert not list(tmp_path.iterdir())
