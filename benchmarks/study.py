"""What makes the feedback network good: it is trained with one thing changed at a time, some seeds each, and compared.

python -m benchmarks.study --folder artifact/study --data_path artifact/MixHandOpen --hands none   trains
python -m benchmarks.study --folder artifact/study --data_path artifact/MixHandOpen --hands val    compares

What is finished is not done again; a training that was stopped begins anew. Writes study_<hands>.json and a table,
study_<hands>.md. Choose by validation hands, and look at test hands once.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from data.features.windows import BatchRequest
from data.hand_stream import StreamDataModule
from data.mixhand import MixHandDataModule
from data.splits import read_splits
from model.batch import Hands, Source
from model.feedback import wanted
from model.feedback.module import Feedback
from model.feedback.network import FeedbackNetwork
from model.feedback.wanted import Wanted
from model.hands import PosedHand, ShapedHand
from model.measures import gap_closed, measure
from model.optimizer import CONTACT_WEIGHT, OptimizerSettings, optimise
from run.evaluate import chosen_windows
from run.evaluation.statistics import WindowSums
from run.training.checkpoints import CHECKPOINT_FOLDER, LAST, last_training
from run.training.command_line import LOGS, RetargetingCLI
from run.training.trained import load_network
from utils.cli import guarded
from utils.files import atomic_write
from utils.progress import progress

WINDOW, STRIDE, BATCH = 8, 12, 32
LEAST_ROOM = 1e-3
COLUMNS = {"S_finger": 4, "S_palm": 4, "pinch_error": 4, "gap_closed": 3}
"""Of the table, with their digits."""


class Blind:
    """Makes a feedback network one that sees what the source asks for, and not what its own pose lacks of it."""

    def error(self, seen: Tensor, asked: Wanted) -> tuple[Tensor, Tensor]:
        """See :meth:`model.feedback.network.FeedbackNetwork.error`."""
        direction = asked.direction
        parts = [*direction.unbind(2), *torch.zeros_like(direction).unbind(2)]
        return torch.cat(parts, dim=1), wanted.tips(asked.seen)


class BlindFeedback(Blind, Feedback):
    """Trains such a network."""


class BlindNetwork(Blind, FeedbackNetwork):
    """Such a network, trained."""


@dataclass(frozen=True)
class Variant:
    """A training that differs from that of the open weights."""

    title: str
    options: dict[str, Any] = field(default_factory=dict)
    """Of the training's command line."""
    blind: bool = False
    constants: dict[str, float] = field(default_factory=dict)
    """Of :mod:`model.feedback.wanted`."""


def _characters(count: int) -> list[str]:
    return [f"Hand00..{count - 1:02}", f"Mano00..{min(count, 64) - 1:02}"]


_BANK_ALONE = {"data.shares": {"motion": 1.0, "solved": 0.0, "fresh": 0.0}}
SHORT, LIGHT = {"trainer.max_epochs": 12, "model.passes": 2}, {"CURVED": 1000.0, "STRAIGHT": 30.0}
"""A third of the training, two passes, and touches of half the weight: of this the others change one thing."""


def short(title: str, changed: dict[str, Any] | None = None, blind: bool = False) -> Variant:
    """A short training."""
    return Variant(title, {**SHORT, **(changed or {})}, blind, LIGHT)


VARIANTS = {
    "long_three_touch": Variant("as the open weights: three passes, long, touches in full"),
    "long_three": Variant("three passes, long", constants=LIGHT),
    "long": short("two passes, long", {"trainer.max_epochs": 36}),
    "as_it_is": short("two passes"),
    "one_pass": short("one pass", {"model.passes": 1}),
    "three_passes": short("three passes", {"model.passes": 3}),
    "blind": short("two passes, sees the source alone and not its error", blind=True),
    "no_random": short("two passes, 96 characters, no random hands", _BANK_ALONE),
    "eight": short(
        "two passes, 8 characters, no random hands", {**_BANK_ALONE, "data.train_characters": _characters(8)}
    ),
    "three": short(
        "two passes, 3 characters, no random hands", {**_BANK_ALONE, "data.train_characters": _characters(3)}
    ),
    "no_touch": Variant("two passes, no touch terms", SHORT, constants={"CURVED": 0.0, "STRAIGHT": 0.0}),
    "small": short("two passes, half as wide", {"model.hidden_channel": 96, "model.row_channel": 8}),
    "large": short("two passes, twice as wide", {"model.hidden_channel": 384, "model.row_channel": 32}),
}
OPEN = "long_three_touch"
STEPS = (1, 2, 3)


