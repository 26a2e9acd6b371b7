"""The hand in any rig: from bone names and hierarchy, or from a user's map, to the 21 joints (mathematics §1)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from data.rig.hand_map import HandMap
from data.rig.handedness import side_of
from data.rig.recognise import FEWEST_FINGERS, Found, Rig, hand_map, sides_of
from data.rig.rig_map import RigMap, all_joints, as_yaml
from data.rig.words import parse
from model.topology import FINGERS, ROOTS, SIDES, check_side
from utils.errors import InputError

EXAMPLES = "RightHandIndex1, index_01_r, Right Index Proximal, J_Bip_R_Index1, right_index1, Bip01 R Finger1"


def find_hand(
    joint_names: Sequence[str],
    side: str | None = None,
    source: str = "",
    parents: Sequence[int] | np.ndarray | None = None,
    rig_map: RigMap | None = None,
) -> HandMap:
    """Find a hand among the joints of a file, whatever rig it is.

    Fingers may be missing, and tips may have no joint: see :class:`HandMap`. Joints that a rig has beyond the 21
    (metacarpals, twist bones, ends) are left out, and noted in :attr:`HandMap.chains`.

    Args:
        joint_names: names as the file spells them.
        side: ``"right"`` or ``"left"``; None takes the right hand if there is one, else the left one.
        source: the file's name, for the error message.
        parents: for each joint the number of the one above it, −1 for a root; None if it is not known, so that names
            alone must do.
        rig_map: what the user says about rigs whose names tell nothing; used for files in which its names occur.

    Raises:
        InputError: there is no such hand, or two joints share the name of one of its joints; the message says what was
            found, what is missing and what to do.
        ValueError: `side` is none of the above.
    """
    rig, rig_map = Rig(joint_names, parents), _of(rig_map, joint_names)
    sides = SIDES if side is None else (check_side(side),)
    attempts = [rig.hand(each, rig_map, source) for each in sides]
    for attempt in attempts:
        if attempt.usable and (rig.sided or side is not None or rig_map is not None):
            found = hand_map(rig, attempt)
            _check_unique(joint_names, found, source)
            return found
    raise _not_found(rig, side, source, attempts, rig_map)


def find_hands(
    joint_names: Sequence[str],
    parents: Sequence[int] | np.ndarray,
    heads: np.ndarray,
    source: str | os.PathLike,
    rig_map: RigMap | None = None,
    side: str | None = None,
) -> dict[str, HandMap]:
    """Side → its hand, of all hands that a file has, right before left: those that `hand_sides` names. Arguments and
    errors as of `find_hand` and `hand_sides`; each side is searched once."""
    rig, rig_map = Rig(joint_names, parents), _of(rig_map, joint_names)
    attempts = {each: rig.hand(each, rig_map, str(source)) for each in SIDES}
    given = rig_map is not None and any(rig_map.names_occur(rig.names, each) for each in SIDES)
    sides = [each for each, found in attempts.items() if found.usable]
    if not sides:
        raise _not_found(rig, None, str(source), list(attempts.values()), rig_map)
    if not rig.sided and not given:
        sides = [_side_of_sideless(attempts[SIDES[0]], heads, source, side)]
    hands = {each: hand_map(rig, attempts[each]) for each in sides}
    for hand in hands.values():
        _check_unique(joint_names, hand, str(source))
    return hands


def hand_sides(
    joint_names: Sequence[str],
    parents: Sequence[int] | np.ndarray | None = None,
    rig_map: RigMap | None = None,
    heads: np.ndarray | None = None,
    source: str | os.PathLike = "",
    side: str | None = None,
) -> tuple[str, ...]:
    """The sides (of ``"right"``, ``"left"``) of which a file has a hand that can be used, possibly none.

    Args:
        joint_names, parents, rig_map: as of :func:`find_hand`.
        heads: (J, 3) rest positions. With them, one hand whose names do not tell its side is told by the file's name
            and by where its palm lies; without them it counts as either.
        source: the file.
        side: of a hand that nothing else tells.

    Raises:
        InputError: nothing tells which side the only hand is, or the file's name contradicts its joints.
    """
    rig, rig_map = Rig(joint_names, parents), _of(rig_map, joint_names)
    given = () if rig_map is None else tuple(side for side in SIDES if rig_map.names_occur(rig.names, side))
    recognised = sides_of(rig)
    if heads is not None and recognised and not rig.sided and not given:
        return (_side_of_sideless(rig.hand(SIDES[0]), heads, source, side),)
    return tuple(side for side in SIDES if side in given or side in recognised)


def _side_of_sideless(hand: Found, heads: np.ndarray, source: str | os.PathLike, side: str | None) -> str:
    """The side of the only hand of a rig whose names do not tell it."""
    by_name, by_joints = parse(Path(source).stem).side, side_of(heads, hand.indices)
    if by_name is not None and by_joints is not None and by_name != by_joints:
        raise InputError(
            f"{source}: expected a {by_name} hand as the file's name says, found the joints of a {by_joints} hand; "
            "rename the file, or mirror the hand"
        )
    found_side = by_joints or by_name or side
    if found_side is None:
        raise InputError(
            f"{source}: found one hand of which neither names nor joints say whether it is right or left; put that "
            "into the file's name, or say which with `hands`"
        )
    return found_side


def print_map(
    joint_names: Sequence[str],
    parents: Sequence[int] | np.ndarray | None = None,
    source: str = "",
    heads: np.ndarray | None = None,
    table: RigMap | None = None,
) -> str:
    """What was recognised in a file as the text of a rig map: a start for one's own (see :mod:`data.rig.rig_map`).

    Args:
        joint_names, parents, heads, source: as of `hand_sides`.
        table: which joints the file's own table says are its hands.
    """
    rig = Rig(joint_names, parents)
    given = [] if table is None else [side for side in SIDES if table.names_occur(rig.names, side)]
    if given or rig.sided:
        sides = given or [*sides_of(rig)] or list(SIDES)
    else:
        sides, hand = [SIDES[0]], rig.hand(SIDES[0])
        if heads is not None and hand.usable:
            with suppress(InputError):  # where nothing tells, the user will
                sides = [_side_of_sideless(hand, heads, source, None)]
    hands = {side: rig.hand(side, table, source) for side in sides}
    text = as_yaml(rig.names, {side: hand.indices for side, hand in hands.items()}, source)
    if all(hand.usable for hand in hands.values()):
        return text
    return text + all_joints(rig.names, parents)


def _of(rig_map: RigMap | None, joint_names: Sequence[str]) -> RigMap | None:
    """The map of this rig, of several in a file."""
    return None if rig_map is None else rig_map.of(joint_names)


def _check_unique(joint_names: Sequence[str], hand: HandMap, source: str) -> None:
    """Raise InputError where two joints of a file have the name of one of the hand's: who can tell which is meant?"""
    counts = Counter(joint_names)
    names = [joint_names[index] for index in hand.indices if index is not None]
    double = [name for name in names if counts[name] > 1]
    if double:
        where, twice = f"{source}: " if source else "", ", ".join(map(_shown, double[:5]))
        raise InputError(
            f"{where}expected each joint of the {hand.side} hand once, found {twice} several times; "
            "rename the joints, or export again"
        )


