"""The film of a retargeted motion: source, copy and result side by side (the copy once), right hand above left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from data.character.character import CharacterHand
from model.measures import TIP_PAIRS, fingertip_contacts
from model.methods import COPY, METHODS, named
from model.motion import MotionRetargeting, SourceMotion
from run.drawing.clip import Clip, Track
from run.drawing.render import color_of
from run.drawing.surfaces import TOUCH_NOTE, hand_cells, posed_surface
from utils.video import write_film

VIEWS = ("palm",)
FASTEST = 30.0
"""Frames per second of a film, at most: what is faster is thinned out."""


@dataclass(frozen=True)
class Shown:
    """One hand of a film."""

    source: SourceMotion
    source_hand: CharacterHand
    result: SourceMotion
    target_hand: CharacterHand
    retargeting: MotionRetargeting


def write_motion_film(path: Path, hands: Mapping[str, Shown], title: str, names: tuple[str, str], size: int) -> None:
    """Write ``.mp4`` (or ``.gif``, ``.png``).

    Args:
        path: to write.
        hands: by side.
        title: a line above all.
        names: of source and target.
        size: height of a hand in pixels.
    """
    first = next(iter(hands.values()))
    rate, frames = first.source.frame_rate, len(first.source.local)
    step = max(1, round(rate / FASTEST + 0.249))
    kept = torch.arange(0, frames, step)
    last = next(reversed(hands))
    clips = [
        _clip(side, shown, kept, f"{title}, {side} hand", names, size, rate / step, TOUCH_NOTE if side == last else "")
        for side, shown in hands.items()
    ]
    widest = max(clip.panel_width for clip in clips)
    clips = [clip.widened(widest) for clip in clips]
    write_film(path, _stacked(clips), rate / step)


def _stacked(clips: list[Clip]) -> Iterator[np.ndarray]:
    width = max(clip.shape[1] for clip in clips)
    for pictures in zip(*clips, strict=True):
        padded = [np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0)), constant_values=255) for p in pictures]
        yield np.concatenate(padded)


def _clip(side: str, shown: Shown, kept: torch.Tensor, title: str, names, size: int, rate: float, note: str) -> Clip:
    source = shown.source.at(kept)
    contacts = fingertip_contacts(source.directions.distance, shown.retargeting.present)
    touching = [[TIP_PAIRS[pair] for pair in row.nonzero()[:, 0].tolist()] for row in contacts]
    refined = f" + {shown.retargeting.refine} steps" if shown.retargeting.refine else ""
    method = named(shown.retargeting.method)
    columns = [
        (names[0], "source", source.posed, shown.source_hand, color_of("source")),
        (method.title + refined, names[1], shown.result[kept], shown.target_hand, method.color),
    ]
    if method.name != COPY:
        copied = replace(shown.retargeting, method=COPY, network=None).moving(source)
        columns.insert(1, (METHODS[COPY].title, names[1], copied.posed, shown.target_hand, METHODS[COPY].color))
    tracks = []
    for title_, subtitle, posed, hand, color in columns:
        surface = (*posed_surface(posed, hand.surface, hand.present), posed[None])
        tracks.append(Track(hand_cells(surface, touching, color=color), title_, subtitle))
    return Clip(tracks, side, size, VIEWS, title, rate, note=note)
