"""Figure pages: a grid of hands with titles and captions, as one would print it in a paper."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from run.drawing.render import CLOSED, OPEN, Box, Mesh, as_array, camera, render_scene

INK, GREY, HAIRLINE = "#1F2328", "#6B7280", "#E3E6EA"
_INSET = 0.5  # size of the second view beside the first
_DEFAULT_COLOR = "#E4E1DC"
_REPLACED = str.maketrans({"–": "-", "—": "-", "−": "-", "×": "x", "•": "·", "→": ">", "≤": "<"})


@dataclass(frozen=True)
class HandCell:
    """One hand of a grid.

    vertices (V, 3) with the wrist at the origin, faces (F, 3); palm_length: in the vertices' unit, hands are drawn
    with equal palms; touches: [(point, point, closed)], fingertips that should meet, marked green where they do and
    red, with a line across the gap, where they do not; caption: a short line below; strong: print it dark;
    color: instead of the column's.
    """

    vertices: np.ndarray
    faces: np.ndarray
    palm_length: float = 1.0
    caption: str = ""
    touches: Sequence[tuple] = ()
    strong: bool = False
    color: str | None = None


def hand_grid(
    rows: Sequence[Sequence[HandCell | None]],
    column_titles: Sequence[str],
    row_titles: Sequence[str] = (),
    *,
    colors: Sequence[str] = (),
    title: str = "",
    note: str = "",
    side: str = "right",
    view="three_quarter",
    inset="back",
    cell_width: int = 200,
    density: float = 2.0,
) -> np.ndarray:
    """A page of hands, rows (gestures) by columns (methods), (height, width, 3) uint8.

    Every row has one HandCell or None (left blank) per column. All hands share one scale (their palms are equally
    long) and stand on the same line within a row. colors: one per column; view, inset: see `render.camera`, inset
    None leaves the small second view out; cell_width in points, density pixels per point; note: a line below all.
    Raises ValueError if a row's or a list's length differs from the number of columns.
    """
    columns = len(column_titles)
    for name, found, expected in (
        *((f"row {i}", len(row), columns) for i, row in enumerate(rows)),
        ("row_titles", len(row_titles) or len(rows), len(rows)),
        ("colors", len(colors) or columns, columns),
    ):
        if found != expected:
            raise ValueError(f"{name} must have {expected} entries; got {found}")
    views = [camera(view, side)] + ([] if inset is None else [camera(inset, side)])
    bounds = [[_bounds(row, turn) for turn in views] for row in rows]
    wide = max(
        (sum(share * size[0] for share, (_, size) in zip((1.0, _INSET), b, strict=False)) for b in bounds),
        default=1.0,
    )
    layout = _Layout(columns, cell_width, density, (cell_width - 12.0) / wide, column_titles, row_titles)
    heights = [b[0][1][1] * layout.unit for b in bounds]
    page = layout.blank(heights, title, note)
    draw = ImageDraw.Draw(page)
    layout.write_titles(draw, title, note, page)
    top = layout.top
    for r, row in enumerate(rows):
        layout.write_row_title(draw, r, top, heights[r])
        for c, cell in enumerate(row):
            if cell is None:
                continue
            color = cell.color or (colors[c] if len(colors) else _DEFAULT_COLOR)
            x = layout.left + c * cell_width
            picture = _drawn(cell, color, views, bounds[r], layout.unit * density)
            free = round(cell_width * density) - picture.shape[1]
            page.paste(Image.fromarray(picture), (round(x * density) + max(free, 0) // 2, round(top * density)))
            layout.write_caption(draw, cell, x, top + heights[r])
        top += heights[r] + layout.caption
    return np.asarray(page)


def printable(text: str) -> str:
    """The text in characters that Pillow's built-in font has: plain dashes, letters without accents."""
    plain = unicodedata.normalize("NFKD", text.translate(_REPLACED))
    return "".join(c for c in plain if not unicodedata.combining(c))


def touch_marks(touches: Sequence[tuple], radius: float) -> tuple[list, list]:
    """(markers, lines) for `run.drawing.render.render_scene`: green dots of `radius` pixels where fingertips meet,
    red ones with a line across the gap where they do not. touches: see HandCell."""
    markers, lines = [], []
    for a, b, closed in touches:
        paint = CLOSED if closed else OPEN
        markers += [(a, paint, radius), (b, paint, radius)]
        lines += [] if closed else [(a, b, paint, max(1.2, 0.6 * radius))]
    return markers, lines


