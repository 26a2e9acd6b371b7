"""A motion through every scheme of names, from file to file, read back by arithmetic of the test's own.

All rigs have the same bones, so what they do is what the source does, joint by joint and frame by frame.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from run.retarget import retarget
from tests.data.rig.schemes import SCHEMES, MadeRig, made
from tests.helpers import plausible_offsets

PALM = 9.0
CLOSE = 0.01
"""Centimetres: a tenth of a millimetre."""
FRAMES = 4
SOURCE = "mixamo with ends"
SIDES = ("right", "left")


def places(rig: MadeRig) -> dict[str, np.ndarray]:
    """Where the joints of a rig are, centimetres, arms held out, palms down; metacarpals half the way to the finger;
    and, where a fingertip is no joint, where the last one ends."""
    found = {"Hips": np.array([0.0, 100.0, 0.0])}
    for side in SIDES:
        outwards = -1.0 if side == "right" else 1.0
        wrist, answer = np.array([outwards * 60.0, 140.0, 0.0]), rig.answer[side]
        steps = plausible_offsets(side=side).numpy()
        for finger in range(5):
            point = wrist
            for joint in range(1 + 4 * finger, 5 + 4 * finger):
                point = point + steps[joint]
                found[answer[joint] or f"{answer[joint - 1]} end"] = point
        found[answer[0]] = wrist
    for name, parent in zip(rig.names, rig.parents, strict=True):
        if name not in found:
            below = [found[n] for n, p in zip(rig.names, rig.parents, strict=True) if p >= 0 and rig.names[p] == name
                     and n in found]  # fmt: skip
            above = found[rig.names[parent]]
            found[name] = (above + below[0]) / 2 if below else above + [0.0, -2.0, 1.0]
    return found


def turns(side: str) -> np.ndarray:
    """(F, 21, 3) degrees about z, y and x: a fist that closes, splayed at first, the thumb beside it."""
    share, sign = np.linspace(0, 1, FRAMES), 1.0 if side == "right" else -1.0
    angles = np.zeros((FRAMES, 21, 3))
    for finger in range(4):
        for joint, most in ((1, 70.0), (2, 85.0), (3, 50.0)):
            angles[:, 4 * finger + joint, 0] = sign * share * (most - 6 * finger)
        angles[:, 4 * finger + 1, 1] = sign * (1 - share) * (finger - 1.5) * 5
    angles[:, 17:20, 1] = sign * share[:, None] * np.array([-15.0, -25.0, -30.0])
    return angles


def write(path: Path, rig: MadeRig, motion: bool) -> None:
    """A rig as BVH."""
    where, lines = places(rig), ["HIERARCHY"]
    children = [[n for n, parent in enumerate(rig.parents) if parent == number] for number in range(len(rig.names))]
    columns: list[int] = []

    def joint(number: int, depth: int) -> None:
        above, pad = rig.parents[number], "\t" * depth
        offset = where[rig.names[number]] - (where[rig.names[above]] if above >= 0 else 0)
        lines.extend([f"{pad}{'ROOT' if above < 0 else 'JOINT'} {rig.names[number]}", f"{pad}{{",
                      f"{pad}\tOFFSET {' '.join(f'{value:.6f}' for value in offset)}",
                      f"{pad}\tCHANNELS 3 Zrotation Yrotation Xrotation"])  # fmt: skip
        columns.append(number)
        for child in children[number]:
            joint(child, depth + 1)
        if not children[number]:
            end = where.get(f"{rig.names[number]} end", where[rig.names[number]]) - where[rig.names[number]]
            lines.extend([f"{pad}\tEnd Site", f"{pad}\t{{",
                          f"{pad}\t\tOFFSET {' '.join(f'{value:.6f}' for value in end)}", f"{pad}\t}}"])  # fmt: skip
        lines.append(f"{pad}}}")

    joint(0, 0)
    values = np.zeros((FRAMES if motion else 1, len(rig.names), 3))
    for side in SIDES if motion else ():
        for number, name in enumerate(rig.answer[side]):
            if name is not None:
                values[:, rig.names.index(name)] = turns(side)[:, number]
    rows = [" ".join(f"{value:.6f}" for value in row[columns].ravel()) for row in values]
    path.write_text("\n".join([*lines, "MOTION", f"Frames: {len(rows)}", "Frame Time: 0.033333", *rows, ""]))


def read(path: Path) -> dict[str, np.ndarray]:
    """(F, 3) places of all joints by name."""
    lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
    start = next(n for n, words in enumerate(lines) if words[0] == "MOTION")
    names, parents, offsets, channels, above = [], [], [], [], []
    for words in lines[1:start]:
        if words[0] in ("ROOT", "JOINT", "End"):
            parents.append(above[-1] if above else -1)
            above.append(len(names))
            names.append(" ".join(words[1:]) if words[0] != "End" else f"{names[parents[-1]]} end")
            channels.append([])
        elif words[0] == "OFFSET":
            offsets.append(np.array(words[1:], dtype=float))
        elif words[0] == "CHANNELS":
            channels[above[-1]] = words[2:]
        elif words[0] == "}":
            above.pop()
    rows = np.array(lines[start + 6 :] if lines[start + 3][0] == "Frame" else lines[start + 3 :], dtype=float)
    turn, place, at = [], [], 0
    for parent, offset, own in zip(parents, offsets, channels, strict=True):
        step, local = np.broadcast_to(offset, (len(rows), 3)).copy(), np.broadcast_to(np.eye(3), (len(rows), 3, 3))
        for name in own:
            axis = "XYZ".index(name[0])
            if name.endswith("position"):
                step[:, axis] = rows[:, at]
            else:
                local = local @ about(axis, np.deg2rad(rows[:, at]))
            at += 1
        turn.append(local if parent < 0 else turn[parent] @ local)
        place.append(step if parent < 0 else place[parent] + (turn[parent] @ step[..., None])[..., 0])
    return dict(zip(names, place, strict=True))


def about(axis: int, angle: np.ndarray) -> np.ndarray:
    """(F, 3, 3) turns about x, y or z."""
    turn = np.zeros((len(angle), 3, 3))
    a, b = (axis + 1) % 3, (axis + 2) % 3
    turn[:, axis, axis] = 1
    turn[:, a, a] = turn[:, b, b] = np.cos(angle)
    turn[:, b, a], turn[:, a, b] = np.sin(angle), -np.sin(angle)
    return turn


def hand(file: dict[str, np.ndarray], names: list[str | None]) -> np.ndarray:
    """(F, 21, 3) from the wrist; NaN where there is no joint."""
    wrist = file[str(names[0])]
    return np.stack([np.full_like(wrist, np.nan) if name is None else file[name] - wrist for name in names], axis=1)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    """The file of the motion, and its joints by side."""
    path, rig = tmp_path_factory.mktemp("schemes") / "source.bvh", made(SCHEMES[SOURCE])
    write(path, rig, motion=True)
    file = read(path)
    return path, {side: hand(file, rig.answer[side]) for side in SIDES}


def check(tmp_path: Path, rig: MadeRig, source: tuple[Path, dict[str, np.ndarray]]) -> None:
    write(tmp_path / "target.bvh", rig, motion=False)
    retarget([str(source[0]), "--target", str(tmp_path / "target.bvh"), "--output", str(tmp_path / "moved.bvh"),
              "--method", "tbs_copy"])  # fmt: skip
    file = read(tmp_path / "moved.bvh")
    for side in SIDES:
        found, meant = hand(file, rig.answer[side]), source[1][side]
        known = ~np.isnan(found).any(axis=(0, 2))
        assert known.sum() >= 16 and np.ptp(meant[:, known], axis=0).max() > PALM / 3  # it is a motion
        assert np.abs(found - meant)[:, known].max() < CLOSE, side


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_motion_arrives_on_every_scheme(scheme, tmp_path, source):
    check(tmp_path, made(SCHEMES[scheme]), source)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_motion_arrives_though_a_bone_is_called_nonsense(scheme, tmp_path, source):
    rig = made(SCHEMES[scheme])
    names = [name for name in rig.answer["right"][1:] if name is not None]
    renamed = names[7 * list(SCHEMES).index(scheme) % len(names)]  # of another finger and joint each time
    answer = {side: ["xyzzy" if name == renamed else name for name in rig.answer[side]] for side in SIDES}
    check(tmp_path, MadeRig(["xyzzy" if n == renamed else n for n in rig.names], rig.parents, answer), source)
