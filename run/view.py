"""Hands side by side in the browser: `python -m run.view`.

A source's motion, copied and retargeted to a hand of other proportions by every method, as it plays: captions with
S_finger, S_palm and the gap between fingertips that should touch, the semantic matrix, sliders for the target's
proportions, BVH in and out. Needs a browser, and nothing but a connection to this program.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from model.methods import of_kind, title_of
from utils.cli import CommandLine, guarded, options_first

DEMO = Path("artifact/demo")


def argument_parser() -> CommandLine:
    """The options."""
    parser = CommandLine("run.view", __doc__)
    parser.add_argument("--data_path", type=Path, default=Path("artifact/MixHandOpen"), help="folder of the data set")
    parser.add_argument("--smplx_path", type=Path, help="MANO model (default: models in the data set's folder)")
    parser.add_argument("--rig_map", type=Path, metavar="FILE", help="which joints are which, where names do not tell")
    parser.flag("print_map", "print which joints of the data set's characters are recognised, as --rig_map takes it")
    for name, method in reversed(of_kind("network").items()):
        parser.add_argument(f"--{name}", type=Path, metavar="CKPT", help=f"checkpoint of {method.title}")
    parser.flag("demo", f"the networks trained in {DEMO} (run.demo), in place of their open weights")
    parser.add_argument("--side", choices=("right", "left"), help="which hand (default: that of the checkpoints)")
    parser.add_argument("--port", type=int, default=8080, help="0: any free one (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 lets other machines in "
                        "without a password (default: this machine only)")  # fmt: skip
    parser.flag("dark", "white on black")
    return parser


options_first(__name__, argument_parser)

import torch

from data.character.recognised import recognised
from data.dataset import MixHandFolder
from data.rig import read_rig_map
from run.training.open_weights import all_open_weights
from run.viewing.hands import Shelf
from run.viewing.methods import Methods, demo_checkpoints, load_networks
from run.viewing.page import Page
from run.viewing.stage import set_the_stage
from run.viewing.studio import LARGEST_FILE, Studio
from utils.web import Visitors, address, close, serve

TITLE = "Semantics2Hands"
VISITORS = 8
"""Browsers at once: each has hands, files and two threads of its own."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the options, load, serve until Ctrl-C."""
    options = argument_parser().parse_args(arguments)
    if options.print_map:
        print(recognised(MixHandFolder(options.data_path).meshes().values()))
        return
    rig_map = None if options.rig_map is None else read_rig_map(options.rig_map)
    torch.set_num_threads(1)  # batches are small; threads that wait for each other would make the page stutter
    checkpoints = demo_checkpoints(DEMO) if options.demo else {}
    checkpoints.update(
        {method: path for method in of_kind("network") if (path := getattr(options, method)) is not None}
    )
    networks, side = load_networks(checkpoints or all_open_weights(), options.side)
    shelf, methods = Shelf(options.data_path, options.smplx_path, side, rig_map), Methods(networks)
    studio = Studio(shelf, methods)  # before anybody comes: what is wrong with the data is told here

    def room(client) -> Page:
        page = Page(client, Studio(shelf.for_visitor(), methods))
        page.start()
        return page

    server = serve(TITLE, options.host, options.port, options.dark, LARGEST_FILE)
    set_the_stage(server)
    visitors = Visitors(server, room, VISITORS)
    print(f"{len(studio.targets)} hands, methods: {', '.join(title_of(name) for name in studio.methods.names)}")
    print(f"Open {address(server, options.host)}", flush=True)
    try:
        threading.Event().wait()
    finally:
        visitors.close()
        studio.close()
        close(server)


if __name__ == "__main__":
    guarded(main)