def _bounds(row, turn):
    """Lowest corner (2,) and size (2,) in palm lengths of all hands of a row, with a margin, wrist at the origin."""
    points = [(as_array(cell.vertices) / cell.palm_length) @ turn[:2].T for cell in row if cell is not None]
    points = np.concatenate(points) if points else np.zeros((0, 2))
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) == 0:
        return np.zeros(2), np.ones(2)
    low, high = points.min(axis=0) - 0.06, points.max(axis=0) + 0.06
    return low, high - low


def _drawn(cell, color, views, bounds, unit):
    """The views of one hand side by side, standing on one line; unit: pixels per palm length."""
    pictures = []
    for number, (turn, (low, size)) in enumerate(zip(views, bounds, strict=True)):
        here = unit * (1.0 if number == 0 else _INSET)
        width, height = (max(2, round(here * s)) for s in size)
        centre = np.append(low + size / 2, 0.0) @ turn * cell.palm_length
        box = Box(centre, min(width, height) / here * cell.palm_length)
        markers, lines = touch_marks(cell.touches, 0.036 * here + 0.5)
        mesh = Mesh(cell.vertices, cell.faces, color)
        pictures.append(render_scene([mesh], view=turn, size=(width, height), markers=markers, lines=lines, box=box))
    tall = pictures[0].shape[0]
    for i, picture in enumerate(pictures[1:], 1):
        missing = tall - picture.shape[0]
        pictures[i] = np.pad(picture[-tall:], ((max(missing, 0), 0), (0, 0), (0, 0)), constant_values=255)
    return np.concatenate(pictures, axis=1)


class _Layout:
    """Places and type of a page; all lengths in points, `density` pixels each. unit: points per palm length."""

    def __init__(self, columns, cell_width, density, unit, column_titles, row_titles):
        self.columns, self.cell_width, self.density, self.unit = columns, cell_width, density, unit
        self.column_titles = [printable(text) for text in column_titles]
        self.row_titles = [printable(text) for text in row_titles]
        self.body, self.small, self.large = (ImageFont.load_default(size * density) for size in (13, 10.5, 17))
        widest = max(
            (self.body.getlength(t) / density for title in self.row_titles for t in title.split("\n")), default=0
        )
        self.margin = 16.0
        self.left = self.margin + (widest + 12.0 if row_titles else 0.0)
        self.caption = 30.0
        self.top = 0.0

    def blank(self, heights, title, note):
        """A white page of the right size; settles where the first row starts."""
        self.top = self.margin + (34.0 if title else 0.0) + 30.0
        bottom = self.margin * 0.6 + (20.0 if note else 0.0)
        width = self.left + self.columns * self.cell_width + self.margin
        height = self.top + sum(heights) + self.caption * len(heights) + bottom
        return Image.new("RGB", (round(width * self.density), round(height * self.density)), "white")

    def _text(self, draw, x, y, text, font, ink, anchor, bold=0.0):
        where = (x * self.density, y * self.density)
        text = printable(text)
        draw.text(where, text, fill=ink, font=font, anchor=anchor, stroke_width=bold * self.density, stroke_fill=ink)

    def write_titles(self, draw, title, note, page):
        if title:
            self._text(draw, self.margin, self.margin + 8, title, self.large, INK, "lm")
        for c, text in enumerate(self.column_titles):
            x = self.left + (c + 0.5) * self.cell_width
            self._text(draw, x, self.top - 18, text, self.body, INK, "mm", bold=0.25)
        self._rule(draw, self.top - 5)
        if note:
            self._text(draw, self.margin, page.height / self.density - self.margin, note, self.small, GREY, "lm")

    def write_row_title(self, draw, number, top, height):
        if number:
            self._rule(draw, top - 5)
        if self.row_titles:
            text = self.row_titles[number]
            where = (self.margin * self.density, (top + height / 2) * self.density)
            draw.multiline_text(where, text, fill=INK, font=self.body, anchor="lm", spacing=3 * self.density)

    def write_caption(self, draw, cell, x, y):
        ink = INK if cell.strong else GREY
        self._text(
            draw,
            x + self.cell_width / 2,
            y + 9,
            cell.caption,
            self.small,
            ink,
            "mm",
            0.2 if cell.strong else 0,
        )

    def _rule(self, draw, y):
        right = self.left + self.columns * self.cell_width
        draw.line(
            [self.margin * self.density, y * self.density, right * self.density, y * self.density],
            HAIRLINE,
            2,
        )
