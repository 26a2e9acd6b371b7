"""Timing of alternatives side by side, so that a machine whose speed drifts still gives a fair ratio."""

from __future__ import annotations

import time
from collections.abc import Callable


def measure(tasks: dict[str, Callable[[], object]], seconds: float = 4.0, warmup: int = 2) -> dict[str, float]:
    """Median wall time in seconds of each task. Tasks take turns, for about ``seconds`` per task in all."""
    for task in tasks.values():
        for _ in range(warmup):
            task()
    times: dict[str, list[float]] = {name: [] for name in tasks}
    end = time.perf_counter() + seconds * len(tasks)
    while time.perf_counter() < end or min(map(len, times.values())) < 5:
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            times[name].append(time.perf_counter() - start)
    return {name: sorted(values)[len(values) // 2] for name, values in times.items()}


def row(name: str, value: float, unit: str, reference: str, ratio: float) -> dict:
    """One row of the table: what, how long or how fast, beside what, and the ratio of the two."""
    return {"name": name, "value": value, "unit": unit, "reference": reference, "ratio": ratio}
