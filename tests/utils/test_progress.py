"""Long work says how far it is in logs too."""

from __future__ import annotations

from utils import progress as module
from utils.progress import progress


def test_lines_in_a_log_not_too_often(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    with progress("Drawing", 40, "frames") as advance:
        for _ in range(6):
            clock[0] += 4.0
            advance(2)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["Drawing: 6 of 40 frames, about 68 s left", "Drawing: 12 of 40 frames, about 56 s left"]
