"""The feedback network: corrections of a twist-bend-splay copy by what is still wrong with it (mathematics §21).

Iterative error feedback (Carreira et al., 2016) on the semantic matrix: the network sees the difference between the
source's matrix and that of its own pose on the target, turns the joints a little, and looks again. It is the same for
all hands, of both sides, with any fingers missing; each frame is corrected by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from model.batch import HandModels, Hands, Source
from model.feedback.chain import N_DESCRIPTION, Chain, frames_first_tbs, frames_last_tbs, turned
from model.feedback.guard import guarded_shares
from model.feedback.wanted import SOFT, Wanted
from model.hands import PosedHand, ShapedHand
from model.kinematics import tbs_from_local
from model.layout import constant, frames_last
from model.mirror import mirror_matrix, mirror_tbs
from model.network import taken_by
from model.precision import FewBits
from model.semantics import SemanticMatrix
from model.topology import N_FINGER_JOINTS, N_FINGERS
from utils.cached import cached_property

N_POINTS = 29
LONGEST_TURN = 0.8
"""Radians that a joint is turned by in a pass, at most, about each axis."""
CHUNK = 256
"""Frames that are corrected at once: what they need stays in the processor's cache."""
MOST_CHANNELS, MOST_BLOCKS, MOST_PASSES = 4096, 64, 64
_PAIRS = [(i, j) for i in range(N_FINGERS) for j in range(N_FINGERS) if i != j]
_FIRST, _SECOND = (tuple(pair[k] for pair in _PAIRS) for k in (0, 1))
_ONCE = tuple(number for number, (i, j) in enumerate(_PAIRS) if i < j)
_N_INPUT = 4 * len(_PAIRS) - len(_PAIRS) // 2 + 90 + N_DESCRIPTION + 1


class View(Protocol):
    """Poses a target and looks at it."""

    def __call__(self, tbs: Float[Tensor, "3 3 5 3 frames"]) -> Float[Tensor, "20 29 3 frames"]:
        """The semantic matrix of the hand in poses."""
        ...

    def at(self, frames: Int[Tensor, " some"]) -> View:
        """For some of the frames."""
        ...


@dataclass(frozen=True)
class ChainView:
    """Of hands that are driven by offsets."""

    chain: Chain

    def __call__(self, tbs: Float[Tensor, "3 3 5 3 frames"]) -> Float[Tensor, "20 29 3 frames"]:
        """See :class:`View`."""
        return self.chain.seen(tbs)

    def at(self, frames: Int[Tensor, " some"]) -> ChainView:
        """See :class:`View`."""
        return ChainView(self.chain.at(frames))


@dataclass(frozen=True)
class SurfaceView:
    """Of hands whose joints follow from their surface, ``(frames, …)`` or one for all."""

    hand: ShapedHand

    def __call__(self, tbs: Float[Tensor, "3 3 5 3 frames"]) -> Float[Tensor, "20 29 3 frames"]:
        """See :class:`View`."""
        left, poses = self.hand.side == "left", frames_first_tbs(tbs)
        matrix = self.hand.with_tbs(mirror_tbs(poses) if left else poses).semantic_matrix()
        return frames_last(torch.cat(mirror_matrix(matrix) if left else matrix, dim=-2), 3)

    def at(self, frames: Int[Tensor, " some"]) -> SurfaceView:
        """See :class:`View`."""
        return SurfaceView(self.hand.of_items(frames))


