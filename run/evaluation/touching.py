"""Whose skin is where: the touches of windows of a data set, to be kept by methods that close them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch

from data.character.character import CharacterHand
from data.character.mano import mano_character
from data.character.reading import read_annotated
from data.dataset import MixHandFolder
from data.features.row import HandFeatures
from model.batch import HandModels, own_pose
from model.optimizer import touch_goals
from model.touch import TouchGoals
from utils.errors import InputError


class Fleshed:
    """Flesh and skin of the hands of a data set, each worked out once.

    Args:
        folder: of the data set.
        hands: what makes the hands of features.
    """

    def __init__(self, folder: MixHandFolder, hands: HandModels) -> None:
        self.folder, self.hands = folder, hands
        self._of = cache(self._read)

    def goals(
        self, source: HandFeatures, target: HandFeatures, names: tuple[np.ndarray, np.ndarray]
    ) -> list[TouchGoals | None]:
        """What the source's touches ask for, window by window ``(time, …)``; None: a hand's mesh is not there.

        Args:
            source, target: windows ``(N, T, …)``: whose motion, and whose hands.
            names: (N,) characters of source and target.
        """
        local = own_pose(self.hands.shaped_hand(source), source).local
        result: list[TouchGoals | None] = []
        for window, pair in enumerate(zip(*(each.tolist() for each in names), strict=True)):
            own, other = (self._hand(hands, name, window) for hands, name in zip((source, target), pair, strict=True))
            if own is None or other is None:
                result.append(None)
                continue
            posed = own.shaped.with_local_rotations(local[window])
            result.append(touch_goals(posed, own.flesh, other.flesh, own.skin_points, other.skin_points))
        return result

    def _hand(self, hands: HandFeatures, name: str, window: int) -> CharacterHand | None:
        if hands.domain != "mano":
            return self._of(name, hands.side, ())
        shape = hands.shape
        if shape is None:
            raise ValueError("MANO hands have shapes")
        return self._of("", hands.side, tuple(shape[window, 0].tolist()))

    def _read(self, name: str, side: str, shape: tuple[float, ...]) -> CharacterHand | None:
        """A character's hand, or the parametric one of a shape."""
        if not name:
            model = self.hands.mano_hand(torch.zeros(()))
            return mano_character(model, np.array(shape), Path()).hands[side]
        try:
            return read_annotated(*self.folder.character_files(name)).hand(side)
        except InputError:
            return None  # bones alone
