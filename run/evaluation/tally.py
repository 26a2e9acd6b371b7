"""What all windows of one direction come to: overall, by character, by gesture, by pair, by joint.

Batches are counted and forgotten: memory does not grow with the windows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import torch

from model.measures import Measures
from run.evaluation.scores import DirectionScores
from run.evaluation.statistics import WindowSums, add_gap_closed

BREAKDOWNS = {
    "by_character": "target character",
    "by_gesture": "gesture of the source",
    "by_pair": "source and target",
}
_RARE = 0.01  # gestures with a smaller share of the frames are shown together
_RARE_TOUCH = "other touches"


def rare_touches(gestures: Counter[str]) -> frozenset[str]:
    """The touches that are shown together, of gestures by their frames; none if it is one alone."""
    least = _RARE * gestures.total()
    rare = frozenset(name for name, frames in gestures.items() if frames < least and not name.startswith("no touch"))
    return rare if len(rare) > 1 else frozenset()


class Tally:
    """Counts the windows of one direction.

    Args:
        name: of the direction.
        methods: in the order of tables.
        rare: touches to be shown together.
    """

    def __init__(self, name: str, methods: Iterable[str], rare: frozenset[str]) -> None:
        self.name, self.methods, self.windows, self.frames = name, list(methods), 0, 0
        self._rare = rare
        self._overall = WindowSums()
        self._parts: dict[str, dict[str, _Part]] = {kind: defaultdict(_Part) for kind in BREAKDOWNS}
        self._joints = np.zeros((2, len(self.methods), 1))  # sum, number
        self._ratios: dict[str, np.ndarray] = defaultdict(partial(np.zeros, 2))  # sum, number

    def add(self, scores: DirectionScores) -> None:
        """Count the windows of a batch."""
        every = Measures.joined([scores.methods[name] for name in self.methods])
        windows, frames = scores.bend.shape
        self.windows += windows
        self.frames += windows * frames
        self._overall.add(self._by_window(every, torch.ones(windows, frames, dtype=torch.bool)))
        for kind, names in self._names(scores).items():
            for name in dict.fromkeys(names.flatten().tolist()):  # in the order of their first frames
                keep = torch.from_numpy(names == name)
                part = self._parts[kind][name]
                part.sums.add(self._by_window(every, keep))
                part.frames += int(keep.sum())
        finger = every.finger.double().unflatten(0, (len(self.methods), windows)).flatten(1, 2)
        self._joints = self._joints + np.stack([finger.nansum(1).numpy(), (~finger.isnan()).sum(1).numpy()])
        for names, ratios in ((scores.source, scores.source_ratio), (scores.target, scores.target_ratio)):
            for name, ratio in zip(names.tolist(), ratios.tolist(), strict=True):
                self._ratios[name] += (ratio, 1)

    def _by_window(self, every: Measures, keep: torch.Tensor) -> dict[str, torch.Tensor]:
        """Values (methods, N) by metric, of some frames (N, T) of all methods' windows, one method after the other."""
        metrics = every.by_window(keep.repeat(len(self.methods), 1))
        return {name: values.unflatten(0, (len(self.methods), -1)) for name, values in metrics.items()}

    def _names(self, scores: DirectionScores) -> dict[str, np.ndarray]:
        """(N, T) names of the parts that each frame belongs to, by kind of breakdown."""
        gestures = scores.gestures()
        gestures[np.isin(gestures, list(self._rare))] = _RARE_TOUCH
        pairs = [f"{source} → {target}" for source, target in zip(scores.source, scores.target, strict=True)]
        characters, pairs = (
            np.broadcast_to(np.array(names, dtype=object)[:, None], gestures.shape) for names in (scores.target, pairs)
        )
        return {"by_character": characters, "by_gesture": gestures, "by_pair": pairs}

    def overall(self) -> dict[str, dict[str, Any]]:
        """{method: figures}."""
        return {method: self._overall.figures(number) for number, method in enumerate(self.methods)}

    def parts(self, kind: str) -> dict[str, dict[str, dict[str, Any]]]:
        """{part: {method: figures}} of one breakdown, the gestures with most frames first, characters by name."""
        parts = sorted(
            self._parts[kind].items(), key=lambda item: -item[1].frames if kind == "by_gesture" else item[0]
        )
        found = {}
        for name, part in parts:
            found[name] = {
                method: {**part.sums.figures(number), "frames": part.frames}
                for number, method in enumerate(self.methods)
            }
            add_gap_closed(found[name])
        return found

    def by_joint(self) -> dict[str, list[float]]:
        """{method: mean cosine of each of the 20 query joints}; NaN of those that no hand has."""
        with np.errstate(invalid="ignore"):
            return dict(zip(self.methods, np.divide(*self._joints).tolist(), strict=True))

    def ratios(self) -> dict[str, tuple[float, float]]:
        """{character: (sum, number) of finger-to-palm ratios}."""
        return {name: (float(total), float(number)) for name, (total, number) in self._ratios.items()}


class _Part:
    """The windows of a part of a breakdown."""

    def __init__(self) -> None:
        self.sums, self.frames = WindowSums(), 0
