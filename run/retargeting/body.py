"""What the body does while its hands take the source's motion."""

from __future__ import annotations

from pathlib import Path

from data.character.character import Character
from data.choices import FOLLOW, KEEP, REST
from data.motion.keep import Kept, kept_animation
from data.motion.reading import Motion
from utils.errors import InputError


def body_of(
    wanted: str | None, motion: Motion, target: Character, scale: float = 1.0, blender: str | None = None
) -> str | Kept | None:
    """What `data.motion.body.whole_motion` is to do.

    Args:
        wanted: of `data.choices.BODIES`, or the path of an animation; None: the target's own animation is kept if it
            has one of the motion's length, otherwise the body follows where that can be.
        motion: the source.
        target: whose body it is; hands of MANO have none.
        scale: how much larger it is taken than its file has it.
        blender: for FBX.

    Raises:
        InputError: an animation that is asked for is not as long as the motion, or not of the target's skeleton.
    """
    if wanted in (FOLLOW, REST) or target.kind == "mano":
        return wanted if wanted in (FOLLOW, REST) else None
    path = target.path if wanted in (None, KEEP) else Path(wanted)
    kept = kept_animation(path, target.skeleton, motion.frames, motion.frame_rate, scale, blender)
    if kept is None and wanted is not None:
        raise InputError(
            f"{path}: expected an animation as long as {motion.path} for `body` {wanted}, {motion.frames} frames at "
            f"{motion.frame_rate:g} a second, found none; use `body` follow or rest"
        )
    return kept
