"""What a result lacks and what about its hands is doubtful: one line each, whether or not a report is asked for.

A line is said where someone should look, not where a number is a little unsure: what is ordinary is silent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from data.character.character import Character, CharacterHand
from data.formats.skeleton import Skeleton
from data.motion.body import known_body
from data.motion.reading import Motion
from data.preparation.resampling import difference, rest_lengths
from data.rig.hand_map import ancestors
from data.rig.handedness import side_of
from model.topology import BONES_PER_FINGER, FINGERS, ROOTS
from utils.scratch import blocks

OTHER_REST = 15.0
"""Degrees between directions of bones at rest beyond which the rests of two hands are different poses."""
_ADVICE = "look at them with run.calculate_mixamo_axis"
_MOVES = 1e-3
_UNEVEN = 1.02


def remarks(motion: Motion, target_path: Path, target: Mapping[str, CharacterHand]) -> list[str]:
    """The lines about the hands of a motion and of its target; what is true of both hands of a file is one line.

    Args:
        motion: the source.
        target_path: the target's file.
        target: side → hand.
    """
    lines: dict[tuple[str, str], list[str]] = {}
    whose = {side: motion.tracks[side].hand for side in target}
    given = motion.character.path != motion.path
    for path, hands in ((motion.character.path if given else motion.path, whose), (target_path, target)):
        for side, hand in hands.items():
            for line in hand_remarks(side, hand):
                lines.setdefault((str(path), line), []).append(side)
    for side, own in motion.own_hands.items():
        if given and side in whose and (how := _unlike(own, whose[side])) is not None:
            line = f"its skeleton is another one than that of {motion.character.name}, whose hands are to move: {how}"
            lines.setdefault((str(motion.path), line), []).append(side)
    return [
        f"{path}, {f'{sides[0]} hand' if len(set(sides)) == 1 else 'both hands'}: {line}"
        for (path, line), sides in lines.items()
    ]


def hand_remarks(side: str, hand: CharacterHand) -> Iterable[str]:
    """The lines about one hand."""
    indices = hand.map.indices
    missing = [finger for finger, root in zip(FINGERS, ROOTS, strict=True) if indices[root] is None]
    if missing:
        yield f"there is no {' and no '.join(missing)}"
    bones = [sum(index is not None for index in indices[root : root + BONES_PER_FINGER]) for root in ROOTS]
    short = [f"{finger} {n}" for finger, n in zip(FINGERS, bones, strict=True) if 0 < n < BONES_PER_FINGER]
    if short:
        yield f"fingers with fewer than {BONES_PER_FINGER} bones: {', '.join(short)}"
    if hand.model is not None:
        return
    found_side = side_of(hand.skeleton.heads, indices)
    if found_side not in (side, None):
        yield (
            f"it looks inverted: at rest its fingers bend the way of a {found_side} hand's; look at the result, or "
            "correct the rest pose"
        )
    if (uneven := _uneven(hand)) > _UNEVEN:
        yield (f"it is scaled unevenly, by {uneven:.2f} to 1, which bends angles; apply the scale of the armature and "
               "export again")  # fmt: skip
    if hand.given_axes is None:
        opening = hand.estimate.opening
        if opening:
            yield f"a fist would open {', '.join(opening)}, so the axes of {_they(opening)} are wrong; {_ADVICE}"
        if unsure := [finger for finger in hand.estimate.unsure if finger not in opening]:
            yield f"the axes of {', '.join(unsure)} are doubtful; {_ADVICE}"


def _uneven(hand: CharacterHand) -> float:
    """The greatest scale of a hand's wrist at rest by the least; 1 where the file tells none."""
    if hand.skeleton.bases is None:
        return 1.0
    scales = np.linalg.svd(hand.skeleton.bases[hand.map.wrist], compute_uv=False)
    return float(scales[0] / max(float(scales[-1]), 1e-12))


def body_remark(motion: Motion, target: Character, asked: str | None) -> str | None:
    """The line that says that a body which moves in the source does not do so in the target; None where there is none.

    Args:
        motion: the source.
        target: whose body stayed at rest.
        asked: --body.
    """
    hands = [hand.map.wrist for hand in target.hands.values()]
    own = [hand.map.wrist for hand in motion.own_hands.values()]
    if motion.skeleton is None or target.kind == "mano" or not _has_more(target.skeleton, hands):
        return None
    if not _body_moves(motion, own):
        return None
    if asked == "rest":
        return f"{motion.path}: the body stays at rest, as --body rest asks for"
    lacks = motion.path if known_body(motion.skeleton, motion.own_hands) is None else target.path
    return (
        f"{motion.path}: the body stays at rest, because {lacks} has no hips, legs and feet that hang together with "
        "the hands and stand at rest; only the hands move"
    )


def _has_more(skeleton: Skeleton, wrists: list[int]) -> bool:
    """A skeleton has joints that are not below these wrists."""
    return not all(
        joint in wrists or not set(wrists).isdisjoint(ancestors(joint, skeleton.parents))
        for joint in range(len(skeleton.names))
    )


def _body_moves(motion: Motion, wrists: list[int]) -> bool:
    """A joint that is not the hand's is turned, or changes its place."""
    bvh = motion.bvh
    if bvh is None:
        return False
    column, turns, places = 0, [], []
    for joint, channels in enumerate(bvh.channels):
        if joint not in wrists and set(wrists).isdisjoint(ancestors(joint, bvh.parents)):
            turns += [column + c for c, name in enumerate(channels) if name.endswith("rotation")]
            places += [column + c for c, name in enumerate(channels) if name.endswith("position")]
        column += len(channels)
    parts = (bvh.values[part] for part in blocks(bvh.n_frames))
    first = bvh.values[0, places]
    return any(
        np.abs(part[:, places] - first).max(initial=0) > _MOVES or np.abs(part[:, turns]).max(initial=0) > _MOVES
        for part in parts
    )


def _unlike(own: CharacterHand, whose: CharacterHand) -> str | None:
    """How the hand of a motion's file differs from the one that is to move so; None: not to speak of."""
    if whose.model is not None:
        return None
    parts = [part] if (part := difference(rest_lengths(own.rest), rest_lengths(whose.rest))) is not None else []
    both = own.rest.present & whose.rest.present & ~own.rest.made_up & ~whose.rest.made_up
    first, second = own.rest.whole_offsets[both][1:], whose.rest.whole_offsets[both][1:]
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    least = ((first * second).sum(axis=1) / np.maximum(lengths, 1e-30)).min(initial=1)
    worst = np.degrees(np.arccos(np.clip(least, -1, 1)))
    if worst > OTHER_REST:
        parts.append(f"bones rest up to {worst:.0f} degrees elsewhere")
    return "; ".join(parts) or None


def _they(fingers: list[str]) -> str:
    return "it" if len(fingers) == 1 else "them"
