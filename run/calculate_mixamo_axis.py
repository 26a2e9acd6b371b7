"""Find the twist, bend and splay axes of a character's fingers, without a human: no window, no display.

python -m run.calculate_mixamo_axis --mesh_data artifact/MixHand/finger_data/Aj_mesh_data.npz
python -m run.calculate_mixamo_axis --mesh_data artifact/MixHand/finger_data --motion artifact/MixHand

Palm, bones, the rig's own axes, the mesh and (with --motion) the character's motions are weighed against each other,
and a table says how sure each finger is. --picture shows the axes and the fist that they make; --annotate opens a page
in the browser to look at them and to turn them by hand. Written is <character>_finger_axis.pkl: rhand, lhand
(5,4,3,3), rows twist, bend, splay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data.choices import AXIS_METHODS
from run.axes.options import add_page_options
from utils.cli import CommandLine, guarded, options_first, wide_console
from utils.errors import InputError, spoken
from utils.files import content_hash


def argument_parser() -> CommandLine:
    """The options."""
    parser = CommandLine("run.calculate_mixamo_axis", __doc__)
    parser.add_argument("--mesh_data", required=True, help="<character>_mesh_data.npz, or a folder of them")
    parser.add_argument("--preset", help="earlier axes file (.pkl or .npz): the splay axes nearest to it are taken")
    parser.add_argument(
        "--output", help="axes file, or folder for several; default: <character>_finger_axis.pkl beside the mesh"
    )
    parser.add_argument(
        "--method",
        choices=AXIS_METHODS,
        default="combined",
        help="all evidence, or the published estimate from the mesh",
    )
    parser.add_argument(
        "--motion",
        nargs="+",
        help="BVH files of the character, or folders of them (or of one folder for each character): their joints' "
        "hinges are the best evidence there is",
    )
    parser.add_argument("--rig_map", help="YAML file that names the joints of hands whose bones are not recognised")
    parser.flag("print_map", "print what is recognised as a rig map, the start of one's own for --rig_map, and stop")
    parser.add_argument("--picture", help="PNG of axes and fist; a folder, if there are several characters")
    parser.flag("force", "of a folder, also those that have axes already")
    add_page_options(parser)
    return parser


options_first(__name__, argument_parser)

import numpy as np
from rich.console import Console
from rich.progress import track

from data.axes.annotation import Annotation
from data.axes.estimate import HandEstimate, estimate_axes
from data.axes.files import axes_path, hand_key, mesh_files, read_preset, write_axes
from data.axes.motion import bvh_files, hinges_from_files
from data.character.reading import read_mesh_character
from data.character.recognised import recognised
from data.dataset import character_of
from data.rig import RigMap, read_rig_map
from run.axes.page import annotate
from run.axes.reports import READING, draw, tell

MANY = 24
"""Characters of which each gets a table; of more, only doubtful fingers are named."""


@dataclass(frozen=True)
class Job:
    """What is done with every character."""

    method: str = "combined"
    preset: str | None = None
    motion: Sequence[str] = ()
    rig_map: RigMap | None = None

    def estimates(self, mesh: Path, console: Console) -> list[HandEstimate]:
        """The hands of a character, right before left."""
        character = read_mesh_character(mesh, rig_map=self.rig_map)
        found = []
        for side, own in character.hands.items():
            if own.surface is None:
                raise InputError(
                    f"{mesh}: expected skin on the {side} hand, but no vertex follows its joints; check the weights"
                )
            hand = own.bare
            preset = None if self.preset is None else read_preset(self.preset, side)
            motion = hinges_from_files(hand, bvh_files(self.motion, character.name), self.rig_map)
            for reason in motion.refused.values():
                console.print(
                    f"not used: {spoken(reason)}", style="yellow", markup=False, highlight=False, soft_wrap=True
                )
            found.append(estimate_axes(hand, self.method, preset, motion.hinges))
        return found


def character_arrays(axes: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What a character's axes file holds."""
    return {hand_key(side): rows for side, rows in axes.items()}


def calculate(options: Sequence[str] | None = None) -> None:
    """Estimate the axes of one character or of a folder of them.

    Raises:
        InputError: bad input; in a folder, after the other characters were done.
    """
    config = argument_parser().parse_args(options)
    if config.print_map:
        print(recognised(mesh_files(config.mesh_data)))
        return
    rig_map = None if config.rig_map is None else read_rig_map(config.rig_map)
    job = Job(config.method, config.preset, config.motion or (), rig_map)
    files = mesh_files(config.mesh_data)
    console = wide_console()
    if config.annotate:
        if len(files) > 1:
            raise InputError(
                f"--annotate: expected one mesh file in --mesh_data, found {len(files)}; name one of them"
            )
        _annotate(config, job, files[0], console)
    elif Path(config.mesh_data).is_dir():
        find_all(files, job, config.output, config.picture, config.force)
    else:
        _one(files[0], job, config.output, config.picture, False, console)
        console.print(READING, style="dim")


def _one(
    mesh: Path, job: Job, to: str | None, picture: str | None, folder: bool, console: Console, table: bool = True
) -> None:
    estimates, output = job.estimates(mesh, console), axes_path(mesh, to, folder)
    write_axes(output, character_arrays({each.hand.side: each.axes for each in estimates}))
    tell(console, estimates, character_of(mesh), table)
    if picture is not None:
        name = character_of(mesh)
        draw(Path(picture) / f"{name}.png" if folder else Path(picture), estimates, name)
    if table:
        console.print(f"{output}: written", highlight=False, markup=False, soft_wrap=True)


def find_all(
    files: Sequence[Path], job: Job, to: str | None = None, picture: str | None = None, force: bool = False
) -> None:
    """Estimate the axes of the characters of a folder that have none; one that fails does not stop the others.

    Args:
        files: their mesh files.
        job: what is done with each.
        to: folder of the axes files; None: beside the meshes.
        picture: folder of pictures; None: none.
        force: also of those that have axes already.

    Raises:
        InputError: some failed, after the others were done.
    """
    console = wide_console()
    failures, left = {}, 0
    for mesh in track(files, "characters", console=console, transient=True):
        if not force and axes_path(mesh, to, True).exists():
            left += 1
            continue
        try:
            _one(mesh, job, to, picture, True, console, len(files) <= MANY)
        except InputError as error:
            failures[character_of(mesh)] = spoken(error)
    written = len(files) - left - len(failures)
    console.print(f"axes of {written} characters written", highlight=False)
    console.print(READING, style="dim")
    if left:
        console.print(f"{left} of {len(files)} characters have axes already (--force makes them again)")
    for name, reason in failures.items():
        console.print(f"{name} failed: {reason}", style="red", highlight=False, markup=False, soft_wrap=True)
    if failures:
        raise InputError(f"{len(failures)} of {len(files)} characters failed ({', '.join(failures)}); see above")


def _annotate(config, job: Job, mesh: Path, console: Console) -> None:
    estimates, output = job.estimates(mesh, console), axes_path(mesh, config.output, False)
    tell(console, estimates, character_of(mesh))
    session = Annotation(estimates, output, character_arrays, content_hash(mesh))
    annotate(session, character_of(mesh), config.host, config.port, console)
    if config.picture is not None:
        draw(Path(config.picture), session.as_estimates(), character_of(mesh))


if __name__ == "__main__":
    guarded(calculate)
