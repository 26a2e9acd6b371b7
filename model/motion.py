"""One motion of one hand given to another hand, by any method: copies, networks, optimiser, networks refined by it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from model.hands import PosedHand, ShapedHand
from model.optimizer import CONTACT_WEIGHT, SMOOTHNESS, OptimizerSettings, optimise
from model.semantics import SemanticMatrix, SourceDirections
from model.streaming import StreamingNetwork

NETWORKS = ("asrn", "dm")
METHODS = (*NETWORKS, "optimize", "tbs_copy", "rotation_copy")


@dataclass(frozen=True)
class SourceMotion:
    """A hand that moves, and what is compared with it, worked out once."""

    hand: ShapedHand
    """Without leading dimensions."""
    local: Tensor
    """``(F, 5, 3, 3, 3)`` local rotations."""
    frame_rate: float

    @cached_property
    def posed(self) -> PosedHand:
        """The hand in every frame."""
        return self.hand.with_local_rotations(self.local)

    @cached_property
    def semantic_matrix(self) -> SemanticMatrix:
        """Its semantic matrix, ``(F, …)``."""
        return self.posed.semantic_matrix()

    @cached_property
    def directions(self) -> SourceDirections:
        """Directions of the semantic matrix."""
        return SourceDirections(self.semantic_matrix)

    def at(self, frames: Tensor) -> SourceMotion:
        """Some frames alone."""
        return replace(self, local=self.local[frames])


@dataclass(frozen=True)
class MotionRetargeting:
    """A method, ready to give motions to a hand.

    Attributes:
        method: of :data:`METHODS`.
        target: the hand, without leading dimensions.
        present: ``(21,)`` bool, joints that both hands have.
        network: for the methods that are networks.
        refine: steps of the optimiser after a network.
        iterations: steps of the method "optimize".
        contacts: the optimiser closes the touches that the source has.
    """

    method: str
    target: ShapedHand
    present: Tensor
    network: StreamingNetwork | None = None
    refine: int = 0
    iterations: int = OptimizerSettings.iterations
    contacts: bool = True

    @torch.no_grad()
    def __call__(self, source: SourceMotion) -> PosedHand:
        """The target in poses ``(F,)`` that mean what the source's do."""
        if self.method == "rotation_copy":
            return self.target.with_local_rotations(source.local)
        if self.method == "tbs_copy":
            return self.target.with_tbs(source.posed.tbs)
        if self.method == "optimize":
            return self._optimised(source, source.posed.tbs, self.iterations)
        tbs = self.network.tbs(source.hand, source.local, source.frame_rate)
        return self._optimised(source, tbs, self.refine) if self.refine else self.target.with_tbs(tbs)

    def _optimised(self, source: SourceMotion, start: Tensor, iterations: int) -> PosedHand:
        settings = OptimizerSettings(
            iterations=iterations,
            contact_weight=CONTACT_WEIGHT if self.contacts else 0.0,
            smoothness=SMOOTHNESS if len(start) > 1 else 0.0,
            frame_rate=source.frame_rate,
            keep_start=True,  # what the source does beyond usual limits, it does on purpose
        )
        mask = None if bool(self.present.all()) else self.present
        return optimise(self.target, source.semantic_matrix, start, settings, mask)


def optimum(target: ShapedHand, source: SourceMotion, present: Tensor) -> PosedHand:
    """The best that the target can do in each frame on its own by the semantic matrix: the optimiser run to the end,
    without contacts and smoothness."""
    mask = None if bool(present.all()) else present
    with torch.no_grad():
        return optimise(target, source.semantic_matrix, source.posed.tbs, OptimizerSettings.converged(), mask)
