"""Semi-supervised training of hand-motion retargeting across two domains, shared by ASRN and DM (SPEC §6).

One reconstruction network poses Mixamo hands, another MANO hands. Each is trained to reproduce poses of its own
domain, and to give the meaning of the other domain's motion to hands of its own. A method is what it shows to the
networks and how it compares the result with the source; see :mod:`model.asrn` and :mod:`model.dm`.

A batch has two groups of hands, ``batch.first`` and ``batch.second`` (Mixamo and MANO, or target and source within one
domain), with the named tensors ``domain, side, offsets | shape, axes_t, local_rotations, tbs,
semantic_matrix``, each ``(batch, time, …)``, and ``present``, which of the 21 joints they have (None: all).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol

import torch
from jsonargparse import Namespace
from pytorch3d.transforms import (
    matrix_to_quaternion,
    quaternion_to_matrix,
    standardize_quaternion,
)
from pytorch_lightning import LightningModule
from pytorch_lightning.cli import instantiate_class
from torch import Tensor, nn

from model import presence
from model.hands import PosedHand, ShapedHand, offset_hand
from model.kinematics import finger_part, fingers_of
from model.losses import AnatomicalLoss, finger_weights, unit_rows
from model.mano import ManoHand
from model.metrics import joint_error, pinch_error, s_finger_ceiling, semantic_similarity
from model.optimizer import OptimizerSettings, optimise_hands
from model.reconstruction import ReconstructionNet
from model.rotations import rotation_from_rows
from model.semantics import SemanticMatrix, SourceDirections
from model.topology import DOMAINS, MIDDLE, N_FINGERS, N_JOINTS, N_SHAPE, ROOTS
from utils.errors import InputError

ADAM = {"class_path": "torch.optim.Adam", "init_args": {"lr": 1e-4}}
REPRESENTATIONS = {"ortho6d": 6, "quaternion": 4}
STATIC_CHANNELS = {"mixamo": 3 * N_JOINTS + 180, "mano": 180}


class Hands(Protocol):
    """Features ``(batch, time, …)`` of posed hands of one domain, as a data module delivers them."""

    domain: str
    side: str
    offsets: Tensor
    shape: Tensor
    axes: Tensor
    axes_t: Tensor
    local_rotations: Tensor
    tbs: Tensor
    semantic_matrix: SemanticMatrix
    present: Tensor | None


class Source:
    """What is needed of a source, worked out at most once however many hands it is retargeted to.

    Args:
        hands: the source.
        present: ``(batch, time or 1, 21)`` bool, joints that count; None: those that it has.
    """

    def __init__(self, hands: Hands, present: Tensor | None = None) -> None:
        self.hands = hands
        self.present = hands.present if present is None else present
        self.semantic_matrix = hands.semantic_matrix.masked(self.present)
        self._weights: Tensor | None = None
        self._input: Tensor | None = None

    def shared_with(self, target: Hands) -> Source:
        """The source with only those joints that ``target`` has too: what a result on it is compared with."""
        if target.present is None or target is self.hands:
            return self
        return Source(self.hands, presence.both(self.present, target.present))

    @cached_property
    def present_fingers(self) -> Tensor | None:
        """``(batch, time or 1, 20)`` finger joints that count; None: all."""
        return None if self.present is None else presence.finger_joints(self.present)

    @cached_property
    def present_palm(self) -> Tensor | None:
        """``(batch, time or 1, 20, 9)`` pairs of finger joint and palm anchor that count; None: all."""
        return None if self.present is None else presence.pairs(self.present_fingers, presence.anchors(self.present))

    @cached_property
    def directions(self) -> SourceDirections:
        """Directions of its semantic matrix."""
        return SourceDirections(self.semantic_matrix)

    @cached_property
    def distances(self) -> Tensor:
        """``(batch, time, 20, 20)`` distances between finger joints, in palm lengths."""
        return self.semantic_matrix.finger.square().sum(-1).sqrt()

    @cached_property
    def distance_rows(self) -> Tensor:
        """The same with each row scaled to unit length."""
        return unit_rows(self.distances, self.present_fingers)

    def network_input(self, compute: Callable[[Source], Tensor]) -> Tensor:
        """What ``compute`` makes of it, ``(batch, time, channels)``, as contiguous ``(batch, channels, time)``."""
        if self._input is None:
            self._input = compute(self).transpose(1, 2).contiguous()
        return self._input

    def finger_weights(self, weighted: bool, unweighted_share: float) -> Tensor:
        """``(batch, time, 20, 20)``, see :func:`model.losses.finger_weights`."""
        if self._weights is None:
            self._weights = finger_weights(self.directions.distance, weighted, unweighted_share, self.present_fingers)
        return self._weights

    @cached_property
    def tbs(self) -> Tensor:
        """``(batch, time, 5, 3, 3, 3)`` twist-bend-splay rotations."""
        return quaternion_to_matrix(self.hands.tbs)


class HandModels:
    """Makes hands of named features: a character's from its offsets, MANO hands from the model's files.

    Args:
        smplx_model_path: MANO model file, or the folder that holds ``mano/MANO_RIGHT.pkl``.
        mano_axis_path: ``mano_finger_axis.pkl``.
        side: ``"right"`` or ``"left"``.
    """

    def __init__(self, smplx_model_path: str, mano_axis_path: str, side: str) -> None:
        self.side = side
        self._mano_files = (smplx_model_path, mano_axis_path)
        self._mano: ManoHand | None = None

    def mano_hand(self, like: Tensor) -> ManoHand:
        """The MANO hand, loaded when it is first needed and kept on the device and in the type of ``like``."""
        # What is made in inference mode cannot be trained through later; the hand is kept, so it must not be.
        with torch.inference_mode(False):
            if self._mano is None:
                self._mano = ManoHand.load(*self._mano_files, self.side)
            held = self._mano.skin.offsets
            if held.device != like.device or held.dtype != like.dtype:
                self._mano = self._mano.to(device=like.device, dtype=like.dtype)
        return self._mano

    def shaped_hand(self, hands: Hands) -> ShapedHand:
        """The proportions of hands ``(batch, time, …)``, without their poses."""
        if hands.domain == "mano":
            shaped = self.mano_hand(hands.shape).with_shape(hands.shape)
            return shaped if hands.present is None else replace(shaped, present=hands.present)
        # A character keeps its bones: the first frame of a window stands for all.
        present = None if hands.present is None else hands.present[:, :1]
        return offset_hand(hands.offsets[:, :1], hands.axes[:, :1], hands.side, present)


def own_pose(shaped: ShapedHand, hands: Hands) -> PosedHand:
    """Hands as they were recorded."""
    return shaped.with_local_rotations(finger_part(quaternion_to_matrix(hands.local_rotations)))


def copied_poses(shaped: ShapedHand, source: Source) -> dict[str, PosedHand]:
    """The baselines: the source's local or twist-bend-splay rotations on hands of other proportions."""
    return {"rotation_copy": own_pose(shaped, source.hands), "tbs_copy": shaped.with_tbs(source.tbs)}


