"""Touches of flesh as a term of training."""

from __future__ import annotations

import pytest
import torch

from model.asrn import ASRN
from model.flesh import flesh_of_radii
from model.kinematics import tbs_from_angles
from model.touch import touch_goals, touch_misfit
from tests.helpers import SMALL, loss_features, pair
from tests.model.optimizer.test_search import character, motion
from tests.model.optimizer.test_touches import pinch


def test_own_poses_miss_nothing_and_open_ones_do():
    hand = character("right", 1)
    angles = pinch(hand)
    flesh = flesh_of_radii(hand.offsets)
    posed = hand.with_tbs(tbs_from_angles(angles))
    goals = touch_goals(posed, flesh, flesh)
    assert touch_misfit(goals, posed) == 0
    opened = angles.clone()
    opened[:, 4, 0, 1] -= 0.3
    assert touch_misfit(goals, hand.with_tbs(tbs_from_angles(opened))) > 1e-3
    closed = angles.clone()
    closed[:, 3, 0, 1] += 0.3
    assert touch_misfit(goals, hand.with_tbs(tbs_from_angles(closed))) > 1e-3
    missing = torch.ones(1, 21, dtype=torch.bool)
    missing[:, 13:] = False  # index and thumb
    assert touch_misfit(goals, hand.with_tbs(tbs_from_angles(opened)), missing) < 1e-3


def test_gradient():
    source, target = character("right", 1), character("right", 3)
    posed = source.with_tbs(tbs_from_angles(pinch(source)))
    goals = touch_goals(posed, flesh_of_radii(source.offsets), flesh_of_radii(target.offsets))
    goals.flesh.flatness.zero_()
    angles = motion(1, 1)[0].requires_grad_()
    loss = touch_misfit(goals, target.with_tbs(tbs_from_angles(angles))).sum()
    (slope,) = torch.autograd.grad(loss, angles)
    step = torch.randn(slope.shape, generator=torch.Generator().manual_seed(0), dtype=slope.dtype)
    up, down = (
        touch_misfit(goals, target.with_tbs(tbs_from_angles(angles.detach() + s * 1e-6 * step))) for s in (1, -1)
    )
    assert float(loss.detach()) > 1e-3
    assert float((up - down).sum() / 2e-6) == pytest.approx(float((slope * step).sum()), rel=2e-2)


def test_training_lowers_it(golden, mano_models, mano_axes):
    features = loss_features(golden)
    batch = pair(features["mixamo"], features["mano"])
    losses = {}
    for weight in (0.0, 5.0):
        torch.manual_seed(0)
        model = ASRN(**SMALL, smplx_model_path=str(mano_models), mano_axis_path=str(mano_axes), lambda_touch=weight)
        logged: dict[str, torch.Tensor] = {}
        model.log_means = lambda values, size, kept=logged: kept.update(values)
        losses[weight] = model.training_step(batch, 0)
        losses[weight].backward()
        assert any("touch" in name for name in logged) == (weight > 0)
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert losses[5.0] > losses[0.0]
