"""Poses, within the limits of joints, whose joints are where points are.

A finger is three bones of known length. Each bone's direction tells bend and splay of its joint; how far a joint turns
about its bone is seen in the next one only. All nine angles of a finger are found together, by Newton's method without
second derivatives (Gauss and Newton) on the distances, where a little is paid for turns that fingers hardly make:
twists, and splay of the outer joints. So what the points do not tell is 0, and limits are never passed.

Numbers are laid out with the fingers last, so that every operation runs over all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from model.limits import BEND, SPLAY, TWIST, JointLimits
from model.topology import BONES_PER_FINGER, N_FINGERS, THUMB

POINT_SPREAD = 0.3 / 90
"""How exactly points are met, in palms: what off-hinge angles are weighed against."""
OFF_HINGE = np.radians(5.0)
ROOT_TWIST, THUMB_TWIST = np.radians(8.0), np.radians(20.0)
_ROUNDS = 10
_ENOUGH, _STILL = 0.01, np.radians(0.02)
"""A round that gains less (a square of spreads), or turns less, is the last one of a finger."""
_FAR = 0.04
"""Fingers that are left further away than this, in palms, are tried again from a twisted root."""
_LARGEST_STEP = 0.6
_BLOCK = 8192
_FREE = [joint * 3 + axis for joint in range(BONES_PER_FINGER) for axis in range(3)][:6] + [6 + BEND, 6 + SPLAY]
"""Of nine angles those that are searched: a twist of the last bone moves nothing."""


@dataclass(frozen=True)
class Fingers:
    """What is constant of the fingers of a hand."""

    neutral: np.ndarray
    """(5, 3, 3) twist, bend and splay axes (rows) of each straight finger at no angles, in the palm's frame."""
    roots: np.ndarray
    """(5, 3) where they begin, in the palm's frame."""
    lengths: np.ndarray
    """(5, 3) of their bones."""
    palm: float


