"""Rays on meshes of which the hits are known."""

from __future__ import annotations

import numpy as np
import pytest

from utils.geometry import first_hits, shoot

CORNERS = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
_QUADS = [[0, 1, 3, 2], [4, 5, 7, 6], [0, 1, 5, 4], [2, 3, 7, 6], [0, 2, 6, 4], [1, 3, 7, 5]]
FACES = np.array([[q[a] for a in t] for q in _QUADS for t in ((0, 1, 2), (0, 2, 3))])
INSIDE = np.array([0.1, 0.2, 0.3])


def _expected(directions: np.ndarray) -> np.ndarray:
    """Where rays from `INSIDE` leave the cube."""
    with np.errstate(divide="ignore"):
        distances = np.where(directions > 0, 1 - INSIDE, -1 - INSIDE) / directions
    return INSIDE + directions * np.where(directions == 0, np.inf, distances).min(-1, keepdims=True)


@pytest.mark.parametrize("count", [1, 2, 3, 400])
def test_rays_of_any_direction(count):
    directions = np.random.default_rng(count).normal(size=(count, 3))
    hits = first_hits(CORNERS, FACES, INSIDE, directions)
    np.testing.assert_allclose(hits.points, _expected(directions), atol=1e-12)
    rebuilt = (hits.barycentric[..., None] * CORNERS[FACES[hits.faces]]).sum(1)
    np.testing.assert_allclose(rebuilt, hits.points, atol=1e-12)


@pytest.mark.parametrize("normal", [(0, 0, 1.0), (1.0, 1.0, 0), (0.3, -0.8, 0.2)])
def test_rays_of_one_plane(normal):
    first = np.cross(normal, [0.1, 0.5, 0.9])
    second = np.cross(normal, first)
    turn = np.linspace(0, 2 * np.pi, 90, endpoint=False)[:, None]
    directions = np.cos(turn) * first + np.sin(turn) * second
    np.testing.assert_allclose(first_hits(CORNERS, FACES, INSIDE, directions).points, _expected(directions), atol=1e-9)


def test_opposite_rays():
    directions = np.array([[1.0, 0, 0], [-1.0, 0, 0]])
    hits = first_hits(CORNERS, FACES, INSIDE, directions)
    np.testing.assert_allclose(hits.points, [[1, 0.2, 0.3], [-1, 0.2, 0.3]], atol=1e-12)


def test_nearest_of_two_surfaces():
    twice = np.concatenate([3 * CORNERS, CORNERS])
    hits = first_hits(twice, np.concatenate([FACES, FACES + 8]), INSIDE, np.eye(3))
    np.testing.assert_allclose(hits.points, _expected(np.eye(3)), atol=1e-12)
    assert (hits.faces >= len(FACES)).all()


def test_misses_are_told():
    directions = np.array([[1.0, 0, 0], [-1.0, 0, 0]])
    hits = first_hits(CORNERS, FACES[:2], INSIDE, directions)  # only the face at x = −1
    assert hits.found.tolist() == [False, True]
    assert np.isnan(hits.points[0]).all() and hits.barycentric[0].sum() == 0
    with pytest.raises(ValueError, match="without a hit"):
        shoot(CORNERS, FACES[:2], INSIDE, directions)


def test_meshes_without_faces():
    hits = first_hits(CORNERS, FACES[:0], INSIDE, np.eye(3))
    assert not hits.found.any()
