"""Hands that are followed frame by frame: the latency of 100,000 frames, one hand and both, beside a 90 Hz loop."""

from __future__ import annotations

import time

import numpy as np

from benchmarks.optimizer import INPUTS, angles_of_motion
from benchmarks.timing import row
from data.character.reading import read_annotated
from data.motion.live import Retargeter
from model.kinematics import tbs_from_angles

FRAMES = 100_000
BUDGET = 1e3 / 90


def run() -> list[dict]:
    """Measure; rows with name, value, unit, reference and ratio."""
    characters = (
        (INPUTS / f"{name}_mesh_data.npz", INPUTS / f"{name}_finger_axis.npz") for name in ("Aj", "BigVegas")
    )
    source, target = (read_annotated(*files) for files in characters)
    tbs = tbs_from_angles(angles_of_motion()[0])
    both = np.stack([_own(source.hands[side], tbs) for side in ("right", "left")], axis=1)
    rows = []
    for title, sides in (("one hand", ("right",)), ("both hands", ("right", "left"))):
        retargeter = Retargeter(source, target, sides)
        frames = list(np.ascontiguousarray(both[:, : len(sides)]))
        frames += frames[::-1]  # there and back, so that nothing jumps
        seconds = np.empty(FRAMES)
        for number in range(-100, FRAMES):
            frame = frames[number % len(frames)]
            start = time.perf_counter()
            retargeter(frame)
            if number >= 0:
                seconds[number] = time.perf_counter() - start
        for name, share in (("median", 0.5), ("99 %", 0.99), ("worst", 1.0)):
            ms = float(np.quantile(seconds, share)) * 1e3
            rows.append(row(f"stream, {title}, {name}", ms, "ms", "a frame at 90 Hz", BUDGET / ms))
    return rows


def _own(hand, tbs) -> np.ndarray:
    """(F, 5, 3, 3, 3) rotations in the character's own axes."""
    local = hand.shaped.with_tbs(tbs).local.double().numpy()
    return (hand.rest.turn.T @ local @ hand.rest.turn).astype(np.float32)
