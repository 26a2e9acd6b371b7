"""The shelf of hands."""

import shutil

import numpy as np
import pytest
import torch

from data.formats.bvh import Bvh, write_bvh
from data.motion.reading import read_motions
from model.proportions import Proportions
from model.topology import PINKY, ROOTS
from run.viewing.hands import Shelf
from utils.errors import InputError


def test_test_hands_come_first_and_domains_are_known(shelf):
    outside = {"HandLong0": "mixamo", "HandShort0": "mixamo", "ManoLong0": "mano", "ManoShort0": "mano"}
    assert shelf.names[:4] == sorted(outside)
    assert {name: shelf.domain(name) for name in outside} == outside
    assert shelf.clips("HandLong0") == ["clip"]


@pytest.mark.parametrize("name", ["HandLong0", "ManoLong0"])
def test_surface_surrounds_the_joints(shelf, name):
    hand = shelf.hand(name)
    posed = hand.shaped.at_rest()
    vertices = hand.vertices(posed)
    assert vertices.shape[-1] == 3 and hand.faces.max() < vertices.shape[-2]
    low, high = vertices.amin(-2), vertices.amax(-2)
    slack = 0.1 * hand.palm_length
    assert (posed.joints >= low - slack).all() and (posed.joints <= high + slack).all()


def test_proportions_of_a_character(shelf):
    own, longer = shelf.hand("HandLong0"), shelf.hand("HandLong0", Proportions(finger_length=1.5))
    assert shelf.hand("HandLong0") is own  # kept
    reach = [float(hand.vertices(hand.shaped.at_rest())[..., 0].min()) for hand in (own, longer)]
    assert reach[1] < reach[0] - 2.0  # centimetres further out, along −x
    assert longer.palm_length == pytest.approx(own.palm_length)
    skeleton = longer.character.skeleton
    middle = [skeleton.names.index(f"mixamorig:RightHandMiddle{k}") for k in (1, 2)]
    before = own.character.skeleton.heads
    assert np.linalg.norm(np.subtract(*skeleton.heads[middle])) == pytest.approx(
        1.5 * np.linalg.norm(np.subtract(*before[middle])), rel=1e-5
    )


def test_shape_of_a_subject_comes_from_its_motion(shelf, open_small):
    expected = np.load(open_small / "ManoLong0" / "clip.npy")[0]
    assert shelf.shape("ManoLong0") == pytest.approx(expected, abs=1e-6)
    own, other = shelf.hand("ManoLong0"), shelf.hand("ManoLong0", shape=np.zeros(10))
    assert torch.allclose(own.own.shape, torch.as_tensor(expected, dtype=torch.float32), atol=1e-6)
    assert not torch.allclose(own.shaped.offsets, other.shaped.offsets, atol=1e-4)


def test_a_missing_data_set_names_the_commands_that_build_it(tmp_path):
    with pytest.raises(InputError) as error:
        Shelf(tmp_path / "nowhere")
    assert "run.build_open_hands --output" in str(error.value) and "run.preprocess_mixhand" in str(error.value)


def test_characters_alone_need_no_parametric_hand(open_small, tmp_path):
    (tmp_path / "finger_data").mkdir()
    for file in (open_small / "finger_data").glob("HandLong0*"):
        shutil.copy(file, tmp_path / "finger_data")
    shutil.copytree(open_small / "HandLong0", tmp_path / "HandLong0")
    shutil.copytree(open_small / "ManoLong0", tmp_path / "ManoLong0")
    assert Shelf(tmp_path, tmp_path / "no models").names == ["HandLong0"]


def test_the_other_side_is_refused_where_it_does_not_move(open_small):
    left = Shelf(open_small, side="left")
    with pytest.raises(InputError, match="left hand"):
        left.motion("HandLong0", "clip")


def test_fingers_that_are_missing_are_not_drawn(shelf, tmp_path):
    names, parents, offsets = ["RightHand"], [-1], [[0.0, 0, 0]]
    for finger, (x, z) in {"Index": (-9, 3), "Middle": (-9, 1), "Ring": (-8.5, -1), "Thumb": (-3, 4)}.items():
        for k in range(1, 5):
            names.append(f"RightHand{finger}{k}")
            parents.append(0 if k == 1 else len(names) - 2)
            offsets.append([x, 0, z] if k == 1 else [-2.5, 0, 0])
    motion = Bvh.from_rotations(names, parents, np.array(offsets), np.tile(np.eye(3), (2, 17, 1, 1)), frame_time=0.1)
    write_bvh(tmp_path / "three.bvh", motion)
    (found,) = read_motions(tmp_path / "three.bvh", shelf.reading)
    hand = shelf.hand(shelf.add("three", found.character))
    try:
        assert not hand.own.present[ROOTS[PINKY]]
        vertices = hand.vertices(hand.shaped.at_rest())
        assert float(vertices[..., 2].min()) > -2.5  # nothing beyond the ring finger
        assert np.array_equal(hand.own.present, shelf.hand("three", Proportions(finger_length=1.2)).own.present)
    finally:
        shelf.discard("three")


def test_a_name_that_is_free_again_is_another_hand(shelf):
    first, second = (shelf.hand(name).character for name in ("HandLong0", "HandShort0"))
    assert shelf.add("guest", first) == "guest"
    before = shelf.hand("guest").palm_length
    shelf.discard("guest")
    assert shelf.add("guest", second) == "guest"
    assert shelf.hand("guest").palm_length != before
    shelf.discard("guest")
    assert "guest" not in shelf.names
