"""The same numbers on a GPU, where there is one."""

from __future__ import annotations

import pytest
import torch

from model.asrn import ASRN
from model.dm import DM
from model.flesh import flesh_of_radii
from model.kinematics import tbs_from_angles
from model.optimizer import OptimizerSettings, optimise
from model.optimizer.kernel import solver
from tests.helpers import SMALL, loss_features, pair
from tests.model.optimizer.test_search import character, motion

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


def on(hands, device):
    return pair(*(hands[domain].to(device) for domain in ("mixamo", "mano")))


@pytest.mark.parametrize("method", [ASRN, DM])
def test_training_step(method, golden, mano_models, mano_axes, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # which convolutions otherwise use
    features, found = loss_features(golden), {}
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        model = method(**SMALL, smplx_model_path=str(mano_models), mano_axis_path=str(mano_axes)).to(device)
        model.log_dict = lambda *args, **kwargs: None
        loss = model.training_step(on(features, device), 0)
        loss.backward()
        found[device] = loss.detach().cpu(), [p.grad.cpu() for p in model.parameters() if p.grad is not None]
    torch.testing.assert_close(found["cuda"][0], found["cpu"][0], rtol=1e-4, atol=1e-5)
    for own, other in zip(found["cuda"][1], found["cpu"][1], strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=1e-2 * float(other.abs().max()) + 1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_optimiser_and_flesh(dtype, monkeypatch):
    monkeypatch.setattr(solver, "covers", lambda *args: False)
    start = tbs_from_angles(motion(2, 9)).to(dtype)
    found = {}
    for device in ("cpu", "cuda"):
        source, target = (character("right", seed, dtype) for seed in (1, 2))
        source, target = (
            type(hand)(hand.side, hand.offsets.to(device), hand.axes.to(device)) for hand in (source, target)
        )
        posed = source.with_tbs(start.to(device))
        result = optimise(target, posed.semantic_matrix(), posed.tbs, OptimizerSettings(smoothness=100.0))
        gaps = flesh_of_radii(target.offsets).touches(result).gap
        found[device] = result.joints.cpu(), gaps.cpu()
    tolerance = 1e-2 if dtype == torch.float32 else 1e-5
    for own, other in zip(*found.values(), strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=tolerance)
