"""Options that both programs for axes share."""

from __future__ import annotations

from utils.cli import CommandLine

PORT = 8080


def add_page_options(parser: CommandLine) -> None:
    """The options of the page."""
    parser.flag("annotate", "look at and turn the axes in the browser")
    parser.add_argument("--port", type=int, default=PORT, help="of the page; the next free one if it is taken")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 lets other machines in")
