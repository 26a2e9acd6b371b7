"""ASRN, the anatomy-based semantic reconstruction network: it sees and compares semantic matrices (SPEC §6)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from model import presence
from model.hands import PosedHand
from model.retargeting import Retargeting, Source
from model.rotations import unit_or_zero
from model.topology import N_ANCHORS, N_FINGER_JOINTS


class ASRN(Retargeting):
    """Retargets the directions of the anatomy-based semantic matrix.

    Args:
        hidden_channel: width of the networks.
        kernel_size: of their convolutions over time; odd.
        n_layers: residual blocks of each network.
        static_hidden_channel: width of the code of a hand's proportions.
        n_static_layers: layers of that code.
        norm_type: normalisation inside the networks.
        pose_repr: what the networks put out for each joint, "ortho6d" (two rows of a rotation) or "quaternion".
        smplx_model_path: MANO model file, or the folder that holds mano/MANO_RIGHT.pkl.
        mano_axis_path: anatomical axes of the MANO hand.
        is_rhand: right hands (true) or left hands.
        semi_supervised: train across domains too, not only within each.
        rf_mask: finger joints (0 to 19) whose view of the other joints counts.
        rp_mask: palm anchors (0 to 8) that count.
        distance_weighted: near joints count more.
        lambda_rf_unweighted: added to these weights, so that far joints count at all.
        lambda_rf: weight of finger directions, within a domain.
        lambda_rp: weight of palm directions, within a domain.
        lambda_semi_rf: weight of finger directions, across domains.
        lambda_semi_rp: weight of palm directions, across domains.
        tbs_input_normalization: show the networks directions only, without distances.
        anatomical_loss_type: penalise twist, bend and splay as "euler" angles or by rotation "axis".
        anatomical_limits: "published" penalties, or "corrected" ones: the bend's true angle up to 180°, where the
            published Euler penalty saturates at 39.54°; root limits of the axis penalty on finger roots only.
        lambda_anatomical: weight of these penalties.
        lr_schedule: "constant", or "one_cycle" up to the optimiser's learning rate and down over the whole training.
        optim_init: class_path and init_args of the optimiser (set by the group optim); default Adam, 1e-4.
    """

    method = "asrn"

    def __init__(
        self,
        hidden_channel: int = 256,
        kernel_size: int = 3,
        n_layers: int = 4,
        static_hidden_channel: int = 128,
        n_static_layers: int = 2,
        norm_type: Literal["none", "batch", "instance"] = "none",
        pose_repr: Literal["ortho6d", "quaternion"] = "ortho6d",
        smplx_model_path: str = "artifact/smplx/models",
        mano_axis_path: str = "artifact/MixHand/finger_data/mano_finger_axis.pkl",
        is_rhand: bool = True,
        semi_supervised: bool = True,
        rf_mask: list[int] | None = None,
        rp_mask: list[int] | None = None,
        distance_weighted: bool = False,
        lambda_rf_unweighted: float = 0.0,
        lambda_rf: float = 1.0,
        lambda_rp: float = 1.0,
        lambda_semi_rf: float = 1.0,
        lambda_semi_rp: float = 1.0,
        tbs_input_normalization: bool = True,
        anatomical_loss_type: Literal["euler", "axis"] = "euler",
        anatomical_limits: Literal["published", "corrected"] = "published",
        lambda_anatomical: float = 0.1,
        lr_schedule: Literal["constant", "one_cycle"] = "constant",
        optim_init: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            3 * N_FINGER_JOINTS * (N_FINGER_JOINTS + N_ANCHORS),
            hidden_channel,
            kernel_size,
            n_layers,
            static_hidden_channel,
            n_static_layers,
            norm_type,
            pose_repr,
            smplx_model_path,
            mano_axis_path,
            is_rhand,
            semi_supervised,
            anatomical_loss_type,
            anatomical_limits,
            lambda_anatomical,
            lr_schedule,
            optim_init,
        )
        self.save_hyperparameters()
        self.metric_masks = tuple(
            _checked_mask(name, mask, size)
            for name, mask, size in (("rf_mask", rf_mask, N_FINGER_JOINTS), ("rp_mask", rp_mask, N_ANCHORS))
        )
        self.distance_weighted = distance_weighted
        self.lambda_rf_unweighted = lambda_rf_unweighted
        self.lambdas = {
            ("rf_dir", False): lambda_rf,
            ("rp_dir", False): lambda_rp,
            ("rf_dir", True): lambda_semi_rf,
            ("rp_dir", True): lambda_semi_rp,
        }
        self.tbs_input_normalization = tbs_input_normalization

    def network_input(self, source: Source) -> Tensor:
        """The semantic matrix ``(batch, time, 1740)``: finger coordinates, then palm coordinates."""
        matrix = source.semantic_matrix
        if self.tbs_input_normalization:
            matrix = matrix.map(unit_or_zero)
        return torch.cat([part.flatten(2) for part in matrix], dim=-1)

    def semantic_terms(self, source: Source, posed: PosedHand) -> dict[str, Tensor]:
        """Negative weighted cosines of the directions to finger joints and to palm anchors."""
        finger, palm = source.directions.cosines(posed.joints, posed.frames)
        weights = source.finger_weights(self.distance_weighted, self.lambda_rf_unweighted)
        finger_mask, anchor_mask = self.metric_masks
        weighted = (finger * weights).sum(-1)
        rows, table = source.present_fingers, source.present_palm
        if finger_mask is not None:
            weighted = weighted[..., finger_mask]
            rows = None if rows is None else rows[..., finger_mask]
        if anchor_mask is not None:
            palm = palm[..., anchor_mask]
            table = None if table is None else table[..., anchor_mask]
        return {"rf_dir": -presence.mean(weighted, rows), "rp_dir": -presence.mean(palm, table)}

    def term_weight(self, term: str, semi: bool) -> float:
        """λ_rf, λ_rp or their counterparts across domains."""
        return self.lambdas[term, semi]


def _checked_mask(name: str, mask: list[int] | None, size: int) -> list[int] | None:
    """None if all count."""
    if mask is None or sorted(mask) == list(range(size)):
        return None
    if not mask or not all(0 <= i < size for i in mask):
        raise ValueError(f"`{name}` must hold numbers from 0 to {size - 1}; got {mask}")
    return list(mask)
