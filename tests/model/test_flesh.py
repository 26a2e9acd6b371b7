import itertools

import pytest
import torch
from torch.autograd import gradcheck

from model.flesh import (
    CAPSULE_PAIRS,
    CARRIERS,
    FINGER_RADII,
    N_CAPSULES,
    PALM,
    PART_NAMES,
    PART_PAIRS,
    Flesh,
    flesh_of_radii,
    nearest,
    part_gaps,
)
from model.hands import offset_hand
from model.semantics import palm_length
from model.topology import BONES_PER_FINGER
from tests.helpers import assert_close, plausible_offsets, rotations


def posed_hand(*batch: int):
    return offset_hand(plausible_offsets(*batch), rotations(*batch, 5, 4), "right").with_tbs(rotations(*batch, 5, 3))


def random_capsules(frames: int):
    generator = torch.Generator().manual_seed(1)
    ends = torch.randn(N_CAPSULES, 2, 3, frames, dtype=torch.float64, generator=generator)
    return ends, 0.1 + 0.3 * torch.rand(N_CAPSULES, 2, frames, dtype=torch.float64, generator=generator)


class TestNearest:
    def test_gaps_are_those_of_a_search(self):
        ends, radii = random_capsules(3)
        found = nearest(ends, radii)
        grid = torch.linspace(0, 1, 201, dtype=torch.float64)
        s, t = grid[:, None], grid[None]
        for number, (a, b) in list(enumerate(CAPSULE_PAIRS))[::9]:
            for frame in range(3):
                first = ends[a, 0, :, frame] + s[..., None] * (ends[a, 1] - ends[a, 0])[:, frame]
                second = ends[b, 0, :, frame] + t[..., None] * (ends[b, 1] - ends[b, 0])[:, frame]
                thick = [radii[c, 0, frame] + p * (radii[c, 1] - radii[c, 0])[frame] for c, p in ((a, s), (b, t))]
                best = ((first - second).norm(dim=-1) - thick[0] - thick[1]).min()
                gap = found.gap[number, frame]
                assert best - 4e-3 <= gap <= best + 4e-3

    def test_spheres(self):
        """Capsules without length: the gap is the distance less the radii."""
        ends, radii = random_capsules(2)
        ends[:, 1], radii[:, 1] = ends[:, 0], radii[:, 0]
        found = nearest(ends, radii)
        first, second = torch.tensor(CAPSULE_PAIRS).T
        apart = (ends[first, 0] - ends[second, 0]).norm(dim=1)
        assert_close(found.gap, apart - radii[first, 0] - radii[second, 0], 1e-12)

    def test_normals_lead_from_the_first_to_the_second(self):
        found = nearest(*random_capsules(2))
        apart = found.places[1] - found.places[0]
        assert_close(found.normal * apart.norm(dim=0), apart, 1e-12)

    def test_gradients(self):
        ends, radii = random_capsules(2)
        inputs = ends.requires_grad_(), radii.requires_grad_()
        assert gradcheck(lambda *x: nearest(*x).gap, inputs, fast_mode=True, atol=1e-3, rtol=1e-3)


class TestFlesh:
    def test_it_moves_with_its_joints(self):
        posed = posed_hand(2)
        flesh = flesh_of_radii(posed.shaped.offsets)
        ends = flesh.placed(posed)
        joints = posed.joints / palm_length(posed.joints)[..., None, None]
        assert_close(ends[:, :PALM, 0], joints[:, list(CARRIERS[:PALM])], 1e-12)
        inner = [c for c in range(PALM) if c % BONES_PER_FINGER < BONES_PER_FINGER - 1]
        assert_close(ends[:, inner, 1], joints[:, [CARRIERS[c] + 1 for c in inner]], 1e-12)

    @pytest.mark.parametrize("batch", [1, 3])
    def test_items_do_not_mix(self, batch):
        posed = posed_hand(batch)
        flesh = flesh_of_radii(posed.shaped.offsets)
        together = flesh.touches(posed)
        for n in range(batch):
            hand = offset_hand(posed.shaped.offsets[n], posed.shaped.axes[n], "right")
            one = Flesh(flesh.ends[n], flesh.radii[n], flesh.flatness[n])
            for ours, theirs in zip(together, one.touches(hand.with_tbs(posed.tbs[n])), strict=True):
                assert_close(ours[n], theirs, 1e-9)

    def test_no_unit(self):
        small, large = plausible_offsets(), 100 * plausible_offsets()
        assert_close(flesh_of_radii(small).ends, flesh_of_radii(large).ends, 1e-12)

    def test_mirror_images_have_the_same_gaps(self):
        posed = posed_hand(2)
        flesh = flesh_of_radii(posed.shaped.offsets)
        mirror = torch.tensor([-1.0, 1, 1], dtype=torch.float64)
        ends = flesh.placed(posed).movedim(0, -1)
        radii = flesh.radii.movedim(0, -1)
        assert_close(nearest(ends * mirror[:, None], radii).gap, nearest(ends, radii).gap, 1e-9)

    def test_given_radii(self):
        offsets = plausible_offsets()
        palm = offsets[1].norm()
        given = torch.full((21,), 0.07, dtype=torch.float64) * palm
        given[8] = torch.nan  # the tip of the ring finger
        flesh = flesh_of_radii(offsets, given, tips_inside=True)
        assert_close(flesh.radii[0], torch.full((2,), 0.07, dtype=torch.float64), 1e-12)
        assert float(flesh.radii[5, 1]) == FINGER_RADII[1][3]
        assert_close(flesh.ends[2, 1], offsets[4] / palm, 1e-12)
        on_skin = flesh_of_radii(offsets, given)
        assert_close(on_skin.ends[2, 1].norm() + 0.07, offsets[4].norm() / palm, 1e-12)


class TestPairs:
    def test_what_counts(self):
        assert len(PART_PAIRS) == 73 and len(set(PART_PAIRS)) == 73
        for first, second in PART_PAIRS:
            assert second == PALM or first // BONES_PER_FINGER != second // BONES_PER_FINGER, "one finger's own folds"
        assert PART_NAMES[2] == "middle 3" and PART_NAMES[PALM] == "palm"

    def test_the_nearest_of_the_palm_counts(self):
        gap = torch.rand(2, len(CAPSULE_PAIRS), dtype=torch.float64)
        by_part: dict = {}
        for number, (a, b) in enumerate(CAPSULE_PAIRS):
            by_part.setdefault((a, min(b, PALM)), []).append(gap[:, number])
        expected = torch.stack([torch.stack(by_part[pair]).amin(0) for pair in PART_PAIRS], dim=-1)
        assert torch.equal(part_gaps(gap), expected)
        assert list(by_part) == list(itertools.chain(PART_PAIRS))
