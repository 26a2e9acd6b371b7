import pytest
import torch

from data.character.skin_gaps import SkinGaps
from data.open_hands.anatomy import finger_axes
from model.flesh import PALM, PART_PAIRS, Flesh, part_gaps
from model.hands import offset_hand
from model.kinematics import tbs_from_angles
from tests.helpers import plausible_offsets

POSES = 6
PHALANGES = [number for number, (_, second) in enumerate(PART_PAIRS) if second != PALM]


@pytest.fixture(scope="module")
def measured(known):
    """Gaps of the mesh and of the capsules that it was made of, in poses that bend and splay."""
    surface, ends, radii = known
    offsets = plausible_offsets()
    axes = finger_axes(offsets, torch.tensor([0.0, 0, 1], dtype=torch.float64).expand(5, 3))
    hand = offset_hand(offsets.float(), axes.float(), "right")
    random = torch.Generator().manual_seed(3)
    angles = torch.zeros(POSES, 5, 3, 3)
    angles[..., 1] = 0.9 * torch.rand(POSES, 5, 3, generator=random)
    angles[:, :, 0, 2] = 0.5 * torch.rand(POSES, 5, generator=random) - 0.25
    posed = hand.with_tbs(tbs_from_angles(angles))
    flesh = Flesh(*(torch.from_numpy(part).float() for part in (ends, radii)), torch.zeros(len(radii)))
    return SkinGaps(surface).gaps(posed), part_gaps(flesh.touches(posed).gap)


def test_gaps_of_skin_are_those_of_the_capsules_it_was_made_of(measured):
    mesh, capsules = (gaps[:, PHALANGES] for gaps in measured)
    near = (capsules > -0.03) & (capsules < 0.1)
    assert near.sum() > 15
    assert ((mesh - capsules)[near].abs() < 0.02).float().mean() > 0.9
    assert (mesh[capsules < -0.03] < 0).all()
    assert (mesh[capsules > 0.17] == torch.inf).all()


def test_a_part_without_skin_touches_nothing(measured):
    palm = [number for number, (_, second) in enumerate(PART_PAIRS) if second == PALM]
    assert (measured[0][:, palm] == torch.inf).all()
