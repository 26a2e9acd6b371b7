"""A small data set of open hands, and small networks, for everything behind the page."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from data.open_hands.build import Plan, build
from model.asrn import ASRN
from run.viewing.hands import Shelf
from run.viewing.methods import Methods
from run.viewing.studio import Studio


@pytest.fixture(scope="session")
def open_small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MixHand-Open with a few hands and seconds."""
    folder = tmp_path_factory.mktemp("open")
    seconds = {"train": (3.0, 3.0), "val": (3.0, 3.0), "test_inside": (3.0, 3.0), "test_outside": (9.0, 9.0)}
    build(folder, Plan("right", 7, seconds, most=2))
    return folder


@pytest.fixture(scope="session")
def shelf(open_small: Path) -> Shelf:
    return Shelf(open_small)


@pytest.fixture(scope="session")
def small_network() -> ASRN:
    """An untrained network: what it says does not matter, only that all frames say the same in pieces."""
    torch.manual_seed(0)
    return ASRN(hidden_channel=8, static_hidden_channel=8).eval()


@pytest.fixture(scope="session")
def methods(small_network: ASRN) -> Methods:
    return Methods({"asrn": small_network})


@pytest.fixture
def studio(open_small: Path, methods: Methods) -> Studio:
    return Studio(Shelf(open_small), methods)
