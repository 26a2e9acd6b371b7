"""Windows are counted batch by batch, and forgotten."""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from model.measures import TIP_PAIRS, Measures
from run.evaluation.scores import DirectionScores
from run.evaluation.statistics import mean_and_error
from run.evaluation.tally import BREAKDOWNS, Tally, rare_touches

METHODS = ("rotation_copy", "tbs_copy")


def batch(windows: int, seed: int = 0) -> DirectionScores:
    """Windows of 4 frames with touches here and there, of two sources and three targets."""
    torch.manual_seed(seed)
    touching = torch.rand(windows, 4, len(TIP_PAIRS)) < 0.1

    def measures() -> Measures:
        finger = torch.rand(windows, 4, 20)
        finger[..., 3] = torch.nan
        gaps = torch.rand(windows, 4, 10)
        return Measures(finger, torch.rand(windows, 4, 20), torch.full((windows, 4), 0.9), touching, gaps)

    names = [
        np.array([f"{kind}{number % count}" for number in range(windows)]) for kind, count in (("a", 2), ("b", 3))
    ]
    ratios = torch.rand(windows), torch.rand(windows)
    return DirectionScores(
        "mano2mixamo", *names, *ratios, touching, torch.rand(windows, 4) * 2, {name: measures() for name in METHODS}
    )


def some(scores: DirectionScores, which: slice) -> DirectionScores:
    tensors = {name: getattr(scores, name)[which]
               for name in ("source", "target", "source_ratio", "target_ratio", "contacts", "bend")}  # fmt: skip
    return replace(scores, methods={name: part.at(which) for name, part in scores.methods.items()}, **tensors)


def same(found: dict, expected: dict) -> None:
    """To rounding; None where nothing was measured."""
    assert {name for name in found if found[name] is None} == {name for name in expected if expected[name] is None}
    for name in found:
        if found[name] is not None:
            assert found[name] == pytest.approx(expected[name], rel=1e-7, abs=1e-9), name


def rare(scores: DirectionScores) -> frozenset[str]:
    return rare_touches(Counter(scores.gestures().flatten().tolist()))


def test_batch_by_batch_is_all_at_once():
    scores = batch(90)
    rarely = rare(scores)
    whole, parts = (Tally(scores.name, METHODS, rarely) for _ in range(2))
    whole.add(scores)
    for first in range(0, 90, 7):
        parts.add(some(scores, slice(first, first + 7)))
    assert (whole.windows, whole.frames) == (parts.windows, parts.frames) == (90, 360)
    for kind in BREAKDOWNS:
        found, expected = parts.parts(kind), whole.parts(kind)
        assert list(found) == list(expected)
        for name, part in expected.items():
            for method in METHODS:
                same(found[name][method], part[method])
    same(parts.overall()["tbs_copy"], whole.overall()["tbs_copy"])
    assert parts.by_joint()["tbs_copy"] == pytest.approx(whole.by_joint()["tbs_copy"], rel=1e-9, nan_ok=True)
    assert parts.ratios()["b1"] == pytest.approx(whole.ratios()["b1"])


def test_figures_are_those_of_windows_that_are_kept():
    """Of rare touches together, too, whose frames lie in the same windows."""
    scores = batch(90)
    rarely = rare(scores)
    tally = Tally(scores.name, METHODS, rarely)
    for first in range(0, 90, 8):
        tally.add(some(scores, slice(first, first + 8)))
    gestures = scores.gestures()
    assert len(rarely) > 2
    for name, part in tally.parts("by_gesture").items():
        keep = torch.from_numpy(np.isin(gestures, list(rarely)) if name == "other touches" else gestures == name)
        assert int(keep.sum()) == part["tbs_copy"]["frames"] > 0
        values = scores.methods["tbs_copy"].by_window(keep)
        for metric, weights in (("S_palm", "frames"), ("pinch_error", "pinch_pairs")):
            mean, error, _ = mean_and_error(values[metric], values[weights])
            found = {"mean": part["tbs_copy"][metric], "error": part["tbs_copy"][f"{metric}_se"]}
            same(found, {"mean": mean, "error": error})
    assert tally.by_joint()["tbs_copy"][5] == pytest.approx(float(scores.methods["tbs_copy"].finger[..., 5].mean()))


def test_memory_does_not_grow_with_the_windows():
    scores = batch(60)
    tally = Tally(scores.name, METHODS, rare(scores))
    sizes = []
    for _ in range(30):
        tally.add(scores)
        sizes.append(len(pickle.dumps(tally)))
    assert max(sizes) <= min(sizes) + 100


def test_one_rare_touch_keeps_its_name():
    assert rare_touches(Counter({"no touch, open": 999, "thumb-ring": 1})) == frozenset()
    assert rare_touches(Counter({"no touch, open": 999, "thumb-ring": 1, "index-ring": 1, "no touch, closed": 1})) == {
        "thumb-ring", "index-ring",
    }  # fmt: skip
