"""Three optimiser steps through Lightning, against the published two-optimiser loop."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback, Trainer

from model.topology import DOMAINS
from tests.helpers import loss_features, pair, relative_error
from tests.parity.loss_variants import build

ENDING = "_three_steps"
TYPES = {"f32": torch.float32, "f64": torch.float64}
COLUMNS = ("loss", "loss", "gradient norm", "gradient norm")
FIRST_STEP = (1e-5, 1e-5, 5e-5, 5e-5)
"""Allowed in the first step, where both programs still stand at the same place."""
LATER_LIMIT = (5e-3, 5e-3, 5e-2, 5e-2)
"""Never more than this afterwards. Adam makes the least gradient as large as any, so that rounding decides the
direction of some weights; five times what it does to us (single against double precision) is allowed."""


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


def train(golden, models, folder, run, dtype, steps):
    """Train on the reference batch; the rows of the reference, and the norms of all parameters afterwards."""
    model = build(golden, models, run.removesuffix(ENDING), dtype)
    hands = loss_features(golden, dtype)
    batch = pair(hands["mixamo"], hands["mano"])
    watch = Watch()
    trainer = Trainer(
        max_steps=steps,
        accelerator="cpu",
        precision="64-true" if dtype == torch.float64 else "32-true",
        gradient_clip_val=0.5,
        callbacks=[watch],
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, train_dataloaders=torch.utils.data.DataLoader([batch] * steps, batch_size=None))
    return np.array(watch.rows), {name: values.double().norm().item() for name, values in model.named_parameters()}


@pytest.mark.filterwarnings("ignore:You defined a `validation_step`", "ignore:.*LeafSpec.*")
def test_three_steps(golden, mano_models, agree, tmp_path, run):
    expected = np.load(golden / "losses" / f"{run}.npz")
    rows = expected["losses_and_grad_norms"]
    found = {name: train(golden, mano_models, tmp_path, run, dtype, len(rows)) for name, dtype in TYPES.items()}
    for name, (found_rows, norms) in found.items():
        assert found_rows.shape == rows.shape
        for step, column in np.ndindex(rows.shape):
            rounding = relative_error(found["f32"][0][step, column], found["f64"][0][step, column])
            later = min(FIRST_STEP[column] + 5 * rounding, LATER_LIMIT[column])
            allowed = later if step else FIRST_STEP[column]
            group = f"steps, {COLUMNS[column]} of step {step + 1} {name}"
            agree(found_rows[step, column], rows[step, column], allowed, group)
        assert set(norms) == set(expected["param_names"])
        after = dict(zip(expected["param_names"].tolist(), expected["param_norms_after"].tolist(), strict=True))
        rounding = max(relative_error(norms[parameter], found["f64"][1][parameter]) for parameter in norms)
        allowed = min(1e-5 + 5 * rounding, 1e-4)
        for parameter, norm in norms.items():
            agree(norm, after[parameter], allowed, f"steps, norms of parameters afterwards {name}")
