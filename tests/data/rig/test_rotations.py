"""Motion of any rig → local rotations of the 21 joints."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch3d.transforms import quaternion_to_matrix
from scipy.spatial.transform import Rotation

from data.character.recognised import recognised
from data.features.file import open_features
from data.features.row import split
from data.formats.bvh import Bvh, read_bvh, write_bvh
from data.formats.skeleton import Skeleton, bvh_skeleton
from data.mixhand import MixHandDataModule
from data.rig import find_hand
from data.rig.rest import rest_hand
from data.rig.rotations import file_rotations, hand_rotations
from model.asrn import ASRN
from model.rotations import unit
from model.topology import TIPS
from run.preprocess_mixhand import preprocess
from tests.data.rig.rigs import skeleton
from tests.data.rig.schemes import SCHEMES, WEBXR, made
from tests.helpers import SMALL, rotations, set_weights
from utils.errors import InputError


def motion_of(rig, seed=0, frames=4):
    """A rig that moves at random."""
    offsets = np.random.default_rng(seed).normal(size=(len(rig.names), 3))
    turns = rotations(frames, len(rig.names), seed=seed).numpy()
    return Bvh.from_rotations(rig.names, rig.parents, offsets, turns, frame_time=0.1)


def global_rotations(motion):
    turns = motion.rotations()
    result = np.empty_like(turns)
    for joint, parent in enumerate(motion.parents):
        result[:, joint] = turns[:, joint] if parent < 0 else result[:, parent] @ turns[:, joint]
    return result


@pytest.mark.parametrize("scheme", ["mixamo", "beat", "openxr", "unreal 5", "oculus", "makehuman"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_every_joint_is_seen_from_the_one_above_it_in_the_hand(scheme, side):
    rig = made(SCHEMES[scheme])
    motion, found = motion_of(rig), find_hand(rig.names, side, parents=rig.parents)
    local, turns = hand_rotations(motion, found), global_rotations(motion)
    for joint in range(21):
        if joint == 0 or joint in TIPS:
            assert (local[:, joint] == np.eye(3)).all()
            continue
        above = found.indices[0 if joint % 4 == 1 else joint - 1]
        expected = np.swapaxes(turns[:, above], -1, -2) @ turns[:, found.indices[joint]]
        np.testing.assert_allclose(local[:, joint], expected, atol=1e-9)


def test_a_flat_hierarchy():
    rig = made(WEBXR, sides=("right",))
    rig = replace(rig, parents=[-1] + [0] * (len(rig.names) - 1))
    motion, found = motion_of(rig), find_hand(rig.names, "right", parents=rig.parents)
    turns = motion.rotations()
    expected = np.swapaxes(turns[:, found.indices[2]], -1, -2) @ turns[:, found.indices[3]]
    root = turns[:, :1]
    assert root.shape[1] == 1
    np.testing.assert_allclose(hand_rotations(motion, found)[:, 3], expected, atol=1e-9)


def test_a_complete_hand_takes_its_rotations_as_they_are():
    rig = made(SCHEMES["mixamo"])
    motion, found = motion_of(rig), find_hand(rig.names, "right", parents=rig.parents)
    expected = motion.rotations(found.indices)
    local = hand_rotations(motion, found)
    turning = [joint for joint in range(1, 21) if joint not in TIPS]
    assert np.array_equal(local[:, turning], expected[:, turning])


def test_motion_that_lacks_what_the_character_has():
    whole, bare = made(SCHEMES["mixamo"]), made(SCHEMES["mixamo"], without=("pinky",))
    motion = motion_of(bare)
    heads = np.random.default_rng(0).normal(size=(len(whole.names), 3))
    bones = Skeleton(tuple(whole.names), np.array(whole.parents), heads)
    rest = rest_hand(find_hand(whole.names, "right", parents=whole.parents), bones)
    with pytest.raises(InputError, match="a.bvh: expected the motion of all joints.* found none for 3 of them .pinky"):
        hand_rotations(motion, find_hand(bare.names, "right", parents=bare.parents), rest, "a.bvh")


def hand_of(bones, side="right"):
    """The map and the rest of a hand of a made-up body."""
    found = find_hand(bones.names, side, parents=bones.parents)
    return found, rest_hand(found, bones)


def written(bones, turned, frames):
    """A motion in which some joints turn."""
    turns = np.broadcast_to(np.eye(3), (frames, len(bones.names), 3, 3)).copy()
    for joint, values in turned.items():
        turns[:, joint] = values
    return Bvh.from_rotations(bones.names, bones.parents, bones.offsets, turns, frame_time=0.1)


TURN = Rotation.from_euler("xyz", [80, 20, 50], degrees=True).as_matrix()


@pytest.mark.parametrize("options", [{}, {"turn": TURN}, {"tips": False}, {"metacarpals": True}])
@pytest.mark.parametrize("side", ["right", "left"])
def test_rotations_there_and_back(options, side):
    bones = skeleton(**options)
    found, rest = hand_of(bones, side)
    local = rotations(4, 5, 3, seed=3).numpy()
    turned = file_rotations(found, rest, local)
    assert set(turned) == set(found.moved)
    again = hand_rotations(written(bones, turned, 4), found, rest)[:, 1:].reshape(4, 5, 4, 3, 3)[:, :, :3]
    np.testing.assert_allclose(again, local, atol=1e-6)


def test_a_metacarpals_rotation_is_folded_into_the_joint_below():
    bones = skeleton(metacarpals=True)
    found, rest = hand_of(bones)
    palm, root = (bones.names.index(f"RightHandIndex{end}") for end in ("Metacarpal", "1"))
    first, second = rotations(2, seed=8).numpy()
    folded = hand_rotations(written(bones, {palm: first, root: second}, 1), found, rest)[:, 1:]
    np.testing.assert_allclose(folded[0, 12], first @ second, atol=1e-9)
    back = file_rotations(found, rest, folded.reshape(1, 5, 4, 3, 3)[:, :, :3])
    np.testing.assert_allclose(back[palm][0], np.eye(3), atol=1e-9)
    np.testing.assert_allclose(back[root][0], first @ second, atol=1e-9)


def test_nothing_is_written_for_missing_fingers():
    bones = skeleton(without=("pinky",))
    turned = file_rotations(*hand_of(bones), rotations(2, 5, 3, seed=9).numpy())
    assert all("Pinky" not in bones.names[joint] for joint in turned) and len(turned) == 16


def test_maps_that_are_equal_are_printed_once(tmp_path):
    rig = made(SCHEMES["biped"])
    for name in ("a", "b"):
        write_bvh(tmp_path / f"{name}.bvh", motion_of(rig))
    write_bvh(tmp_path / "c.bvh", motion_of(made(SCHEMES["unreal 4"])))
    text = recognised(sorted(tmp_path.glob("*.bvh")))
    assert text.count("right:") == 2 and text.count("a.bvh") == text.count("b.bvh") == 1
    assert 'thumb: ["Bip01 R Finger0", "Bip01 R Finger01", "Bip01 R Finger02", "Bip01 R Finger0Nub"]' in text


# -- a character without a pinky, all the way ----------------------------------------------------------------------


def prepare(folder: Path, name: str, motion: Bvh) -> None:
    """A folder to preprocess, made of a motion: a character with its skeleton, and axes from its bones."""
    heads = bvh_skeleton(motion).heads
    count = len(motion.joint_names)
    (folder / "finger_data").mkdir(parents=True)
    names = np.array(motion.joint_names)
    np.savez(
        folder / "finger_data" / f"{name}_mesh_data.npz", verts=heads.astype(np.float32), faces=np.zeros((0, 3), int),
        weight=np.eye(count, dtype=np.float32), vgrp_label=names, bone_names=names, bone_cors=heads.astype(np.float32),
        bone_parents=motion.parents,
    )  # fmt: skip
    axes = {}
    for side, key in (("right", "rhand"), ("left", "lhand")):
        rest = rest_hand(find_hand(motion.joint_names, side, parents=motion.parents), bvh_skeleton(motion))
        bones = torch.from_numpy(rest.offsets)[1:].unflatten(0, (5, 4))
        bones = bones @ torch.from_numpy(rest.turn)  # axes are stored in the character's own frame
        up = torch.from_numpy(rest.turn.T @ [0.0, 1.0, 0.0])
        missing = bones.norm(dim=-1, keepdim=True) == 0
        bones = torch.where(missing, torch.from_numpy(rest.turn.T @ [1.0, 0.0, 0.0]), bones)
        twist = unit(torch.cat([bones[:, 1:], bones[:, 3:]], dim=1))
        splay = unit(up - (twist * up).sum(-1, keepdim=True) * twist)
        axes[key] = torch.stack([twist, torch.linalg.cross(splay, twist), splay], dim=-2).numpy()
    np.savez(folder / "finger_data" / f"{name}_finger_axis.npz", **axes)
    (folder / name).mkdir()
    write_bvh(folder / name / "clip.bvh", motion)


def check_without_pinky(folder: Path, name: str, golden: Path, mano_models: Path, mano_axes: Path) -> None:
    preprocess(["--data_path", str(folder), "--smplx_path", str(mano_models), "--characters", name])
    file = open_features(folder, name)
    assert file.missing == (9, 10, 11, 12)
    features = split("mixamo", torch.from_numpy(np.array(file.rows)))
    assert features.rows.isfinite().all()
    for part in (
        features.offsets[:, 9:13],
        features.axes_t[:, 2],
        features.semantic_matrix.finger[:, 8:12],
        features.semantic_matrix.finger[:, :, 8:12],
        features.semantic_matrix.palm[:, 8:12],
        features.semantic_matrix.palm[:, :, [2, 6]],
    ):
        assert (part == 0).all()  # fmt: skip
    identity = torch.tensor([1.0, 0, 0, 0])
    assert (features.tbs[:, 2] == identity).all() and (features.local_rotations[:, 9:13] == identity).all()
    assert (features.offsets[:, [1, 5, 13, 17]].norm(dim=-1) > 0).all()
    assert (quaternion_to_matrix(features.tbs[:, 0]) - torch.eye(3)).abs().max() > 0.01  # it moves


@pytest.fixture
def golden_motion(golden):
    """A reference motion with both pinkies cut off."""
    motion = read_bvh(golden / "bvh" / "mixamo_clip_a.bvh")
    kept = [joint for joint, name in enumerate(motion.joint_names) if "Pinky" not in name]
    place = {old: new for new, old in enumerate(kept)}
    parents = [place.get(int(motion.parents[old]), -1) for old in kept]
    names = [motion.joint_names[old] for old in kept]
    return Bvh.from_rotations(names, parents, motion.offsets[kept], motion.rotations(kept), frame_time=1 / 60)


def test_a_character_without_a_pinky_goes_to_features(golden_motion, golden, mano_models, mano_axes, tmp_path):
    prepare(tmp_path, "Cartoon", golden_motion)
    check_without_pinky(tmp_path, "Cartoon", golden, mano_models, mano_axes)


def test_and_to_training(golden_motion, golden, mano_models, mano_axes, tmp_path):
    prepare(tmp_path, "Cartoon", golden_motion)
    (tmp_path / "Mano0").mkdir()
    write_bvh(tmp_path / "Mano0" / "clip.bvh", read_bvh(golden / "bvh" / "mano_clip.bvh"))
    for path in (golden / "inputs").glob("mano_finger_axis*"):
        (tmp_path / "finger_data" / path.name).write_bytes(path.read_bytes())
    preprocess(["--data_path", str(tmp_path), "--smplx_path", str(mano_models)])
    data = MixHandDataModule(
        str(tmp_path), window_size=4, batch_size=3, num_workers=0, frame_stride=2,
        train_characters=["Cartoon", "Mano0"], val_characters=["Cartoon", "Mano0"],
    )  # fmt: skip
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch.first.present.shape == (3, 4, 21) and batch.second.present is None
    assert (~batch.first.present).nonzero()[:, -1].unique().tolist() == [9, 10, 11, 12]
    model = ASRN(**SMALL, smplx_model_path=str(mano_models), mano_axis_path=str(mano_axes))
    set_weights(model, 1)
    totals, _ = model._step(batch, semi=True)
    (totals["mixamo"] + totals["mano"]).backward()
    gradient = model.recon_nets[0].res_blocks[-1].conv2.bias.grad.unflatten(0, (5, 3, 6))
    assert (gradient[2] == 0).all() and (gradient[[0, 1, 3, 4]] != 0).any()


@pytest.mark.skipif("S2H_REAL_DATA" not in os.environ, reason="S2H_REAL_DATA (a folder of real files) is not set")
def test_a_real_character_without_a_pinky(golden, mano_models, mano_axes, tmp_path):
    motion = read_bvh(Path(os.environ["S2H_REAL_DATA"]) / "bvh" / "Mousey_Macarena.bvh")
    prepare(tmp_path, "Mousey", motion)
    check_without_pinky(tmp_path, "Mousey", golden, mano_models, mano_axes)
