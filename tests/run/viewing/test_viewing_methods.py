"""Which methods there are."""

import json
import os
from pathlib import Path

import pytest

from run.viewing.methods import Methods, demo_checkpoints, load_networks
from utils.errors import InputError


def test_networks_are_offered_where_there_are_checkpoints(methods):
    assert methods.names == ["rotation_copy", "tbs_copy", "asrn", "optimizer", "optimizer_contacts"]
    assert "asrn" not in Methods({}).names
    assert load_networks({"asrn": None}, None) == ({}, "right") and load_networks({}, "left") == ({}, "left")


def test_the_demo_checkpoints_are_the_newest(tmp_path):
    for number, name in enumerate(("asrn-old", "asrn-new", "dm-one")):
        path = tmp_path / "runs" / name / "finished.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"checkpoint": f"{name}.ckpt"}))
        os.utime(path, (number, number))
    assert demo_checkpoints(tmp_path) == {"asrn": Path("asrn-new.ckpt"), "dm": Path("dm-one.ckpt")}
    (tmp_path / "runs" / "dm-one" / "finished.json").write_text("{}")
    with pytest.raises(InputError, match="dm-one"):
        demo_checkpoints(tmp_path)
