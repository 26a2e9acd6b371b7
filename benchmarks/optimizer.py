"""The training-free optimiser: frames per second in a batch, one warm-started frame, and dex-retargeting beside it.

One hand motion for all: bends and splays of a made character's hand that swing for 20 s at 60 frames/s, retargeted to
another character's hand. dex-retargeting (PyPI, MIT) gets the target hand as a robot of 20 hinges and, as its own
configurations for hands do, ten vectors: from the wrist to each fingertip and to each finger's third joint. It is only
measured where it is installed (``pip install -r requirements-bench.txt``).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from unittest import mock
from xml.sax.saxutils import quoteattr

import numpy as np
import torch
from torch import Tensor

from benchmarks.timing import measure, row
from data.character.reading import read_annotated
from model.hands import PosedHand, ShapedHand, offset_hand
from model.kinematics import tbs_from_angles
from model.limits import BEND, SPLAY, JointLimits
from model.optimizer import CONTACT_WEIGHT, SMOOTHNESS, OptimizerSettings, optimise
from model.optimizer.kernel import solver
from model.topology import BONES_PER_FINGER, FINGERS, N_FINGERS, TIPS

INPUTS = Path(__file__).parents[1] / "tests" / "golden" / "inputs"
FRAMES = 1200
SINGLE = OptimizerSettings(iterations=2, contact_weight=CONTACT_WEIGHT)
BATCH = OptimizerSettings(contact_weight=CONTACT_WEIGHT)
SMOOTH = OptimizerSettings(contact_weight=CONTACT_WEIGHT, smoothness=SMOOTHNESS)


def _hand(name: str) -> ShapedHand:
    hand = read_annotated(INPUTS / f"{name}_mesh_data.npz", INPUTS / f"{name}_finger_axis.npz").hand("right")
    offsets, axes = (torch.from_numpy(part)[None].float() for part in (hand.rest.offsets, hand.axes))
    return offset_hand(offsets, axes, "right")


def angles_of_motion() -> Tensor:
    """Angles ``(1, FRAMES, 5, 3, 3)``."""
    random = np.random.default_rng(0)
    shape = (N_FINGERS, BONES_PER_FINGER)
    time = np.arange(FRAMES)[:, None, None]
    phase, rate = random.uniform(0, 2 * np.pi, shape), random.uniform(0.02, 0.08, shape)
    angles = np.zeros((FRAMES, *shape, 3))
    angles[..., BEND] = 0.7 + 0.6 * np.sin(phase + rate * time)
    angles[:, :, 0, SPLAY] = 0.15 * np.sin(phase[:, 1] + rate[:, 1] * time[..., 0])
    return torch.from_numpy(angles).float()[None]


@contextmanager
def _torch_form() -> Iterator[None]:
    with mock.patch.object(solver, "covers", return_value=False):
        yield


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _in(context: Callable, task: Callable[[], object]) -> Callable[[], object]:
    def run() -> None:
        with context():
            task()

    return run


def _tasks(target: ShapedHand, source: PosedHand) -> dict[str, Callable[[], object]]:
    matrix = source.semantic_matrix()
    start = source.tbs
    number, held = cycle(range(FRAMES)), {"pose": start[:, :1]}

    def one_frame() -> None:
        """The next frame of the motion, from the pose before."""
        frame = next(number)
        now = slice(frame, frame + 1)
        held["pose"] = optimise(target, matrix.at((slice(None), now)), held["pose"], SINGLE).tbs

    tasks = {
        "batch": lambda: optimise(target, matrix, start, BATCH),
        "smooth": lambda: optimise(target, matrix, start, SMOOTH),
        "one": one_frame,
    }
    for name in list(tasks):
        tasks[f"{name}, torch"] = _in(_torch_form, tasks[name])
    tasks["batch, two"] = _in(lambda: _threads(2), tasks["batch"])
    other = _dex_task(target, source)
    return tasks if other is None else {**tasks, "dex": other}


def run() -> list[dict]:
    """Measure; rows with name, value, unit, reference and ratio."""
    solver.PROGRAM.functions()  # compiled before anything is measured
    target, source = _hand("BigVegas"), _hand("Aj").with_tbs(tbs_from_angles(angles_of_motion()))
    times = measure(_tasks(target, source), seconds=6.0)
    if "dex" in times:
        reference, frame = "dex-retargeting, one frame", times["dex"]
    else:
        reference, frame = "one frame (dex-retargeting is not installed)", times["one"]
    rows = [
        row("optimiser, one warm-started frame", times["one"] * 1e3, "ms", reference, frame / times["one"]),
        row("optimiser, a batch", FRAMES / times["batch"], "frames/s", reference, frame * FRAMES / times["batch"]),
        row("  with smoothness", FRAMES / times["smooth"], "frames/s", reference, frame * FRAMES / times["smooth"]),
    ]
    for name in ("batch", "smooth", "one"):
        ratio = times[f"{name}, torch"] / times[name]
        rows.append(row(f"  {name}: the compiled form", times[name] * 1e3, "ms", "the torch form", ratio))
    ratio = times["batch"] / times["batch, two"]
    rows.append(row("  batch: two threads", times["batch, two"] * 1e3, "ms", "one thread", ratio))
    if "dex" in times:
        rows.append(row("dex-retargeting, one warm-started frame", frame * 1e3, "ms", reference, 1.0))
    return rows


# -- the same hand for dex-retargeting -----------------------------------------------------------------------


def _dex_task(target: ShapedHand, source: PosedHand) -> Callable[[], object] | None:
    """Retargets the next frame of ``source``; None where dex-retargeting is not installed."""
    try:
        from dex_retargeting.optimizer import VectorOptimizer
        from dex_retargeting.robot_wrapper import RobotWrapper
        from dex_retargeting.seq_retarget import SeqRetargeting
    except ImportError:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hand.urdf"
        path.write_text(urdf(target), encoding="utf-8")
        robot = RobotWrapper(str(path))
    tips, thirds = [[f"{finger}_{k}" for finger in FINGERS] for k in (BONES_PER_FINGER, BONES_PER_FINGER - 1)]
    joints = [*TIPS, *(tip - 1 for tip in TIPS)]
    optimizer = VectorOptimizer(
        robot,
        robot.dof_joint_names,
        ["wrist"] * len(joints),
        tips + thirds,
        np.array([[0] * len(joints), joints]),
        scaling=float(target.at_rest().palm_length / source.palm_length[0, 0]),
    )
    retargeting = SeqRetargeting(optimizer, has_joint_limits=True)
    vectors = (source.joints[0, :, joints] / 100).numpy()  # metres
    number = cycle(range(FRAMES))
    return lambda: retargeting.retarget(vectors[next(number)])


def urdf(hand: ShapedHand) -> str:
    """A hand as a robot of 20 hinges, metres: each finger's root bends and splays, its other joints bend."""
    straight = hand.with_tbs(tbs_from_angles(torch.zeros(1, N_FINGERS, BONES_PER_FINGER, 3)))
    joints = straight.joints[0].double().numpy() / 100
    frames = straight.frames[0].double().numpy()
    bounds = JointLimits().bounds.numpy()
    parts = ['<robot name="hand">', _link("wrist")]
    for finger, name in enumerate(FINGERS):
        parent, at, turned = "wrist", np.zeros(3), np.eye(3)
        for k in range(BONES_PER_FINGER + 1):
            number = 4 * finger + k
            origin = _origin(turned.T @ (joints[1 + number] - at), turned.T @ frames[number])
            at, turned = joints[1 + number], frames[number]
            link = f"{name}_{k}"
            if k == BONES_PER_FINGER:
                parts += [_link(link), _joint(f"{link}_tip", "fixed", parent, link, origin)]
            elif k == 0:
                parts += [_link(f"{link}_bent"), _link(link)]
                parts.append(
                    _hinge(f"{link}_bend", parent, f"{link}_bent", origin, "0 1 0", bounds[:, finger, k, BEND])
                )
                parts.append(_hinge(f"{link}_splay", f"{link}_bent", link, "", "0 0 1", bounds[:, finger, k, SPLAY]))
            else:
                parts.append(_link(link))
                parts.append(_hinge(f"{link}_bend", parent, link, origin, "0 1 0", bounds[:, finger, k, BEND]))
            parent = link
    return "\n".join([*parts, "</robot>"])


