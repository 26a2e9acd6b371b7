"""Semi-supervised training of hand-motion retargeting across two domains, shared by ASRN and DM (mathematics §6).

One reconstruction network poses Mixamo hands, another MANO hands. Each is trained to reproduce poses of its own
domain, and to give the meaning of the other domain's motion to hands of its own. A method is what it shows to the
networks and how it compares the result with the source; see :mod:`model.asrn` and :mod:`model.dm`.

A batch has two groups of hands (:mod:`model.batch`), ``batch.first`` and ``batch.second``: Mixamo and MANO, or target
and source within one domain.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Literal

import torch
from jaxtyping import Float, Shaped
from jsonargparse import Namespace
from pytorch3d.transforms import matrix_to_quaternion, standardize_quaternion
from pytorch_lightning import LightningModule
from pytorch_lightning.cli import instantiate_class
from torch import Tensor, nn

from model import presence
from model.batch import Hands, Source, own_pose
from model.hands import PosedHand
from model.losses import AnatomicalLoss
from model.measures import measure
from model.methods import of_kind
from model.network import NetworkInput, RetargetingNetwork
from model.posing import Task
from model.topology import DOMAINS
from utils.errors import InputError
from utils.parameters import init_parameters

ADAM = {"class_path": "torch.optim.Adam", "init_args": {"lr": 1e-4}}


def mixed_networks_only(step: Callable[..., Any]) -> Callable[..., Any]:
    """In mixed precision only the networks' products are done in few bits: rotations, positions, losses and metrics
    would lose what they are made of. Of a step of `Retargeting`."""

    @wraps(step)
    def run(self, batch, batch_idx: int) -> Any:
        device = batch.first.tbs.device.type
        if not torch.is_autocast_enabled(device):
            return step(self, batch, batch_idx)
        self.mixed = torch.get_autocast_dtype(device)
        try:
            with torch.autocast(device, enabled=False):
                return step(self, batch, batch_idx)
        finally:
            self.mixed = None

    return run


class Retargeting(RetargetingNetwork, LightningModule):
    """Base of both methods; a subclass adds what it shows to the networks, how it compares, and its short name.

    Args:
        network_input: what the networks see of a source.
        semi_supervised: train across domains too, not only within each.
        anatomical_loss_type: penalise twist, bend and splay as "euler" angles or by rotation "axis".
        anatomical_limits: "published" penalties, or "corrected" ones: the Euler bend's true angle up to 180°, where
            the published one saturates at 39.54°; root limits of the axis penalty on finger roots only, where DM's
            published ones are on all joints.
        lambda_anatomical: weight of these penalties.
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
        if lr_schedule not in ("constant", "one_cycle"):
            raise ValueError(f"`lr_schedule` must be 'constant' or 'one_cycle'; got {lr_schedule!r}")
        self.semi_supervised = semi_supervised
        self.lambda_anatomical = lambda_anatomical
        self.lr_schedule = lr_schedule
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

    metric_masks: tuple[list[int] | None, list[int] | None] = (None, None)
    """Query joints and palm anchors that count in the metrics."""

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
            terms.update({("semi_" if semi else "") + name: value for name, value in {**semantic, **limits}.items()})
        return total, terms

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

    @mixed_networks_only
    def training_step(self, batch, batch_idx: int) -> Float[Tensor, ""]:
        """Both networks' losses in one step; they share no parameter, so each gets the gradient of its own."""
        totals, terms = self._step(batch, self.semi_supervised)
        size = len(batch.first.tbs) if batch.share else 0
        self._log_means(_named("train", {**terms, **totals}, "loss"), size)
        self.last_losses = {domain: total.detach() for domain, total in totals.items()}
        return batch.share * (totals["mixamo"] + totals["mano"])

    @mixed_networks_only
    def validation_step(self, batch, batch_idx: int) -> None:
        """Every term, both networks on both groups."""
        _, terms = self._step(batch, semi=True)
        self._log_means(_named("val", terms, "err"), len(batch.first.tbs))

    def _log_means(self, values: Mapping[str, Shaped[Tensor, ""]], size: int) -> None:
        """Log means over ``size`` windows, to become those over all windows of all processes at the epoch's end."""
        # A float: whole numbers Lightning would round where the processes' shares differ.
        count: Any = float(size)
        self.log_dict(values, on_step=False, on_epoch=True, sync_dist=True, batch_size=count)

    # -- optimisation ----------------------------------------------------------------------------------------------

    def configure_optimizers(self):
        """One optimiser for both networks, its first parameters the Mixamo network's, as in the published order."""
        init = self.optim_init
        init = init.as_dict() if isinstance(init, Namespace) else dict(init)
        init["init_args"] = dict(init.get("init_args") or {})
        if init["class_path"].split(".")[-1] in ("Adam", "AdamW") and self.trainer.precision != "16-mixed":
            init["init_args"].setdefault("fused", True)
            if init["init_args"]["fused"] is None:
                init["init_args"]["fused"] = True
        try:
            optimizer = instantiate_class([{"params": list(net.parameters())} for net in self.recon_nets], init)
        except (TypeError, ValueError) as error:
            raise InputError(f"`optim`: expected settings that {init['class_path']} takes; {error}") from error
        if self.lr_schedule == "constant":
            return optimizer
        rates = [group["lr"] for group in optimizer.param_groups]
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None) -> None:
        """Clip each network's gradient on its own, as two separate optimisers would."""
        if not gradient_clip_val:
            return
        for net in self.recon_nets:
            if gradient_clip_algorithm in (None, "norm"):
                nn.utils.clip_grad_norm_(net.parameters(), gradient_clip_val)
            else:
                nn.utils.clip_grad_value_(net.parameters(), gradient_clip_val)

    # -- testing ---------------------------------------------------------------------------------------------------

    def on_test_start(self) -> None:
        """Forget earlier tests."""
        self.test_records = {}

    @mixed_networks_only
    def test_step(self, batch, batch_idx: int) -> None:
        """Metrics of the network and of both copies, per window, in every direction that the batch offers."""
        groups = (batch.first, batch.second)
        if groups[0].domain == groups[1].domain:
            self._test_direction("intra", target=groups[0], source=groups[1], truth=True)
            return
        for source, target in (groups, reversed(groups)):
            self._test_direction(f"{source.domain}2{target.domain}", target, source)

    def _test_direction(self, direction: str, target: Hands, source: Hands, truth: bool = False) -> None:
        shaped, prepared = self.shaped_hand(target), Source(source)
        (output,) = self(target, prepared)
        shared = prepared.shared_with(target)
        task = Task(shaped, prepared, shared.present)
        results = {name: copy.posed(task) for name, copy in of_kind("copy").items()}
        results[self.method] = shaped.with_tbs(self.decode(output))
        recorded = own_pose(shaped, target).joints if truth else None
        for method, posed in results.items():
            metrics = measure(shared.directions, posed, shared.present, recorded, *self.metric_masks).by_window()
            del metrics["frames"]  # all windows have as many
            self._record(method, direction, metrics)
            if method == self.method:
                self._log_published(direction, metrics)

    def _log_published(self, direction: str, metrics: Mapping[str, Shaped[Tensor, " batch"]]) -> None:
        names = {"mixamo_MSE": "test/mixamo_MSE"} if direction == "intra" else {
            name: f"test/{direction}_{name}" for name in ("S_finger", "S_palm")
        }  # fmt: skip
        values = {logged: metrics[name].mean() for name, logged in names.items()}
        self._log_means(values, len(metrics["S_finger"]))

    def _record(self, method: str, direction: str, metrics: Mapping[str, Shaped[Tensor, " batch"]]) -> None:
        held = self.test_records.setdefault(method, {}).setdefault(direction, {})
        for name, value in metrics.items():
            value = value.detach().cpu()
            held[name] = torch.cat([held[name], value]) if name in held else value

    @mixed_networks_only
    def predict_step(self, batch, batch_idx: int) -> dict[str, dict[str, Tensor]]:
        """Poses by direction: ``local_rotations (batch, time, 21, 4)``, ``tbs (batch, time, 5, 3, 4)`` quaternions and
        ``joints (batch, time, 21, 3)`` in the target's unit."""
        groups = (batch.first, batch.second)
        within = groups[0].domain == groups[1].domain
        pairs = [(groups[1], groups[0])] if within else [groups, groups[::-1]]
        predicted = {}
        for source, target in pairs:
            posed = self.retarget(target, source)
            predicted["intra" if within else f"{source.domain}2{target.domain}"] = {
                "local_rotations": matrix_to_quaternion(posed.local_all),
                "tbs": standardize_quaternion(matrix_to_quaternion(posed.tbs)),
                "joints": posed.joints,
            }
        return predicted


def _named(stage: str, values: Mapping[str, Float[Tensor, ""]], ending: str) -> dict[str, Float[Tensor, ""]]:
    return {f"{stage}/{name}_{ending}": value.detach() for name, value in values.items()}
