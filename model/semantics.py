"""The anatomy-based semantic matrix: where joints and palm anchors lie, seen from every finger joint (mathematics §4).

``finger[i, j] = M_iᵀ (p_j − p_i) / d`` and the same with palm anchors for ``palm``. ``M_i`` is the twist-bend-splay
frame of finger joint i and ``d`` the distance from the wrist to the root of the middle finger.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from model import presence
from model.layout import common_shape, frames_first, frames_last
from model.topology import JOINTS_PER_FINGER, N_ANCHORS, N_FINGER_JOINTS, ROOTS, THUMB, WRIST


class SemanticMatrix(NamedTuple):
    """What a pose means: where finger joints and palm anchors lie, seen from every finger joint (mathematics §4)."""

    finger: Float[Tensor, "... 20 20 3"]
    """``(..., 20, 20, 3)`` finger joints, in palm lengths; the diagonal is zero."""
    palm: Float[Tensor, "... 20 9 3"]
    """``(..., 20, 9, 3)`` palm anchors."""

    def map(self, change: Callable[[Tensor], Tensor]) -> SemanticMatrix:
        """Both parts, changed alike."""
        return SemanticMatrix(change(self.finger), change(self.palm))

    def at(self, index) -> SemanticMatrix:
        """Some of the poses, by their leading dimensions."""
        return self.map(lambda part: part[index])

    def flattened(self) -> SemanticMatrix:
        """With one leading dimension."""
        return self.map(lambda part: part.flatten(0, -4) if part.ndim > 3 else part.unsqueeze(0))

    def masked(self, present: Bool[Tensor, "... 21"] | None) -> SemanticMatrix:
        """Zero at the joints that are missing, ``present (..., 21)``; whatever stood there, NaN too."""
        if present is None:
            return self
        rows = presence.finger_joints(present)
        seen = presence.pairs(rows, rows), presence.pairs(rows, presence.anchors(present))
        return SemanticMatrix(*(part.where(mask[..., None], 0) for part, mask in zip(self, seen, strict=True)))


def palm_anchors(joints: Float[Tensor, "*batch 21 3"]) -> Float[Tensor, "*batch 9 3"]:
    """The nine palm anchors ``(..., 9, 3)`` between the wrist and the finger roots of ``joints (..., 21, 3)``."""
    wrist, roots = joints[..., WRIST : WRIST + 1, :], joints[..., 1::JOINTS_PER_FINGER, :]
    fingers, thumb = roots[..., :THUMB, :], roots[..., THUMB:, :]
    # As in PALM_ANCHORS, without an index that would have to be copied to the tensors' device.
    anchors = [
        share * part + (1 - share) * wrist for part, share in ((fingers, 1 / 3), (fingers, 2 / 3), (thumb, 1 / 2))
    ]
    return torch.cat(anchors, dim=-2)


def palm_length(joints: Float[Tensor, "*batch 21 3"]) -> Float[Tensor, " *batch"]:
    """Distance ``(...,)`` from the wrist to the root of the middle finger, the scale of a hand."""
    return (joints[..., ROOTS[0], :] - joints[..., WRIST, :]).norm(dim=-1)


def semantic_matrix(
    joints: Float[Tensor, "... 21 3"], frames: Float[Tensor, "... 20 3 3"], normalise: bool = True
) -> SemanticMatrix:
    """The semantic matrix of posed hands.

    Args:
        joints: ``(..., 21, 3)`` joint positions, any unit.
        frames: ``(..., 20, 3, 3)`` twist-bend-splay frames.
        normalise: divide by the palm length, so that the matrix has no unit.
    """
    batch = common_shape(joints.shape[:-2], frames.shape[:-3])
    seen = torch.cat([joints[..., 1:, :], palm_anchors(joints)], dim=-2)
    if normalise:
        seen = seen / palm_length(joints)[..., None, None]
    seen, frames = seen.expand(*batch, -1, -1), frames.expand(*batch, -1, -1, -1)
    coords = _SeenFromJoints.apply(frames_last(seen, 2), frames_last(frames, 3))
    return SemanticMatrix(*(frames_first(part, batch) for part in coords))


class SourceDirections:
    """The directions of a source's semantic matrix, prepared once and compared with any number of results.

    Inside, frames are the last dimension (``(3, 20, 29, frames)``): three-vectors then cost three long products
    instead of many short ones, which is several times as fast on a processor.

    """

    def __init__(self, matrix: SemanticMatrix) -> None:
        self._batch = matrix.finger.shape[:-3]
        coords = torch.cat([frames_last(part, 3) for part in matrix], dim=1)
        coords = coords.movedim(2, 0)  # a view: planes of x, y and z
        distance = _length(coords)
        self.distance = frames_first(distance, self._batch)
        """``(..., 20, 29)`` distances to finger joints, then to palm anchors."""
        self.unit = coords / distance.clamp_min(_TINY)
        """``(3, 20, 29, frames)`` unit directions, zero where two points coincide."""

    def cosines(
        self, joints: Float[Tensor, "... 21 3"], frames: Float[Tensor, "... 20 3 3"]
    ) -> tuple[Float[Tensor, "... 20 20"], Float[Tensor, "... 20 9"]]:
        """Cosines between the source's directions and those of a result.

        Args:
            joints: ``(..., 21, 3)`` joints of the result.
            frames: ``(..., 20, 3, 3)`` its twist-bend-splay frames.

        Returns:
            ``(..., 20, 20)`` towards finger joints (zero on the diagonal) and ``(..., 20, 9)`` towards palm anchors.
            The scale of the hands does not matter.
        """
        seen = torch.cat([joints[..., 1:, :], palm_anchors(joints)], dim=-2)
        finger, palm = _DirectionCosines.apply(frames_last(seen, 2), frames_last(frames, 3), self.unit)
        return frames_first(finger, self._batch), frames_first(palm, self._batch)


def pairwise_distances(joints: Float[Tensor, "*batch n 3"]) -> Float[Tensor, "*batch n n"]:
    """Distances ``(..., n, n)`` between points ``(..., n, 3)``, with zero gradient where they are zero."""
    return frames_first(_PairwiseDistances.apply(frames_last(joints, 2)), joints.shape[:-2])


_TINY = 1e-12


def _dot(a: Float[Tensor, "3 ..."], b: Float[Tensor, "3 ..."] | list[Tensor]) -> Float[Tensor, "..."]:
    """Products of three-vectors along the first dimension."""
    return (a[0] * b[0]).addcmul_(a[1], b[1]).addcmul_(a[2], b[2])


def _length(vectors: Float[Tensor, " 3 *any"]) -> Float[Tensor, " *any"]:
    return _dot(vectors, vectors).sqrt_()


def seen_from_joints(
    seen: Float[Tensor, "29 3 frames"], frames: Float[Tensor, "20 3 3 frames"]
) -> Float[Tensor, "20 29 3 frames"]:
    """Finger joints and palm anchors ``seen`` from finger joints in their ``frames``, with frames of a motion last."""
    return torch.cat(_SeenFromJoints.apply(seen, frames), dim=1)


class _SeenFromJoints(torch.autograd.Function):
    """``M_iᵀ (p_j − p_i)`` for points ``seen (29, 3, F)`` and ``frames (20, 3, 3, F)``, and its gradient by hand.

    Results ``(20, 20, 3, F)`` and ``(20, 9, 3, F)``. Differences are taken first, so that the diagonal is exactly
    zero and near joints keep their digits.
    """

    @staticmethod
    def forward(
        ctx, seen: Float[Tensor, "29 3 frames"], frames: Float[Tensor, "20 3 3 frames"]
    ) -> tuple[Float[Tensor, "20 20 3 frames"], Float[Tensor, "20 9 3 frames"]]:
        n_frames = seen.shape[-1]
        differences = seen.new_empty(3, N_FINGER_JOINTS, len(seen), n_frames)
        for d in range(3):
            _difference(seen, d, out=differences[d])
        finger = seen.new_empty(N_FINGER_JOINTS, N_FINGER_JOINTS, 3, n_frames)
        palm = seen.new_empty(N_FINGER_JOINTS, N_ANCHORS, 3, n_frames)
        for c, column in enumerate(_rows(frames).unbind(1)):
            coordinate = _dot(column, differences)
            finger[:, :, c], palm[:, :, c] = coordinate[:, :N_FINGER_JOINTS], coordinate[:, N_FINGER_JOINTS:]
        ctx.save_for_backward(seen, frames)
        return finger, palm

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_finger: Float[Tensor, "20 20 3 frames"], grad_palm: Float[Tensor, "20 9 3 frames"]):
        seen, frames = ctx.saved_tensors
        # One plane for each coordinate; transposed as a whole first, which is much faster than in parts.
        grad_finger, grad_palm = grad_finger.contiguous(), grad_palm.contiguous()
        grads = [torch.cat([grad_finger[:, :, c], grad_palm[:, :, c]], dim=1) for c in range(3)]
        difference, product = torch.empty_like(grads[0]), torch.empty_like(grads[0])
        grad_seen, grad_frames = torch.empty_like(seen), torch.empty_like(frames)
        for d, row in enumerate(_rows(frames)):
            grad_seen[:, d] = _gathered_pull(_dot(row, grads))
            _difference(seen, d, out=difference)
            for c in range(3):
                grad_frames[:, d, c] = torch.mul(difference, grads[c], out=product).sum(1)
        return grad_seen, grad_frames


def _gathered_pull(pull: Float[Tensor, "20 29 frames"]) -> Float[Tensor, "29 frames"]:
    """The gradient of points, ``(29, F)``, put together from that of their differences, ``(20, 29, F)``."""
    gathered = pull.sum(0)
    gathered[:N_FINGER_JOINTS] -= pull.sum(1)
    return gathered


class _DirectionCosines(torch.autograd.Function):
    """``cos_ij = (M_i u_ij) · e_ij`` with ``e_ij`` the direction from joint i to point j, and its gradient by hand.

    ``seen (29, 3, F)`` joints and anchors, ``frames (20, 3, 3, F)``, constant ``unit (3, 20, 29, F)``; cosines
    ``(20, 20, F)`` and ``(20, 9, F)``. Worked out one coordinate at a time in the same few arrays ``(20, 29, F)``,
    which stay in the cache; differences and turned directions are cheaper to compute again than to keep.
    """

    @staticmethod
    def forward(
        ctx,
        seen: Float[Tensor, "29 3 frames"],
        frames: Float[Tensor, "20 3 3 frames"],
        unit: Float[Tensor, "3 20 29 frames"],
    ) -> tuple[Float[Tensor, "20 20 frames"], Float[Tensor, "20 9 frames"]]:
        squared, cosines = torch.zeros_like(unit[0]), torch.zeros_like(unit[0])
        difference = torch.empty_like(squared)
        for c, row in enumerate(_rows(frames)):
            _difference(seen, c, out=difference)
            squared.addcmul_(difference, difference)
            cosines.addcmul_(difference, _dot(row, unit))
        inverse = squared.sqrt_().clamp_min_(_TINY).reciprocal_()
        cosines *= inverse
        ctx.save_for_backward(seen, frames, unit, inverse, cosines)
        return cosines[:, :N_FINGER_JOINTS].clone(), cosines[:, N_FINGER_JOINTS:].clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_finger: Float[Tensor, "20 20 frames"], grad_palm: Float[Tensor, "20 9 frames"]):
        seen, frames, unit, inverse, cosines = ctx.saved_tensors
        grad = torch.cat([grad_finger, grad_palm], dim=1)
        scaled = grad * inverse
        direction, product = torch.empty_like(grad), torch.empty_like(grad)
        grad_seen, grad_frames = torch.empty_like(seen), torch.empty_like(frames)
        for c, row in enumerate(_rows(frames)):
            _difference(seen, c, out=direction).mul_(inverse)
            # d cos / d direction is the part of the turned direction across the direction, over the length.
            pull = _dot(row, unit).addcmul_(direction, cosines, value=-1).mul_(scaled)
            grad_seen[:, c] = _gathered_pull(pull)
            direction *= grad
            for d in range(3):
                grad_frames[:, c, d] = torch.mul(direction, unit[d], out=product).sum(1)
        return grad_seen, grad_frames, None


def _difference(
    seen: Float[Tensor, "29 3 frames"], coordinate: int, out: Float[Tensor, "20 29 frames"]
) -> Float[Tensor, "20 29 frames"]:
    """One coordinate of ``p_j − p_i``, ``(20, 29, F)``, of points ``seen (29, 3, F)``."""
    points = seen[:, coordinate]
    return torch.sub(points.unsqueeze(0), points[:N_FINGER_JOINTS].unsqueeze(1), out=out)


def _rows(frames: Float[Tensor, "20 3 3 frames"]) -> Float[Tensor, "3 3 20 1 frames"]:
    """Rows ``(3, 3, 20, 1, F)`` of ``frames (20, 3, 3, F)``."""
    return frames.movedim(0, 2).unsqueeze(3)


class _PairwiseDistances(torch.autograd.Function):
    """Distances ``(n, n, F)`` between points ``(n, 3, F)``; the gradient is zero where a distance is."""

    @staticmethod
    def forward(ctx, points: Float[Tensor, "n 3 frames"]) -> Float[Tensor, "n n frames"]:
        points = points.movedim(1, 0)
        difference = points.unsqueeze(2) - points.unsqueeze(1)  # p_i − p_j, (3, n, n, F)
        distance = _length(difference)
        ctx.save_for_backward(difference, distance)
        return distance

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Float[Tensor, "n n frames"]):
        difference, distance = ctx.saved_tensors
        pull = difference * (grad.contiguous() / distance.clamp_min(_TINY))
        return (pull.sum(2) - pull.sum(1)).movedim(0, 1)
