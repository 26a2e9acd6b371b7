"""Find the twist, bend and splay axes of MANO's fingers and tie them to its surface, without a human.

python -m run.calculate_mano_axis --smplx_path artifact/smplx/models --output artifact/MixHand/finger_data/mano_finger_axis.pkl

Written are rhand, lhand (5,3,3), rows twist, bend, splay, and where the bend axes leave the surface
({r,l}hand_bend_bary, {r,l}hand_bend_index_tri), so that the axes follow the hand's shape. Options as in
run.calculate_mixamo_axis.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from data.choices import AXIS_METHODS
from model.topology import SIDES
from run.axes.options import add_page_options
from utils.cli import CommandLine, guarded, options_first, wide_console
from utils.errors import InputError
from utils.files import content_hash

OUTPUT = "artifact/MixHand/finger_data/mano_finger_axis.pkl"


def argument_parser() -> CommandLine:
    """The options."""
    parser = CommandLine("run.calculate_mano_axis", __doc__)
    parser.add_argument(
        "--smplx_path", default="artifact/smplx/models", help="folder that holds mano/MANO_{RIGHT,LEFT}.pkl"
    )
    parser.add_argument("--preset", help="earlier axes file (.pkl or .npz): the splay axes nearest to it are taken")
    parser.add_argument("--output", default=OUTPUT, help="axes file, .pkl or .npz")
    parser.add_argument(
        "--method",
        choices=AXIS_METHODS,
        default="combined",
        help="all evidence, or the published estimate from the mesh",
    )
    parser.add_argument("--picture", help="PNG of axes and fist")
    add_page_options(parser)
    return parser


options_first(__name__, argument_parser)

import numpy as np

from data.axes.annotation import Annotation
from data.axes.estimate import HandEstimate, estimate_axes
from data.axes.files import read_preset, write_axes
from data.axes.hand import mano_hand
from data.axes.mano import mano_arrays, upright
from model.mano import ManoHand
from model.mano_file import find_model_file
from run.axes.page import annotate
from run.axes.reports import READING, draw, tell

TITLE = "MANO"


def calculate(options: Sequence[str] | None = None) -> None:
    """Estimate the axes of the MANO hands in a folder: both, or the one that is there.

    Raises:
        InputError: bad input.
    """
    config = argument_parser().parse_args(options)
    console = wide_console()
    files = _model_files(config.smplx_path)
    estimates = [_estimate(config, side) for side in files]
    tell(console, estimates, TITLE)
    hands = {each.hand.side: each.hand for each in estimates}

    def arrays(axes: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {key: value for side, rows in axes.items() for key, value in mano_arrays(hands[side], rows).items()}

    if config.annotate:
        session = Annotation(estimates, config.output, arrays, content_hash(*files.values()))
        annotate(session, TITLE, config.host, config.port, console)
        estimates = session.as_estimates()
    else:
        write_axes(config.output, arrays({each.hand.side: each.axes for each in estimates}))
        console.print(f"{config.output}: written", highlight=False, markup=False, soft_wrap=True)
    if config.picture is not None:
        draw(Path(config.picture), estimates, TITLE)
    console.print(READING, style="dim")


def _model_files(path: str) -> dict[str, Path]:
    """Side → model file, of the hands that are there.

    Raises:
        InputError: there is none.
    """
    if Path(path).is_file():
        return {"left" if "LEFT" in Path(path).name.upper() else "right": Path(path)}
    files, reasons = {}, []
    for side in SIDES:
        try:
            files[side] = find_model_file(path, side)
        except InputError as error:
            reasons.append(error)
    if not files:
        raise reasons[0]
    return files


def _estimate(config, side: str) -> HandEstimate:
    hand = mano_hand(ManoHand.load(config.smplx_path, None, side))
    preset = None if config.preset is None else read_preset(config.preset, side)
    return upright(estimate_axes(hand, config.method, preset))


if __name__ == "__main__":
    guarded(calculate)
