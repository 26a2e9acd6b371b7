"""A small software rasteriser: triangles in, shaded pixels out, with nothing but NumPy.

Why our own: the pictures must appear on a bare machine with Python and make only. VTK (and with it
PyVista) loads EGL, X11 or OSMesa from the *system* when the first window opens; its wheel brings none of
them, and where they are missing the process dies with a segmentation fault that no fallback can catch
(measured with vtk 9.7). It also weighs 140 MB packed and 565 MB installed. A hand has some 800 vertices;
for that, a vectorised scan-line z-buffer takes a few milliseconds and runs everywhere alike, to the bit.
Films, which are many pictures, are drawn by the same compiled (`utils.raster_compiled`), wherever LLVM runs.

The steps: every triangle is cut into pixel rows (spans), the spans into fragments, and the nearest fragment
of each pixel wins by one `minimum.at` over keys that hold depth above and triangle number below. Only the
winners are shaded: interpolated normals look up a pre-computed table of light (a "matcap"), which allows a
soft studio light at the price of one gather. Creases and contact are darkened by comparing depths in a
neighbourhood, and edges of depth get a thin contour, so that crossed and touching fingers stay legible.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from utils import raster_compiled
from utils.raster_layout import CREASE, DARK, DEEPEST, INSIDE, REACHES

_DEPTH_LEVELS = float(2**30)
_NOTHING = np.iinfo(np.int64).max  # farther than all, and its lower half reads as face -1
_FRAGMENTS = 1 << 15
_TABLE = 128  # the light table is (2 * _TABLE + 1)^2, indexed by the normal's x and y


def visible_faces(points: np.ndarray, faces: np.ndarray, width: int, height: int):
    """Which triangle is seen through each pixel's centre.

    points (V, 3): x right and y down in pixels, z depth (larger is farther, any unit); faces (F, 3) int.
    Neighbouring triangles leave no gap and share no pixel. Equal depths go to the lower triangle number, so the
    result is deterministic. Points of triangles must be finite.
    Returns face (height, width) int32, -1 where nothing is seen, and depth (height, width) float32, NaN there.
    """
    buffer = np.full(height * width, _NOTHING)
    corners = points[faces]
    near, far = (corners[..., 2].min(), corners[..., 2].max()) if len(faces) else (0.0, 1.0)
    scale = (_DEPTH_LEVELS - 1) / max(far - near, 1e-30)
    owner, row, left, right = _spans(corners, width, height)
    slope_x, slope_y, base = (part[:, 0] for part in _planes(corners, (corners[..., 2:] - near) * scale))
    # Depth along a span is start + step * (pixels from its left end).
    step = slope_x[owner]
    start = base[owner] + slope_y[owner] * (row + 0.5) + step * (left + 0.5)
    first, count = row * width + left, right - left
    end = np.cumsum(count)
    # A part of the spans at a time, so that the fragments stay in the processor's cache.
    cuts = np.searchsorted(end, np.arange(0, end[-1], _FRAGMENTS)[1:]) if len(end) else []
    for part in np.split(np.arange(len(owner)), cuts):
        length = count[part]
        span = np.repeat(part, length)
        along = np.arange(len(span)) - np.repeat(np.cumsum(length) - length, length)
        # Slivers may overshoot their corners, hence the limits.
        levels = np.minimum(np.maximum(start[span] + step[span] * along, 0.0), _DEPTH_LEVELS - 1)
        np.minimum.at(buffer, first[span] + along, (levels.astype(np.int64) << 32) | owner[span])
    face = (buffer & 0xFFFFFFFF).astype(np.uint32).view(np.int32)
    depth = ((buffer >> 32) / scale + near).astype(np.float32)
    depth[face < 0] = np.nan
    return face.reshape(height, width), depth.reshape(height, width)


def _spans(corners, width, height):
    """Cut triangles (F, 3, >=2) into runs of pixels: owner, row, left (first x), right (one past the last)."""
    order = np.argsort(corners[..., 1], axis=1, kind="stable")
    sorted_corners = np.take_along_axis(corners[..., :2], order[..., None], axis=1)
    limit = 4.0 * (width + height)
    top = np.ceil(np.clip(sorted_corners[:, 0, 1] - 0.5, 0, height)).astype(np.int64)
    bottom = np.ceil(np.clip(sorted_corners[:, 2, 1] - 0.5, 0, height)).astype(np.int64)
    count = bottom - top
    owner = np.repeat(np.arange(len(corners)), count)
    row = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count - top, count)
    y = row + 0.5
    a, b, c = (sorted_corners[owner, i] for i in range(3))
    upper = y < b[:, 1]
    long_edge = _crossing(a, c, y)
    short_edge = _crossing(np.where(upper[:, None], a, b), np.where(upper[:, None], b, c), y)
    first = np.clip(np.minimum(long_edge, short_edge), -limit, limit)
    last = np.clip(np.maximum(long_edge, short_edge), -limit, limit)
    left = np.clip(np.ceil(first - 0.5).astype(np.int64), 0, width)
    right = np.clip(np.ceil(last - 0.5).astype(np.int64), 0, width)
    full = right > left
    return owner[full], row[full], left[full], right[full]


def _crossing(start, end, y):
    """x where the edge start-end (N, 2), start above end, crosses the height y (N,)."""
    rise = end[:, 1] - start[:, 1]
    fraction = np.clip((y - start[:, 1]) / np.where(rise == 0, 1.0, rise), 0.0, 1.0)
    return start[:, 0] + (end[:, 0] - start[:, 0]) * fraction


def _planes(corners, values):
    """Linear functions of the pixel position through values (F, 3, C) at the corners: d/dx, d/dy, at (0, 0)."""
    (x1, y1), (x2, y2) = ((corners[:, i, :2] - corners[:, 0, :2]).T for i in (1, 2))
    area = x1 * y2 - x2 * y1
    area = np.where(np.abs(area) < 1e-12, np.inf, area)[:, None]
    v1, v2 = values[:, 1] - values[:, 0], values[:, 2] - values[:, 0]
    slope_x = (v1 * y2[:, None] - v2 * y1[:, None]) / area
    slope_y = (v2 * x1[:, None] - v1 * x2[:, None]) / area
    base = values[:, 0] - slope_x * corners[:, 0, :1] - slope_y * corners[:, 0, 1:2]
    return slope_x, slope_y, base


def outside_and_normals(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The faces (F, 3), all turned round if the volume that they enclose comes out negative, and the unit normals
    (V, 3) of the vertices: area-weighted means over the adjacent triangles; (0, 0, 0) where there is none.

    A hand that is open at the wrist still has a clear sign. Mirrored meshes (left hands) need this.
    """
    if len(faces) == 0:
        return faces, np.zeros_like(vertices)
    first, second, third = (np.ascontiguousarray(vertices[faces[:, i]].T) for i in range(3))
    (x, y, z), (u, v, w) = second - first, third - first
    weighted = np.stack([y * w - z * v, z * u - x * w, x * v - y * u])
    middle = (first.mean(axis=1) + second.mean(axis=1) + third.mean(axis=1)) / 3
    if float((weighted * (first - middle[:, None])).sum()) < 0:  # six times the volume
        faces, weighted = faces[:, ::-1], -weighted
    owner = faces.reshape(-1)
    normals = np.stack([np.bincount(owner, np.repeat(part, 3), len(vertices)) for part in weighted])
    lengths = np.sqrt((normals * normals).sum(axis=0))
    return faces, (normals / np.where(lengths == 0, 1.0, lengths)).T