def solve(fingers: Fingers, points: np.ndarray, limits: JointLimits | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Find the angles of all fingers in all frames.

    Args:
        fingers: of the hand.
        points: (F, 5, 3, 3) where the joints after the root are, in the palm's frame.
        limits: of the joints.

    Returns:
        (F, 5, 3, 3) twist, bend, splay in radians, within the limits, and (F, 5, 3) distances that are left.
    """
    frames = len(points)
    angles, away = np.empty((frames, N_FINGERS, 9)), np.empty((frames, N_FINGERS, 3))
    bounds = (limits or JointLimits()).bounds.numpy().reshape(2, N_FINGERS, 9)
    for first in range(0, frames, _BLOCK // N_FINGERS):
        part = slice(first, first + _BLOCK // N_FINGERS)
        angles[part], away[part] = _solve_block(fingers, points[part], bounds)
    return angles.reshape(frames, N_FINGERS, 3, 3), away


def _solve_block(fingers: Fingers, points: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`solve` for so many frames that what is made of them on the way fits in the processor's cache."""
    which = np.tile(np.arange(N_FINGERS), len(points))
    whole = _Problem.of(fingers, which, np.moveaxis(points.reshape(-1, 3, 3), 0, -1), bounds)
    angles, cost = _descend(whole, whole.start(0.0))
    for share in (0.7, -0.7):
        far = np.flatnonzero(whole.away(angles).max(axis=0) > _FAR * fingers.palm)
        again = whole.subset(far)
        other, found = _descend(again, again.start(share))
        better = found < cost[far]
        angles[:, far[better]], cost[far[better]] = other[:, better], found[better]
    return angles.T.reshape(-1, N_FINGERS, 9), whole.away(angles).T.reshape(-1, N_FINGERS, 3)


def _descend(problem: _Problem, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best angles (9, N) downhill from some, and their costs (N,); fingers that are done drop out."""
    result, going = angles.copy(), np.arange(angles.shape[1])
    state = problem.placed(angles)
    cost = problem.cost(angles, state)
    least, damping = cost.copy(), np.full(len(going), 1e-3)
    for _ in range(_ROUNDS):
        trial = np.clip(angles + problem.step(angles, state, damping), problem.low, problem.high)
        tried = problem.placed(trial)
        found = problem.cost(trial, tried)
        worse = np.flatnonzero(~(found < cost))
        done = cost - found < _ENOUGH
        done |= np.abs(trial - angles).max(axis=0) < _STILL
        done[worse] = damping[worse] > 1
        trial[:, worse], found[worse] = angles[:, worse], cost[worse]
        tried.take(state, worse)
        damping *= 0.1
        damping[worse] = damping[worse] * 100 + 1e-2
        result[:, going], least[going] = trial, found
        on = np.flatnonzero(~done)
        if not len(on):
            break
        problem, state = problem.subset(on), tried.subset(on)
        angles, cost, damping, going = trial[:, on], found[on], damping[on], going[on]
    return result, least


@dataclass(frozen=True)
class _Placed:
    """Fingers in a pose."""

    axes: np.ndarray
    """(3, 3, 3, N): joint, angle, component: the axes about which twist, bend and splay turn."""
    joints: np.ndarray
    """(3, 3, N): joint after the root, component."""

    def subset(self, which: np.ndarray) -> _Placed:
        """Some of the fingers, by their numbers."""
        return _Placed(self.axes[..., which], self.joints[..., which])

    def take(self, other: _Placed, which: np.ndarray) -> None:
        """Put some fingers where they are elsewhere."""
        self.axes[..., which], self.joints[..., which] = other.axes[..., which], other.joints[..., which]


@dataclass(frozen=True)
class _Problem:
    """N fingers, each of its own length and frame."""

    neutral: np.ndarray  # (3, 3, N): axis, component
    roots: np.ndarray  # (3, N)
    lengths: np.ndarray  # (3, N)
    points: np.ndarray  # (3, 3, N): joint, component
    low: np.ndarray  # (9, N)
    high: np.ndarray
    weights: np.ndarray  # (9, N) price of an angle's square
    scale: float  # of distances

    @classmethod
    def of(cls, fingers: Fingers, which: np.ndarray, points: np.ndarray, bounds: np.ndarray) -> _Problem:
        spread = np.full((N_FINGERS, 3, 3), np.inf)
        spread[:, :, TWIST] = OFF_HINGE
        spread[:, 1:, SPLAY] = OFF_HINGE
        spread[:, 0, TWIST] = ROOT_TWIST
        spread[THUMB, 0, TWIST] = THUMB_TWIST
        return cls(
            np.moveaxis(fingers.neutral[which], 0, -1),
            fingers.roots[which].T,
            fingers.lengths[which].T,
            points,
            np.ascontiguousarray(bounds[0][which].T),
            np.ascontiguousarray(bounds[1][which].T),
            np.ascontiguousarray((1 / spread.reshape(N_FINGERS, 9)[which] ** 2).T),
            1 / (POINT_SPREAD * fingers.palm),
        )

    def subset(self, which: np.ndarray) -> _Problem:
        """Some of the fingers, by their numbers."""
        if len(which) == self.points.shape[-1]:
            return self
        names = ("neutral", "roots", "lengths", "points", "low", "high", "weights")
        return replace(self, **{name: getattr(self, name)[..., which] for name in names})

    def start(self, share: float) -> np.ndarray:
        """(9, N) bend and splay of every joint as the points' directions have them, joint by joint, below a root that
        is twisted by a share of what it can be."""
        angles = np.zeros((9, self.points.shape[-1]))
        angles[TWIST] = share * (self.high if share > 0 else -self.low)[TWIST]
        frame, above = self.neutral, self.roots
        for joint in range(BONES_PER_FINGER):
            own, low, high = (rows[3 * joint : 3 * joint + 3] for rows in (angles, self.low, self.high))
            way = self.points[joint] - above
            x, y, z = (frame * way).sum(1)
            y, z = np.cos(own[TWIST]) * y + np.sin(own[TWIST]) * z, np.cos(own[TWIST]) * z - np.sin(own[TWIST]) * y
            middle = (low[BEND] + high[BEND]) / 2
            bend = (np.arctan2(-z, x) - middle + np.pi) % (2 * np.pi) - np.pi + middle
            own[BEND] = np.clip(bend, low[BEND], high[BEND])
            own[SPLAY] = np.clip(np.arctan2(y, np.hypot(x, z)), low[SPLAY], high[SPLAY])
            frame, _ = _turned(frame, own)
            above = above + self.lengths[joint] * frame[0]
        return angles

    def placed(self, angles: np.ndarray) -> _Placed:
        """The fingers with angles (9, N)."""
        axes, joints = np.empty((3, 3, *self.roots.shape)), np.empty((3, *self.roots.shape))
        frame, place = self.neutral, self.roots
        for joint in range(BONES_PER_FINGER):
            frame, axes[joint] = _turned(frame, angles[3 * joint : 3 * joint + 3])
            joints[joint] = place = place + self.lengths[joint] * frame[0]
        return _Placed(axes, joints)

    def away(self, angles: np.ndarray) -> np.ndarray:
        """(3, N) distances of the joints from their points."""
        return np.sqrt(((self.placed(angles).joints - self.points) ** 2).sum(1))

    def cost(self, angles: np.ndarray, state: _Placed) -> np.ndarray:
        """(N,) squares of distances, in their spreads, and the price of the angles."""
        return ((state.joints - self.points) ** 2).sum((0, 1)) * self.scale**2 + (self.weights * angles**2).sum(0)

    def step(self, angles: np.ndarray, state: _Placed, damping: np.ndarray) -> np.ndarray:
        """(9, N) the next step; angles that press against a limit stay."""
        number = angles.shape[1]
        slope = np.zeros((BONES_PER_FINGER, 3, len(_FREE), number))
        starts = (self.roots, state.joints[0], state.joints[1])
        for column, angle in enumerate(_FREE):
            joint, axis = divmod(angle, 3)
            for later in range(joint, BONES_PER_FINGER):
                _cross(state.axes[joint, axis], state.joints[later] - starts[joint], slope[later, :, column])
        slope = slope.reshape(9, len(_FREE), number) * self.scale
        missing = (self.points - state.joints).reshape(9, number) * self.scale
        own, prices = angles[_FREE], self.weights[_FREE]
        pull = np.einsum("ran,rn->an", slope, missing) - prices * own
        held = ((own <= self.low[_FREE]) & (pull < 0)) | ((own >= self.high[_FREE]) & (pull > 0))
        free = ~held
        system = np.einsum("ran,rbn->abn", slope, slope) * free[:, None] * free[None]
        diagonal = np.arange(len(_FREE))
        system[diagonal, diagonal] += (prices + 1e-6) * free + held
        system[diagonal, diagonal] *= 1 + damping
        found = np.linalg.solve(np.moveaxis(system, -1, 0), np.moveaxis(pull * free, -1, 0)[..., None])[..., 0]
        step = np.zeros_like(angles)
        step[_FREE] = np.clip(found.T, -_LARGEST_STEP, _LARGEST_STEP)
        return step


def _turned(frame: np.ndarray, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames (3, 3, N) (axis, component) turned by ``Rx(twist) Ry(bend) Rz(splay)``, and the axes of these turns."""
    (ct, cb, cs), (st, sb, ss) = np.cos(angles), np.sin(angles)
    twist, y, z = frame
    bend, z = y * ct + z * st, z * ct - y * st
    x, splay = twist * cb - z * sb, twist * sb + z * cb
    return np.stack([x * cs + bend * ss, bend * cs - x * ss, splay]), np.stack([twist, bend, splay])


def _cross(a: np.ndarray, b: np.ndarray, result: np.ndarray) -> None:
    """(3, N) × (3, N)."""
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        result[k] = a[i] * b[j] - a[j] * b[i]
