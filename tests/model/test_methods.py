"""What the entries of the list of methods do, seen from outside."""

import pytest
import torch

from model.hands import offset_hand
from model.kinematics import tbs_from_angles
from model.measures import fingertip_gaps
from model.methods import METHODS
from model.motion import MotionRetargeting, SourceMotion
from model.optimizer import optimise
from model.optimizer.settings import OptimizerSettings
from model.posing import Task
from model.topology import TIPS
from tests.model.optimizer.test_search import character, motion

EVERYTHING = torch.ones(21, dtype=torch.bool)


@pytest.fixture(scope="module")
def hands():
    """A source and a target of other proportions, in single precision: where there is a compiled form it does it."""
    source, target = (character("right", seed, torch.float32) for seed in (1, 2))
    return tuple(offset_hand(each.offsets[0], each.axes[0], "right") for each in (source, target))


def posed(method: str, hand, target, tbs: torch.Tensor, rate: float):
    """What a method makes of poses ``(F, …)``."""
    source = SourceMotion(hand, hand.with_tbs(tbs).local, rate)
    return MotionRetargeting(method, target, EVERYTHING)(source)


def pinching(hand, frames: int) -> torch.Tensor:
    """Thumb and index of the hand touch in every frame, found by the optimiser from a matrix in which they do."""
    start = tbs_from_angles(motion(1, 1, dtype=torch.float32)[0]).expand(frames, -1, -1, -1, -1)
    coords = hand.with_tbs(start).semantic_matrix()
    finger = coords.finger.clone()
    thumb, index = TIPS[4] - 1, TIPS[3] - 1
    finger[:, thumb, index] = finger[:, index, thumb] = 0
    settings = OptimizerSettings(iterations=50, contact_weight=1e4)
    return optimise(hand, coords._replace(finger=finger), start.clone(), settings).tbs


def test_only_the_method_that_closes_touches_closes_them(hands):
    hand, target = hands
    tbs = pinching(hand, 4)
    gaps = {"source": fingertip_gaps(hand.with_tbs(tbs).joints)}
    gaps |= {name: fingertip_gaps(posed(name, hand, target, tbs, 60.0).joints)
             for name in ("tbs_copy", "optimizer", "optimizer_contacts")}  # fmt: skip
    pair = gaps["source"][0].argmin()
    gaps = {name: float(gap[:, pair].max()) for name, gap in gaps.items()}
    assert gaps["source"] < 0.02
    assert gaps["optimizer_contacts"] < 0.02 and gaps["optimizer_contacts"] < 0.5 * gaps["optimizer"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])  # compiled, and not
def test_frames_are_tied_by_time_and_not_by_number(hands, dtype):
    """A motion that is stretched to a twelfth of its rate moves on its own: its frames are far apart in time."""
    hand, target = (offset_hand(each.offsets.to(dtype), each.axes.to(dtype), "right") for each in hands)
    shaken = motion(1, 16, dtype=dtype)[0]
    shaken = shaken + 0.1 * torch.randn(shaken.shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    tbs = tbs_from_angles(shaken)
    task = Task(target, SourceMotion(hand, hand.with_tbs(tbs).local, 60.0))
    free = optimise(target, task.source.semantic_matrix, tbs, OptimizerSettings(keep_start=True)).joints
    slow, fast = (posed("optimizer", hand, target, tbs, rate).joints for rate in (5.0, 60.0))
    assert (slow - free).norm() < 0.3 * (fast - free).norm()
    assert METHODS["optimizer"].posed(task).joints.shape == free.shape  # without a rate: each frame for itself
