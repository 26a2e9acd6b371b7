import pytest
import torch

from model.batch import Source
from model.feedback.network import FeedbackNetwork, feedback_network
from model.hands import offset_hand
from model.kinematics import tbs_from_angles
from model.measures import measure
from model.mirror import mirror_axes, mirror_points, mirror_tbs
from model.rotations import orthonormal
from model.semantics import SourceDirections
from model.topology import PINKY, ROOTS
from tests.helpers import loss_features
from tests.model.optimizer.test_search import character

FRAMES = 40


def hand(side: str, seed: int):
    whole = character(side, seed, torch.float32)
    return offset_hand(whole.offsets[0], whole.axes[0], side)


def random_network(seed: int = 0, scale: float = 0.05, **options) -> FeedbackNetwork:
    """As bad as a network can be: nothing was learned."""
    torch.manual_seed(seed)
    network = FeedbackNetwork(hidden_channel=16, row_channel=4, n_blocks=1, **options)
    torch.nn.init.normal_(network.last.weight, std=scale)
    return network


def poses(count: int = FRAMES, seed: int = 0) -> torch.Tensor:
    return tbs_from_angles(0.4 * torch.randn(count, 5, 3, 3, generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("lacks_pinky", [False, True])
@pytest.mark.parametrize("scale", [0.003, 0.03, 0.3, 3.0])
def test_never_below_the_copy(scale, lacks_pinky):
    """Whatever the weights."""
    source, target, tbs = hand("right", 1), hand("right", 2), poses()
    matrix = source.with_tbs(tbs).semantic_matrix()
    present = torch.ones(21, dtype=torch.bool)
    present[ROOTS[PINKY] : ROOTS[PINKY] + 4] = not lacks_pinky
    network = random_network(scale=scale)
    unguarded = network.corrected(target, matrix, tbs, present, guard=False)
    result = network.corrected(target, matrix, tbs, present)
    directions = SourceDirections(matrix)
    copy, free, kept = (
        measure(directions, target.with_tbs(each), present).s_finger for each in (tbs, unguarded, result)
    )
    assert (free < copy - 1e-4).any()
    assert (kept >= copy - 1e-4).all() and (kept - free)[free < copy].min() >= -1e-4
    assert torch.equal(result[free > copy], unguarded[free > copy])


def test_as_a_correction_turns_bad_the_result_does_not_jump():
    """Poses on the way from one for which it helps to one for which it does harm."""
    source, target = hand("right", 1), hand("right", 2)
    network = random_network(scale=0.02)
    ends = poses(2, seed=1)
    share = torch.linspace(0, 1, 400).view(-1, 1, 1, 1, 1)
    tbs = orthonormal(torch.lerp(ends[:1], ends[1:], share))
    result = network.corrected(target, source.with_tbs(tbs).semantic_matrix(), tbs)
    moved, given = ((each[1:] - each[:-1]).flatten(1).norm(dim=1) for each in (result, tbs))
    assert moved.max() < 20 * given.max()


def test_untrained_it_is_the_copy():
    source, tbs = hand("right", 1), poses(3)
    assert torch.equal(FeedbackNetwork().corrected(hand("right", 2), source.with_tbs(tbs).semantic_matrix(), tbs), tbs)


def test_left_hands_are_right_hands_in_the_mirror():
    network, tbs = random_network(), poses(5)
    right = [hand("right", seed) for seed in (1, 2)]
    left = [offset_hand(mirror_points(each.offsets), mirror_axes(each.axes), "left") for each in right]
    found = [
        network.on(target).tbs(source, source.with_tbs(pose).local)
        for (source, target), pose in ((right, tbs), (left, mirror_tbs(tbs)))
    ]
    assert (found[0] - mirror_tbs(found[1])).abs().max() < 1e-5


def test_frames_are_independent_and_chunks_are_not_seen(monkeypatch):
    source, target, tbs = hand("right", 1), hand("right", 2), poses(7)
    network, matrix = random_network(), source.with_tbs(tbs).semantic_matrix()
    whole = network.corrected(target, matrix, tbs)
    monkeypatch.setattr("model.feedback.network.CHUNK", 3)
    assert (network.corrected(target, matrix, tbs) - whole).abs().max() < 1e-4
    alone = network.corrected(target, matrix.at(4), tbs[4])
    assert alone.shape == (5, 3, 3, 3) and (alone - whole[4]).abs().max() < 1e-4


def test_what_is_missing_is_not_looked_at():
    source, tbs = hand("right", 1), poses(4)
    present = torch.ones(21, dtype=torch.bool)
    present[ROOTS[PINKY] : ROOTS[PINKY] + 4] = False
    other = source.with_tbs(tbs).semantic_matrix().map(torch.clone)
    rows = slice(ROOTS[PINKY] - 1, ROOTS[PINKY] + 3)
    other.finger[:, rows], other.finger[:, :, rows], other.palm[:, rows] = 1.0, -1.0, 0.5
    network = random_network()
    found = [network.corrected(hand("right", 2), matrix, tbs, present)
             for matrix in (source.with_tbs(tbs).semantic_matrix(), other)]  # fmt: skip
    assert torch.equal(*found)


@pytest.mark.parametrize(("target", "source"), [("mixamo", "mano"), ("mano", "mixamo")])
def test_batches_of_features(golden, mano_models, mano_axes, target, source):
    """Windows of both domains; MANO hands are looked at as their surface poses them."""
    files = {"smplx_model_path": str(mano_models), "mano_axis_path": str(mano_axes)}
    network, features = random_network(scale=0.3, **files), loss_features(golden)
    prepared = Source(features[source])
    shaped = network.shaped_hand(features[target])
    posed = network.retargeted(shaped, features[target], prepared)
    found, copy = (measure(prepared.directions, each).s_finger for each in (posed, shaped.with_tbs(prepared.tbs)))
    assert posed.joints.shape == (*features[target].tbs.shape[:2], 21, 3)
    assert (found >= copy - 1e-4).all() and not torch.equal(found, copy)


@pytest.mark.parametrize("name", ["hidden_channel", "row_channel", "n_blocks", "passes"])
def test_sizes_are_checked(name):
    with pytest.raises(ValueError, match=name):
        feedback_network({name: 10**6})
