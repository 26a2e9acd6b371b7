"""Motion of an open hand: solved shapes held for a while, minimum-jerk transitions between them.

Every hold has a solved beginning and end, slightly different, so that nothing stands quite still and touching
fingers stay together. The shapes, their variation and the timing are drawn by a hand's own random generator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data.open_hands.contacts import N_ANGLES, Solution, limits, solve
from data.open_hands.shapes import HandShapes
from model.hands import ShapedHand
from model.topology import N_FINGERS, THUMB

HOLD_SECONDS = (0.8, 1.3)
TRANSITION_SECONDS = (0.35, 0.75)
TOUCHING_SHARE = 0.64
"""Share of the shapes of a motion that have touching fingertips."""
FINGER_LAG = 0.25
"""A finger starts late, and arrives early, by up to this share of a transition."""
_HABIT, _VARIATION, _DRIFT = 3.0, 6.0, 4.0  # degrees: of a hand, of a performance, within a hold
_SPLAY_SHARE = 0.4  # splay varies less than bend
_SPARE = 1.5  # shapes drawn for each that fits, since some are out of a hand's reach
_CHUNK = 512

Hands = Callable[[Tensor], ShapedHand]
"""Gives the batch of hands with the numbers ``(N,)``."""


@dataclass(frozen=True)
class Performance:
    """The shapes that one hand shall perform: numbers ``(n,)``, wanted angles at begin and end ``(n, 2, 5, 4)``."""

    shapes: np.ndarray
    wanted: np.ndarray
    holds: np.ndarray  # (n,) seconds
    transitions: np.ndarray  # (n,) seconds, before each hold
    lags: np.ndarray  # (n, 2, 5) seconds each finger arrives early, and leaves late


@dataclass(frozen=True)
class Solved:
    """What solving gave: per hand the accepted shapes' angles, and which shapes were refused."""

    angles: list[np.ndarray]  # (n, 2, 5, 4) of each hand
    accepted: list[np.ndarray]  # (n,) of each hand
    touch_error: float  # largest distance of accepted touches, palm lengths


def perform(shapes: HandShapes, seconds: float, random: np.random.Generator) -> Performance:
    """Draw what a hand performs: enough shapes for ``seconds``, each shape about as often as the others."""
    period = np.mean(HOLD_SECONDS) + np.mean(TRANSITION_SECONDS)
    count = int(np.ceil(_SPARE * seconds / period)) + 2
    touching = shapes.touching.numpy()
    decks = {kind: _deck(np.flatnonzero(touching == kind), count, random) for kind in (True, False)}
    kinds = random.random(count) < TOUCHING_SHARE
    chosen = np.array([decks[bool(kind)].pop() for kind in kinds])
    scale = np.ones((N_FINGERS, N_ANGLES))
    scale[:THUMB, -1] = _SPLAY_SHARE
    habit = random.normal(0, _HABIT, (N_FINGERS, N_ANGLES))
    variation = random.normal(0, _VARIATION, (count, 1, N_FINGERS, N_ANGLES))
    drift = random.normal(0, _DRIFT, (count, 1, N_FINGERS, N_ANGLES)) * np.array([-0.5, 0.5])[:, None, None]
    wanted = shapes.angles.numpy()[chosen][:, None] + np.radians(scale * (habit + variation + drift))
    transitions = random.uniform(*TRANSITION_SECONDS, count)
    lags = random.uniform(0, FINGER_LAG, (count, 2, N_FINGERS)) * transitions[:, None, None]
    return Performance(chosen, wanted, random.uniform(*HOLD_SECONDS, count), transitions, lags)


