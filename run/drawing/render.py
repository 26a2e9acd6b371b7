"""Pictures of meshes: a camera, one picture or a batch of frames. Pages of many hands are in `run.drawing.figure`.

Everything is drawn by `utils.raster` (NumPy) and Pillow's own font, without a display, a graphics driver or a
system library; `utils.raster` says why. The projection is orthographic, so equal lengths look equal in every
picture of a comparison.

Scene convention: a right hand at rest points to -x (a left hand to +x), the back of the hand to +y, the thumb
side to +z. All views hold the hand upright: fingers up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, radians, sin
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor

from model.methods import MAIN, METHODS
from utils.files import atomic_write
from utils.raster import outside_and_normals, shade

CLOSED, OPEN = "#1E9E5A", "#D62839"  # touching and missed fingertips

_VIEWS = {  # yaw and pitch in degrees, from the palm view
    "palm": (0.0, 0.0),
    "back": (180.0, 0.0),
    "side": (90.0, 0.0),
    "three_quarter": (35.0, 12.0),
}


def color_of(column: str) -> str:
    """Colour of the hands of a method, or of "source": they look like plaster."""
    return "#E4E1DC" if column == "source" else METHODS[column].color


def camera(view="palm", side: str = "right", yaw: float = 0.0, pitch: float = 0.0) -> np.ndarray:
    """Rotation (3, 3) from the scene to the camera; rows: picture's right, picture's up, towards the viewer.

    view: "palm", "back", "side" (from the thumb's side), "three_quarter" (palm, turned to the thumb's side), or
    such a matrix. yaw and pitch in degrees turn the viewer further round the hand towards the thumb, and above
    the fingertips. Raises ValueError for another name or side.
    """
    if side not in ("right", "left"):
        raise ValueError(f"side must be 'right' or 'left'; got {side!r}")
    if isinstance(view, str):
        if view not in _VIEWS:
            raise ValueError(f"view must be one of {', '.join(_VIEWS)} or a (3, 3) matrix; got {view!r}")
        fingers = -1.0 if side == "right" else 1.0
        thumb = -fingers  # in the palm view, a right hand has its thumb on the right
        base = np.array([[0.0, 0.0, thumb], [fingers, 0.0, 0.0], [0.0, -1.0, 0.0]])
        yaw, pitch = yaw + _VIEWS[view][0], pitch + _VIEWS[view][1]
        yaw *= thumb
    else:
        base = np.asarray(view, dtype=float)
        if base.shape != (3, 3):
            raise ValueError(f"a camera matrix must have shape (3, 3); got {base.shape}")
    a, b = radians(yaw), radians(pitch)
    about_up = np.array([[cos(a), 0.0, -sin(a)], [0.0, 1.0, 0.0], [sin(a), 0.0, cos(a)]])
    about_right = np.array([[1.0, 0.0, 0.0], [0.0, cos(b), -sin(b)], [0.0, sin(b), cos(b)]])
    return about_right @ about_up @ base


@dataclass(frozen=True)
class Mesh:
    """vertices (V, 3) in scene units, faces (F, 3) of vertex numbers (either winding), a colour name or #RRGGBB."""

    vertices: np.ndarray
    faces: np.ndarray
    color: str = METHODS[MAIN].color


@dataclass(frozen=True)
class Box:
    """What the picture shows: `centre` (3,) at its middle, `extent` scene units along its shorter side."""

    centre: np.ndarray
    extent: float


def fit_box(vertices, view="palm", side: str = "right", size=(256, 256), margin: float = 0.06) -> Box:
    """The smallest box that shows all vertices (..., 3), with `margin` of the picture left free on each side."""
    turn = camera(view, side)
    points = as_array(vertices).reshape(-1, 3) @ turn.T
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) == 0:
        return Box(np.zeros(3), 1.0)
    low, high = points.min(axis=0), points.max(axis=0)
    width, height = size
    room = (1.0 - 2.0 * margin) * np.array([width, height]) / min(width, height)
    extent = float(((high - low)[:2] / room).max())
    return Box((low + high) / 2 @ turn, extent if extent > 0 else 1.0)


