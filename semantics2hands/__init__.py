"""The door of the project: what a program of your own needs, under one name, loaded when it is asked for.

    import semantics2hands as s2h

    s2h.retarget(["dance.bvh", "--target", "me.glb", "--output", "dance_on_me.glb"])

Each name belongs to a module below, whose docstrings say more; `docs/architecture.md` is the map of all of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    # whole motions, from file to file: the command `run.retarget`
    "retarget": "run.retarget:retarget",
    # read
    "Reading": "data.character.reading:Reading",
    "read_character": "data.character.reading:read_character",
    "read_motions": "data.motion.reading:read_motions",
    # hands and what their poses mean
    "OpenHands": "data.open_hands.library:OpenHands",
    "ManoHand": "model.mano:ManoHand",
    "offset_hand": "model.hands:offset_hand",
    "tbs_from_angles": "model.kinematics:tbs_from_angles",
    # retarget
    "METHODS": "model.methods:METHODS",
    "SourceMotion": "model.motion:SourceMotion",
    "MotionRetargeting": "model.motion:MotionRetargeting",
    "Retargeter": "data.motion.live:Retargeter",
    "OptimizerSettings": "model.optimizer:OptimizerSettings",
    "optimise": "model.optimizer:optimise",
    # measure
    "measure": "model.measures:measure",
    # write
    "Job": "data.motion.writing:Job",
    "output_paths": "data.motion.writing:output_paths",
    "write_motion": "data.motion.writing:write_motion",
    # what all of them raise when a file or a setting is at fault
    "InputError": "utils.errors:InputError",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Load a name of :data:`__all__` when it is first asked for. Raises AttributeError for any other."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    module, _, attribute = _HOMES[name].partition(":")
    value = globals()[name] = getattr(import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
