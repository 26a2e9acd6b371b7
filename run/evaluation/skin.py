"""Touches of skin, kept and lost, on the meshes of source and result themselves (mathematics §20).

A mesh takes a hundredth of a second a frame, so single frames of the windows are looked at, one each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from data.character.flesh import mano_surface
from data.character.reading import read_annotated
from data.character.skin_gaps import SkinGaps
from data.dataset import MixHandFolder
from data.features.row import HandFeatures
from model.batch import HandModels, Source, own_pose
from model.flesh import PART_PAIRS
from model.hands import PosedHand
from model.topology import N_SHAPE
from model.touch import TouchesKept, part_pairs_present
from run.evaluation.statistics import mean_and_error
from utils.errors import InputError

LOOK_AT = 5
"""Frames of each method that are named as the first to look at."""


class Looked(NamedTuple):
    """One window of which a frame was looked at."""

    window: int
    source: str
    target: str


class Skins:
    """Measures hands of a data set on their meshes.

    Args:
        folder: of the data set.
        hands: what makes the hands of features.
    """

    def __init__(self, folder: MixHandFolder, hands: HandModels) -> None:
        self.folder, self.hands = folder, hands
        self._of = cache(self._read)

    def known(self, hands: HandFeatures, names: np.ndarray) -> np.ndarray:
        """(N,) bool: whose mesh there is."""
        return np.array([self._of(self._key(hands, name)) is not None for name in names.tolist()])

    def gaps(self, posed: PosedHand, hands: HandFeatures, names: np.ndarray) -> Float[Tensor, "windows 73"]:
        """Gaps of `PART_PAIRS` of one pose of each window; names (N,) of their characters, all `known`."""
        keys = [self._key(hands, name) for name in names.tolist()]
        found = torch.full((len(keys), len(PART_PAIRS)), torch.inf)
        for key in dict.fromkeys(keys):
            measured = self._of(key)
            if measured is None:
                raise ValueError(f"{key[0]} has no mesh")
            rows = torch.tensor([row for row, other in enumerate(keys) if other == key])
            found[rows] = measured.gaps(at_items(posed, rows))
        return found

    @staticmethod
    def _key(hands: HandFeatures, name: str) -> tuple[str, str]:
        """MANO hands have one mesh, whoever's they are; their shape is in their pose."""
        return ("" if hands.domain == "mano" else name), hands.side

    def _read(self, key: tuple[str, str]) -> SkinGaps | None:
        name, side = key
        if not name:
            model = self.hands.mano_hand(torch.zeros(()))
            return SkinGaps(mano_surface(model, torch.zeros(N_SHAPE)))
        try:
            return read_annotated(*self.folder.character_files(name)).hand(side).skin_gaps
        except InputError:
            return None  # bones alone


def at_items(posed: PosedHand, rows: Int[Tensor, " some"]) -> PosedHand:
    """Some of poses ``(N,)``, with the hands that are theirs."""
    return posed.shaped.of_frames(posed.local.shape[:1], rows).with_local_rotations(posed.local[rows])


def one_frame(posed: PosedHand, frame: int) -> PosedHand:
    """A frame ``(N,)`` of poses ``(N, T)``."""
    windows, frames = posed.local.shape[:2]
    numbers = torch.arange(windows) * frames + frame
    return posed.shaped.of_frames(posed.local.shape[:2], numbers).with_local_rotations(posed.local[:, frame])


class SkinTally:
    """Counts what became of the touches of single frames, one direction; a few hundred numbers a frame are kept.

    Args:
        skins: what measures.
        methods: in the order of tables.
    """

    def __init__(self, skins: Skins, methods: Iterable[str]) -> None:
        self.skins, self.methods = skins, list(methods)
        self._looked: list[Looked] = []
        self._source: list[Tensor] = []
        self._results: dict[str, list[Tensor]] = {name: [] for name in self.methods}

    def add(
        self,
        source: HandFeatures,
        target: HandFeatures,
        names: tuple[np.ndarray, np.ndarray],
        windows: np.ndarray,
        posed: Mapping[str, PosedHand],
        some: np.ndarray,
    ) -> None:
        """Look at the middle frame of windows ``(N, T)``; those without a mesh of either hand are left out.

        Args:
            source, target: whose motion, and whose hands.
            names: (N,) characters of source and target.
            windows: (N,) their numbers.
            posed: what each method made of them.
            some: (N,) bool, those to look at.
        """
        rows = np.flatnonzero(some & self.skins.known(source, names[0]) & self.skins.known(target, names[1]))
        if not len(rows):
            return
        frame, chosen = source.tbs.shape[1] // 2, torch.from_numpy(rows)
        own = own_pose(self.skins.hands.shaped_hand(source), source)
        shared = _shared(source, target, frame)

        def gaps(hand: PosedHand, hands: HandFeatures, whose: np.ndarray) -> Tensor:
            found = self.skins.gaps(at_items(one_frame(hand, frame), chosen), hands, whose[rows])
            return found if shared is None else found.masked_fill(~shared[chosen], torch.inf)

        self._source.append(gaps(own, source, names[0]))
        for name in self.methods:
            self._results[name].append(gaps(posed[name], target, names[1]))
        self._looked += [Looked(int(windows[row]), str(names[0][row]), str(names[1][row])) for row in rows]

    def figures(self) -> dict[str, dict[str, Any]]:
        """{method: figures}; see :func:`figures_of`. Empty if nothing was looked at."""
        if not self._looked:
            return {}
        own = torch.cat(self._source)
        kept = {name: TouchesKept(own, torch.cat(parts)) for name, parts in self._results.items()}
        return {name: figures_of(each, self._looked) for name, each in kept.items()}


def figures_of(kept: TouchesKept, looked: list[Looked]) -> dict[str, Any]:
    """What became of touches.

    Returns:
        frames, touches: how many; touches_kept: share of them, of fingers on fingers and the palm; false_touches:
        share of what is apart in the source; too_deep: share of the frames with skin deeper in skin than the source's
        by more than `model.touch.TOO_DEEP`; each with its standard error over frames, ``…_se``; deepest: palm lengths;
        pairs: by parts; look_at: frames in which most is wrong.
    """
    found: dict[str, Any] = {"frames": len(looked), "touches": int(kept.touches.sum())}
    weights = {"touches_kept": kept.touches, "false_touches": None, "too_deep": None}
    values = {"touches_kept": kept.recall, "false_touches": kept.false, "too_deep": kept.too_deep}
    for name, each in values.items():
        found[name], found[f"{name}_se"], _ = mean_and_error(each, weights[name])
    wrong = kept.wrongness()
    worst = wrong.argsort(descending=True, stable=True)[:LOOK_AT].tolist()
    return {
        **found,
        "deepest": float(kept.deeper.max()),
        "pairs": kept.by_parts(),
        "look_at": [{**looked[row]._asdict(), "why": kept.why(row)} for row in worst if wrong[row] > 0],
    }


def _shared(source: HandFeatures, target: HandFeatures, frame: int) -> Tensor | None:
    """(N, 73) which pairs of parts both hands have; None: all."""
    present = Source(source).shared_with(target).present
    if present is None:
        return None
    present = present.expand(len(target.tbs), -1, -1)
    return torch.stack([part_pairs_present(row[min(frame, len(row) - 1)]) for row in present])
