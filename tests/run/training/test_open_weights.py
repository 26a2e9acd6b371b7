import pytest
import torch
from safetensors.torch import save_file

from data.random_hands import Draw, random_angles, random_hands
from model.asrn import ASRN
from model.feedback.module import Feedback
from model.kinematics import tbs_from_angles
from model.measures import measure
from model.methods import of_kind
from model.optimizer import OptimizerSettings, optimise
from model.semantics import SourceDirections
from run.training.open_weights import FOLDER, all_open_weights, read_weights, write_weights
from run.training.trained import load_network
from tests.helpers import SMALL
from utils.errors import InputError


def checkpoint(module) -> dict:
    return {"hyper_parameters": dict(module.hparams), "state_dict": module.state_dict()}


@pytest.mark.parametrize("eight_bits", [False, True])
@pytest.mark.parametrize(
    "module", [lambda: ASRN(**SMALL), lambda: Feedback(hidden_channel=8)], ids=["asrn", "feedback"]
)
def test_weights_come_back(module, eight_bits, tmp_path):
    module = module()
    path = tmp_path / "some.safetensors"
    write_weights(path, module.method, checkpoint(module), eight_bits)
    network = load_network(path, module.method)
    for name, weight in network.state_dict().items():
        wanted = module.state_dict()[name]
        bound = wanted.flatten(1).abs().amax() / 250 if wanted.ndim > 1 else wanted.abs().max() / 1000
        assert (weight - wanted).abs().max() <= bound
    assert "optim_init" not in read_weights(path)["hyper_parameters"]


def test_every_network_has_open_weights_of_its_own_and_they_are_small():
    found = all_open_weights()
    assert list(found) == list(of_kind("network"))
    assert sum(path.stat().st_size for path in found.values()) < 20e6
    for method, path in found.items():
        assert load_network(path, method).both_sides == (method == "feedback")
        assert (FOLDER / f"{method}.md").is_file()


def test_what_is_no_file_of_weights_is_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    with pytest.raises(InputError, match="does not exist"):
        load_network(path)
    path.write_bytes(b"\x10\0\0\0\0\0\0\0 no safetensors at all")
    with pytest.raises(InputError, match="expected safetensors"):
        load_network(path)
    save_file({"a": torch.zeros(2)}, str(path))
    with pytest.raises(InputError, match="hyper_parameters"):
        load_network(path)
    save_file({"a": torch.zeros(2, dtype=torch.int8)}, str(path), {"hyper_parameters": "{}"})
    with pytest.raises(InputError, match="scale"):
        load_network(path)
    save_file({"a": torch.zeros(2)}, str(path), {"hyper_parameters": '{"row_channel": 16}'})
    with pytest.raises(InputError, match="do not fit"):
        load_network(path)


def test_the_open_feedback_network_closes_most_of_the_gap_on_hands_drawn_at_random():
    """Its weights belong to every number in the program that they are multiplied with."""
    draw = Draw(torch.Generator().manual_seed(5))
    source, target = random_hands(64, draw), random_hands(64, draw)
    tbs = tbs_from_angles(random_angles(64, draw))
    matrix = source.with_tbs(tbs).semantic_matrix()
    network = load_network(all_open_weights()["feedback"], "feedback")
    directions = SourceDirections(matrix)
    poses = (target.with_tbs(tbs), target.with_tbs(network.corrected(target, matrix, tbs)),
             optimise(target, matrix, tbs, OptimizerSettings.converged()))  # fmt: skip
    copy, found, best = (float(measure(directions, posed).s_finger.mean()) for posed in poses)
    assert found > copy + 0.98 * (best - copy) and best > copy + 0.01
