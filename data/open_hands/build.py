"""Writing MixHand-Open: motion of every hand, meshes, axes, the parametric hand and the splits (mathematics §5)."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import torch
import yaml
from torch import Tensor

from data.character.flesh import mano_surface
from data.dataset import MixHandFolder
from data.formats.bvh import Bvh, write_bvh
from data.open_hands import anatomy
from data.open_hands.cleaning import cleaned
from data.open_hands.contacts import posed
from data.open_hands.library import ASSETS, SPLITS, OpenHands, mirrored, mirrored_axes, mirrored_rotations
from data.open_hands.motion import Solved, angles_over_time, perform, solve_all
from data.open_hands.shapes import TABLE, HandShapes
from data.rig.surface import HandSurface
from model.hands import ShapedHand, offset_hand
from model.kinematics import with_wrist_and_tips
from model.mano import ManoHand
from model.measures import CONTACT
from model.topology import (
    BONES_PER_FINGER,
    N_JOINTS,
    PARENTS,
    SIDES,
    TIPS,
    check_side,
    hand_joint_names,
)
from utils.errors import InputError
from utils.files import atomic_write, content_hash
from utils.threads import torch_threads

MANIFEST = "open_hands.json"
CHARACTER_RATE, SUBJECT_RATE = 60.0, 5.0
"""Frames per second."""
_CHUNK = 4096
_SOURCES = ("anatomy", "build", "cleaning", "contacts", "library", "motion", "shapes")
_WRISTS = {"right": np.array([-60.0, 140.0, 0.0]), "left": np.array([60.0, 140.0, 0.0])}
_PREFIX = "mixamorig:"


@dataclass(frozen=True)
class Plan:
    """What to build: seconds of motion per hand, by domain and split, and at most how many hands of each split."""

    side: str = "right"
    seed: int = 7
    seconds: dict[str, tuple[float, float]] = field(
        default_factory=lambda: {
            "train": (14.0, 21.0),
            "val": (40.0, 40.0),
            "test_inside": (60.0, 60.0),
            "test_outside": (60.0, 60.0),
        }
    )
    most: int | None = None

    @staticmethod
    def small(side: str = "right", seed: int = 7) -> Plan:
        """A few hands and seconds of each split, for tests."""
        return Plan(side, seed, dict.fromkeys(SPLITS, (6.0, 6.0)), most=3)

    def sides(self) -> tuple[str, ...]:
        """The hands that motion is written for."""
        return SIDES if self.side == "both" else (check_side(self.side),)


@dataclass(frozen=True)
class Motion:
    """The solved motion of one right hand."""

    local: np.ndarray  # (frames, 5, 3, 3, 3) local rotations
    touching: float  # share of frames in which fingertips touch


@dataclass(frozen=True)
class Report:
    """Figures of a build, by domain and split."""

    minutes: dict[str, dict[str, float]]
    hands: dict[str, dict[str, int]]
    touching: dict[str, dict[str, float]]
    finger_to_palm: dict[str, dict[str, tuple[float, float]]]
    refused: dict[str, dict[str, int]]
    solved: dict[str, int]
    touch_error: float


def build(
    output: Path, plan: Plan, force: bool = False, tell: Callable[[str, int], None] = lambda step, n: None
) -> tuple[dict, bool]:
    """Build the data set into ``output``.

    Args:
        output: folder; files of an earlier build are replaced or removed, others are left alone.
        plan: what to build.
        force: build even if the folder already holds this very build.
        tell: called with the step and the number of units of it just done.

    Returns:
        (report as a dictionary, True if built or False if it was there already).

    Raises:
        InputError: the assets are missing, or a file cannot be written.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: expected a folder to build into, found a file; choose another name.")
    fingerprint = _fingerprint(plan)
    earlier = read_manifest(output)
    complete = earlier.get("fingerprint") == fingerprint and all((output / f).is_file() for f in earlier["files"])
    if complete and not force:
        return earlier["report"], False
    (output / MANIFEST).unlink(missing_ok=True)  # an interrupted build must not look finished
    with torch_threads(1):
        return _build(output, plan, fingerprint, earlier, tell), True


