"""The hand of any skeleton, brought into the frame in which features are defined, and rotations there and back.

Three things part a rig from the 21 joints of mathematics §1. Its hands may point elsewhere at rest (A-pose, arms
down): one constant rotation C turns them, ``v → C v`` and ``F → C F Cᵀ``; it is exactly the identity within 15°. It
may have further bones between two joints (metacarpals, twist bones); rotations are multiplied into the joint below
them, and they rest in what is written. And it may lack joints: tips, a third bone, whole fingers. A place for them is
made up, because networks want a whole hand, but `present` masks them in every number, and nothing is written for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data.rig.hand_map import HandMap
from data.rig.rest import canonical_turn
from model.topology import (
    BONES_PER_FINGER,
    INDEX,
    JOINTS_PER_FINGER,
    MIDDLE,
    N_FINGERS,
    N_JOINTS,
    PARENTS,
    PINKY,
    RING,
    ROOTS,
    THUMB,
    TIPS,
    WRIST,
)
from utils.errors import InputError

SMALLEST_PALM, LARGEST_PALM = 1.0, 100.0
"""Centimetres from the wrist to the root of the middle finger."""
_TIP_SHARE = 0.85
"""Length of a last bone of which nothing tells the end, in lengths of the one before it."""
_DONOR_SHARE = 0.85


@dataclass(frozen=True)
class Skeleton:
    """The joints of a file at rest; centimetres in the character's frame (y up, facing +z)."""

    names: tuple[str, ...]
    parents: np.ndarray
    """(J,) int64, −1 for a root; every joint after its parent."""
    heads: np.ndarray
    """(J, 3) float64."""
    tails: Mapping[int, np.ndarray]
    """Joint → (3,) where its bone ends, as far as the file tells."""

    @property
    def offsets(self) -> np.ndarray:
        """(J, 3) head minus the parent's head; a root's own head."""
        return self.heads - np.where(self.parents[:, None] >= 0, self.heads[self.parents], 0.0)


@dataclass(frozen=True)
class HandRig:
    """How a hand hangs in its skeleton."""

    side: str
    indices: tuple[int | None, ...]
    """For each of the 21 joints its number in the skeleton; None: it has none."""
    chains: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    """For each joint the joints (up, down) of the skeleton from the joint above it in the hand; see `data.rig`."""
    joints: np.ndarray
    """(21, 3) float64 rest positions in centimetres, in the canonical frame, wrist at the origin; complete."""
    present: np.ndarray
    """(21,) bool: joints that the hand has."""
    turn: np.ndarray
    """(3, 3) C, from the character's frame to the canonical one."""

    @property
    def offsets(self) -> np.ndarray:
        """(21, 3) each joint minus the one above it; zero for the wrist."""
        offsets = self.joints - self.joints[[max(parent, WRIST) for parent in PARENTS]]
        return offsets

    @property
    def palm(self) -> float:
        """Centimetres from the wrist to the root of the middle finger."""
        return float(np.linalg.norm(self.joints[ROOTS[MIDDLE]]))

    @property
    def moved(self) -> list[int]:
        """Joints of the skeleton that a pose of this hand writes: those of the fingers, and what is folded into
        them."""
        moved = [joint for chain in self.chains for way in chain for joint in way]
        moved += [index for index in self.indices[1:] if index is not None]
        return sorted(set(moved) - {self.indices[WRIST]})

    def needed(self) -> list[int]:
        """Joints of the skeleton whose rotations `canonical` asks for."""
        return sorted({joint for chain in self.chains for way in chain for joint in way})

    def canonical(self, rotations: Mapping[int, np.ndarray]) -> np.ndarray:
        """Local rotations of the 15 rotating joints in the canonical frame.

        Args:
            rotations: joint of the skeleton → (F, 3, 3) local rotations, for all of `needed`.

        Returns:
            (F, 5, 3, 3, 3); the identity for joints that the hand does not have.
        """
        frames = len(next(iter(rotations.values()))) if rotations else 1
        local = np.broadcast_to(np.eye(3), (frames, N_FINGERS, BONES_PER_FINGER, 3, 3)).copy()
        for finger, root in enumerate(ROOTS):
            for k in range(BONES_PER_FINGER):
                up, down = self.chains[root + k]
                for joint in up:
                    local[:, finger, k] = local[:, finger, k] @ np.swapaxes(rotations[joint], -1, -2)
                for joint in down:
                    local[:, finger, k] = local[:, finger, k] @ rotations[joint]
        return self.turn @ local @ self.turn.T

    def file_rotations(self, local: np.ndarray) -> dict[int, np.ndarray]:
        """The inverse of `canonical`: local rotations (F, 5, 3, 3, 3) → joint of the skeleton → (F, 3, 3).

        Folded joints rest; what a joint that the rig lacks would do, the one before it does.
        """
        local = self.turn.T @ np.asarray(local, dtype=np.float64) @ self.turn
        rest = np.broadcast_to(np.eye(3), (len(local), 3, 3))
        result: dict[int, np.ndarray] = dict.fromkeys(self.moved, rest)
        for finger, root in enumerate(ROOTS):
            turned = rest
            for k in reversed(range(BONES_PER_FINGER)):
                turned = local[:, finger, k] @ turned
                index = self.indices[root + k]
                if index is not None:
                    result[index], turned = turned, rest
        return result


