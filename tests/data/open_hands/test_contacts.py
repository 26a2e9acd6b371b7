"""Hand shapes and their solution on hands of all proportions."""

import pytest
import torch

from data.open_hands.contacts import limits, posed, solve
from data.open_hands.library import OpenHands
from data.open_hands.shapes import HandShapes
from model.topology import FINGERS, ROOTS, THUMB, TIPS
from utils.errors import InputError


@pytest.fixture(scope="module")
def hands():
    return OpenHands.load()


@pytest.fixture(scope="module")
def shapes():
    return HandShapes.load()


def test_there_are_enough_shapes_with_contacts(shapes):
    assert len(shapes.names) >= 100
    assert shapes.touching.sum() >= 60
    pairs = shapes.contacts.pairs[(shapes.contacts.distance == 0) & (shapes.contacts.weight > 0)]
    for finger in range(THUMB):
        assert ((pairs == TIPS[finger]).any(1) & (pairs == TIPS[THUMB]).any(1)).sum() >= 5, FINGERS[finger]


@pytest.mark.parametrize("name", ["Hand00", "HandLong0", "HandShort0", "HandShort1"])
def test_every_shape_is_reached_within_the_limits(hands, shapes, name):
    count = len(shapes.names)
    hand = hands.characters_hand([name] * count)
    solution = solve(hand, shapes.angles, shapes.contacts)
    assert solution.accepted(shapes.contacts).double().mean() > 0.97
    low, high = limits()
    assert (solution.angles >= low - 1e-12).all() and (solution.angles <= high + 1e-12).all()
    # What the solver says is true of the hand's own joints.
    joints, palm = posed(hand, solution.angles).joints, posed(hand, solution.angles).palm_length
    for i in shapes.touching.nonzero()[:, 0]:
        for (a, b), distance, weight in zip(
            shapes.contacts.pairs[i], shapes.contacts.distance[i], shapes.contacts.weight[i], strict=True
        ):
            if weight > 0 and distance == 0 and solution.accepted(shapes.contacts)[i]:
                assert (joints[i, a] - joints[i, b]).norm() / palm[i] < 0.01


def test_shapes_without_contacts_stay_as_written(hands, shapes):
    plain = (shapes.contacts.weight == 0).all(-1).nonzero()[:, 0]
    hand = hands.characters_hand(["Hand01"] * len(plain))
    solution = solve(hand, shapes.angles[plain], shapes.contacts_of(plain))
    low, high = limits()
    torch.testing.assert_close(solution.angles, shapes.angles[plain].clamp(low, high))


def test_positive_bend_closes_every_finger_of_every_hand(hands, shapes):
    """In a fist, fingertips lie below the palm's plane and nearer to the wrist than the roots do."""
    names = list(hands.characters)
    fist = shapes.names.index("fist")
    state = posed(hands.characters_hand(names), shapes.angles[[fist] * len(names)])
    tips, roots = state.joints[:, TIPS[:4]], state.joints[:, ROOTS[:4]]
    assert (tips[..., 1] < -0.03 * state.palm_length[:, None]).all()
    assert (tips.norm(dim=-1) < 1.02 * roots.norm(dim=-1)).all()


@pytest.mark.parametrize(
    "text, said",
    [
        ("shapes: {a: {index: [1, 2]}}", "index|middle"),
        ("shapes: {a: {thumb: out, index: x, middle: x, ring: x, pinky: x, touch: [[thumb, elbow]]}}", "elbow"),
    ],
)
def test_a_wrong_table_is_explained(tmp_path, text, said):
    table = tmp_path / "shapes.yaml"
    table.write_text("presets: {finger: {x: [0, 0, 0, 0]}, thumb: {out: [0, 0, 0, 0]}}\n" + text)
    with pytest.raises(InputError, match=said):
        HandShapes.load(table)
