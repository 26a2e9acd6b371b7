"""Whether time per window and memory stay the same when the data grow: `python -m benchmarks.scale`.

Makes data sets of several times MixHand-Open (its clips again under other names) and measures preprocessing, training
and evaluation on each, every one in a process of its own. Memory is what the process holds for itself: pages of
feature files that the operating system may drop at any time do not count; time is that of the processor, one thread.
Prints the figures and draws them. 16 times MixHand-Open are 15 GB of features.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import torch

from data.dataset import MixHandFolder
from data.mixhand import MixHandDataModule
from data.preparation.preprocess import Preprocessor
from data.splits import read_splits
from model.asrn import ASRN
from model.batch import HandModels
from run.evaluate import Settings, evaluate, open_groups
from run.evaluation.line_up import LineUp
from utils.files import atomic_write

WORK = ("preprocess", "train", "evaluate")
TITLES = {"preprocess": "Preprocessing", "train": "Training step", "evaluate": "Evaluation (copies, ASRN)"}
STEPS, WARM_UP, BATCH = 30, 5, 64


def main() -> None:
    """Measure, or measure one thing in this process."""
    parser = argparse.ArgumentParser("python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--data_path", type=Path, default=Path("artifact/MixHandOpen"), help="MixHand-Open")
    parser.add_argument("--factors", type=int, nargs="+", default=[1, 4, 16], help="of its amount of motion")
    parser.add_argument("--work_dir", type=Path, help="folder for the data sets; default: a temporary one")
    parser.add_argument("--results", type=Path, default=Path("artifact/scale.json"), help="figures, as JSON")
    parser.add_argument("--picture", type=Path, default=Path("artifact/scale.svg"), help="plot")
    parser.add_argument("--measure", nargs=2, metavar=("WORK", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measured(options.measure[0], Path(options.measure[1]))))
        return
    rows = []
    with tempfile.TemporaryDirectory(dir=options.work_dir) as folder:
        for factor in options.factors:
            data = grown(options.data_path, Path(folder) / f"times_{factor:g}", factor)
            for work in WORK:
                command = [sys.executable, "-m", "benchmarks.scale", "--measure", work, str(data)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                rows.append({"times": factor, "work": work, **json.loads(done.stdout.splitlines()[-1])})
                print(rows[-1], flush=True)
            shutil.rmtree(data)
    with atomic_write(options.results) as temporary:
        temporary.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    draw(rows, options.picture)


def grown(source: Path, folder: Path, factor: int) -> Path:
    """A data set with ``factor`` times the motion of another one."""
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.npy", "*.json", "clip.bvh", "mean_var"))
    for name in MixHandFolder(source).moving():
        clip = source / name / "clip.bvh"
        (folder / name).mkdir(exist_ok=True)
        for number in range(factor):
            for each in (clip, clip.with_suffix(".npy")):
                if each.is_file():
                    shutil.copyfile(each, folder / name / f"clip{number}{each.suffix}")
    return folder


def measured(work: str, folder: Path) -> dict[str, float]:
    """Windows, milliseconds of the processor for each, and the most memory in megabytes."""
    torch.set_num_threads(1)
    with peak_memory() as peak:
        windows, seconds = {"preprocess": _preprocess, "train": _train, "evaluate": _evaluate}[work](folder)
    return {"windows": windows, "milliseconds": 1000 * seconds / windows, "megabytes": peak() / 1024}


@contextmanager
def peak_memory() -> Iterator[Callable[[], int]]:
    """Kilobytes of this process's own memory at their most within the block, looked at 100 times a second."""
    most, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
            own = next(line for line in lines if line.startswith("RssAnon"))
            most[0] = max(most[0], int(own.split()[1]))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield lambda: most[0]
    finally:
        over.set()
        thread.join()


def _preprocess(folder: Path) -> tuple[int, float]:
    worker = Preprocessor(folder, folder / "models")
    start = time.process_time()
    for name in worker.characters():
        worker.run(name)
    seconds = time.process_time() - start
    groups = _module(folder).windows("train").groups
    return sum(map(len, groups)), seconds * _share_of_training(folder)


def _share_of_training(folder: Path) -> float:
    """Of the motion, in bytes: time is counted per training window, so that of the other splits is left out."""
    data = MixHandFolder(folder)
    sizes = {name: sum(path.stat().st_size for path in data.motions(name)) for name in data.moving()}
    chosen = read_splits(folder)["train"]
    return sum(sizes[name] for name in chosen) / sum(sizes.values())


def _module(folder: Path) -> MixHandDataModule:
    splits = read_splits(folder)
    return MixHandDataModule(
        str(folder), batch_size=BATCH, num_workers=0, new_pairs=True, train_characters=splits["train"],
        val_characters=splits["val"],
    )  # fmt: skip


def _train(folder: Path) -> tuple[int, float]:
    data = MixHandFolder(folder)
    network = ASRN(smplx_model_path=str(data.models), mano_axis_path=str(data.mano_axes))
    network.log_dict = lambda *_, **__: None  # a step without a trainer
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    start = 0.0
    module = _module(folder)
    module.setup("fit")
    batches = iter(module.train_dataloader())
    for number, batch in enumerate(islice(_again(batches, module), WARM_UP + STEPS)):
        if number == WARM_UP:
            start = time.process_time()
        totals, _ = network._step(batch, semi=True)
        optimizer.zero_grad()
        (totals["mixamo"] + totals["mano"]).backward()
        optimizer.step()
    seconds = time.process_time() - start
    return STEPS * BATCH, seconds


def _again(batches, module: MixHandDataModule):
    """Whole batches, epoch after epoch."""
    while True:
        yield from (batch for batch in batches if len(batch) == BATCH)
        batches = iter(module.train_dataloader())


def _evaluate(folder: Path) -> tuple[int, float]:
    data = MixHandFolder(folder)
    paths = {"smplx_model_path": str(data.models), "mano_axis_path": str(data.mano_axes)}
    torch.manual_seed(0)
    line_up = LineUp(
        ["rotation_copy", "tbs_copy", "asrn"], {"asrn": ASRN(**paths).eval()}, HandModels(**paths, side="right")
    )
    start = time.process_time()
    results = evaluate(line_up, folder, open_groups(folder), Settings())
    seconds = time.process_time() - start
    return sum(results[key] for key in results if key.startswith("windows") and isinstance(results[key], int)), seconds


def draw(rows: list[dict], path: Path) -> None:
    """Time per window beside memory, against the amount of data, both axes in powers of two."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    panels = figure.subplots(1, 2)
    times = sorted({row["times"] for row in rows})
    for axes, key, title in zip(
        panels, ("milliseconds", "megabytes"), ("Processor time per window (ms)", "Memory (MB)"), strict=True
    ):
        for work, colour in zip(WORK, ("#82C4B0", "#FA7F6F", "#8E78BF"), strict=True):
            own = sorted((row["times"], row[key]) for row in rows if row["work"] == work)
            axes.plot(*zip(*own, strict=True), "o-", color=colour, label=TITLES[work])
        axes.set_xscale("log", base=2)
        axes.set_xticks(times, [f"{each:g}" for each in times])
        axes.set_ylim(bottom=0)
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel("times MixHand-Open")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.3)
    panels[0].legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, metadata={"Date": None})


if __name__ == "__main__":
    main()
