"""The feature row of one frame of one hand: the only place that knows its column numbers (mathematics §4).

A row is float32 and holds, one after the other: what does not change with the pose (bone offsets of a Mixamo
character in centimetres, or ten MANO shape components), the transposed anatomical axes, local rotations and
twist-bend-splay rotations as quaternions (w, x, y, z), and the semantic matrix towards finger joints and
palm. :class:`HandFeatures` names these parts; they are views of the rows, so that a batch is copied and moved
as one tensor.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np
import torch
from pytorch3d.transforms import matrix_to_quaternion, standardize_quaternion
from torch import Tensor

from model import presence
from model.hands import ShapedHand
from model.kinematics import finger_part, fingers_of, with_wrist_and_tips
from model.layout import common_shape
from model.mano import ManoHand
from model.semantics import SemanticMatrix
from model.topology import (
    BONES_PER_FINGER,
    DOMAINS,
    JOINTS_PER_FINGER,
    N_ANCHORS,
    N_FINGER_JOINTS,
    N_FINGERS,
    N_JOINTS,
    N_SHAPE,
)
from utils.errors import InputError
from utils.threads import torch_threads

CHUNK = 1024
"""Frames computed at once: large enough to keep the processor busy, small enough to stay in its cache."""

_STATIC = {"mixamo": ("offsets", (N_JOINTS, 3)), "mano": ("shape", (N_SHAPE,))}
_PER_FRAME = (
    ("axes_t", (N_FINGERS, JOINTS_PER_FINGER, 3, 3)),
    ("local_rotations", (N_JOINTS, 4)),
    ("tbs", (N_FINGERS, BONES_PER_FINGER, 4)),
    ("finger_coords", (N_FINGER_JOINTS, N_FINGER_JOINTS, 3)),
    ("palm_coords", (N_FINGER_JOINTS, N_ANCHORS, 3)),
)


def _columns(domain: str) -> dict[str, tuple[slice, tuple[int, ...]]]:
    columns, start = {}, 0
    for name, shape in (_STATIC[domain], *_PER_FRAME):
        columns[name] = (slice(start, start + prod(shape)), shape)
        start += prod(shape)
    return columns


_COLUMNS = {domain: _columns(domain) for domain in DOMAINS}
_CHANNELS = {domain: max(part.stop for part, _ in _COLUMNS[domain].values()) for domain in DOMAINS}


def channels(domain: str) -> int:
    """Numbers in a row of a domain: 2127 for ``"mixamo"``, 2074 for ``"mano"``."""
    return _CHANNELS[domain]


def domain_of(n_channels: int) -> str | None:
    """The domain whose rows have this many numbers, or None. Published files do not name theirs."""
    return next((domain for domain in DOMAINS if channels(domain) == n_channels), None)


@dataclass
class HandFeatures:
    """Features of posed hands, as named views of their rows.

    ``rows`` is ``(..., channels)``; ``...`` is usually ``(batch, time)``. Only one of ``offsets`` and
    ``shape`` exists, as the domain says. Lengths are in centimetres; everything else has no unit.

    ``present (..., 21)`` bool says which joints the hands have; None: all. Of a joint that is missing, offset, axes
    and coordinates are zero and rotations the identity.
    """

    domain: str
    side: str
    rows: Tensor
    present: Tensor | None = None

    @property
    def offsets(self) -> Tensor:
        """``(..., 21, 3)`` bone offsets of a Mixamo character, cm, from the parent joint at rest."""
        return self.part("offsets")

    @property
    def shape(self) -> Tensor:
        """``(..., 10)`` shape components of a MANO hand."""
        return self.part("shape")

    @property
    def axes_t(self) -> Tensor:
        """``(..., 5, 4, 3, 3)`` anatomical axes transposed, Q: columns twist, bend, splay."""
        return self.part("axes_t")

    @property
    def axes(self) -> Tensor:
        """``(..., 5, 4, 3, 3)`` anatomical axes: rows twist, bend, splay."""
        return self.axes_t.transpose(-1, -2)

    @property
    def local_rotations(self) -> Tensor:
        """``(..., 21, 4)`` local rotations as quaternions of either sign; the wrist is the identity."""
        return self.part("local_rotations")

    @property
    def tbs(self) -> Tensor:
        """``(..., 5, 3, 4)`` twist-bend-splay rotations as quaternions with w ≥ 0."""
        return self.part("tbs")

    @property
    def semantic_matrix(self) -> SemanticMatrix:
        """Finger joints and palm anchors seen from each finger joint, in palm lengths."""
        return SemanticMatrix(self.part("finger_coords"), self.part("palm_coords"))

    @property
    def batch_shape(self) -> torch.Size:
        """The leading dimensions ``...``."""
        return self.rows.shape[:-1]

    def __getitem__(self, index) -> HandFeatures:
        """Index the leading dimensions."""
        index = index if isinstance(index, tuple) else (index,)
        present = None if self.present is None else self.present[index]
        return replace(self, rows=self.rows[index], present=present)

    def to(self, *args, **kwargs) -> HandFeatures:
        """Move or cast as :meth:`torch.Tensor.to` does, in one copy."""
        rows = self.rows.to(*args, **kwargs)
        return replace(self, rows=rows, present=None if self.present is None else self.present.to(rows.device))

    def pin_memory(self) -> HandFeatures:
        """The same features in page-locked memory."""
        present = None if self.present is None else self.present.pin_memory()
        return replace(self, rows=self.rows.pin_memory(), present=present)

    def frames_apart(self) -> HandFeatures:
        """Features ``(batch, time, …)`` with every frame as a window of its own, ``(batch · time, 1, …)``."""
        rows, present = (
            None if part is None else part.flatten(0, 1).unsqueeze(1) for part in (self.rows, self.present)
        )
        return replace(self, rows=rows, present=present)

    def part(self, name: str) -> Tensor:
        """The part called ``name``, a view; AttributeError if the domain has none."""
        columns = _COLUMNS[self.domain]
        if name not in columns:
            raise AttributeError(f"hands of domain {self.domain!r} have no {name!r}")
        part, shape = columns[name]
        return self.rows[..., part].unflatten(-1, shape)


def split(domain: str, rows: Tensor, side: str = "right", present: Tensor | None = None) -> HandFeatures:
    """Name the parts of ``rows (..., channels)`` without copying them; ``present (..., 21)`` as in the result.

    Raises:
        ValueError: the last dimension is not that of the domain.
    """
    if rows.shape[-1] != channels(domain):
        raise ValueError(f"rows of {domain} have {channels(domain)} channels; got shape {tuple(rows.shape)}")
    return HandFeatures(domain, side, rows, present)


def pack(domain: str, side: str = "right", **parts: Tensor) -> HandFeatures:
    """Put rows together from their named parts, the inverse of :func:`split`.

    Args:
        domain: ``"mixamo"`` or ``"mano"``.
        side: ``"right"`` or ``"left"``.
        parts: every part of the domain's row under its name in :class:`HandFeatures`; leading dimensions
            broadcast.
    """
    columns = _COLUMNS[domain]
    if parts.keys() != columns.keys():
        raise ValueError(f"a row of {domain} has the parts {sorted(columns)}; got {sorted(parts)}")
    flat = [_flattened(name, parts[name], shape) for name, (_, shape) in columns.items()]
    batch = common_shape(*(part.shape[:-1] for part in flat))
    return HandFeatures(domain, side, torch.cat([part.expand(*batch, -1) for part in flat], dim=-1))


def _flattened(name: str, part: Tensor, shape: tuple[int, ...]) -> Tensor:
    batch = part.shape[: part.ndim - len(shape)]
    if tuple(part.shape[len(batch) :]) != shape:
        raise ValueError(f"{name} must end with {shape}; got {tuple(part.shape)}")
    return part.reshape(*batch, prod(shape))


@torch.inference_mode()
def compute_features(
    hand: ManoHand | ShapedHand, local_rotations: np.ndarray, shapes: np.ndarray | None = None
) -> np.ndarray:
    """Feature rows of a motion (mathematics §3, §4), computed in the floating-point type of the hand.

    Args:
        hand: a Mixamo character (a shaped hand without batch dimensions, offsets in cm), or a MANO hand before
            it is shaped.
        local_rotations: ``(frames, 21, 3, 3)`` local rotations in hand order; wrist and tips are ignored.
        shapes: ``(frames, 10)`` MANO shape of every frame; None: the mean shape. Only for a MANO hand.

    Returns:
        ``(frames, channels)`` float32.

    Raises:
        InputError: ``shapes`` has not one row of ten numbers per frame.
    """
    frames = len(local_rotations)
    shapes = np.zeros((frames, N_SHAPE)) if shapes is None else np.asarray(shapes)
    if isinstance(hand, ManoHand):
        domain, dtype = "mano", hand.dtype
        if shapes.shape != (frames, N_SHAPE):
            raise InputError(
                f"expected a shape of {N_SHAPE} numbers for each of {frames} frames, found an array {shapes.shape}"
            )
    else:
        domain, dtype = "mixamo", hand.offsets.dtype
    rows = np.empty((frames, channels(domain)), dtype=np.float32)
    with torch_threads(1):
        for start in range(0, frames, CHUNK):
            chunk = slice(start, start + CHUNK)
            local = torch.as_tensor(local_rotations[chunk]).to(dtype)
            out = torch.from_numpy(rows[chunk])
            if isinstance(hand, ManoHand):
                betas = _shared_shape(torch.as_tensor(shapes[chunk]).to(dtype))
                _fill_rows(split("mano", out, hand.side), hand.with_shape(betas), local, shape=betas)
            else:
                offsets = hand.offsets
                if hand.present is not None:
                    offsets = presence.without_stand_ins(offsets, hand.present)
                _fill_rows(split("mixamo", out, hand.side), hand, local, offsets=offsets)
    return rows


def _shared_shape(shapes: Tensor) -> Tensor:
    """Shapes rarely change within a clip: ``(10,)`` if they are all the same, so that it is shaped once."""
    return shapes[0] if (shapes == shapes[0]).all() else shapes


def _fill_rows(features: HandFeatures, hand: ShapedHand, local: Tensor, **static: Tensor) -> None:
    posed = hand.with_local_rotations(finger_part(local))
    matrix = posed.semantic_matrix()
    axes = hand.axes
    if hand.present is not None:
        axes = axes * fingers_of(hand.present.unsqueeze(-1)).unsqueeze(-1)
    parts = {
        **static,
        "axes_t": axes.transpose(-1, -2),
        "local_rotations": matrix_to_quaternion(with_wrist_and_tips(posed.local)),
        "tbs": standardize_quaternion(matrix_to_quaternion(posed.tbs)),
        "finger_coords": matrix.finger,
        "palm_coords": matrix.palm,
    }
    for name, values in parts.items():
        features.part(name).copy_(values)
