"""Hands of any skeleton in the canonical frame, and rotations there and back."""

from __future__ import annotations

import numpy as np
import pytest
from pytorch3d.transforms import axis_angle_to_matrix
from torch import tensor

from data.rig import find_hand
from data.rig.hand_rig import hand_rig
from data.rig.rest import canonical_turn
from model.topology import ROOTS
from tests.data.rig.rigs import skeleton
from tests.helpers import plausible_offsets, rotations
from utils.errors import InputError


def turn_by(degrees: float, axis=(0.2, 0.5, 1.0)) -> np.ndarray:
    axis = np.array(axis) / np.linalg.norm(axis)
    return axis_angle_to_matrix(tensor(np.radians(degrees) * axis)).numpy()


def rig_of(bones, side="right"):
    return hand_rig(bones, find_hand(bones.names, side, "", bones.parents), "made")


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_hand_in_the_convention_is_left_alone(side):
    rig = rig_of(skeleton(), side)
    assert np.array_equal(rig.turn, np.eye(3))
    assert np.allclose(rig.offsets, plausible_offsets(side=side).numpy())
    assert rig.present.all()


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_turned_hand_comes_back_into_the_convention(side):
    rig = rig_of(skeleton(turn=turn_by(80)), side)
    assert np.allclose(rig.turn @ rig.turn.T, np.eye(3)) and np.linalg.det(rig.turn) == pytest.approx(1)
    assert np.allclose(canonical_turn(rig.joints, rig.present, side), np.eye(3))
    flat = plausible_offsets(side=side).numpy()
    between = np.degrees(np.arccos(np.einsum("ij,ij->i", rig.offsets[1:], flat[1:]) / (
        np.linalg.norm(rig.offsets[1:], axis=1) * np.linalg.norm(flat[1:], axis=1))))  # fmt: skip
    assert between.max() < 15


@pytest.mark.parametrize("options", [{}, {"turn": turn_by(100)}, {"tips": False}, {"metacarpals": True}])
@pytest.mark.parametrize("side", ["right", "left"])
def test_rotations_there_and_back(options, side):
    rig = rig_of(skeleton(**options), side)
    local = rotations(4, 5, 3, seed=3).numpy()
    written = rig.file_rotations(local)
    assert set(written) == set(rig.moved) and set(rig.needed()) <= set(written) | {rig.indices[0]}
    assert np.allclose(rig.canonical(written), local)


def test_a_metacarpals_rotation_is_folded_into_the_joint_below():
    bones = skeleton(metacarpals=True)
    rig = rig_of(bones)
    rest = {joint: np.eye(3)[None] for joint in rig.needed()}
    palm, root = (bones.names.index(f"RightHandIndex{end}") for end in ("Metacarpal", "1"))
    first, second = rotations(2, seed=8).numpy()
    folded = rig.canonical({**rest, palm: first[None], root: second[None]})[0, 3, 0]
    assert np.allclose(folded, rig.turn @ first @ second @ rig.turn.T)
    back = rig.file_rotations(rig.canonical({**rest, palm: first[None], root: second[None]}))
    assert np.allclose(back[palm], np.eye(3)) and np.allclose(back[root][0], first @ second)


def test_missing_fingers_are_masked_and_nothing_is_written_for_them():
    bones = skeleton(without=("pinky",))
    rig = rig_of(bones)
    assert not rig.present[ROOTS[2] : ROOTS[2] + 4].any() and rig.present.sum() == 17
    assert np.isfinite(rig.joints).all()
    written = rig.file_rotations(rotations(2, 5, 3, seed=9).numpy())
    assert all("Pinky" not in bones.names[joint] for joint in written) and len(written) == 16


def test_a_tip_without_a_joint_lies_beyond_the_last_bone():
    rig = rig_of(skeleton(tips=False))
    assert rig.present.all()
    ends = rig.offsets[4]
    assert 0.3 < np.linalg.norm(ends) / np.linalg.norm(rig.offsets[3]) < 1.2


@pytest.mark.parametrize(("scale", "advice"), [(0.01, "`scale` 100"), (100.0, "`scale`")])
def test_other_units_are_named(scale, advice):
    with pytest.raises(InputError, match=advice):
        rig_of(skeleton(scale=scale))
