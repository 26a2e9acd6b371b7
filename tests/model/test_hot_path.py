"""The training step keeps a GPU busy: one graph, and nothing in it that the host has to wait for."""

from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from model.asrn import ASRN
from model.dm import DM
from tests.helpers import SMALL, loss_features, pair

WAITS = ("_local_scalar_dense", "nonzero", "unique", "masked_select", "equal.default", "is_nonzero")
"""Operations whose result, or its shape, the host needs."""


class NoWaiting(TorchDispatchMode):
    """Raises where an operation would have the host wait for a GPU, or would bring an index to it."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func)
        assert not any(word in name for word in WAITS), f"{name} in the hot path"
        if name.startswith(("aten.index.", "aten.index_put")):
            indices = [index for index in args[1] if index is not None]
            assert not any(index.dtype in (torch.bool, torch.uint8) for index in indices), "a mask as index"
        return func(*args, **(kwargs or {}))


@pytest.fixture(params=[None, [3, 4, 9, 10, 11, 12]], ids=["complete", "joints missing"])
def batch(request, golden):
    features = loss_features(golden)
    if request.param is not None:
        for domain, hands in features.items():
            present = torch.ones(*hands.rows.shape[:2], 21, dtype=torch.bool)
            present[..., request.param] = False
            features[domain] = replace(hands, present=present)
    return pair(features["mixamo"], features["mano"])


@pytest.fixture
def step(batch, mano_models, mano_axes):
    def make(method, **options):
        model = method(**SMALL, smplx_model_path=str(mano_models), mano_axis_path=str(mano_axes), **options)
        model.log_dict = lambda *args, **kwargs: None
        model.mano_hand(batch.second.rows)  # loaded before, as training does
        return lambda: model.training_step(batch, 0)

    return make


OPTIONS = [(ASRN, {}), (DM, {}), (ASRN, {"anatomical_loss_type": "axis", "distance_weighted": True, "rf_mask": [0, 7],
                                         "rp_mask": [1], "pose_repr": "quaternion"})]  # fmt: skip


@pytest.mark.parametrize(("method", "options"), OPTIONS)
def test_the_host_never_waits(step, method, options):
    loss_of = step(method, **options)
    with NoWaiting():
        loss_of().backward()


@pytest.mark.slow
@pytest.mark.parametrize(("method", "options"), OPTIONS)
def test_one_graph(step, method, options):
    _traced_as_one(step(method, **options))


def test_one_graph_of_the_published_method(step):
    _traced_as_one(step(ASRN))


def _traced_as_one(loss_of):
    expected = loss_of()
    torch._dynamo.reset()
    found = torch.compile(loss_of, fullgraph=True, backend="eager")()
    assert torch.equal(found, expected)
    found.backward()
