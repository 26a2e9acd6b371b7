"""Retargeting files: `python -m benchmarks retarget`.

10,000 frames at 60 frames/s of a body with both hands, from one BVH file to another, with a network of the published
width (untrained: its weights do not matter here), and by copying; 1,000 frames with the optimiser; one frame alone.
The unit is one network's bare forward pass over 64 windows of 8 frames in the same run.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.timing import measure, row
from data.character.reading import Reading, read_character
from data.formats.bvh import Bvh, write_bvh
from data.motion.reading import read_motions
from data.motion.writing import Job, output_paths, write_motion
from data.rig.rotations import file_rotations
from model.asrn import ASRN
from model.kinematics import tbs_from_angles
from model.motion import MotionRetargeting
from model.streaming import StreamingNetwork
from model.topology import SIDES
from run.retargeting.retargeter import Retargeter

INPUTS = Path(__file__).parents[1] / "tests" / "golden" / "inputs"
FRAMES, RATE, LIVE = 10_000, 60.0, 20


def make_motion(path: Path, reading: Reading, frames: int) -> None:
    """Write a body with 67 joints whose fingers bend and spread, each at its own pace."""
    character = read_character(str(INPUTS / "Aj_mesh_data.npz"), reading)
    skeleton = character.skeleton
    time_ = np.arange(frames)[:, None] / RATE
    random = np.random.default_rng(0)
    turns = np.radians(5 * np.sin(time_ + random.uniform(0, 6, len(skeleton.names))))
    rotations = np.array(tbs_from_angles(torch.from_numpy(np.stack([turns, turns, turns], axis=-1))))
    for side in SIDES:
        hand = character.hands[side]
        angles = np.zeros((frames, 5, 3, 3))
        pace = random.uniform(0.5, 1.5, (5, 3))
        angles[..., 1] = 0.7 + 0.7 * np.sin(time_[..., None] * pace + random.uniform(0, 6, (5, 3)))
        angles[:, :, 0, 2] = 0.2 * np.sin(time_ * pace[:, 0])
        local = hand.shaped.with_tbs(tbs_from_angles(torch.from_numpy(angles).float())).local.double().numpy()
        for joint, turned in file_rotations(hand.map, hand.rest, local).items():
            rotations[:, joint] = turned
    places = np.broadcast_to(skeleton.heads[0], (frames, 3))
    write_bvh(path, Bvh.from_rotations(skeleton.names, skeleton.parents, skeleton.offsets, rotations,
                                       frame_time=1 / RATE, order="XYZ", root_positions=places))  # fmt: skip


def run() -> list[dict]:
    """Rows of the benchmark table."""
    torch.manual_seed(0)
    reading = Reading(Path("."))
    network = ASRN(distance_weighted=True, tbs_input_normalization=False).eval()
    source = read_character(str(INPUTS / "Aj_mesh_data.npz"), reading)
    target = read_character(str(INPUTS / "Kaya_mesh_data.npz"), reading)
    net = network.recon_nets[0]
    x, static = torch.randn(64, 8, net.res_blocks[0].moving), torch.randn(64, 243)

    @torch.inference_mode()
    def bare() -> None:
        net(x, static)

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path, made = Path(folder) / "motion.bvh", Path(folder) / "made"

        def file_to_file(retargeter: Retargeter) -> None:
            (motion,) = read_motions(path, reading, source)
            poses = {
                side: retargeting(own).local.double().numpy()
                for side, (own, retargeting) in retargeter.retargetings(motion).items()
            }
            write_motion(Job(motion, target, poses), output_paths(target, SIDES, made, ["bvh"], False))

        unit = measure({"bare": bare}, 1.0)["bare"]
        for name, method, used, frames in (
            ("ASRN", "asrn", network, FRAMES),
            ("twist-bend-splay copy", "tbs_copy", None, FRAMES),
            ("optimiser", "optimize", None, FRAMES // 10),
        ):
            make_motion(path, reading, frames)
            retargeter = Retargeter(target, method, used, 0, True, SIDES)
            seconds = min(_timed(lambda r=retargeter: file_to_file(r)) for _ in range(3))
            rows.append(row(f"{name}: {frames} frames, both hands, BVH file to BVH file", frames / seconds, "frames/s",
                            "bare passes in all", seconds / unit))  # fmt: skip
        hand, moved = target.hands["right"], source.hands["right"].shaped
        streaming = StreamingNetwork(network, hand.shaped)
        frame = moved.at_rest().local[None]
        once = MotionRetargeting("asrn", hand.shaped, torch.ones(21, dtype=torch.bool), streaming)

        def live() -> None:
            """Frames one by one, as they come from a camera."""
            for _ in range(LIVE):
                streaming.tbs(moved, frame, RATE)

        times = measure({"bare": bare, "live": live}, 2.0)
        alone = times["live"] / LIVE
        assert once.network is streaming
        rows.append(row("ASRN: one frame of one hand, frame by frame", alone * 1e3, "ms", "bare pass",
                        alone / times["bare"]))  # fmt: skip
    return rows


def _timed(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
