"""What is known of a hand in a file: which of its joints are the 21 of a hand (mathematics §1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from model.topology import JOINTS_PER_FINGER, N_JOINTS, PARENTS, ROOTS, TIPS, WRIST

Chain = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class HandMap:
    """Where the joints of one hand stand among the joints of a file."""

    domain: str
    """``"mixamo"`` (a character's rig, whatever its names) or ``"mano"``."""
    side: str
    """``"right"`` or ``"left"``."""
    indices: tuple[int | None, ...]
    """For each of the 21 joints in hand order, its number in the file; None where the file has no such joint."""
    scheme: str = ""
    """Whose way of naming bones it is, if it is known (see :mod:`data.rig.schemes`)."""
    chains: tuple[Chain, ...] | None = None
    """For each of the 21 joints (up, down): numbers in the file of the joints between it and the joint above it in the
    hand. `down` leads to the joint itself, so that it holds nothing else where no joint was left out; `up` is empty
    unless the file does not hang the one below the other. None: the hierarchy was not known."""

    @property
    def present(self) -> tuple[bool, ...]:
        """For each of the 21 joints, whether the hand has it. A tip needs no joint of its own: it is where the last
        bone of its finger ends."""
        tips = {tip: self.indices[root] is not None for root, tip in zip(ROOTS, TIPS, strict=True)}
        return tuple(tips.get(joint, index is not None) for joint, index in enumerate(self.indices))

    @property
    def listed(self) -> list[int]:
        """The joints (hand order) that have a number in the file."""
        return [joint for joint, index in enumerate(self.indices) if index is not None]

    def in_file(self, joints: Iterable[int]) -> list[int]:
        """The numbers in the file of some joints; those without one are left out."""
        return [index for joint in joints if (index := self.indices[joint]) is not None]

    @property
    def wrist(self) -> int:
        """The wrist's number in the file: there is no hand without one."""
        (wrist,) = self.in_file([WRIST])
        return wrist

    @property
    def complete(self) -> bool:
        """All 21 joints have a number in the file."""
        return None not in self.indices

    @property
    def moved(self) -> list[int]:
        """Joints of the file that a pose of this hand writes: those of the fingers, and what is folded into them."""
        moved = [joint for _, down in self.chains or () for joint in down]
        moved += [index for index in self.indices[1:] if index is not None]
        return sorted(set(moved) - {self.wrist})

    @property
    def made_parents(self) -> dict[int, int]:
        """Joint of the file → joint that it would have to hang on, where the file does not hang a joint of the hand
        below the one above it (all joints side by side, as in WebXR's hands)."""
        result = {}
        for joint, (up, _) in enumerate(self.chains or ()):
            index = self.indices[joint]
            if up and index is not None:
                result[index] = _above(joint, self.indices)
        return result

    def last_bone(self, finger: int) -> int:
        """Joint (hand order) of the last bone of a finger that the hand has."""
        joints = range(ROOTS[finger], ROOTS[finger] + JOINTS_PER_FINGER - 1)
        return max(joint for joint in joints if self.indices[joint] is not None)


def chains_between(indices: Sequence[int | None], parents: Sequence[int] | np.ndarray) -> tuple[Chain, ...]:
    """The joints of a file between each joint of a hand and the one above it, see :attr:`HandMap.chains`.

    Args:
        indices: numbers of the 21 joints, None where there is none; a joint's "one above" is the nearest that exists.
        parents: of the joints in the file, −1 for a root.
    """
    chains: list[Chain] = [((), ()) for _ in range(N_JOINTS)]
    for joint, index in enumerate(indices):
        if index is None or joint == WRIST:
            continue
        chains[joint] = _between(_above(joint, indices), index, parents)
    return tuple(chains)


def _above(joint: int, indices: Sequence[int | None]) -> int:
    """The number in the file of the nearest joint above one of the hand that exists."""
    above = PARENTS[joint]
    while (index := indices[above]) is None:
        above = PARENTS[above]
    return int(index)


def _between(top: int, bottom: int, parents: Sequence[int] | np.ndarray) -> Chain:
    """(joints from below the nearest common ancestor down to `top`, the same down to `bottom`)."""
    over_top, over_bottom = [top, *ancestors(top, parents)], [bottom, *ancestors(bottom, parents)]
    common = next((joint for joint in over_bottom if joint in over_top), None)
    up = over_top if common is None else over_top[: over_top.index(common)]
    down = over_bottom if common is None else over_bottom[: over_bottom.index(common)]
    return tuple(reversed(up)), tuple(reversed(down))


def ancestors(joint: int, parents: Sequence[int] | np.ndarray) -> list[int]:
    """The joints above `joint`, nearest first; stops where parents run in a circle."""
    above, seen = [], {joint}
    joint = int(parents[joint])
    while 0 <= joint < len(parents) and joint not in seen:
        above.append(joint)
        seen.add(joint)
        joint = int(parents[joint])
    return above
