"""Frames of a film of hands: one column for each hand, a view of the palm above one of the back, with captions.

All hands of a clip share one scale (their palms are equally long) and one camera, so that nothing but the hands moves.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from run.drawing.figure import GREY, HAIRLINE, INK, HandCell, printable, touch_marks
from run.drawing.render import Box, Mesh, as_array, camera, render_scene
from utils.cached import cached_property
from utils.cli import processors
from utils.raster_compiled import prepare

VIEWS = ("three_quarter", "back")
_MARGIN = 0.07  # palm lengths left free round the hands
_NARROWEST = 0.62  # width of a panel, at least, as a share of its height: captions need room
_TEXT = 0.046  # height of the letters, as a share of the panel's
_SMALLEST_TEXT = 11.0  # pixels
_SMALLEST_SHARE = 0.7  # to which letters shrink before a title is cut off


@dataclass(frozen=True)
class Track:
    """One hand of a clip.

    cells: a `HandCell` for each frame; its caption is written below the hand, its colour paints it. title: above the
    hand; subtitle: a second, smaller line.
    """

    cells: Sequence[HandCell]
    title: str = ""
    subtitle: str = ""


@dataclass(frozen=True)
class _Layout:
    """Pixels of a clip: panels of (width, height) in columns (tracks) and rows (views), below `top` for the titles."""

    width: int
    height: int
    top: int
    bottom: int
    header: int
    footer: int
    font: ImageFont.FreeTypeFont
    small: ImageFont.FreeTypeFont


class Clip:
    """A film of hands, drawn frame by frame.

    Args:
        tracks: at least one, all with equally many frames.
        side: "right" or "left", for the camera.
        size: height of a panel in pixels.
        views: see `run.drawing.render.camera`, from top to bottom.
        title: a line above all.
        fps: frames per second, for the time that is written beside the title.
        note: a small line below all.
        fit: what has to find room (default: the tracks); films with the same `fit` have the same size and scale.

    Raises ValueError if there is no frame or the tracks differ in length.
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        side: str = "right",
        size: int = 384,
        views: Sequence = VIEWS,
        title: str = "",
        fps: float = 5.0,
        fit: Sequence[Track] | None = None,
        note: str = "",
    ) -> None:
        lengths = {len(track.cells) for track in tracks}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(f"tracks must have equally many frames, at least one; got {sorted(lengths)}")
        self.tracks, self.title, self.note, self.fps = tracks, printable(title), printable(note), fps
        self._turns = [camera(view, side) for view in views]
        fit = tracks if fit is None else fit
        bounds = [_bounds(fit, turn) for turn in self._turns]
        # One scale for all views: the tallest view fills the height, and no view is cut off at the sides.
        tallest = max(high[1] - low[1] for low, high in bounds)
        widest = max(high[0] - low[0] for low, high in bounds)
        self._unit = size / tallest  # pixels per palm length
        middles = [np.append((low + high) / 2, 0.0) for low, high in bounds]
        self._centres = [middle @ turn for middle, turn in zip(middles, self._turns, strict=True)]
        self._layout = _layout(
            fit, _even(max(_NARROWEST * size, widest * self._unit)), _even(size), self.title, self.note
        )

    def __len__(self) -> int:
        return len(self.tracks[0].cells)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, 3) of every frame; both even, as video wants them."""
        plan = self._layout
        height = plan.header + plan.top + plan.height * len(self._turns) + plan.bottom + plan.footer
        return height, plan.width * len(self.tracks), 3

    @property
    def panel_width(self) -> int:
        """Pixels of a column."""
        return self._layout.width

    def widened(self, width: int) -> Clip:
        """The same clip with columns of at least ``width`` pixels, so that clips above each other line up."""
        clip = copy.copy(self)
        clip._layout = replace(self._layout, width=max(_even(width), self.panel_width))
        clip.__dict__.pop("_still", None)
        return clip

    def __iter__(self) -> Iterator[np.ndarray]:
        """All pictures, some of them drawn ahead, side by side."""
        prepare(len(self) * len(self.tracks) * len(self._turns))
        threads = processors()
        with ThreadPoolExecutor(threads) as pool:
            ahead: deque[Future[np.ndarray]] = deque()
            for number in range(len(self)):
                ahead.append(pool.submit(self.frame, number))
                if len(ahead) > threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def frame(self, number: int) -> np.ndarray:
        """One picture, `shape`, uint8."""
        height, width, _ = self.shape
        plan, page = self._layout, self._still.copy()
        draw = ImageDraw.Draw(page)
        if plan.header:
            self._write_clock(draw, number, width)
        for column, track in enumerate(self.tracks):
            cell, left = track.cells[number], column * plan.width
            for row, (turn, centre) in enumerate(zip(self._turns, self._centres, strict=True)):
                picture = self._panel(cell, turn, centre)
                page.paste(Image.fromarray(picture), (left, plan.header + plan.top + row * plan.height))
            base = height - plan.footer - plan.bottom
            self._write(draw, left, base + 0.12 * plan.bottom, cell.caption, plan.small, INK if cell.strong else GREY)
        return np.asarray(page)

    @cached_property
    def _still(self) -> Image.Image:
        """What all frames have in common: their titles and the note."""
        height, width, _ = self.shape
        plan, page = self._layout, Image.new("RGB", (width, height), "white")
        draw = ImageDraw.Draw(page)
        if plan.header:
            pad = 0.5 * plan.font.size
            room = width - 3 * pad - plan.small.getlength(self._clock(len(self) - 1))
            draw.text((pad, 0.22 * plan.header), _shortened(self.title, plan.font, room), fill=INK, font=plan.font)
        for column, track in enumerate(self.tracks):
            left = column * plan.width
            self._write(draw, left, plan.header + 0.12 * plan.top, track.title, plan.font, INK, bold=True)
            self._write(draw, left, plan.header + 0.58 * plan.top, track.subtitle, plan.small, GREY)
        if plan.footer:
            place, room = height - 0.88 * plan.footer, width - 6
            self._line(draw, (width / 2, place), self.note, plan.small, GREY, room)
        return page

    def _panel(self, cell: HandCell, turn: np.ndarray, centre: np.ndarray) -> np.ndarray:
        plan = self._layout
        markers, lines = touch_marks(cell.touches, 0.034 * self._unit + 0.5)
        box = Box(centre * cell.palm_length, min(plan.width, plan.height) / self._unit * cell.palm_length)
        mesh = Mesh(cell.vertices, cell.faces, cell.color) if cell.color else Mesh(cell.vertices, cell.faces)
        return render_scene(
            [mesh], view=turn, size=(plan.width, plan.height), markers=markers, lines=lines, box=box
        )  # fmt: skip

    def _write(self, draw, left, y, text, font, ink, bold=False) -> None:
        if not text:
            return
        middle = left + self._layout.width / 2
        self._line(draw, (middle, y), printable(text), font, ink, self._layout.width - 6, bold)

    def _line(self, draw, place, text, font, ink, room, bold=False) -> None:
        """A line about `place`, in smaller letters if it does not find room."""
        share = room / max(font.getlength(text), 1.0)
        if share < 1:  # a little less than that: small letters are not exactly as wide in proportion
            font = font.font_variant(size=max(0.95 * share, _SMALLEST_SHARE) * font.size)
        text = _shortened(text, font, room)
        stroke = {"stroke_width": 0.25, "stroke_fill": ink} if bold else {}
        draw.text(place, text, fill=ink, font=font, anchor="ma", **stroke)

    def _clock(self, number: int) -> str:
        return f"{number / self.fps:.1f} s"

    def _write_clock(self, draw, number: int, width: int) -> None:
        plan, pad = self._layout, 0.5 * self._layout.font.size
        draw.text((width - pad, 0.28 * plan.header), self._clock(number), fill=GREY, font=plan.small, anchor="ra")
        line = plan.header - 3
        draw.rectangle((0, line, width, line + 1), fill=HAIRLINE)
        draw.rectangle((0, line, round(width * (number + 1) / len(self)), line + 1), fill=GREY)


def _layout(tracks: Sequence[Track], width: int, height: int, title: str, note: str) -> _Layout:
    letters = max(_SMALLEST_TEXT, _TEXT * height)
    font, small = (ImageFont.load_default(size) for size in (letters, max(_SMALLEST_TEXT, 0.86 * letters)))
    titled = any(track.title or track.subtitle for track in tracks)
    captioned = any(cell.caption for track in tracks for cell in track.cells)
    top = _even(3.0 * letters) if titled else 0
    bottom = _even(1.9 * letters) if captioned else 0
    return _Layout(width, height, top, bottom, _even(2.2 * letters) if title else 0,
                   _even(1.9 * letters) if note else 0, font, small)  # fmt: skip


def _bounds(tracks: Sequence[Track], turn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corner (2,) of all hands in all frames as `turn` sees them, in palm lengths, and a margin."""
    limits = [np.zeros((1, 2))]
    for cell in chain.from_iterable(track.cells for track in tracks):
        points = as_array(cell.vertices) @ turn[:2].T / cell.palm_length
        points = points[np.isfinite(points).all(axis=1)]
        if len(points):
            limits.append(np.stack([points.min(axis=0), points.max(axis=0)]))
    points = np.concatenate(limits)
    return points.min(axis=0) - _MARGIN, points.max(axis=0) + _MARGIN


def _shortened(text: str, font, room: float) -> str:
    """The text, cut off with dots where it is wider than `room` pixels."""
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "...") > room:
        text = text[:-1]
    return text + "..."


def _even(length: float) -> int:
    """Whole and even: H.264 with halved colour planes knows no odd pictures."""
    return max(2, 2 * round(length / 2))
