"""Hands that follow others frame by frame."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data.character.reading import Reading, read_character
from data.motion.live import Retargeter
from data.motion.reading import read_motions
from model.kinematics import tbs_from_angles
from model.measures import measure
from model.optimizer import CONTACT_WEIGHT, OptimizerSettings, optimise
from model.semantics import SourceDirections
from utils.errors import InputError

GOLDEN = Path(__file__).parents[2] / "golden"
READING = Reading(Path("nowhere"))


@pytest.fixture(scope="module")
def source():
    return read_character(str(GOLDEN / "inputs" / "Aj_mesh_data.npz"), READING)


@pytest.fixture(scope="module")
def target():
    return read_character(str(GOLDEN / "inputs" / "Kaya_mesh_data.npz"), READING)


@pytest.fixture(scope="module")
def motion(source):
    """(F, 2, 5, 3, 3, 3) in the frame of features, right before left."""
    (motion,) = read_motions(GOLDEN / "bvh" / "mixamo_clip_a.bvh", READING, source)
    return torch.stack([motion.tracks[side].local for side in ("right", "left")], dim=1)


def own(character, local):
    """Rotations in the character's own axes."""
    turns = [character.hands[side].rest.turn for side in ("right", "left")]
    return np.stack([turn.T @ part @ turn for turn, part in zip(turns, local.double().numpy(), strict=True)])


def solved(source, target, motion, side, settings):
    hand = source.hands[side].shaped.with_local_rotations(motion)
    return hand, optimise(target.hands[side].shaped, hand.semantic_matrix(), hand.tbs, settings)


def test_the_first_frame_is_the_optimisers(source, target, motion):
    """Both hands at once, in the axes of the characters."""
    settings = OptimizerSettings(contact_weight=CONTACT_WEIGHT, keep_start=True)
    found = Retargeter(source, target)(own(source, motion[0]))
    for number, side in enumerate(("right", "left")):
        _, expected = solved(source, target, motion[:1, number], side, settings)
        turn = target.hands[side].rest.turn
        np.testing.assert_allclose(turn @ found[number] @ turn.T, expected.local[0], atol=2e-3)


def test_later_frames_are_as_good(source, target, motion):
    """Three steps from the frame before reach what a whole search does."""
    retargeter, settings = Retargeter(source, target), OptimizerSettings(iterations=30, contact_weight=CONTACT_WEIGHT)
    frames = [retargeter(own(source, local)).copy() for local in motion]
    for number, side in enumerate(("right", "left")):
        turn = torch.from_numpy(target.hands[side].rest.turn).float()
        local = turn @ torch.from_numpy(np.stack(frames)[:, number]) @ turn.T
        hand, best = solved(source, target, motion[:, number], side, replace(settings, keep_start=True))
        directions, whole = SourceDirections(hand.semantic_matrix()), torch.ones(21, dtype=torch.bool)
        reached, wanted = (
            measure(directions, each, whole).s_finger.mean()
            for each in (target.hands[side].shaped.with_local_rotations(local), best)
        )
        assert reached > wanted - 5e-3


def test_the_same_hand_stays_as_it_is(source, motion):
    retargeter = Retargeter(source, source, ("left",))
    for local in motion:
        frame = own(source, local)[1:]
        np.testing.assert_allclose(retargeter(frame), frame, atol=1e-5)


def test_forgetting_and_bad_frames(source, target, motion):
    retargeter, frame = Retargeter(source, target), own(source, motion[0])
    first = retargeter(frame).copy()
    retargeter(own(source, motion[9]))
    retargeter.forget()
    for bad, why in ((frame[:1], "shape"), (np.full_like(frame, np.nan), "NaN")):
        with pytest.raises(ValueError, match=why):
            retargeter(bad)
    np.testing.assert_array_equal(retargeter(frame), first)
    assert retargeter(frame) is retargeter(frame)  # nothing is made anew


def test_hands_that_are_not_there(source, target):
    with pytest.raises(InputError, match="expected the left hand"):
        one = replace(target, hands={"right": target.hands["right"]})
        Retargeter(source, one, ("right", "left"))
    with pytest.raises(InputError, match=r"nobody\.glb: expected a character's file, found nothing"):
        Retargeter("nobody.glb", target)


def test_bends_beyond_a_right_angle_are_read_as_such(source, target):
    """A matrix has two readings; the other one turns and splays by half a turn."""
    angles = torch.zeros(1, 5, 3, 3)
    angles[..., 1, 1], angles[:, :4, 0, 2] = torch.deg2rad(torch.tensor(108.0)), 0.1
    settings = OptimizerSettings(contact_weight=CONTACT_WEIGHT, keep_start=True)
    local = {side: source.hands[side].shaped.with_tbs(tbs_from_angles(angles)).local for side in ("right", "left")}
    found = Retargeter(source, target)(own(source, torch.cat([local["right"], local["left"]])))
    for number, side in enumerate(("right", "left")):
        _, expected = solved(source, target, local[side], side, settings)
        turn = target.hands[side].rest.turn
        np.testing.assert_allclose(turn @ found[number] @ turn.T, expected.local[0], atol=2e-3)
