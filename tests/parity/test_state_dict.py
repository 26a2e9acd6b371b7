"""Names, order, shapes and types of what a published checkpoint holds."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer

from model.asrn import ASRN
from model.dm import DM
from tests.helpers import SMALL, set_weights

METHODS = {"tbs": ASRN, "dm": DM}


def pytest_generate_tests(metafunc):
    golden = Path(metafunc.config.getoption("--golden"))
    if "net" in metafunc.fixturenames:
        metafunc.parametrize("net", list(json.loads((golden / "state_dict_manifest.json").read_text())))
    if "weights" in metafunc.fixturenames:
        metafunc.parametrize("weights", sorted(path.stem for path in (golden / "losses").glob("*_state_dict.npz")))


@pytest.fixture(scope="module")
def manifest(golden):
    return json.loads((golden / "state_dict_manifest.json").read_text())


def build(net):
    method, pose_repr = net.split("_")
    with torch.device("meta"):
        return METHODS[method](pose_repr=pose_repr)


def test_names_shapes_and_types(manifest, net):
    found = [[name, list(values.shape), str(values.dtype)] for name, values in build(net).state_dict().items()]
    assert found == manifest[net]["state_dict"]


def test_parameters(manifest, net):
    model, expected = build(net), manifest[net]
    found = [[name, list(parameter.shape)] for name, parameter in model.named_parameters()]
    assert found == expected["parameters_in_order"]
    assert sum(parameter.numel() for parameter in model.parameters()) == expected["n_parameters"]


def test_shared_tensors(manifest, net):
    """Both names of a convolution are one tensor, and no others are."""
    with torch.no_grad():
        held = METHODS[net.split("_")[0]](pose_repr=net.split("_")[1], **SMALL).state_dict()
    groups = {}
    for name, values in held.items():
        groups.setdefault(values.data_ptr(), []).append(name)
    assert [group for group in groups.values() if len(group) > 1] == manifest[net]["shared_tensors"]


def test_optimiser_order(manifest, net, tmp_path):
    """Group n of the optimiser holds the parameters of network n, in the order of the published optimiser n."""
    model = build(net)
    model.trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", default_root_dir=tmp_path)
    optimizer = model.configure_optimizers()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = [[names[id(parameter)] for parameter in group["params"]] for group in optimizer.param_groups]
    expected = [
        [f"recon_nets.{number}.{name}" for name in order]
        for number, order in enumerate(manifest[net]["optimizer_parameter_order"])
    ]
    assert found == expected
    assert isinstance(optimizer, torch.optim.Adam)
    for group in optimizer.param_groups:
        assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (1e-4, (0.9, 0.999), 1e-8, 0)


def test_hyper_parameters(manifest, net):
    assert set(manifest[net]["hyper_parameters"]) <= set(build(net).hparams)


def test_reference_weights(golden, weights):
    """The reference rule for weights gives the stored state dict, which loads strictly."""
    method = weights.split("_")[0]
    model = METHODS[method](**SMALL)
    with np.load(golden / "losses" / f"{weights}.npz") as stored:
        state = {name: torch.from_numpy(stored[name]) for name in stored.files}
    variant = {"tbs": "tbs_asrn", "dm": "dm_config"}[method]
    with np.load(golden / "losses" / f"{variant}.npz") as reference:
        set_weights(model, int(reference["weight_seed"]))
    found = model.state_dict()
    assert list(found) == list(state)
    assert all(torch.equal(found[name], state[name]) for name in state)
    other = METHODS[method](**SMALL)
    other.load_state_dict(state)
    assert all(torch.equal(values, state[name]) for name, values in other.state_dict().items())
