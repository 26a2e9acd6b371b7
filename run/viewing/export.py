"""A column of the page as a motion file, at the source's own frame rate."""

from __future__ import annotations

import tempfile
from pathlib import Path

from data.bvh import write_bvh
from data.export.body import whole_motion
from run.viewing.take import SOURCE, Take, features_of


def motion_file(take: Take, column: str) -> bytes:
    """The BVH file of a column: all joints of the hand's skeleton, every frame of the source.

    Raises:
        InputError: a rotation is not finite.
    """
    hand, source = take.hand(column), take.source
    local, frame_rate = source.motion.local, source.motion.frame_rate
    if column != SOURCE:
        features = features_of(source.hand, local)
        local = take.methods.pose(column, hand, source.hand, features, frame_rate).local
    poses = {hand.side: local.double().numpy()}
    bvh = whole_motion(hand.skeleton, {hand.side: hand.rig}, poses, source.motion.whole).bvh
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "motion.bvh"
        write_bvh(path, bvh)
        return path.read_bytes()