def _link(name: str) -> str:
    return (
        f"<link name={quoteattr(name)}><inertial><mass value='0.01'/>"
        "<inertia ixx='1e-5' ixy='0' ixz='0' iyy='1e-5' iyz='0' izz='1e-5'/></inertial></link>"
    )


def _origin(position: np.ndarray, rotation: np.ndarray) -> str:
    pitch = np.arcsin(-np.clip(rotation[2, 0], -1, 1))
    roll, yaw = np.arctan2(rotation[2, 1], rotation[2, 2]), np.arctan2(rotation[1, 0], rotation[0, 0])
    numbers = (" ".join(f"{value:.12g}" for value in values) for values in (position, (roll, pitch, yaw)))
    return "<origin xyz='{}' rpy='{}'/>".format(*numbers)


def _joint(name: str, kind: str, parent: str, child: str, inside: str) -> str:
    ends = f"<parent link={quoteattr(parent)}/><child link={quoteattr(child)}/>"
    return f"<joint name={quoteattr(name)} type='{kind}'>{ends}{inside}</joint>"


def _hinge(name: str, parent: str, child: str, origin: str, axis: str, bounds: np.ndarray) -> str:
    limit = f"<limit lower='{bounds[0]:.6f}' upper='{bounds[1]:.6f}' effort='1' velocity='100'/>"
    return _joint(name, "revolute", parent, child, f"{origin}<axis xyz='{axis}'/>{limit}")
