"""Hands that follow others as they move: one call a frame, for engines, headsets and robots."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

import numpy as np
import torch

from data.character.character import Character
from data.character.reading import Reading, read_character
from model.optimizer import CONTACT_WEIGHT, OptimizerSettings
from model.optimizer.kernel.stream import Stream
from model.topology import SIDES
from utils.errors import InputError

STEPS = 3
"""Of the optimiser from one frame to the next."""


class Retargeter:
    """The optimiser, frame by frame: ``Retargeter("me.glb", "robot.bvh")(frame)``.

    A frame and what comes back are ``(hands, 5, 3, 3, 3)`` rotation matrices in the order of :attr:`sides`: of middle,
    ring, pinky, index and thumb the root, the middle and the last joint, each relative to the joint above it, in the
    character's own axes, in which its rest pose is without rotation, as in BVH files. The search begins with the
    source's angles and what the frame before changed of them. After the first call nothing is allocated.

    Args:
        source: who moves: a character, or what `data.character.reading.read_character` takes (a file, a name).
        target: who follows.
        sides: which hands; None: all that both have, right before left.
        contacts: what touches on the source touches on the target.
        steps: of the optimiser from one frame to the next.
        data_path: where characters given by name are.

    Raises:
        InputError: a character cannot be read, or there is no such hand.
        RuntimeError: nothing can be compiled on this machine.
    """

    def __init__(
        self,
        source: Character | str | Path,
        target: Character | str | Path,
        sides: tuple[str, ...] | None = None,
        contacts: bool = True,
        steps: int = STEPS,
        data_path: str | Path = "artifact/MixHandOpen",
    ) -> None:
        reading = Reading(Path(data_path))
        own, other = (
            each if isinstance(each, Character) else read_character(str(each), reading) for each in (source, target)
        )
        both = tuple(side for side in SIDES if side in own.hands and side in other.hands)
        self.sides = both if sides is None else tuple(sides)
        """The hands, in the order of a frame."""
        lacking = sorted(set(self.sides) - set(both))
        if lacking or not self.sides:
            raise InputError(
                f"{other.path}: expected the {' and '.join(lacking or SIDES)} hand of {own.name} and {other.name}, "
                f"found {' and '.join(own.hands)} there and {' and '.join(other.hands)} here"
            )
        for who in (own, other):
            if who.kind == "mano":
                raise InputError(f"{who.path}: expected a character, found a MANO hand, whose joints follow from its "
                                 f"surface; retarget its motions with run.retarget")  # fmt: skip
        settings = OptimizerSettings(contact_weight=CONTACT_WEIGHT if contacts else 0.0, keep_start=True)
        hands = [(own.hands[side], other.hands[side]) for side in self.sides]
        masks = [torch.from_numpy(one.present & two.present) for one, two in hands]
        # Hands that lack the same joints are solved side by side.
        groups = (
            [range(len(hands))] if all(mask.equal(masks[0]) for mask in masks) else [[n] for n in range(len(hands))]
        )
        self._streams = []
        for group in groups:
            mask = masks[group[0]]
            sources, targets = ([hands[number][which].shaped for number in group] for which in (0, 1))
            stream = Stream(sources, targets, None if bool(mask.all()) else mask, settings, steps)
            self._streams.append((slice(group[0], group[-1] + 1), stream))
        turns = (np.stack([pair[which].rest.turn for pair in hands]) for which in (0, 1))
        self._turn, self._back = (turn.astype(np.float32)[:, None, None] for turn in turns)
        self._back = self._back.swapaxes(-1, -2)
        self._turned = np.empty((len(hands), 5, 3, 3, 3), np.float32)
        self._result = np.empty_like(self._turned)

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """The target's rotations for the source's, each ``(hands, 5, 3, 3, 3)``.

        Args:
            frame: rotation matrices, any kind of number.

        Returns:
            float32; the array is filled anew by the next call.

        Raises:
            ValueError: the frame has another shape, or holds NaN or infinite numbers; the next one can be given as
                if this one had not been.
        """
        if np.shape(frame) != self._turned.shape:
            raise ValueError(f"`frame` must have the shape {self._turned.shape}; got {np.shape(frame)}")
        if not isfinite(np.add.reduce(frame, axis=None)):
            raise ValueError("`frame` holds NaN or infinite numbers")
        for part, stream in self._streams:
            _conjugate(self._turn[part], frame[part], self._turned[part], stream.motion)
            stream.follow()
            _conjugate(self._back[part], stream.local, self._turned[part], self._result[part])
        return self._result

    def forget(self) -> None:
        """Begin anew, as for another motion: the next frame owes nothing to those before."""
        for _, stream in self._streams:
            stream.forget()


def _conjugate(turn: np.ndarray, rotations: np.ndarray, between: np.ndarray, out: np.ndarray) -> None:
    """``C R Cᵀ`` of rotations ``(hands, 5, 3, 3, 3)``."""
    np.matmul(turn, rotations, out=between)
    np.matmul(between, turn.swapaxes(-1, -2), out=out)
