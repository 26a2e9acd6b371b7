"""A configuration from somewhere else may name classes that are imported: only those of known packages."""

from __future__ import annotations

import sys

import pytest
import yaml

from run.training.trusted_config import check_classes
from tests.run import published
from tests.run.conftest import ROOT, SMALL
from utils.errors import InputError

EVIL = "open('run_by_import', 'w').close()\nclass Evil: pass\n"
NAMED = [
    {"trainer": {"callbacks": [{"class_path": "evil.Evil"}]}},
    {"trainer": {"callbacks": ["evil.Evil"]}},
    {"trainer": {"callbacks": "evil.Evil"}},
    {"trainer": {"logger": {"class_path": "evil.Evil", "init_args": {}}}},
    {"trainer": {"logger": "evil.Evil"}},
    {"trainer": {"plugins": ["evil.Evil"]}},
    {"optim": {"class_path": "evil.Evil", "init_args": {"lr": 0.1}}},
    {"optim": "evil.Evil"},
    {"model": {"optim_init": {"class_path": "evil.Evil"}}},
    {"trainer": {"callbacks": [{"class_path": "pytorch_lightning.callbacks.EarlyStopping",
                                "init_args": {"monitor": "val/x", "mode": "evil.Evil"}}]}},
]  # fmt: skip


@pytest.mark.parametrize("config", NAMED)
@pytest.mark.parametrize("old", [False, True])
def test_nothing_of_another_package_is_imported(world, program, monkeypatch, config, old):
    (world / "evil.py").write_text(EVIL)
    monkeypatch.syspath_prepend(str(world))
    sys.modules.pop("evil", None)
    text = yaml.safe_dump(config)
    (world / "config.yaml").write_text(f"# pytorch_lightning==1.7.7\n{text}" if old else text)
    outcome = program("run.train_mixhand", "fit", "--config", "config.yaml", *SMALL, "--trainer.fast_dev_run", "true")
    assert outcome.code == 2 and "evil.Evil" in outcome.err and "--trust_config" in outcome.err
    assert not (world / "run_by_import").exists() and "evil" not in sys.modules


def test_a_trusted_configuration_is_imported(world, program, monkeypatch):
    (world / "mine.py").write_text("from pytorch_lightning import Callback\nclass Mine(Callback): pass\n")
    monkeypatch.syspath_prepend(str(world))
    (world / "config.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks": [{"class_path": "mine.Mine"}]}}))
    words = ["fit", "--config", "config.yaml", *SMALL, "--data.num_workers", "0", "--trainer.fast_dev_run", "true"]
    assert program("run.train_mixhand", *words).code == 2
    assert program("run.train_mixhand", *words, "--trust_config").code == 0
    assert "mine" in sys.modules


def test_a_configuration_within_another_is_no_way_around(world, program, monkeypatch):
    (world / "evil.py").write_text(EVIL)
    monkeypatch.syspath_prepend(str(world))
    sys.modules.pop("evil", None)
    (world / "inner.yaml").write_text("class_path: evil.Evil\n")
    (world / "outer.yaml").write_text("optim: inner.yaml\n")
    for words in (["--config", "outer.yaml"], ["--optim", "inner.yaml"], ["--optim=inner.yaml"]):
        outcome = program("run.train_mixhand", "fit", *words, *SMALL, "--trainer.fast_dev_run", "true")
        assert outcome.code == 2 and "inner.yaml" in outcome.err, outcome.err
    assert not (world / "run_by_import").exists() and "evil" not in sys.modules


def test_names_of_files_that_are_no_configurations_pass(tmp_path, monkeypatch):
    """A name that ends as one does and is no file, and a file that is none, are values like others."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "last.ckpt").write_text("")
    check_classes({"data": {"split": "nowhere.yaml"}, "ckpt_path": "last.ckpt"}, "x")
    (tmp_path / "inner.json").write_text("{}")
    with pytest.raises(InputError, match="optim: expected a value, found another configuration"):
        check_classes({"optim": "inner.json"}, "x")


def test_own_and_published_configurations_pass():
    for path in (ROOT / "config").rglob("*.yaml"):
        check_classes(yaml.safe_load(path.read_text()), str(path))
    for method in ("asrn", "dm"):
        check_classes(yaml.safe_load(published.config_text(method)), method)
    check_classes({"optim": {"class_path": "Adam"}, "trainer": {"default_root_dir": "out.put"}, "x": "3.5"}, "x")
    with pytest.raises(InputError, match=r"trainer.callbacks\[0\].class_path: .* os.system"):
        check_classes({"trainer": {"callbacks": [{"class_path": "os.system"}]}}, "x")
