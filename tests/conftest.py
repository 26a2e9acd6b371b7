"""What all tests share."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from tests import golden_form
from tests.helpers import write_mano_models

# The tests' tensors are small: a second thread costs more than it gives, and far more on a busy machine; so in the
# processes that tests start.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"

# In continuous integration the same examples every time; whoever runs the tests by hand explores new ones.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`pytest --golden DIR` compares with other reference vectors of the same layout."""
    parser.addoption("--golden", default=str(Path(__file__).parent / "golden"), help="folder of reference vectors")


def pytest_configure(config: pytest.Config) -> None:
    """A folder of reference vectors that lacks something ends the run before it begins: nothing is left out unseen."""
    folder = Path(config.getoption("--golden"))
    lacking = golden_form.missing(folder)
    if lacking:
        raise pytest.UsageError(
            f"--golden {folder}: expected reference vectors of the form that tests/golden/README.md describes; "
            f"missing {', '.join(lacking)}"
        )


LONGEST = ("test_processes", "test_demo", "test_view", "test_hostile", "test_command_line", "test_evaluate")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest modules come first, so that processes side by side end together."""
    rank = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONGEST)))


@pytest.fixture(scope="session")
def golden(request: pytest.FixtureRequest) -> Path:
    """The folder of reference vectors."""
    return Path(request.config.getoption("--golden"))


@pytest.fixture(scope="session")
def mano_models(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``mano/MANO_RIGHT.pkl`` and ``MANO_LEFT.pkl``, made from the reference vectors' models."""
    return write_mano_models(golden / "inputs", tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def mano_axes(golden: Path) -> Path:
    """Anatomical axes that belong to these models."""
    return golden / "inputs" / "mano_finger_axis.npz"


@pytest.fixture(autouse=True)
def remarks_stay_here() -> Iterator[None]:
    """Training programs print the remarks of `data` themselves; tests after them see remarks where pytest looks."""
    logger = logging.getLogger("data")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])
