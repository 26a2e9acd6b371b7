"""What becomes of touches of skin: figures of frames, and the hands they were measured on."""

from __future__ import annotations

import pytest
import torch

from model.flesh import PART_PAIRS
from model.touch import TOUCHING, TouchesKept
from run.evaluation.skin import LOOK_AT, Looked, figures_of
from run.evaluation.tables import skin_comparison

APART = {number: pair for number, pair in enumerate(PART_PAIRS) if pair[0] // 3 != pair[1] // 3}


def gaps(*frames: dict[int, float]) -> torch.Tensor:
    """(F, 73) far apart but for some pairs."""
    table = torch.full((len(frames), len(PART_PAIRS)), torch.inf)
    for row, frame in zip(table, frames, strict=True):
        for pair, gap in frame.items():
            row[pair] = gap
    return table


def pair_of(first: int, second: int) -> int:
    """The number of a pair of last phalanges of two fingers."""
    return PART_PAIRS.index((3 * first + 2, 3 * second + 2))


def test_figures_are_means_over_touches_and_frames():
    one, other, third = pair_of(0, 1), pair_of(1, 2), pair_of(2, 3)
    source = gaps({one: 0.0, other: 0.02}, {one: 0.01}, {third: 0.2})
    result = gaps({one: 0.01, other: 0.05}, {one: -0.05}, {third: 0.0})
    looked = [Looked(n, "A", "B") for n in range(3)]
    found = figures_of(TouchesKept(source, result), looked)
    assert (found["frames"], found["touches"]) == (3, 3)
    assert found["touches_kept"] == pytest.approx(2 / 3)  # by touches, not by frames
    assert found["false_touches"] == pytest.approx((0 + 0 + 1 / 15) / 3, abs=1e-6)
    assert found["too_deep"] == pytest.approx(1 / 3) and found["deepest"] == pytest.approx(0.05)
    # The deepest first, then the open touch; a false touch is not something to look at.
    assert [entry["window"] for entry in found["look_at"]] == [1, 0] and len(found["look_at"]) <= LOOK_AT
    assert "deeper" in found["look_at"][0]["why"] and "touch in the source" in found["look_at"][1]["why"]
    assert TouchesKept(source, result).wrongness().tolist() == pytest.approx([0.05 - TOUCHING, 0.05, 0.0])


def test_frames_without_touch_have_no_share_of_them():
    found = figures_of(TouchesKept(gaps({}, {}), gaps({}, {})), [Looked(0, "A", "B")] * 2)
    assert found["touches_kept"] is None and found["false_touches"] == 0 and found["look_at"] == []


def test_the_best_keeps_most_touches_and_makes_fewest():
    good, bad = (
        {"touches_kept": kept, "false_touches": false, "too_deep": 0.0, "deepest": 0.1, "frames": 9}
        for kept, false in ((0.9, 0.0), (0.5, 0.2))
    )
    grid = skin_comparison({"mano2mixamo": {"tbs_copy": bad, "optimizer": good}}, "title")
    ((copy, optimum),) = grid.blocks
    assert [cell.best for cell in optimum[2:4]] == [True, True] and not any(cell.best for cell in copy[2:4])
