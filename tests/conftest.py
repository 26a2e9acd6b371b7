"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """`pytest --golden DIR` compares with other reference vectors of the same layout."""
    parser.addoption("--golden", default=str(Path(__file__).parent / "golden"), help="folder of reference vectors")


@pytest.fixture(scope="session")
def golden(request: pytest.FixtureRequest) -> Path:
    """The folder of reference vectors."""
    return Path(request.config.getoption("--golden"))
