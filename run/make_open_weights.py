"""Put checkpoints into the open weights that come with the program (`python -m run.demo --train all` trains them all).

python -m run.make_open_weights artifact/demo/ASRN.ckpt artifact/demo/DM.ckpt artifact/demo/FEEDBACK.ckpt
"""

from __future__ import annotations

from pathlib import Path

from utils.cli import CommandLine, guarded, options_first

FOLDER = Path(__file__).resolve().parents[1] / "weights"
EIGHT_BITS = ("asrn", "dm")
"""Networks whose matrices are kept in eight bits; the others are small, and kept in half precision."""


def argument_parser() -> CommandLine:
    """The options."""
    parser = CommandLine("run.make_open_weights", __doc__)
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CKPT", help="of any methods, one each")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder to write to")
    return parser


options_first(__name__, argument_parser)

from run.training.open_weights import ENDING, write_weights
from run.training.trained import load_network, method_of
from utils.safe_read import load_checkpoint


def main() -> None:
    """Check the checkpoints, write the files."""
    arguments = argument_parser().parse_args()
    for path in arguments.checkpoints:
        load_network(path)
        content = load_checkpoint(path)
        method = method_of(content, path)
        made = arguments.output / f"{method}{ENDING}"
        write_weights(made, method, content, method in EIGHT_BITS)
        print(f"{made}: {made.stat().st_size / 1e6:.1f} MB", flush=True)


if __name__ == "__main__":
    guarded(main)
