"""Which joints of a skeleton are the bones of a human body, told by their names and their place above the hands."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from data.rig.hand_map import ancestors
from model.topology import SIDES

_HELPERS = (
    "twist",
    "roll",
    "ik",
    "pole",
    "target",
    "helper",
    "corrective",
    "nub",
    "end",
    "ctrl",
)
_WORDS = {
    "hips": ("hips", "hip", "pelvis"),
    "head": ("head",),
    "neck": ("neck",),
    "upper_leg": ("upleg", "upperleg", "thigh"),
    "lower_leg": ("leg", "lowerleg", "calf", "shin", "knee"),
    "foot": ("foot", "ankle"),
    "toes": ("toe", "toes", "toebase", "ball"),
}
_LEG = ("upper_leg", "lower_leg", "foot", "toes")
NEEDED = ("hips", *(f"{side}_{bone}" for side in SIDES for bone in _LEG[:3]))
"""Bones without which a body is not followed."""


def humanoid(names: Sequence[str], parents: np.ndarray, wrists: Mapping[str, int]) -> dict[str, int]:
    """Bone of a human (``hips``, ``spine_0`` upwards, ``neck``, ``head``, ``right_upper_leg``, …) → joint.

    Args:
        names: of the joints, in which any prefix may stand.
        parents: of the joints, −1 for a root.
        wrists: side → joint, as the hands have them.
    """
    above = {side: ancestors(wrist, parents) for side, wrist in wrists.items()}
    own = set(wrists.values())
    read = [_read(name) for name in names]
    found: dict[str, int] = {}
    for joint, (side, word) in enumerate(read):
        if word and not own.intersection(ancestors(joint, parents)):
            found.setdefault(f"{side}_{word}" if side else word, joint)
    if "hips" not in found or not all(found["hips"] in chain for chain in above.values()):
        return {}
    for side, chain in above.items():
        arm = [joint for joint in chain if read[joint][0] == side and not is_helper(names[joint])]
        for bone, joint in zip(("lower_arm", "upper_arm", "shoulder"), arm, strict=False):
            found[f"{side}_{bone}"] = joint
        found[f"{side}_hand"] = wrists[side]
    first = next(iter(above.values()))
    inner = [
        joint
        for joint in first[: first.index(found["hips"])]
        if read[joint] == (None, None) and not is_helper(names[joint])
    ]
    found.update({f"spine_{place}": joint for place, joint in enumerate(reversed(inner))})
    return found


def _read(name: str) -> tuple[str | None, str | None]:
    """Side and bone of a name, None where it tells none."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name.rsplit(":", 1)[-1])
    words = [word.lower() for word in words]
    side = next((side for side in SIDES for word in words if word in (side, side[0])), None)
    if is_helper(name):
        return side, None
    rest = "".join(word for word in words if word not in (*SIDES, "l", "r"))
    for bone, endings in _WORDS.items():
        sided = bone in _LEG
        if sided == (side is not None) and rest.endswith(endings):
            if bone == "lower_leg" and rest.endswith(("upleg", "upperleg")):
                continue
            return side, bone
    return side, None


def is_helper(name: str) -> bool:
    """Whether a joint's name says that something drives it: twist and roll bones, targets of IK, ends."""
    words = {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}
    return not words.isdisjoint(_HELPERS)
