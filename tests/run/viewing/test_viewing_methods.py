"""Which methods there are."""

import pytest

from run.training.open_weights import open_weights
from run.viewing.methods import Methods, demo_checkpoints, load_networks
from utils.errors import InputError


def test_networks_are_offered_where_there_are_checkpoints(methods):
    assert methods.names == ["rotation_copy", "tbs_copy", "asrn", "optimizer", "optimizer_contacts"]
    assert "asrn" not in Methods({}).names
    assert load_networks({"asrn": None}, None) == ({}, "right") and load_networks({}, "left") == ({}, "left")


def test_the_checkpoints_of_the_demo_are_found(tmp_path):
    with pytest.raises(InputError, match="make demo"):
        demo_checkpoints(tmp_path)
    for name in ("ASRN", "DM"):
        (tmp_path / f"{name}.ckpt").touch()
    trained = {"asrn": tmp_path / "ASRN.ckpt", "dm": tmp_path / "DM.ckpt"}
    assert demo_checkpoints(tmp_path) == {**trained, "feedback": open_weights("feedback")}
    (tmp_path / "DM.ckpt").unlink()
    assert demo_checkpoints(tmp_path)["dm"] == open_weights("dm")
