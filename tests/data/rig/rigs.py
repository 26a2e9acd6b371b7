"""Small characters for tests: a body of five joints with both hands, in any naming and stance."""

from __future__ import annotations

import numpy as np

from data.character.character import Character, make_character
from data.formats.skeleton import Skeleton, Skin
from model.topology import FINGERS
from tests.helpers import plausible_offsets


def skeleton(
    turn: np.ndarray | None = None,
    metacarpals: bool = False,
    without: tuple[str, ...] = (),
    tips: bool = True,
    seed: int = 0,
    scale: float = 1.0,
) -> Skeleton:
    """Hips, spine, and on each side an arm and a hand of Mixamo's names.

    Args:
        turn: rotation of the hands about their wrists at rest.
        metacarpals: a further bone between wrist and every finger.
        without: fingers to leave out.
        tips: with a fourth joint.
        seed: of the hands' proportions.
        scale: of all lengths.
    """
    names, parents, heads = ["Hips", "Spine"], [-1, 0], [np.array([0.0, 100, 0]), np.array([0.0, 130, 0])]
    for side, sign in (("Right", -1.0), ("Left", 1.0)):
        offsets = plausible_offsets(side=side.lower(), seed=seed).numpy()
        if turn is not None:
            offsets = offsets @ (turn if side == "Right" else turn * np.outer([-1, 1, 1], [-1, 1, 1])).T
        arm, wrist = len(names), len(names) + 1
        names += [f"{side}Arm", f"{side}Hand"]
        parents += [1, arm]
        heads += [np.array([sign * 20.0, 135, 0]), np.array([sign * 60.0, 135, 0])]
        for finger, name in enumerate(FINGERS):
            if name in without:
                continue
            above = wrist
            if metacarpals:
                names.append(f"{side}Hand{name.capitalize()}Metacarpal")
                parents.append(wrist)
                heads.append(heads[wrist] + 0.4 * offsets[1 + 4 * finger])
                above = len(names) - 1
            place = heads[wrist]
            for k in range(4 if tips else 3):
                place = place + offsets[1 + 4 * finger + k]
                names.append(f"{side}Hand{name.capitalize()}{k + 1}")
                parents.append(above)
                heads.append(place)
                above = len(names) - 1
    return Skeleton(tuple(names), np.array(parents), scale * np.array(heads))


def character(bones: Skeleton, tmp_path, name: str = "Made") -> Character:
    """A character with plain axes and a skin of one small triangle round every joint."""
    corners = np.array([[0.4, 0, 0], [0, 0.4, 0], [0, 0, 0.4]])
    vertices = (bones.heads[:, None] + corners).reshape(-1, 3)
    weights = np.repeat(np.eye(len(bones.names), dtype=np.float32), 3, axis=0)
    skin = Skin(vertices, np.arange(len(vertices)).reshape(-1, 3), weights)
    axes = {}
    for side, sign in (("right", -1.0), ("left", 1.0)):
        twist = np.array([sign, 0, 0])
        rows = np.stack([twist, np.cross([0.0, 1, 0], twist), [0.0, 1, 0]])
        axes[side] = np.broadcast_to(rows, (5, 4, 3, 3))
    return make_character(name, tmp_path / f"{name}_mesh_data.npz", bones, skin, axes)
