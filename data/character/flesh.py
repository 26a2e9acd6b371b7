"""Flesh fitted to the skin of a hand, once (mathematics §19)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from data.rig.surface import HandSurface
from model.flesh import CARRIERS, N_PALM, N_PHALANGES, PALM, PALM_SHARE, Flesh, flesh_of_radii
from model.mano import ManoHand
from model.skin import BONES, PER_PALM, PER_PART, SkinPoints
from model.topology import BONES_PER_FINGER, JOINTS_PER_FINGER, MANO_BONES, N_FINGERS, N_JOINTS, ROOTS, THUMB

SAMPLES = 12000
"""Points of the skin that are looked at."""
_FEWEST = 24
"""Points below which a part keeps the radii of adult hands."""
_PER_PART = 120
_FLATTEST = 0.04
_OUTLIER = 0.02  # palm lengths: beyond it a point counts by its distance, not by the square
_HOLD = 0.02  # how dear a palm length off the guess is: only where skin says nothing
_HOLD_ROOT = 0.3  # the same at the roots of fingers, where webs are no part of a capsule; per point
_HOLD_PALM = 0.3  # and of palm and ball of the thumb, which wrist and forearm go on from
_INSIDE = 0.5  # radii deep: what lies there is no skin, but caps, nails and teeth within it


def fit_flesh(surface: HandSurface, axes: np.ndarray) -> Flesh:
    """The flesh of a hand whose skin is known, float32: for each part the capsule whose surface lies nearest to the
    skin that the part owns, by robust least squares.

    Args:
        surface: the skin at rest.
        axes: (5, 4, 3, 3) anatomical axes, rows twist, bend, splay, in its frame.
    """
    joints = (surface.joints - surface.joints[0]).astype(np.float64)
    palm = float(np.linalg.norm(joints[ROOTS[0]]))
    joints /= palm
    points, owners = sampled_skin(surface)
    points = (points - surface.joints[0]) / palm
    start = flesh_of_radii(torch.from_numpy(_offsets(joints)))
    ends, radii, flatness = (part.numpy().copy() for part in (start.ends, start.radii, start.flatness))
    for phalanx in range(N_PHALANGES):
        finger, bone = divmod(phalanx, BONES_PER_FINGER)
        carrier = 1 + JOINTS_PER_FINGER * finger + bone
        last = bone == BONES_PER_FINGER - 1
        mine = points[(owners == carrier) | (last & (owners == carrier + 1))] - joints[carrier]
        if len(mine) >= _FEWEST:
            guess = ends[phalanx], radii[phalanx], flatness[phalanx]
            found = _fit(_thinned(mine), *guess, axes[finger, bone, 1], finger, bone)
            ends[phalanx], radii[phalanx], flatness[phalanx] = found
    mine = points[owners == 0]
    forward = mine @ joints[ROOTS[0]]
    mine = mine[(forward > PALM_SHARE[0]) & (forward < 1.05)]
    if len(mine) >= _FEWEST:
        ends[PALM:], radii[PALM:] = _fit_palm(_thinned(mine, 2), ends[PALM:], radii[PALM:])
    return Flesh(*(torch.from_numpy(part).float() for part in (ends, radii, flatness)))


def sampled_skin(surface: HandSurface, count: int = SAMPLES) -> tuple[np.ndarray, np.ndarray]:
    """Points ``(n, 3)`` evenly spread over a skin, the same each time, and the joint ``(n,)`` that owns each."""
    face, shares, owners = sampled_owners(surface, count)
    return np.einsum("nc,ncd->nd", shares, surface.vertices[surface.faces[face]].astype(np.float64)), owners


def sampled_owners(surface: HandSurface, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Faces ``(n,)`` of points evenly spread over a skin, shares ``(n, 3)`` of their corners, and owners ``(n,)``."""
    corners = surface.vertices[surface.faces].astype(np.float64)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    if not area.sum() > 0:
        return np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros(0, np.int64)
    edges = np.cumsum(area) / area.sum()
    face = np.searchsorted(edges, (np.arange(count) + 0.5) / count).clip(max=len(area) - 1)
    # The two-dimensional golden ratio's sequence spreads evenly within faces too.
    first, second = ((np.arange(count) * share) % 1 for share in (0.7548776662466927, 0.5698402909980532))
    folded = first + second > 1
    first, second = np.where(folded, 1 - first, first), np.where(folded, 1 - second, second)
    shares = np.stack([1 - first - second, first, second], axis=1)
    weights = np.einsum("nc,ncj->nj", shares, surface.weights[surface.faces[face]])
    return face, shares, weights.argmax(axis=1)


