"""Where a finger's hinge and tip lie, found on its surface: rays, sections, fingertips (mathematics §7 in spirit).

Lengths in the unit of the mesh; right hand in the project's frame (towards −x, back +y, thumb side +z).
"""

from __future__ import annotations

import numpy as np

from model.topology import N_FINGERS, THUMB
from utils.geometry import shoot

DIRECTIONS = 360
HINGE_AT = 0.6
"""Where along the last bone its cross-section is taken: half way under the nail, where it is widest."""
PAD_ANGLE = np.radians(40)
"""The fingertip is the vertex furthest in a direction this far from the bone towards the pad."""


def distal_bones(vertices: np.ndarray, heads: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit directions ``(5, 3)`` and lengths ``(5,)`` of the last bones, from their joint to the end of the mesh.

    Args:
        vertices: ``(V, 3)``; heads: ``(5, 3)`` third joints; own: ``(V, 5)`` skinning weights of the last bones.
    """
    directions, lengths = np.zeros((N_FINGERS, 3)), np.zeros(N_FINGERS)
    for finger in range(N_FINGERS):
        skin = vertices[own[:, finger] > 0.9] - heads[finger]
        along = _unit(skin.mean(0))
        along = _unit(skin[np.argsort(skin @ along)[-12:]].mean(0))
        directions[finger], lengths[finger] = along, (skin @ along).max()
    return directions, lengths


def hinge_axes(vertices: np.ndarray, faces: np.ndarray, heads: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Bend axes ``(5, 3)`` of the fingers: the long way across the last bone's section; positive bend closes."""
    along, lengths = distal_bones(vertices, heads, own)
    axes = np.zeros((N_FINGERS, 3))
    for finger in range(N_FINGERS):
        first = _unit(np.cross(along[finger], [0.0, 1.0, 0.0]))
        second = np.cross(along[finger], first)
        turn = 2 * np.pi * np.arange(DIRECTIONS)[:, None] / DIRECTIONS
        rays = np.cos(turn) * first + np.sin(turn) * second
        centre = heads[finger] + HINGE_AT * lengths[finger] * along[finger]
        section = shoot(vertices, faces, centre, rays).points
        section = section - section.mean(0)
        hinge = np.linalg.eigh(section.T @ section)[1][:, 2]
        # A finger bends about the axis towards the thumb; the thumb about one that points down and back.
        towards = np.array([0.5, -0.85, 0.0]) if finger == THUMB else np.array([0.0, 0.0, 1.0])
        axes[finger] = hinge * np.sign(hinge @ towards)
    return axes


def fingertips(vertices: np.ndarray, heads: np.ndarray, own: np.ndarray, hinges: np.ndarray) -> np.ndarray:
    """Numbers ``(5,)`` of the vertices at the fingertips, on the pad's side: where two fingers touch."""
    along, lengths = distal_bones(vertices, heads, own)
    tips = np.zeros(N_FINGERS, dtype=np.int64)
    for finger in range(N_FINGERS):
        skin = np.flatnonzero(own[:, finger] > 0.9)
        dorsal = np.cross(along[finger], hinges[finger])
        outwards = np.cos(PAD_ANGLE) * along[finger] - np.sin(PAD_ANGLE) * dorsal
        tips[finger] = skin[np.argmax(vertices[skin] @ outwards)]
    return tips


def anchor_hinges(
    vertices: np.ndarray, faces: np.ndarray, heads: np.ndarray, hinges: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Tie the hinges to the surface: faces ``(5, 2)`` and barycentric weights ``(5, 2, 3)`` hit along −bend, +bend."""
    hits = [shoot(vertices, faces, heads[f], np.stack([-hinges[f], hinges[f]])) for f in range(N_FINGERS)]
    return np.stack([h.faces for h in hits]), np.stack([h.barycentric for h in hits])


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