def _not_found(rig: Rig, side: str | None, source: str, attempts: list[Found], rig_map: RigMap | None) -> InputError:
    complaint = _complaint(rig, side, source, attempts)
    if rig_map is not None and not any(rig_map.names_occur(rig.names, found.side) for found in attempts):
        complaint += f"; none of the names in {rig_map.source} is one of this file's joints"
    return InputError(complaint)


def _complaint(rig: Rig, side: str | None, source: str, attempts: list[Found]) -> str:
    where = f"{source}: " if source else ""
    hand = f"a {side} hand" if side else "a hand"
    best = max(attempts, key=lambda found: (len(found.fingers), found.wrist is not None))
    remedy = "or say which joints they are with `rig_map` (run.retarget with `print_map` writes a start)"
    if best.usable:
        return f"{where}found a hand whose joints' names do not say whether it is right or left; say which"
    if best.gaps:
        names = ", ".join(map(_shown, best.gaps))
        return f"{where}expected {hand} without gaps, missing: {names}; complete or rename the rig, {remedy}"
    if best.fingers:
        found = f"the {', '.join(FINGERS[finger] for finger in best.fingers)} of the {best.side} hand"
        if best.wrist is None:
            lacking = "no wrist above them"
        else:
            found = f"its wrist {_shown(rig.names[best.wrist])} and {found}"
            lacking = f"fewer than {FEWEST_FINGERS} fingers beside the thumb"
        roots = [best.indices[ROOTS[finger]] for finger in best.fingers]
        example = _shorten([rig.names[root] for root in roots if root is not None])
        return f"{where}expected {hand}, found {found} ({example}), but {lacking}; complete the rig, {remedy}"
    other = [one for one in sides_of(rig) if one != side]
    advice = f"the file has a {other[0]} hand: ask for that" if other else f"use a rig with named fingers, {remedy}"
    wrist = "" if best.wrist is None else f" the wrist {_shown(rig.names[best.wrist])} without fingers among"
    return f"{where}expected {hand} (joints like {EXAMPLES}), found{wrist} {_shorten(rig.names)}; {advice}"


def _shorten(names: Iterable[str], limit: int = 4, longest: int = 60) -> str:
    shown = [_shown(name[:longest] + "…" if len(name) > longest else name) for name in names]
    if not shown:
        return "no joints"
    return ", ".join(shown[:limit]) + (f", … ({len(shown)} in all)" if len(shown) > limit else "")


def _shown(name: str) -> str:
    """A name as part of a one-line message."""
    return name if name.isprintable() else ascii(name)
