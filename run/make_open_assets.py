"""Rebuild the shipped assets of MixHand-Open from MakeHuman bodies (needs `requirements-assets.txt`).

python -m run.make_open_assets
"""

from __future__ import annotations

from pathlib import Path

from utils.cli import CommandLine, guarded, options_first
from utils.files import atomic_write

ASSETS = Path(__file__).resolve().parents[1] / "data" / "open_hands" / "assets" / "hands.npz"


def argument_parser() -> CommandLine:
    """The options."""
    parser = CommandLine("run.make_open_assets", __doc__)
    parser.add_argument("--output", type=Path, default=ASSETS, help="asset file to write")
    parser.add_argument("--seed", type=int, default=2024, help="which hands are sampled")
    return parser


options_first(__name__, argument_parser)

import numpy as np

from data.open_hands.making import make_assets


def main() -> None:
    """Sample the hands and write the asset file."""
    arguments = argument_parser().parse_args()
    arrays = make_assets(arguments.seed)
    with atomic_write(arguments.output) as temporary:
        np.savez_compressed(temporary, **arrays)
    size = arguments.output.stat().st_size / 1e6
    print(
        f"{arguments.output}: {len(arrays['character_split'])} characters, "
        f"{len(arrays['subject_split'])} subjects, {size:.1f} MB"
    )


if __name__ == "__main__":
    guarded(main)
