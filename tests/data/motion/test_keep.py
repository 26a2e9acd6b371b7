"""A body whose own animation stays to the last bit while its fingers are replaced."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.character.gltf import read_gltf_character
from data.character.reading import Reading, read_character
from data.formats.bvh import Bvh, decimals, read_bvh, write_bvh
from data.motion.glb import write_glb
from data.motion.keep import kept_animation
from data.motion.writing import Job, output_paths, write_motion
from run.retargeting.body import body_of
from tests.data.motion.test_writing import FRAMES, body_motion, poses
from tests.data.rig.rigs import character, skeleton
from tests.helpers import rotations
from utils.errors import InputError

RATE = 30


def own_animation(bones, frames=FRAMES, rate=RATE, seed=7):
    turned = rotations(frames, len(bones.names), seed=seed, angle=1.0).numpy()
    places = bones.heads[0] + np.arange(frames)[:, None] * [0.1, 0.2, 0.3]
    return Bvh.from_rotations(
        bones.names, bones.parents, bones.offsets, turned, frame_time=1 / rate, root_positions=places
    )


def danced(tmp_path, name="own.glb", seed=7, rate=2 * RATE):
    """A glTF file with a skin whose animation has more keys than the motion has frames."""
    made = character(skeleton(), tmp_path)
    frames = (FRAMES - 1) * rate // RATE + 1
    write_glb(tmp_path / name, made.skeleton, made.skin, own_animation(made.skeleton, frames, rate, seed), "dance")
    return tmp_path / name


def test_bvh_keeps_all_other_channels_to_the_last_bit(tmp_path):
    bones = skeleton()
    bvh = own_animation(bones)
    write_bvh(tmp_path / "own.bvh", replace(bvh, values=np.round(bvh.values, 9)), 9)
    target = read_character(str(tmp_path / "own.bvh"), Reading(Path(".")))
    motion = body_motion(skeleton(seed=3), tmp_path, fps=RATE)
    body = body_of(None, motion, target)
    job = Job(motion, target, poses("right", "left"), body=body)
    ((path,), moves) = write_motion(job, output_paths(target, ("right", "left"), tmp_path / "o", ["bvh"], False))
    before, after = read_bvh(tmp_path / "own.bvh"), read_bvh(path)
    fingers = job.whole(("right", "left")).fingers
    columns = np.repeat(np.arange(len(bones.names)), [len(names) for names in before.channels])
    same = ~np.isin(columns, list(fingers))
    assert moves and 30 < (~same).sum() < len(same)
    assert np.array_equal(after.values[:, same], before.values[:, same])
    assert np.abs(after.values[:, ~same] - before.values[:, ~same]).max() > 1


@pytest.mark.parametrize("other", [False, True], ids=["its own", "another file's"])
def test_gltf_keeps_all_other_keys_to_the_last_bit(tmp_path, other):
    path = danced(tmp_path)
    target, motion = read_character(str(path), Reading(Path("."))), body_motion(skeleton(seed=3), tmp_path, fps=RATE)
    kept = danced(tmp_path, "other.glb", seed=8) if other else path
    body = body_of(str(kept) if other else "keep", motion, target)
    job = Job(motion, target, poses("right", "left"), body=body)
    (made, bvh), _ = write_motion(job, output_paths(target, ("right", "left"), tmp_path / "o", ["glb", "bvh"], False))
    fingers = {target.skeleton.names[joint] for joint in job.whole(("right", "left")).fingers}
    tracks = []
    for file in (kept, made):
        content = read_gltf_character(file)
        tracks.append({(content.gltf.node_names[t.node], t.path): t for t in content.animations[0].tracks})
    before, after = tracks
    others = {key for key in before if key[0] not in fingers}
    assert len(others) >= 7 and others == {key for key in after if key[0] not in fingers}
    for key in others:
        assert np.array_equal(before[key].times, after[key].times)
        assert np.array_equal(before[key].values, after[key].values)
    assert all(len(after[key].times) == FRAMES for key in after if key[0] in fingers and len(after[key].times) > 1)
    assert len(read_gltf_character(made).animations) == 2  # what was there stays as well
    assert read_bvh(bvh).n_frames == FRAMES


def test_an_animation_of_another_length_or_skeleton_is_not_kept(tmp_path):
    path = danced(tmp_path)
    target, motion = read_character(str(path), Reading(Path("."))), body_motion(skeleton(), tmp_path, fps=RATE)
    slower = replace(motion, frame_rate=10.0)
    assert body_of(None, slower, target) is None and body_of("rest", motion, target) == "rest"
    with pytest.raises(InputError, match="expected an animation as long as .* for `body` keep, 5 frames at 10"):
        body_of("keep", slower, target)
    write_bvh(tmp_path / "alien.bvh", own_animation(skeleton().scaled(1.1)))
    with pytest.raises(InputError, match="found bones that are .* cm elsewhere at rest"):
        kept_animation(tmp_path / "alien.bvh", target.skeleton, FRAMES, RATE)
    few = skeleton(without=("pinky",))
    write_bvh(tmp_path / "few.bvh", own_animation(few))
    with pytest.raises(InputError, match="found none for its joint"):
        kept_animation(tmp_path / "few.bvh", target.skeleton, FRAMES, RATE)


def test_decimals():
    values = np.round(np.random.default_rng(0).normal(size=(50, 3)) * 100, 8)
    assert decimals(values) == 8 and decimals(np.round(values, 3)) == 6
    assert decimals(np.full((1, 1), 1 / 3)) == 15
