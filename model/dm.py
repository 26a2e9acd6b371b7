"""DM, the distance-matrix baseline: it sees and compares distances between finger joints only (mathematics §6)."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from model.batch import Source
from model.hands import PosedHand
from model.losses import distance_term
from model.network import DistanceInput
from model.retargeting import Retargeting


class DM(Retargeting):
    """Retargets the distances between finger joints.

    Args:
        lambda_dm: weight of the distances, within a domain.
        lambda_semi_dm: weight of the distances, across domains.
        kwargs: of :class:`model.retargeting.Retargeting`.
    """

    method = limits = "dm"

    def __init__(self, lambda_dm: float = 1.0, lambda_semi_dm: float = 1.0, **kwargs: Any) -> None:
        super().__init__(DistanceInput(), **kwargs)
        self.lambdas = {False: lambda_dm, True: lambda_semi_dm}

    def semantic_terms(self, source: Source, posed: PosedHand) -> dict[str, Float[Tensor, ""]]:
        """Difference of the distance matrices, rows scaled to unit length."""
        return {"dm": distance_term(posed.joints[..., 1:, :], source.distance_rows, source.present_fingers)}

    def term_weight(self, term: str, semi: bool) -> float:
        """λ_dm or λ_semi_dm."""
        return self.lambdas[semi]
