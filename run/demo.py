"""From nothing to the table: `python -m run.demo` (what `make demo` runs after the set-up).

Builds MixHand-Open, computes its features, and tests all methods on hands outside and inside the range of the training
hands: results.json, tables.md, plots and hands.png. Networks have the open weights that come with the program; beside
the test the feedback network is trained for a minute, to see a training and what it reaches. `--train` trains networks
in full instead (a process and a thread each), and tests those.
Steps whose inputs have not changed are skipped or, if they were interrupted, continued.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from model.methods import COPY, METHODS, OPTIMUM, of_kind, title_of
from utils.cli import CommandLine, guarded, options_first, processors
from utils.errors import InputError
from utils.files import atomic_write, content_hash


def argument_parser() -> CommandLine:
    """The options."""
    parser = CommandLine("run.demo", __doc__)
    parser.add_argument("--output", type=Path, default=Path("artifact/demo"), help="folder of results and trainings")
    parser.add_argument("--data_path", type=Path, default=Path("artifact/MixHandOpen"), help="folder of the data set")
    parser.add_argument("--train", nargs="+", metavar="METHOD", default=(), choices=("all", *of_kind("network")),
                        help=f"train these in full before the test: all, {', '.join(of_kind('network'))}")  # fmt: skip
    parser.flag("small", "few hands, short training: only to see that it runs")
    return parser


options_first(__name__, argument_parser)

from rich.console import Console

from data.dataset import MixHandFolder
from data.mixhand import MixHandDataModule
from data.splits import TITLES, read_splits
from model.network import TrainedNetwork
from run.evaluate import SKIN_FRAMES, Settings, evaluate, open_groups
from run.evaluation.comparison import draw_comparison
from run.evaluation.line_up import LineUp
from run.evaluation.report import print_tables, write_report
from run.evaluation.touching import Fleshed
from run.training.checkpoints import CHECKPOINT_FOLDER, LAST, display_path, last_training, program_of
from run.training.command_line import LOGS
from run.training.open_weights import all_open_weights
from run.training.trained import load_network
from utils.threads import torch_threads

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = ("optimizer_contacts",)
"""Of the methods in the tables: the picture shows one optimiser."""
DONE = "finished.json"
BESIDE = "feedback"
"""The network that is trained beside the test, unless others are trained in full."""
MINUTE = ["--trainer.max_epochs", "2", "--trainer.check_val_every_n_epoch", "2", "--pictures.every_n_epochs", "0"]
"""What its training is shortened by."""
GLANCE = 100
"""Test windows that such a network is measured on."""
SHORT = ["--trainer.max_epochs", "2", "--trainer.limit_train_batches", "8"]
"""What a training is shortened by, only to see that it runs."""
PROGRESS = ("epoch", "--ckpt_path", "note", "Written")  # how lines of the training programs begin that are passed on


class Steps:
    """Announces the steps of the demo with the time that has gone by."""

    def __init__(self) -> None:
        self.console = Console()
        self.began = time.monotonic()
        self.seconds: dict[str, float] = {}
        self._current: tuple[str, float] | None = None

    def start(self, key: str, title: str) -> None:
        """Close the step before and announce the next one."""
        self.close()
        now = time.monotonic()
        self._current = (key, now)
        self.console.print(f"[bold]\\[{now - self.began:4.0f} s] {title}[/bold]", highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Note how long the current step took."""
        if self._current is not None:
            self.seconds[self._current[0]] = round(time.monotonic() - self._current[1], 1)
            self._current = None


def run_module(name: str, arguments: Sequence[str], label: str = "", threads: int | None = None) -> None:
    """Run `python -m name arguments`. Behind a `label`, only the lines that tell of progress are passed on.

    Raises InputError if it fails; what went wrong has been printed by then.
    """
    command = [sys.executable, "-u", "-m", name, *arguments]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path}
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    if not label:
        code = subprocess.run(command, env=environment, check=False).returncode
    else:
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            kept: list[str] = []
            try:
                for line in filter(str.strip, process.stdout):
                    kept.append(f"{label} │ {line.rstrip()}")
                    if line.startswith(PROGRESS):
                        print(kept[-1], flush=True)
            except BaseException:
                process.terminate()
                raise
        code = process.returncode
        if code:
            print("\n".join(kept[-30:]), file=sys.stderr, flush=True)
    if code:
        raise InputError(f"python -m {name} failed (exit code {code}); its message is above")


