"""A column of the page as a motion file, at the source's own frame rate."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor

from data.bvh import Bvh, write_bvh
from model.kinematics import with_wrist_and_tips
from model.topology import PARENTS
from run.viewing.take import SOURCE, Take, features_of

_BLOCK = 4096
"""Frames retargeted at once."""


def motion_file(take: Take, column: str) -> bytes:
    """The BVH file of a column: the hand's 21 joints, its offsets in centimetres, every frame of the source.

    Raises:
        InputError: a rotation is not finite.
    """
    hand, motion = take.hand(column), take.source.motion
    local = motion.local if column == SOURCE else _retargeted(take, column)
    bvh = Bvh.from_rotations(
        hand.joint_names,
        PARENTS,
        hand.shaped.offsets.double().numpy() * hand.centimetres,
        with_wrist_and_tips(local).double().numpy(),
        frame_time=motion.frame_time,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "motion.bvh"
        write_bvh(path, bvh)
        return path.read_bytes()


def _retargeted(take: Take, column: str) -> Tensor:
    """Local rotations ``(frames, 5, 3, 3, 3)`` of all frames of the source's own rate."""
    source, motion = take.source, take.source.motion
    margin = take.methods.margin(column, motion.frame_time)
    parts = []
    for first in range(0, len(motion.local), _BLOCK):
        start, end = max(0, first - margin), min(len(motion.local), first + _BLOCK + margin)
        features = features_of(source.hand, motion.local[start:end])
        posed = take.methods.pose(column, take.target, features, motion.frame_time)
        parts.append(posed.local[first - start : first - start + _BLOCK])
    return torch.cat(parts)
