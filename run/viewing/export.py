"""A column of the page as a motion file, at the source's own frame rate."""

from __future__ import annotations

import tempfile
from pathlib import Path

from data.bvh import Bvh, write_bvh
from model.kinematics import with_wrist_and_tips
from model.topology import PARENTS
from run.viewing.take import SOURCE, Take, features_of


def motion_file(take: Take, column: str) -> bytes:
    """The BVH file of a column: the hand's 21 joints, its offsets in centimetres, every frame of the source.

    Raises:
        InputError: a rotation is not finite.
    """
    hand, source = take.hand(column), take.source
    local, frame_time = source.motion.local, source.motion.frame_time
    if column != SOURCE:
        features = features_of(source.hand, local)
        local = take.methods.pose(column, hand, source.hand, features, 1 / frame_time).local
    bvh = Bvh.from_rotations(
        hand.joint_names,
        PARENTS,
        hand.shaped.offsets.double().numpy() * hand.centimetres,
        with_wrist_and_tips(local).double().numpy(),
        frame_time=frame_time,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "motion.bvh"
        write_bvh(path, bvh)
        return path.read_bytes()
