"""How fast motions become feature files: `python -m benchmarks preprocess`.

The unit is NumPy's own text reader on the same files, in the same run, one after the other on one core: what anybody
would have to do at least to get at the numbers. So the ratio says how much of that time the whole work takes: reading,
features, statistics, hashing, checking, writing. It does not depend on the machine, and should not on the amount.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.bvh import best_time
from data.formats.bvh import Bvh, write_bvh
from data.preparation.preprocess import Preprocessor
from model.topology import PARENTS, hand_joint_names
from tests.hostile.corpus import mano, mesh
from utils.cli import processors
from utils.parallel import map_unordered

FRAMES = {"mixamo": 3000, "mano": 2000}
"""In each clip."""
CLIPS = (1, 4)
"""In each character, so that growth shows."""


def make_body(frames: int, seed: int) -> Bvh:
    """A Mixamo body of 67 joints: 46 without fingers of this hand, then the hand."""
    rng = np.random.default_rng(seed)
    hand = [f"mixamorig:{name}" for name in hand_joint_names("mixamo", "right")]
    names = [f"mixamorig:Joint{number}" for number in range(46)] + hand
    parents = [*range(-1, 45), *(45 if parent < 0 else 46 + parent for parent in PARENTS)]
    return _moving(names, parents, frames, rng)


def make_hand(frames: int, seed: int) -> Bvh:
    """A MANO hand of 21 joints."""
    return _moving(hand_joint_names("mano", "right"), PARENTS, frames, np.random.default_rng(seed))


def _moving(names, parents, frames: int, rng) -> Bvh:
    turns = ("Zrotation", "Yrotation", "Xrotation")
    channels = (("Xposition", "Yposition", "Zposition", *turns), *[turns] * (len(names) - 1))
    phase = rng.uniform(0, 6, (1, 3 * len(names) + 3))
    values = 40 * np.sin(np.linspace(0, frames / 30, frames)[:, None] + phase)
    offsets = rng.normal(size=(len(names), 3))
    return Bvh(tuple(names), np.array(parents), offsets, channels, np.round(values, 6), 1 / 60)


def make_folder(folder: Path, domain: str, characters: int, clips: int) -> list[bytes]:
    """A data set; gives the text of the numbers of its motions."""
    rng = np.random.default_rng(0)
    data = folder / "finger_data"
    data.mkdir(parents=True)
    axes = np.tile(np.eye(3), (5, 4, 1, 1))
    triangles = {"rhand_bend_bary": np.full((5, 2, 3), 1 / 3), "rhand_bend_index_tri": np.arange(10).reshape(5, 2)}
    np.savez(data / "mano_finger_axis.npz", rhand=axes[:, 0], **triangles)
    model = mano(rng)
    model["J_regressor"] = model["J_regressor"].toarray()
    np.savez(folder / "MANO_RIGHT.npz", **model)
    bodies = []
    for character in range(characters):
        name = f"C{character}"
        if domain == "mixamo":
            np.savez(data / f"{name}_mesh_data.npz", **mesh(rng))
            np.savez(data / f"{name}_finger_axis.npz", rhand=axes)
        (folder / name).mkdir()
        for clip in range(clips):
            path = folder / name / f"{clip}.bvh"
            make = make_body if domain == "mixamo" else make_hand
            write_bvh(path, make(FRAMES[domain], 100 * character + clip))
            if domain == "mano":
                np.save(path.with_suffix(".npy"), rng.normal(size=(FRAMES[domain], 10)).astype(np.float32))
            bodies.append(path.read_bytes().partition(b"Frame Time: ")[2].partition(b"\n")[2])
    return bodies


def preprocess(worker: Preprocessor, jobs: int) -> None:
    """All characters, by as many processes."""
    plans = [worker.plan(character) for character in worker.characters()]
    for done in map_unordered(worker.carry_out, plans, jobs):
        if done.failure is not None:
            raise RuntimeError(done.failure)


def run() -> list[dict]:
    """Measure both domains, with one core and with two, and with four times as many clips.

    Returns:
        Rows with name, value and reference (both in frames per second), unit, and ratio = value / reference.
    """
    rows = []
    for domain in FRAMES:
        for clips in CLIPS:
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary)
                bodies = make_folder(folder, domain, 2, clips)
                frames = len(bodies) * FRAMES[domain]
                worker = Preprocessor(folder, folder / "MANO_RIGHT.npz", force=True)
                reference = _seconds(partial(_read_text, bodies), 2)
                for jobs in sorted({1, min(2, processors())}):
                    task = partial(preprocess, worker, jobs)
                    task()  # starts the processes, which later runs use again
                    seconds = _seconds(task, 2)
                    rows.append(
                        {
                            "name": f"preprocess, {domain}, 2 × {clips} clips, {jobs} process{'es' * (jobs > 1)} "
                            "(reference: numpy.loadtxt of the text)",
                            "value": frames / seconds,
                            "unit": "frames/s",
                            "reference": frames / reference,
                            "ratio": reference / seconds,
                        }
                    )
    return rows


def _read_text(bodies: list[bytes]) -> None:
    for body in bodies:
        np.loadtxt(io.BytesIO(body))


def _seconds(task: Callable[[], None], repeats: int) -> float:
    return best_time(task, repeats)