def main() -> None:
    """Train what is missing, compare."""
    parser = argparse.ArgumentParser("python -m benchmarks.study", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--folder", type=Path, default=Path("artifact/study"), help="of trainings and tables")
    parser.add_argument("--data_path", type=Path, default=Path("artifact/MixHandOpen"), help="MixHand-Open")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), metavar="VARIANT",
                        help=", ".join(VARIANTS))  # fmt: skip
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--hands", choices=("val", "test", "none"), default="val", help="to compare on")
    parser.add_argument("--max_windows", type=int, default=300, help="compared, evenly spread")
    parser.add_argument("--train", nargs=2, metavar=("VARIANT", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        name, seed = options.train
        train(name, int(seed), options.folder, options.data_path)
        return
    for seed in options.seeds:
        for name in options.variants:
            if not weights_of(options.folder, name, seed).is_file():
                print(f"training: {name}, seed {seed}", flush=True)
                shared = ["--folder", str(options.folder), "--data_path", str(options.data_path)]
                command = [sys.executable, "-m", "benchmarks.study", *shared, "--train", name, str(seed)]
                subprocess.run(command, check=True)
    if options.hands != "none":
        figures = compare(options.folder, options.data_path, options.variants, options.seeds, options.hands,
                          options.max_windows)  # fmt: skip
        write(options.folder / f"study_{options.hands}", figures)


def weights_of(folder: Path, name: str, seed: int) -> Path:
    """The checkpoint of a finished training."""
    return folder / f"{name}_{seed}.ckpt"


def train(name: str, seed: int, folder: Path, data: Path) -> None:
    """Train a variant in this process."""
    variant, root = VARIANTS[name], folder / "runs" / f"{name}_{seed}"
    shutil.rmtree(root, ignore_errors=True)
    given = {
        "seed_everything": seed, "data.data_path": data, "model.smplx_model_path": data / "models",
        "model.mano_axis_path": data / "finger_data" / "mano_finger_axis.pkl", "trainer.default_root_dir": root,
        "trainer.check_val_every_n_epoch": 6, "trainer.enable_progress_bar": "false", "pictures.every_n_epochs": 0,
        **variant.options,
    }  # fmt: skip
    words = ["fit", "--config", "config/open/Feedback.yaml"]
    for option, value in given.items():
        words += [f"--{option}", value if isinstance(value, str) else json.dumps(value, default=str).strip('"')]
    with mock.patch.multiple(wanted, **variant.constants) if variant.constants else mock.MagicMock():
        RetargetingCLI(BlindFeedback if variant.blind else Feedback, "feedback", "run.train_feedback", words,
                       StreamDataModule)  # fmt: skip
    found, _ = last_training(root / LOGS)
    assert found is not None, root
    with atomic_write(weights_of(folder, name, seed)) as temporary:
        shutil.copyfile(found / CHECKPOINT_FOLDER / LAST, temporary)


Poser = Callable[[ShapedHand, Hands, Source], PosedHand]


def methods(folder: Path, data: Path, variants: Sequence[str], seeds: Sequence[int]) -> dict[tuple[str, int], Poser]:
    """What is compared: title and seed, 0 for what needs none."""
    copy, optimum = OptimizerSettings(iterations=0), OptimizerSettings.converged()
    found: dict[tuple[str, int], Poser] = {("copy", 0): solved(None, copy), ("optimum", 0): solved(None, optimum)}
    for steps in STEPS:
        found[f"copy and {steps} of the optimiser's steps", 0] = solved(None, few_steps(steps))
    found["copy, optimiser with contacts to its end", 0] = solved(
        None, OptimizerSettings.converged(contact_weight=CONTACT_WEIGHT)
    )
    paths = {"smplx_model_path": str(data / "models"),
             "mano_axis_path": str(data / "finger_data" / "mano_finger_axis.pkl")}  # fmt: skip
    for name in variants:
        for seed in seeds:
            network: Any = load_network(weights_of(folder, name, seed), "feedback", **paths)
            if VARIANTS[name].blind:
                network.__class__ = BlindNetwork
            found[VARIANTS[name].title, seed] = network.retargeted
            if name == OPEN:
                found[f"{VARIANTS[name].title}, and one of the optimiser's steps", seed] = solved(
                    network.retargeted, few_steps(1)
                )
    return found


def few_steps(count: int) -> OptimizerSettings:
    """Steps of the optimiser as it is used, touches too."""
    return OptimizerSettings(iterations=count, contact_weight=CONTACT_WEIGHT, keep_start=True)


def solved(first: Poser | None, settings: OptimizerSettings) -> Poser:
    """The optimiser, from what `first` makes, or from a copy."""

    def poser(shaped: ShapedHand, target: Hands, source: Source) -> PosedHand:
        start = source.tbs if first is None else first(shaped, target, source).tbs
        if not settings.iterations:
            return shaped.with_tbs(start)
        shared = source.shared_with(target)
        return optimise(shaped, shared.semantic_matrix, start, settings, shared.present)

    return poser


@torch.no_grad()
def compare(
    folder: Path, data: Path, variants: Sequence[str], seeds: Sequence[int], hands: str, at_most: int
) -> dict[str, Any]:
    """Figures of every method in both directions, ``{direction: {title: {seed: figures}}}``."""
    chosen = read_splits(data)["val" if hands == "val" else "test_outside"]
    module = MixHandDataModule(str(data), window_size=WINDOW, batch_size=BATCH, frame_stride=STRIDE, num_workers=0,
                               test_characters=chosen, protocol="cross")  # fmt: skip
    windows, posers = module.windows("test"), methods(folder, data, variants, seeds)
    models: Any = load_network(weights_of(folder, variants[0], seeds[0]), "feedback",
                               smplx_model_path=str(data / "models"),
                               mano_axis_path=str(data / "finger_data" / "mano_finger_axis.pkl"))  # fmt: skip
    sums: dict[tuple[str, str, int], WindowSums] = {}
    numbers = chosen_windows(len(windows), at_most)
    with progress("Comparing", len(numbers), "windows") as advance:
        for part in np.array_split(numbers, -(-len(numbers) // BATCH)):
            batch = windows.batch(BatchRequest(0, part))
            for target, other in ((batch.first, batch.second), (batch.second, batch.first)):
                shaped, source = models.shaped_hand(target), Source(other)
                shared, way = source.shared_with(target), f"{other.domain} → {target.domain}"
                for (title, seed), poser in posers.items():
                    found = measure(shared.directions, poser(shaped, target, source), shared.present)
                    sums.setdefault((way, title, seed), WindowSums()).add(
                        found.by_window(torch.ones_like(found.s_finger, dtype=torch.bool))
                    )
            advance(len(part))
    result: dict[str, Any] = {"hands": hands, "windows": len(numbers), "directions": {}}
    for (way, title, seed), counted in sums.items():
        rows = result["directions"].setdefault(way, {})
        rows.setdefault(title, {})[seed] = counted.figures()
    for rows in result["directions"].values():
        low, high = rows["copy"][0]["S_finger"], rows["optimum"][0]["S_finger"]
        for each in rows.values():
            for figures in each.values():
                figures["gap_closed"] = gap_closed(figures["S_finger"], low, high, LEAST_ROOM)
    return result


def write(path: Path, result: dict[str, Any]) -> None:
    """Figures as JSON, and as a table: means over seeds, ± the standard deviation among them."""
    lines = ["| direction | method | S_finger | S_palm | pinch error | gap closed |", "|---|---|---|---|---|---|"]
    for way, rows in result["directions"].items():
        for title, seeds in rows.items():
            cells = [_cell([each[name] for each in seeds.values()], digits) for name, digits in COLUMNS.items()]
            lines.append(f"| {way} | {title} | {' | '.join(cells)} |")
    for suffix, text in ((".json", json.dumps(result, indent=1)), (".md", "\n".join(lines) + "\n")):
        with atomic_write(path.with_suffix(suffix)) as temporary:
            temporary.write_text(text, encoding="utf-8")
    print("\n".join(lines))


def _cell(values: Sequence[float], digits: int) -> str:
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"


if __name__ == "__main__":
    guarded(main)
