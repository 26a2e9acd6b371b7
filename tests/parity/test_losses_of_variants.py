"""Every logged loss, error and test figure, network outputs and gradients, for every variant of the settings."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from model.batch import Source
from model.topology import DOMAINS
from tests.helpers import collect_logs, loss_features, pair, relative_error
from tests.parity.loss_variants import build, variant_names

VALUE, GRADIENT, ALLOWANCE = 1e-5, 3e-5, 10
"""A value, or a gradient norm, may deviate by the first or second, plus the third times what single precision alone
does to those of that network: the references were computed in it, so double precision cannot do better, and rotations
near 90° of bend, which untrained networks put out, amplify its rounding."""
VALUE_LIMIT, GRADIENT_LIMIT = 1e-3, 1e-2
"""But never by more than this."""


def pytest_generate_tests(metafunc):
    if "variant" in metafunc.fixturenames:
        metafunc.parametrize("variant", variant_names(Path(metafunc.config.getoption("--golden"))))


@pytest.fixture(scope="module")
def evaluate(golden, mano_models):
    """``evaluate(variant, dtype)``: all values under their reference names, computed once."""
    return cache(lambda variant, dtype: all_values(golden, mano_models, variant, dtype))


def all_values(golden, models, variant, dtype):
    model = build(golden, models, variant, dtype)
    hands = loss_features(golden, dtype)
    across, within = pair(hands["mixamo"], hands["mano"]), pair(hands["mixamo"], hands["mixamo_other"])
    values = collect_logs(model)
    total = model.training_step(across, 0)
    total.backward()
    values["total"] = float(total.detach())
    for domain, net in zip(DOMAINS, model.recon_nets, strict=True):
        values[f"train_{domain}_total"] = values[f"train/{domain}_loss"]
        gradients = [parameter.grad.double().flatten() for parameter in net.parameters()]
        values[f"train_{domain}_grad_norm_before_clip"] = torch.cat(gradients).norm().item()
    for name, parameter in model.named_parameters():
        values[f"train_grad_norm|{name}"] = parameter.grad.double().norm().item()
    with torch.no_grad():
        model.validation_step(across, 0)
        model.test_step(across, 0)
        model.test_step(within, 0)
        for target in DOMAINS:
            for source in DOMAINS:
                (output,) = model(hands[target], Source(hands[source]))
                values[f"out_{target}_net_on_{source}"] = output.double().numpy()
    return values


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values(golden, evaluate, agree, variant, dtype):
    found, single, double = evaluate(variant, dtype), *(evaluate(variant, t) for t in (torch.float32, torch.float64))
    suffix = "f32" if dtype == torch.float32 else "f64"
    with np.load(golden / "losses" / f"{variant}.npz") as reference:
        for key in reference.files:
            if key == "weight_seed" or "grad_norm" in key:
                continue
            tolerance = min(VALUE + ALLOWANCE * relative_error(single[key], double[key]), VALUE_LIMIT)
            kind = {"train": "training", "val": "validation", "test": "test", "out": "network output"}
            group = f"losses, {kind[key.split('/')[0].split('_')[0]]} {suffix}"
            agree(found[key], reference[key], tolerance, group)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_norms(golden, evaluate, agree, variant, dtype):
    found, single, double = evaluate(variant, dtype), *(evaluate(variant, t) for t in (torch.float32, torch.float64))
    suffix = "f32" if dtype == torch.float32 else "f64"
    with np.load(golden / "losses" / f"{variant}.npz") as reference:
        keys = [key for key in reference.files if "grad_norm" in key]
        rounding = max(relative_error(single[key], double[key]) for key in keys)
        tolerance = min(GRADIENT + ALLOWANCE * rounding, GRADIENT_LIMIT)
        for key in keys:
            agree(found[key], reference[key], tolerance, f"losses, gradient norms {suffix}")


def test_nothing_is_missing(golden, evaluate, variant):
    """Every reference value has been compared, and the step's loss is the sum of both networks'."""
    found = evaluate(variant, torch.float64)
    with np.load(golden / "losses" / f"{variant}.npz") as reference:
        assert set(reference.files) - {"weight_seed"} <= set(found)
    assert found["total"] == pytest.approx(found["train/mixamo_loss"] + found["train/mano_loss"], rel=1e-12)


def test_logged_names_are_the_published_ones(golden, evaluate, variant):
    """Nothing is logged under a name that the published program does not have."""
    found = evaluate(variant, torch.float64)
    with np.load(golden / "losses" / f"{variant}.npz") as reference:
        assert {name for name in found if "/" in name} == {name for name in reference.files if "/" in name}
