"""Composed motion without skin inside skin: the optimiser gives each hand its own motion, and keeps out of its flesh.

Nothing is asked but what the motion is already, its touches, and that no part be deeper in another than soft skin is.
"""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from data.character.flesh import skin_points
from data.rig.surface import HandSurface
from model.flesh import N_PHALANGES, Flesh, flesh_of_radii
from model.hands import ShapedHand
from model.optimizer import TOUCH_SMOOTHNESS, TOUCH_STEPS, OptimizerSettings, optimise, touch_goals
from model.optimizer.kernel.solver import PROGRAM
from model.topology import BONES_PER_FINGER, JOINTS_PER_FINGER, N_FINGERS, ROOTS
from model.touch import PRESSED
from utils.threads import torch_threads


def cleaned(hand: ShapedHand, surface: HandSurface, local: Tensor, rate: float) -> Tensor:
    """Local rotations ``(F, 5, 3, 3, 3)`` near those given, with skin at most so deep in skin as it gives.

    Args:
        hand: without leading dimensions, float32; surface: its skin at rest.
        local: the motion, float32.
        rate: frames per second.
    """
    PROGRAM.functions()  # compiled at once: a data set is worth it
    flesh = bare_flesh(surface)
    skin = skin_points(surface, flesh)
    settings = OptimizerSettings(
        keep_start=True, smoothness=TOUCH_SMOOTHNESS, coupled_steps=TOUCH_STEPS, frame_rate=rate
    )
    with torch_threads(os.cpu_count() or 1):  # how many makes no difference to the result
        # Joints that follow from a surface move with the pose, which the search takes account of from time to time.
        for _ in range(1 if hand.surface is None else 2):
            posed = hand.with_local_rotations(local)
            goals = touch_goals(posed, flesh, flesh, skin, skin)
            goals = replace(goals, gap=goals.gap.clamp(min=-PRESSED), aim=goals.gap.clamp(min=0))
            local = optimise(hand, posed.semantic_matrix(), posed.tbs, settings, touches=goals).local
    return local


def bare_flesh(surface: HandSurface) -> Flesh:
    """Flesh by straight lines through the skin of each phalanx, of its middle and of how far it is from there: a
    hundredth of the time of a fit."""
    joints = (surface.joints - surface.joints[0]).astype(np.float64)
    palm = float(np.linalg.norm(joints[ROOTS[0]]))
    points, owner = (surface.vertices - surface.joints[0]) / palm, surface.weights.argmax(axis=1)
    joints /= palm
    offsets = joints.copy()
    fingers = offsets[1:].reshape(N_FINGERS, JOINTS_PER_FINGER, 3)
    fingers[:, 1:] -= joints[1:].reshape(N_FINGERS, JOINTS_PER_FINGER, 3)[:, :-1]
    flesh = flesh_of_radii(torch.from_numpy(offsets))
    for phalanx in range(N_PHALANGES):
        finger, bone = divmod(phalanx, BONES_PER_FINGER)
        carrier = 1 + JOINTS_PER_FINGER * finger + bone
        mine = points[owner == carrier] - joints[carrier]
        if len(mine):
            ends, radii = _through(mine, offsets[carrier + 1], bone == BONES_PER_FINGER - 1)
            flesh.ends[phalanx], flesh.radii[phalanx] = torch.from_numpy(ends), torch.from_numpy(radii)
    return Flesh(flesh.ends.float(), flesh.radii.float(), torch.zeros(len(flesh.radii)))


def _through(points: np.ndarray, bone: np.ndarray, last: bool) -> tuple[np.ndarray, np.ndarray]:
    """Ends (2, 3) and radii (2,) of a capsule along a bone through the middle of points (n, 3) about it."""
    length = float(np.linalg.norm(bone))
    axis = bone / length
    share = np.clip(points @ axis / length, 0, 1)
    across = points - np.outer(points @ axis, axis)
    lines = np.column_stack([1 - share, share])
    middles = np.linalg.lstsq(lines, across, rcond=None)[0]
    away = np.linalg.norm(across - lines @ middles, axis=1)
    side = points @ axis < 0.8 * length if last else np.ones(len(points), bool)  # at the tip skin closes
    radii = np.linalg.lstsq(lines[side], away[side], rcond=None)[0].clip(0.02, 0.3)
    if not last:
        return middles + np.outer([0, 1], bone), radii
    # The last sphere ends where the skin does.
    end = max(float((points @ axis).max()) - radii[1], 0.3 * length)
    radii[1] = radii[0] + (radii[1] - radii[0]) * min(end / length, 1)
    return middles + np.outer([0, end], axis), radii
