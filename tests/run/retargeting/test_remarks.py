"""What is said about hands and bodies, and where nothing is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from data.character.reading import Reading, read_character
from data.formats.bvh import write_bvh
from data.motion.reading import read_motions
from run.retargeting.remarks import body_remark, remarks
from tests.data.motion.test_writing import body_motion
from tests.data.rig.rigs import character, skeleton


def bare(tmp_path, name="bare", **options):
    """A skeleton alone as a target: its axes are estimated from bones."""
    bvh = body_motion(skeleton(**options), tmp_path, name).bvh
    write_bvh(tmp_path / f"{name}.bvh", replace(bvh, values=0 * bvh.values))
    return read_character(str(tmp_path / f"{name}.bvh"), Reading(tmp_path))


def test_ordinary_hands_are_silent(tmp_path):
    motion, target = body_motion(skeleton(), tmp_path), bare(tmp_path)
    assert remarks(motion, target.path, target.hands) == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"without": ("pinky",)}, "both hands: there is no pinky"),
        ({"without": ("ring", "pinky")}, "both hands: there is no ring and no pinky"),
    ],
)
def test_what_is_missing_is_one_line_for_both_hands(tmp_path, options, says):
    motion, target = body_motion(skeleton(), tmp_path), bare(tmp_path, **options)
    assert remarks(motion, target.path, target.hands) == [f"{target.path}, {says}"]
    right = {"right": target.hands["right"]}
    assert remarks(motion, target.path, right) == [f"{target.path}, {says.replace('both hands', 'right hand')}"]


@pytest.mark.parametrize(("error", "said"), [(21.0, False), (29.0, False), (31.0, True), (60.0, True)])
def test_an_axis_is_doubtful_where_it_is_rather_wrong_than_right(tmp_path, error, said):
    """A thumb of which only the palm tells (25 degrees) is ordinary."""
    motion, target = body_motion(skeleton(), tmp_path), bare(tmp_path)
    for hand in target.hands.values():
        *fingers, thumb = hand.estimate.fingers
        hand.__dict__["estimate"] = replace(hand.estimate, fingers=(*fingers, replace(thumb, error=error)))
    lines = remarks(motion, target.path, target.hands)
    advice = "the axes of thumb are doubtful; look at them with run.calculate_mixamo_axis"
    assert lines == ([f"{target.path}, both hands: {advice}"] if said else [])


def test_a_clip_of_another_skeleton_is_said(tmp_path):
    target = character(skeleton(), tmp_path)
    write_bvh(tmp_path / "clip.bvh", body_motion(skeleton(seed=5), tmp_path, "made").bvh)
    (motion,) = read_motions(tmp_path / "clip.bvh", Reading(tmp_path), character(skeleton(), tmp_path))
    lines = remarks(motion, target.path, target.hands)
    said = [line for line in lines if "its skeleton is another one than that of Made" in line]
    assert said and all(line.startswith(str(tmp_path / "clip.bvh")) for line in said)
    (own,) = read_motions(tmp_path / "made.bvh", Reading(tmp_path), character(skeleton(seed=5), tmp_path))
    assert not any("another one" in line for line in remarks(own, target.path, target.hands))


def test_a_body_at_rest_is_said_only_where_it_moves_in_the_source(tmp_path):
    motion, target = body_motion(skeleton(), tmp_path), character(skeleton(), tmp_path)
    said = body_remark(motion, target, None)
    assert said == (f"{motion.path}: the body stays at rest, because {motion.path} has no hips, legs and feet that "
                    "hang together with the hands and stand at rest; only the hands move")  # fmt: skip
    assert body_remark(motion, target, "rest").endswith("as --body rest asks for")
    fingers = [c for c, name in enumerate(motion.bvh.joint_names) if "Hand" in name]
    columns = np.concatenate([np.zeros(3, bool), np.repeat(np.isin(range(len(motion.bvh.joint_names)), fingers), 3)])
    still = replace(motion, bvh=replace(motion.bvh, values=motion.bvh.values * columns))
    assert body_remark(still, target, None) is None
    alone = replace(target.hands["right"], skeleton=skeleton())
    wrist = replace(alone.map, indices=(0, *alone.map.indices[1:]))  # all joints are below this wrist
    assert body_remark(motion, replace(target, hands={"right": replace(alone, map=wrist)}), None) is None
