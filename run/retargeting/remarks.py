"""What a result lacks and what about its hands is doubtful: one line each, whether or not a report is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from data.character.character import CharacterHand
from data.motion.reading import Motion
from data.rig.handedness import side_of
from model.topology import BONES_PER_FINGER, FINGERS, ROOTS


def remarks(motion: Motion, target_path: Path, target: dict[str, CharacterHand]) -> list[str]:
    """The lines about the hands of a motion and of its target.

    Args:
        motion: the source.
        target_path: the target's file.
        target: side → hand.
    """
    lines = []
    for path, hands in ((motion.path, {side: motion.tracks[side].hand for side in target}), (target_path, target)):
        for side, hand in hands.items():
            lines += [f"{path}: {line}" for line in hand_remarks(side, hand)]
    return list(dict.fromkeys(lines))


def hand_remarks(side: str, hand: CharacterHand) -> Iterable[str]:
    """The lines about one hand."""
    indices = hand.map.indices
    missing = [finger for finger, root in zip(FINGERS, ROOTS, strict=True) if indices[root] is None]
    if missing:
        yield f"its {side} hand has no {', '.join(missing)}"
    bones = [sum(index is not None for index in indices[root : root + BONES_PER_FINGER]) for root in ROOTS]
    short = [f"{finger} {n}" for finger, n in zip(FINGERS, bones, strict=True) if 0 < n < BONES_PER_FINGER]
    if short:
        yield f"fingers of its {side} hand have fewer than {BONES_PER_FINGER} bones: {', '.join(short)}"
    if hand.model is not None:
        return
    found_side = side_of(hand.skeleton.heads, indices)
    if found_side not in (side, None):
        yield (
            f"its {side} hand looks inverted: at rest its fingers bend the way of a {found_side} hand's; look at the "
            "result, or correct the rest pose"
        )
    if hand.given_axes is None:
        if hand.estimate.opening:
            yield f"axes of its {side} hand are wrong: a fist opens its {', '.join(hand.estimate.opening)}; " + _ADVICE
        if hand.estimate.doubtful:
            yield f"axes of its {side} hand are doubtful: {', '.join(hand.estimate.doubtful)}; " + _ADVICE


_ADVICE = "look at them with run.calculate_mixamo_axis"
