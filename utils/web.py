"""Pages made with viser: a server that says where it is, and callbacks whose failures become messages on the page.

viser is only needed by the programs that serve a page; everything else does without it. It brings its own web page, so
a browser needs no network but the connection to this program, for example through `ssh -L`.
"""

from __future__ import annotations

import contextlib
import functools
import html
import io
import socket
import sys
import traceback
from collections.abc import Callable

from utils.errors import InputError

MISSING = "viser, which serves the page, is not installed; run `pip install 'viser>=1.1,<2'`"


def import_viser():
    """The module `viser`. Raises InputError if it is not installed."""
    try:
        import viser  # optional: only pages need it
    except ImportError as error:
        if error.name not in ("viser", None) and not str(error.name).startswith("viser"):
            raise
        raise InputError(MISSING) from None
    return viser


def serve(title: str, host: str, port: int, dark: bool = False):
    """A running `viser.ViserServer` on exactly this port, in a sober theme, controls docked on the right.

    Args:
        title: of the page and its panel.
        host: address to listen on; ``127.0.0.1`` is reached from this machine alone.
        port: 1 … 65535, or 0 for any free one.
        dark: white on black.

    Raises:
        InputError: viser is not installed, or the address cannot be used.
    """
    viser = import_viser()
    if not 0 <= port <= 65535:
        raise InputError(f"--port {port}: expected a number from 0 to 65535; choose another one")
    free = _free_port(host, port)
    with contextlib.redirect_stdout(io.StringIO()):  # its banner; `address` says where the page is
        server = viser.ViserServer(host=host, port=free, label=title, verbose=False)
    server.gui.configure_theme(dark_mode=dark, show_logo=False, show_share_button=False, brand_color=(38, 70, 83))
    server.gui.set_panel_label(title)
    return server


def _free_port(host: str, port: int) -> int:
    """`port` if it can be listened on. viser itself would silently take the next one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(
                f"{host}:{port}: cannot listen there ({error.strerror or error}); choose another --port or --host"
            ) from None
        return probe.getsockname()[1]


def address(server, host: str) -> str:
    """What to type into a browser, and how to get there from another machine."""
    port = server.get_port()
    url = f"http://{'localhost' if host in ('127.0.0.1', '0.0.0.0', '::', '::1') else host}:{port}"
    return f"{url}   (from elsewhere: ssh -L {port}:localhost:{port} this-machine, then the same address; Ctrl-C ends)"


def tell(to, title: str, body: str, good: bool = True) -> None:
    """A message at the corner of the page: of one client, or of all where `to` is the server."""
    clients = list(to.get_clients().values()) if hasattr(to, "get_clients") else [to]
    for client in clients:
        client.add_notification(title, body, color="teal" if good else "red", auto_close_seconds=6.0 if good else 20.0)


def guarded_callback(server, title: str) -> Callable:
    """Decorates a callback: what goes wrong in it is told on the page, and the program lives on.

    An `InputError` or `OSError` is shown as it is. Anything else is a defect: its kind is shown, its traceback goes to
    stderr.
    """

    def decorate(callback: Callable) -> Callable:
        @functools.wraps(callback)
        def run(event):
            to = getattr(event, "client", None) or server
            try:
                return callback(event)
            except (InputError, OSError) as error:
                tell(to, title, str(error), good=False)
            except Exception as error:
                traceback.print_exc(file=sys.stderr)
                tell(to, title, f"this failed inside the program ({type(error).__name__}: {error})", good=False)
            return None

        return run

    return decorate


def text(value: object) -> str:
    """A value as the text of a page: names of files and hands cannot become markup."""
    return html.escape(str(value))
