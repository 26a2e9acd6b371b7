"""Networks of short windows on motions of any length and frame rate.

The networks were trained on windows of 8 frames at 5 frames/s. A motion is looked at on a grid of times, a few grids
of 5 frames/s one between the other; on each of them windows overlap by half, and a grid time's two predictions are
blended with smooth weights. What a network adds to the source's own twist-bend-splay rotations, the *correction*
``S_srcᵀ S_net``, changes slowly. So the correction alone is filtered over time and read off at the frames' own
times, and then put on the source's rotations: the result keeps the source's timing, at its own rate, without steps
where windows end. The work does not grow with the frame rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, pi
from types import SimpleNamespace
from typing import Protocol, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from model.batch import Hands, Source, static_features
from model.feedback.network import FeedbackNetwork
from model.hands import PosedHand, ShapedHand
from model.mirror import mirror_axes, mirror_matrix, mirror_points, mirror_tbs
from model.network import RetargetingNetwork, TrainedNetwork
from model.reconstruction import OneWindow, ReconstructionNet
from model.rotations import orthonormal, rotation_from_rows
from model.semantics import SemanticMatrix
from model.topology import BONES_PER_FINGER, DOMAINS, N_FINGERS
from utils.errors import InputError

WINDOW = 8
"""Frames of a window the networks were trained with."""
RATE = 5.0
"""Frames per second of these windows."""
PHASES = 3
"""Grids laid one between the other, at most: 15 looks a second at the motion."""
SIGMA = 0.08
"""Seconds: width of the Gaussian that filters corrections; touches last longer."""
MOST_TIMES = 100_000
"""Grid times of a motion with fewer frames than that; a gigabyte."""
_WIDE = 0.75
"""Width of that Gaussian, at least, in steps of the grid: it must reach over the gaps between them."""
_REACH = 6.0
_HALF = WINDOW // 2
_CHUNK = 64
"""Windows that go through a network at once."""


@dataclass(frozen=True)
class TimeGrid:
    """Times at which a motion is looked at, ``k / rate`` for k = 0 … count − 1."""

    frames: int
    frame_rate: float
    phases: int

    @staticmethod
    def of(frames: int, frame_rate: float, phases: int = PHASES) -> TimeGrid:
        """The grid of a motion of ``frames`` frames at ``frame_rate`` frames/s.

        A grid is no denser than the frames.

        Raises:
            InputError: the motion would last for hours.
        """
        if frames < 1 or not frame_rate > 0:
            raise ValueError(f"a motion needs frames and a frame rate; got {frames} at {frame_rate}")
        grid = TimeGrid(frames, frame_rate, max(1, min(phases, ceil(frame_rate / RATE - 1e-6))))
        if grid.count > max(frames, MOST_TIMES):
            hours = (frames - 1) / frame_rate / 3600
            raise InputError(
                f"expected a motion of less than {MOST_TIMES / RATE / 3600:.2g} hours, found {frames} frames at "
                f"{frame_rate:g} per second ({hours:.3g} hours); give its true rate with `fps`, or cut it"
            )
        return grid

    @property
    def rate(self) -> float:
        """Grid times per second."""
        return self.phases * RATE

    @property
    def count(self) -> int:
        """Number of grid times; the last one is at or behind the last frame."""
        return 1 + ceil((self.frames - 1) / self.frame_rate * self.rate - 1e-6)

    @property
    def on_frames(self) -> bool:
        """Every frame is a grid time, and every grid time a frame."""
        return abs(self.frame_rate - self.rate) < 1e-6 * self.rate

    def frames_at(self) -> tuple[Int[Tensor, " count"], Int[Tensor, " count"], Float[Tensor, " count"]]:
        """For each grid time the frames before and after it, ``(count,)`` numbers, and the share of the later one."""
        place = torch.arange(self.count, dtype=torch.float64) * (self.frame_rate / self.rate)
        place = place.clamp(max=self.frames - 1)
        before = (place + 1e-6).floor().long()
        share = (place - before).clamp(min=0)
        return before, (before + 1).clamp(max=self.frames - 1), torch.where(share < 1e-6, 0.0, share)

    def sample(self, rotations: Float[Tensor, "frames *any 3 3"]) -> Float[Tensor, "count *any 3 3"]:
        """Rotations ``(frames, ..., 3, 3)`` at the grid times, ``(count, ..., 3, 3)``."""
        before, after, share = self.frames_at()
        earlier = rotations[before]
        if not share.any():
            return earlier
        share = share.to(rotations).view(-1, *[1] * (rotations.ndim - 1))
        return orthonormal(torch.lerp(earlier, rotations[after], share))

    def spread(self, values: Float[Tensor, " count *any"]) -> Float[Tensor, " frames *any"]:
        """Values ``(count, ...)`` at the grid times, filtered, at the times of the frames, ``(frames, ...)``."""
        if self.frames == 1:
            return values
        step = 1 / self.rate
        sigma = SIGMA if self.on_frames else max(SIGMA, _WIDE * step)
        place = torch.arange(self.frames, dtype=torch.float64) * (self.rate / self.frame_rate)
        nearest = place.round().long()
        total = weights = values.new_zeros(())
        for shift in range(-ceil(_REACH * sigma / step), ceil(_REACH * sigma / step) + 1):
            neighbour = nearest + shift
            weight = torch.exp(-0.5 * ((place - neighbour) * step / sigma).square())
            weight = torch.where((neighbour >= 0) & (neighbour < self.count), weight, 0.0).to(values)
            weight = weight.view(-1, *[1] * (values.ndim - 1))
            total = total + weight * values[neighbour.clamp(0, self.count - 1)]
            weights = weights + weight
        return total / weights


@dataclass(frozen=True)
class Windows:
    """Windows over a time grid, and where each grid time lies in them."""

    times: Int[Tensor, "windows 8"]
    """``(n, 8)`` grid times of the windows; beyond the ends the first and the last one are held."""
    first: Int[Tensor, "count 2"]
    """``(count, 2)`` window and place of each grid time in the window that it lies in the second half of."""
    second: Int[Tensor, "count 2"]
    """``(count, 2)`` the same in the window that it lies in the first half of."""
    weight: Float[Tensor, " count"]
    """``(count,)`` share of `first` in the blend."""

    @staticmethod
    def over(grid: TimeGrid) -> Windows:
        """Windows at 5 frames/s that overlap by half, in every phase of ``grid``."""
        time = torch.arange(grid.count)
        phase, place = time % grid.phases, time // grid.phases
        phases = min(grid.phases, grid.count)
        lengths = (grid.count - torch.arange(phases) + grid.phases - 1) // grid.phases
        counts = (lengths - 1) // _HALF + 2
        starts = counts.cumsum(0) - counts
        number = torch.arange(int(counts.sum()))
        own_phase = torch.repeat_interleave(torch.arange(phases), counts)
        begin = (number - starts[own_phase] - 1) * _HALF
        times = own_phase[:, None] + grid.phases * (begin[:, None] + torch.arange(WINDOW))
        last = own_phase + grid.phases * (lengths[own_phase] - 1)
        times = torch.minimum(torch.maximum(times, own_phase[:, None]), last[:, None])
        window, within = starts[phase] + place // _HALF, place % _HALF
        angle = (within + _HALF + 0.5) * (pi / WINDOW)
        return Windows(
            times,
            torch.stack([window, within + _HALF], dim=1),
            torch.stack([window + 1, within], dim=1),
            angle.sin().square(),
        )

    def blend(self, rotations: Float[Tensor, "windows 8 *any 3 3"]) -> Float[Tensor, "count *any 3 3"]:
        """Predictions ``(n, 8, ..., 3, 3)`` of the windows blended into one a grid time, ``(count, ..., 3, 3)``."""
        first, second = (rotations[place[:, 0], place[:, 1]] for place in (self.first, self.second))
        weight = self.weight.to(rotations).view(-1, *[1] * (first.ndim - 1))
        return orthonormal(torch.lerp(second, first, weight))


def _window(domain: str, **parts: Tensor | SemanticMatrix | None) -> Hands:
    """What the networks are shown, and nothing else of :class:`model.batch.Hands`: a source, or a target at rest.

    All joints are present: what a hand lacks is filled in, because networks learn from complete hands.
    """
    nothing = dict.fromkeys(("side", "axes_t", "local_rotations", "tbs", "semantic_matrix", "present"))
    return cast(Hands, SimpleNamespace(domain=domain, **{**nothing, **parts}))


class MotionNetwork(Protocol):
    """A network, ready to pose one hand for motions of any length and frame rate."""

    def tbs(
        self, source: ShapedHand, local: Float[Tensor, "frames 5 3 3 3"], frame_rate: float
    ) -> Float[Tensor, "frames 5 3 3 3"]:
        """Poses of the target that mean what the source does, see :meth:`StreamingNetwork.tbs`."""
        ...


def streamed(
    network: TrainedNetwork,
    target: ShapedHand,
    shape: Float[Tensor, "10"] | None = None,
    present: Bool[Tensor, "21"] | None = None,
) -> MotionNetwork:
    """Any network, ready to pose one hand.

    Args:
        network: trained.
        target: the hand, without leading dimensions; a MANO hand with its shape.
        shape: ``(10,)`` of a MANO hand; None for a character's.
        present: joints that both hands have; None: all.
    """
    if isinstance(network, FeedbackNetwork):
        return network.on(target, present)
    return StreamingNetwork(cast(RetargetingNetwork, network), target, shape)


class StreamingNetwork:
    """A network, ready to pose one hand for motions of any length and frame rate.

    A network of right hands poses left ones by way of their mirror images, and the other way round.

    Args:
        network: ASRN or DM.
        target: the hand to pose, without leading dimensions; a MANO hand with its shape.
        shape: ``(10,)`` of a MANO hand; None for a character's.
        phases: grids of 5 frames/s laid one between the other.
    """

    def __init__(
        self,
        network: RetargetingNetwork,
        target: ShapedHand,
        shape: Float[Tensor, "10"] | None = None,
        phases: int = PHASES,
    ) -> None:
        self.network, self.target, self.phases = network.eval(), target, phases
        self.mirrored = target.side != network.side
        offsets, axes = target.offsets, target.axes
        if self.mirrored:
            offsets, axes = mirror_points(offsets), mirror_axes(axes)
        domain = "mixamo" if shape is None else "mano"
        rest = _window(domain, axes_t=axes.transpose(-1, -2)[None, None], offsets=offsets[None, None])
        self._shape = None if shape is None else shape[None, None]
        self._net = cast(ReconstructionNet, network.recon_nets[DOMAINS.index(domain)])
        with torch.inference_mode():
            # What the network knows of the hand stays the same for all its motions.
            self._codes = [block(static_features(rest)) for block in self._net.static_blocks]
            plain = not any(isinstance(part, nn.BatchNorm1d | nn.InstanceNorm1d) for part in self._net.modules())
            self._one = OneWindow(self._net, self._codes, WINDOW) if plain else None

    @torch.inference_mode()
    def tbs(
        self, source: ShapedHand, local: Float[Tensor, "frames 5 3 3 3"], frame_rate: float
    ) -> Float[Tensor, "frames 5 3 3 3"]:
        """Poses of the target that mean what the source does.

        Args:
            source: the hand that moves, of the target's side, without leading dimensions.
            local: ``(frames, 5, 3, 3, 3)`` its local rotations.
            frame_rate: frames/s.

        Returns:
            ``(frames, 5, 3, 3, 3)`` twist-bend-splay rotations.
        """
        if source.side != self.target.side:
            raise ValueError(f"source and target must be of one side; got {source.side} and {self.target.side}")
        grid = TimeGrid.of(len(local), frame_rate, self.phases)
        looked_at = source.with_local_rotations(grid.sample(local))
        correction = looked_at.tbs.transpose(-1, -2) @ self._predicted(looked_at, grid)
        rows = grid.spread(correction[..., :2, :].flatten(-2))
        own = looked_at.tbs if grid.on_frames else source.with_local_rotations(local).tbs
        return own @ rotation_from_rows(rows)

    def _predicted(self, posed: PosedHand, grid: TimeGrid) -> Float[Tensor, "count 5 3 3 3"]:
        """The network's own rotations ``(count, 5, 3, 3, 3)`` at the grid times."""
        matrix = posed.semantic_matrix()
        if self.mirrored:
            matrix = mirror_matrix(matrix)
        if grid.count == 1:  # one frame alone: one window that holds it, and its middle
            tbs = self._network(matrix.map(lambda part: part.expand(WINDOW, *part.shape[1:])[None]))[0, _HALF:][:1]
        else:
            windows = Windows.over(grid)
            parts = [self._network(matrix.at(times)) for times in windows.times.split(_CHUNK)]
            tbs = windows.blend(torch.cat(parts))
        return mirror_tbs(tbs) if self.mirrored else tbs

    def _network(self, matrix: SemanticMatrix) -> Float[Tensor, "windows 8 5 3 3 3"]:
        """Rotations ``(n, 8, 5, 3, 3, 3)`` for windows ``(n, 8, …)`` of the semantic matrix."""
        source = Source(_window("source", semantic_matrix=matrix))
        inputs = self.network.network_input(source)
        if self._shape is not None:
            inputs = torch.cat([inputs, self._shape.expand(*inputs.shape[:2], -1)], dim=-1)
        if len(inputs) == 1 and self._one is not None:
            output = self._one(inputs[0])[None]
        else:
            output = self._net.with_codes(inputs, [code.expand(len(inputs), -1) for code in self._codes])
        return self.network.decode(output.unflatten(-1, (N_FINGERS, BONES_PER_FINGER, -1)))
