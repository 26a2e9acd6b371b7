"""Films: frames a second of two methods side by side, encoding included; compiled, and by NumPy."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from unittest.mock import patch

from benchmarks.optimizer import INPUTS, angles_of_motion
from benchmarks.timing import row
from data.character.reading import read_annotated
from model.kinematics import tbs_from_angles
from model.methods import METHODS
from run.drawing.clip import Clip, Track
from run.drawing.surfaces import hand_cells, posed_surface
from utils import raster_compiled
from utils.video import write_film

FRAMES, FEW = 1000, 60
SIZE, RATE = 320, 30.0


def run() -> list[dict]:
    """Measure; rows with name, value, unit, reference and ratio."""
    poses = tbs_from_angles(angles_of_motion()[0])
    poses = poses.repeat(-(-FRAMES // len(poses)), 1, 1, 1, 1)[:FRAMES]
    tracks = []
    for name, method in (("Aj", "tbs_copy"), ("BigVegas", "optimizer")):
        hand = read_annotated(INPUTS / f"{name}_mesh_data.npz", INPUTS / f"{name}_finger_axis.npz").hands["right"]
        posed = hand.shaped.with_tbs(poses)
        surface = (*posed_surface(posed, hand.surface, hand.present), posed[None])
        tracks.append(Track(hand_cells(surface, [[]] * FRAMES, color=METHODS[method].color), METHODS[method].title))
    raster_compiled.PROGRAM.functions()  # compiled once for all, and not part of the figure
    compiled = _frames_a_second(tracks, FRAMES)
    with patch.object(raster_compiled, "program", lambda samples: None):
        by_numpy = _frames_a_second([Track(t.cells[:FEW], t.title) for t in tracks], FEW)
    return [row("film, two methods", compiled, "frames/s", "by NumPy", compiled / by_numpy)]


def _frames_a_second(tracks: list[Track], frames: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        write_film(Path(folder) / "film.mp4", Clip(tracks, size=SIZE, views=("palm",), fps=RATE), RATE)
        return frames / (time.perf_counter() - start)
