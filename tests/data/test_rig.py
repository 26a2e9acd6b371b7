"""Bone names → the 21 joints of a hand."""

import random

import pytest

from data.rig import find_hand, hand_sides
from model.topology import hand_joint_names
from utils.errors import InputError


def rig(prefix="mixamorig:", sides=("right", "left")):
    names = [f"{prefix}Hips", f"{prefix}RightForeArm", f"{prefix}LeftForeArm"]
    for side in sides:
        names += [prefix + name for name in hand_joint_names("mixamo", side)]
    return names


@pytest.mark.parametrize("prefix", ["mixamorig:", "mixamorig6:", "mixamorig_", "", "my rig|mixamorig:"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_mixamo_with_any_prefix_in_any_order(prefix, side):
    names = rig(prefix)
    random.Random(0).shuffle(names)
    found = find_hand(names, side)
    assert (found.domain, found.side) == ("mixamo", side)
    assert [names[i] for i in found.indices] == [prefix + name for name in hand_joint_names("mixamo", side)]


@pytest.mark.parametrize("side", ["right", "left"])
def test_mano(side):
    names = hand_joint_names("mano", side)[::-1]
    found = find_hand(names)
    assert (found.domain, found.side, found.indices) == ("mano", side, tuple(range(20, -1, -1)))


def test_right_hand_is_preferred_and_left_taken_otherwise():
    assert find_hand(rig()).side == "right"
    assert find_hand(rig(sides=("left",))).side == "left"
    assert hand_sides(rig()) == ("right", "left")
    assert hand_sides(["a", "b"]) == ()


def test_one_prefix_for_all_joints():
    names = [name.replace("mixamorig:RightHandRing3", "other:RightHandRing3") for name in rig()]
    with pytest.raises(InputError, match="missing: mixamorig:RightHandRing3;"):
        find_hand(names, "right")


def test_first_of_two_characters():
    names = rig("a:") + rig("b:")
    assert [names[i] for i in find_hand(names, "left").indices][0] == "a:LeftHand"


def test_missing_finger_is_named():
    names = [name for name in rig() if "Pinky" not in name]
    with pytest.raises(InputError) as error:
        find_hand(names, "left", source="clip.bvh")
    message = str(error.value)
    assert message.startswith("clip.bvh: expected a left hand of 21 joints, found 17; missing: ")
    assert "mixamorig:LeftHandPinky1, mixamorig:LeftHandPinky2, " in message


def test_absent_hand_names_what_is_expected_and_the_other_side():
    with pytest.raises(InputError, match="LeftHand, .*found mixamorig:Hips.*the file has a right hand"):
        find_hand(rig(sides=("right",)), "left")
    with pytest.raises(InputError, match="found no joints"):
        find_hand([])


def test_unknown_side():
    with pytest.raises(ValueError, match="both"):
        find_hand(rig(), "both")
