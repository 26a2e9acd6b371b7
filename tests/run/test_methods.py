"""One entry of the list of methods, and every command, table, film and page knows it."""

from __future__ import annotations

import json
import re

import pytest
import torch
from PIL import Image, ImageColor

from model.hands import PosedHand
from model.methods import METHODS, Method, available, named, names, of_kind
from model.posing import Task
from model.protocol import PublishedProtocol
from run.drawing.render import color_of
from run.retargeting import film
from run.viewing.methods import Methods
from run.viewing.stage import rgb_of
from tests.run.test_retarget import files, run  # noqa: F401  (a fixture)

# The modules are imported by others and run as programs, too.
pytestmark = pytest.mark.filterwarnings("ignore:.*found in sys.modules after import.*")


def at_rest(task: Task) -> PosedHand:
    """A hand that does nothing, whatever the source does."""
    return task.target.with_tbs(torch.eye(3).expand_as(task.source.tbs))


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> str:
    """All that a new method is: an entry, and its code."""
    monkeypatch.setitem(METHODS, "toy", Method("toy", "At rest", "copy", "#123456", at_rest))
    return "toy"


def test_every_entry_is_complete():
    for name, method in METHODS.items():
        assert name == method.name and method.title and re.fullmatch("#[0-9A-F]{6}", method.color)
        assert color_of(name) == method.color
        assert (method.pose is None) == (method.kind == "network") == bool(method.network)
    assert len({method.color for method in METHODS.values()}) == len(METHODS)
    assert len(set(names())) == len(names())


def test_networks_are_what_their_entries_say():
    marks = {method.mark for method in of_kind("network").values()}
    for name, method in of_kind("network").items():
        network = method.network_class(hidden_channel=4)
        assert isinstance(network, PublishedProtocol) and network.method == name
        assert marks & set(network.hparams) == {method.mark}


def test_published_spellings():
    assert list(METHODS) == ["rotation_copy", "tbs_copy", "dm", "asrn", "feedback", "optimizer", "optimizer_contacts"]
    assert named("optimize") is METHODS["optimizer_contacts"]
    with pytest.raises(KeyError):
        named("optimise")


def test_a_new_method_is_evaluated(toy, world, program):
    words = ["--data_path", "artifact/MixHand", "--output_dir", "out", "--methods", "tbs_copy,toy"]
    outcome = program("run.evaluate", *words)
    assert outcome.code == 0, outcome.err
    found = json.loads((world / "out" / "results.json").read_text())["methods"]
    assert list(found) == ["tbs_copy", toy]
    assert found[toy]["mano2mixamo"]["S_finger"] < found["tbs_copy"]["mano2mixamo"]["S_finger"]
    assert "| At rest |" in (world / "out" / "tables.md").read_text()
    assert (world / "out" / "figures" / "methods.svg").stat().st_size > 0


def test_a_new_method_retargets_and_is_filmed(toy, files, tmp_path, monkeypatch):  # noqa: F811
    tracks = []
    clip = film.Clip
    monkeypatch.setattr(film, "Clip", lambda made, *rest, **more: tracks.extend(made) or clip(made, *rest, **more))
    (report,) = run(files, files / "moves.bvh", "--target", "Kaya", "--method", toy, "--hands", "right", "--report",
                    "--output", tmp_path, "--format", "bvh", "gif", "--film_size", "64")  # fmt: skip
    assert report["method"] == toy and report["hands"]["right"]["S_finger"] is not None
    assert [track.title for track in tracks][1:] == [METHODS["tbs_copy"].title, "At rest"]
    with Image.open(tmp_path / "moves.gif") as picture:
        assert picture.n_frames > 1


def test_a_new_method_is_in_the_viewer(toy):
    assert Methods({}).names == available([]) and toy in Methods({}).names
    assert rgb_of(toy) == ImageColor.getrgb("#123456")


@pytest.mark.parametrize("module", ["run.evaluate", "run.retarget", "run.visualize_mixhand"])
def test_a_new_method_is_on_the_command_line(toy, program, module):
    outcome = program(module, "--help")
    assert outcome.code == 0 and toy in outcome.out
