"""The networks of a method, as inference needs them: what they are shown of a source, and the poses they put out.

Nothing here trains; :class:`model.retargeting.Retargeting` adds losses and optimisers to the same parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float
from pytorch3d.transforms import quaternion_to_matrix
from torch import Tensor, nn

from model.batch import HandModels, Hands, ManoHands, Source, static_features
from model.hands import PosedHand, ShapedHand
from model.mano import ManoHand
from model.precision import FewBits
from model.reconstruction import ReconstructionNet
from model.rotations import rotation_from_rows, unit_or_zero
from model.topology import DOMAINS, N_ANCHORS, N_FINGER_JOINTS, N_FINGERS, N_JOINTS, N_SHAPE
from utils.parameters import init_parameters

REPRESENTATIONS = {"ortho6d": 6, "quaternion": 4}
STATIC_CHANNELS = {"mixamo": 3 * N_JOINTS + 180, "mano": 180}


@runtime_checkable
class NetworkInput(Protocol):
    """What networks see of a source."""

    channels: ClassVar[int]
    """How many numbers a frame has."""

    def __call__(self, source: Source) -> Float[Tensor, "batch time channels"]:
        """These numbers, ``(batch, time, channels)``."""
        ...


@dataclass(frozen=True)
class SemanticInput:
    """What ASRN is shown: the semantic matrix (mathematics §6).

    Args:
        tbs_input_normalization: show the networks directions only, without distances.
    """

    channels: ClassVar[int] = 3 * N_FINGER_JOINTS * (N_FINGER_JOINTS + N_ANCHORS)
    tbs_input_normalization: bool = True

    def __call__(self, source: Source) -> Float[Tensor, "batch time 1740"]:
        """``(batch, time, 1740)``: finger coordinates, then palm coordinates."""
        matrix = source.semantic_matrix
        if self.tbs_input_normalization:
            matrix = matrix.map(unit_or_zero)
        return torch.cat([part.flatten(2) for part in matrix], dim=-1)


@dataclass(frozen=True)
class DistanceInput:
    """What DM is shown: distances between finger joints (mathematics §6)."""

    channels: ClassVar[int] = N_FINGER_JOINTS**2

    def __call__(self, source: Source) -> Float[Tensor, "batch time 400"]:
        """The distance matrix ``(batch, time, 400)``."""
        return source.distances.flatten(2)


class TrainedNetwork(Protocol):
    """What every network can do once it is trained."""

    both_sides: bool
    """Whether it poses right and left hands."""
    side: str
    """Of the hands that it was trained with."""
    hand_models: HandModels
    method: str
    """Its name in :data:`model.methods.METHODS`."""

    def retargeted(self, shaped: ShapedHand, target: Hands, source: Source) -> PosedHand:
        """The hands ``shaped`` of ``target`` in poses that mean what the source means, ``(batch, time, …)``."""
        ...


class RetargetingNetwork(FewBits):
    """Two reconstruction networks, one that poses Mixamo hands and one that poses MANO hands.

    Args:
        network_input: what the networks see of a source.
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
    """

    both_sides = False

    def __init__(
        self,
        network_input: NetworkInput,
        /,
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
    ) -> None:
        super().__init__()
        if pose_repr not in REPRESENTATIONS:
            raise ValueError(f"`pose_repr` must be one of {tuple(REPRESENTATIONS)}; got {pose_repr!r}")
        self.network_input = network_input
        self.side = "right" if is_rhand else "left"
        self.pose_repr = pose_repr
        self.recon_nets = nn.ModuleList(
            ReconstructionNet(
                network_input.channels + (N_SHAPE if domain == "mano" else 0),
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

    def mano_hand(self, like: Tensor) -> ManoHand:
        """The MANO hand on the device and in the type of ``like``, see :class:`model.batch.HandModels`."""
        return self.hand_models.mano_hand(like)

    def shaped_hand(self, hands: Hands) -> ShapedHand:
        """The proportions of the hands of one group, without their poses."""
        return self.hand_models.shaped_hand(hands)

    def decode(self, output: Float[Tensor, "*batch numbers"]) -> Float[Tensor, "*batch 3 3"]:
        """Rotations ``(..., 5, 3, 3, 3)`` from network outputs ``(..., 5, 3, 6 | 4)``."""
        return rotation_from_rows(output) if self.pose_repr == "ortho6d" else quaternion_to_matrix(output)

    def forward(self, target: Hands, *sources: Source) -> list[Float[Tensor, "batch time 5 3 numbers"]]:
        """Poses that give the meaning of ``sources`` to the hands of ``target``, as raw network outputs.

        All sources go through the target's network at once.

        Returns:
            For each source ``(batch, time, 5, 3, 6 | 4)`` twist-bend-splay rotations as 6-vectors (the first two rows)
            or quaternions.
        """
        net = self.recon_nets[DOMAINS.index(target.domain)]
        inputs = torch.cat([source.network_input(self.network_input) for source in sources])
        if target.domain == "mano":
            betas = cast(ManoHands, target).shape.transpose(1, 2)
            inputs = torch.cat([inputs, betas.repeat(len(sources), 1, 1)], dim=1)
        static = static_features(target).repeat(len(sources), 1)
        output = self.in_few_bits(net, inputs.transpose(1, 2), static)
        return list(output.unflatten(-1, (N_FINGERS, 3, -1)).chunk(len(sources)))

    def retarget(self, target: Hands, source: Hands) -> PosedHand:
        """The hands of ``target`` in poses that mean what ``source`` means, ``(batch, time, …)``."""
        return self.retargeted(self.shaped_hand(target), target, Source(source))

    def retargeted(self, shaped: ShapedHand, target: Hands, source: Source) -> PosedHand:
        """The same for hands that are shaped already."""
        (output,) = self(target, source)
        return shaped.with_tbs(self.decode(output))


def semantic_network(hyper_parameters: Mapping[str, Any]) -> RetargetingNetwork:
    """ASRN's networks without weights, see :func:`network_of`."""
    return network_of(SemanticInput, hyper_parameters)


def distance_network(hyper_parameters: Mapping[str, Any]) -> RetargetingNetwork:
    """DM's networks without weights, see :func:`network_of`."""
    return network_of(DistanceInput, hyper_parameters)


def network_of(network_input: Callable[..., NetworkInput], hyper_parameters: Mapping[str, Any]) -> RetargetingNetwork:
    """Networks without weights, built as those of a checkpoint; hyper-parameters that are no part of them are ignored.

    Args:
        network_input: makes what they are shown.
        hyper_parameters: by name, see :class:`RetargetingNetwork` and ``network_input``.
    """
    shown = network_input(**taken_by(network_input, hyper_parameters))
    return RetargetingNetwork(shown, **taken_by(RetargetingNetwork, hyper_parameters))


def taken_by(maker: Callable[..., Any], hyper_parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the hyper-parameters that ``maker`` takes."""
    return {name: hyper_parameters[name] for name in init_parameters(cast(type, maker)) if name in hyper_parameters}
