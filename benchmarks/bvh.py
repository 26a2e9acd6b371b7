"""How fast BVH files are read and written: `python -m benchmarks.bvh`.

The units are NumPy's own text functions on the same numbers in the same run, so the ratios do not depend on
the machine. A ratio above 1 means faster than NumPy.
"""

from __future__ import annotations

import io
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from data.formats.bvh import Bvh, read_bvh, write_bvh

N_FRAMES = 6000
REPEATS = 5


def best_time(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Shortest of several runs in seconds: other programs can only make a run longer."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def make_motion(n_joints: int, n_frames: int = N_FRAMES) -> Bvh:
    """A chain of joints with values of six decimals, as exporters write them."""
    values = np.random.default_rng(0).normal(size=(n_frames, 3 * n_joints + 3)) * 40
    turns = ("Zrotation", "Yrotation", "Xrotation")
    return Bvh(
        joint_names=tuple(f"mixamorig:Joint{number}" for number in range(n_joints)),
        parents=np.arange(-1, n_joints - 1),
        offsets=np.ones((n_joints, 3)),
        channels=(("Xposition", "Yposition", "Zposition", *turns), *[turns] * (n_joints - 1)),
        values=np.round(values, 6),
        frame_time=1 / 60,
    )


def run() -> list[dict]:
    """Measure reading and writing of a body (67 joints) and a hand (21 joints).

    Returns:
        Rows with name, value and reference (both in frames per second), unit, and ratio = value / reference.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "motion.bvh"
        for n_joints in (67, 21):
            motion = make_motion(n_joints)
            write_time = best_time(lambda motion=motion: write_bvh(path, motion))
            body = path.read_bytes().partition(b"Frame Time: ")[2].partition(b"\n")[2]
            read_time = best_time(lambda: read_bvh(path))
            assert np.array_equal(read_bvh(path).values, motion.values)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                references = {
                    "read": {
                        "numpy.loadtxt": best_time(lambda body=body: np.loadtxt(io.BytesIO(body))),
                        "numpy.fromstring": best_time(lambda body=body: np.fromstring(body, sep=" ")),
                    },
                    "write": {
                        "numpy.savetxt": best_time(
                            lambda motion=motion: np.savetxt(io.BytesIO(), motion.values, fmt="%.6f"),
                            repeats=2,
                        )
                    },
                }
            for action, seconds in (("read", read_time), ("write", write_time)):
                for name, reference in references[action].items():
                    rows.append(
                        {
                            "name": f"BVH {action}, {n_joints} joints (reference: {name})",
                            "value": N_FRAMES / seconds,
                            "unit": "frames/s",
                            "reference": N_FRAMES / reference,
                            "ratio": reference / seconds,
                        }
                    )
    return rows


def main() -> None:
    """Print the table."""
    for row in run():
        print(
            f"{row['name']:58} {row['value']:10,.0f} {row['unit']}, "
            f"reference {row['reference']:10,.0f}, ratio {row['ratio']:.2f}"
        )


if __name__ == "__main__":
    main()
