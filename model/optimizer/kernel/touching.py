"""Touches of flesh, given to the compiled optimiser and had from it."""

from __future__ import annotations

from functools import cache
from math import prod

import numpy as np
import torch
from torch import Tensor

from model.flesh import (
    CAPSULE_PAIRS,
    CARRIERS,
    N_CAPSULE_PAIRS,
    N_CAPSULES,
    N_PARTS,
    PALM,
    PART_PAIRS,
    Flesh,
)
from model.hands import PosedHand, ShapedHand
from model.layout import common_shape
from model.optimizer.kernel import layout
from model.semantics import palm_length
from model.skin import SkinPoints
from model.topology import BONES_PER_FINGER, N_FINGER_JOINTS, N_FINGERS
from model.touch import TouchGoals, pairs_present


@cache
def table() -> np.ndarray:
    """``(88, TABLE)`` what the program is told of each pair of capsules; see :mod:`layout`."""
    result = np.zeros((N_CAPSULE_PAIRS, layout.TABLE), np.int64)
    for row, (first, second) in zip(result, CAPSULE_PAIRS, strict=True):
        part = first, min(second, PALM)
        row[layout.N_LEAST] = layout.R_LEAST + (first // BONES_PER_FINGER if second >= PALM else N_FINGERS)
        assert part in PART_PAIRS
        for side, capsule in enumerate((first, second)):
            finger, bone = divmod(capsule, BONES_PER_FINGER) if capsule < PALM else (0, -1)
            joint = CARRIERS[capsule] - 1
            frame = layout.R_FRAMES + 9 * joint if capsule < PALM else layout.R_PALM_FRAME
            row[layout.N_FIRST_END + side] = layout.R_ENDS + 6 * capsule
            row[layout.N_FIRST_FRAME + side] = frame
            row[layout.N_FIRST_RADII + side] = layout.R_FLESH + layout.CAPSULE * capsule + 6
            row[layout.N_FIRST_FINGER + side] = finger
            row[layout.N_FIRST_JOINTS + side] = bone + 1
            row[layout.N_PART + side] = N_PARTS * part[side] + part[1 - side]
    return result


def flesh_rows(flesh: Flesh, hand: ShapedHand, margin: Tensor | float = 0.0) -> tuple[np.ndarray, Tensor | None]:
    """What :mod:`layout` keeps of flesh, ``(n, FLESH)``, and, if there are several, their numbers, shaped as the
    leading dimensions."""
    axes = hand.axes.detach().double()
    margin = torch.as_tensor(margin, dtype=torch.double)
    lead = common_shape(flesh.radii.shape[:-2], axes.shape[:-4], margin.shape)
    ends, radii, flatness = (part.detach().double() for part in (flesh.ends, flesh.radii, flesh.flatness))
    frames = axes[..., :BONES_PER_FINGER, :, :].flatten(-4, -3).expand(*lead, PALM, 3, 3)
    ends = ends.expand(*lead, N_CAPSULES, 2, 3).clone()
    ends[..., :PALM, :, :] = (frames.unsqueeze(-3) @ ends[..., :PALM, :, :, None]).squeeze(-1)
    radii = radii.expand(*lead, N_CAPSULES, 2)
    flatness = flatness.expand(*lead, N_CAPSULES).unsqueeze(-1)
    capsules = torch.cat([ends.flatten(-2), radii[..., :1], radii.diff(dim=-1), flatness], dim=-1).flatten(-2)
    rows = torch.cat([capsules, margin.expand(lead).unsqueeze(-1)], dim=-1).reshape(-1, layout.FLESH).float().numpy()
    return rows, None if prod(lead) == 1 else torch.arange(prod(lead)).view(lead)


def skin_rows(skin: SkinPoints) -> np.ndarray:
    """What :mod:`layout` keeps of skin, one after the other."""
    points = torch.cat([skin.places, skin.normals, skin.spacing[:, None], skin.weights], dim=1)
    return torch.cat([points.flatten(), skin.joints.flatten()]).float().numpy()


def goal_rows(goals: TouchGoals) -> np.ndarray:
    """What :mod:`layout` keeps of goals ``(F, …)``: ``(F, 88, GOAL)``."""
    result = torch.zeros(*goals.gap.shape, layout.GOAL)
    result[..., layout.G_GAP], result[..., layout.G_AIM] = goals.gap, goals.aim
    result[..., layout.G_ALONG : layout.G_AROUND] = goals.along.mT
    result[..., layout.G_AROUND : layout.G_EXCESS] = goals.around.flatten(-3, -2).mT
    return result.numpy()


def pair_shares(present: Tensor | None) -> np.ndarray:
    """``(88,)`` which pairs of capsules count."""
    if present is None:
        return np.ones(N_CAPSULE_PAIRS, np.float32)
    return pairs_present(present).numpy().astype(np.float32)


def points_and_frames(posed: PosedHand) -> tuple[np.ndarray, np.ndarray]:
    """Finger joints ``(F, 60)`` in palm lengths and their frames ``(F, 180)``, poses flattened."""
    joints = posed.joints[..., 1:, :] / palm_length(posed.joints)[..., None, None]
    frames = posed.frames.expand(*joints.shape[:-2], *posed.frames.shape[-3:])
    return joints.reshape(-1, 3 * N_FINGER_JOINTS).numpy(), frames.reshape(-1, 9 * N_FINGER_JOINTS).numpy()