def hand_rig(skeleton: Skeleton, hand: HandMap, source: str, scale_option: str = "--source_scale") -> HandRig:
    """The rig of a hand that `data.rig.find_hand` found in a skeleton; ``scale_option`` is what scales the file, if
    there is such an option, for messages.

    Raises:
        InputError: the hand is of no size that centimetres could be, or its palm has no plane.
    """
    indices = tuple(hand.indices)
    positions = np.full((N_JOINTS, 3), np.nan)
    for joint, index in enumerate(indices):
        if index is not None and index < len(skeleton.heads):
            positions[joint] = skeleton.heads[index]
    positions -= positions[WRIST].copy()
    present = _filled(positions, skeleton, indices)
    palm = float(np.linalg.norm(positions[ROOTS[MIDDLE]]))
    if not SMALLEST_PALM <= palm <= LARGEST_PALM:
        raise InputError(
            f"{source}: expected centimetres, found a palm of {palm:.3g} from the wrist to the middle finger of the "
            f"{hand.side} hand; scale the file ({_advice(palm, scale_option)})"
        )
    turn = canonical_turn(positions, present, hand.side, source)
    chains = hand.chains if hand.chains is not None else _plain_chains(indices)
    return HandRig(hand.side, indices, chains, positions @ turn.T, present, turn)


def _advice(palm: float, option: str) -> str:
    if not palm > 0 or not np.isfinite(palm):
        return "its bones have no length: export the rest pose too"
    option = option or "by"
    for scale, unit in ((100, "metres"), (2.54, "inches"), (0.1, "millimetres"), (1e4, "a scene of 100 m a unit")):
        if 5 <= palm * scale <= 15:
            return f"it looks like {unit}: {option} {scale:g}"
    return f"{option} {9 / palm:.3g} makes its palm 9 cm"


def _filled(positions: np.ndarray, skeleton: Skeleton, indices: Sequence[int | None]) -> np.ndarray:
    """Give places to missing joints, in place; (21,) which joints are the hand's own."""
    present = np.isfinite(positions).all(axis=1)
    wrist = skeleton.heads[indices[WRIST]]
    for root, tip in zip(ROOTS, TIPS, strict=True):
        if not present[root]:
            continue
        last = max(joint for joint in range(root, tip) if present[joint])
        end = positions[tip] if present[tip] else None
        if end is None and indices[last] in skeleton.tails:
            end = skeleton.tails[indices[last]] - wrist
        if end is None or np.linalg.norm(end - positions[last]) < 1e-6:
            before = positions[last - 1] if last > root else positions[WRIST]
            share = _TIP_SHARE if last > root else 0.3
            end = positions[last] + share * (positions[last] - before)
        steps = tip - last
        for number, joint in enumerate(range(last + 1, tip + 1), start=1):
            positions[joint] = positions[last] + (end - positions[last]) * number / steps
        present[tip] = True
    _made_up(positions, present)
    return present


def _made_up(positions: np.ndarray, present: np.ndarray) -> None:
    """Places for fingers that the hand does not have: beside their neighbour, a little shorter."""
    fingers = positions[1:].reshape(N_FINGERS, JOINTS_PER_FINGER, 3)
    there = [bool(present[root]) for root in ROOTS]
    order = (INDEX, MIDDLE, RING, PINKY)
    known = [finger for finger in order if there[finger]]
    for finger in order:
        if there[finger]:
            continue
        donor, other = sorted(known, key=lambda each: abs(order.index(each) - order.index(finger)))[:2]
        steps = order.index(finger) - order.index(donor)
        across = (fingers[other, 0] - fingers[donor, 0]) / (order.index(other) - order.index(donor))
        fingers[finger] = fingers[donor, 0] + steps * across + _DONOR_SHARE * (fingers[donor] - fingers[donor, 0])
    if not there[THUMB]:
        forward, across = fingers[MIDDLE, 0], fingers[INDEX, 0] - fingers[PINKY, 0]
        way = 0.25 * forward + 0.6 * across
        fingers[THUMB] = 0.25 * forward + 0.35 * across + np.arange(JOINTS_PER_FINGER)[:, None] * 0.6 * way
    # `fingers` is a view of `positions`: nothing to write back.


def donor_finger(finger: int, present: np.ndarray) -> int | None:
    """Whose motion a missing finger would follow: its nearest neighbour that the hand has; None for a thumb."""
    order = (INDEX, MIDDLE, RING, PINKY)
    if finger == THUMB:
        return None
    known = [each for each in order if present[ROOTS[each]]]
    return min(known, key=lambda each: abs(order.index(each) - order.index(finger)))


def _plain_chains(indices: Sequence[int | None]) -> tuple:
    """Chains of a hand of which the hierarchy is not known: each joint alone."""
    return tuple(
        ((), ()) if index is None or joint == WRIST else ((), (index,)) for joint, index in enumerate(indices)
    )