def solve_all(hands: Hands, shapes: HandShapes, performances: list[Performance], report=lambda n: None) -> Solved:
    """Solve the performances of all hands at once; a shape is kept if its begin and its end are within reach."""
    owner = np.concatenate([np.full(2 * len(p.shapes), i) for i, p in enumerate(performances)])
    number = torch.as_tensor(np.concatenate([np.repeat(p.shapes, 2) for p in performances]))
    wanted = torch.as_tensor(np.concatenate([p.wanted.reshape(-1, N_FINGERS, N_ANGLES) for p in performances]))
    contacts = shapes.contacts_of(number)
    low, high = limits()
    solution = Solution(wanted.clamp(low, high), torch.zeros_like(contacts.distance))
    pending = (contacts.weight > 0).any(-1).nonzero()[:, 0]  # the others are what they should be
    report(len(owner) - len(pending))
    for rows in pending.split(_CHUNK):
        part = solve(hands(torch.as_tensor(owner)[rows]), wanted[rows], shapes.contacts_of(number[rows]))
        solution.angles[rows], solution.error[rows] = part.angles, part.error
        report(len(rows))
    accepted = solution.accepted(contacts).unflatten(0, (-1, 2)).all(1)
    touches = (contacts.distance == 0) & (contacts.weight > 0) & accepted.repeat_interleave(2)[:, None]
    ends = np.cumsum([len(p.shapes) for p in performances])[:-1]
    return Solved(
        np.split(solution.angles.unflatten(0, (-1, 2)).numpy(), ends),
        np.split(accepted.numpy(), ends),
        float(solution.error[touches].max()) if bool(touches.any()) else 0.0,
    )


def angles_over_time(
    performance: Performance, angles: np.ndarray, accepted: np.ndarray, seconds: float, rate: float
) -> np.ndarray:
    """Angles ``(frames, 5, 4)`` of a hand, sampled at ``rate`` per second.

    Raises:
        ValueError: fewer shapes were within reach than the motion is long.
    """
    kept = np.flatnonzero(accepted)
    if not len(kept):
        raise ValueError(f"none of {len(accepted)} shapes is within the hand's reach")
    holds, transitions = performance.holds[kept], performance.transitions[kept]
    arrive = np.cumsum(transitions + np.concatenate([[0], holds[:-1]])) - transitions[0]
    leave = arrive + holds
    if leave[-1] < seconds:
        raise ValueError(f"only {len(kept)} of {len(accepted)} shapes are within the hand's reach")
    early, late = performance.lags[kept, 0], performance.lags[kept, 1]  # (n, 5)
    late = np.concatenate([late[1:], late[-1:]])  # leaving belongs to the next transition
    times = np.stack(
        [
            arrive[:, None] - early,
            np.tile(arrive[:, None], N_FINGERS),
            np.tile(leave[:, None], N_FINGERS),
            leave[:, None] + late,
        ],
        axis=1,
    ).reshape(-1, N_FINGERS)
    keys = angles[kept][:, [0, 0, 1, 1]].reshape(-1, N_FINGERS, N_ANGLES)
    frames = np.arange(round(seconds * rate)) / rate
    result = np.empty((len(frames), N_FINGERS, N_ANGLES))
    for finger in range(N_FINGERS):
        moment = times[:, finger]
        before = np.clip(np.searchsorted(moment, frames, side="right") - 1, 0, len(moment) - 2)
        span = moment[before + 1] - moment[before]
        phase = np.clip((frames - moment[before]) / np.where(span > 0, span, 1), 0, 1)
        share = _minimum_jerk(phase)[:, None]
        result[:, finger] = (1 - share) * keys[before, finger] + share * keys[before + 1, finger]
    return result


def _minimum_jerk(phase: np.ndarray) -> np.ndarray:
    """From 0 to 1 with velocity and acceleration zero at both ends (Flash and Hogan 1985)."""
    return phase**3 * (10 - 15 * phase + 6 * phase**2)


def _deck(numbers: np.ndarray, count: int, random: np.random.Generator) -> list[int]:
    rounds = -(-count // len(numbers))
    return np.concatenate([random.permutation(numbers) for _ in range(rounds)]).tolist()
