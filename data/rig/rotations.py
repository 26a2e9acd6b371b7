"""From the motion of any rig to the local rotations of a hand's 21 joints (mathematics §5)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from data.character.mesh_file import read_mesh
from data.formats.bvh import Bvh, read_bvh
from data.rig.find import print_map
from data.rig.hand_map import HandMap
from data.rig.rest import RestHand
from model.topology import FINGERS, JOINTS_PER_FINGER, N_JOINTS, TIPS, WRIST
from utils.errors import InputError

TURNING = tuple(joint for joint in range(N_JOINTS) if joint not in (WRIST, *TIPS))


def hand_rotations(motion: Bvh, hand: HandMap, rest: RestHand | None = None, source: str = "") -> np.ndarray:
    """Local rotations of a hand, each relative to the joint above it in the hand, in the frame of features.

    Where a rig has joints between two of the hand (metacarpals, twist bones), their rotations are folded into the
    lower one: ``F_j = F_a F_b … F_j`` along the way down. Where it does not hang the one below the other, the
    rotation of the lower seen from the upper is taken, ``F_j = G_aboveᵀ G_j``. Then ``F ← C F Cᵀ`` with the turn C of
    a hand whose rest pose points elsewhere.

    Args:
        motion: whose rest orientations are the identity.
        hand: its hand.
        rest: the hand that is to move so; None: a hand with all joints that needs no turn.
        source: the file, for the error message.

    Returns:
        (F, 21, 3, 3) float64; the identity for the wrist, the tips, and joints that the hand does not have.

    Raises:
        InputError: the motion lacks a joint that the hand at rest has and that turns.
    """
    wanted = [joint for joint in TURNING if rest is None or rest.present[joint]]
    lacking = [joint for joint in wanted if hand.indices[joint] is None]
    if lacking:
        names = ", ".join(dict.fromkeys(FINGERS[(joint - 1) // JOINTS_PER_FINGER] for joint in lacking))
        raise InputError(
            f"{source or 'motion'}: expected the motion of all joints that the character's {hand.side} hand has, "
            f"found none for {len(lacking)} of them ({names}); use motion of a rig that has them, or another character"
        )
    local = np.broadcast_to(np.eye(3), (motion.n_frames, N_JOINTS, 3, 3)).copy()
    chains = hand.chains or [((), ())] * N_JOINTS
    plain = [joint for joint in wanted if not chains[joint][0] and len(chains[joint][1]) <= 1]
    local[:, plain] = motion.rotations([hand.indices[joint] for joint in plain])
    for joint in sorted(set(wanted) - set(plain)):
        up, down = (_product(motion, chain) for chain in chains[joint])
        local[:, joint] = np.swapaxes(up, -1, -2) @ down
    if rest is not None and not np.array_equal(rest.turn, np.eye(3)):
        local[:, wanted] = rest.turn @ local[:, wanted] @ rest.turn.T
    return local


def _product(motion: Bvh, joints: tuple[int, ...]) -> np.ndarray:
    """(F, 3, 3) product of local rotations from top to bottom."""
    product = np.broadcast_to(np.eye(3), (motion.n_frames, 3, 3))
    for turn in np.moveaxis(motion.rotations(joints), 1, 0):
        product = product @ turn
    return product


def recognised(paths: Iterable[str | Path]) -> str:
    """Rig maps of BVH and mesh files as they were recognised, one after the other, as text; maps that are equal are
    written once, with the names of all their files.

    Raises:
        InputError: a file cannot be read.
    """
    files: dict[str, list[str]] = {}
    for path in map(Path, paths):
        if path.suffix.lower() == ".bvh":
            motion = read_bvh(path)
            names, parents = motion.joint_names, motion.parents
        else:
            mesh = read_mesh(path)
            names, parents = mesh.bone_names, mesh.bone_parents
        files.setdefault(print_map(names, parents), []).append(str(path))
    heads = ("".join(f"# {name}\n" for name in ascii_lines(members)) for members in files.values())
    return "\n---\n".join(head + text for head, text in zip(heads, files, strict=True))


def ascii_lines(names: Iterable[str]) -> list[str]:
    """Names that fit on a line of text each."""
    return [name if name.isprintable() else ascii(name) for name in names]
