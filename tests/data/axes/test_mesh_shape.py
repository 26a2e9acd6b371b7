"""The published estimate on a finger of which the shape is known; reference vectors are in tests/parity."""

from __future__ import annotations

import numpy as np
import pytest

from data.axes.mesh_shape import directions_round, propose_splay
from utils.geometry import angle_weighted_normals


def tube(broad: np.ndarray, thick: np.ndarray, along: np.ndarray, dorsal: float = 1.0, sides: int = 48):
    """A closed elliptic tube round the origin; its dorsal half is flatter by ``dorsal``."""
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)[:, None]
    ring = np.cos(turn) * broad + np.sin(turn) * np.where(np.sin(turn) > 0, dorsal, 1) * thick
    vertices = np.concatenate([ring - along, ring + along, [-along, along]])
    here, after = np.arange(sides), np.roll(np.arange(sides), -1)
    faces = [np.stack([here, after, here + sides], 1), np.stack([after, after + sides, here + sides], 1)]
    faces += [np.stack([after, here, np.full(sides, 2 * sides)], 1)]
    faces += [np.stack([here + sides, after + sides, np.full(sides, 2 * sides + 1)], 1)]
    faces = np.concatenate(faces)
    if np.cross(broad, thick) @ along < 0:
        faces = faces[:, ::-1]
    return vertices, faces


@pytest.mark.parametrize("roll", [0, 20, 75, -130])
def test_splay_stands_on_the_flat_of_the_finger(roll):
    twist = np.array([-1.0, 0, 0])
    broad = np.array([0, np.sin(np.radians(roll)), np.cos(np.radians(roll))])
    thick = np.cross(twist, broad)
    vertices, faces = tube(broad, 0.6 * thick, 2 * twist)
    found = propose_splay(vertices, faces, np.zeros(3), twist)
    assert np.degrees(np.arccos(min(abs(found.splay @ thick), 1))) <= 2
    assert found.widths.max() == pytest.approx(2, rel=1e-3) and found.widths.min() == pytest.approx(1.2, rel=1e-2)


@pytest.mark.parametrize("twist", [(0, 1.0, 0), (0, -1.0, 0), (1.0, 0, 0), (0.6, 0, -0.8)])
def test_directions_go_round_the_bone(twist):
    directions = directions_round(np.array(twist))
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(directions @ twist, 0, atol=1e-12)
    steps = (directions * np.roll(directions, -1, axis=0)).sum(1)
    np.testing.assert_allclose(steps, np.cos(np.radians(1)), atol=1e-12)


def test_open_meshes_propose_nothing():
    vertices, faces = tube(np.array([0, 0, 1.0]), np.array([0, 0.5, 0]), np.array([2.0, 0, 0]))
    assert propose_splay(vertices, faces[5:], np.zeros(3), np.array([1.0, 0, 0])) is None


def test_vertex_normals_weigh_angles():
    """Of a cube, whatever diagonals its sides are cut by, they point along the space diagonals."""
    corners = np.array([[x, y, z] for x in (-1.0, 1) for y in (-1.0, 1) for z in (-1.0, 1)])
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    faces = np.array([[q[a] for a in t] for q in quads for t in ((0, 1, 2), (0, 2, 3))])
    np.testing.assert_allclose(angle_weighted_normals(corners, faces), corners / np.sqrt(3), atol=1e-12)
    lonely = np.concatenate([corners, [[5.0, 5, 5]]])
    assert not angle_weighted_normals(lonely, faces)[-1].any()
