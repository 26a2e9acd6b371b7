"""What is written is read again: right files pass, wrong ones are found and removed; hands whose joints lie side by
side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from data.character.reading import Reading, read_character
from data.formats.bvh import write_bvh
from data.formats.skeleton import Skeleton
from data.motion import writing
from data.motion.glb import write_glb
from data.motion.readback import TOLERANCE, check_written
from data.motion.writing import Job, output_paths, write_motion
from tests.data.motion.test_writing import body_motion, poses
from tests.data.rig.rigs import character, skeleton
from utils.errors import InputError

SIDES = ("right", "left")


def flat() -> Skeleton:
    """Both hands' joints side by side below the hips."""
    bones = skeleton()
    fingers = ["Hand" in name and not name.endswith("Hand") for name in bones.names]
    return replace(bones, parents=np.where(fingers, 0, bones.parents))


@pytest.mark.parametrize("bones", [skeleton(), skeleton(metacarpals=True), flat()], ids=["plain", "carpals", "flat"])
@pytest.mark.parametrize("own", [False, True], ids=["ours", "own file"])
def test_every_joint_is_where_it_was_meant(tmp_path, bones, own):
    motion, target = body_motion(skeleton(), tmp_path), character(bones, tmp_path)
    if own:  # a glTF file of the user's, into which the motion is written
        still = body_motion(bones, tmp_path, "still").bvh
        write_glb(tmp_path / "mine.glb", bones, target.skin, still, "mine")
        target = read_character(str(tmp_path / "mine.glb"), Reading(tmp_path))
    made = poses(*SIDES)
    outputs = output_paths(target, SIDES, tmp_path / "o", ["bvh", "glb"], False)
    write_motion(Job(motion, target, made), outputs)
    hands = {side: (target.hands[side], made[side]) for side in SIDES}
    for output in outputs:
        assert check_written(output.path, hands).worst < TOLERANCE / 10, output.path
        worse = {side: (hand, np.roll(local, 1, axis=0)) for side, (hand, local) in hands.items()}
        with pytest.raises(InputError, match="read again .* palm lengths away in frame"):
            check_written(output.path, worse)


@pytest.mark.parametrize("kind", ["bvh", "glb"])
def test_poses_come_back_out_of_the_file(tmp_path, kind):
    target, made = character(skeleton(), tmp_path), poses(*SIDES)
    job = Job(body_motion(skeleton(), tmp_path), target, made)
    write_motion(job, output_paths(target, SIDES, tmp_path / "o", [kind], False))
    for side in SIDES:
        np.testing.assert_allclose(job.read_back[side].pose(side), made[side], atol=1e-5)


def test_a_scaled_target_stays_where_it_stood(tmp_path):
    bones = skeleton()
    write_glb(tmp_path / "m.glb", bones, character(bones, tmp_path).skin, body_motion(bones, tmp_path).bvh, "m")
    motion = body_motion(skeleton(seed=4), tmp_path)
    written = {}
    for scale in (1.0, 0.5):
        target = read_character(str(tmp_path / "m.glb"), Reading(tmp_path), scale=scale)
        outputs = output_paths(target, SIDES, tmp_path / f"o{scale}", ["glb"], False)
        write_motion(Job(motion, target, poses(*SIDES), scale=scale), outputs)
        written[scale] = read_character(str(outputs[0].path), Reading(tmp_path)).skeleton.heads
    np.testing.assert_allclose(written[0.5], written[1.0], atol=1e-4)


def test_a_wrong_file_stops_the_job_and_goes(tmp_path, monkeypatch):
    def broken(path, bvh, *more):
        write_bvh(path, replace(bvh, values=np.where(np.arange(bvh.values.shape[1]) == 40, 1.0, bvh.values)))

    monkeypatch.setattr(writing, "write_bvh", broken)
    target = character(skeleton(), tmp_path)
    outputs = output_paths(target, SIDES, tmp_path / "o", ["bvh"], False)
    with pytest.raises(InputError, match="o.bvh: read again after it was written, expected joint .* of the .* hand"):
        write_motion(Job(body_motion(skeleton(), tmp_path), target, poses(*SIDES)), outputs)
    assert not list((tmp_path / "o").parent.glob("*o.bvh"))
    outputs[0].path.write_text("an older file")
    with pytest.raises(InputError, match="o.bvh: read again"):
        write_motion(Job(body_motion(skeleton(), tmp_path), target, poses(*SIDES)), outputs)
    assert outputs[0].path.read_text() == "an older file"