def _unit(*vector):
    return np.asarray(vector, dtype=float) / np.linalg.norm(vector)


@lru_cache(maxsize=1)
def _light_table() -> np.ndarray:
    """Brightness 0..1 for every direction of a normal, (2N+1, 2N+1) float32, indexed as `_on_disc` places it."""
    axis = np.linspace(-1.0, 1.0, 2 * _TABLE + 1)
    x, y = np.meshgrid(axis, axis)
    squared = np.minimum(x * x + y * y, 1.0)
    stretch = 2.0 * np.sqrt(1.0 - squared)
    normal = np.stack([x * stretch, y * stretch, 1.0 - 2.0 * squared], axis=-1)
    key, fill = _unit(-0.55, 0.75, 0.8), _unit(0.9, 0.0, 0.5)
    half = _unit(*(key + np.array([0.0, 0.0, 1.0])))
    diffuse = np.clip((normal @ key + 0.4) / 1.4, 0.0, 1.0)  # wrapped: soft, as light under skin
    light = 0.22 + 0.08 * normal[..., 1] + 0.54 * diffuse + 0.14 * np.clip(normal @ fill, 0.0, 1.0)
    light *= 0.80 + 0.20 * np.clip(normal[..., 2] / 0.5, 0.0, 1.0) ** 0.8  # limbs darken towards their outline
    light += 0.16 * np.clip(normal @ half, 0.0, 1.0) ** 24
    return np.clip(light, 0.0, 1.0).astype(np.float32)


