"""The printed report can be read on every width, and says what to do about a poor network."""

from __future__ import annotations

import io

import pytest
import torch
from rich.console import Console

from model.measures import Scores
from run.retargeting.report import HEADS, _look_at, print_reports


def report(method: str = "asrn", refine: int = 0, score: float = 0.9, name: str = "walk [1]") -> dict:
    hand = {"frames": 12, "S_finger": score, "S_finger_tbs_copy": 0.91, "S_palm": 0.8, "S_finger_gap_closed": -0.1,
            "pinch_error": 0.123, "pinch_error_tbs_copy": 0.234, "frames_with_touch": 3, "jerk_ratio": 1.5,
            "joints_beyond_limits": 0.01, "look_at": [], "skin": {"touches": 3, "recall": 0.666,
            "recall_tbs_copy": 0.333, "too_deep": 0.02}}  # fmt: skip
    return {"motion": name, "method": method, "refine": refine, "body_kept": True, "hands": {"right": hand}}


def printed(*reports: dict, width: int | None = None) -> str:
    stream = io.StringIO()
    terminal = {} if width is None else {"width": width, "force_terminal": True, "color_system": None}
    print_reports(reports, Console(file=stream, **terminal))
    return stream.getvalue()


@pytest.mark.parametrize("width", [None, 40, 80, 200])
def test_every_head_and_figure_is_whole(width):
    text = printed(report(), report(name="x" * 30), width=width)
    assert all(word in text for word in ("walk [1]", "0.9000", "0.9100", "0.123", "0.234", "1.50", "1.0 %", "kept"))
    assert all(head in text for head in HEADS[2:]) and "…" not in text
    assert ("┃" in text) == (width in (None, 200))
    assert width is None or max(map(len, text.splitlines())) <= width


def test_without_terminal_a_row_is_a_line():
    text = printed(report(name="long_" * 40))
    assert any("long_" * 40 in line and "kept" in line for line in text.splitlines())


def test_hint_below_the_copy():
    hint = "below the copy: try --refine 3 or --method optimize"
    assert printed(report(), report()).count(hint) == 1
    for other in (report("optimize"), report(refine=3), report(score=0.92)):
        assert hint not in printed(other)


def test_frames_to_look_at_are_not_two_of_one_moment():
    """Half a second apart at least, the worst first."""
    score = torch.full((120,), 0.9)
    score[[20, 21, 22, 60, 100]] = torch.tensor([0.5, 0.4, 0.5, 0.6, 0.7])
    reached = Scores(score, score, torch.full((120,), torch.nan), torch.zeros(120, dtype=torch.bool))
    found = _look_at(reached, torch.zeros(120, 5, 3), 30.0)
    assert [each["frame"] for each in found] == [21, 60, 100]
    assert [each["seconds"] for each in found] == [0.7, 2.0, 3.333]
    assert [each["why"] for each in found] == ["S_finger 0.400", "S_finger 0.600", "S_finger 0.700"]
