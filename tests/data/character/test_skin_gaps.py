import pytest
import torch

from data.character.flesh import skin_points
from data.character.skin_gaps import SkinGaps
from data.open_hands.anatomy import finger_axes
from model.flesh import PALM, PART_PAIRS, Flesh, part_gaps
from model.hands import offset_hand
from model.kinematics import tbs_from_angles
from tests.helpers import plausible_offsets

POSES = 6
PHALANGES = [number for number, (_, second) in enumerate(PART_PAIRS) if second != PALM]


def posed():
    """A hand in poses that bend and splay."""
    offsets = plausible_offsets()
    axes = finger_axes(offsets, torch.tensor([0.0, 0, 1], dtype=torch.float64).expand(5, 3))
    random = torch.Generator().manual_seed(3)
    angles = torch.zeros(POSES, 5, 3, 3)
    angles[..., 1] = 0.9 * torch.rand(POSES, 5, 3, generator=random)
    angles[:, :, 0, 2] = 0.5 * torch.rand(POSES, 5, generator=random) - 0.25
    return offset_hand(offsets.float(), axes.float(), "right").with_tbs(tbs_from_angles(angles))


def flesh_of(known) -> Flesh:
    _, ends, radii = known
    return Flesh(*(torch.from_numpy(part).float() for part in (ends, radii)), torch.zeros(len(radii)))


@pytest.fixture(scope="module")
def measured(known):
    """Gaps of the mesh and of the capsules that it was made of."""
    return SkinGaps(known[0]).gaps(posed()), part_gaps(flesh_of(known).touches(posed()).gap)


def test_gaps_of_skin_are_those_of_the_capsules_it_was_made_of(measured):
    mesh, capsules = (gaps[:, PHALANGES] for gaps in measured)
    near = (capsules > -0.03) & (capsules < 0.1)
    assert near.sum() > 15
    assert ((mesh - capsules)[near].abs() < 0.02).float().mean() > 0.9
    assert (mesh[capsules < -0.03] < 0).all()
    assert (mesh[capsules > 0.12] == torch.inf).all()


def test_a_part_without_skin_touches_nothing(measured):
    palm = [number for number, (_, second) in enumerate(PART_PAIRS) if second == PALM]
    assert (measured[0][:, palm] == torch.inf).all()


def test_points_of_the_skin_tell_what_the_mesh_does(known, measured):
    surface, _, _ = known
    mesh, capsules = measured
    points = skin_points(surface, flesh_of(known))
    told = points.gaps(posed(), capsules)[:, PHALANGES]
    mesh = mesh[:, PHALANGES]
    near = (mesh > -0.05) & (mesh < 0.1)
    assert ((told - mesh)[near].abs() < 0.02).float().mean() > 0.9
    assert (told[mesh < -0.05] < -0.02).all() and (told[mesh == torch.inf] > 0.08).all()
    assert (points.gaps(posed(), torch.ones_like(capsules)) == torch.inf).all()  # nothing is looked at
