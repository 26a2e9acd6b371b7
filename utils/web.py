"""Pages made with viser: a server that says where it is and lets in nobody else's pages, a room for each visitor, and
callbacks whose failures become messages on the page.

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
import threading
import traceback
from collections.abc import Callable
from typing import Protocol

from utils.errors import InputError, spoken
from utils.web_gate import Gate

_NEXT = 100  # ports that are tried where any of the next will do
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


def serve(title: str, host: str, port: int, dark: bool = False, largest_upload: int = 0, or_next: bool = False):
    """A running `viser.ViserServer` in a sober theme, behind a `Gate`: pages of other origins, and names that others
    have pointed at this machine, are turned away, and so are uploads that are too large, while they arrive.

    Args:
        title: of the page and its panel.
        host: address to listen on; ``127.0.0.1`` is reached from this machine alone.
        port: 1 … 65535, or 0 for any free one.
        dark: white on black.
        largest_upload: bytes of a file that a visitor may send; 0: none.
        or_next: take one of the next ports if this one is taken.

    Raises:
        InputError: viser is not installed, or the address cannot be used.
    """
    viser = import_viser()
    if not 0 <= port <= 65535:
        raise InputError(f"`port` {port}: expected a number from 0 to 65535; choose another one")
    free = _free_port(host, port, _NEXT if or_next and port else 1)
    gate = Gate(host, largest_upload)
    with contextlib.redirect_stdout(io.StringIO()), gate.installed():  # without viser's banner: see `address`
        server = viser.ViserServer(host=host, port=free, label=title, verbose=False)
    gate.tell = lambda connection, body: _tell_connection(server, connection, body)
    server.gui.configure_theme(dark_mode=dark, show_logo=False, show_share_button=False, brand_color=(38, 70, 83))
    server.gui.set_panel_label(title)
    return server


def close(server) -> None:
    """Stop serving, without a word."""
    with contextlib.redirect_stdout(io.StringIO()):
        server.stop()


def _free_port(host: str, port: int, tries: int = 1) -> int:
    """`port`, or one of the next, if it can be listened on. viser itself would silently take any."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(port, min(port + tries, 65536)):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
            except OSError as error:
                reason = error.strerror or error
                continue
            return probe.getsockname()[1]
    raise InputError(f"{host}:{port}: cannot listen there ({reason}); choose another `port` or `host`")


class Room(Protocol):
    """What a visitor has for itself."""

    def close(self) -> None:
        """The visitor has left."""


class Visitors:
    """Gives each visitor of a server a room of its own and closes it when the visitor leaves. Nobody sees another's.

    Args:
        server: a `viser.ViserServer`.
        room: makes a room for a `viser.ClientHandle`.
        most: how many there may be at once; who comes later is told so.
    """

    def __init__(self, server, room: Callable[[object], Room], most: int) -> None:
        self._make, self._most = room, most
        self._rooms: dict[int, Room | None] = {}
        self._lock = threading.Lock()
        server.on_client_connect(
            guarded_callback(server, "This page could not be set up", to=lambda c: c)(self._enter)
        )
        server.on_client_disconnect(lambda client: self._leave(client.client_id))

    def _enter(self, client) -> None:
        with self._lock:
            if len(self._rooms) >= self._most:
                raise InputError(f"{self._most} people are here already; try again when one of them has left")
            self._rooms[client.client_id] = None
        try:
            room = self._make(client)
        except BaseException:
            self._leave(client.client_id)
            raise
        with self._lock:
            left = client.client_id not in self._rooms  # while the room was being made
            if not left:
                self._rooms[client.client_id] = room
        if left:
            room.close()

    def _leave(self, number: int) -> None:
        with self._lock:
            room = self._rooms.pop(number, None)
        if room is not None:
            room.close()

    def close(self) -> None:
        """Send everybody away."""
        for number in list(self._rooms):
            self._leave(number)


def _tell_connection(server, connection, body: str) -> None:
    """A message to whoever sits at the other end of a web socket."""
    live = getattr(server._websock_server, "_live_connections", {})
    number = next((number for number, each in live.items() if each is connection), None)
    client = server.get_clients().get(number)
    if client is not None:
        tell(client, "This file was not taken", body, good=False)


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


def guarded_callback(server, title: str, to: Callable | None = None) -> Callable:
    """Decorates a callback: what goes wrong in it is told on the page, and the program lives on.

    An `InputError` or `OSError` is shown as it is. Anything else is a defect: its kind is shown, its traceback goes to
    stderr. `to` finds whom to tell in the callback's argument; by default its client, or everybody.
    """
    whom = to or (lambda event: getattr(event, "client", None) or server)

    def decorate(callback: Callable) -> Callable:
        @functools.wraps(callback)
        def run(event):
            try:
                return callback(event)
            except (InputError, OSError) as error:
                tell(whom(event), title, spoken(error), good=False)
            except Exception as error:
                traceback.print_exc(file=sys.stderr)
                tell(
                    whom(event), title, f"this failed inside the program ({type(error).__name__}: {error})", good=False
                )
            return None

        return run

    return decorate


def text(value: object) -> str:
    """A value as the text of a page: names of files and hands cannot become markup."""
    return html.escape(str(value))
