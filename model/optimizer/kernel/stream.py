"""Hands that are followed frame by frame as they move: one call of the compiled program, nothing made on the way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from model.hands import ShapedHand
from model.optimizer.kernel import layout, solver
from model.optimizer.settings import OptimizerSettings
from model.topology import BONES_PER_FINGER, N_FINGERS, N_JOINTS


class Stream:
    """Some hands, each of which follows another, at most `layout.FEW`.

    Args:
        sources: hands that move, without leading dimensions or surface.
        targets: hands that follow.
        present: ``(21,)`` joints that all of them have; None: all.
        settings: of the optimiser; smoothness is not used.
        steps: of the optimiser from one frame to the next. The first frame takes those of the settings.

    Attributes:
        motion: ``(hands, 5, 3, 3, 3)`` float32, the sources' local rotations: to be filled in.
        local: the same of the targets: what :meth:`follow` finds.

    Raises:
        ValueError: a hand has a surface, or they are too many.
        RuntimeError: nothing can be compiled on this machine.
    """

    def __init__(
        self,
        sources: Sequence[ShapedHand],
        targets: Sequence[ShapedHand],
        present: Bool[Tensor, "21"] | None,
        settings: OptimizerSettings,
        steps: int,
    ) -> None:
        count = len(targets)
        if not 0 < count == len(sources) <= layout.FEW:
            raise ValueError(f"1 to {layout.FEW} hands can be followed at once; got {len(sources)} and {count}")
        if any(hand.surface is not None for hand in (*sources, *targets)):
            raise ValueError("hands whose joints follow from a surface cannot be followed")
        functions = solver.PROGRAM.functions()
        if functions is None:
            raise RuntimeError("the optimiser cannot be compiled on this machine")
        self._function = functions["follow"]
        hands = torch.Size([count])
        call = solver.Call(targets[0], hands, settings, present)
        for argument, members in ((layout.HANDS, targets), (layout.SOURCES, sources)):
            call.point(argument, np.concatenate([solver.hand_rows(hand)[0] for hand in members]))
        call.point(layout.HAND_OF, np.arange(count))
        call.arguments[layout.LAST] = count
        rotations = (count, N_FINGERS, BONES_PER_FINGER, 3, 3)
        self.motion = call.output(layout.MOTION, *rotations)
        self.local = call.output(layout.LOCAL, *rotations)
        call.output(layout.FINGERS, *rotations)
        call.output(layout.JOINTS, count, N_JOINTS, 3)
        call.output(layout.ANGLES, count, layout.N_ANGLES)
        self._changes = call.output(layout.SEARCHED, count, layout.N_ANGLES)
        call.point(layout.WORK, solver.aligned(layout.ROWS * layout.FEW))
        self._call, self._address = call, call.arguments.ctypes.data
        self._first, self._steps = settings.iterations, steps
        self.forget()

    def forget(self) -> None:
        """Begin anew: the next frame owes nothing to those before."""
        self._changes.fill(0)
        self._call.arguments[layout.ITERATIONS] = self._first

    def follow(self) -> None:
        """Fill in `local`, of the sources in the poses of `motion`."""
        self._function(self._address)
        self._call.arguments[layout.ITERATIONS] = self._steps
