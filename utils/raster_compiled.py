"""The rasteriser compiled (:mod:`utils.raster_program`): how it is called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from utils.compiled import Compiled
from utils.raster_layout import (
    BACKGROUND,
    BORDER,
    DEPTH,
    FACE,
    FACES,
    HEIGHT,
    LANES,
    LINES,
    MESHES,
    N_ARGUMENTS,
    N_FACES,
    N_MESHES,
    NEAREST,
    NORMALS,
    NUMBERS,
    PER_FACE,
    PICTURE,
    PLANES,
    POINTS,
    RAMPS,
    SKY,
    TABLE,
    WIDTH,
)

_WORTH = 60
"""Pictures that are sooner drawn by NumPy than the program is compiled."""


def _text() -> str:
    from utils.raster_program import ENTRIES  # needs LLVM, of which only the compiler has need
    from utils.vectors import program

    return program(ENTRIES)


PROGRAM = Compiled(
    "semantics2hands",
    [Path(__file__).with_name(name) for name in ("vectors.py", "raster_layout.py", "raster_program.py")],
    _text,
    ("draw1", "draw2"),
)


@cache
def _kept() -> bool:
    """Whether an earlier run left the program, asked once: pictures of one run are all drawn alike."""
    return PROGRAM.functions(compile=False) is not None


def prepare(pictures: int) -> None:
    """Have so many pictures drawn by the program, if it is there or they are worth that it is compiled."""
    if not _kept() and pictures >= _WORTH:
        PROGRAM.functions()


def program(samples: int) -> Callable[[int], None] | None:
    """The program for so many samples, if it is there."""
    functions = PROGRAM.functions(compile=False) if _kept() or PROGRAM.loaded else None
    return None if functions is None else functions.get(f"draw{samples}")


class Scene(NamedTuple):
    """What `utils.raster.shade` draws; points in samples from the window's corner."""

    points: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    meshes: np.ndarray
    table: np.ndarray
    ramps: np.ndarray
    background: np.ndarray
    contour: float
    """A step of depth beyond which a line is drawn."""
    reaches: Sequence[tuple[float, float, float, float]]
    """Straight and diagonal steps to neighbours that darken, how deep they may lie, and their weights."""


def drawn(draw: Callable[[int], None], scene: Scene, width: int, height: int, samples: int) -> np.ndarray:
    """The picture (height, width, 3), float32 in 0 … 256 to be cut to integers."""
    border, cells = int(max(reach[0] for reach in scene.reaches)) + 1, width * height * samples**2 + LANES
    half = len(scene.table) // 2
    numbers = [scene.contour, half, *(number for reach in scene.reaches for number in reach)]
    single = {
        TABLE: scene.table,
        RAMPS: scene.ramps,
        BACKGROUND: scene.background,
        NUMBERS: np.array(numbers),
        # Faces seen edge-on have none, and the first face stands for no face.
        PLANES: np.zeros(PER_FACE * max(1, len(scene.faces)), np.float32),
        SKY: np.empty(width + LANES, np.float32),
        NEAREST: np.empty((width + 2 * border) * (height + 2 * border) + LANES, np.float32),
        PICTURE: np.empty((height, width, 3), np.float32),
        **{name: np.empty(cells, np.float32) for name in (DEPTH, FACE, LINES)},
    }
    arrays = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in single.items()}
    arrays |= {POINTS: np.ascontiguousarray(scene.points, dtype=np.float64)}
    arrays |= {NORMALS: np.ascontiguousarray(scene.normals, dtype=np.float64)}
    arrays |= {FACES: np.ascontiguousarray(scene.faces, dtype=np.int64)}
    arrays |= {MESHES: np.ascontiguousarray(scene.meshes, dtype=np.int64)}
    arguments = np.zeros(N_ARGUMENTS, np.int64)
    for name, array in arrays.items():
        arguments[name] = array.ctypes.data
    counts = {N_FACES: len(scene.faces), N_MESHES: len(scene.ramps) // 256, WIDTH: width, HEIGHT: height}
    for name, count in {**counts, BORDER: border}.items():
        arguments[name] = count
    draw(arguments.ctypes.data)
    return arrays[PICTURE]
