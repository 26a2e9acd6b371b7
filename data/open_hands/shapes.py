"""The written hand shapes of `shapes.yaml` as tensors: angles and contacts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from torch import Tensor

from data.open_hands.contacts import N_ANGLES, NEAR_WEIGHT, Contacts
from model.topology import FINGERS, JOINTS_PER_FINGER
from utils.errors import InputError

TABLE = Path(__file__).parent / "shapes.yaml"


@dataclass(frozen=True)
class HandShapes:
    """All shapes: ``names``, ``angles (n, 5, 4)`` in radians, their contacts, and which have touching fingertips."""

    names: list[str]
    angles: Tensor
    contacts: Contacts
    touching: Tensor  # (n,) bool

    @staticmethod
    def load(path: Path = TABLE) -> HandShapes:
        """Read the table.

        Raises:
            InputError: a shape is not written as the table's head explains.
        """
        table = yaml.safe_load(path.read_text(encoding="utf-8"))
        shapes = table["shapes"]
        angles = [
            [_angles(path, name, shape, finger, table["presets"]) for finger in FINGERS]
            for name, shape in shapes.items()
        ]
        rows = [_contacts(path, name, shape) for name, shape in shapes.items()]
        width = max(len(row) for row in rows)
        padded = [row + [((0, 0), 0.0, 0.0)] * (width - len(row)) for row in rows]
        contacts = Contacts(
            pairs=torch.tensor([[pair for pair, _, _ in row] for row in padded]),
            distance=torch.tensor([[distance for _, distance, _ in row] for row in padded], dtype=torch.float64),
            weight=torch.tensor([[weight for _, _, weight in row] for row in padded], dtype=torch.float64),
        )
        touching = ((contacts.weight > 0) & (contacts.distance == 0)).any(-1)
        return HandShapes(list(shapes), torch.tensor(angles, dtype=torch.float64).deg2rad(), contacts, touching)

    def contacts_of(self, numbers: Tensor) -> Contacts:
        """Contacts of the shapes ``numbers (N,)``."""
        return Contacts(self.contacts.pairs[numbers], self.contacts.distance[numbers], self.contacts.weight[numbers])


def _angles(path: Path, name: str, shape: dict, finger: str, presets: dict) -> list[float]:
    written = shape.get(finger)
    if isinstance(written, str):
        preset, _, splay = written.partition("/")
        kind = "thumb" if finger == "thumb" else "finger"
        written = presets[kind].get(preset)
        if written is not None and splay:
            written = [*written[:3], float(splay)]
    if not isinstance(written, list) or len(written) != N_ANGLES:
        raise InputError(f"{path}: shape '{name}': '{finger}' should be {N_ANGLES} angles or a preset's name.")
    return [float(angle) for angle in written]


def _contacts(path: Path, name: str, shape: dict) -> list[tuple[tuple[int, int], float, float]]:
    rows = [(a, b, 0.0, 1.0) for a, b in shape.get("touch", [])]
    rows += [(a, b, float(distance), NEAR_WEIGHT) for a, b, distance in shape.get("near", [])]
    return [((_joint(path, name, a), _joint(path, name, b)), distance, weight) for a, b, distance, weight in rows]


def _joint(path: Path, name: str, text: str) -> int:
    finger, number = (text[:-1], int(text[-1])) if text[-1].isdigit() else (text, JOINTS_PER_FINGER)
    if finger not in FINGERS or not 1 <= number <= JOINTS_PER_FINGER:
        raise InputError(f"{path}: shape '{name}': '{text}' is no joint; write a finger, or a finger and 1 to 4.")
    return 1 + JOINTS_PER_FINGER * FINGERS.index(finger) + number - 1
