"""The published estimate of axes from the mesh, for characters and for MANO."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data.axes.estimate import estimate_axes
from data.axes.hand import mano_hand
from data.axes.mano import mano_arrays, upright
from data.axes.mesh_shape import DIRECTIONS, directions_round, propose_splay
from data.character.reading import read_mesh_character
from model.mano import ManoHand
from model.topology import N_FINGERS, SIDES
from tests.golden_form import estimated_characters

ONE_DIRECTION = 0.02
"""What the next of the 360 directions changes: the ray caster may decide for it."""


def pytest_generate_tests(metafunc):
    """All characters of which the reference has axes, each with both hands."""
    names = estimated_characters(Path(metafunc.config.getoption("--golden")))
    if "character" in metafunc.fixturenames:
        both = [(name, side) for name in names for side in SIDES]
        metafunc.parametrize("character", both, ids="-".join, indirect=True, scope="module")
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", names)


@pytest.fixture(scope="module")
def reference(golden):
    """The reference arrays."""
    with np.load(golden / "axis_estimation.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def character(request, golden):
    """(name, side, hand) of each reference character."""
    name, side = request.param
    file = golden / "inputs" / f"{name}_mesh_data.npz"
    return name, side, read_mesh_character(file).hand(side).bare


@pytest.fixture(params=SIDES, scope="module")
def mano(request, mano_models):
    """The reference MANO hands at rest."""
    return mano_hand(ManoHand.load(mano_models, None, request.param))


def _same_splay(hand, indices) -> list[bool]:
    """Whether each finger's proposal is the reference's to the degree; fails where it is more than one degree off."""
    same = []
    for finger, expected in enumerate(np.asarray(indices).astype(int)):
        found = propose_splay(hand.vertices, hand.faces, hand.fingers[finger, 2], hand.twist[finger, 2]).index
        assert abs((found - expected + DIRECTIONS // 2) % DIRECTIONS - DIRECTIONS // 2) <= 1
        same.append(found == expected)
    return same


def test_joints_and_twist(reference, character, agree):
    name, side, hand = character
    agree(hand.fingers[:, 2], reference[f"{name}_{side}_joint"], 1e-6, "axis estimation: joints")
    agree(hand.twist[:, 2], reference[f"{name}_{side}_twist"], 1e-6, "axis estimation: twist")


def test_directions(reference, character, agree):
    name, side, hand = character
    for finger, expected in enumerate(reference[f"{name}_{side}_directions_0_1_90"]):
        found = directions_round(hand.twist[finger, 2])[[0, 1, 90]]
        agree(found, expected, 1e-6, "axis estimation: directions")


def test_hand_mesh(reference, golden, name, agree):
    hand = read_mesh_character(golden / "inputs" / f"{name}_mesh_data.npz").hand("right").bare
    used = np.unique(hand.faces)
    agree(hand.vertices[used], reference[f"{name}_right_mesh_verts"], 1e-7, "axis estimation: mesh")
    expected = reference[f"{name}_right_mesh_faces"].astype(np.int64)
    assert np.array_equal(np.searchsorted(used, hand.faces), expected)


def test_splay_of_characters(reference, character, agree):
    """And the axes that follow from it: own proposals, and the reference's own proposals taken as presets."""
    name, side, hand = character
    same = _same_splay(hand, reference[f"{name}_{side}_splay_index"])
    accepted = reference[f"{name}_{side[0]}hand_axes_accepting_proposal"]
    found = estimate_axes(hand, "mesh").axes
    for finger in range(N_FINGERS):
        tolerance = 1e-6 if same[finger] else ONE_DIRECTION
        splay = hand_splay(hand, finger)
        agree(splay, reference[f"{name}_{side}_splay_axis"][finger], tolerance, "axis estimation: splay")
        agree(found[finger], accepted[finger], tolerance, "axis estimation: axes, proposal accepted")
    agree(estimate_axes(hand, "mesh", accepted).axes, accepted, 1e-6, "axis estimation: axes from the same splay")


def hand_splay(hand, finger):
    """(3,) the proposed splay axis of a finger."""
    return propose_splay(hand.vertices, hand.faces, hand.fingers[finger, 2], hand.twist[finger, 2]).splay


def test_axes_after_preset(reference, character, agree):
    name, side, hand = character
    found = estimate_axes(hand, "mesh", reference[f"{name}_{side[0]}hand_preset_given"]).axes
    expected = reference[f"{name}_{side[0]}hand_axes_after_preset"]
    agree(found, expected, 1e-6, "axis estimation: axes after a preset")


def test_mano(reference, mano, agree):
    key = f"mano_{mano.side}"
    agree(mano.fingers[:, 2], reference[f"{key}_joint"], 1e-5, "axis estimation: MANO joints")
    agree(mano.twist[:, 2], reference[f"{key}_twist"], 1e-5, "axis estimation: MANO twist")
    same = _same_splay(mano, reference[f"{key}_splay_index"])
    found = mano_arrays(mano, upright(estimate_axes(mano, "mesh")).axes)
    hand = f"{mano.side[0]}hand"
    for finger in range(N_FINGERS):
        tolerance = 1e-5 if same[finger] else ONE_DIRECTION
        agree(hand_splay(mano, finger), reference[f"{key}_splay_axis"][finger], tolerance, "axis estimation: splay")
        agree(found[hand][finger], reference[f"{key}_axes"][finger], tolerance, "axis estimation: MANO axes")
        ours, theirs = (
            [arrays[f"{name}_bend_{part}"][finger] for part in ("bary", "index_tri")]
            for arrays, name in ((found, hand), (reference, key))
        )
        points = [(bary[..., None] * mano.vertices[mano.faces[tri]]).sum(-2) for bary, tri in (ours, theirs)]
        agree(*points, tolerance, "axis estimation: MANO, where bend axes meet the surface")
        for side in range(2 * same[finger]):
            if ours[1][side] == theirs[1][side]:
                agree(ours[0][side], theirs[0][side], 1e-4, "axis estimation: MANO barycentric")
            else:
                assert theirs[0][side].min() < 1e-3, "another triangle, though the axis does not meet its edge"
