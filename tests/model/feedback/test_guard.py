import torch

from model.feedback.guard import STEPS, TOLERANCE, guarded_shares


def shares(*functions):
    def score(share):
        return torch.stack([-function(s) for function, s in zip(functions, share, strict=True)])

    return guarded_shares(score, len(functions), torch.zeros((), dtype=torch.float64))


def test_what_does_no_harm_is_applied_in_full_and_what_harms_not_at_all():
    found = shares(lambda s: -s, lambda s: 0 * s, lambda s: s, lambda s: 100 * s)
    assert torch.equal(found[:2], torch.ones(2, dtype=torch.float64))
    assert (found[2:] * torch.tensor([1, 100]) < TOLERANCE).all()


def test_from_good_to_bad_the_share_falls_to_where_nothing_is_lost():
    """A loss that falls and rises again, ever earlier: the share is where it is back, and moves without a jump."""
    zeros = torch.linspace(1.5, 0.0, 400, dtype=torch.float64)
    found = shares(*[lambda s, zero=zero: 0.02 * s * (s - zero) for zero in zeros])
    assert (found - zeros.clamp(0, 1)).abs().max() < 1 / STEPS
    assert found.diff().abs().max() < 0.02 and (found.diff() <= 1e-12).all()
    assert (0.02 * found * (found - zeros) <= TOLERANCE).all()


def test_a_hill_between_two_places_is_seen():
    narrow = [lambda s, at=at: torch.exp(-(((s - at) * 60) ** 2)) - 1e-3 * s for at in torch.linspace(0.05, 1, 40)]
    found = shares(*narrow)
    lost = torch.stack([function(share) - function(0 * share) for function, share in zip(narrow, found, strict=True)])
    assert (lost <= TOLERANCE).all()
