"""Three optimiser steps through Lightning, against the published two-optimiser loop."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback, Trainer

from model.topology import DOMAINS
from tests.helpers import loss_features, pair
from tests.parity.loss_variants import build

ENDING = "_three_steps"


def pytest_generate_tests(metafunc):
    if "run" in metafunc.fixturenames:
        folder = Path(metafunc.config.getoption("--golden")) / "losses"
        metafunc.parametrize("run", sorted(path.stem for path in folder.glob(f"*{ENDING}.npz")))


class Watch(Callback):
    """Losses and gradient norms, before clipping, of every step."""

    def __init__(self):
        self.rows = []

    def on_before_optimizer_step(self, trainer, model, optimizer):
        losses = [float(model.last_losses[domain]) for domain in DOMAINS]
        norms = [
            torch.cat([parameter.grad.double().flatten() for parameter in net.parameters()]).norm().item()
            for net in model.recon_nets
        ]
        self.rows.append(losses + norms)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_three_steps(golden, mano_models, agree, tmp_path, run, dtype):
    """After the second step rounding has been through Adam, which makes little gradients as large as any."""
    expected = np.load(golden / "losses" / f"{run}.npz")
    rows = expected["losses_and_grad_norms"]
    model = build(golden, mano_models, run.removesuffix(ENDING), dtype)
    hands = loss_features(golden, dtype)
    batch = pair(hands["mixamo"], hands["mano"])
    watch = Watch()
    trainer = Trainer(
        max_steps=len(rows),
        accelerator="cpu",
        precision="64-true" if dtype == torch.float64 else "32-true",
        gradient_clip_val=0.5,
        callbacks=[watch],
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, train_dataloaders=torch.utils.data.DataLoader([batch] * len(rows), batch_size=None))
    suffix = "f32" if dtype == torch.float32 else "f64"
    found = np.array(watch.rows)
    assert found.shape == rows.shape
    for step, tolerance in enumerate((1e-5, 2e-4, 2e-4)[: len(rows)]):
        for column, name in enumerate(("loss", "loss", "gradient norm", "gradient norm")):
            allowed = tolerance if column < 2 else 5 * tolerance
            agree(found[step, column], rows[step, column], allowed, f"steps, {name} of step {step + 1} {suffix}")
    parameters = dict(model.named_parameters())
    assert list(expected["param_names"]) == list(parameters) or set(expected["param_names"]) == set(parameters)
    for name, norm in zip(expected["param_names"], expected["param_norms_after"], strict=True):
        agree(parameters[name].double().norm(), norm, 1e-5, f"steps, norms of parameters after three {suffix}")
