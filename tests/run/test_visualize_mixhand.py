"""Films of test windows through the command line: published names, side by side, every format, hostile input."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from PIL import Image, ImageColor

from run import visualize_mixhand
from run.visualize_mixhand import choose, with_window
from tests.run import published
from utils.errors import InputError
from utils.video import read_mp4

# The module is imported here for its functions and run as a program, too.
pytestmark = pytest.mark.filterwarnings("ignore:.*found in sys.modules after import.*")
FILMS = "run.visualize_mixhand"
PUBLISHED = ["--config", "asrn.yaml", "--ckpt_path", "asrn.ckpt", "--output_dir", "films"]
SHORT = ["--data.window_size", "8", "--size", "64"]
DIRECTIONS = ("mano2mixamo", "mixamo2mano")


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_published_command_and_names(world, program):
    """Every second of five windows, in batches of two: windows 0, 2 and 4 are 0_0, 1_0 and 2_0."""
    outcome = program(FILMS, *PUBLISHED, *SHORT, "--every", "2", "--data.batch_size", "2")
    assert outcome.code == 0, outcome.err
    stems = [f"{direction}{batch}_0" for direction in DIRECTIONS for batch in range(3)]
    assert names(world / "films") == {f"{stem}{end}.mp4" for stem in stems for end in ("", "_gt")}
    assert "Written: 12 files in films" in outcome.out
    assert "has no mesh of them: SportyGranny" in outcome.err and "Traceback" not in outcome.err
    result, source = (read_mp4(world / "films" / f"mano2mixamo0_0{end}.mp4") for end in ("", "_gt"))
    assert len(result) == len(source) == 8 and result.shape[1:] == source.shape[1:]
    # The published colours: a salmon result, a white source (so no strong colour anywhere).
    salmon = np.array(ImageColor.getrgb(visualize_mixhand.RESULT))
    assert (np.abs(result.astype(int) - salmon).max(-1) < 30).mean() > 0.01
    assert (np.ptp(result.astype(int), axis=-1) > 80).mean() > 0.05
    assert (np.ptp(source.astype(int), axis=-1) > 80).mean() < 0.01
    assert (result != result[:1]).any(), "the hand moves"
    assert not (world / "lightning_logs").exists() and not (world / "artifact" / "ASRN").exists()


def test_windows_are_twenty_frames_long_unless_said_otherwise(world, program):
    assert with_window([]) == ["--data.window_size", "20"]
    assert with_window(["--data.window_size=8"]) == ["--data.window_size=8"]
    outcome = program(FILMS, *PUBLISHED)
    assert outcome.code == 2 and "clips of at least 20 frames" in outcome.err
    assert not (world / "films").exists()


def test_side_by_side_with_the_other_network(world, program):
    words = [*PUBLISHED, *SHORT, "--side_by_side", "--dm", "dm.ckpt", "--max_windows", "1", "--fps", "12.5"]
    outcome = program(FILMS, *words)
    assert outcome.code == 0, outcome.err
    assert names(world / "films") == {f"{direction}0_0_side_by_side.mp4" for direction in DIRECTIONS}
    film = read_mp4(world / "films" / "mano2mixamo0_0_side_by_side.mp4")
    alone = [*PUBLISHED, *SHORT, "--max_windows", "1", "--methods", "tbs_copy", "--output_dir", "copy"]
    assert program(FILMS, *alone).code == 0
    assert names(world / "copy") == {f"{d}0_0{end}.mp4" for d in DIRECTIONS for end in ("_tbs_copy", "_gt")}
    # One column for the source and each method that needs no other checkpoint.
    columns = 1 + len(visualize_mixhand.available(["asrn", "dm"]))
    assert film.shape[2] % columns == 0 and film.shape[2] // columns >= 60


@pytest.mark.parametrize("kind", ["gif", "png"])
def test_other_formats(kind, world, program):
    words = [*PUBLISHED, *SHORT, "--windows", "3", "1", "3", "--format", kind, "--jobs", "1"]
    outcome = program(FILMS, *words)
    assert outcome.code == 0, outcome.err
    stems = [f"{direction}0_{window}{end}" for direction in DIRECTIONS for window in (1, 3) for end in ("", "_gt")]
    assert names(world / "films") == {f"{stem}.{kind}" for stem in stems}
    with Image.open(world / "films" / f"mano2mixamo0_3.{kind}") as film:
        assert getattr(film, "n_frames", 1) == (8 if kind == "gif" else 1)
        assert film.width > film.height if kind == "png" else film.height > film.width


def test_within_a_domain(world, program):
    words = [*PUBLISHED, *SHORT, "--data.data_path", "intra", "--data.protocol", "intra", "--max_windows", "1"]
    outcome = program(FILMS, *words, "--format", "gif")
    assert outcome.code == 0, outcome.err
    assert names(world / "films") == {"intra0_0.gif", "intra0_0_gt.gif"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--windows", "0", "5"], "--windows: expected numbers of test windows, 0 to 4, found 5"),
        (["--methods", "asrn,magic"], "method 'magic' is unknown; choose among rotation_copy, tbs_copy, asrn"),
        (["--methods", "dm"], "method dm: expected its checkpoint, found none; give --dm CHECKPOINT"),
        (["--methods", ","], "expected at least one method"),
        (["--dm", "asrn.ckpt"], "asrn.ckpt: expected a checkpoint of DM, found one of ASRN; give it to --asrn"),
        (["--asrn", "asrn.ckpt"], "--asrn: --ckpt_path is one of ASRN already"),
        (["--dm", "nowhere.ckpt"], "nowhere.ckpt: expected a file, found nothing"),
        (["--every", "0"], "--every: expected at least 1, found 0"),
        (["--fps", "0"], "--fps: expected 0.1 to 240"),
        (["--size", "8"], "--size: expected at least 64, found 8"),
        (["--ckpt_path", "nowhere.ckpt"], "nowhere.ckpt: expected a file, found nothing"),
        (["--config", "nowhere.yaml"], "configuration nowhere.yaml does not exist"),
        (["--config", "dm.yaml"], "as the configuration dm.yaml is of it, found one of ASRN; give the configuration"),
        (["--ckpt_path", "best"], "no such checkpoint in artifact"),
        (["--output_dir", "asrn.yaml"], "asrn.yaml: expected a folder to write to, found a file"),
        (["--data.nonsense", "1"], "nonsense"),
        (["--data.test_characters", "[Nobody, Mano7]"], "Nobody"),
    ],
)
def test_bad_input_is_one_line(words, message, world, program):
    outcome = program(FILMS, *PUBLISHED, *SHORT, *words)
    assert outcome.code == 2
    errors = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and message in errors[0], outcome.err
    assert "Traceback" not in outcome.err and not (world / "films").exists()


def test_a_folder_without_permission(world, program, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    outcome = program(FILMS, *PUBLISHED, *SHORT, "--output_dir", "locked/films")
    assert outcome.code == 2 and "no permission to write" in outcome.err


def test_a_checkpoint_of_the_other_hand(world, program):
    content = published.checkpoint("dm")
    content["hyper_parameters"]["is_rhand"] = False
    torch.save(content, world / "left.ckpt")
    outcome = program(FILMS, *PUBLISHED, *SHORT, "--dm", "left.ckpt")
    assert outcome.code == 2
    assert "DM: expected a checkpoint of the right hand" in outcome.err and "left hand" in outcome.err


def test_which_windows():
    assert choose(25, 10, None, None).tolist() == [0, 10, 20]
    assert choose(25, 10, 2, None).tolist() == [0, 10]
    assert choose(25, 10, None, [7, 3, 7]).tolist() == [7, 3]
    with pytest.raises(InputError, match="found -1"):
        choose(25, 10, None, [-1])
