"""Build MixHand-Open, the open data set that ships with this project.

python -m run.build_open_hands --output artifact/MixHandOpen
"""

from __future__ import annotations

import time
from pathlib import Path

from utils.cli import CommandLine, guarded, options_first, wide_console


def argument_parser() -> CommandLine:
    """The options."""
    parser = CommandLine("run.build_open_hands", __doc__)
    parser.add_argument("--output", type=Path, default=Path("artifact/MixHandOpen"), help="folder to build into")
    parser.add_argument("--side", choices=("right", "left", "both"), default="right", help="hands to write motion of")
    parser.add_argument("--seed", type=int, default=7, help="which motion is drawn")
    parser.flag("small", "a few hands and seconds only, to try things out")
    parser.flag("force", "build even if the folder holds this build already")
    parser.add_argument(
        "--train_seconds",
        type=float,
        nargs=2,
        metavar=("CHARACTER", "SUBJECT"),
        help="seconds of motion of each training character and subject (14 and 21)",
    )
    parser.add_argument("--pictures", type=Path, help="also draw hands.png and shapes.png into this folder (a minute)")
    return parser


options_first(__name__, argument_parser)

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from data.dataset import MixHandFolder
from data.open_hands.build import Plan, build
from data.open_hands.library import SPLITS, OpenHands
from data.open_hands.shapes import HandShapes
from run.drawing.open_hands import all_hands, all_shapes


def main() -> None:
    """Parse the command line, build with a progress bar, print what was built."""
    parser = argument_parser()
    arguments = parser.parse_args()
    plan = (Plan.small if arguments.small else Plan)(arguments.side, arguments.seed)
    if arguments.train_seconds is not None:
        if min(arguments.train_seconds) <= 0:
            parser.error("--train_seconds: expected two positive numbers")
        plan.seconds["train"] = tuple(arguments.train_seconds)
    console = wide_console()
    started = time.perf_counter()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        tasks = {}

        def tell(step: str, done: int) -> None:
            if step not in tasks:
                tasks[step] = progress.add_task(step, total=None)
            progress.advance(tasks[step], done)

        report, built = build(arguments.output, plan, arguments.force, tell)
    console.print(_table(report))
    for domain, refused in report["refused"].items():
        console.print(f"{domain}: {sum(refused.values())} of {report['solved'][domain]} shapes out of a hand's reach")
    console.print(f"touching fingertips meet within {report['touch_error']:.4f} palm lengths")
    if arguments.pictures is not None:
        hands = OpenHands.load()
        mano = hands.mano_hand(MixHandFolder(arguments.output).models)
        all_hands(hands, mano, arguments.pictures / "hands.png")
        all_shapes(hands, HandShapes.load(), arguments.pictures / "shapes.png")
    seconds = time.perf_counter() - started
    done = f"built in {seconds:.0f} s" if built else "up to date (--force rebuilds)"
    console.print(f"{arguments.output}: {done}")


def _table(report: dict) -> Table:
    table = Table(title="MixHand-Open")
    for heading in ("side", "split", "hands", "minutes", "frames in contact", "finger-to-palm ratio"):
        table.add_column(heading, justify="left" if heading in ("side", "split") else "right")
    for domain, hands in report["hands"].items():
        for split in SPLITS:
            low, high = report["finger_to_palm"][domain][split]
            table.add_row(
                domain,
                split,
                str(hands[split]),
                f"{report['minutes'][domain][split]:.1f}",
                f"{report['touching'][domain][split]:.0%}",
                f"{low:.2f} – {high:.2f}",
            )
    return table


if __name__ == "__main__":
    guarded(main)
