"""The published optimiser of one frame: where it ends after some steps, and what it prints on the way."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch3d.transforms import quaternion_to_matrix

from data.character.reading import read_annotated
from model.hands import offset_hand
from model.mano import ManoHand
from model.optimizer.published import optimise_frame
from tests.helpers import relative_error, tensor

TOLERANCE, ALLOWANCE = 1e-5, 10
"""Allowed in single precision, and how many times what a start changed by 1e-7 changes after so many steps of Adam,
which divides by the gradient's own size."""
NUMBER = re.compile(r"-?\d+\.\d+")
RESULT = re.compile(r"(?P<target>(mano_to_)?mixamo|mano)_from_(?P<start>source|start)_lr(?P<lr>[\d.]+)_n(?P<n>\d+)")


def pytest_generate_tests(metafunc):
    if "result" in metafunc.fixturenames:
        with np.load(Path(metafunc.config.getoption("--golden")) / "tbs_optimizer.npz") as arrays:
            metafunc.parametrize("result", [key for key in arrays.files if RESULT.fullmatch(key)])


@pytest.fixture(scope="module")
def reference(golden):
    return np.load(golden / "tbs_optimizer.npz")


@pytest.fixture(scope="module")
def hands(golden, reference, mano_models, mano_axes):
    """Hands by what the keys of the reference call them."""

    def character(name):
        read = read_annotated(
            golden / "inputs" / f"{name}_mesh_data.npz", golden / "inputs" / f"{name}_finger_axis.npz"
        )
        hand = read.hand("right")
        return offset_hand(tensor(hand.rest.offsets, torch.float32), _orthonormal(hand.axes), "right")

    mano = ManoHand.load(mano_models, mano_axes, "right", torch.float32)
    return {
        "source": character(str(reference["source_character"])),
        "mixamo": character(str(reference["target_character"])),
        "mano": mano.with_shape(tensor(reference["betas"], torch.float32)[:, None]),
    }


def _orthonormal(axes):
    twist, bend, _ = tensor(axes).unbind(-2)
    bend = torch.nn.functional.normalize(bend - (bend * twist).sum(-1, keepdim=True) * twist, dim=-1)
    return torch.stack([twist, bend, torch.linalg.cross(twist, bend, dim=-1)], dim=-2).float()


@pytest.fixture
def pose(reference, hands):
    """Semantic matrix of a hand in the source's pose."""

    def compute(name):
        return hands[name].with_tbs(quaternion_to_matrix(tensor(reference["src_bs"], torch.float32))).semantic_matrix()

    return compute


@pytest.fixture
def search(reference, hands, pose):
    """``search(result, change)``: where the search ends that `result` names, and what it reported."""

    def run(result, change=0.0):
        parts = RESULT.fullmatch(result)
        source, _, target = parts["target"].rpartition("_to_")
        begin = tensor(reference["src_bs" if parts["start"] == "source" else "start_bs"], torch.float32)
        begin = begin + change * torch.randn(begin.shape, generator=torch.Generator().manual_seed(0))
        said = []
        lr, steps = float(parts["lr"]), int(parts["n"])
        return optimise_frame(hands[target], pose(source or "source"), begin, lr, steps, report=said.append), said

    return run


def test_result(reference, search, agree, result):
    found, _ = search(result)
    changed, _ = search(result, 1e-7)
    allowed = TOLERANCE + ALLOWANCE * relative_error(changed, found)
    agree(found, reference[result], allowed, f"published optimiser, {RESULT.fullmatch(result)['target']}")


def test_progress(reference, search):
    """What is printed: the same words, and numbers that differ by rounding of the last digit at most."""
    (result,) = [key for key in reference.files if key.startswith("mano_to_mixamo_from_start")]
    found, expected = map(str, search(result)[1]), str(reference["mano_to_mixamo_progress_text"]).strip().splitlines()
    for ours, theirs in zip(found, expected, strict=True):
        assert NUMBER.sub("#", ours) == NUMBER.sub("#", theirs)
        numbers = [np.array(NUMBER.findall(line), dtype=float) for line in (ours, theirs)]
        np.testing.assert_allclose(*numbers, rtol=0, atol=0.0101)
