import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix

from model.feedback.chain import Chain, frames_first_tbs, frames_last_tbs, turned
from model.hands import offset_hand
from model.kinematics import tbs_from_angles
from model.layout import frames_last
from model.mirror import mirror_matrix, mirror_tbs
from model.topology import SIDES
from tests.model.optimizer.test_search import character


def poses(count: int, dtype: torch.dtype) -> torch.Tensor:
    return tbs_from_angles(0.4 * torch.randn(count, 5, 3, 3, generator=torch.Generator().manual_seed(3), dtype=dtype))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 3e-6), (torch.float64, 1e-13)])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("side", SIDES)
def test_the_chain_sees_the_semantic_matrix(side, count, dtype, tolerance):
    """mathematics §21 against §2 and §4; what a left hand sees is what its mirror image does."""
    hand = character(side, 1, dtype)
    hand = offset_hand(hand.offsets[0], hand.axes[0], side)
    tbs = poses(count, dtype)
    matrix = hand.with_tbs(tbs).semantic_matrix()
    if side == "left":
        tbs, matrix = mirror_tbs(tbs), mirror_matrix(matrix)
    seen = Chain.of(hand).seen(frames_last_tbs(tbs))
    assert (seen - frames_last(torch.cat(matrix, -2), 3)).abs().max() < tolerance


def test_rows_hold_a_chain():
    hand = character("right", 2, torch.float32)
    chain = Chain.of(offset_hand(hand.offsets[:1].expand(3, 21, 3), hand.axes[:1].expand(3, 5, 4, 3, 3), "right"))
    again = Chain.from_rows(chain.rows())
    assert chain.rows().shape == (3, 240) and chain.description().shape == (135, 3)
    assert all(torch.equal(getattr(chain, name), part) for name, part in vars(again).items())


def test_scale_and_place_of_the_wrist_do_not_matter():
    hand = character("right", 1, torch.float64)
    turn = axis_angle_to_matrix(torch.tensor([0.3, -1.0, 0.4], dtype=torch.float64))
    offsets, axes = hand.offsets[0], hand.axes[0]
    first = Chain.of(offset_hand(offsets, axes, "right")).description()
    # A hand modelled in another frame is the same hand.
    second = Chain.of(offset_hand(7 * offsets @ turn.T, axes @ turn.T, "right")).description()
    assert (first - second).abs().max() < 1e-12


def test_turned_is_the_exponential():
    tbs, turn = poses(4, torch.float64), torch.randn(4, 5, 3, 3, dtype=torch.float64)
    turn[0, 0, 0] = 0
    found = turned(frames_last_tbs(tbs), turn.permute(3, 1, 2, 0))
    assert (frames_first_tbs(found) - tbs @ axis_angle_to_matrix(turn)).abs().max() < 1e-9
