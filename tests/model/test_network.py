import subprocess
import sys

import pytest
import torch

from model.batch import Source
from model.methods import METHODS
from model.network import SemanticInput, network_of
from tests.helpers import SMALL, loss_features

INFERENCE = ("methods", "network", "streaming", "motion", "optimizer", "mano", "skinning", "mirror", "proportions")


@pytest.mark.parametrize("pose_repr", ["ortho6d", "quaternion"])
@pytest.mark.parametrize("method", ["asrn", "dm"])
def test_is_what_was_trained(golden, mano_models, mano_axes, method, pose_repr):
    """The same parameters under the same names, and the same poses, from a checkpoint's hyper-parameters alone."""
    files = {"smplx_model_path": str(mano_models), "mano_axis_path": str(mano_axes)}
    trained = METHODS[method].network_class(**SMALL, pose_repr=pose_repr, n_layers=2, **files)
    network = METHODS[method].network_of(trained.hparams)
    network.load_state_dict(trained.state_dict())
    features = loss_features(golden)
    for target, source in (("mixamo", "mano"), ("mano", "mixamo")):
        found, expected = (each.retarget(features[target], features[source]) for each in (network, trained))
        assert torch.equal(found.joints, expected.joints)


def test_the_published_input_can_have_distances(golden):
    source = Source(loss_features(golden)["mixamo"])
    with_distances = network_of(SemanticInput, {"tbs_input_normalization": False, **SMALL}).network_input(source)
    assert torch.equal(with_distances[..., :1200].flatten(), source.semantic_matrix.finger.flatten())


def test_inference_imports_nothing_that_trains():
    """A start of two seconds less."""
    words = f"import sys; import {', '.join(f'model.{name}' for name in INFERENCE)}; import run.retarget; "
    words += "print([n for n in ('pytorch_lightning', 'lightning_fabric', 'jsonargparse') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