def surface_distance(
    points: np.ndarray,
    ends: np.ndarray,
    radii: np.ndarray,
    flatness: float = 0.0,
    bend: np.ndarray | None = None,
) -> np.ndarray:
    """Signed distance ``(n,)`` of points ``(n, 3)`` from the surface of a capsule, negative inside; a flat one (see
    `model.flesh.Flesh`) with its bend axis (3,)."""
    axis = ends[1] - ends[0]
    length = max(float(np.linalg.norm(axis)), 1e-9)
    slope = np.clip((radii[1] - radii[0]) / length, -0.9, 0.9)
    away = points - ends[0]
    along = away @ axis / length
    height = np.sqrt(np.maximum((away**2).sum(1) - along**2, 0))
    place = np.clip(along + slope * height / np.sqrt(1 - slope**2), 0, length)
    far = np.hypot(height, along - place)
    distance = far - (radii[0] + slope * place)
    if bend is None:
        return distance
    across = bend - axis * (bend @ axis) / length**2
    across /= max(float(np.linalg.norm(across)), 1e-9)
    up = np.cross(axis / length, across)
    outwards = (away - np.outer(place / length, axis)) / np.maximum(far, 1e-9)[:, None]
    return distance - flatness * ((outwards @ across) ** 2 - (outwards @ up) ** 2)


