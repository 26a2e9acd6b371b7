"""Semi-supervised training of hand-motion retargeting across two domains, shared by ASRN and DM (mathematics §6).

One reconstruction network poses Mixamo hands, another MANO hands. Each is trained to reproduce poses of its own
domain, and to give the meaning of the other domain's motion to hands of its own. A method is what it shows to the
networks and how it compares the result with the source; see :mod:`model.asrn` and :mod:`model.dm`.

A batch has two groups of hands (:mod:`model.batch`), ``batch.first`` and ``batch.second``: Mixamo and MANO, or target
and source within one domain.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Literal

import torch
from jaxtyping import Float
from pytorch3d.transforms import standardize_quaternion
from torch import Tensor, nn

from model import presence
from model.batch import Hands, Source, own_pose
from model.flesh import flesh_of_radii
from model.hands import PosedHand
from model.losses import AnatomicalLoss
from model.network import NetworkInput, RetargetingNetwork
from model.precision import networks_only
from model.protocol import ADAM, PublishedProtocol, named_terms
from model.topology import DOMAINS
from model.touch import touch_goals, touch_misfit
from utils.parameters import init_parameters


class Retargeting(RetargetingNetwork, PublishedProtocol):
    """Base of both methods; a subclass adds what it shows to the networks, how it compares, and its short name.

    Args:
        network_input: what the networks see of a source.
        semi_supervised: train across domains too, not only within each.
        anatomical_loss_type: penalise twist, bend and splay as "euler" angles or by rotation "axis".
        anatomical_limits: "published" penalties, or "corrected" ones: the Euler bend's true angle up to 180°, where
            the published one saturates at 39.54°; root limits of the axis penalty on finger roots only, where DM's
            published ones are on all joints.
        lambda_anatomical: weight of these penalties.
        lambda_touch: weight of touches of flesh, that of adult hands about these bones (mathematics §20).
        lr_schedule: "constant", or "one_cycle" up to the optimiser's learning rate and down over the whole training.
        optim_init: class_path and init_args of the optimiser (set by the group optim); default Adam, 1e-4.
        kwargs: of :class:`model.network.RetargetingNetwork`.
    """

    method: str
    limits: str
    """Whose published limits the anatomical loss has, see :class:`model.losses.AnatomicalLoss`."""

    def __init__(
        self,
        network_input: NetworkInput,
        /,
        semi_supervised: bool = True,
        anatomical_loss_type: Literal["euler", "axis"] = "euler",
        anatomical_limits: Literal["published", "corrected"] = "published",
        lambda_anatomical: float = 0.1,
        lambda_touch: float = 0.0,
        lr_schedule: Literal["constant", "one_cycle"] = "constant",
        optim_init: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(network_input, **kwargs)
        # Defaults of the networks first: Lightning sees only what this class and its subclasses were given.
        self.save_hyperparameters({name: each.default for name, each in init_parameters(RetargetingNetwork).items()})
        self.save_hyperparameters(ignore="network_input")
        if anatomical_limits not in ("published", "corrected"):
            raise ValueError(f"`anatomical_limits` must be 'published' or 'corrected'; got {anatomical_limits!r}")
        self.semi_supervised = semi_supervised
        self.lambda_anatomical, self.lambda_touch = lambda_anatomical, lambda_touch
        self.lr_schedule = self.checked_schedule(lr_schedule)
        self.optim_init = ADAM if optim_init is None else optim_init
        self.anatomical_loss = AnatomicalLoss(anatomical_loss_type, self.limits, anatomical_limits == "corrected")
        self.test_records: dict[str, dict[str, dict[str, Any]]] = {}

    # -- what a method is ------------------------------------------------------------------------------------------

    @abstractmethod
    def semantic_terms(self, source: Source, posed: PosedHand) -> dict[str, Float[Tensor, ""]]:
        """Scalar losses by logged name that compare a result with its source."""

    @abstractmethod
    def term_weight(self, term: str, semi: bool) -> float:
        """Weight of a semantic term, for the network's own domain or the other one."""

    def trained_parts(self) -> list[nn.Module]:
        """Both networks, the Mixamo network first, as in the published order."""
        return list(self.recon_nets)

    # -- losses ----------------------------------------------------------------------------------------------------

    def losses(
        self, target: Hands, own: Source, other: Source | None
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Total loss of the network of ``target``'s domain, and its terms by name (``semi_…`` for ``other``)."""
        sources = [own] if other is None else [own, other]
        outputs = torch.stack(self(target, *sources))
        tbs = self.decode(outputs)  # (sources, batch, time, 5, 3, 3, 3): all of them at once
        tbs = presence.unturned(tbs, target.present)  # nothing is asked of joints that the hand does not have
        posed = self.shaped_hand(target).with_tbs(tbs)
        anatomical = self.anatomical_loss.per_frame(tbs)

        terms = {"bs_recon": self.reconstruction_loss(outputs[0], own)}
        total = terms["bs_recon"]
        for number, source in enumerate(sources):
            semi = number > 0
            semantic = self.semantic_terms(source.shared_with(target), posed[number])
            limits = dict(zip(("twist", "splay", "bend"), (term[number].mean() for term in anatomical), strict=True))
            total = total + sum(self.term_weight(name, semi) * value for name, value in semantic.items())
            total = total + self.lambda_anatomical * sum(limits.values())
            if self.lambda_touch:
                semantic = {**semantic, "touch": self.touch_loss(source, target, posed[number])}
                total = total + self.lambda_touch * semantic["touch"]
            terms.update({("semi_" if semi else "") + name: value for name, value in {**semantic, **limits}.items()})
        return total, terms

    def touch_loss(self, source: Source, target: Hands, posed: PosedHand) -> Float[Tensor, ""]:
        """By how much poses ``(batch, time)`` miss the source's touches of flesh; see `model.touch.touch_misfit`."""
        own = own_pose(self.shaped_hand(source.hands), source.hands)
        with torch.no_grad():
            goals = touch_goals(own, flesh_of_radii(own.shaped.offsets), flesh_of_radii(posed.shaped.offsets))
        return touch_misfit(goals, posed, source.shared_with(target).present).mean()

    def reconstruction_loss(self, output: Float[Tensor, "batch time 5 3 numbers"], own: Source) -> Float[Tensor, ""]:
        """Mean squared error of raw outputs against the source's own twist-bend-splay rotations."""
        present = None if own.hands.present is None else presence.turning(own.hands.present).unsqueeze(-1)
        if self.pose_repr == "ortho6d":
            return presence.mean((output - own.tbs[..., :2, :].flatten(-2)).square(), present)
        return presence.mean((output - standardize_quaternion(own.hands.tbs)).square(), present)

    def _step(self, batch, semi: bool) -> tuple[dict[str, Float[Tensor, ""]], dict[str, Float[Tensor, ""]]]:
        """Totals by domain, and all terms by logged name."""
        sources = {hands.domain: Source(hands) for hands in (batch.first, batch.second)}
        totals, logged = {}, {}
        for domain, other in zip(DOMAINS, reversed(DOMAINS), strict=True):
            own = sources[domain]
            totals[domain], terms = self.losses(own.hands, own, sources[other] if semi else None)
            logged.update({f"{domain}_{name}": value for name, value in terms.items()})
        return totals, logged

    @networks_only
    def training_step(self, batch, batch_idx: int) -> Float[Tensor, ""]:
        """Both networks' losses in one step; they share no parameter, so each gets the gradient of its own."""
        totals, terms = self._step(batch, self.semi_supervised)
        size = len(batch.first.tbs) if batch.share else 0
        self.log_means(named_terms("train", {**terms, **totals}, "loss"), size)
        self.last_losses = {domain: total.detach() for domain, total in totals.items()}
        return batch.share * (totals["mixamo"] + totals["mano"])

    @networks_only
    def validation_step(self, batch, batch_idx: int) -> None:
        """Every term, both networks on both groups."""
        _, terms = self._step(batch, semi=True)
        self.log_means(named_terms("val", terms, "err"), len(batch.first.tbs))
