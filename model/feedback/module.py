"""Training of the feedback network on a stream of hands and poses that are drawn anew (mathematics §21)."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from model.batch import Source
from model.feedback.chain import Chain, frames_last_tbs, turned
from model.feedback.network import FeedbackNetwork
from model.feedback.wanted import Wanted, excess, pair_mask
from model.measures import measure
from model.precision import networks_only
from model.protocol import ADAM, PublishedProtocol
from model.topology import DOMAINS
from utils.parameters import init_parameters

ALONG = 0.5
"""Weight of the passes before the last one: each is to be as good as it can (deep supervision)."""
LIMITS = 0.05
"""Weight of what a pose is beyond the limits more than its start."""


class StreamBatch(NamedTuple):
    """Frames to train with: each a source in a pose, and a target."""

    source: Float[Tensor, "frames 240"]
    """Chains, see :class:`model.feedback.chain.Chain`."""
    target: Float[Tensor, "frames 240"]
    tbs: Float[Tensor, "frames 5 3 3 3"]
    """The source's twist-bend-splay rotations."""
    present: Bool[Tensor, "frames 21"]
    """Joints that both hands have."""


class Feedback(FeedbackNetwork, PublishedProtocol):
    """Trains the feedback network.

    Args:
        lr_schedule: "constant", or "one_cycle" up to the optimiser's learning rate and down over the whole training.
        optim_init: class_path and init_args of the optimiser (set by the group optim); default Adam, 1e-4.
        kwargs: of :class:`model.feedback.network.FeedbackNetwork`.
    """

    method = "feedback"

    def __init__(
        self,
        lr_schedule: Literal["constant", "one_cycle"] = "one_cycle",
        optim_init: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.save_hyperparameters({name: each.default for name, each in init_parameters(FeedbackNetwork).items()})
        self.save_hyperparameters()
        self.lr_schedule = self.checked_schedule(lr_schedule)
        self.optim_init = ADAM if optim_init is None else optim_init
        self.test_records = {}

    def trained_parts(self) -> list[nn.Module]:
        """The one network."""
        return [self]

    @networks_only
    def training_step(self, batch: StreamBatch, batch_idx: int) -> Float[Tensor, ""]:
        """The loss of all passes, each begun where the one before ended."""
        with torch.no_grad():
            target = Chain.from_rows(batch.target)
            tbs, description = frames_last_tbs(batch.tbs), target.description()
            wanted = Wanted.of_seen(Chain.from_rows(batch.source).seen(tbs), pair_mask(batch.present))
            allowed, seen = excess(tbs), target.seen(tbs)
            logged = {"train/copy_loss": wanted.loss(seen).mean()}
        total = seen.new_zeros(())
        for number in range(self.passes):
            last = number + 1 == self.passes
            tbs = turned(tbs, self(seen, wanted, tbs, description, number))
            seen = target.seen(tbs)
            misfit = wanted.loss(seen).mean()
            bend, lean = (torch.relu(now - before) for now, before in zip(excess(tbs), allowed, strict=True))
            beyond = (bend.square().sum((0, 1)) + lean.sum((0, 1))).mean()
            total = total + (1.0 if last else ALONG) * (misfit + LIMITS * beyond)
            logged[f"train/pass{number + 1}_loss"] = misfit.detach()
            tbs, seen = tbs.detach(), seen.detach()
        self.log_means({**logged, "train/beyond_loss": beyond.detach()}, len(batch.tbs))
        self.last_losses = {"copy": logged["train/copy_loss"], "last": logged[f"train/pass{self.passes}_loss"]}
        return total

    @networks_only
    def validation_step(self, batch, batch_idx: int) -> None:
        """By how much S_finger misses 1 where hands of each domain get the other's motion, and where they begin."""
        groups = {hands.domain: hands for hands in (batch.first, batch.second)}
        for domain, other in zip(DOMAINS, reversed(DOMAINS), strict=True):
            target, source = groups[domain], Source(groups[other])
            shaped, shared = self.shaped_hand(target), source.shared_with(target)
            posed = {"": self.retargeted(shaped, target, source), "copy_": shaped.with_tbs(source.tbs)}
            found = {name: measure(shared.directions, hand, shared.present) for name, hand in posed.items()}
            errors = {
                f"val/{domain}_semi_{name}misfit": 1 - (each.s_finger.nanmean() + each.s_palm.nanmean()) / 2
                for name, each in found.items()
            }
            self.log_means(errors, len(target.tbs))
