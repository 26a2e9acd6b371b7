"""From the bone names of a rig to the 21 joints of a hand (SPEC §1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from model.topology import DOMAINS, SIDES, check_side, hand_joint_names
from utils.errors import InputError


@dataclass(frozen=True)
class HandMap:
    """Where the joints of one hand stand among the joints of a file."""

    domain: str
    """``"mixamo"`` or ``"mano"``: whose names the file uses."""
    side: str
    """``"right"`` or ``"left"``."""
    indices: tuple[int, ...]
    """For each of the 21 joints in hand order, its number in the file."""


@dataclass(frozen=True)
class _Attempt:
    """What one naming scheme finds in a file."""

    domain: str
    side: str
    prefix: str
    indices: tuple[int | None, ...]

    @property
    def missing(self) -> list[str]:
        names = hand_joint_names(self.domain, self.side)
        return [self.prefix + name for name, index in zip(names, self.indices, strict=True) if index is None]


def find_hand(joint_names: Sequence[str], side: str | None = None, source: str = "") -> HandMap:
    """Find a complete hand by its joint names: Mixamo's with any prefix (``mixamorig:``, ``mixamorig6:``,
    ``mixamorig_``, none), or MANO's.

    Args:
        joint_names: names as the file spells them. If a name occurs twice, its first occurrence counts.
        side: ``"right"`` or ``"left"``; None takes the right hand if it is complete, else the left one.
        source: the file's name, for the error message.

    Raises:
        InputError: no hand of this side is complete; the message names the joints that are missing.
        ValueError: `side` is none of the above.
    """
    sides = SIDES if side is None else (check_side(side),)
    attempts = _attempts(joint_names, sides)
    for attempt in attempts:
        if not attempt.missing:
            return HandMap(attempt.domain, attempt.side, tuple(i for i in attempt.indices if i is not None))
    raise InputError(_complaint(joint_names, side, source, attempts))


def hand_sides(joint_names: Sequence[str]) -> tuple[str, ...]:
    """The sides (of ``"right"``, ``"left"``) of which the names hold a complete hand, possibly none."""
    complete = {attempt.side for attempt in _attempts(joint_names, SIDES) if not attempt.missing}
    return tuple(side for side in SIDES if side in complete)


def _attempts(joint_names: Sequence[str], sides: Sequence[str]) -> list[_Attempt]:
    numbers: dict[str, int] = {}
    for number, name in enumerate(joint_names):
        numbers.setdefault(name, number)
    return [_attempt(numbers, domain, side) for side in sides for domain in DOMAINS]


def _attempt(numbers: dict[str, int], domain: str, side: str) -> _Attempt:
    """The prefix with which most of a hand's names occur, and the joints found with it."""
    wanted = hand_joint_names(domain, side)
    counts: dict[str, int] = {}
    for name in wanted:
        for present in numbers:
            if present.endswith(name):
                prefix = present.removesuffix(name)
                counts[prefix] = counts.get(prefix, 0) + 1
    # Ties go to the prefix met first, so a file with two characters gives its first one.
    prefix = max(counts, key=counts.__getitem__, default="")
    return _Attempt(domain, side, prefix, tuple(numbers.get(prefix + name) for name in wanted))


def _complaint(names: Sequence[str], side: str | None, source: str, attempts: list[_Attempt]) -> str:
    where = f"{source}: " if source else ""
    hand = f"a {side} hand" if side else "a hand"
    best = min(attempts, key=lambda attempt: len(attempt.missing))
    if len(best.missing) < len(best.indices) - 1:  # more than a lone wrist: a hand, but not a whole one
        return (
            f"{where}expected {hand} of 21 joints, found {len(best.indices) - len(best.missing)}; missing: "
            f"{', '.join(best.missing)}; complete the rig or choose the other side"
        )
    other = [one for one in hand_sides(names) if one != side]
    advice = f"the file has a {other[0]} hand: ask for that" if other else "use a rig with named fingers"
    mixamo, mano = (_shorten(hand_joint_names(domain, side or "right")) for domain in DOMAINS)
    return f"{where}expected {hand} with the joints {mixamo} (any prefix) or {mano}, found {_shorten(names)}; {advice}"


def _shorten(names: Iterable[str], limit: int = 4) -> str:
    names = list(names)
    if not names:
        return "no joints"
    return ", ".join(names[:limit]) + (f", … ({len(names)} in all)" if len(names) > limit else "")
