"""Gaps between parts of a hand measured on its skinned mesh, not by its flesh (mathematics §20)."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch

from data.character.flesh import sampled_owners
from data.rig.surface import HandSurface
from model.flesh import N_PARTS, PALM, PART_PAIRS
from model.hands import PosedHand
from model.skinning import skin_hand
from model.topology import BONES_PER_FINGER, JOINTS_PER_FINGER, N_FINGERS, ROOTS

FAR = 0.1
"""Palm lengths beyond which gaps are not looked at: they are infinite."""
_POINTS = 2500
"""Points of the skin that distances are measured from."""


class SkinGaps:
    """The mesh of a hand, ready to be measured in any pose.

    Points of the skin of one part are held against the faces of another: their distance, negative where the winding
    number of the whole finger or palm says that they lie inside it.
    """

    def __init__(self, surface: HandSurface) -> None:
        self.surface = surface

    @cached_property
    def _sample(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Faces (n,) and shares (n, 3) of points, the part (n,) of each, and the part (F,) of each face."""
        face, shares, owner = sampled_owners(self.surface, _POINTS)
        parts = _part_of(owner)
        weights = self.surface.weights[self.surface.faces].sum(axis=1)
        return face, shares, parts, _part_of(weights.argmax(axis=1))

    @cached_property
    def _solids(self) -> list[np.ndarray]:
        """Faces (F, 3) of each finger and of the palm, closed: every edge of their border is joined to the root of the
        finger that was cut there, or to the wrist. Vertex V + d is the root of finger d, V + 5 the wrist."""
        surface = self.surface
        _, _, _, face_part = self._sample
        count, digit = len(surface.vertices), _digit(face_part)
        apexes = np.append(surface.joints[list(ROOTS)], surface.joints[:1], axis=0)
        solids = []
        for each in range(N_FINGERS + 1):
            faces = surface.faces[digit == each]
            border = _border(faces)
            middle = surface.vertices[border].mean(axis=1)
            apex = np.full(len(border), each)
            if each == N_FINGERS and len(border):
                apex = ((middle[:, None] - apexes) ** 2).sum(axis=2).argmin(axis=1)
            caps = np.column_stack([border[:, ::-1], count + apex])
            solids.append(np.ascontiguousarray(np.concatenate([faces, caps])))
        return solids

    def gaps(self, posed: PosedHand) -> torch.Tensor:
        """(F, 73) gaps of `PART_PAIRS` in palm lengths in poses (F,); infinite beyond `FAR`."""
        palm = posed.palm_length[..., None, None]
        joints = (posed.joints / palm).detach().double().numpy()
        vertices = np.concatenate([self._vertices(posed), joints[:, list(ROOTS)], joints[:, :1]], axis=1)
        return torch.from_numpy(np.stack([self._of_frame(frame) for frame in vertices])).float()

    def _vertices(self, posed: PosedHand) -> np.ndarray:
        """(F, V, 3) float64, palm lengths."""
        surface = self.surface
        if posed.shaped.surface is not None:
            found = posed.vertices()
        else:
            parts = (torch.from_numpy(part) for part in (surface.vertices, surface.weights, surface.joints))
            found = skin_hand(posed, *parts)
        return (found / posed.palm_length[..., None, None]).detach().double().numpy()

    def _of_frame(self, vertices: np.ndarray) -> np.ndarray:
        """(73,) from vertices (V + 6, 3)."""
        import igl  # half a second, and only reports and tables measure skin

        surface = self.surface
        face, shares, part, face_part = self._sample
        points = np.einsum("nc,ncd->nd", shares, vertices[surface.faces[face]])
        gaps = np.full((N_PARTS, N_PARTS), np.inf)
        for digit, solid in enumerate(self._solids):
            if not len(solid):
                continue
            others = np.flatnonzero((_digit(part) != digit) & _within(points, vertices[solid], FAR))
            if not len(others):
                continue
            near, inside = points[others], np.zeros(len(others), bool)
            maybe = np.flatnonzero(_within(near, vertices[solid], 0.0))
            if len(maybe):
                inside[maybe] = np.abs(igl.fast_winding_number(vertices, solid, near[maybe])) > 0.5
            parts = np.unique(face_part[_digit(face_part) == digit])
            away = np.full((len(parts), len(others)), np.inf)
            for row, one in enumerate(parts):
                faces = surface.faces[face_part == one]
                some = np.flatnonzero(inside | _within(near, vertices[faces], FAR))
                if len(some):
                    away[row, some] = np.sqrt(igl.point_mesh_squared_distance(near[some], vertices, faces)[0])
            # What lies inside is deep in the part whose skin is nearest, and in no other.
            first = away.argmin(axis=0)
            away = np.where(inside & (np.arange(len(parts))[:, None] != first), np.inf, away)
            away = np.where(away > FAR, np.inf, np.where(inside, -away, away))
            for row, one in enumerate(parts):
                np.minimum.at(gaps[:, one], part[others], away[row])
        gaps = np.minimum(gaps, gaps.T)
        first, second = np.array(PART_PAIRS).T
        return gaps[first, second]


def _border(faces: np.ndarray) -> np.ndarray:
    """(n, 2) edges of only one face, as that face runs along them."""
    edges = faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    _, number, count = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True, return_counts=True)
    return edges[count[number.ravel()] == 1]


def _within(points: np.ndarray, corners: np.ndarray, margin: float) -> np.ndarray:
    """Which points (n, 3) lie in the box about corners (F, 3, 3), or this near to it."""
    low, high = corners.min(axis=(0, 1)) - margin, corners.max(axis=(0, 1)) + margin
    return ((points > low) & (points < high)).all(axis=1)


def _digit(part: np.ndarray | int) -> np.ndarray:
    """The finger of a part, or one number more for the palm."""
    return np.asarray(part) // BONES_PER_FINGER


def _part_of(joint: np.ndarray) -> np.ndarray:
    """Numbers of parts from numbers of hand joints; tips belong to the last phalanx."""
    finger, place = np.divmod(joint - 1, JOINTS_PER_FINGER)
    return np.where(joint == 0, PALM, BONES_PER_FINGER * finger + np.minimum(place, BONES_PER_FINGER - 1))
