"""The compiled rasteriser draws what the one of NumPy draws."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.run.drawing.test_render import cube, sphere
from utils import raster_compiled
from utils.raster import outside_and_normals, shade

COLORS = np.array([[250.0, 127.0, 111.0], [90.0, 160.0, 210.0], [60.0, 60.0, 60.0]])


@pytest.fixture(scope="module", autouse=True)
def compiled():
    assert raster_compiled.PROGRAM.functions() is not None


@pytest.fixture
def by_numpy(monkeypatch):
    def draw(*arguments):
        with monkeypatch.context() as patch:
            patch.setattr(raster_compiled, "program", lambda samples: None)
            return shade(*arguments)

    return draw


def scene(scale, *shapes):
    """Points in pixels (V, 3), faces (F, 3), normals, the mesh of each face, of shapes in units of a picture of 2."""
    points = [(np.asarray(vertices) + [1.0, 1.0, 0.0]) * scale / 2 for vertices, _ in shapes]
    starts = np.cumsum([0, *(len(part) for part in points)])
    directions = [outside_and_normals(part, faces)[1] for part, (_, faces) in zip(points, shapes, strict=True)]
    faces = np.concatenate([faces + start for (_, faces), start in zip(shapes, starts, strict=False)])
    owner = np.repeat(np.arange(len(shapes)), [len(faces) for _, faces in shapes])
    return np.concatenate(points), faces, np.concatenate(directions), COLORS[: len(shapes)], owner


SCENES = {
    "a sphere": [sphere(0.7)],
    "hidden by each other": [sphere(0.5), cube(0.2, (0.2, 0.1, 0.3)), sphere(0.1, 12)],
    "through each other": [cube(0.5), sphere(0.55, 24)],
    "beyond the picture": [sphere(1.6), cube(0.3, (0.9, 0.9, -0.5))],
    "flat": [(np.array([[-0.5, 0, 0], [0.5, 0, 0], [0.2, 0, 0.3]]), np.array([[0, 1, 2]])), sphere(0.2, 12)],
}


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("name", SCENES)
def test_same_pictures(name, samples, by_numpy):
    arguments = (*scene(150, *SCENES[name]), np.array([255, 250, 240]), 163, 149, samples)
    picture, expected = shade(*arguments), by_numpy(*arguments)
    assert np.ptp(expected.astype(int), axis=(0, 1)).min() > 60, "something is seen"
    off = np.abs(picture.astype(int) - expected).max(axis=-1)
    # Rounding gives a sample on an edge to the neighbour, rarely.
    assert (off > 3).mean() < 1e-3 and np.quantile(off, 0.999) <= 3


@pytest.mark.parametrize("samples", [1, 2])
def test_nothing_to_draw(samples):
    points, faces, *rest = scene(100, sphere(0.2, 12))
    background = np.array([1, 2, 3])
    for arguments in ((points + [400.0, 0, 0], faces, *rest), (points, faces[:0], rest[0], rest[1], rest[2][:0])):
        assert (shade(*arguments, background, 100, 100, samples) == background).all()


@pytest.mark.parametrize("rubbish", [np.nan, 3e38])
def test_memory_that_was_used_before_does_not_show(rubbish, monkeypatch):
    """The first face is seen edge-on, so nothing is known of its light."""
    arguments = (*scene(150, *SCENES["through each other"]), np.array([255, 255, 255]), 150, 150, 2)
    expected = shade(*arguments)
    with monkeypatch.context() as patch, np.errstate(invalid="ignore"):
        patch.setattr(raster_compiled.np, "empty", lambda shape, dtype: np.full(shape, rubbish, dtype))
        assert np.array_equal(shade(*arguments), expected)


def test_same_bytes_from_several_threads():
    arguments = (*scene(150, *SCENES["through each other"]), np.array([255, 255, 255]), 150, 150, 2)
    alone = shade(*arguments)
    with ThreadPoolExecutor(4) as pool:
        for picture in pool.map(lambda _: shade(*arguments), range(12)):
            assert np.array_equal(picture, alone)


def test_few_pictures_do_not_wait_for_a_compiler(monkeypatch):
    class Never:
        loaded = False

        def functions(self, compile=True):
            assert not compile, "compiled for a picture"

    monkeypatch.setattr(raster_compiled, "PROGRAM", Never())
    monkeypatch.setattr(raster_compiled, "_kept", lambda: False)
    raster_compiled.prepare(5)
    assert raster_compiled.program(1) is None
