"""The one list of methods. A new one is an entry of :data:`METHODS` and its code; every command, table, picture and
page takes it from here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

from model.hands import PosedHand, ShapedHand
from model.network import DistanceInput, NetworkInput, SemanticInput
from model.optimizer import CONTACT_WEIGHT, SMOOTHNESS, OptimizerSettings, optimise
from model.semantics import SemanticMatrix
from model.touch import TouchGoals


@runtime_checkable
class Motion(Protocol):
    """What a method is given of the hand that moves, in any number of poses ``(...)``."""

    @property
    def local(self) -> Float[Tensor, "... 5 3 3 3"]:
        """``(..., 5, 3, 3, 3)`` local rotations."""
        ...

    @property
    def tbs(self) -> Float[Tensor, "... 5 3 3 3"]:
        """``(..., 5, 3, 3, 3)`` twist-bend-splay rotations."""
        ...

    @property
    def semantic_matrix(self) -> SemanticMatrix:
        """``(..., 20, 20 | 9, 3)``."""
        ...


@dataclass(frozen=True)
class Task:
    """What a method is asked to do."""

    target: ShapedHand
    """The hand that shall mean the same; its leading dimensions fit those of the motion."""
    source: Motion
    present: Bool[Tensor, "... 21"] | None = None
    """``(21,)`` or ``(batch, time or 1, 21)`` bool, joints that both hands have; None: all."""
    frame_rate: float | None = None
    """Of frames ``(F,)`` that follow each other: the result is to be as smooth, and soon there. None: the windows of a
    table, of which each frame is to be as good as the method can make it."""
    iterations: int = OptimizerSettings.iterations
    """Steps of a search, at most, where there is a frame rate."""
    touches: TouchGoals | None = None
    """The source's touches by flesh, for methods that close touches; None: fingertips' joints stand for them."""


@dataclass(frozen=True)
class Method:
    """A way of retargeting: either ``pose`` or ``network`` does it.

    Attributes:
        name: on command lines and in files.
        title: in tables and pictures.
        kind: "copy", "network" (needs a checkpoint) or "optimizer" (solves every frame, which takes a while).
        color: of its hands and dots, ``#RRGGBB``.
        pose: the hand of a :class:`Task` in the source's poses ``(...)``.
        network: class path of a :class:`model.retargeting.Retargeting`, which trains; text, for nothing but training
            needs Lightning.
        network_input: what makes, of a checkpoint's hyper-parameters, what the network is shown.
        mark: a hyper-parameter that no other network has; by it a checkpoint is known.
        watched: the validation term ``val/<domain>_semi_<watched>`` that the best checkpoints are chosen by.
        short: the title where there is little room.
        reach: frames on either side (at 15 a second) that the result of a frame depends on: windows and filters of
            networks reach no further, and what the optimiser smooths over time fades before.
        aliases: other names that command lines take.
    """

    name: str
    title: str
    kind: str
    color: str
    pose: Callable[[Task], PosedHand] | None = None
    network: str = ""
    network_input: Callable[..., NetworkInput] | None = None
    mark: str = ""
    watched: str = ""
    short: str = ""
    reach: int = 0
    aliases: tuple[str, ...] = field(default=())

    def posed(self, task: Task) -> PosedHand:
        """What ``pose`` makes of a task. Raises ValueError for a network, which needs a checkpoint."""
        if self.pose is None:
            raise ValueError(f"{self.name} is a network; pose hands by a checkpoint of it")
        return self.pose(task)

    @property
    def network_class(self) -> type:
        """The class of the network."""
        module, _, name = self.network.rpartition(".")
        return getattr(import_module(module), name)


def optimised(task: Task, contact_weight: float = 0.0, start: Float[Tensor, "... 5 3 3 3"] | None = None) -> PosedHand:
    """The optimiser's poses, from a copy of the source's twist-bend-splay rotations or from others."""
    begin = task.source.tbs if start is None else start
    if task.frame_rate is None:
        settings = OptimizerSettings.converged(contact_weight=contact_weight)
    else:
        settings = OptimizerSettings(
            iterations=task.iterations,
            contact_weight=contact_weight,
            smoothness=SMOOTHNESS if len(begin) > 1 else 0.0,
            frame_rate=task.frame_rate,
            keep_start=True,  # what the source does beyond usual limits, it does on purpose
        )
    touches = task.touches if contact_weight else None
    return optimise(task.target, task.source.semantic_matrix, begin, settings, task.present, touches)


# Colours: results of the published network carry the published salmon; the others are muted, of different lightness,
# and stay apart for colour-blind readers.
METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("rotation_copy", "Rotation copy", "copy", "#8FB8DE",
               lambda task: task.target.with_local_rotations(task.source.local)),
        Method("tbs_copy", "Twist-bend-splay copy", "copy", "#82C4B0",
               lambda task: task.target.with_tbs(task.source.tbs), short="T-B-S copy"),
        Method("dm", "DM", "network", "#E9C46A", network="model.dm.DM", network_input=DistanceInput,
               mark="lambda_dm", watched="dm_err", reach=36),
        Method("asrn", "ASRN", "network", "#FA7F6F", network="model.asrn.ASRN", network_input=SemanticInput,
               mark="lambda_rf", watched="rf_dir_err", reach=36),
        Method("optimizer", "Optimiser", "optimizer", "#B7A3D6", optimised, reach=12),
        Method("optimizer_contacts", "Optimiser, contacts", "optimizer", "#8E78BF",
               lambda task: optimised(task, CONTACT_WEIGHT), short="Opt. contacts", reach=12, aliases=("optimize",)),
    )
}  # fmt: skip
"""By name, in the order of tables."""
MAIN = "asrn"
"""The published method: what a command uses unless another is named."""
COPY, OPTIMUM = "tbs_copy", "optimizer"
"""Between which ``gap closed`` runs from 0 to 1."""
CLOSING = "optimizer_contacts"
"""The optimiser that also closes the touches of the source."""


def named(name: str) -> Method:
    """The method of a name or an alias. Raises KeyError."""
    if name in METHODS:
        return METHODS[name]
    return next((method for method in METHODS.values() if name in method.aliases), None) or METHODS[name]


def names() -> list[str]:
    """All names that command lines take, in the order of tables, aliases after their method's own name."""
    return [name for method in METHODS.values() for name in (method.name, *method.aliases)]


def of_kind(kind: str) -> dict[str, Method]:
    """The methods of a kind ("copy", "network", "optimizer"), by name, in the order of tables."""
    return {name: method for name, method in METHODS.items() if method.kind == kind}


def available(given: Iterable[str] | None = None) -> list[str]:
    """Names of the methods that can be used, in the order of tables, with the networks ``given`` (None: all)."""
    return [name for name, method in METHODS.items() if method.kind != "network" or given is None or name in given]


def title_of(name: str) -> str:
    """How a method's name is written in tables and pictures; an unknown one is written as it is."""
    return METHODS[name].title if name in METHODS else name