class Retargeting(LightningModule):
    """Base of both methods; subclasses add what they show to the networks and how they compare.

    Args are those of :class:`model.asrn.ASRN`; ``in_channels`` is the width of :meth:`network_input` and ``method``
    the method's short name.
    """

    method: str

    def __init__(
        self,
        in_channels: int,
        hidden_channel: int,
        kernel_size: int,
        n_layers: int,
        static_hidden_channel: int,
        n_static_layers: int,
        norm_type: str,
        pose_repr: str,
        smplx_model_path: str,
        mano_axis_path: str,
        is_rhand: bool,
        semi_supervised: bool,
        anatomical_loss_type: str,
        anatomical_limits: str,
        lambda_anatomical: float,
        lr_schedule: str,
        optim_init: Any,
    ) -> None:
        super().__init__()
        if pose_repr not in REPRESENTATIONS:
            raise ValueError(f"`pose_repr` must be one of {tuple(REPRESENTATIONS)}; got {pose_repr!r}")
        if anatomical_limits not in ("published", "corrected"):
            raise ValueError(f"`anatomical_limits` must be 'published' or 'corrected'; got {anatomical_limits!r}")
        if lr_schedule not in ("constant", "one_cycle"):
            raise ValueError(f"`lr_schedule` must be 'constant' or 'one_cycle'; got {lr_schedule!r}")
        self.side = "right" if is_rhand else "left"
        self.pose_repr = pose_repr
        self.semi_supervised = semi_supervised
        self.lambda_anatomical = lambda_anatomical
        self.lr_schedule = lr_schedule
        self.optim_init = ADAM if optim_init is None else optim_init
        self.anatomical_loss = AnatomicalLoss(anatomical_loss_type, self.method, anatomical_limits == "corrected")
        self.recon_nets = nn.ModuleList(
            ReconstructionNet(
                in_channels + (N_SHAPE if domain == "mano" else 0),
                STATIC_CHANNELS[domain],
                15 * REPRESENTATIONS[pose_repr],
                hidden_channel,
                static_hidden_channel,
                kernel_size,
                n_layers,
                n_static_layers,
                norm_type,
            )
            for domain in DOMAINS
        )
        self.hand_models = HandModels(smplx_model_path, mano_axis_path, self.side)
        self.test_records: dict[str, dict[str, dict[str, Any]]] = {}
        self.optimised: dict[str, OptimizerSettings] = {}
        """Beside the network, `test` measures the training-free optimiser with these settings, by method name."""

    # -- what a method is ------------------------------------------------------------------------------------------

    @abstractmethod
    def network_input(self, source: Source) -> Tensor:
        """What the networks see of a source: ``(batch, time, in_channels)``."""

    @abstractmethod
    def semantic_terms(self, source: Source, posed: PosedHand) -> dict[str, Tensor]:
        """Scalar losses by logged name that compare a result with its source."""

    @abstractmethod
    def term_weight(self, term: str, semi: bool) -> float:
        """Weight of a semantic term, for the network's own domain or the other one."""

    metric_masks: tuple[list[int] | None, list[int] | None] = (None, None)
    """Query joints and palm anchors that count in the metrics."""

    # -- hands -----------------------------------------------------------------------------------------------------

    def mano_hand(self, like: Tensor) -> ManoHand:
        """The MANO hand on the device and in the type of ``like``, see :class:`HandModels`."""
        return self.hand_models.mano_hand(like)

    def shaped_hand(self, hands: Hands) -> ShapedHand:
        """The proportions of the hands of one group, without their poses."""
        return self.hand_models.shaped_hand(hands)

    def decode(self, output: Tensor) -> Tensor:
        """Rotations ``(..., 5, 3, 3, 3)`` from network outputs ``(..., 5, 3, 6 | 4)``."""
        return rotation_from_rows(output) if self.pose_repr == "ortho6d" else quaternion_to_matrix(output)

    def forward(self, target: Hands, *sources: Source) -> list[Tensor]:
        """Poses that give the meaning of ``sources`` to the hands of ``target``, as raw network outputs.

        All sources go through the target's network at once.

        Returns:
            For each source ``(batch, time, 5, 3, 6 | 4)`` twist-bend-splay rotations as 6-vectors (the first two rows)
            or quaternions.
        """
        net = self.recon_nets[DOMAINS.index(target.domain)]
        inputs = torch.cat([source.network_input(self.network_input) for source in sources])
        if target.domain == "mano":
            inputs = torch.cat([inputs, target.shape.transpose(1, 2).repeat(len(sources), 1, 1)], dim=1)
        output = net(inputs.transpose(1, 2), static_features(target).repeat(len(sources), 1))
        return list(output.unflatten(-1, (N_FINGERS, 3, -1)).chunk(len(sources)))

    def retarget(self, target: Hands, source: Hands) -> PosedHand:
        """The hands of ``target`` in poses that mean what ``source`` means, ``(batch, time, …)``."""
        (output,) = self(target, Source(source))
        return self.shaped_hand(target).with_tbs(self.decode(output))

    # -- losses ----------------------------------------------------------------------------------------------------

    def losses(self, target: Hands, own: Source, other: Source | None) -> tuple[Tensor, dict[str, Tensor]]:
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

    def reconstruction_loss(self, output: Tensor, own: Source) -> Tensor:
        """Mean squared error of raw outputs against the source's own twist-bend-splay rotations."""
        present = None if own.hands.present is None else presence.turning(own.hands.present).unsqueeze(-1)
        if self.pose_repr == "ortho6d":
            return presence.mean((output - own.tbs[..., :2, :].flatten(-2)).square(), present)
        return presence.mean((output - standardize_quaternion(own.hands.tbs)).square(), present)

    def _step(self, batch, semi: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Totals by domain, and all terms by logged name."""
        sources = {hands.domain: Source(hands) for hands in (batch.first, batch.second)}
        totals, logged = {}, {}
        for domain, other in zip(DOMAINS, reversed(DOMAINS), strict=True):
            own = sources[domain]
            totals[domain], terms = self.losses(own.hands, own, sources[other] if semi else None)
            logged.update({f"{domain}_{name}": value for name, value in terms.items()})
        return totals, logged

    def training_step(self, batch, batch_idx: int) -> Tensor:
        """Both networks' losses in one step; they share no parameter, so each gets the gradient of its own."""
        totals, terms = self._step(batch, self.semi_supervised)
        size = len(batch.first.tbs) if batch.share else 0
        self._log_means(_named("train", {**terms, **totals}, "loss"), size)
        self.last_losses = {domain: total.detach() for domain, total in totals.items()}
        return batch.share * (totals["mixamo"] + totals["mano"])

    def validation_step(self, batch, batch_idx: int) -> None:
        """Every term, both networks on both groups."""
        _, terms = self._step(batch, semi=True)
        self._log_means(_named("val", terms, "err"), len(batch.first.tbs))

    def _log_means(self, values: Mapping[str, Tensor], size: int) -> None:
        """Log means over ``size`` windows, to become those over all windows of all processes at the epoch's end."""
        # A float: whole numbers Lightning would round where the processes' shares differ.
        self.log_dict(values, on_step=False, on_epoch=True, sync_dist=True, batch_size=float(size))

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
            raise InputError(f"--optim: expected settings that {init['class_path']} takes; {error}") from error
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
        results = {**copied_poses(shaped, prepared), self.method: shaped.with_tbs(self.decode(output))}
        shared = prepared.shared_with(target)
        for method, settings in self.optimised.items():
            results[method] = optimise_hands(shaped, source, settings, present=shared.present)
        if truth:
            recorded = own_pose(shaped, target)
        for method, posed in results.items():
            s_finger, s_palm = semantic_similarity(
                shared.directions, posed.joints, posed.frames, *self.metric_masks, present=shared.present
            )
            error, pairs = pinch_error(source.semantic_matrix.finger, posed.joints, shared.present)
            metrics = {"S_finger": s_finger, "S_palm": s_palm, "pinch_error": error, "pinch_pairs": pairs}
            metrics["S_finger_ceiling"] = s_finger_ceiling(s_finger, shared.present)
            if truth:
                metrics["mixamo_MSE"] = joint_error(posed.joints, recorded.joints, shared.present)
            self._record(method, direction, metrics)
            if method == self.method:
                self._log_published(direction, metrics)

    def _log_published(self, direction: str, metrics: Mapping[str, Tensor]) -> None:
        names = {"mixamo_MSE": "test/mixamo_MSE"} if direction == "intra" else {
            name: f"test/{direction}_{name}" for name in ("S_finger", "S_palm")
        }  # fmt: skip
        values = {logged: metrics[name].mean() for name, logged in names.items()}
        self._log_means(values, len(metrics["S_finger"]))

    def _record(self, method: str, direction: str, metrics: Mapping[str, Tensor]) -> None:
        held = self.test_records.setdefault(method, {}).setdefault(direction, {})
        for name, value in metrics.items():
            value = value.detach().cpu()
            held[name] = torch.cat([held[name], value]) if name in held else value

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


def static_features(target: Hands) -> Tensor:
    """What a network is told of the hand it poses, ``(batch, channels)``, from the window's first frame.

    A Mixamo hand's offsets, in lengths of its middle finger's root bone, and the transposed axes of either domain;
    zero for joints that it does not have.
    """
    axes = target.axes_t[:, 0]
    present = None if target.present is None else target.present[:, 0]
    if present is not None:
        axes = axes * fingers_of(present.unsqueeze(-1)).unsqueeze(-1)
    axes = axes.flatten(1)
    if target.domain == "mano":
        return axes
    offsets = bones = target.offsets[:, 0]
    if present is not None:
        offsets, bones = offsets * present.unsqueeze(-1), presence.with_stand_ins(offsets, present)
    palm = bones[:, ROOTS[MIDDLE]].norm(dim=-1)[:, None, None]
    return torch.cat([(offsets / palm).flatten(1), axes], dim=1)


def _named(stage: str, values: Mapping[str, Tensor], ending: str) -> dict[str, Tensor]:
    return {f"{stage}/{name}_{ending}": value.detach() for name, value in values.items()}
