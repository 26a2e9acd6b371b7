"""How much of a correction is applied, so that no frame is worse than without it (mathematics §21)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

STEPS = 8
"""Places on the way from nothing to the whole correction that are looked at."""
TOLERANCE = 1e-4
"""By how much a frame may be worse, at most. The way is given up evenly as half of it is used."""


def guarded_shares(
    score: Callable[[Float[Tensor, " frames"]], Float[Tensor, " frames"]], frames: int, like: Tensor
) -> Float[Tensor, " frames"]:
    """Which share of its correction each frame gets: as much as does no harm on the way there.

    With ``d(s)`` the loss of score at share s and ``w(s)`` its largest value so far, the share is the length of the
    way on which w is nothing, and of that on which it grows to `TOLERANCE` / 2 a part that falls to zero: a continuous
    function of the scores, and never beyond the place where w gets there. What it gives is looked at once more; where
    it is worse than `TOLERANCE` after all, since a score between two places is not what lies between, the place before
    it is taken.

    Args:
        score: of each frame at its share ``(F,)``; larger is better.
        frames: F.
        like: a tensor of the type and on the device of the scores.

    Returns:
        ``(F,)`` from 0 to 1.
    """
    places = torch.linspace(0, 1, STEPS + 1, dtype=like.dtype, device=like.device)
    scores = torch.stack([score(place.expand(frames)) for place in places])
    lost = scores[0] - scores
    shares = _free_way(lost[:-1], lost[1:], lost.cummax(0).values[:-1]).sum(0) / STEPS
    harmful = ~(scores[0] - score(shares) <= TOLERANCE)
    return torch.where(harmful, (shares * STEPS).floor() / STEPS, shares)


def _free_way(
    begin: Float[Tensor, "steps frames"], end: Float[Tensor, "steps frames"], worst: Float[Tensor, "steps frames"]
) -> Float[Tensor, "steps frames"]:
    """The mean over a step of ``relu(1 − w/ε)``, d going evenly from ``begin`` to ``end`` after a ``worst`` w ≥ 0."""
    most = TOLERANCE / 2
    higher = (end - worst).clamp_min(0)
    flat = torch.where(higher > 0, (worst - begin) / (end - begin), 1.0)
    part = torch.where(higher > 0, ((most - worst) / higher).clamp(0, 1), 0.0)  # of the rise that is below ε
    return flat * torch.relu(1 - worst / most) + (1 - flat) * part * (1 - (2 * worst + part * higher) / (2 * most))
