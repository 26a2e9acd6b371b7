"""Annotation conversion: the published motions, and the runs at the end of captures that the reference forgets."""

import json

import numpy as np
import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix, quaternion_to_matrix

from data.formats.bvh import read_bvh
from model.topology import MANO_BONES, PARENTS, hand_joint_names
from run.convert_interhand_bvh import convert

LARGEST_SPACING = 50
ROTATING = [joint for joint in range(1, 21) if joint % 4]


@pytest.fixture(scope="module")
def annotations(golden):
    """Capture to frame number to the hands in it."""
    content = json.loads((golden / "interhand" / "annotations.json").read_text())
    return {capture: {int(number): hands for number, hands in frames.items()} for capture, frames in content.items()}


@pytest.fixture(scope="module")
def reference(golden):
    """Name of a motion to its reference arrays."""
    motions = {}
    with np.load(golden / "interhand" / "expected.npz") as arrays:
        for key in arrays.files:
            name, _, part = key.partition("|")
            motions.setdefault(name, {})[part] = arrays[key]
    return motions


@pytest.fixture(scope="module")
def converted(golden, mano_models, tmp_path_factory):
    """A folder of what we make of the reference annotations."""
    folder = tmp_path_factory.mktemp("converted")
    options = ["--smplx_path", str(mano_models), "--mano_axis_data", "as_published.pkl", "--output_dir", str(folder)]
    convert(["--input", str(golden / "interhand" / "annotations.json"), *options])
    return folder


def runs_of(annotations):
    """``{name: (capture, frame numbers, open at the end)}`` of right hands, frame by frame (mathematics §5)."""
    found = {}
    for capture, frames in annotations.items():
        numbers = sorted(frames)
        spacing = np.diff(numbers)
        if not len(spacing) or spacing.mean() > LARGEST_SPACING:
            continue
        run, before = [], None
        for number in [*numbers, None]:
            seen = number is not None and frames[number].get("right") is not None
            if run and (not seen or number - before > spacing[0]):
                if len(run) > 1:
                    found[f"{capture}_{run[0]}_{run[-1]}"] = (capture, run, number is None)
                run = []
            if seen:
                run.append(number)
            before = number
    return found


def test_which_motions(annotations, reference, converted):
    """The reference leaves out the run that is open at the end of a capture; nothing else is different."""
    runs = runs_of(annotations)
    assert set(reference) == {name for name, (_, _, forgotten) in runs.items() if not forgotten}
    written = {f"{name}{ending}" for name in runs for ending in (".bvh", ".npy")}
    assert {path.name for path in converted.iterdir()} == written | {"conversion.json", "summary.csv"}


def test_each_motion(golden, reference, converted, agree):
    for name, of in reference.items():
        motion = read_bvh(converted / f"{name}.bvh")
        assert motion.joint_names == tuple(of["names"]) and motion.parents.tolist() == of["parents"].tolist()
        assert motion.frame_time == of["frame_time"]
        # The references were computed in float32 and printed with six decimals.
        matrices = quaternion_to_matrix(torch.from_numpy(of["quaternions"]))
        agree(motion.rotations(), matrices, 1e-5, "interhand: rotations")
        agree(motion.offsets, of["offsets"], 1e-5, "interhand: offsets")
        shapes = np.load(converted / f"{name}.npy", allow_pickle=False)
        assert shapes.dtype == np.float32 and np.array_equal(shapes, of["shapes"])
        words = [(folder / f"{name}.bvh").read_text().partition("MOTION")[0].split()
                 for folder in (converted, golden / "interhand" / "expected")]  # fmt: skip
        assert [word for word in words[0] if not is_number(word)] == [word for word in words[1] if not is_number(word)]


def test_the_forgotten_runs(golden, annotations, converted, agree):
    """Their rotations are the annotated ones plus the model's mean, their shapes the annotated ones."""
    with np.load(golden / "inputs" / "mano_right.npz") as model:
        mean = model["hands_mean"].astype(np.float64)
    for name, (capture, run, forgotten) in runs_of(annotations).items():
        if not forgotten:
            continue
        motion = read_bvh(converted / f"{name}.bvh")
        assert motion.joint_names == hand_joint_names("mano", "right") and tuple(motion.parents) == tuple(PARENTS)
        hands = [annotations[capture][number]["right"] for number in run]
        turns = torch.from_numpy(np.array([hand["pose"][3:] for hand in hands]) + mean).unflatten(-1, (15, 3))
        expected = axis_angle_to_matrix(turns)[:, [bone - 1 for bone in MANO_BONES]]
        agree(motion.rotations()[:, ROTATING], expected, 1e-6, "interhand: rotations of the last runs")
        shapes = np.array([hand["shape"] for hand in hands], dtype=np.float32)
        assert np.array_equal(np.load(converted / f"{name}.npy", allow_pickle=False), shapes)


def is_number(word):
    try:
        float(word)
    except ValueError:
        return False
    return True
