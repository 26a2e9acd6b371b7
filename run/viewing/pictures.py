"""Small pictures for the side of the page: the semantic matrix as a heat map, and figures over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from model.topology import FINGERS, JOINTS_PER_FINGER, N_FINGER_JOINTS

_INK, _GREY, _LINE, _PAPER = "#1F2328", "#6B7280", "#D5D9DE", "#FFFFFF"
_UNKNOWN = (236, 238, 240)
# From pale, where a method agrees with the source, to dark; lightness falls evenly, so that it also reads in grey.
_RAMP = np.array(
    [ImageColor.getrgb(c)[:3] for c in ("#F7F4EC", "#F5CE9B", "#EE8F5F", "#C7435A", "#7A1F6B", "#2A0F4A")]
)
SCALES = {
    "cosine": (1.0, 0.5, "cosine of directions, 1 where they agree"),
    "difference": (0.0, 0.5, "difference, palm lengths"),
    "distance": (0.0, 2.5, "distance between joints, palm lengths"),
}
"""Kind of matrix → value of the pale end, value of the dark end, what it is."""
_CELL, _LEFT, _TOP, _BELOW = 28, 96, 34, 96  # pixels


def heat_map(matrix: np.ndarray, kind: str) -> np.ndarray:
    """The matrix ``(20, 20)`` as a picture ``(H, W, 3)`` uint8: rows see, columns are seen; NaN is grey."""
    best, worst, _ = SCALES[kind]
    colors = _painted((matrix - best) / (worst - best))
    colors[~np.isfinite(matrix)] = _UNKNOWN
    page = _frame(kind).copy()
    field = np.repeat(np.repeat(colors, _CELL, axis=0), _CELL, axis=1)
    size = N_FINGER_JOINTS * _CELL
    inside = page[_TOP : _TOP + size, _LEFT : _LEFT + size]
    inside[:] = np.where(_grid()[..., None], inside, field)
    return page


def _painted(share: np.ndarray) -> np.ndarray:
    """Colours ``(..., 3)`` uint8 of shares from 0 (pale) to 1 (dark)."""
    place = np.clip(np.nan_to_num(share), 0, 1) * (len(_RAMP) - 1)
    before = np.minimum(place.astype(int), len(_RAMP) - 2)
    part = (place - before)[..., None]
    return np.rint(_RAMP[before] * (1 - part) + _RAMP[before + 1] * part).astype(np.uint8)


@lru_cache(1)
def _grid() -> np.ndarray:
    """Pixels of the field that are lines between fingers."""
    number = np.arange(N_FINGER_JOINTS * _CELL)
    line = (number % (JOINTS_PER_FINGER * _CELL) < 2) & (number >= 2)
    return line[:, None] | line[None, :]


@lru_cache(len(SCALES))
def _frame(kind: str) -> np.ndarray:
    """Everything but the field: names of fingers, and the scale."""
    best, worst, what = SCALES[kind]
    size = N_FINGER_JOINTS * _CELL
    image = Image.new("RGB", (_LEFT + size + 14, _TOP + size + _BELOW), _PAPER)
    draw = ImageDraw.Draw(image)
    for finger, name in enumerate(FINGERS):
        middle = (finger + 0.5) * JOINTS_PER_FINGER * _CELL
        draw.text((_LEFT + middle, _TOP - 8), name, _INK, _font(22), anchor="ms")
        draw.text((_LEFT - 12, _TOP + middle), name, _INK, _font(22), anchor="rm")
    top = _TOP + size + 22
    draw.text((_LEFT, top + 18), f"{best:g}", _INK, _font(20), anchor="lt")
    draw.text((_LEFT + size, top + 18), f"{worst:g}", _INK, _font(20), anchor="rt")
    draw.text((_LEFT + size / 2, top + 44), what, _GREY, _font(20), anchor="mt")
    page = np.array(image)
    page[top : top + 12, _LEFT : _LEFT + size] = _painted(np.linspace(0, 1, size))
    page[_TOP : _TOP + size, _LEFT : _LEFT + size] = 255
    return page


@lru_cache(8)
def _font(size: int) -> ImageFont.ImageFont:
    return ImageFont.load_default(size)


def timeline(
    curves: Mapping[str, np.ndarray],
    colors: Mapping[str, str],
    contacts: np.ndarray,
    size: tuple[int, int] = (680, 220),
    limits: tuple[float, float] = (0.8, 0.95),
) -> tuple[np.ndarray, tuple[int, int]]:
    """Curves over the frames of a motion, and below them where the source touches.

    Args:
        curves: name → ``(frames,)`` values, NaN where unknown.
        colors: name → ``#RRGGBB``.
        contacts: ``(frames,)`` bool.
        size: width and height in pixels.
        limits: lowest and highest value; what lies outside is cut to them.

    Returns:
        Picture ``(H, W, 3)`` uint8, and the columns of pixels of the first and the last frame, for `marked`.
    """
    width, height = size
    left, right, top, bottom = 52, width - 10, 12, height - 40
    image = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(image)
    for value in np.linspace(*limits, 4):
        y = bottom - (value - limits[0]) / (limits[1] - limits[0]) * (bottom - top)
        draw.line([(left, y), (right, y)], _LINE)
        draw.text((left - 8, y), f"{value:.2f}", _GREY, _font(17), anchor="rm")
    frames = max(len(contacts) - 1, 1)

    def x(frame):
        return left + frame / frames * (right - left)

    edges = np.diff(np.concatenate([[0], contacts.astype(int), [0]]))
    for begin, end in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        draw.rectangle([x(begin) - 1, bottom + 8, x(end - 1) + 1, bottom + 16], "#8A93A0")
    draw.text((left, bottom + 20), "the source's fingertips touch", _GREY, _font(15), anchor="lt")
    for name, values in curves.items():
        for part in _known_parts(np.asarray(values)):
            heights = bottom - (np.clip(values[part], *limits) - limits[0]) / (limits[1] - limits[0]) * (bottom - top)
            points = list(zip(map(float, x(np.arange(part.start, part.stop))), map(float, heights), strict=True))
            if len(points) > 1:
                draw.line(points, colors[name], 3, joint="curve")
    return np.array(image), (round(x(0)), round(x(len(contacts) - 1)))


def _known_parts(values: np.ndarray) -> Sequence[slice]:
    edges = np.diff(np.concatenate([[0], np.isfinite(values).astype(int), [0]]))
    return [slice(a, b) for a, b in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True)]


def marked(picture: np.ndarray, ends: tuple[int, int], share: float) -> np.ndarray:
    """A `timeline` with the present marked, `share` of the way from its first to its last frame."""
    page = picture.copy()
    column = round(ends[0] + share * (ends[1] - ends[0]))
    page[4:-30, max(column - 1, 0) : column + 2] = ImageColor.getrgb(_INK)[:3]
    return page
