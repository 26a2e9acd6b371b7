"""Comparison with reference vectors: every deviation is noted, and the worst of each group is printed at the end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.helpers import relative_error

DEVIATIONS = pytest.StashKey[dict[str, tuple[float, float]]]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin with an empty list of deviations."""
    config.stash[DEVIATIONS] = {}


@pytest.fixture
def agree(request: pytest.FixtureRequest) -> Callable:
    """``agree(found, expected, tolerance, group)``: fail where the relative error exceeds ``tolerance``.

    It is relative to the largest number of ``expected``; ``group`` is its line in the summary.
    """
    deviations = request.config.stash[DEVIATIONS]

    def check(found, expected, tolerance: float, group: str) -> None:
        error = relative_error(found, expected)
        worst, widest = deviations.get(group, (0.0, 0.0))
        deviations[group] = (max(worst, error), max(widest, tolerance))
        assert error <= tolerance, f"{group}: relative error {error:.3g}, allowed {tolerance:.3g}"

    return check


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    """Print the worst deviation of each group of reference vectors."""
    if not config.stash[DEVIATIONS]:
        return
    terminalreporter.section("parity: worst relative error (allowed)")
    for group, (worst, allowed) in sorted(config.stash[DEVIATIONS].items()):
        terminalreporter.write_line(f"{group:58s} {worst:8.1e} ({allowed:.0e})")
