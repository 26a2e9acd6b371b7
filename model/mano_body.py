"""A MANO hand's surface, shaped and posed: shape and pose blend shapes, then linear blend skinning (mathematics §3).

The mean surface gets what shape and pose add; bones begin where the shaped surface has their joints; the
bones turned one after the other from the wrist on, and every vertex goes with its bones by its weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from model.skinning import linear_blend_skinning


@dataclass(frozen=True)
class ManoBody:
    """The arrays of a MANO model of one side; lengths in metres, bones in MANO's own order, V vertices."""

    v_template: Float[Tensor, "vertices 3"]  # the mean shape
    shapedirs: Float[Tensor, "vertices 3 10"]  # what each shape component adds
    posedirs: Float[Tensor, "135 vertices*3"]  # what each of the nine numbers of the 15 turned bones' R − I adds
    J_regressor: Float[Tensor, "16 vertices"]  # where bones begin, from the shaped surface
    lbs_weights: Float[Tensor, "vertices 16"]
    parents: Int[Tensor, "16"]  # bone above; −1 above the wrist
    faces_tensor: Int[Tensor, "faces 3"]  # triangles

    @staticmethod
    def of(arrays: Mapping[str, np.ndarray], dtype: torch.dtype = torch.float64) -> ManoBody:
        """From the arrays of :func:`model.mano_file.read_mano_arrays`."""
        tensors = {name: torch.tensor(arrays[name], dtype=dtype) for name in
                   ("v_template", "shapedirs", "posedirs", "J_regressor", "weights")}  # fmt: skip
        parents = torch.tensor(arrays["kintree_table"][0])
        parents[0] = -1
        return ManoBody(
            tensors["v_template"],
            tensors["shapedirs"],
            tensors["posedirs"].flatten(0, 1).T.contiguous(),
            tensors["J_regressor"],
            tensors["weights"],
            parents,
            torch.tensor(arrays["f"]),
        )

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the arrays."""
        return self.v_template.dtype

    @property
    def faces(self) -> np.ndarray:
        """Triangles ``(F, 3)``."""
        return self.faces_tensor.cpu().numpy()

    def to(self, *args, **kwargs) -> ManoBody:
        """Move to a device or floating-point type, as :meth:`torch.Tensor.to` does."""
        device = torch.empty(0).to(*args, **kwargs).device
        moved = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{
            name: value.to(*args, **kwargs) if value.is_floating_point() else value.to(device)
            for name, value in moved.items()
        })  # fmt: skip

    def shaped(self, betas: Float[Tensor, "*batch 10"]) -> Float[Tensor, "*batch vertices 3"]:
        """The surface at rest ``(..., V, 3)`` of shape components ``betas (..., 10)``."""
        return self.v_template + torch.einsum("...s,vcs->...vc", betas, self.shapedirs)

    def vertices(
        self, betas: Float[Tensor, "*batch 10"], rotations: Float[Tensor, "*batch 16 3 3"]
    ) -> tuple[Float[Tensor, "*batch vertices 3"], Float[Tensor, "*batch 16 3"]]:
        """The surface in a pose, the first bone's beginning where the shape has it.

        Args:
            betas: ``(..., 10)`` shape components.
            rotations: ``(..., 16, 3, 3)`` each bone's rotation against the one above; leading dimensions as of
                ``betas``.

        Returns:
            Vertices ``(..., V, 3)`` and beginnings of the bones ``(..., 16, 3)``.
        """
        shaped = self.shaped(betas)
        rest = self.J_regressor @ shaped
        eye = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
        turned = (rotations[..., 1:, :, :] - eye).flatten(-3)
        posed = shaped + (turned @ self.posedirs).unflatten(-1, (-1, 3))
        above, places = self._along_the_bones(rotations, rest)
        return linear_blend_skinning(posed, self.lbs_weights, rest, above, places), places

    def _along_the_bones(
        self, rotations: Float[Tensor, "*batch 16 3 3"], rest: Float[Tensor, "*batch 16 3"]
    ) -> tuple[Float[Tensor, "*batch 16 3 3"], Float[Tensor, "*batch 16 3"]]:
        """Global rotations ``(..., 16, 3, 3)`` and beginnings ``(..., 16, 3)`` of the bones, one level at a time."""
        turns, places = rotations.clone(), rest.clone()
        level = torch.zeros_like(self.parents[:1])  # the wrist, then all bones below those of the last level
        while len(level := torch.isin(self.parents, level).nonzero().flatten()):
            parents = self.parents[level]
            step = (rest[..., level, :] - rest[..., parents, :]).unsqueeze(-1)
            places = places.index_copy(-2, level, places[..., parents, :] + (turns[..., parents, :, :] @ step)[..., 0])
            turns = turns.index_copy(-3, level, turns[..., parents, :, :] @ rotations[..., level, :, :])
        return turns, places
