import pytest
import torch

from model.flesh import CAPSULE_PAIRS, PALM, PART_PAIRS, flesh_of_radii
from model.hands import offset_hand
from model.topology import TIPS
from model.touch import (
    APART,
    TOUCHING,
    TouchesKept,
    degree,
    pairs_present,
    part_pairs_present,
    touch_goals,
    touching,
)
from tests.helpers import assert_close, plausible_offsets, rotations


def test_degrees():
    gaps = torch.tensor([-1.0, 0, TOUCHING, (TOUCHING + APART) / 2, APART, 1], dtype=torch.float64)
    assert_close(degree(gaps), torch.tensor([1, 1, 1, 0.5, 0, 0], dtype=torch.float64), 1e-12)


def test_a_touch_lasts_until_it_is_apart():
    gaps = torch.tensor([0.05, 0.02, 0.05, 0.079, 0.08, 0.05, 0.031, 0.03, 0.05])[:, None]
    assert touching(gaps)[:, 0].tolist() == [True, True, True, True, False, False, False, True, True]
    assert touching(torch.full((3, 1), 0.06))[:, 0].tolist() == [False] * 3


@pytest.mark.parametrize("batch", [1, 3])
def test_goals_of_items_do_not_mix(batch):
    posed = offset_hand(plausible_offsets(batch), rotations(batch, 5, 4), "left").with_tbs(rotations(batch, 5, 3))
    flesh = flesh_of_radii(posed.shaped.offsets)
    together = touch_goals(posed, flesh, flesh)
    pick = torch.tensor([batch - 1])
    hand = offset_hand(posed.shaped.offsets[pick], posed.shaped.axes[pick], "left")
    alone = touch_goals(hand.with_tbs(posed.tbs[pick]), flesh.picked(lambda part, own: part[pick]), flesh)
    some = together.at(pick)
    for ours, theirs in ((some.gap, alone.gap), (some.along, alone.along), (some.around, alone.around)):
        assert_close(ours, theirs, 1e-9)
    assert_close(together.around.norm(dim=-2), torch.ones_like(together.along), 1e-12)


def test_what_either_hand_lacks_does_not_count():
    present = torch.ones(21, dtype=torch.bool)
    present[TIPS[1]] = False  # of the ring finger
    kept, parts = pairs_present(present).tolist(), part_pairs_present(present).tolist()
    assert [5 not in pair for pair in CAPSULE_PAIRS] == kept
    assert [5 not in pair for pair in PART_PAIRS] == parts
    present[9:13] = False  # the pinky: its part of the palm too
    assert not any(keep for keep, pair in zip(pairs_present(present), CAPSULE_PAIRS, strict=True) if PALM + 2 in pair)


def test_what_became_of_touches():
    parts = {"tips": (11, 14), "beside": (10, 14), "other": (2, 5)}
    pair = {name: PART_PAIRS.index(each) for name, each in parts.items()}
    source, result = torch.full((3, len(PART_PAIRS)), torch.inf), torch.full((3, len(PART_PAIRS)), torch.inf)
    source[0, pair["tips"]], result[0, pair["beside"]] = 0.02, 0.03  # the same fingers, another phalanx
    source[1, pair["tips"]], result[1, pair["tips"]] = -0.01, 0.05
    source[2, pair["other"]], result[2, pair["other"]] = 0.09, -0.05
    kept = TouchesKept(source, result)
    assert kept.touches.tolist() == [1, 1, 0]
    assert kept.recall[:2].tolist() == [1, 0] and kept.recall[2].isnan()
    assert_close(kept.false, torch.tensor([0, 0, 1 / 15]), 1e-6)
    assert kept.too_deep.tolist() == [0, 0, 1]
    assert_close(kept.deeper[:, pair["other"]], torch.tensor([0, 0, 0.05]), 1e-6)
    assert kept.by_parts()["thumb 3 | index 3"] == {"touches": 2, "kept": 0, "false": 0, "deeper": 0.0}
    assert kept.why(0) == ""
    assert kept.why(1) == "index and thumb touch in the source; here they are 0.05 palm lengths apart"
    assert kept.why(2) == "middle 3 is 0.05 palm lengths deeper in ring 3 than in the source"
