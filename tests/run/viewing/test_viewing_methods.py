"""Which methods there are."""

import pytest
import torch

from model.asrn import ASRN
from run.training.open_weights import open_weights
from run.viewing.methods import Methods, demo_checkpoints, load_networks
from tests.helpers import SMALL
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


def test_the_side_is_that_of_networks_that_have_one(tmp_path):
    """The feedback network serves both, whichever hands it was trained with."""
    left = ASRN(**SMALL, is_rhand=False)
    torch.save({"state_dict": left.state_dict(), "hyper_parameters": dict(left.hparams)}, tmp_path / "left.ckpt")
    given = {"feedback": open_weights("feedback"), "asrn": tmp_path / "left.ckpt"}
    networks, side = load_networks(given, None)
    assert side == "left" and list(networks) == ["feedback", "asrn"]
    assert load_networks({"feedback": open_weights("feedback")}, "left")[1] == "left"
    with pytest.raises(InputError, match="left hand"):
        load_networks(given, "right")
