"""In which order programs list the joints of a hand, and what they call them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np

from model.topology import FINGERS, JOINTS_PER_FINGER, MANO_TO_HAND, MIDDLE, N_JOINTS, ROOTS, WRIST
from utils.errors import InputError

_THUMB_FIRST = ("thumb", "index", "middle", "ring", "pinky")
_ACROSS = tuple(ROOTS[FINGERS.index(finger)] for finger in _THUMB_FIRST[1:])
_LONGEST, _SURE = 6.6, 0.25
"""How long a hand may be altogether (see `_spread`), and how much longer it must be in every other order."""


@dataclass(frozen=True)
class Order:
    """A way to list the joints of a hand."""

    name: str
    count: int
    """Joints that it lists."""
    joints: tuple[int, ...]
    """(21,) for each joint in hand order its place in the list."""


def _fingers(first: int, step: int, order: Sequence[str], metacarpals: bool = False) -> tuple[int, ...]:
    """Places of the fingers' joints, one finger after the other; with `metacarpals` four fingers list a joint more."""
    places: dict[str, list[int]] = {}
    at = first
    for finger in order:
        skipped = int(metacarpals and finger != "thumb")
        joints = range(at + skipped, at + skipped + JOINTS_PER_FINGER)
        places[finger] = list(joints if step > 0 else reversed(joints))
        at += skipped + JOINTS_PER_FINGER
    return tuple(place for finger in FINGERS for place in places[finger])


ORDERS = (
    Order("MediaPipe, OpenPose", 21, (0, *_fingers(1, 1, _THUMB_FIRST))),
    Order("MANO, fingertips as its fingers", 21, MANO_TO_HAND),
    Order("MANO, fingertips from the thumb on", 21,
          tuple({16: 17, 17: 18, 18: 20, 19: 19, 20: 16}.get(place, place) for place in MANO_TO_HAND)),
    Order("InterHand2.6M", 21, (20, *_fingers(0, -1, _THUMB_FIRST))),
    Order("hand order", 21, tuple(range(N_JOINTS))),
    Order("WebXR", 25, (0, *_fingers(1, 1, _THUMB_FIRST, metacarpals=True))),
    Order("OpenXR, the palm first", 26, (1, *_fingers(2, 1, _THUMB_FIRST, metacarpals=True))),
    Order("OpenXR, the wrist first", 26, (0, *_fingers(2, 1, _THUMB_FIRST, metacarpals=True))),
)  # fmt: skip
COUNTS = tuple(dict.fromkeys(order.count for order in ORDERS))

_LEVELS = {
    "finger": {"mcp": 0, "proximal": 0, "pip": 1, "intermediate": 1, "dip": 2, "distal": 2, "tip": 3},
    "thumb": {"cmc": 0, "metacarpal": 0, "mcp": 1, "proximal": 1, "ip": 2, "distal": 2, "tip": 3},
}


def named_joint(name: str) -> int | None:
    """The joint (hand order) of a name such as ``INDEX_FINGER_PIP``, ``index-finger-phalanx-proximal``,
    ``XR_HAND_JOINT_INDEX_PROXIMAL_EXT``; None for one that is not of the 21."""
    plain = re.sub(r"finger(?!tip)|phalanx|joint|hand|^xr|ext$|left|right|[^a-z]", "", name.lower())
    plain = plain.replace("little", "pinky").replace("fingertip", "tip")
    if plain == "wrist":
        return WRIST
    for number, finger in enumerate(FINGERS):
        if plain.startswith(finger):
            level = _LEVELS["thumb" if finger == "thumb" else "finger"].get(plain.removeprefix(finger))
            return None if level is None else ROOTS[number] + level
    return None


def order_of_names(names: Sequence[str]) -> Order | None:
    """The order in which joints of these names stand; None if not all 21 are among them."""
    places: dict[int, int] = {}
    for place, name in enumerate(names):
        joint = named_joint(name)
        if joint is not None:
            places.setdefault(joint, place)
    if len(places) < N_JOINTS:
        return None
    return Order("the file's own names", len(names), tuple(places[joint] for joint in range(N_JOINTS)))


def order_of_points(points: np.ndarray) -> Order:
    """The order in which points make a hand: that in which its bones are shortest and its knuckles side by side.

    Args:
        points: (F, n, 3), finite, of any unit.

    Raises:
        InputError: no order is known for so many points, or none makes a hand, or two do.
    """
    count = points.shape[1]
    candidates = [order for order in ORDERS if order.count == count]
    if not candidates:
        raise InputError(f"expected {', '.join(map(str, COUNTS))} points a hand, found {count}")
    size = float(np.median(np.linalg.norm(points - points.mean(axis=1, keepdims=True), axis=-1).max(axis=1)))
    spreads = [_spread(points[:, list(order.joints)], points, max(size, 1e-300)) for order in candidates]
    length, order = min(zip(spreads, candidates, strict=True), key=itemgetter(0))
    fits = 0 < length < _LONGEST
    if not fits or len(spreads) > 1 and sorted(spreads)[1] < length + _SURE:
        raise InputError(
            f"expected the {count} joints of a hand in the order of {_or(candidates)}, found "
            + ("points that fit two of them" if fits else "points that make no hand in any of them")
            + "; put them in one of these orders, or name them (WRIST, THUMB_CMC, INDEX_FINGER_MCP, …)"
        )
    return order


def _spread(hand: np.ndarray, points: np.ndarray, size: float) -> float:
    """How long a hand is, of (F, 21, 3) in hand order, in sizes; medians over frames.

    Counted are the bones of fingers, the way across the knuckles, what the thumb begins further from the wrist than
    the next finger, and how much nearer to the knuckles the wrist is than other points at that end of the hand
    (F, n, 3): OpenXR lists the middle of the palm too.
    """
    bones = np.diff(hand[:, 1:].reshape(len(hand), -1, JOINTS_PER_FINGER, 3), axis=2).reshape(len(hand), -1, 3)
    knuckles = np.diff(hand[:, list(_ACROSS)], axis=1)
    lengths = np.median(np.linalg.norm(np.concatenate([bones, knuckles], axis=1), axis=-1), axis=0)
    roots = np.median(np.linalg.norm(hand[:, list(ROOTS)] - hand[:, :1], axis=-1), axis=0)
    late = max(0.0, roots[-1] - roots[:-1].min())
    ends = np.median(np.linalg.norm(points[:, :2] - hand[:, ROOTS[MIDDLE], None], axis=-1), axis=0)
    early = max(0.0, ends.max() - roots[MIDDLE]) if points.shape[1] > COUNTS[1] else 0.0
    return float((lengths.sum() + late + early) / size)


def _or(orders: Sequence[Order]) -> str:
    return " or ".join(order.name for order in orders)


def listing() -> str:
    """The orders as a table for DATA.md; joints of a finger are counted from its root."""
    labels = {WRIST: "wrist"}
    for number, finger in enumerate(FINGERS):
        labels |= {ROOTS[number] + k: f"{finger} {k + 1}" for k in range(JOINTS_PER_FINGER)}
    lines = []
    for order in ORDERS:
        listed = dict(zip(order.joints, labels.values(), strict=True))
        places = [listed.get(place, "–") for place in range(order.count)]
        lines.append(f"| {order.name} | {order.count} | {', '.join(places)} |")
    return "\n".join(["| order | joints | which |", "|---|---|---|", *lines])
