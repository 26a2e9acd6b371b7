"""The one list of methods. A new one is an entry of :data:`METHODS` and its code; every command, table, picture and
page takes it from here. The code is named and not imported: who only asks for names does not wait for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # command lines ask for names only, and need not wait for tensors
    from model.hands import PosedHand
    from model.network import TrainedNetwork
    from model.posing import Task


@dataclass(frozen=True)
class Method:
    """A way of retargeting: either ``pose`` or ``network`` does it; what does is a path in the program, or a function.

    Attributes:
        name: on command lines and in files.
        title: in tables and pictures.
        kind: "copy", "network" (needs a checkpoint) or "optimizer" (solves every frame, which takes a while).
        color: of its hands and dots, ``#RRGGBB``.
        pose: gives the hand of a :class:`model.posing.Task` in the source's poses ``(...)``.
        network: a :class:`model.retargeting.Retargeting`, which trains.
        built: makes, of a checkpoint's hyper-parameters, the network without weights and without what trains it.
        mark: a hyper-parameter that no other network has; by it a checkpoint is known.
        watched: the validation term ``val/<domain>_semi_<watched>`` that the best checkpoints are chosen by.
        short: the title where there is little room.
        reach: frames on either side (at 15 a second) that the result of a frame depends on: windows and filters of
            networks reach no further, and what the optimiser smooths over time fades before.
        aliases: other names that command lines take.
        about: what it does, in a line of a help text.
    """

    name: str
    title: str
    kind: str
    color: str
    pose: str | Callable[[Task], PosedHand] | None = None
    network: str = ""
    built: str = ""
    mark: str = ""
    watched: str = ""
    short: str = ""
    reach: int = 0
    aliases: tuple[str, ...] = field(default=())
    about: str = ""

    def posed(self, task: Task) -> PosedHand:
        """What ``pose`` makes of a task. Raises ValueError for a network, which needs a checkpoint."""
        if self.pose is None:
            raise ValueError(f"{self.name} is a network; pose hands by a checkpoint of it")
        return (self.pose if callable(self.pose) else _at(self.pose))(task)

    @property
    def network_class(self) -> type:
        """The class of the network."""
        return _at(self.network)

    def network_of(self, hyper_parameters: Mapping[str, Any]) -> TrainedNetwork:
        """The network of a checkpoint's hyper-parameters, without weights."""
        return _at(self.built)(hyper_parameters)


def _at(path: str) -> Any:
    """What stands at a path, such as ``model.dm.DM``."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


# Colours: results of the published network carry the published salmon; the others are muted, of different lightness,
# and stay apart for colour-blind readers.
METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("rotation_copy", "Rotation copy", "copy", "#8FB8DE",
               "model.posing.rotation_copy", about="the source's local rotations, as they are"),
        Method("tbs_copy", "Twist-bend-splay copy", "copy", "#82C4B0",
               "model.posing.tbs_copy", short="T-B-S copy",
               about="the source's twist, bend and splay, about the target's own axes"),
        Method("dm", "DM", "network", "#E9C46A", network="model.dm.DM", built="model.network.distance_network",
               mark="lambda_dm", watched="dm_err", reach=36,
               about="the paper's baseline, which sees distances only; for hands like those it was trained on"),
        Method("asrn", "ASRN", "network", "#FA7F6F", network="model.asrn.ASRN", built="model.network.semantic_network",
               mark="lambda_rf", watched="rf_dir_err", reach=36,
               about="the paper's network; for hands like those it was trained on"),
        Method("feedback", "Feedback", "network", "#C46B9E", network="model.feedback.module.Feedback",
               built="model.feedback.network.feedback_network", mark="row_channel", watched="misfit",
               about="a network that corrects a copy by the error that it sees, every joint a little; for any hand"),
        Method("optimizer", "Optimiser", "optimizer", "#B7A3D6", "model.posing.optimised", reach=12,
               about="solves every pose by what the source's means, smooth over time; no training"),
        Method("optimizer_contacts", "Optimiser, contacts", "optimizer", "#8E78BF",
               "model.posing.optimised_with_contacts", short="Opt. contacts", reach=12, aliases=("optimize",),
               about="the same, and fingertips that touch in the source touch"),
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


def described() -> dict[str, str]:
    """What each method does, by the names that command lines take."""
    return {", ".join((method.name, *method.aliases)): method.about for method in METHODS.values()}


def available(given: Iterable[str] | None = None) -> list[str]:
    """Names of the methods that can be used, in the order of tables, with the networks ``given`` (None: all)."""
    return [name for name, method in METHODS.items() if method.kind != "network" or given is None or name in given]


def title_of(name: str) -> str:
    """How a method's name is written in tables and pictures; an unknown one is written as it is."""
    return METHODS[name].title if name in METHODS else name
