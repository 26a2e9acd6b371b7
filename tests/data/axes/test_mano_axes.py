"""What a MANO axes file holds, and splay axes that point up in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from data.axes.estimate import closes, estimate_axes
from data.axes.evidence import degrees_between
from data.axes.hand import mano_hand
from data.axes.mano import LEAST_RISE, mano_arrays, upright
from data.open_hands.library import OpenHands
from model.mano import ManoHand
from model.topology import SIDES, THUMB
from utils.errors import InputError


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The parametric hand of MixHand-Open, both sides."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "mano").mkdir()
    hands = OpenHands.load()
    for side in SIDES:
        np.savez(folder / "mano" / f"MANO_{side.upper()}.npz", **hands.mano_arrays(side))
    return folder


@pytest.mark.parametrize("side", SIDES)
def test_open_parametric_hand_against_its_own_hinges(models, side):
    hand = mano_hand(ManoHand.load(models, None, side, torch.float64))
    estimate = upright(estimate_axes(hand))
    true = OpenHands.load().mano_axes()[f"{side[0]}hand"]
    off = [degrees_between(estimate.axes[finger, 2, 1], true[finger, 1]) for finger in range(5)]
    assert max(off[:4]) < 10 and off[THUMB] < 25
    assert closes(hand, estimate.axes).all() and not estimate.doubtful


@pytest.mark.parametrize("side", SIDES)
def test_stored_axes_close_the_hand_where_they_are_read(models, side):
    """A MANO hand loaded with these axes closes, in shapes far from the mean too."""
    rest = mano_hand(ManoHand.load(models, None, side, torch.float64))
    arrays = mano_arrays(rest, upright(estimate_axes(rest)).axes)
    hand = ManoHand.load(models, arrays, side, torch.float64)
    betas = 2 * torch.eye(10, dtype=torch.float64)
    axes = hand.with_shape(torch.cat([betas, -betas])).axes
    mean = torch.from_numpy(arrays[f"{side[0]}hand"])
    assert ((axes[:, :, 2, 1] * mean[:, 1]).sum(-1) > 0.9).all()
    hits = rest.vertices[rest.faces[arrays[f"{side[0]}hand_bend_index_tri"]]]
    points = (arrays[f"{side[0]}hand_bend_bary"][..., None] * hits).sum(-2)
    across = points[:, 1] - points[:, 0]
    np.testing.assert_allclose(across / np.linalg.norm(across, axis=-1, keepdims=True), mean[:, 1], atol=1e-9)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("rolled", [-100, -60, 60, 100])
def test_splay_is_raised_no_further_than_needed(models, side, rolled):
    """A thumb whose nail faces down keeps closing the same way: it is not turned over."""
    hand = mano_hand(ManoHand.load(models, None, side, torch.float64))
    estimate = estimate_axes(hand)
    twist, up = hand.twist[THUMB, 2], np.array([0.0, 1.0, 0.0])
    level = np.cross(up, twist) / np.linalg.norm(np.cross(up, twist))
    dorsal = np.cross(twist, level) * np.sign(np.cross(twist, level)[1])
    splay = np.cos(np.radians(rolled)) * dorsal + np.sin(np.radians(rolled)) * level
    fingers = list(estimate.fingers)
    fingers[THUMB] = replace(fingers[THUMB], bend=np.cross(splay, twist))
    raised = upright(replace(estimate, fingers=tuple(fingers), axes=hand.rows(np.stack([f.bend for f in fingers]))))
    found = raised.axes[THUMB, 2, 2]
    assert found[1] >= LEAST_RISE - 1e-9
    if splay[1] >= LEAST_RISE:
        assert degrees_between(found, splay) < 1e-6
    else:
        assert found[1] == pytest.approx(LEAST_RISE) and degrees_between(found, splay) < 20
        assert raised.fingers[THUMB].error > estimate.fingers[THUMB].error


def test_a_published_estimate_is_turned_over(models):
    hand = mano_hand(ManoHand.load(models, None, "right", torch.float64))
    estimate = estimate_axes(hand, "mesh")
    flipped = replace(
        estimate,
        fingers=tuple(replace(finger, bend=-finger.bend) for finger in estimate.fingers),
        axes=hand.rows(np.stack([-finger.bend for finger in estimate.fingers])),
    )
    np.testing.assert_allclose(upright(flipped).axes, upright(estimate).axes, atol=1e-12)
    assert (upright(estimate).axes[:, 2, 2, 1] >= 0).all()


def test_open_surfaces_are_refused(models):
    hand = mano_hand(ManoHand.load(models, None, "right", torch.float64))
    axes = estimate_axes(hand).axes
    with pytest.raises(InputError, match="open at the last joint"):
        mano_arrays(replace(hand, faces=hand.faces[:10]), axes)
