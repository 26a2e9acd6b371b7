"""DM, the distance-matrix baseline: it sees and compares distances between finger joints only (mathematics §6)."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from model.hands import PosedHand
from model.losses import distance_term
from model.retargeting import Retargeting, Source
from model.topology import N_FINGER_JOINTS


class DM(Retargeting):
    """Retargets the distances between finger joints.

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
        lambda_dm: weight of the distances, within a domain.
        lambda_semi_dm: weight of the distances, across domains.
        anatomical_loss_type: penalise twist, bend and splay as "euler" angles or by rotation "axis".
        anatomical_limits: "published" penalties, or "corrected" ones: root limits of the axis penalty on finger roots
            only, where the published one has them on all joints; the Euler bend's true angle up to 180°.
        lambda_anatomical: weight of these penalties.
        lr_schedule: "constant", or "one_cycle" up to the optimiser's learning rate and down over the whole training.
        optim_init: class_path and init_args of the optimiser (set by the group optim); default Adam, 1e-4.
    """

    method = limits = "dm"

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
        lambda_dm: float = 1.0,
        lambda_semi_dm: float = 1.0,
        anatomical_loss_type: Literal["euler", "axis"] = "euler",
        anatomical_limits: Literal["published", "corrected"] = "published",
        lambda_anatomical: float = 0.1,
        lr_schedule: Literal["constant", "one_cycle"] = "constant",
        optim_init: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            N_FINGER_JOINTS**2,
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
        self.lambdas = {False: lambda_dm, True: lambda_semi_dm}

    def network_input(self, source: Source) -> Tensor:
        """The distance matrix ``(batch, time, 400)``."""
        return source.distances.flatten(2)

    def semantic_terms(self, source: Source, posed: PosedHand) -> dict[str, Tensor]:
        """Difference of the distance matrices, rows scaled to unit length."""
        return {"dm": distance_term(posed.joints[..., 1:, :], source.distance_rows, source.present_fingers)}

    def term_weight(self, term: str, semi: bool) -> float:
        """λ_dm or λ_semi_dm."""
        return self.lambdas[semi]
