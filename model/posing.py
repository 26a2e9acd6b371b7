"""What the methods do that need no network: a task, and the poses that each of them makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from model.hands import PosedHand, ShapedHand
from model.optimizer import CONTACT_WEIGHT, SMOOTHNESS, TOUCH_SMOOTHNESS, TOUCH_STEPS, OptimizerSettings, optimise
from model.semantics import SemanticMatrix
from model.touch import TouchGoals


@runtime_checkable
class Motion(Protocol):
    """What a method is given of the hand that moves, in any number of poses ``(...)``."""

    @property
    def local(self) -> Float[Tensor, "... 5 3 3 3"]:
        """``(..., 5, 3, 3, 3)`` local rotations."""
        ...

    @property
    def tbs(self) -> Float[Tensor, "... 5 3 3 3"]:
        """``(..., 5, 3, 3, 3)`` twist-bend-splay rotations."""
        ...

    @property
    def semantic_matrix(self) -> SemanticMatrix:
        """``(..., 20, 20 | 9, 3)``."""
        ...


@dataclass(frozen=True)
class Task:
    """What a method is asked to do."""

    target: ShapedHand
    """The hand that shall mean the same; its leading dimensions fit those of the motion."""
    source: Motion
    present: Bool[Tensor, "... 21"] | None = None
    """``(21,)`` or ``(batch, time or 1, 21)`` bool, joints that both hands have; None: all."""
    frame_rate: float | None = None
    """Of frames ``(F,)`` that follow each other: the result is to be as smooth, and soon there. None: the windows of a
    table, of which each frame is to be as good as the method can make it."""
    iterations: int = OptimizerSettings.iterations
    """Steps of a search, at most, where there is a frame rate."""
    touches: TouchGoals | Sequence[TouchGoals | None] | None = None
    """The source's touches by flesh, for what closes touches, or those of each window; None: fingertips' joints stand
    for them."""


def rotation_copy(task: Task) -> PosedHand:
    """The source's local rotations."""
    return task.target.with_local_rotations(task.source.local)


def tbs_copy(task: Task) -> PosedHand:
    """The source's twist-bend-splay rotations."""
    return task.target.with_tbs(task.source.tbs)


def optimised(task: Task, contact_weight: float = 0.0, start: Float[Tensor, "... 5 3 3 3"] | None = None) -> PosedHand:
    """The optimiser's poses, from a copy of the source's twist-bend-splay rotations or from others."""
    begin = task.source.tbs if start is None else start
    touches = task.touches if contact_weight else None
    if task.frame_rate is None:
        settings = OptimizerSettings.converged(contact_weight=contact_weight)
    else:
        settings = OptimizerSettings(
            iterations=task.iterations,
            contact_weight=contact_weight,
            smoothness=(TOUCH_SMOOTHNESS if touches else SMOOTHNESS) if len(begin) > 1 else 0.0,
            coupled_steps=TOUCH_STEPS if touches else OptimizerSettings.coupled_steps,
            frame_rate=task.frame_rate,
            keep_start=True,  # what the source does beyond usual limits, it does on purpose
        )
    if touches is None or isinstance(touches, TouchGoals):
        return optimise(task.target, task.source.semantic_matrix, begin, settings, task.present, touches)
    return _each_with_its_touches(task, settings, begin, touches)


def _each_with_its_touches(
    task: Task, settings: OptimizerSettings, begin: Tensor, touches: Sequence[TouchGoals | None]
) -> PosedHand:
    """The same of windows ``(batch, time)`` between hands of different skins, one after the other."""
    tbs = begin.clone()
    for number, goals in enumerate(touches):
        one = torch.tensor([number])
        present = task.present if task.present is None or task.present.ndim < 2 else task.present[one]
        goals = None if goals is None else goals.at(None)
        hand, matrix = task.target.of_items(one), task.source.semantic_matrix.at(one)
        tbs[one] = optimise(hand, matrix, begin[one], settings, present, goals).tbs
    return task.target.with_tbs(tbs)


def optimised_with_contacts(task: Task) -> PosedHand:
    """The same, and what touches in the source touches."""
    return optimised(task, CONTACT_WEIGHT)