def _build(output: Path, plan: Plan, fingerprint: str, earlier: dict, tell) -> dict:
    hands, shapes = OpenHands.load(), HandShapes.load()
    writer = _Writer(output)
    splits = {"mixamo": _limited(hands.characters, plan.most), "mano": _limited(hands.subjects, plan.most)}
    writer.models(hands)
    writer.axes(hands)
    for name in splits["mixamo"]:
        writer.character(hands, name)
        tell("meshes", 1)
    report = Report({}, {}, {}, {}, {}, {}, 0.0)
    for domain in ("mixamo", "mano"):
        report = _write_domain(writer, hands, shapes, plan, domain, splits[domain], report, tell)
    writer.splits(splits)
    for stale in set(earlier.get("files", [])) - set(writer.files):
        (output / stale).unlink(missing_ok=True)
    content = {"fingerprint": fingerprint, "plan": asdict(plan), "report": asdict(report), "files": writer.files}
    with atomic_write(output / MANIFEST) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return json.loads(json.dumps(asdict(report)))


def _write_domain(writer, hands, shapes, plan, domain, splits, report, tell) -> Report:
    names = list(splits)
    column = 0 if domain == "mixamo" else 1
    rate = CHARACTER_RATE if domain == "mixamo" else SUBJECT_RATE
    seconds = [plan.seconds[splits[name]][column] for name in names]
    # A hand's motion depends on its name and the seed alone, not on which other hands are built.
    randoms = [np.random.default_rng([plan.seed, *name.encode()]) for name in names]
    performances = [perform(shapes, s, r) for s, r in zip(seconds, randoms, strict=True)]
    if domain == "mixamo":
        everyone = hands.characters_hand(names)
        batch = lambda n: offset_hand(everyone.offsets[n], everyone.axes[n], everyone.side)  # noqa: E731
        single = lambda name: _character(hands, name)  # noqa: E731
    else:
        model = hands.mano_hand(writer.folder.models)
        betas = torch.stack([torch.as_tensor(hands.betas(name)) for name in names])
        everyone = model.with_shape(betas)
        batch = lambda n: model.with_shape(betas[n])  # noqa: E731
        plain = model.to(torch.float32)
        single = lambda name: _subject(plain, torch.as_tensor(hands.betas(name)).float())  # noqa: E731
    solved = solve_all(batch, shapes, performances, lambda n: tell(f"solving {domain}", n))
    ratios = anatomy.finger_to_palm(everyone.at_rest().joints)[:, :4].mean(-1)
    touching, minutes = {}, {}
    for i, name in enumerate(names):
        angles = angles_over_time(performances[i], solved.angles[i], solved.accepted[i], seconds[i], rate)
        motion = _motion(batch(torch.tensor([i])), angles, *single(name), rate)
        if domain == "mixamo":
            writer.character_motion(hands, name, motion, plan.sides())
        else:
            writer.subject_motion(hands.betas(name), name, motion, everyone.offsets[i].numpy(), plan.sides())
        touching.setdefault(splits[name], []).append(motion.touching)
        minutes.setdefault(splits[name], []).append(len(angles) / rate / 60)
        tell(f"writing {domain}", 1)
    by_split = {s: [i for i, n in enumerate(names) if splits[n] == s] for s in SPLITS}
    report.minutes[domain] = {s: round(sum(v), 2) for s, v in minutes.items()}
    report.hands[domain] = {s: len(v) for s, v in by_split.items()}
    report.touching[domain] = {s: round(float(np.mean(v)), 3) for s, v in touching.items()}
    report.finger_to_palm[domain] = {
        s: (round(float(ratios[v].min()), 3), round(float(ratios[v].max()), 3)) for s, v in by_split.items()
    }
    report.refused[domain] = _refused(shapes, performances, solved)
    report.solved[domain] = int(sum(map(len, solved.accepted)))
    return Report(**{**asdict(report), "touch_error": max(report.touch_error, solved.touch_error)})


def _character(hands: OpenHands, name: str) -> tuple[ShapedHand, HandSurface]:
    hand = hands.character_hand(name)
    return offset_hand(hand.offsets.float(), hand.axes.float(), hand.side), hands.character_surface(name)


def _subject(model: ManoHand, betas: Tensor) -> tuple[ShapedHand, HandSurface]:
    return model.with_shape(betas), mano_surface(model, betas)


