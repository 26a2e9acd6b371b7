"""The published optimiser of one frame: where it ends after some steps, and what it prints on the way."""

import numpy as np
import pytest
import torch
from pytorch3d.transforms import quaternion_to_matrix

from data.character.mesh_file import read_character
from model.hands import offset_hand
from model.mano import ManoHand
from model.optimizer.published import optimise_frame
from tests.helpers import tensor

TOLERANCE = 1e-5
"""Single precision; sixty steps of Adam, which divides by the gradient's own size, keep these digits."""


@pytest.fixture(scope="module")
def reference(golden):
    return np.load(golden / "tbs_optimizer.npz")


@pytest.fixture(scope="module")
def hands(golden, reference, mano_models, mano_axes):
    """Hands by what the keys of the reference call them."""

    def character(name):
        read = read_character(
            golden / "inputs" / f"{name}_mesh_data.npz", golden / "inputs" / f"{name}_finger_axis.npz"
        )
        return offset_hand(tensor(read.offsets["right"], torch.float32), _orthonormal(read.axes["right"]), "right")

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


@pytest.mark.parametrize("iterations", [1, 10, 60])
@pytest.mark.parametrize("start", ["source", "start"])
@pytest.mark.parametrize("target", ["mixamo", "mano"])
def test_result(reference, hands, pose, agree, target, start, iterations):
    begin = tensor(reference["src_bs" if start == "source" else "start_bs"], torch.float32)
    found = optimise_frame(hands[target], pose("source"), begin, 0.01, iterations)
    expected = reference[f"{target}_from_{start}_lr0.01_n{iterations}"]
    agree(found, expected, TOLERANCE, f"published optimiser, {target}")


def test_from_mano_to_character(reference, hands, pose, agree):
    printed = []
    begin = tensor(reference["start_bs"], torch.float32)
    found = optimise_frame(hands["mixamo"], pose("mano"), begin, 0.01, 40, report=printed.append)
    agree(found, reference["mano_to_mixamo_from_start_lr0.01_n40"], TOLERANCE, "published optimiser, mano to mixamo")
    assert "\n".join(map(str, printed)) == str(reference["mano_to_mixamo_progress_text"]).strip()
