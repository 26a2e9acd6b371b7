"""The published estimate of a finger's splay axis, from the mesh around its third joint alone (mathematics §7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from utils.geometry import Hits, angle_weighted_normals, first_hits, unit

DIRECTIONS = 360
"""Rays round the finger, one a degree."""
_WINDOW = 15
"""The splay axis is sought within so many degrees of the normal to the widest direction, on both sides."""
_UP = np.array([0.0, 1.0, 0.0])
_ABREAST = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class SplayProposal:
    """What the mesh proposes for one finger."""

    directions: np.ndarray
    """(360, 3) unit directions round the twist axis, one a degree."""
    index: int
    """Which of them is proposed as the splay axis."""
    widths: np.ndarray
    """(180,) extent of the section along each of the first 180 directions, in the mesh's unit."""

    @property
    def splay(self) -> np.ndarray:
        """(3,) the proposed splay axis, a unit vector at right angles to the twist axis."""
        return self.directions[self.index]

    def closest(self, splay: np.ndarray) -> np.ndarray:
        """(3,) the direction closest to another splay axis ``(3,)``, e.g. that of a preset."""
        return self.directions[int((self.directions @ splay).argmax())]


def directions_round(twist: np.ndarray) -> np.ndarray:
    """``(360, 3)`` unit directions at right angles to ``twist (3,)``: one a degree, from ``twist × up`` on."""
    first = np.cross(twist, _UP)
    if np.linalg.norm(first) < 1e-6:  # a bone that stands upright has no direction `twist × up`
        first = np.cross(twist, _ABREAST)
    first = first / np.linalg.norm(first)
    second = np.cross(twist, first)
    second = second / np.linalg.norm(second)
    angles = 2 * np.pi * np.arange(DIRECTIONS)[:, None] / DIRECTIONS
    return np.cos(angles) * first + np.sin(angles) * second


def propose_splay(
    vertices: np.ndarray, faces: np.ndarray, joint: np.ndarray, twist: np.ndarray, normals: np.ndarray | None = None
) -> SplayProposal | None:
    """Propose a splay axis: across the flat of the finger, where the surface faces it most (mathematics §7).

    Args:
        vertices: ``(V, 3)``; faces: ``(F, 3)``, outside counter-clockwise: the hand's part of the mesh.
        joint: ``(3,)`` the finger's third joint; twist: ``(3,)`` unit direction from it to the tip.
        normals: ``(V, 3)`` what `angle_weighted_normals` gives, if it is known already.

    Returns:
        None if the mesh is open here: a ray finds no surface.
    """
    directions = directions_round(twist)
    hits = first_hits(vertices, faces, joint, directions)
    if not hits.found.all():
        return None
    half = DIRECTIONS // 2
    along = hits.points @ directions[:half].T
    widths = along.max(0) - along.min(0)
    window = np.arange(-_WINDOW, _WINDOW + 1)
    across = int(widths.argmax()) + DIRECTIONS // 4
    candidates = np.concatenate([across + window, across + half + window]) % DIRECTIONS
    if normals is None:
        normals = angle_weighted_normals(vertices, faces)
    facing = (directions * _normals_at(hits, faces, normals)).sum(-1)
    return SplayProposal(directions, int(candidates[facing[candidates].argmax()]), widths)


def _normals_at(hits: Hits, faces: np.ndarray, normals: np.ndarray) -> np.ndarray:
    return unit((hits.barycentric[..., None] * normals[faces[hits.faces]]).sum(-2))
