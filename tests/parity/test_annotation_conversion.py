"""Annotation conversion: the published motions, and the runs at the end of captures that the reference forgets."""

import numpy as np
import pytest
import torch
from pytorch3d.transforms import quaternion_to_matrix

from data.formats.bvh import read_bvh
from run.convert_interhand_bvh import convert

FORGOTTEN = {"0_17334_17340", "1_8168_8174"}
"""The run that is open at the end of each capture (DECISIONS.md)."""


@pytest.fixture(scope="module")
def converted(golden, mano_models, tmp_path_factory):
    """A folder of what we make of the reference annotations."""
    folder = tmp_path_factory.mktemp("converted")
    options = ["--smplx_path", str(mano_models), "--mano_axis_data", "as_published.pkl", "--output_dir", str(folder)]
    convert(["--input", str(golden / "interhand" / "annotations.json"), *options])
    return folder


def test_the_same_motions_and_the_last_runs(golden, converted):
    expected = {path.name for path in (golden / "interhand" / "expected").iterdir()}
    extra = {f"{name}{ending}" for name in FORGOTTEN for ending in (".bvh", ".npy")}
    assert {path.name for path in converted.iterdir()} == expected | extra | {"conversion.json", "summary.csv"}


def test_each_motion(golden, converted, agree):
    reference = np.load(golden / "interhand" / "expected.npz")
    names = sorted({key.partition("|")[0] for key in reference.files})
    assert len(names) == 5
    for name in names:
        motion = read_bvh(converted / f"{name}.bvh")
        of = {part: reference[f"{name}|{part}"] for part in ("quaternions", "offsets", "parents", "names", "shapes")}
        assert motion.joint_names == tuple(of["names"]) and motion.parents.tolist() == of["parents"].tolist()
        assert motion.frame_time == reference[f"{name}|frame_time"]
        # The references were computed in float32 and printed with six decimals.
        matrices = quaternion_to_matrix(torch.from_numpy(of["quaternions"]))
        agree(motion.rotations(), matrices, 1e-5, "interhand: rotations")
        agree(motion.offsets, of["offsets"], 1e-5, "interhand: offsets")
        shapes = np.load(converted / f"{name}.npy", allow_pickle=False)
        assert shapes.dtype == np.float32 and np.array_equal(shapes, of["shapes"])
        words = [(folder / f"{name}.bvh").read_text().partition("MOTION")[0].split()
                 for folder in (converted, golden / "interhand" / "expected")]  # fmt: skip
        assert [word for word in words[0] if not is_number(word)] == [word for word in words[1] if not is_number(word)]


def is_number(word):
    return word.lstrip("-").replace(".", "").isdigit()