def _on_disc(normals):
    """Unit normals (..., 3) on the unit disc (..., 2): the viewer's direction in the middle, the far side on the rim.

    Lambert's equal-area map. Unlike the normal's own x and y it may be interpolated without normalising again.
    """
    return normals[..., :2] / np.sqrt(np.maximum(2.0 * (1.0 + normals[..., 2:]), 1e-6))


@lru_cache(maxsize=64)
def _ramp(color: tuple[float, ...]) -> np.ndarray:
    """Colours (256, 3) float32 in 0..255 from deep shadow over the mesh's own colour to highlight."""
    base = np.asarray(color)
    shadow = base * np.array([0.34, 0.30, 0.36])
    highlight = base + (255.0 - base) * 0.8
    stops = np.stack([shadow, base * 0.82, base, highlight])
    light = np.linspace(0.0, 1.0, 256)
    return np.stack([np.interp(light, [0.0, 0.45, 0.72, 1.0], stops[:, c]) for c in range(3)], axis=1).astype("f4")


def shade(points, faces, normals, colors, face_mesh, background, width: int, height: int, samples: int = 2):
    """The finished picture of a scene of triangles, (height, width, 3) uint8.

    points (V, 3): pixels right, pixels down, depth *in pixels*; faces (F, 3), outside counter-clockwise for the
    viewer; normals (V, 3) unit, in the camera's frame (x right, y up, z to the viewer); `colors` (M, 3) 0..255 of M
    meshes; face_mesh (F,) the mesh of each triangle; background (3,) 0..255. samples x samples per pixel.
    """
    picture = np.empty((height, width, 3), dtype=np.uint8)
    picture[:] = background
    window = _window(points, faces.reshape(-1), width, height)
    if window is None:
        return picture
    (left, right), (top, bottom) = window
    points = (points - [left, top, 0.0]) * samples
    if (draw := raster_compiled.program(samples)) is not None:
        size = min(width, height)
        scene = raster_compiled.Scene(
            points, normals, faces, face_mesh, _light_table(),
            np.concatenate([_ramp(tuple(map(float, color))) for color in colors]), np.asarray(background),
            0.02 * size * samples, [_reach(share, size) + (weight,) for share, weight in REACHES],
        )  # fmt: skip
        picture[top:bottom, left:right] = raster_compiled.drawn(draw, scene, right - left, bottom - top, samples)
        return picture
    face, depth = visible_faces(points, faces, (right - left) * samples, (bottom - top) * samples)
    seen = face >= 0
    light = _lit(points, faces, normals, face, seen)
    # Brightness is averaged over a pixel's samples before it becomes colour: one scalar instead of three.
    nearest = depth[::samples, ::samples]
    for i in range(1, samples * samples):
        nearest = np.fmin(nearest, depth[i // samples :: samples, i % samples :: samples])
    open_sky = _openness(nearest, min(width, height))
    owner = np.where(seen, face_mesh[face], -1)
    mixed, bare = 0.0, 1.0
    for number, color in enumerate(colors):
        own = (owner == number).astype(np.float32)
        cover = _pixel_mean(own, samples)
        tone = _pixel_mean(light * own, samples) / np.maximum(cover, 1e-6) * open_sky
        mixed = mixed + cover[..., None] * _ramp(tuple(map(float, color)))[(tone * 255.0 + 0.5).astype(np.int64)]
        bare = bare - cover
    mixed = mixed + bare[..., None] * np.asarray(background, dtype=np.float32)
    lined = _pixel_mean(_contour(depth, 0.02 * min(width, height) * samples), samples)
    picture[top:bottom, left:right] = mixed * lined[..., None] + 0.5
    return picture


def _window(points, used, width, height):
    """((left, right), (top, bottom)) pixels round the points (V, 3) of these numbers, with a pixel's margin; None if
    that is empty."""
    if len(used) == 0:
        return None
    columns = [points[used, c] for c in range(2)]  # one after the other: reducing over short rows is slow
    limits = [width, height]
    low = np.clip([np.floor(column.min()) - 1 for column in columns], 0, limits).astype(int)
    high = np.clip([np.ceil(column.max()) + 1 for column in columns], 0, limits).astype(int)
    return None if (high <= low).any() else tuple(zip(low.tolist(), high.tolist(), strict=True))


def _pixel_mean(values, samples):
    """Mean (rows, columns) over the samples of each pixel; strided slices beat a reduction over short axes."""
    parts = [values[i::samples, j::samples] for i in range(samples) for j in range(samples)]
    return sum(parts[1:], parts[0].copy()) / np.float32(samples**2)


def _lit(points, faces, normals, face, seen):
    """Brightness (rows, columns) float32 of the samples, 0 where nothing is seen."""
    corners = points[faces]
    # Outward triangles run clockwise here, where y points down; the others are seen from inside.
    edges = corners[:, 1:, :2] - corners[:, :1, :2]
    inside = edges[:, 0, 0] * edges[:, 1, 1] > edges[:, 0, 1] * edges[:, 1, 0]
    on_disc = _on_disc(np.where(inside[:, None, None], -1.0, 1.0) * normals[faces])
    slopes_x, slopes_y, base = _planes(corners, (on_disc + 1.0) * _TABLE + 0.5)
    planes = np.stack([slopes_x, slopes_y, base], axis=-1).astype(np.float32).reshape(-1, 6)
    dim = np.where(inside, np.float32(INSIDE), np.float32(1.0)) if inside.any() else None
    table = _light_table()
    light = np.zeros(face.shape, dtype=np.float32)
    band = max(1, 2 * _FRAGMENTS // face.shape[1])
    for top in range(0, len(face), band):
        here = seen[top : top + band]
        rows, columns = np.nonzero(here)
        shown = face[top : top + band][here]
        parts = planes[shown]
        x, y = columns.astype(np.float32) + np.float32(0.5), rows.astype(np.float32) + np.float32(top + 0.5)
        place = []
        for i in (0, 3):
            value = parts[:, i] * x + parts[:, i + 1] * y + parts[:, i + 2]
            place.append(np.minimum(np.maximum(value, 0.0), 2.0 * _TABLE).astype(np.int32))
        brightness = table[place[1], place[0]]
        light[top : top + band][here] = brightness if dim is None else brightness * dim[shown]
    return light


def _openness(depth, size):
    """How openly each pixel lies, 0.45..1: darker in creases and beside what is in front; depth NaN where empty.

    Opposite neighbours are taken together, so that a slope alone is not darkened, and each difference is limited,
    so that a step counts as a wall of the same height as the distance to it.
    """
    empty = np.isnan(depth)
    shadow = np.zeros(depth.shape, dtype=np.float32)
    for share, weight in REACHES:
        step, diagonal, limit = _reach(share, size)
        padded = np.pad(np.where(empty, np.float32(0), depth), step)
        filled = np.pad(np.where(empty, np.float32(0), np.float32(1)), step)
        total = np.zeros_like(shadow)
        for dy, dx in ((0, step), (step, 0), (diagonal, diagonal), (diagonal, -diagonal)):
            pair = np.zeros_like(shadow)
            for sign in (1, -1):
                there = _moved(step, sign * dy, sign * dx, depth.shape)
                nearer = np.minimum(np.maximum(depth - padded[there], -limit), limit)
                pair += nearer * filled[there]
            total += np.fmax(pair, np.float32(0.0))
        shadow += np.float32(weight) * np.minimum(total / np.float32(4 * step), np.float32(1.0))
    return np.float32(1.0) - np.float32(DEEPEST) * np.minimum(np.float32(CREASE) * shadow, np.float32(1.0))


def _reach(share, size):
    """Pixels to straight and to diagonal neighbours at a share of the picture's size, and how deep they may lie."""
    step = max(1, round(share * size))
    return step, max(1, round(0.7 * step)), np.float32(1.5 * step)


def _moved(border, dy, dx, shape):
    """Slices that cut the neighbours at (dy, dx) out of an array padded by `border`."""
    return tuple(slice(border + d, border + d + n) for d, n in zip((dy, dx), shape, strict=True))


def _contour(depth, threshold):
    """Factor (rows, columns) that draws a thin dark line where depth jumps by more than threshold; 1 elsewhere."""
    filled = np.where(np.isnan(depth), np.float32(1e9), depth)
    factor = np.ones(depth.shape, dtype=np.float32)
    dark = np.float32(DARK)
    down = np.abs(filled[1:] - filled[:-1]) > threshold
    factor[1:][down] = dark
    factor[:-1][down] = dark
    right = np.abs(filled[:, 1:] - filled[:, :-1]) > threshold
    factor[:, 1:][right] = dark
    factor[:, :-1][right] = dark
    return factor