def render_scene(
    meshes: Sequence[Mesh],
    *,
    view="palm",
    side: str = "right",
    size=(256, 256),
    markers=(),
    lines=(),
    background: str = "white",
    box: Box | None = None,
    samples: int = 2,
) -> np.ndarray:
    """Several meshes in one picture, hidden surfaces removed; (height, width, 3) uint8.

    view: see `camera`; size (width, height) in pixels; markers [(point (3,), colour, radius in pixels)] and lines
    [(start (3,), end (3,), colour, width in pixels)] lie above the meshes, so that touching fingertips show even
    behind others; box: what is shown (default: all of it); samples x samples per pixel.
    Parts of a mesh that are not finite are left out.
    """
    turn = camera(view, side)
    width, height = size
    arrays = [(as_array(mesh.vertices).astype(float), _indices(mesh)) for mesh in meshes]
    if box is None:
        box = fit_box(np.concatenate([v for v, _ in arrays] or [np.zeros((0, 3))]), view, side, size)
    scale = min(width, height) / box.extent
    points, normals, faces, owners, start = [np.zeros((0, 3))], [np.zeros((0, 3))], [], [], 0
    for number, (vertices, triangles) in enumerate(arrays):
        finite = np.isfinite(vertices).all(axis=1)
        triangles = triangles[finite[triangles].all(axis=1)]
        seen = (np.where(finite[:, None], vertices, 0.0) - box.centre) @ turn.T
        triangles, directions = outside_and_normals(seen, triangles)
        points.append(_to_pixels(seen, scale, width, height))
        normals.append(directions)
        faces.append(triangles + start)
        owners.append(np.full(len(triangles), number))
        start += len(vertices)
    picture = shade(
        np.concatenate(points),
        np.concatenate([np.zeros((0, 3), dtype=np.int64), *faces]),
        np.concatenate(normals),
        [ImageColor.getrgb(mesh.color)[:3] for mesh in meshes],
        np.concatenate([np.zeros(0, dtype=np.int64), *owners]),
        np.asarray(ImageColor.getrgb(background)[:3]),
        width,
        height,
        samples,
    )

    def place(point):
        return _to_pixels((as_array(point).astype(float) - box.centre) @ turn.T, scale, width, height)[:2]

    for begin, end, color, thickness in lines:
        _stroke(picture, place(begin), place(end), thickness / 2, color)
    for point, color, radius in markers:
        _stroke(picture, place(point), place(point), radius + max(1.0, 0.3 * radius), "white")
        _stroke(picture, place(point), place(point), radius, color)
    return picture


def render_mesh(vertices, faces, *, color: str = METHODS[MAIN].color, markers=(), lines=(), **options) -> np.ndarray:
    """One mesh, or the frames of a motion: vertices (..., V, 3), faces (F, 3) -> (..., height, width, 3) uint8.

    Options and markers as in `render_scene`; the points of markers and lines may have the frames' leading
    dimensions. Without a box, one box holds all frames.
    """
    vertices = as_array(vertices)
    frames = vertices.reshape((-1,) + vertices.shape[-2:])
    batch = vertices.shape[:-2]
    if options.get("box") is None:
        fit = {key: options[key] for key in ("view", "side", "size") if key in options}
        options["box"] = fit_box(frames, **fit)

    def per_frame(point):
        return np.broadcast_to(as_array(point), batch + (3,)).reshape(-1, 3)

    dots = [(per_frame(point), paint, radius) for point, paint, radius in markers]
    strokes = [(per_frame(a), per_frame(b), paint, thick) for a, b, paint, thick in lines]
    pictures = [
        render_scene(
            [Mesh(frame, faces, color)],
            markers=[(point[i], paint, radius) for point, paint, radius in dots],
            lines=[(a[i], b[i], paint, thick) for a, b, paint, thick in strokes],
            **options,
        )
        for i, frame in enumerate(frames)
    ]
    if not pictures:
        width, height = options.get("size", (256, 256))
        return np.zeros(batch + (height, width, 3), dtype=np.uint8)
    return np.stack(pictures).reshape(batch + pictures[0].shape)


def as_array(values) -> np.ndarray:
    """The values of a tensor (any device, with or without gradient) or anything like an array, as a NumPy array."""
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)


def _indices(mesh: Mesh) -> np.ndarray:
    faces, count = as_array(mesh.faces).astype(np.int64), len(mesh.vertices)
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f"faces must have shape (F, 3); got {faces.shape}")
    if len(faces) and (faces.min() < 0 or faces.max() >= count):
        raise ValueError(f"faces name vertices {faces.min()}..{faces.max()}, but the mesh has {count} vertices")
    return faces


def _to_pixels(points, scale, width, height):
    """Camera coordinates (..., 3) -> pixels right, pixels down, depth in pixels (larger is farther)."""
    return points * [scale, -scale, -scale] + [width / 2, height / 2, 0.0]


def _stroke(picture, start, end, radius, color):
    """Draw a round-ended line (a disc if start = end) of that radius into the picture, smoothed, in place."""
    if not (np.isfinite(start).all() and np.isfinite(end).all()):
        return
    height, width = picture.shape[:2]
    low = np.clip(np.floor(np.minimum(start, end) - radius - 1), 0, [width, height]).astype(int)
    high = np.clip(np.ceil(np.maximum(start, end) + radius + 1), 0, [width, height]).astype(int)
    if (high <= low).any():
        return
    x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5 - start[0], np.arange(low[1], high[1]) + 0.5 - start[1])
    along = end - start
    share = np.clip((x * along[0] + y * along[1]) / max(along @ along, 1e-12), 0.0, 1.0)
    distance = np.hypot(x - share * along[0], y - share * along[1])
    cover = np.clip(radius + 0.5 - distance, 0.0, 1.0)[..., None]
    part = picture[low[1] : high[1], low[0] : high[0]]
    part[:] = np.round(part * (1 - cover) + np.asarray(ImageColor.getrgb(color)[:3]) * cover)


def save_png(path: str | Path, image: np.ndarray) -> None:
    """Write an image (height, width, 3) uint8 as PNG; the file appears complete or not at all."""
    with atomic_write(path) as temporary:
        Image.fromarray(np.ascontiguousarray(image)).save(temporary, format="PNG")
