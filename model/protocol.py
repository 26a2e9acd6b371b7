"""What every network is trained and tested with: its optimiser, the published protocol of testing, and predictions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Shaped
from jsonargparse import Namespace
from pytorch3d.transforms import matrix_to_quaternion, standardize_quaternion
from pytorch_lightning import LightningModule
from pytorch_lightning.cli import instantiate_class
from torch import Tensor, nn

from model.batch import Hands, Source, own_pose
from model.hands import PosedHand, ShapedHand
from model.measures import measure
from model.methods import of_kind
from model.posing import Task
from model.precision import networks_only
from utils.errors import InputError

ADAM = {"class_path": "torch.optim.Adam", "init_args": {"lr": 1e-4}}


class PublishedProtocol(LightningModule):
    """Base of what trains a network; a subclass adds its short name, the network and the losses."""

    method: str
    side: str
    lr_schedule: str
    optim_init: dict[str, Any]
    test_records: dict[str, dict[str, dict[str, Any]]]
    metric_masks: tuple[list[int] | None, list[int] | None] = (None, None)
    """Query joints and palm anchors that count in the metrics."""

    @abstractmethod
    def shaped_hand(self, hands: Hands) -> ShapedHand:
        """The proportions of the hands of one group, without their poses."""

    @abstractmethod
    def retargeted(self, shaped: ShapedHand, target: Hands, source: Source) -> PosedHand:
        """The hands ``shaped`` of ``target`` in poses that mean what the source means, ``(batch, time, …)``."""

    @abstractmethod
    def trained_parts(self) -> list[nn.Module]:
        """The networks; gradients are clipped for each by itself."""

    @staticmethod
    def checked_schedule(lr_schedule: str) -> str:
        """``lr_schedule``. Raises ValueError if there is no such schedule."""
        if lr_schedule not in ("constant", "one_cycle"):
            raise ValueError(f"`lr_schedule` must be 'constant' or 'one_cycle'; got {lr_schedule!r}")
        return lr_schedule

    def log_means(self, values: Mapping[str, Shaped[Tensor, ""]], size: int) -> None:
        """Log means over ``size`` windows, to become those over all windows of all processes at the epoch's end."""
        # A float: whole numbers Lightning would round where the processes' shares differ.
        count: Any = float(size)
        self.log_dict(values, on_step=False, on_epoch=True, sync_dist=True, batch_size=count)

    # -- optimisation ----------------------------------------------------------------------------------------------

    def configure_optimizers(self):
        """One optimiser for all networks, in the order of :meth:`trained_parts`."""
        init = self.optim_init
        init = init.as_dict() if isinstance(init, Namespace) else dict(init)
        init["init_args"] = dict(init.get("init_args") or {})
        if init["class_path"].split(".")[-1] in ("Adam", "AdamW") and self.trainer.precision != "16-mixed":
            init["init_args"].setdefault("fused", True)
            if init["init_args"]["fused"] is None:
                init["init_args"]["fused"] = True
        try:
            optimizer = instantiate_class([{"params": list(net.parameters())} for net in self.trained_parts()], init)
        except (TypeError, ValueError) as error:
            raise InputError(f"`optim`: expected settings that {init['class_path']} takes; {error}") from error
        if self.lr_schedule == "constant":
            return optimizer
        rates = [group["lr"] for group in optimizer.param_groups]
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        """See whether a schedule that continues was planned for this length.

        Raises:
            InputError: it was planned for fewer steps; the learning rate is back at nothing behind them.
        """
        steps = int(self.trainer.estimated_stepping_batches)
        for config in self.trainer.lr_scheduler_configs:
            planned = getattr(config.scheduler, "total_steps", steps)
            if steps > planned:
                raise InputError(
                    f"`max_epochs`: expected at most {planned} steps in all, for which the learning rate of the "
                    f"checkpoint was planned (one_cycle), found {steps}; continue with the same number of epochs, or "
                    "train anew with more"
                )

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None) -> None:
        """Clip each network's gradient on its own, as two separate optimisers would."""
        if not gradient_clip_val:
            return
        for net in self.trained_parts():
            if gradient_clip_algorithm in (None, "norm"):
                nn.utils.clip_grad_norm_(net.parameters(), gradient_clip_val)
            else:
                nn.utils.clip_grad_value_(net.parameters(), gradient_clip_val)

    # -- testing ---------------------------------------------------------------------------------------------------

    def on_test_start(self) -> None:
        """Forget earlier tests."""
        self.test_records = {}

    @networks_only
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
        shared = prepared.shared_with(target)
        task = Task(shaped, prepared, shared.present)
        results = {name: copy.posed(task) for name, copy in of_kind("copy").items()}
        results[self.method] = self.retargeted(shaped, target, prepared)
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
        self.log_means(values, len(metrics["S_finger"]))

    def _record(self, method: str, direction: str, metrics: Mapping[str, Shaped[Tensor, " batch"]]) -> None:
        held = self.test_records.setdefault(method, {}).setdefault(direction, {})
        for name, value in metrics.items():
            value = value.detach().cpu()
            held[name] = torch.cat([held[name], value]) if name in held else value

    @networks_only
    def predict_step(self, batch, batch_idx: int) -> dict[str, dict[str, Tensor]]:
        """Poses by direction: ``local_rotations (batch, time, 21, 4)``, ``tbs (batch, time, 5, 3, 4)`` quaternions and
        ``joints (batch, time, 21, 3)`` in the target's unit."""
        groups = (batch.first, batch.second)
        within = groups[0].domain == groups[1].domain
        pairs = [(groups[1], groups[0])] if within else [groups, groups[::-1]]
        predicted = {}
        for source, target in pairs:
            posed = self.retargeted(self.shaped_hand(target), target, Source(source))
            predicted["intra" if within else f"{source.domain}2{target.domain}"] = {
                "local_rotations": matrix_to_quaternion(posed.local_all),
                "tbs": standardize_quaternion(matrix_to_quaternion(posed.tbs)),
                "joints": posed.joints,
            }
        return predicted


def named_terms(stage: str, values: Mapping[str, Float[Tensor, ""]], ending: str) -> dict[str, Float[Tensor, ""]]:
    """Terms as they are logged."""
    return {f"{stage}/{name}_{ending}": value.detach() for name, value in values.items()}
