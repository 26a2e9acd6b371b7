"""One motion of one hand given to another hand, by any method: copies, networks, optimiser, networks refined by it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from model.flesh import Flesh
from model.hands import PosedHand, ShapedHand
from model.measures import Scores, measure
from model.methods import CLOSING, named
from model.optimizer import CONTACT_WEIGHT, SMOOTHNESS, TOUCH_SMOOTHNESS, OptimizerSettings, optimise, touch_goals
from model.optimizer.kernel import solver
from model.posing import Task, optimised
from model.semantics import SemanticMatrix, SourceDirections
from model.skin import SkinPoints
from model.streaming import MotionNetwork
from model.touch import TouchGoals
from utils import scratch
from utils.cached import cached_property

BLOCK = 8 * solver.SEGMENT
"""Frames of a motion that are worked on at once."""


@dataclass(frozen=True)
class SourceMotion:
    """A hand that moves, and what is compared with it, worked out once."""

    hand: ShapedHand
    """Without leading dimensions."""
    local: Float[Tensor, "frames 5 3 3 3"]
    """``(F, 5, 3, 3, 3)`` local rotations."""
    frame_rate: float
    flesh: Flesh | None = None
    """Of the hand, for touches by skin."""
    skin: SkinPoints | None = None
    """The same, where it has skin."""

    @cached_property
    def posed(self) -> PosedHand:
        """The hand in every frame."""
        return self.hand.with_local_rotations(self.local)

    @property
    def tbs(self) -> Float[Tensor, "frames 5 3 3 3"]:
        """``(F, 5, 3, 3, 3)`` twist-bend-splay rotations."""
        return self.posed.tbs

    @cached_property
    def semantic_matrix(self) -> SemanticMatrix:
        """Its semantic matrix, ``(F, …)``."""
        return self.posed.semantic_matrix()

    @cached_property
    def directions(self) -> SourceDirections:
        """Directions of the semantic matrix."""
        return SourceDirections(self.semantic_matrix)

    def at(self, frames: Int[Tensor, " some"] | slice) -> SourceMotion:
        """Some frames alone."""
        return replace(self, local=self.local[frames])

    def __getitem__(self, frames: Int[Tensor, " some"] | slice) -> PosedHand:
        """The hand in some frames."""
        return self.at(frames).posed


@dataclass(frozen=True)
class MotionRetargeting:
    """A method, ready to give motions to a hand.

    Attributes:
        method: a name of :mod:`model.methods`.
        target: the hand, without leading dimensions.
        present: ``(21,)`` bool, joints that both hands have.
        network: for the methods that are networks.
        refine: steps of the optimiser after a network.
        iterations: steps of an optimiser.
        contacts: these steps close the touches that the source has.
        flesh: of the target; if the source's is known too, what touches is skin, otherwise fingertips' joints.
        skin: of the target, where it has skin.
    """

    method: str
    target: ShapedHand
    present: Bool[Tensor, "21"]
    network: MotionNetwork | None = None
    refine: int = 0
    iterations: int = OptimizerSettings.iterations
    contacts: bool = True
    flesh: Flesh | None = None
    skin: SkinPoints | None = None

    @torch.no_grad()
    def __call__(self, source: SourceMotion) -> PosedHand:
        """The target in poses ``(F,)`` that mean what the source's do."""
        if len(source.local) <= BLOCK:
            return self._posed(source, self._start(source))
        return self.target.with_local_rotations(self.moving(source).local)

    @torch.no_grad()
    def moving(self, source: SourceMotion) -> SourceMotion:
        """The target as it moves: the same poses, without what follows from them.

        Long motions are worked on a block after the other, so that their semantic matrices are never there all at
        once; blocks reach so far into each other that no frame knows of it. The rotations lie on disk
        (:mod:`utils.scratch`).
        """
        tbs, frames = self._start(source), len(source.local)
        alone = named(self.method).kind != "optimizer" and not self.refine
        over = 0 if alone else _padding(source.frame_rate, self._touches_of(source))
        kind = str(source.local.dtype).removeprefix("torch.")
        local = torch.from_numpy(scratch.empty(tuple(source.local.shape), np.dtype(kind)))
        for part in scratch.blocks(frames, BLOCK):
            begin = max(part.start - over, 0)
            wider = slice(begin, part.stop + over)
            posed = self._posed(source.at(wider), None if tbs is None else tbs[wider])
            local[part] = posed.local[part.start - begin : part.stop - begin]
        return SourceMotion(self.target, local, source.frame_rate)

    def _start(self, source: SourceMotion) -> Float[Tensor, "frames 5 3 3 3"] | None:
        """What the network says."""
        return None if self.network is None else self.network.tbs(source.hand, source.local, source.frame_rate)

    def _posed(self, source: SourceMotion, tbs: Float[Tensor, "frames 5 3 3 3"] | None) -> PosedHand:
        """All frames at once; ``tbs`` is a network's result, or the start of an optimiser that refines it."""
        if tbs is not None and not self.refine:
            return self.target.with_tbs(tbs)
        present = None if bool(self.present.all()) else self.present
        iterations = self.refine or self.iterations
        task = Task(self.target, source, present, source.frame_rate, iterations, self._touches(source))
        if tbs is None:
            return named(self.method).posed(task)
        return optimised(task, CONTACT_WEIGHT if self.contacts else 0.0, tbs)

    def _touches_of(self, source: SourceMotion) -> bool:
        """Whether touches of flesh are asked for, and known."""
        asked = self.contacts and (self.refine > 0 or named(self.method).name == CLOSING)
        return asked and source.flesh is not None and self.flesh is not None

    def _touches(self, source: SourceMotion) -> TouchGoals | None:
        """What the source's skin touches, if the method asks for it."""
        if source.flesh is None or self.flesh is None or not self._touches_of(source):
            return None
        return touch_goals(source.posed, source.flesh, self.flesh, source.skin, self.skin)


def _padding(frame_rate: float, touches: bool) -> int:
    """Frames on both sides of a block that change its result."""
    smoothness = TOUCH_SMOOTHNESS if touches else SMOOTHNESS
    return solver.padding(OptimizerSettings(smoothness=smoothness, frame_rate=frame_rate))


def measured(source: SourceMotion, result: PosedHand | SourceMotion, present: Bool[Tensor, "21"]) -> Scores:
    """What a result ``(F,)`` is worth frame by frame, worked out a block after the other."""
    blocks = scratch.blocks(len(source.local), BLOCK)
    return Scores.joined(measure(source.at(block).directions, result[block], present) for block in blocks)


def optimum(target: ShapedHand, source: SourceMotion, present: Bool[Tensor, "21"]) -> PosedHand:
    """The best that the target can do in each frame on its own by the semantic matrix: the optimiser run to the end,
    without contacts and smoothness."""
    mask = None if bool(present.all()) else present
    with torch.no_grad():
        return optimise(target, source.semantic_matrix, source.posed.tbs, OptimizerSettings.converged(), mask)
