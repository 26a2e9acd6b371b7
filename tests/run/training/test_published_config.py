"""Configurations of Lightning 1.x: what is dropped, what is translated, what is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from run.training.published_config import REMOVED_TRAINER_KEYS, read_config, translate
from tests.run import published
from utils.errors import InputError


def translated(trainer: dict, **groups) -> tuple[dict, str]:
    """The trainer group after translation, and all notes."""
    result = translate({"trainer": trainer, **groups}, old=True)
    return result.config.get("trainer"), "\n".join(result.notes)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"gpus": 1}, {"accelerator": "gpu", "devices": 1}),
        ({"gpus": [0, 2]}, {"accelerator": "gpu", "devices": [0, 2]}),
        ({"gpus": "0,1", "strategy": "ddp"}, {"accelerator": "gpu", "devices": "0,1", "strategy": "ddp"}),
        ({"gpus": -1}, {"accelerator": "gpu", "devices": -1}),
        ({"gpus": 0}, {"accelerator": "cpu", "devices": 1}),
        ({"gpus": 2, "devices": 1, "accelerator": "gpu"}, {"accelerator": "gpu", "devices": 1}),
        ({"gpus": None, "accelerator": None, "devices": None, "strategy": None}, {}),
        ({"num_processes": 2, "accelerator": "cpu"}, {"accelerator": "cpu", "devices": 2}),
        ({"accelerator": "ddp", "gpus": 2}, {"accelerator": "gpu", "devices": 2, "strategy": "ddp"}),
        ({"strategy": "dp"}, {"strategy": "ddp"}),
        ({"strategy": "horovod"}, {"strategy": "auto"}),
        ({"replace_sampler_ddp": False}, {"use_distributed_sampler": False}),
        ({"checkpoint_callback": False}, {"enable_checkpointing": False}),
        ({"precision": 16, "amp_backend": "native"}, {"precision": "16-mixed"}),
        ({"precision": "bf16"}, {"precision": "bf16-mixed"}),
        ({"precision": 32}, {"precision": 32}),
        ({"progress_bar_refresh_rate": 0}, {"enable_progress_bar": False}),
        ({"terminate_on_nan": True}, {"detect_anomaly": True}),
        ({"accumulate_grad_batches": None, "max_steps": None}, {}),
        ({"gradient_clip_val": None, "logger": None}, {"gradient_clip_val": None, "logger": None}),
        ({"tpu_cores": None, "ipus": None, "auto_lr_find": False, "track_grad_norm": -1}, {}),
    ],
)
def test_trainer_keys(given, expected):
    assert translated(given)[0] == expected


def test_resume_from_checkpoint_becomes_ckpt_path():
    result = translate({"trainer": {"resume_from_checkpoint": "a.ckpt"}}, old=True)
    assert result.config == {"trainer": {}, "ckpt_path": "a.ckpt"}
    kept = translate({"trainer": {"resume_from_checkpoint": "a.ckpt"}, "ckpt_path": "b.ckpt"}, old=True)
    assert kept.config["ckpt_path"] == "b.ckpt"


def test_one_line_names_everything_dropped():
    config = yaml.safe_load(published.config_text("asrn"))
    result = translate(config, old=True, source="config.yaml")
    dropped = [note for note in result.notes if "are dropped:" in note]
    assert len(dropped) == 1 and dropped[0].startswith("config.yaml: ")
    for key in REMOVED_TRAINER_KEYS & set(config["trainer"]):
        assert key in dropped[0]
        assert key not in result.config["trainer"]
    assert config["trainer"]["gpus"] is None  # the mapping given is left alone


def test_callbacks_and_loggers():
    trainer = {
        "callbacks": [
            {"class_path": "pytorch_lightning.callbacks.GPUStatsMonitor", "init_args": {}},
            {"class_path": "pytorch_lightning.callbacks.EarlyStopping", "init_args": {"monitor": "x", "gone": 1}},
            {"class_path": "pytorch_lightning.callbacks.ModelCheckpoint", "init_args": {"dirpath": "/no/such/place"}},
            {"class_path": "mine.Callback", "init_args": {"anything": 1}},
        ],
        "logger": {
            "class_path": "pytorch_lightning.loggers.TensorBoardLogger",
            "init_args": {"save_dir": "/no/such/place", "name": "x", "agg_key_funcs": None},
        },
    }
    found, notes = translated(trainer)
    assert [callback["class_path"].split(".")[-1] for callback in found["callbacks"]] == [
        "EarlyStopping", "ModelCheckpoint", "Callback",
    ]  # fmt: skip
    assert found["callbacks"][0]["init_args"] == {"monitor": "x"}
    assert found["callbacks"][1]["init_args"] == {"dirpath": None}
    assert found["callbacks"][2]["init_args"] == {"anything": 1}
    assert found["logger"]["init_args"]["save_dir"] == "."
    assert all(word in notes for word in ("GPUStatsMonitor", "gone", "/no/such/place"))


def test_paths_of_another_machine_fall_back(tmp_path):
    here = str(tmp_path)
    model = {"smplx_model_path": "/no/such/models", "mano_axis_path": here, "hidden_channel": 8}
    trainer, notes = translated({"default_root_dir": "/no/such/place"}, model=model, data={"data_path": "relative"})
    result = translate({"model": model, "data": {"data_path": "relative"}}, old=True)
    assert trainer == {}
    assert result.config["model"] == {"mano_axis_path": here, "hidden_channel": 8}
    assert result.config["data"] == {"data_path": "relative"}
    assert "/no/such/models" in notes and "default_root_dir" in notes and here not in notes


def test_configurations_of_today_are_left_alone():
    config = {"trainer": {"gradient_clip_val": None}, "model": {"smplx_model_path": "/no/such/models"}}
    result = translate(config, old=False)
    assert (result.config, result.notes, result.changed) == (config, [], False)


def test_optimiser_forms():
    flat = translate({"optim": {"lr": 0.1}}, old=False).config["optim"]
    assert flat == {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.1}}
    named = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1}}
    assert translate({"optim": named}, old=False).config["optim"] == named
    assert translate({"model": {"optim_init": named}}, old=False).config == {"model": {}, "optim": named}


def test_reading(tmp_path: Path):
    path = tmp_path / "config.yaml"
    path.write_text("# pytorch_lightning==1.7.7\nmodel: {lambda_rf: 1e-4}\n")
    assert read_config(path) == ({"model": {"lambda_rf": 1e-4}}, True)
    path.write_text("# pytorch_lightning==2.6.6\nmodel: {}\n")
    assert read_config(path) == ({"model": {}}, False)
    path.write_text("trainer: {tpu_cores: null}\n")
    assert read_config(path)[1]
    path.write_text("")
    assert read_config(path) == ({}, False)
    for text in ("[1, 2", "- a", "!!python/object/apply:os.system ['touch executed']", "\x00"):
        path.write_text(text)
        with pytest.raises(InputError, match="config.yaml"):
            read_config(path)
    with pytest.raises(InputError, match="does not exist"):
        read_config(tmp_path / "nowhere.yaml")
