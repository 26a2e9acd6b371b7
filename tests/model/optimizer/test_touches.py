from dataclasses import replace

import pytest
import torch

from model.flesh import CAPSULE_PAIRS, capsule_frames, flesh_of_radii
from model.kinematics import tbs_from_angles
from model.layout import frames_last
from model.limits import turning_axes
from model.motion import MotionRetargeting, SourceMotion
from model.optimizer import OptimizerSettings, optimise
from model.optimizer.touches import TouchTerms, moved_by
from model.touch import PRESSED, TOUCHING, touch_goals
from tests.helpers import assert_close
from tests.model.optimizer.test_search import character, motion

PINCH = CAPSULE_PAIRS.index((11, 14))
"""The last phalanges of index and thumb."""
ALL = torch.arange(45)


def pinch(hand, steps: int = 60):
    """Angles ``(1, 5, 3, 3)`` near a half-closed hand's in which thumb and index touch, found by descent."""
    flesh = flesh_of_radii(hand.offsets)
    angles = motion(1, 1)[0].requires_grad_()
    optimizer = torch.optim.Adam([angles], lr=0.04)
    for _ in range(steps):
        optimizer.zero_grad()
        gap = flesh.touches(hand.with_tbs(tbs_from_angles(angles))).gap[..., PINCH]
        (gap - 0.01).square().sum().backward()
        optimizer.step()
    return angles.detach()


@pytest.fixture(scope="module")
def pinching():
    hand = character("right", 1)
    angles = pinch(hand)
    posed = hand.with_tbs(tbs_from_angles(angles))
    return hand, angles, posed, flesh_of_radii(hand.offsets)


def terms_at(terms, hand, flesh, angles):
    posed = hand.with_tbs(tbs_from_angles(angles))
    axes = turning_axes(posed.frames.unflatten(-3, (5, 4))[..., :3, :, :], angles).transpose(-1, -2).flatten(-4, -2)
    joints = posed.joints / posed.palm_length[..., None, None]
    centres = joints[:, 1:].unflatten(1, (5, 4))[:, :, :3].repeat_interleave(3, 2).flatten(1, 2)
    ends, frames = frames_last(flesh.placed(posed), 3), frames_last(capsule_frames(posed), 3)
    return terms.linearised(ends, frames, frames_last(axes, 2), frames_last(centres, 2), moved_by(ALL)), terms.value(
        ends, frames
    )


@pytest.mark.parametrize("place", [0.0, 50.0])
def test_gradient_is_that_of_the_value(pinching, place):
    """By finite differences; of round fingers, since how flat ones turn is left out, and of terms that are at rest."""
    hand, angles, posed, flesh = pinching
    other = character("right", 3)
    target = flesh_of_radii(other.offsets)
    target.flatness.zero_()
    settings = OptimizerSettings(place_weight=place, apart_weight=1e-9)
    goals = touch_goals(posed, flesh, target).flattened()
    terms = TouchTerms.of(goals, settings, None, torch.zeros_like(goals.gap))
    (value, gradient, matrix), same = terms_at(terms, other, target, angles)
    assert_close(value, same, 1e-12)
    assert value > 1e-3 and (torch.linalg.eigvalsh(matrix) > -1e-6).all()
    if place:  # the direction across is held still in the derivative
        return
    for unknown in (27, 28, 31, 36, 37, 40, 43):
        step = torch.zeros(45, dtype=torch.float64)
        step[unknown] = 1e-6
        up, down = (terms_at(terms, other, target, angles + sign * step.view(5, 3, 3))[1] for sign in (1, -1))
        slope = float((up - down) / 2e-6)
        assert abs(slope - float(gradient[0, unknown])) <= 2e-3 * float(gradient.abs().max()) + 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_same_hand_is_left_as_it_is(pinching, dtype):
    hand, angles, _, flesh = pinching
    hand = character("right", 1, dtype)
    source = hand.with_tbs(tbs_from_angles(angles.to(dtype)))
    goals = touch_goals(source, flesh.to(angles.to(dtype)), flesh.to(angles.to(dtype)))
    found = optimise(hand, source.semantic_matrix(), source.tbs, OptimizerSettings(keep_start=True), touches=goals)
    turned = (found.tbs.mT @ source.tbs).diagonal(dim1=-2, dim2=-1).sum(-1)
    assert float(torch.rad2deg(((turned - 1) / 2).clamp(max=1).acos()).max()) < 0.5


@pytest.mark.parametrize("thickness", [0.6, 1.4])
def test_fingers_of_other_thickness_touch(pinching, thickness):
    """Left to itself the same skeleton would leave thin fingers open and press thick ones into each other."""
    hand, _, source, flesh = pinching
    target = replace(flesh, radii=thickness * flesh.radii)
    goals = touch_goals(source, flesh, target)
    gap, before = float(goals.gap[0, PINCH]), float(target.touches(source).gap[0, PINCH])
    assert abs(gap) <= TOUCHING and abs(before) > 0.045
    settings = OptimizerSettings(keep_start=True)
    found = optimise(hand, source.semantic_matrix(), source.tbs, settings, touches=goals)
    assert -PRESSED - 0.01 <= float(target.touches(found).gap[0, PINCH]) <= TOUCHING


def test_motions_take_touches_where_flesh_is_known(pinching):
    hand, angles, _, flesh = pinching
    source = hand.with_tbs(tbs_from_angles(angles))
    local = source.local.repeat(4, 1, 1, 1, 1)
    target = replace(flesh, radii=0.6 * flesh.radii)
    bare, given = SourceMotion(hand, local, 30.0), SourceMotion(hand, local, 30.0, flesh)
    gaps = {}
    for name, moving, own in (("bare", bare, target), ("skin", given, target), ("half", given, None)):
        result = MotionRetargeting("optimize", hand, torch.ones(21, dtype=torch.bool), flesh=own)(moving)
        gaps[name] = target.touches(result).gap[..., PINCH]
    assert torch.equal(gaps["bare"], gaps["half"])
    assert (gaps["skin"] <= TOUCHING).all() and (gaps["bare"] > TOUCHING).all()
