from types import SimpleNamespace

import numpy as np
import pytest
import torch

from data.hand_stream import Bank, HandStream, Shares, StreamLoader
from data.random_hands import Draw, random_angles, random_hands, warped_hands
from model.batch import HandModels
from model.feedback.chain import Chain
from model.feedback.module import Feedback
from model.kinematics import tbs_from_angles
from model.limits import JointLimits
from model.mirror import mirror_axes, mirror_points, mirror_tbs
from model.semantics import palm_length
from tests.helpers import loss_features
from utils.errors import InputError

HANDS = 4


def draw(seed: int = 0) -> Draw:
    return Draw(torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def bank() -> Bank:
    hands = random_hands(HANDS, draw())
    return Bank(hands.offsets, hands.axes, tbs_from_angles(random_angles(20, draw(1))), torch.arange(20) % HANDS)


def stream(bank: Bank, **options) -> HandStream:
    return HandStream(
        bank, options.pop("shares", Shares()), **{"frames": 20, "batches": 3, "pool": 24, "seed": 1, **options}
    )


def test_random_hands_are_hands():
    hands = random_hands(64, draw())
    joints = hands.with_tbs(tbs_from_angles(torch.zeros(64, 5, 3, 3))).joints
    assert joints.isfinite().all() and (palm_length(joints) - 1).abs().max() < 1e-5
    assert (hands.axes @ hands.axes.mT - torch.eye(3)).abs().max() < 1e-5
    assert len(torch.unique(Chain.of(hands).rows(), dim=0)) == 64
    fist = torch.zeros(64, 5, 3, 3)
    fist[:, :4, :, 1] = 1.2
    tips = hands.with_tbs(tbs_from_angles(fist)).joints[:, 4:17:4]
    # A positive bend closes right hands: tips go to the palm's side, which is below in this frame.
    assert (tips[..., 2] < joints[:, 4:17:4, 2]).float().mean() > 0.95


def test_warped_hands_have_other_proportions(bank):
    hands = bank.hands(torch.arange(HANDS))
    warped = warped_hands(hands, draw())
    lengths = [
        each.offsets[:, 2:5].norm(dim=-1) / each.offsets[:, 1].norm(dim=-1, keepdim=True) for each in (hands, warped)
    ]
    assert (lengths[0] / lengths[1] - 1).abs().min() > 1e-4


def test_random_poses_keep_the_limits():
    assert JointLimits().excess(random_angles(500, draw())).max() < 1e-6


def test_the_same_seed_gives_the_same_batches_and_epochs_differ(bank):
    first, again = (list(stream(bank)) for _ in range(2))
    assert len(first) == 3
    assert all(
        torch.equal(a, b) for one, other in zip(first, again, strict=True) for a, b in zip(one, other, strict=True)
    )
    later = stream(bank)
    later.epoch = 1
    assert not torch.equal(next(iter(later)).target, first[0].target)
    assert not torch.equal(next(iter(stream(bank, seed=2))).target, first[0].target)


def test_a_batch_is_made_of_its_shares(bank):
    shares = Shares(motion=0.5, solved=0.25, fresh=0.75, beyond=0.0, missing=0.0)
    made = stream(bank, shares=shares)
    batch = next(iter(made))
    own = Chain.of(bank.hands(torch.arange(HANDS))).rows()
    known = [(rows[:, None] == own).all(-1).any(1).sum() for rows in (batch.source, batch.target)]
    assert known == [10, 5] and batch.present.all()
    with pytest.raises(InputError, match="shares"):
        Shares(motion=0.7, solved=0.5)


def test_a_step_of_training_lowers_the_loss(bank):
    """Fingers are taken away, poses are beyond limits, and everything stays finite."""
    torch.manual_seed(0)
    made = list(stream(bank, frames=40, batches=1, shares=Shares(missing=0.5)))[0]
    module = Feedback(hidden_channel=16, row_channel=4, n_blocks=1)
    module.log_means = lambda *_: None
    optimizer = torch.optim.Adam(module.parameters(), 3e-3)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = module.training_step(made, 0)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_the_last_pass_counts_in_full_and_those_before_half(bank):
    """Untrained, every pass is the copy; and what is beyond the limits there is not more than the start's."""
    module = Feedback(hidden_channel=16, row_channel=4, n_blocks=1, passes=3)
    logged: dict[str, torch.Tensor] = {}
    module.log_means = lambda values, *_: logged.update(values)
    loss = module.training_step(next(iter(stream(bank))), 0)
    assert loss.item() == pytest.approx((0.5 + 0.5 + 1) * logged["train/copy_loss"].item(), rel=1e-5)


def test_mixed_precision_is_for_the_networks_products(bank):
    """Nearly the loss of full precision, of which rotations and losses keep all digits."""
    torch.manual_seed(0)
    made = next(iter(stream(bank)))
    module = Feedback(hidden_channel=16, row_channel=4, n_blocks=1, passes=2)
    torch.nn.init.normal_(module.last.weight, std=0.05)
    module.log_means = lambda *_: None
    products, turns = [], []
    module.first.register_forward_hook(lambda *given: products.append(given[-1].dtype))
    module.register_forward_hook(lambda *given: turns.append(given[-1].dtype))
    whole = module.training_step(made, 0)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = module.training_step(made, 0)
    assert products == 2 * [torch.float32] + 2 * [torch.bfloat16] and turns == 4 * [torch.float32]
    assert mixed.dtype == torch.float32 and mixed != whole and mixed.item() == pytest.approx(whole.item(), rel=0.01)


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_and_processes_draw_apart(bank, workers):
    """No batch of an epoch is another worker's, and none another process's."""
    epochs = [list(StreamLoader(stream(bank, batches=4, seed=seed), workers, lambda: 0)) for seed in (1, 2)]
    sources = [batch.source for batches in epochs for batch in batches]
    assert len(sources) == 8
    assert not any(torch.equal(a, b) for number, a in enumerate(sources) for b in sources[:number])


def test_left_hands_of_a_data_set_become_right_ones(golden):
    """As files of features are read, with a stride that thins clips out one by one."""
    rows = loss_features(golden)["mixamo"].rows.flatten(0, 1).numpy()
    frames = len(rows)
    clips, ends = [SimpleNamespace(frames=3), SimpleNamespace(frames=frames - 3)], np.array([3, frames])
    given = {"rows": rows, "domain": "mixamo", "missing": (), "stride": 2, "clips": clips, "clip_ends": lambda: ends}
    files: list = [SimpleNamespace(side=side, **given) for side in ("right", "left")]
    right, left = (Bank.of([file], HandModels("nowhere", "nowhere", file.side)) for file in files)
    assert len(right.tbs) == len(left.tbs) == 2 + -(-(frames - 3) // 2)
    assert (right.offsets[:, 1, 0] < 0).all()  # fingers of right hands point there
    assert torch.equal(left.offsets, mirror_points(right.offsets)) and torch.equal(left.axes, mirror_axes(right.axes))
    assert torch.equal(left.tbs, mirror_tbs(right.tbs)) and torch.equal(left.owner, right.owner)
    both = Bank.of(files, HandModels("nowhere", "nowhere", "right"))
    assert len(both.offsets) == 2 * len(right.offsets) and both.owner[len(right.owner) :].min() == len(right.offsets)


def test_axes_of_tips_are_those_of_the_last_joint_or_nearly_so():
    """In half of the hands, whose axes are badly estimated, by a degree or two."""
    axes = random_hands(400, draw()).axes
    cosines = ((axes[:, :, 3] @ axes[:, :, 2].mT).diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    angles = torch.rad2deg(torch.arccos(cosines.clamp(-1, 1)))
    equal = (angles < 0.05).all(1).float().mean()
    assert 0.4 < equal < 0.6 and angles.max() < 6.0
