"""Weights as safetensors files: those that come with the program (`weights/`), and any others written in this form.

A file holds the weights of one network and, as its metadata, what builds it. Matrices may be kept in eight bits, each
row with a scale of its own, or in half precision. Nothing in such a file can be run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from model.methods import METHODS, of_kind, title_of
from utils.errors import InputError
from utils.files import atomic_write

FOLDER = Path(__file__).resolve().parents[2] / "weights"
ENDING = ".safetensors"
SCALE = ".scale"
MOST_NUMBERS = 100_000_000
"""Weights that a file may have, all together; fourteen times those of ASRN."""
MOST_TENSORS = 10_000


def open_weights(method: str) -> Path | None:
    """The file of a network that comes with the program; None if there is none."""
    path = FOLDER / f"{method}{ENDING}"
    return path if path.is_file() else None


def all_open_weights() -> dict[str, Path]:
    """The files of all networks that come with the program, by method."""
    found = {name: open_weights(name) for name in of_kind("network")}
    return {name: path for name, path in found.items() if path is not None}


def read_weights(path: str | Path) -> dict[str, Any]:
    """What :func:`utils.safe_read.load_checkpoint` gives of a checkpoint: state_dict and hyper_parameters.

    Raises:
        InputError: the file is missing, damaged or of another form.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: expected a file of weights, but it does not exist; give another one")
    try:
        with safe_open(str(path), framework="pt") as file:
            built = json.loads((file.metadata() or {}).get("hyper_parameters", ""))
            names = list(file.keys())
            if len(names) > MOST_TENSORS:
                raise InputError(
                    f"{path}: expected at most {MOST_TENSORS} tensors, found {len(names)}; give another file"
                )
            sizes = {name: file.get_slice(name).get_shape() for name in names}
            if sum(torch.Size(size).numel() for size in sizes.values()) > MOST_NUMBERS:
                raise InputError(f"{path}: expected at most {MOST_NUMBERS} weights; give another file")
            kept = {name: file.get_tensor(name) for name in sizes}
    except (SafetensorError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: expected safetensors with hyper_parameters in their metadata, found something else "
            f"({' '.join(str(error).split())[:100]}); fetch or write it again"
        ) from None
    return {"hyper_parameters": built, "state_dict": _unpacked(kept, path)}


def write_weights(path: Path, method: str, checkpoint: Mapping[str, Any], eight_bits: bool) -> None:
    """Write the weights of a checkpoint, completely or not at all.

    Args:
        path: to write.
        method: whose they are; of its hyper-parameters those are kept that build the network.
        checkpoint: with state_dict and hyper_parameters.
        eight_bits: matrices in eight bits; otherwise everything in half precision.
    """
    network = METHODS[method].network_of(checkpoint["hyper_parameters"])
    names = _once(network.state_dict())
    kept: dict[str, Tensor] = {}
    for name in names:
        weight = checkpoint["state_dict"][name].detach().float()
        if eight_bits and weight.ndim > 1:
            scale = weight.flatten(1).abs().amax(1).clamp_min(1e-12) / 127
            kept[name + SCALE] = scale
            kept[name] = (weight / scale.view(-1, *[1] * (weight.ndim - 1))).round().to(torch.int8)
        else:
            kept[name] = weight.float() if eight_bits else weight.half()
    built = {name: value for name, value in checkpoint["hyper_parameters"].items() if _plain(name, value)}
    about = {"format": "pt", "method": title_of(method), "hyper_parameters": json.dumps(built)}
    with atomic_write(path) as temporary:
        save_file({name: value.contiguous() for name, value in kept.items()}, str(temporary), about)


def _plain(name: str, value: Any) -> bool:
    """Whether a hyper-parameter is of the network, and not of a training or a folder."""
    return isinstance(value, int | float | str) and not name.endswith("_path")


def _once(weights: Mapping[str, Tensor]) -> list[str]:
    """Names of weights, of those that are the same tensor the first."""
    found: dict[int, str] = {}
    for name, value in weights.items():
        found.setdefault(value.data_ptr(), name)
    return list(found.values())


def _unpacked(kept: Mapping[str, Tensor], path: str | Path) -> dict[str, Tensor]:
    weights = {}
    for name, value in kept.items():
        if name.endswith(SCALE):
            continue
        scale = kept.get(name + SCALE)
        if (scale is None) == (value.dtype == torch.int8) or scale is not None and scale.shape != value.shape[:1]:
            raise InputError(f"{path}: expected a scale for each row of {name}, found none; fetch or write it again")
        value = value.float()
        weights[name] = value if scale is None else value * scale.float().view(-1, *[1] * (value.ndim - 1))
    return weights
