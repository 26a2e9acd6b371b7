"""ASRN, the anatomy-based semantic reconstruction network: it sees and compares semantic matrices (mathematics §6)."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from model import presence
from model.batch import Source
from model.hands import PosedHand
from model.network import SemanticInput
from model.retargeting import Retargeting
from model.topology import N_ANCHORS, N_FINGER_JOINTS


class ASRN(Retargeting):
    """Retargets the directions of the anatomy-based semantic matrix.

    Args:
        rf_mask: finger joints (0 to 19) whose view of the other joints counts.
        rp_mask: palm anchors (0 to 8) that count.
        distance_weighted: near joints count more.
        lambda_rf_unweighted: added to these weights, so that far joints count at all.
        lambda_rf: weight of finger directions, within a domain.
        lambda_rp: weight of palm directions, within a domain.
        lambda_semi_rf: weight of finger directions, across domains.
        lambda_semi_rp: weight of palm directions, across domains.
        tbs_input_normalization: show the networks directions only, without distances.
        kwargs: of :class:`model.retargeting.Retargeting`.
    """

    method = limits = "asrn"

    def __init__(
        self,
        rf_mask: list[int] | None = None,
        rp_mask: list[int] | None = None,
        distance_weighted: bool = False,
        lambda_rf_unweighted: float = 0.0,
        lambda_rf: float = 1.0,
        lambda_rp: float = 1.0,
        lambda_semi_rf: float = 1.0,
        lambda_semi_rp: float = 1.0,
        tbs_input_normalization: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(SemanticInput(tbs_input_normalization), **kwargs)
        self.metric_masks = (
            _checked_mask("rf_mask", rf_mask, N_FINGER_JOINTS),
            _checked_mask("rp_mask", rp_mask, N_ANCHORS),
        )
        self.distance_weighted = distance_weighted
        self.lambda_rf_unweighted = lambda_rf_unweighted
        self.lambdas = {
            ("rf_dir", False): lambda_rf,
            ("rp_dir", False): lambda_rp,
            ("rf_dir", True): lambda_semi_rf,
            ("rp_dir", True): lambda_semi_rp,
        }

    def semantic_terms(self, source: Source, posed: PosedHand) -> dict[str, Float[Tensor, ""]]:
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
