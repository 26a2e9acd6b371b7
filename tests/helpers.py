"""Builders and comparisons shared by tests."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import scipy.sparse
import torch
from pytorch3d.transforms import quaternion_to_matrix, random_rotations
from torch import Tensor

from data.features.row import HandFeatures, split
from model.retargeting import Retargeting
from model.topology import PARENTS

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
"""Where numerics are checked."""
SMALL = {"hidden_channel": 10, "static_hidden_channel": 6}
"""Widths of the networks whose numbers the reference vectors hold."""


def tensor(array: np.ndarray, dtype: torch.dtype = torch.float64) -> Tensor:
    """A copy of ``array`` as a tensor of type ``dtype``."""
    return torch.from_numpy(np.array(array)).to(dtype)


def relative_error(found, expected) -> float:
    """Largest deviation, as a share of the largest number in ``expected``; inf where either is not finite.

    An expected array of zeros is compared absolutely.
    """
    found, expected = _as_double(found), _as_double(expected)
    assert found.shape == expected.shape, f"shape {found.shape}, expected {expected.shape}"
    if not (np.isfinite(found).all() and np.isfinite(expected).all()):
        return float("inf")
    scale = np.abs(expected).max()
    return float(np.abs(found - expected).max() / (scale if scale > 0 else 1))


def _as_double(values) -> np.ndarray:
    values = values.detach().double().cpu().numpy() if isinstance(values, Tensor) else values
    return np.asarray(values, dtype=np.float64)


def assert_close(found, expected, tolerance: float) -> None:
    """Fail unless :func:`relative_error` is at most ``tolerance``."""
    error = relative_error(found, expected)
    assert error <= tolerance, f"relative error {error:.3g}, allowed {tolerance:.3g}"


# -- hands ---------------------------------------------------------------------------------------------------


def mano_arrays(file: Path) -> dict:
    """The arrays of a reference model as in a distributed MANO file: doubles and a sparse regressor."""
    with np.load(file) as archive:
        stored = dict(archive)
    parts = [stored.pop(f"J_regressor_{part}") for part in ("data", "indices", "indptr", "shape")]
    arrays = {key: value.astype(np.float64) for key, value in stored.items()}
    return {**arrays, "J_regressor": scipy.sparse.csc_matrix(tuple(parts[:3]), shape=tuple(parts[3]))}


def write_mano_models(inputs: Path, folder: Path) -> Path:
    """Write ``folder/mano/MANO_{RIGHT,LEFT}.pkl`` from the models in ``inputs``; returns ``folder``."""
    (folder / "mano").mkdir(parents=True, exist_ok=True)
    for side in ("right", "left"):
        with (folder / "mano" / f"MANO_{side.upper()}.pkl").open("wb") as file:
            pickle.dump(mano_arrays(inputs / f"mano_{side}.npz"), file, protocol=2)
    return folder


def plausible_offsets(*batch: int, side: str = "right", seed: int = 0, dtype=torch.float64) -> Tensor:
    """Bone vectors ``(*batch, 21, 3)`` in centimetres of random but hand-like hands, slightly out of the plane."""
    generator = torch.Generator().manual_seed(seed)
    roots = torch.tensor([[-9.0, 0.2, 0.0], [-8.5, 0, -2], [-7.5, -0.3, -4], [-8.8, 0.1, 2.2], [-2.5, -0.8, 3]])
    bones = torch.tensor([-3.8, 0, 0]).expand(5, 3, 3) * torch.tensor([1.0, 0.7, 0.6])[:, None]
    thumb = torch.tensor([-2.0, -0.6, 2.4]) * torch.tensor([1.0, 0.8, 0.7])[:, None]
    bones = torch.cat([bones[:4], thumb[None]])
    hand = torch.cat([torch.zeros(1, 3), torch.cat([roots[:, None], bones], dim=1).flatten(0, 1)]).to(torch.float64)
    hand = hand + 0.3 * torch.randn(*batch, 21, 3, generator=generator, dtype=torch.float64)
    hand[..., 0, :] = 0
    if side == "left":
        hand[..., 0] *= -1
    return hand.to(dtype)


def rotations(*shape: int, seed: int = 0, angle: float | None = None, dtype=torch.float64) -> Tensor:
    """Random rotations ``(*shape, 3, 3)``: any, or turns by up to ``angle`` radians about any axis."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if angle is None:
            return random_rotations(int(np.prod(shape)), dtype=dtype).reshape(*shape, 3, 3)
        axis = torch.nn.functional.normalize(torch.randn(*shape, 3, dtype=dtype), dim=-1)
        turn = angle * torch.rand(*shape, 1, dtype=dtype)
        return quaternion_to_matrix(torch.cat([torch.cos(turn / 2), axis * torch.sin(turn / 2)], dim=-1))


def walk_the_tree(local: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Global rotations and places of all joints, one by one, from local rotations ``(..., 21, 3, 3)``."""
    turns, places = [local[..., 0, :, :]], [torch.zeros_like(local[..., 0, :, 0])]
    for joint, parent in enumerate(PARENTS[1:], start=1):
        turns.append(turns[parent] @ local[..., joint, :, :])
        places.append(places[parent] + (turns[parent] @ offsets[..., joint, :, None])[..., 0])
    return torch.stack(turns, dim=-3), torch.stack(places, dim=-2)


# -- training ------------------------------------------------------------------------------------------------


def set_weights(model: Retargeting, seed: int) -> None:
    """Fill all parameters by the rule of the reference vectors: one stream of numbers, parameters sorted by name."""
    stream = np.random.RandomState(seed)
    parameters = dict(model.named_parameters())
    for name in sorted(parameters):
        shape = tuple(parameters[name].shape)
        scale = 1 / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 0.02
        values = (stream.standard_normal(shape) * scale).astype(np.float32)
        parameters[name].data = torch.from_numpy(values).to(parameters[name])


def loss_features(golden: Path, dtype=torch.float32) -> dict[str, HandFeatures]:
    """The reference windows ``mixamo``, ``mano`` and ``mixamo_other`` as features ``(batch, time, …)``."""
    with np.load(golden / "losses" / "batch.npz") as arrays:
        return {
            name: split(name.removesuffix("_other"), torch.from_numpy(arrays[name]).mT.contiguous().to(dtype))
            for name in arrays.files
        }


def pair(first: HandFeatures, second: HandFeatures) -> SimpleNamespace:
    """A batch of two groups, as the data module delivers it."""
    return SimpleNamespace(first=first, second=second, share=1.0)


def collect_logs(model: Retargeting) -> dict[str, float]:
    """Let ``model`` log into the returned dictionary instead of a trainer."""
    logged: dict[str, float] = {}
    model.log_dict = lambda values, **_: logged.update({name: value.item() for name, value in values.items()})
    return logged
