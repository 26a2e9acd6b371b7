"""What `--help` of a training program says, without Lightning, which takes seconds to be imported."""

from __future__ import annotations

import sys

from utils.cli import CommandLine, leave_at_once

SUBCOMMANDS = {
    "fit": "train",
    "validate": "compute the losses of the validation hands",
    "test": "compute the metrics of the test hands",
    "predict": "write the poses of the test hands",
}


def overview(program: str, method: str, module: str) -> None:
    """Where a module is run as a program with nothing but ``--help``, print what it can do, and leave; Ctrl-C ends it
    at once while the rest is imported.

    Args:
        program: the module, as ``python -m`` takes it.
        method: what it trains.
        module: ``__name__`` of the module.
    """
    if module != "__main__":
        return
    if sys.argv[1:] not in (["--help"], ["-h"]):
        leave_at_once()
        return
    parser = CommandLine(
        program,
        f"Train and test {method}. `%(prog)s SUBCOMMAND --help` lists all options.",
        epilog=f"example:\n  python -m {program} fit --config config/{method}.yaml",
    )
    parser.add_argument("--config", "-c", metavar="FILE", action="append", help="configurations, laid over each other "
                        "in order; options come last")  # fmt: skip
    parser.flag("trust_config", "let configuration files name classes of any package and run their code")
    parser.add_argument("subcommand", choices=SUBCOMMANDS, help="; ".join(map(": ".join, SUBCOMMANDS.items())))
    parser.print_help()
    raise SystemExit(0)