def run_together(jobs: dict[str, tuple[str, Sequence[str]]], cores: int) -> None:
    """Run {label: (module, arguments)} at the same time on so many cores, each with its share of threads.

    Raises InputError if one of them fails, after the others have ended.
    """
    failures: list[Exception] = []

    def work(label: str, name: str, arguments: Sequence[str]) -> None:
        try:
            run_module(name, arguments, label, threads=max(1, cores // len(jobs)))
        except InputError as error:
            failures.append(error)

    width = max(map(len, jobs), default=0)
    threads = [threading.Thread(target=work, args=(label.ljust(width), *job)) for label, job in jobs.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise InputError("; ".join(map(str, failures)))


def config_of(method: str) -> Path:
    """The configuration that a network is trained with on the open data."""
    return ROOT / "config" / "open" / f"{METHODS[method].title}.yaml"


def training_key(method: str, data: Path, overrides: Sequence[str]) -> str:
    """A fingerprint of everything that a training depends on: configuration, program, features."""
    sources = sorted([*(ROOT / "model").rglob("*.py"), *(ROOT / "data").rglob("*.py")])
    folder = MixHandFolder(data)
    files = content_hash(config_of(method), *sources, folder.splits, *sorted((folder.models / "mano").glob("*")))
    # Descriptions of features hold the fingerprint of what they were computed from, beside things that may change.
    described = [(path.name, json.loads(path.read_text()).get("inputs")) for path in sorted(data.glob("*.json"))]
    return f"{method}-{hashlib.sha256(repr([files, described, *overrides]).encode()).hexdigest()[:10]}"


def train(output: Path, data: Path, methods: Sequence[str], overrides: Sequence[str], cores: int) -> dict[str, Path]:
    """Train networks side by side, each in a folder named by its inputs; returns the checkpoint of each.

    A finished training with the same inputs is not repeated; an interrupted one is continued.
    """
    roots = {method: output / "runs" / training_key(method, data, overrides) for method in methods}
    jobs, splits = {}, read_splits(data)
    for method, root in roots.items():
        if (root / DONE).is_file() and last_training(root / LOGS)[1] is not None:
            print(f"{method.upper()}: trained already with the same data, settings and program ({display_path(root)})")
            continue
        jobs[method.upper()] = (program_of(METHODS[method]), [
            "fit", "--config", str(config_of(method)), *data_options(data),
            "--data.train_characters", json.dumps(splits["train"]), "--data.val_characters", json.dumps(splits["val"]),
            "--data.test_characters", json.dumps(splits["test_outside"]),
            "--trainer.default_root_dir", str(root), "--ckpt_path", "last", *overrides,
        ])  # fmt: skip
    run_together(jobs, cores)
    checkpoints = {}
    for method, root in roots.items():
        folder, _ = last_training(root / LOGS)
        if folder is None or not (folder / CHECKPOINT_FOLDER / LAST).is_file():
            raise InputError(f"{root}: the training of {method.upper()} left no checkpoint; delete the folder")
        with atomic_write(root / DONE) as temporary:
            temporary.write_text(json.dumps({"checkpoint": str(folder / CHECKPOINT_FOLDER / LAST)}), encoding="utf-8")
        checkpoints[method] = output / f"{method.upper()}.ckpt"
        with atomic_write(checkpoints[method]) as temporary:
            shutil.copyfile(folder / CHECKPOINT_FOLDER / LAST, temporary)
    return checkpoints


def data_options(data: Path) -> list[str]:
    """Options that point a training program to the open data set."""
    folder = MixHandFolder(data)
    return [
        "--data.data_path", str(data), "--model.smplx_model_path", str(folder.models),
        "--model.mano_axis_path", str(folder.mano_axes),
    ]  # fmt: skip


def demo(output: Path, data: Path, in_full: Sequence[str], overrides: Sequence[str], build: Sequence[str]) -> None:
    """Everything, from the building of the data to the picture."""
    steps = Steps()
    steps.start("build", "Building MixHand-Open")
    run_module("run.build_open_hands", ["--output", str(data), *build])
    steps.start("preprocess", "Computing features")
    run_module("run.preprocess_mixhand", ["--data_path", str(data), "--smplx_path", str(MixHandFolder(data).models)])
    files, brief = all_open_weights(), () if in_full else (BESIDE,)
    if in_full:
        steps.start("train", f"Training in full: {', '.join(map(title_of, in_full))}")
        files |= train(output, data, in_full, overrides, processors())
    beside = "".join(f"; beside it, training {title_of(method)} for a minute" for method in brief)
    steps.start("test", f"Testing on hands that no training has seen{beside}")
    with ThreadPoolExecutor(1) as pool, torch_threads(max(1, processors() - len(brief))):
        training = pool.submit(train, output, data, brief, [*MINUTE, *overrides], cores=1)
        networks = networks_of(files, data)
        hands = networks[BESIDE].hand_models
        line_up = LineUp(list(METHODS), networks, hands, Fleshed(MixHandFolder(data), hands))
        results = evaluate(line_up, data, open_groups(data), Settings(skin_frames=SKIN_FRAMES))
        steps.start("draw", "Drawing the gestures on which the methods differ most")
        module = MixHandDataModule(str(data), num_workers=0, test_characters=results["test_characters"])
        drawn = LineUp([name for name in METHODS if name not in LEFT_OUT], networks, hands)
        draw_comparison(drawn, module, output / "hands.png")
        if not training.done():
            steps.start("train", "Waiting for the training beside")
        trained = training.result()
    results["trained_here"] = figures_of(trained, line_up, data)
    steps.close()
    results["seconds"] = steps.seconds
    results["checkpoints"] = {method: display_path(path) for method, path in files.items()}
    write_report(output, results, TITLES)
    print_tables(results, dict(reversed(TITLES.items())))
    for method, figures in results["trained_here"].items():
        print(spoken_figures(method, figures, results["methods"]))
    total = time.monotonic() - steps.began
    shown = [output / "results.json", output / "tables.md", output / "figures", output / "hands.png"]
    print(f"Written in {total:.0f} s: {', '.join(display_path(path) for path in shown)}", flush=True)


def networks_of(files: Mapping[str, Path], data: Path) -> dict[str, TrainedNetwork]:
    """Networks of files, by method, that pose the data set's parametric hand."""
    folder = MixHandFolder(data)
    paths = {"smplx_model_path": str(folder.models), "mano_axis_path": str(folder.mano_axes)}
    return {method: load_network(path, method, **paths) for method, path in files.items()}


def figures_of(trained: Mapping[str, Path], line_up: LineUp, data: Path) -> dict[str, dict[str, Any]]:
    """What networks that were trained beside the test reach on some windows outside the range of their hands."""
    group = {key: group for key, group in open_groups(data).items() if key == "methods"}
    found = {}
    for method, network in networks_of(trained, data).items():
        line = LineUp([COPY, method, OPTIMUM], {method: network}, line_up.hands)
        found[method] = evaluate(line, data, group, Settings(max_windows=GLANCE))["methods"][method]
    return found


def spoken_figures(method: str, figures: Mapping[str, Any], beside: Mapping[str, Any]) -> str:
    """A line about a network that was trained here, beside the open weights of the same method."""

    def shares(found: Mapping[str, Any]) -> str:
        return " and ".join(f"{found[way].get('S_finger_gap_closed', 0):.0%}" for way in found)

    return (
        f"{title_of(method)} as trained here, in a minute, closes {shares(figures)} of the gap between copy and "
        f"optimiser ({GLANCE} windows outside); the open weights, trained longer, {shares(beside[method])} (all)"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the options and run."""
    options = argument_parser().parse_args(arguments)
    in_full = list(of_kind("network")) if "all" in options.train else list(dict.fromkeys(options.train))
    overrides, build = (SHORT, ["--small"]) if options.small else ([], [])
    demo(options.output, options.data_path, in_full, overrides, build)


if __name__ == "__main__":
    guarded(main)
