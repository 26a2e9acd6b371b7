"""Touches of flesh and skin in the compiled optimiser, beside the torch form."""

from __future__ import annotations

import pytest
import torch

from data.character.flesh import skin_points
from data.open_hands.anatomy import finger_axes
from model.flesh import CAPSULE_PAIRS, N_CAPSULE_PAIRS, PALM, Flesh, flesh_of_radii, part_gaps
from model.hands import offset_hand
from model.kinematics import tbs_from_angles
from model.measures import measure
from model.optimizer import OptimizerSettings, optimise, touch_goals
from model.optimizer.kernel import layout, solver, touching
from model.semantics import SourceDirections
from model.touch import TOUCHING, pairs_present
from model.touch import touch_goals as goals_in_torch
from tests.capsule_hand import capsule_hand
from tests.helpers import plausible_offsets
from tests.model.optimizer.test_search import character
from utils.threads import torch_threads

FRAMES = 37
"""Not a multiple of the lanes."""
KEPT = OptimizerSettings(keep_start=True)
ALL = torch.ones(21, dtype=torch.bool)


@pytest.fixture(autouse=True, scope="module")
def compiled():
    assert solver.PROGRAM.functions() is not None


def flesh_and_skin(thickness):
    """Of a hand of capsules."""
    surface, ends, radii = capsule_hand(thickness)
    flesh = Flesh(*(torch.from_numpy(part).float() for part in (ends, radii)), torch.zeros(len(radii)))
    return flesh, skin_points(surface, flesh)


@pytest.fixture(scope="module")
def skinned():
    """A hand of capsules with its skin."""
    offsets = plausible_offsets()
    axes = finger_axes(offsets, torch.tensor([0.0, 0, 1], dtype=torch.float64).expand(5, 3))
    hand = offset_hand(offsets.float(), axes.float(), "right")
    return hand, *flesh_and_skin(1.2)


@pytest.fixture(scope="module")
def thin():
    """Flesh and skin a quarter thinner about the same bones."""
    return flesh_and_skin(0.9)


def fists(hand, frames=FRAMES):
    """The hand as it closes and opens, in which fingers touch each other and the palm."""
    time = torch.linspace(0, 1, frames)
    angles = torch.zeros(frames, 5, 3, 3)
    angles[..., 1] = (1.5 * torch.sin(3.1 * time))[:, None, None] * torch.tensor([1.0, 1.0, 0.8])
    angles[:, 4, 0, 2] = 0.6 * torch.sin(5 * time)
    angles[:, :, 0, 2] += 0.2 * torch.cos(4 * time[:, None] + torch.arange(5))
    return hand.with_tbs(tbs_from_angles(angles))


def by_torch(*args, **kwargs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solver, "covers", lambda *args: False)
        return optimise(*args, **kwargs)


def goals_of(skinned, thin):
    hand, flesh, skin = skinned
    source = fists(hand)
    return source, touch_goals(source, flesh, thin[0], skin, thin[1])


@pytest.mark.parametrize("with_skin", [True, False])
def test_goals_are_those_of_the_torch_form(skinned, with_skin):
    hand, flesh, skin = skinned
    source, target = fists(hand), flesh_of_radii(character("right", 2, torch.float32).offsets[0])
    given = (skin, skin) if with_skin else (None, None)
    found, expected = touch_goals(source, flesh, target, *given), goals_in_torch(source, flesh, target, *given)
    assert ((expected.gap > 0) & (expected.gap < TOUCHING)).sum() > 20 and (expected.gap < -0.01).sum() > 20
    for name in ("gap", "aim", "along", "around"):
        apart = (getattr(found, name) - getattr(expected, name)).abs()
        assert (apart > 2e-5).float().mean() < 1e-3 and apart.max() < 5e-3  # of parallel bones any place is nearest


