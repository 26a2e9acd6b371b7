"""A picture of hands side by side: the source, copies of it, and what each network made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pytorch3d.transforms import quaternion_to_matrix
from torch import Tensor

from data.features.row import HandFeatures
from data.features.windows import Batch, BatchRequest, PairedWindows
from data.mixhand import MixHandDataModule
from model.kinematics import finger_part
from model.measures import TIP_PAIRS
from model.methods import METHODS, title_of
from run.drawing.figure import HandCell, hand_grid
from run.drawing.render import color_of
from run.drawing.surfaces import TOUCH_NOTE, Surfaces, hand_cells
from run.evaluation.line_up import LineUp
from run.evaluation.scores import score
from utils.files import atomic_write


@dataclass
class Direction:
    """All test windows of one direction: hands in every method's pose, and how good each frame is."""

    name: str
    source: HandFeatures
    target: HandFeatures
    characters: tuple[np.ndarray, np.ndarray]  # of the source and of the target, by window
    local: dict[str, Tensor]  # method -> (N, T, 5, 3, 3, 3)
    s_finger: dict[str, Tensor]  # method -> (N, T)
    pinch: dict[str, Tensor]  # method -> (N, T), NaN without contact
    touching: Tensor  # (N, T, 10) bool, pairs of fingertips of the source


def retarget_all(line_up: LineUp, data: MixHandDataModule, numbers: Sequence[int] | None = None) -> list[Direction]:
    """Retarget the test windows of `data`, or those with these numbers, in both directions with every method."""
    windows = data.windows("test")
    batch = windows.batch(BatchRequest(0, np.arange(len(windows)) if numbers is None else np.array(numbers)))
    first, second = zip((batch.first, batch.second), window_names(windows, batch), strict=True)
    return [_retarget(line_up, source, target) for source, target in ((second, first), (first, second))]


def window_names(windows: PairedWindows, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Names (N,) of the characters of both groups of a batch."""
    return tuple(
        np.array(group.names)[positions.numpy()]
        for group, positions in zip(windows.groups, batch.positions.T, strict=True)
    )


def _retarget(line_up: LineUp, source: tuple, target: tuple) -> Direction:
    scores, posed = score(line_up, source[0], target[0], (source[1], target[1]))
    return Direction(
        scores.name,
        source[0],
        target[0],
        (scores.source, scores.target),
        {method: hand.local for method, hand in posed.items()},
        {method: found.s_finger for method, found in scores.methods.items()},
        {method: found.pinch for method, found in scores.methods.items()},
        scores.contacts,
    )


def most_different(direction: Direction, contacts: int, others: int) -> list[tuple[int, int]]:
    """(window, frame) of the gestures on which the methods differ most, each of another kind.

    First `contacts` gestures by the spread of the pinch error, of different touching fingertips; then `others` without
    contact by the spread of S_finger. No two come from the same source and target.
    """
    pinch = torch.stack(list(direction.pinch.values()))
    spread = (pinch.amax(0) - pinch.amin(0)).nan_to_num(-1.0)
    similarity = torch.stack(list(direction.s_finger.values()))
    apart = ~direction.touching.any(-1)
    still = (similarity.amax(0) - similarity.amin(0)).where(apart, torch.tensor(-1.0))
    chosen: list[tuple[int, int]] = []
    used: set = set()
    for scores, wanted in ((spread, contacts), (still, others)):
        before = len(chosen)
        for flat in scores.flatten().argsort(descending=True).tolist():
            window, frame = divmod(flat, scores.shape[1])
            if len(chosen) - before == wanted or scores[window, frame] <= 0:
                break
            pairs = tuple(direction.touching[window, frame].tolist())
            people = (direction.characters[0][window], direction.characters[1][window])
            if (wanted == contacts and pairs in used) or people in used:
                continue
            used |= {pairs, people}
            chosen.append((window, frame))
    return chosen


def draw_comparison(
    line_up: LineUp, data: MixHandDataModule, path: str | Path, contacts: int = 2, others: int = 1
) -> None:
    """Draw the gestures on which the methods differ most, `contacts` + `others` a direction, into `path` (PNG).

    Optimisers are drawn, but take no part in the choice: they would have to solve every frame.
    """
    surfaces, rows, titles = Surfaces(data.data_path, line_up.hands), [], []
    quick = LineUp(
        [name for name in line_up.names if METHODS[name].kind != "optimizer"], line_up.networks, line_up.hands
    )
    with torch.no_grad():
        chosen = [most_different(direction, contacts, others) for direction in retarget_all(quick, data)]
        numbers = sorted({window for gestures in chosen for window, _ in gestures})
        drawn = retarget_all(line_up, data, numbers) if numbers else []
        for direction, gestures in zip(drawn, chosen, strict=bool(numbers)):
            for number, frame in gestures:
                window = numbers.index(number)
                rows.append(_row(direction, window, frame, line_up.names, surfaces))
                source, target = (names[window] for names in direction.characters)
                titles.append(f"{source}\n→ {target}")
    page = hand_grid(
        rows,
        ["source", *(title_of(method) for method in line_up.names)],
        titles,
        colors=[color_of("source"), *(color_of(method) for method in line_up.names)],
        title="The gestures on which the methods differ most",
        note="S: semantic similarity S_finger. Gap: in palm lengths. " + TOUCH_NOTE + ".",
        side=line_up.hands.side,
    )  # fmt: skip
    with atomic_write(path) as temporary:
        Image.fromarray(page).quantize(200, method=Image.Quantize.FASTOCTREE).save(temporary, optimize=True)


def _row(direction: Direction, window: int, frame: int, methods: list[str], surfaces: Surfaces) -> list[HandCell]:
    here = (slice(window, window + 1), slice(frame, frame + 1))
    source, target = direction.source[here], direction.target[here]
    touching = [contact_pairs(direction.touching[window, frame])]
    names = [names[window] for names in direction.characters]
    best = max(methods, key=lambda method: float(direction.s_finger[method][window, frame]))
    local = finger_part(quaternion_to_matrix(source.local_rotations))
    cells = hand_cells(surfaces.pose(source, names[0], local), touching)
    for method in methods:
        s_finger, gap = (float(part[method][window, frame]) for part in (direction.s_finger, direction.pinch))
        surface = surfaces.pose(target, names[1], direction.local[method][here])
        cells += hand_cells(surface, touching, [caption(s_finger, gap)], [method == best])
    return cells


def contact_pairs(touching: Tensor) -> list[tuple[int, int]]:
    """The pairs of fingers whose tips touch, from (10,) bool."""
    return [pair for pair, touches in zip(TIP_PAIRS, touching.tolist(), strict=True) if touches]


def caption(s_finger: float, gap: float) -> str:
    """A frame's figures below a hand; `gap` is NaN where the source touches nothing."""
    return f"S {s_finger:.3f}" + ("" if np.isnan(gap) else f"   gap {gap:.2f}")