def _motion(hands: ShapedHand, angles: np.ndarray, hand: ShapedHand, surface: HandSurface, rate: float) -> Motion:
    """The motion of one hand, cleaned; ``hands (1, …)`` is the same in double precision."""
    parts = np.array_split(angles, -(-len(angles) // _CHUNK))
    local = torch.cat([posed(hands, torch.as_tensor(part)).local for part in parts])
    local = cleaned(hand, surface, local.float(), rate)
    touching = []
    for part in local.split(_CHUNK):
        state = hand.with_local_rotations(part)
        tips = state.joints[:, list(TIPS)]
        apart = torch.cdist(tips, tips) / state.palm_length[:, None, None]
        touching.append((apart + torch.eye(len(TIPS))).flatten(1).amin(1) < CONTACT)
    return Motion(local.double().numpy(), float(torch.cat(touching).double().mean()))


def _refused(shapes: HandShapes, performances: list, solved: Solved) -> dict[str, int]:
    refused = np.concatenate([p.shapes[~ok] for p, ok in zip(performances, solved.accepted, strict=True)])
    numbers, counts = np.unique(refused, return_counts=True)
    return {shapes.names[i]: int(n) for i, n in zip(numbers, counts, strict=True)}


def _limited(splits: dict[str, str], most: int | None) -> dict[str, str]:
    """At most so many hands of each split; of the outside test hands both long and short ones."""
    if most is None:
        return splits
    chosen = {}
    for split in SPLITS:
        names = [name for name, s in splits.items() if s == split]
        step = max(1, len(names) // most) if split == "test_outside" else 1
        chosen |= dict.fromkeys(names[::step][:most], split)
    return chosen


def _fingerprint(plan: Plan) -> str:
    sources = [Path(__file__).with_name(f"{module}.py") for module in _SOURCES]
    text = json.dumps(asdict(plan), sort_keys=True) + content_hash(ASSETS, TABLE, *sources)
    return hashlib.sha256(text.encode()).hexdigest()


def read_manifest(output: Path) -> dict:
    """What an earlier build wrote down: ``fingerprint``, ``report`` and ``files``; empty if there is none, or what
    stands there is not what a build writes. Its files are removed when they are made no more, so each must be one of
    the folder.
    """
    try:
        content = json.loads((output / MANIFEST).read_text(encoding="utf-8"))
        whole = isinstance(content["report"], dict) and all(_is_inside(name) for name in content["files"])
        return content if whole else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def _is_inside(name: object) -> bool:
    """Whether a name is that of a file below the folder it is given for."""
    path = PurePosixPath(str(name).replace("\\", "/"))
    return isinstance(name, str) and not path.is_absolute() and ".." not in path.parts and "\0" not in name


class _Writer:
    """Writes the files of the data set and remembers their names."""

    def __init__(self, output: Path) -> None:
        self.folder = MixHandFolder(output)
        self.files: list[str] = []

    def _file(self, path: Path):
        self.files.append(path.relative_to(self.folder.path).as_posix())
        return atomic_write(path)

    def models(self, hands: OpenHands) -> None:
        """The parametric hand, both sides, in MANO's layout."""
        for side in SIDES:
            with self._file(self.folder.models / "mano" / f"MANO_{side.upper()}.npz") as path:
                np.savez_compressed(path, allow_pickle=False, **hands.mano_arrays(side))

    def axes(self, hands: OpenHands) -> None:
        """Axes of the parametric hand."""
        self._pickle(hands.mano_axes(), self.folder.mano_axes)

    def _pickle(self, content: dict, file: Path) -> None:
        with self._file(file) as path, path.open("wb") as stream:
            pickle.dump(content, stream, protocol=2)

    def character(self, hands: OpenHands, name: str) -> None:
        """Mesh and axes of a character, both hands on one skeleton in T-pose, centimetres."""
        vertices, joints, weights = hands.character_vertices(name), hands.character_joints(name), hands.weights
        n, faces = len(vertices), hands.faces
        bones = [0, *(1 + 4 * f + k for f in range(5) for k in range(BONES_PER_FINGER))]
        skin = np.zeros((n, N_JOINTS))
        skin[:, bones] = weights
        labels, heads, parents = [f"{_PREFIX}Hips"], [np.array([0.0, 100.0, 0.0])], [-1]
        for s, side in enumerate(SIDES):
            labels += [_PREFIX + joint for joint in hand_joint_names("mixamo", side)]
            heads += list((joints if side == "right" else mirrored(joints)) + _WRISTS[side])
            parents += [0 if p < 0 else 1 + s * N_JOINTS + p for p in PARENTS]
        weight = np.zeros((2 * n, 1 + 2 * N_JOINTS), dtype=np.float32)
        weight[:n, 1 : 1 + N_JOINTS] = skin
        weight[n:, 1 + N_JOINTS :] = skin
        all_faces = np.concatenate([faces, faces[:, ::-1] + n])
        edges = np.unique(np.sort(all_faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0)
        verts = np.concatenate([vertices + _WRISTS["right"], mirrored(vertices) + _WRISTS["left"]])
        skeleton = (np.array(labels), np.array(heads, dtype=np.float32), np.array(parents, dtype=np.int64))
        with self._file(self.folder.mesh(name)) as path:
            np.savez_compressed(
                path,
                verts=verts.astype(np.float32),
                edges=edges,
                faces=all_faces,
                weight=weight,
                **dict(zip(("vgrp_label", "vgrp_cors", "vgrp_parents"), skeleton, strict=True)),
                **dict(zip(("bone_names", "bone_cors", "bone_parents"), skeleton, strict=True)),
            )
        rows = hands.character_axes(name)
        self._pickle({"rhand": rows, "lhand": mirrored_axes(rows)}, self.folder.axes(name))

    def character_motion(self, hands: OpenHands, name: str, motion: Motion, sides: tuple[str, ...]) -> None:
        """A character's clip."""
        offsets = anatomy.offsets_of(torch.as_tensor(hands.character_joints(name))).numpy()
        bvh = _skeleton_motion("mixamo", offsets, motion.local, sides, CHARACTER_RATE)
        self._bvh(bvh, name)

    def subject_motion(self, betas, name: str, motion: Motion, offsets: np.ndarray, sides: tuple[str, ...]) -> None:
        """A subject's clip and, for each frame, its shape components."""
        self._bvh(_skeleton_motion("mano", 100 * offsets, motion.local, sides, SUBJECT_RATE), name)
        with self._file(self.folder.path / name / "clip.npy") as path:
            np.save(path, np.tile(betas.astype(np.float32), (len(motion.local), 1)))

    def _bvh(self, bvh: Bvh, name: str) -> None:
        with self._file(self.folder.path / name / "clip.bvh") as path:
            write_bvh(path, bvh)

    def splits(self, splits: dict[str, dict[str, str]]) -> None:
        """`splits.yaml`: for each split the names of both domains."""
        content = {
            split: {domain: [name for name, s in names.items() if s == split] for domain, names in splits.items()}
            for split in SPLITS
        }
        with self._file(self.folder.splits) as path:
            head = "# test_outside: hands whose finger-to-palm proportions lie outside those of the training hands\n"
            path.write_text(head + yaml.safe_dump(content, sort_keys=False, width=110), encoding="utf-8")


def _skeleton_motion(domain: str, offsets: np.ndarray, local: np.ndarray, sides: tuple[str, ...], rate: float) -> Bvh:
    """Motion of one hand, or of both on one root; offsets ``(21, 3)`` in cm and local rotations of the right hand."""
    rotations = with_wrist_and_tips(torch.as_tensor(local)).numpy()
    prefix = _PREFIX if domain == "mixamo" else ""
    names, parents, bones, turns = [], [], [], []
    if len(sides) == 2:
        names, parents, bones = [f"{prefix}Hips" if prefix else "root"], [-1], [np.zeros((1, 3))]
        turns = [np.broadcast_to(np.eye(3), (len(rotations), 1, 3, 3))]
    for side in sides:
        start = len(names)
        root = offsets.copy()
        root[0] = _WRISTS[side] if len(sides) == 2 else 0.0
        if side == "left":
            root[1:] = mirrored(offsets[1:])
        names += [prefix + joint for joint in hand_joint_names(domain, side)]
        parents += [start - 1 if p < 0 and len(sides) == 1 else (0 if p < 0 else start + p) for p in PARENTS]
        bones.append(root)
        turns.append(rotations if side == "right" else mirrored_rotations(rotations))
    return Bvh.from_rotations(
        names, parents, np.concatenate(bones), np.concatenate(turns, axis=1), frame_time=1 / rate
    )
