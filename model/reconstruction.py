"""The reconstruction network: a semantic matrix and a hand's proportions in, its pose out (mathematics §6).

Residual 1-D convolutions over time. Each layer sees, beside its input, a code of the target hand made from its
static features. Parameters carry the published names, both of them where two were published (``conv1``/``net.0``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2
MOST_CHANNELS, MOST_LAYERS = 4096, 64
"""What a network may have; 16 times as many as the published ones."""
NORMS = {"none": nn.Identity, "batch": nn.BatchNorm1d, "instance": nn.InstanceNorm1d}


def _norm(kind: str, channels: int) -> nn.Module:
    if kind not in NORMS:
        raise ValueError(f"`norm_type` must be one of {tuple(NORMS)}; got {kind!r}")
    if kind == "instance":
        return nn.InstanceNorm1d(channels, affine=True)
    return NORMS[kind](channels)


class StaticBlock(nn.Module):
    """Codes static features: ``n_layers`` times Conv1d(k=1) → norm → leaky ReLU."""

    def __init__(self, in_channels: int, channels: int, n_layers: int, norm_type: str) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for layer in range(n_layers):
            conv = nn.Conv1d(in_channels if layer == 0 else channels, channels, 1)
            # The fourth place was a dropout of probability zero; it keeps the published numbering.
            # A code of one frame has no deviation over time, so it cannot be instance-normalised.
            norm = _norm("none" if norm_type == "instance" else norm_type, channels)
            layers += [conv, norm, nn.LeakyReLU(SLOPE), nn.Identity()]
        self.net = nn.Sequential(*layers)

    def forward(self, static: Float[Tensor, "batch in_channels"]) -> Float[Tensor, "batch channels"]:
        """Code ``(B, channels)`` of static features ``(B, in_channels)``."""
        return self.net(static.unsqueeze(-1)).squeeze(-1)


class ResidualBlock(nn.Module):
    """Twice conv → norm → leaky ReLU, plus a shortcut, over moving channels and a code constant in time."""

    def __init__(self, moving: int, static: int, channels: int, kernel_size: int, norm_type: str) -> None:
        super().__init__()
        self.moving, self.static, self.kernel_size = moving, static, kernel_size
        # Beside a wide input, taking the weights apart costs more than the products that it saves.
        self.fold = 4 * static >= moving
        self.conv1 = nn.Conv1d(moving + static, channels, kernel_size, padding=kernel_size // 2)
        self.conv2 = nn.Conv1d(channels, channels, kernel_size, padding=kernel_size // 2)
        self.net = nn.Sequential(
            self.conv1,
            _norm(norm_type, channels),
            nn.LeakyReLU(SLOPE),
            nn.Identity(),
            self.conv2,
            _norm(norm_type, channels),
            nn.LeakyReLU(SLOPE),
        )
        self.resample = nn.Conv1d(moving + static, channels, 1) if moving + static != channels else None

    def forward(
        self, x: Float[Tensor, "batch moving time"], code: Float[Tensor, "batch static"]
    ) -> Float[Tensor, "batch channels time"]:
        """``x (B, moving, T)`` and ``code (B, static)`` to ``(B, channels, T)``."""
        first, shortcut = self._folded(x, code) if self.fold else self._plain(x, code)
        for layer in list(self.net)[1:]:
            first = layer(first)
        return first + shortcut

    def _plain(
        self, x: Float[Tensor, "batch moving time"], code: Float[Tensor, "batch static"]
    ) -> tuple[Float[Tensor, "batch channels time"], Float[Tensor, "batch channels time"]]:
        """``conv1`` and the shortcut of x and the code repeated over time."""
        both = torch.cat([x, code.unsqueeze(-1).expand(-1, -1, x.shape[-1])], dim=1)
        return self.conv1(both), both if self.resample is None else self.resample(both)

    def _folded(
        self, x: Float[Tensor, "batch moving time"], code: Float[Tensor, "batch static"]
    ) -> tuple[Float[Tensor, "batch channels time"], Float[Tensor, "batch channels time"]]:
        """The same without repeating the code.

        It is the same in every frame, so its share of a convolution is one product per kernel tap; only at the ends of
        the window do fewer taps meet it.
        """
        time, padding, widths = x.shape[-1], self.kernel_size // 2, [self.moving, self.static]
        moving, static = self.conv1.weight.split(widths, dim=1)
        taps = torch.einsum("bs,osk->bok", code, static)
        inside = F.pad(x.new_ones(time), [padding] * 2).unfold(-1, self.kernel_size, 1)
        constant = torch.einsum("bok,tk->bot", taps, inside)
        first = F.conv1d(x, moving, self.conv1.bias, padding=padding) + constant
        if self.resample is None:
            return first, torch.cat([x, code.unsqueeze(-1).expand(-1, -1, time)], dim=1)
        moving, static = self.resample.weight.split(widths, dim=1)
        return first, F.conv1d(x, moving, self.resample.bias) + (code @ static[..., 0].T).unsqueeze(-1)


class ReconstructionNet(nn.Module):
    """Pose of a target hand from a semantic (or distance) matrix.

    Args:
        in_channels: moving channels, the flattened matrix (and MANO's shape).
        static_channels: static channels, the target hand's proportions and axes.
        out_channels: 15 joints times the numbers of one rotation.
        hidden_channel: width of the moving path.
        static_hidden_channel: width of the static code.
        kernel_size: of the convolutions over time; odd.
        n_layers: residual blocks.
        n_static_layers: convolutions of each static block.
        norm_type: ``"none"``, ``"batch"`` or ``"instance"``.
    """

    def __init__(
        self,
        in_channels: int,
        static_channels: int,
        out_channels: int,
        hidden_channel: int = 256,
        static_hidden_channel: int = 128,
        kernel_size: int = 3,
        n_layers: int = 4,
        n_static_layers: int = 2,
        norm_type: str = "none",
    ) -> None:
        super().__init__()
        for name, value, most in (
            ("hidden_channel", hidden_channel, MOST_CHANNELS),
            ("static_hidden_channel", static_hidden_channel, MOST_CHANNELS),
            ("kernel_size", kernel_size, MOST_LAYERS),
            ("n_layers", n_layers, MOST_LAYERS),
            ("n_static_layers", n_static_layers, MOST_LAYERS),
        ):
            if not isinstance(value, int) or not 1 <= value <= most:
                raise ValueError(f"`{name}` must be a whole number from 1 to {most}; got {value!r:.60}")
        if kernel_size % 2 == 0:
            raise ValueError(f"`kernel_size` must be odd, so that windows keep their length; got {kernel_size}")
        widths = [in_channels, *[hidden_channel] * (n_layers - 1), out_channels]
        self.res_blocks = nn.ModuleList(
            ResidualBlock(width, static_hidden_channel, following, kernel_size, norm_type)
            for width, following in zip(widths[:-1], widths[1:], strict=True)
        )
        self.static_blocks = nn.ModuleList(
            StaticBlock(static_channels, static_hidden_channel, n_static_layers, norm_type) for _ in range(n_layers)
        )

    def forward(
        self, x: Float[Tensor, "batch time in_channels"], static: Float[Tensor, "batch static_channels"]
    ) -> Float[Tensor, "batch time out_channels"]:
        """``x (B, T, in_channels)`` and ``static (B, static_channels)`` to ``(B, T, out_channels)``."""
        return self.with_codes(x, [block(static) for block in self.static_blocks])

    def with_codes(
        self, x: Float[Tensor, "batch time in_channels"], codes: Sequence[Float[Tensor, "batch code"]]
    ) -> Float[Tensor, "batch time out_channels"]:
        """The same for static features that are coded already: ``codes`` are the results of `static_blocks`."""
        x = x.transpose(1, 2)
        for block, code in zip(self.res_blocks, codes, strict=True):
            x = F.leaky_relu(block(x, code), SLOPE)  # after the last layer too
        return x.transpose(1, 2)


class OneWindow:
    """A network laid out for one window at a time, of a hand whose code is known.

    Convolutions over one short window cost more in getting ready than in products; here each is one product with
    weights in the order in which a window's neighbouring frames lie in memory. Only without normalisation.

    Args:
        net: the network.
        codes: ``(1, static channels)`` for each block, see :meth:`ReconstructionNet.with_codes`.
        time: frames of the window.
    """

    def __init__(self, net: ReconstructionNet, codes: Sequence[Float[Tensor, "1 code"]], time: int) -> None:
        blocks = cast(Sequence[ResidualBlock], net.res_blocks)
        self._layers = [_LaidOut(block, code, time) for block, code in zip(blocks, codes, strict=True)]

    def __call__(self, x: Float[Tensor, "time in_channels"]) -> Float[Tensor, "time out_channels"]:
        """``x (T, in_channels)`` to ``(T, out_channels)``."""
        for layer in self._layers:
            x = layer(x)
        return x


class _LaidOut:
    """One block of :class:`OneWindow`."""

    def __init__(self, block: ResidualBlock, code: Float[Tensor, "1 static"], time: int) -> None:
        moving, kernel = block.moving, block.kernel_size
        self.padding, self.kernel = kernel // 2, kernel
        first, second = block.conv1.weight, block.conv2
        self.first, self.second = _rows(first[:, :moving]), _rows(second.weight)
        self.second_bias = second.bias
        still = code.expand(1, -1).unsqueeze(-1).expand(-1, -1, time)
        self.constant = F.conv1d(still, first[:, moving:], block.conv1.bias, padding=self.padding)[0].T.contiguous()
        if block.resample is None:
            identity = torch.eye(moving + block.static, dtype=first.dtype, device=first.device)
            self.shortcut, bias = identity[:, :moving], still[0].T @ identity[:, moving:].T
        else:
            weight = block.resample.weight[..., 0]
            self.shortcut = weight[:, :moving].contiguous()
            bias = F.linear(still[0].T, weight[:, moving:], block.resample.bias)
        self.shortcut_constant = bias.contiguous()

    def __call__(self, x: Float[Tensor, "time moving"]) -> Float[Tensor, "time channels"]:
        y = F.leaky_relu(F.linear(self._neighbours(x), self.first) + self.constant, SLOPE)
        y = F.leaky_relu(F.linear(self._neighbours(y), self.second, self.second_bias), SLOPE)
        return F.leaky_relu(y + F.linear(x, self.shortcut) + self.shortcut_constant, SLOPE)

    def _neighbours(self, x: Float[Tensor, "time channels"]) -> Float[Tensor, "time wide"]:
        """Each frame with those around it, ``(T, kernel * channels)``; zero beyond the ends."""
        padded = F.pad(x, (0, 0, self.padding, self.padding))
        return torch.cat([padded[tap : tap + len(x)] for tap in range(self.kernel)], dim=-1)


def _rows(weight: Float[Tensor, "out channels kernel"]) -> Float[Tensor, "out kernel*channels"]:
    """``(out, in, kernel)`` as ``(out, kernel * in)``."""
    return weight.permute(0, 2, 1).flatten(1).contiguous()