@pytest.mark.parametrize("with_skin", [True, False])
def test_as_good_as_the_torch_form(skinned, thin, with_skin):
    hand, flesh, skin = skinned
    source, target = fists(hand), thin[0]
    goals = touch_goals(source, flesh, target, *((skin, thin[1]) if with_skin else (None, None)))
    matrix, directions = source.semantic_matrix(), SourceDirections(source.semantic_matrix())
    found, expected = (form(hand, matrix, source.tbs, KEPT, touches=goals) for form in (optimise, by_torch))
    scores = [measure(directions, posed, ALL).s_finger for posed in (found, expected)]
    apart = (scores[0] - scores[1]).abs()  # a touch may be closed in two ways, of which each form takes one
    assert apart.median() < 1e-5 and apart.quantile(0.9) < 1e-3 and apart.max() < 1e-2
    gaps = [part_gaps(target.touches(posed).gap) for posed in (found, expected)]
    close = (gaps[0] - gaps[1]).abs()[gaps[1] < TOUCHING]
    assert close.numel() > 50 and close.median() < 1e-4 and close.quantile(0.95) < 5e-3
    left = optimise(hand, matrix, source.tbs, KEPT)
    assert (found.joints - left.joints).norm(dim=-1).max() > 0.1  # centimetres: touches do ask for something


def test_the_same_hand_is_left_as_it_is(skinned):
    hand, flesh, skin = skinned
    source = fists(hand)
    goals = touch_goals(source, flesh, flesh, skin, skin)
    found = optimise(hand, source.semantic_matrix(), source.tbs, KEPT, touches=goals)
    torch.testing.assert_close(found.joints, source.joints, rtol=0, atol=0.02)  # of a palm of 8 cm


@pytest.mark.parametrize("smoothness", [0.0, 1000.0])
def test_any_number_of_threads_gives_the_same_bits(skinned, thin, smoothness):
    hand, _, _ = skinned
    settings = OptimizerSettings(keep_start=True, smoothness=smoothness)
    found = []
    for number in (1, 3):
        with torch_threads(number):
            source, goals = goals_of(skinned, thin)
            found.append(optimise(hand, source.semantic_matrix(), source.tbs, settings, touches=goals).local)
    assert torch.equal(*found)


def test_smoothness_holds_touches(skinned, thin):
    """The common step knows of touches: fingertips on the palm stay nearly as near."""
    hand, _, _ = skinned
    source, goals = goals_of(skinned, thin)
    matrix = source.semantic_matrix()
    free, tied = (
        optimise(hand, matrix, source.tbs, OptimizerSettings(keep_start=True, smoothness=weight), touches=goals)
        for weight in (0.0, 1000.0)
    )
    gaps = [part_gaps(goals.flesh.touches(posed).gap) for posed in (free, tied)]
    touched = (gaps[0] <= TOUCHING) & (part_gaps(goals.gap) <= TOUCHING)
    assert touched.sum() > 50 and (gaps[1][touched] <= TOUCHING + 0.02).float().mean() > 0.9
    jerks = [posed.joints.diff(n=3, dim=0).norm(dim=-1).mean() for posed in (free, tied)]
    assert jerks[1] < jerks[0]


def test_pairs_that_a_hand_lacks_ask_for_nothing():
    present = ALL.clone()
    present[13:17] = False
    shares = touching.pair_shares(present)
    assert shares.dtype == "float32" and shares.tolist() == pairs_present(present).float().tolist()
    assert 0 < shares.sum() < touching.pair_shares(None).sum() == N_CAPSULE_PAIRS


def test_table_knows_carriers_and_fingers():
    table = touching.table()
    for row, (first, second) in zip(table, CAPSULE_PAIRS, strict=True):
        assert row[layout.N_FIRST_FINGER] == first // 3 and row[layout.N_FIRST_JOINTS] == first % 3 + 1
        if second >= PALM:  # the palm does not move
            assert row[layout.N_SECOND_JOINTS] == 0 and row[layout.N_SECOND_FRAME] == layout.R_PALM_FRAME
            assert row[layout.N_LEAST] == layout.R_LEAST + first // 3
        else:
            assert row[layout.N_SECOND_FINGER] > row[layout.N_FIRST_FINGER]
            assert row[layout.N_SECOND_FRAME] == layout.R_FRAMES + 9 * (4 * (second // 3) + second % 3)
