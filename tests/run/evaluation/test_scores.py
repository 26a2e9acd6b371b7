"""Frame scores, their records, and the names of gestures."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from data.features.windows import BatchRequest
from model.batch import HandModels, Source
from model.measures import TIP_PAIRS, Measures
from model.topology import INDEX, MIDDLE, PINKY, RING, THUMB
from run.evaluate import Group, Settings, module_of
from run.evaluation.line_up import LineUp
from run.evaluation.scores import gestures_of, name_gestures, score


def contacts(*pairs) -> torch.Tensor:
    """(10,) bool with these pairs of fingers set."""
    wanted = {tuple(sorted(pair)) for pair in pairs}
    return torch.tensor([tuple(sorted(pair)) in wanted for pair in TIP_PAIRS])


@pytest.mark.parametrize(
    ("pairs", "name"),
    [
        ([(THUMB, INDEX)], "thumb-index"),
        ([(INDEX, MIDDLE)], "index-middle"),
        ([(THUMB, INDEX), (THUMB, MIDDLE), (INDEX, MIDDLE)], "thumb-index-middle"),
        ([(THUMB, INDEX), (RING, PINKY)], "thumb-index, ring-pinky"),
        # Two pairs that a third one joins are one group.
        ([(MIDDLE, RING), (INDEX, THUMB), (RING, THUMB)], "thumb-index-middle-ring"),
    ],
)
def test_gestures_are_named_by_the_fingers_that_touch(pairs, name):
    assert name_gestures(contacts(*pairs)[None], torch.tensor([1.5])).tolist() == [name]


def test_gestures_without_touch_are_open_or_closed():
    bends = torch.deg2rad(torch.tensor([0.0, 40.0, 80.0]))
    names = name_gestures(torch.zeros(3, 10, dtype=torch.bool), bends).tolist()
    assert names == ["no touch, open", "no touch, half closed", "no touch, closed"]


def test_records_of_some_frames():
    finger = torch.tensor([[[0.9], [0.5]], [[0.7], [0.7]]]).expand(2, 2, 20)
    touching = torch.zeros(2, 2, 10, dtype=torch.bool)
    touching[0, 0, 3] = touching[0, 1, 4] = True
    gaps = torch.zeros(2, 2, 10)
    gaps[0, 0, 3], gaps[0, 1, 4], gaps[1, 0, 0] = 0.2, 0.4, 9.0
    scores = Measures(finger, torch.ones(2, 2, 20), torch.full((2, 2), 0.95), touching, gaps)
    every = scores.by_window()
    assert every["S_finger"].tolist() == pytest.approx([0.7, 0.7]) and every["frames"].tolist() == [2, 2]
    assert every["pinch_error"][0] == pytest.approx(0.3) and math.isnan(every["pinch_error"][1])
    assert every["pinch_pairs"].tolist() == [2, 0] and "mixamo_MSE" not in every
    some = scores.by_window(torch.tensor([[True, False], [False, False]]))
    assert some["S_finger"][0] == pytest.approx(0.9) and math.isnan(some["S_finger"][1])
    assert some["pinch_error"][0] == pytest.approx(0.2) and some["frames"].tolist() == [1, 0]


def test_scores_are_those_of_the_metrics(world):
    """Frame by frame and then in the mean, as window by window."""
    group = Group("", ["SportyGranny*9", "Mano7"], ([], []))
    windows = module_of(world / "artifact" / "MixHand", group, "cross", Settings()).windows("test")
    batch = windows.batch(BatchRequest(0, np.arange(len(windows))))
    files = ("artifact/smplx/models", "artifact/MixHand/finger_data/mano_finger_axis.pkl")
    line_up = LineUp(["tbs_copy"], {}, HandModels(*files, "right"))
    names = (np.full(5, "a"), np.full(5, "b"))
    found, posed = score(line_up, batch.second, batch.first, names)
    assert found.name == "mano2mixamo"
    records, hand = found.methods["tbs_copy"].by_window(), posed["tbs_copy"]
    cosines = Source(batch.second).directions.cosines(hand.joints, hand.frames)
    for name, values in zip(("S_finger", "S_palm"), cosines, strict=True):
        torch.testing.assert_close(records[name], values.flatten(1).mean(1), rtol=1e-6, atol=1e-6)
    assert 0.3 < float(found.target_ratio.mean()) < 2 and found.target.tolist() == ["b"] * 5
    assert gestures_of(batch.second, batch.first).tolist() == found.gestures().tolist()