class _Block(nn.Module):
    """``x + W₂ silu(W₁ norm(x))``, columns are frames; ``W₂`` begins at zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(channels, eps=1e-5)
        self.inner, self.outer = nn.Linear(channels, channels), nn.Linear(channels, channels)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, x: Float[Tensor, "frames channels"]) -> Float[Tensor, "frames channels"]:
        return x + self.outer(F.silu(self.inner(self.norm(x))))


class FeedbackNetwork(FewBits):
    """Corrections of poses; without training it corrects nothing.

    Args:
        hidden_channel: width.
        row_channel: numbers to which each finger joint's view of the hand is brought.
        n_blocks: residual blocks.
        passes: times that a pose is corrected.
        smplx_model_path: MANO model file, or the folder that holds mano/MANO_RIGHT.pkl.
        mano_axis_path: anatomical axes of the MANO hand.
        is_rhand: the side of the hands in the data, right (true) or left; the network is for both.
    """

    both_sides = True

    def __init__(
        self,
        hidden_channel: int = 192,
        row_channel: int = 16,
        n_blocks: int = 2,
        passes: int = 3,
        smplx_model_path: str = "artifact/smplx/models",
        mano_axis_path: str = "artifact/MixHand/finger_data/mano_finger_axis.pkl",
        is_rhand: bool = True,
    ) -> None:
        super().__init__()
        for name, value, most in (
            ("hidden_channel", hidden_channel, MOST_CHANNELS),
            ("row_channel", row_channel, MOST_CHANNELS),
            ("n_blocks", n_blocks, MOST_BLOCKS),
            ("passes", passes, MOST_PASSES),
        ):
            if not isinstance(value, int) or not 1 <= value <= most:
                raise ValueError(f"`{name}` must be a whole number from 1 to {most}; got {value!r:.60}")
        self.passes, self.side = passes, "right" if is_rhand else "left"
        wide = 6 * N_POINTS
        self.row_weight = nn.Parameter(2 * torch.randn(N_FINGER_JOINTS, row_channel, wide) * wide**-0.5)
        self.row_bias = nn.Parameter(torch.zeros(N_FINGER_JOINTS, row_channel, 1))
        self.first = nn.Linear(N_FINGER_JOINTS * row_channel + _N_INPUT, hidden_channel)
        self.blocks = nn.ModuleList(_Block(hidden_channel) for _ in range(n_blocks))
        self.norm = nn.RMSNorm(hidden_channel, eps=1e-5)
        self.last = nn.Linear(hidden_channel, 45)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.hand_models = HandModels(smplx_model_path, mano_axis_path, self.side)

    def mano_hand(self, like: Tensor):
        """The MANO hand on the device and in the type of ``like``, see :class:`model.batch.HandModels`."""
        return self.hand_models.mano_hand(like)

    def shaped_hand(self, hands: Hands) -> ShapedHand:
        """The proportions of the hands of one group, without their poses."""
        return self.hand_models.shaped_hand(hands)

    def forward(
        self,
        seen: Float[Tensor, "20 29 3 frames"],
        wanted: Wanted,
        tbs: Float[Tensor, "3 3 5 3 frames"],
        description: Float[Tensor, "135 frames"],
        number: int,
    ) -> Float[Tensor, "3 5 3 frames"]:
        """By which rotation vectors the joints of a pose are to be turned, each in its own frame.

        Args:
            seen: the pose's semantic matrix.
            wanted: what the source asks for.
            tbs: the pose.
            description: of the target.
            number: of the pass.
        """
        return self.in_few_bits(self._turns, seen, wanted, tbs, description, number)

    def error(
        self, seen: Float[Tensor, "20 29 3 frames"], wanted: Wanted
    ) -> tuple[Float[Tensor, "20 174 frames"], Float[Tensor, "5 5 3 frames"]]:
        """What is wrong with a pose, as the network sees it: directions of its semantic matrix, and fingertips' gaps.

        A direction's error is the turn that would mend it, ``now × wanted``, and ``wanted − now``, which is clear too
        where the two are opposite.
        """
        now = seen * (seen.square().sum(2, keepdim=True) + SOFT**2).rsqrt()
        if wanted.mask is not None:
            now = now * wanted.mask.unsqueeze(2)
        (x, y, z), (u, v, w) = now.unbind(2), wanted.direction.unbind(2)
        parts = [y * w - z * v, z * u - x * w, x * v - y * u, u - x, v - y, w - z]
        return torch.cat(parts, dim=1), wanted.gap(seen)

    def _turns(self, seen: Tensor, wanted: Wanted, tbs: Tensor, description: Tensor, number: int) -> Tensor:
        frames = seen.shape[-1]
        error, gap = self.error(seen, wanted)
        rows = torch.baddbmm(self.row_bias, self.row_weight, error)
        first, second, once = (constant(each, torch.int64, tbs.device) for each in (_FIRST, _SECOND, _ONCE))
        touch = wanted.touch[first, second]
        gap = touch.unsqueeze(1) * gap[first, second] * 4
        eye = torch.eye(3, dtype=tbs.dtype, device=tbs.device)[:2].view(2, 3, 1, 1, 1)
        x = torch.cat([
            rows.flatten(0, 1), gap.flatten(0, 1), touch[once], (tbs[:2] - eye).flatten(0, 3),
            description.expand(-1, frames), seen.new_full((1, frames), float(number)),
        ])  # fmt: skip
        x = F.silu(self.first(x.T)).to(x)  # in mixed precision too: sums and norms keep their digits
        for block in self.blocks:
            x = block(x)
        turn = 0.3 * self.last(self.norm(x)).T
        return LONGEST_TURN * torch.tanh(turn / LONGEST_TURN).view(5, 3, 3, frames).movedim(2, 0)

    # -- inference -----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def corrected(
        self,
        target: ShapedHand,
        matrix: SemanticMatrix,
        start: Float[Tensor, "*batch 5 3 3 3"],
        present: Bool[Tensor, "... 21"] | None = None,
        guard: bool = True,
        looked_at: tuple[View, Float[Tensor, "135 n"]] | None = None,
    ) -> Float[Tensor, "*batch 5 3 3 3"]:
        """Poses of the target that mean what the source means, from copies of the source's.

        Args:
            target: its leading dimensions broadcast to those of the poses, ``(...)``.
            matrix: the source's semantic matrix, ``(...)``.
            start: ``(..., 5, 3, 3, 3)`` the source's twist-bend-splay rotations.
            present: joints that both hands have, broadcast to the poses'; None: all.
            guard: no frame gets a lower S_finger than the copy has.
            looked_at: what :meth:`looked_at` gives of the target, if it is known.

        Returns:
            ``(..., 5, 3, 3, 3)`` twist-bend-splay rotations.
        """
        batch, weight = start.shape[:-4], self.last.weight
        poses, matrix = start.flatten(0, -5) if start.ndim > 5 else start.reshape(-1, 5, 3, 3, 3), matrix.flattened()
        if present is not None:
            present = present.expand(*batch, -1).reshape(-1, present.shape[-1])
        frames = torch.arange(len(poses), device=poses.device)
        view, description = looked_at or self.looked_at(target, batch)
        parts = []
        for chunk in frames.split(CHUNK):
            tbs, seen = poses[chunk].to(weight), matrix.at(chunk).map(lambda part: part.to(weight))
            if target.side == "left":
                tbs, seen = mirror_tbs(tbs), mirror_matrix(seen)
            wanted = Wanted.of(seen, None if present is None else present[chunk])
            told = description if description.shape[-1] == 1 else description[:, chunk]
            result = self.correct(view if len(chunk) == len(frames) else view.at(chunk), told, wanted,
                                  frames_last_tbs(tbs), guard)  # fmt: skip
            result = frames_first_tbs(result)
            parts.append(mirror_tbs(result) if target.side == "left" else result)
        return torch.cat(parts).to(start).reshape(start.shape) if parts else start.clone()

    def looked_at(self, target: ShapedHand, batch: torch.Size) -> tuple[View, Float[Tensor, "135 n"]]:
        """How poses ``batch`` of the target are looked at, and its description; one for all where it is one hand."""
        chain = Chain.of(target)
        chain = Chain(*(part.to(self.last.weight) for part in vars(chain).values()))
        lead = torch.broadcast_shapes(target.offsets.shape[:-2], target.axes.shape[:-4])
        if chain.root.shape[-1] > 1 and lead != batch:  # a hand for several poses: as often as it is needed
            number = torch.arange(lead.numel(), device=chain.root.device).view(lead).expand(batch).flatten()
            chain = chain.at(number)
        view: View = ChainView(chain)
        if target.surface is not None:
            hand = target.of_frames(batch, torch.arange(batch.numel(), device=chain.root.device))
            view = SurfaceView(hand)
        return view, chain.description()

    def correct(
        self,
        view: View,
        description: Float[Tensor, "135 n"],
        wanted: Wanted,
        start: Float[Tensor, "3 3 5 3 frames"],
        guard: bool = True,
    ) -> Float[Tensor, "3 3 5 3 frames"]:
        """All passes, with frames last; see :meth:`corrected`."""
        tbs, seen, turns = start, view(start), []
        begin = seen
        for number in range(self.passes):
            turns.append(self(seen, wanted, tbs, description, number))
            tbs = turned(tbs, turns[-1])
            seen = view(tbs)
        if not guard:
            return tbs
        # NaN, which only damaged input brings, is no less good than anything: it stays to be seen.
        worse = (wanted.score(seen) < wanted.score(begin)).nonzero()[:, 0]
        if not len(worse):
            return tbs
        some, few, near = wanted.at(worse), view.at(worse), start[..., worse]

        def pose(share: Float[Tensor, " some"]) -> Float[Tensor, "3 3 5 3 some"]:
            result = near
            for turn in turns:
                result = turned(result, share * turn[..., worse])
            return result

        shares = guarded_shares(lambda share: some.score(few(pose(share))), len(worse), like=tbs)
        tbs = tbs.clone()
        tbs[..., worse] = pose(shares)
        return tbs

    def retargeted(self, shaped: ShapedHand, target: Hands, source: Source) -> PosedHand:
        """The hands ``shaped`` of ``target`` in poses that mean what the source means, ``(batch, time, …)``."""
        shared = source.shared_with(target)
        return shaped.with_tbs(self.corrected(shaped, shared.semantic_matrix, source.tbs, shared.present))

    def on(self, target: ShapedHand, present: Bool[Tensor, "21"] | None = None) -> FeedbackPosing:
        """Ready to pose one hand for motions of any length and rate."""
        return FeedbackPosing(self.eval(), target, present)


def feedback_network(hyper_parameters: Mapping[str, Any]) -> FeedbackNetwork:
    """The network without weights, built as that of a checkpoint."""
    return FeedbackNetwork(**taken_by(FeedbackNetwork, hyper_parameters))


@dataclass(frozen=True)
class FeedbackPosing:
    """A feedback network for one hand, without leading dimensions; ``present``: joints that it shares with sources."""

    network: FeedbackNetwork
    target: ShapedHand
    present: Bool[Tensor, "21"] | None = None

    @torch.inference_mode()
    def tbs(
        self, source: ShapedHand, local: Float[Tensor, "frames 5 3 3 3"], frame_rate: float = 0.0
    ) -> Float[Tensor, "frames 5 3 3 3"]:
        """As :meth:`model.streaming.StreamingNetwork.tbs`; frames are independent of each other and of the rate."""
        if source.side != self.target.side:
            raise ValueError(f"source and target must be of one side; got {source.side} and {self.target.side}")
        present = None if self.present is None or bool(self.present.all()) else self.present
        tbs = tbs_from_local(local, source.axes, source.rest)
        posed = source.with_local_rotations(local)
        return self.network.corrected(self.target, posed.semantic_matrix(), tbs, present, looked_at=self._looked_at)

    @cached_property
    def _looked_at(self) -> tuple[View, Float[Tensor, "135 n"]]:
        """The one hand, looked at once for all motions."""
        return self.network.looked_at(self.target, torch.Size())
