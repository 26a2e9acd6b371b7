"""The published estimate of axes from the mesh, for characters and for MANO."""

from __future__ import annotations

import numpy as np
import pytest

from data.axes.estimate import estimate_axes
from data.axes.hand import character_hand, mano_hand
from data.axes.mano import mano_arrays, upright
from data.axes.mesh_shape import DIRECTIONS, directions_round, propose_splay
from data.character.mesh_file import read_character
from model.mano import ManoHand
from model.topology import N_FINGERS, SIDES

CHARACTERS = ("Aj", "BigVegas")


@pytest.fixture(scope="module")
def reference(golden):
    """The reference arrays."""
    with np.load(golden / "axis_estimation.npz") as arrays:
        return dict(arrays)


@pytest.fixture(params=[(name, side) for name in CHARACTERS for side in SIDES], ids="-".join, scope="module")
def character(request, golden):
    """(name, side, hand) of each reference character."""
    name, side = request.param
    file = golden / "inputs" / f"{name}_mesh_data.npz"
    return name, side, character_hand(read_character(file, None), side)


@pytest.fixture(params=SIDES, scope="module")
def mano(request, mano_models):
    """The reference MANO hands at rest."""
    return mano_hand(ManoHand.load(mano_models, None, request.param))


def _turns(found: int, expected: int) -> int:
    """Degrees between two of the 360 directions."""
    return abs((found - expected + DIRECTIONS // 2) % DIRECTIONS - DIRECTIONS // 2)


def test_joints_and_twist(reference, character, agree):
    name, side, hand = character
    agree(hand.fingers[:, 2], reference[f"{name}_{side}_joint"], 1e-6, "axis estimation: joints")
    agree(hand.twist[:, 2], reference[f"{name}_{side}_twist"], 1e-6, "axis estimation: twist")


def test_directions(reference, character, agree):
    name, side, hand = character
    for finger, expected in enumerate(reference[f"{name}_{side}_directions_0_1_90"]):
        found = directions_round(hand.twist[finger, 2])[[0, 1, 90]]
        agree(found, expected, 1e-6, "axis estimation: directions")


@pytest.mark.parametrize("name", CHARACTERS)
def test_hand_mesh(reference, golden, name, agree):
    hand = character_hand(read_character(golden / "inputs" / f"{name}_mesh_data.npz", None), "right")
    used = np.unique(hand.faces)
    agree(hand.vertices[used], reference[f"{name}_right_mesh_verts"], 1e-7, "axis estimation: mesh")
    expected = reference[f"{name}_right_mesh_faces"].astype(np.int64)
    assert np.array_equal(np.searchsorted(used, hand.faces), expected)


def test_splay_of_characters(reference, character, agree):
    name, side, hand = character
    for finger in range(N_FINGERS):
        found = propose_splay(hand.vertices, hand.faces, hand.fingers[finger, 2], hand.twist[finger, 2])
        assert _turns(found.index, int(reference[f"{name}_{side}_splay_index"][finger])) <= 1
        agree(found.splay, reference[f"{name}_{side}_splay_axis"][finger], 0.02, "axis estimation: splay")


def test_axes_of_characters(reference, character, agree):
    name, side, hand = character
    found = estimate_axes(hand, "mesh").axes
    expected = reference[f"{name}_{side[0]}hand_axes_accepting_proposal"]
    agree(found, expected, 1e-6, "axis estimation: axes, proposal accepted")


def test_axes_after_preset(reference, character, agree):
    name, side, hand = character
    found = estimate_axes(hand, "mesh", reference[f"{name}_{side[0]}hand_preset_given"]).axes
    expected = reference[f"{name}_{side[0]}hand_axes_after_preset"]
    agree(found, expected, 1e-6, "axis estimation: axes after a preset")


def test_mano(reference, mano, agree):
    key = f"mano_{mano.side}"
    agree(mano.fingers[:, 2], reference[f"{key}_joint"], 1e-5, "axis estimation: MANO joints")
    agree(mano.twist[:, 2], reference[f"{key}_twist"], 1e-5, "axis estimation: MANO twist")
    for finger in range(N_FINGERS):
        found = propose_splay(mano.vertices, mano.faces, mano.fingers[finger, 2], mano.twist[finger, 2])
        assert _turns(found.index, int(reference[f"{key}_splay_index"][finger])) <= 1
    found = mano_arrays(mano, upright(estimate_axes(mano, "mesh")).axes)
    hand = f"{mano.side[0]}hand"
    agree(found[hand], reference[f"{key}_axes"], 1e-5, "axis estimation: MANO axes")
    assert np.array_equal(found[f"{hand}_bend_index_tri"], reference[f"{key}_bend_index_tri"])
    agree(found[f"{hand}_bend_bary"], reference[f"{key}_bend_bary"], 1e-4, "axis estimation: MANO barycentric")
