"""From the motion of any rig to the local rotations of a hand's 21 joints (mathematics §5), and back."""

from __future__ import annotations

import numpy as np

from data.formats.bvh import Bvh
from data.rig.hand_map import HandMap
from data.rig.rest import RestHand
from model.topology import BONES_PER_FINGER, FINGERS, JOINTS_PER_FINGER, N_JOINTS, ROOTS, TIPS, WRIST
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
    local[:, plain] = motion.rotations(hand.in_file(plain))
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


def file_rotations(hand: HandMap, rest: RestHand, local: np.ndarray) -> dict[int, np.ndarray]:
    """The inverse of `hand_rotations`: local rotations (F, 5, 3, 3, 3) → joint of the file → (F, 3, 3).

    Folded joints rest; what a joint that the rig lacks would do, the one before it does.
    """
    local = rest.turn.T @ np.asarray(local, dtype=np.float64) @ rest.turn
    still = np.broadcast_to(np.eye(3), (len(local), 3, 3))
    result: dict[int, np.ndarray] = dict.fromkeys(hand.moved, still)
    for finger, root in enumerate(ROOTS):
        turned = still
        for k in reversed(range(BONES_PER_FINGER)):
            turned = local[:, finger, k] @ turned
            index = hand.indices[root + k]
            if index is not None:
                result[index], turned = turned, still
    return result
