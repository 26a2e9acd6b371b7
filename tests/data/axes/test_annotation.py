"""Annotation without a browser: turning, accepting, saving, resuming, failing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from data.axes import annotation
from data.axes.annotation import Annotation, Task
from data.axes.estimate import estimate_axes
from data.axes.evidence import degrees_between
from data.axes.files import hand_key, read_finger_axes
from model.topology import INDEX, MIDDLE, PINKY, RING, THUMB
from utils.errors import InputError


def arrays(axes):
    return {hand_key(side): rows for side, rows in axes.items()}


@pytest.fixture
def estimates(rest_hand):
    """Both hands of a character."""
    return [estimate_axes(rest_hand("Hand05", side)) for side in ("right", "left")]


@pytest.fixture
def session(estimates, tmp_path):
    return Annotation(estimates, tmp_path / "axes.pkl", arrays, "mesh 1")


def again(session, source="mesh 1"):
    return Annotation(list(session.estimates.values()), session.output, arrays, source)


def test_starts_with_the_estimate_and_writes_nothing(session, estimates, tmp_path):
    assert session.current == Task("right", MIDDLE) and session.progress == (0, 10) and not session.finished
    for estimate in estimates:
        np.testing.assert_allclose(session.axes(estimate.hand.side), estimate.axes, atol=1e-12)
    assert not list(tmp_path.glob("axes*"))


def test_turning_turns_one_finger_about_its_bone(session, estimates):
    session.turn(1.0)
    session.turn(1.0)
    session.turn(-1.0)
    session.turn(24.0)
    assert session.degrees() == 25.0
    before, after = estimates[0].axes, session.axes("right")
    for row in (1, 2):
        assert degrees_between(before[MIDDLE, 2, row], after[MIDDLE, 2, row]) == pytest.approx(25.0, abs=1e-6)
    assert np.cross(before[MIDDLE, 2, 2], after[MIDDLE, 2, 2]) @ before[MIDDLE, 2, 0] > 0
    np.testing.assert_allclose(after[:, :, 0], before[:, :, 0], atol=1e-12)
    np.testing.assert_allclose(after[1:], before[1:], atol=1e-12)
    np.testing.assert_allclose(session.axes("left"), estimates[1].axes, atol=1e-12)


@pytest.mark.parametrize(("degrees", "wrapped"), [(190, -170), (-180, 180), (540, 180), (360, 0), (-1, -1)])
def test_angles_wrap(session, degrees, wrapped):
    session.turn(degrees)
    assert session.degrees() == wrapped


def test_every_accept_is_saved(session):
    for count in range(1, 11):
        session.turn(count)
        session.accept()
        assert session.progress == (count, 10)
        stored = read_finger_axes(session.output)
        for side in ("right", "left"):
            np.testing.assert_allclose(stored[side], session.axes(side), atol=1e-12)
    assert session.finished


def test_accepting_goes_on_to_fingers_that_are_not_accepted(session):
    session.step()
    session.accept()
    assert session.current == Task("right", PINKY)
    session.step(-2)
    session.accept()
    assert session.current == Task("right", PINKY)
    session.choose(Task("left", THUMB))
    session.accept()
    assert session.current == Task("right", PINKY)


def test_turning_an_accepted_finger_takes_acceptance_back(session):
    session.accept()
    session.choose(Task("right", MIDDLE))
    session.set_degrees(session.current, 0.0)
    assert session.progress[0] == 1  # nothing changed
    session.turn(1)
    assert session.progress[0] == 0


def test_resuming(session):
    session.turn(17.5)
    session.accept()
    session.turn(-40)
    session.accept()
    session.turn(99)  # not accepted: forgotten
    other = again(session)
    assert other.progress == (2, 10) and other.current == Task("right", PINKY)
    assert other.degrees(Task("right", MIDDLE)) == pytest.approx(17.5)
    assert other.degrees(Task("right", RING)) == pytest.approx(-40)
    assert other.degrees(Task("right", PINKY)) == 0
    assert "2 of 10" in other.note


def test_another_mesh_begins_anew(session):
    session.turn(17)
    session.accept()
    other = again(session, "mesh 2")
    assert other.progress == (0, 10) and "another mesh" in other.note


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", '{"source": "mesh 1", "accepted": [{"side": "right"}]}',
     '{"source": "mesh 1", "accepted": [{"side": "right", "finger": "ring", "bend": [1, 2]}]}',
     '{"source": "mesh 1", "accepted": [{"side": "right", "finger": "ring", "bend": [NaN, 0, 1]}]}'],
)  # fmt: skip
def test_damaged_records_are_refused(session, text):
    session.record.write_text(text)
    with pytest.raises(InputError, match="damaged"):
        again(session)


def test_a_failed_save_accepts_nothing(session, monkeypatch):
    def full(*_):
        raise InputError("the disk is full")

    session.accept()
    before = session.output.read_bytes()
    monkeypatch.setattr(annotation, "write_axes", full)
    with pytest.raises(InputError, match="full"):
        session.accept()
    assert session.progress == (1, 10) and session.current == Task("right", RING)
    assert session.output.read_bytes() == before
    assert sorted(path.name for path in session.output.parent.glob(".axes*")) == []


def test_saving_without_accepting(session):
    session.turn(5)
    session.save()
    np.testing.assert_allclose(read_finger_axes(session.output)["right"], session.axes("right"), atol=1e-12)
    assert json.loads(session.record.read_text())["accepted"] == []


def test_accepted_fingers_are_certain(session):
    session.turn(30)
    session.accept()
    first = session.as_estimates()[0]
    assert first.fingers[MIDDLE].confidence == 1.0 and first.fingers[INDEX].confidence < 1.0
    np.testing.assert_allclose(first.axes, session.axes("right"))


def test_nonsense_is_refused(session):
    for degrees in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="finite"):
            session.turn(degrees)
    with pytest.raises(ValueError, match="there is no"):
        session.choose(Task("middle", 0))
    with pytest.raises(InputError, match="expected a hand"):
        Annotation([], session.output, arrays, "")