def _fit(
    points: np.ndarray, ends: np.ndarray, radii: np.ndarray, flatness: float, bend: np.ndarray, finger: int, bone: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """One phalanx. Along the bone only the end at the finger's tip is free: skin says nothing about the others."""
    axis = ends[1] - ends[0]
    axis = axis / max(float(np.linalg.norm(axis)), 1e-9)
    across = np.linalg.svd(axis[None])[2][1:]
    last = bone == BONES_PER_FINGER - 1
    # Half of the skin is as far from the bone or farther, whatever lies within.
    far = np.linalg.norm(points - np.outer(points @ axis, axis), axis=1)
    guess = float(np.median(far[far >= np.median(far) * _INSIDE]))
    start_ends = ends.copy()
    if last:
        reach = float(np.quantile(points @ axis, 0.99))
        start_ends[1] = axis * max(reach - 0.8 * guess, 0.3 * reach)
    thick = radii if bone == 0 else np.full(2, guess)
    start = np.array([*thick, flatness, *np.zeros(4 + last)])

    def capsule(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        moved = start_ends.copy()
        moved[0] += x[3:5] @ across
        moved[1] += x[5:7] @ across + (x[7] * axis if last else 0)
        return moved, x[:2], float(x[2])

    def solved(points: np.ndarray) -> np.ndarray:
        hold = _HOLD if bone else (_HOLD_PALM if finger == THUMB else _HOLD_ROOT) * np.sqrt(len(points))

        def residuals(x: np.ndarray) -> np.ndarray:
            return np.concatenate([surface_distance(points, *capsule(x), bend), hold * (x - start)[2 * (bone > 0) :]])

        reach = np.full(len(start) - 3, 0.5)
        bounds = np.array([0.01, 0.01, -_FLATTEST, *-reach]), np.array([0.6, 0.6, _FLATTEST, *reach])
        found = _least_squares(residuals, start, bounds=bounds, loss="soft_l1", f_scale=_OUTLIER, max_nfev=30)
        return found.x

    found = solved(points)
    outside = surface_distance(points, *capsule(found), bend) > -_INSIDE * found[:2].mean()
    if _FEWEST <= outside.sum() < len(points):
        found = solved(points[outside])
    return capsule(found)


def _fit_palm(points: np.ndarray, ends: np.ndarray, radii: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The palm's capsules together: the nearest of them counts. They move towards palm and back of the hand only."""
    normal = np.cross(ends[THUMB - 1, 1], ends[2, 1])  # from the roots of index and pinky
    normal /= max(float(np.linalg.norm(normal)), 1e-9)
    start = np.concatenate([radii.ravel(), np.zeros(2 * N_PALM)])
    hold = _HOLD_PALM * np.sqrt(len(points) / N_PALM)

    def capsules(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = x.reshape(2, N_PALM, 2)
        return ends + x[1, :, :, None] * normal, x[0]

    def residuals(x: np.ndarray) -> np.ndarray:
        moved, thick = capsules(x)
        apart = np.stack([surface_distance(points, *each) for each in zip(moved, thick, strict=True)])
        return np.concatenate([apart.min(axis=0), hold * (x - start)])

    bounds = np.repeat([0.03, -0.3], 2 * N_PALM), np.repeat([0.4, 0.3], 2 * N_PALM)
    found = _least_squares(residuals, start, bounds=bounds, loss="soft_l1", f_scale=_OUTLIER, max_nfev=15)
    return capsules(found.x)


def _least_squares(residuals: Callable[[np.ndarray], np.ndarray], start: np.ndarray, **options: Any) -> Any:
    """SciPy's, loaded when it is asked for: most commands fit nothing."""
    from scipy.optimize import least_squares

    return least_squares(residuals, start, **options)


def _thinned(points: np.ndarray, times: int = 1) -> np.ndarray:
    """Not more points than are needed."""
    return points[:: max(1, len(points) // (times * _PER_PART))]


def mano_surface(model: ManoHand, shape: torch.Tensor) -> HandSurface:
    """The skin of a MANO hand of a shape (10,) at rest, centimetres."""
    rest = model.with_shape(shape).at_rest()
    vertices, joints = (100.0 * part.detach().double().numpy() for part in (rest.vertices(), rest.joints))
    return HandSurface(
        vertices.astype(np.float32), model.faces.astype(np.int64), mano_weights(model), joints.astype(np.float32)
    )


def mano_weights(model: ManoHand) -> np.ndarray:
    """Skinning weights (V, 21) of a MANO hand by hand joint, float32; tips have none."""
    order = [0, *(1 + JOINTS_PER_FINGER * f + k for f in range(N_FINGERS) for k in range(BONES_PER_FINGER))]
    given = model.model.lbs_weights[:, [0, *MANO_BONES]].float().numpy()
    weights = np.zeros((len(given), N_JOINTS), np.float32)
    weights[:, order] = given
    return weights


def _offsets(joints: np.ndarray) -> np.ndarray:
    """Bone vectors from joints (21, 3)."""
    offsets = joints.copy()
    fingers = offsets[1:].reshape(N_FINGERS, JOINTS_PER_FINGER, 3)
    fingers[:, 1:] -= joints[1:].reshape(N_FINGERS, JOINTS_PER_FINGER, 3)[:, :-1]
    assert len(offsets) == N_JOINTS
    return offsets


def skin_points(surface: HandSurface, flesh: Flesh) -> SkinPoints:
    """Points of a skin, as evenly spread over each part as may be; see `model.skin`. Caps and nails that lie within
    a capsule of ``flesh`` are no skin. A part without skin is nowhere near another."""
    joints = (surface.joints - surface.joints[0]).astype(np.float64)
    palm = float(np.linalg.norm(joints[ROOTS[0]]))
    face, shares, owners = sampled_owners(surface, SAMPLES)
    corners = surface.faces[face]
    points = (np.einsum("nc,ncd->nd", shares, surface.vertices[corners].astype(np.float64)) - surface.joints[0]) / palm
    normals = np.einsum("nc,ncd->nd", shares, _vertex_normals(surface)[corners])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-9)
    weights = np.einsum("nc,ncj->nj", shares, surface.weights[corners])
    for finger in range(N_FINGERS):
        tip = JOINTS_PER_FINGER * (finger + 1)
        weights[:, tip - 1] += weights[:, tip]
    weights = weights[:, list(BONES)]
    weights /= weights.sum(axis=1, keepdims=True).clip(1e-9)
    finger, place = np.divmod(owners - 1, JOINTS_PER_FINGER)
    part = np.where(owners == 0, PALM, BONES_PER_FINGER * finger + np.minimum(place, BONES_PER_FINGER - 1))
    ends, radii = flesh.ends.double().numpy(), flesh.radii.double().numpy()
    chosen, spacing, outward = [], [], 0.0
    for number in range(PALM + 1):
        mine = np.flatnonzero(part == number)
        count = PER_PALM if number == PALM else PER_PART
        if number == PALM:
            forward = points[mine] @ joints[ROOTS[0]] / palm
            mine = mine[forward > 0.1]
        elif len(mine):
            away = points[mine] - joints[CARRIERS[number]] / palm
            axis = ends[number, 1] - ends[number, 0]
            from_axis = away - np.outer(away @ axis / max(float(axis @ axis), 1e-9), axis)
            outward += float((normals[mine] * from_axis).sum())
            depth = surface_distance(away, ends[number], radii[number])
            if (number + 1) % BONES_PER_FINGER == 0:
                mine = mine[depth > -_INSIDE * radii[number].mean()]
        if not len(mine):
            mine, points = np.array([len(points)]), np.append(points, [[1e3 * (number + 1), 0, 0]], axis=0)
            normals, weights = np.append(normals, [[1.0, 0, 0]], axis=0), np.append(weights, weights[:1], axis=0)
        picked, apart = _spread(points[mine], count)
        chosen.append(mine[picked])
        spacing.append(np.full(count, 0.5 * apart))
    index = np.concatenate(chosen)
    sense = -1.0 if outward < 0 else 1.0  # of mirrored meshes, faces run the other way round
    parts = points[index], sense * normals[index], weights[index], joints[list(BONES)] / palm, np.concatenate(spacing)
    return SkinPoints(*(torch.from_numpy(np.ascontiguousarray(each)).float() for each in parts))


def _vertex_normals(surface: HandSurface) -> np.ndarray:
    """(V, 3) sums of the normals of the faces about each vertex, by their area; of places, not of numbers."""
    corners = surface.vertices[surface.faces].astype(np.float64)
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    # Vertices that seams double count as one.
    _, same = np.unique(np.round(surface.vertices, 4), axis=0, return_inverse=True)
    total = np.zeros((same.max() + 1, 3))
    np.add.at(total, same.ravel()[surface.faces].reshape(-1), np.repeat(across, 3, axis=0))
    return total[same.ravel()]


def _spread(points: np.ndarray, count: int) -> tuple[np.ndarray, float]:
    """Numbers of ``count`` points, each the farthest from those before it, and how far apart they are."""
    chosen = np.zeros(count, np.int64)
    away = ((points - points[0]) ** 2).sum(axis=1)
    for number in range(1, count):
        chosen[number] = away.argmax()
        away = np.minimum(away, ((points - points[chosen[number]]) ** 2).sum(axis=1))
    return chosen, float(np.sqrt(away.max()))
