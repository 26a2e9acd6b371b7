"""A column of the page as a motion file, at the source's own frame rate."""

from __future__ import annotations

from pathlib import Path

from data.motion.writing import Job, Output, check_target, write_motion
from run.viewing.hands import Hand
from run.viewing.take import SOURCE, Take
from utils.files import private_folder

FORMATS = {"BVH": ("bvh", ".bvh"), "GLB (skinned)": ("glb", ".glb"), "MANO parameters": ("mano", ".npz")}
"""What is offered → its short name and ending."""


def formats(hand: Hand) -> list[str]:
    """Names in `FORMATS` of what a hand can be written as."""
    skinned = hand.character.kind == "mano" or hand.character.skin is not None
    possible = {"bvh": True, "glb": skinned, "mano": hand.character.kind == "mano"}
    return [name for name, (kind, _) in FORMATS.items() if possible[kind]]


def motion_file(take: Take, column: str, kind: str) -> bytes:
    """A column as a file: all joints of the hand's skeleton, every frame of the source.

    Args:
        take: what is shown.
        column: a method, or the source.
        kind: ``"bvh"``, ``"glb"`` or ``"mano"``.

    Raises:
        InputError: such a hand cannot be written in this form.
    """
    hand, source = take.hand(column), take.source
    check_target(hand.character, [kind])
    if column == SOURCE:
        local = source.track.local
    else:
        local = take.methods.pose(column, hand, source.original, take.present).local
    job = Job(source.track.whole, hand.character, {hand.side: local.double().numpy()})
    with private_folder("s2h_view_") as folder:
        path = Path(folder) / f"motion{dict(FORMATS.values())[kind]}"
        (written,), _ = write_motion(job, [Output(path, kind, (hand.side,))])
        return written.read_bytes()
