"""Who may talk to a page that this machine serves, and how much may be sent to it.

Any web page that is open in a browser may open a web socket to this machine, and the name of any other machine can be
made to mean this one (DNS rebinding). A browser tells, of itself, which page asks (`Origin`) and which name was typed
(`Host`): both have to be ours. viser asks neither, so its web socket server gets this gate in front.
"""

from __future__ import annotations

import http
import ipaddress
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

LARGEST_MESSAGE = 2 << 20
"""Bytes of one message; viser's page sends files in parts of half a megabyte."""
_SMALLEST_PART = 4096  # bytes, on average: many empty parts would fill the memory too
_ALONE = {
    "Content-Security-Policy": "frame-ancestors 'none'",  # no page around ours, to steal clicks
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class Gate:
    """Checks requests and uploads of a viser server.

    Args:
        host: the address that the server listens on.
        largest_upload: bytes of a file that a visitor may send; 0: none.
    """

    def __init__(self, host: str, largest_upload: int) -> None:
        own = socket.gethostname().lower()
        self.names = {"localhost", host.lower(), own, own.partition(".")[0]}
        self.largest_upload = largest_upload
        self.tell: Callable[[object, str], None] = lambda connection, body: None
        """Shows a text to the visitor at a connection."""

    # -- requests --------------------------------------------------------------------------------------------------

    def refusal(self, headers) -> str | None:
        """Why a request with these headers is turned away; None: it is let in.

        Args:
            headers: with a method ``get_all``, as `websockets` has it.
        """
        hosts, origins = headers.get_all("Host"), headers.get_all("Origin")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return f"this page answers to localhost, {', '.join(sorted(self.names - {'localhost'}))} and to addresses"
        socket_wanted = any(value.strip().lower() == "websocket" for value in headers.get_all("Upgrade"))
        if not origins and not socket_wanted:
            return None  # a page that is being opened
        if len(origins) != 1 or urlsplit(origins[0]).netloc.lower() != hosts[0].lower():
            return "only this program's own page may connect"
        return None

    def _is_ours(self, host: str) -> bool:
        """Whether a ``Host`` names this machine: by one of its names, or as an address, which nobody can redirect."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
            if urlsplit(f"//{host}").port == 0 or any(sign in host for sign in "/@?#\\ "):
                return False
        except ValueError:
            return False
        if name in self.names:
            return True
        try:
            return ipaddress.ip_address(name) is not None
        except ValueError:
            return False

    # -- around the server -----------------------------------------------------------------------------------------

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Servers that viser starts within this block stand behind the gate. It has no argument for that."""
        import websockets.asyncio.server as library  # comes with viser

        original = library.serve
        logging.getLogger("websockets.server").addFilter(_no_handshakes)

        def serve(handler, *address, **options):
            options["process_request"] = self._checked(options.get("process_request"))
            options["max_size"] = LARGEST_MESSAGE
            return original(self._watched(handler), *address, **options)

        with _starting:
            library.serve = serve
            try:
                yield
            finally:
                library.serve = original

    def _checked(self, answer: Callable | None) -> Callable:
        def process_request(connection, request):
            reason = self.refusal(request.headers)
            if reason is not None:
                response = connection.respond(http.HTTPStatus.FORBIDDEN, f"refused: {reason}\n")
            else:
                response = answer(connection, request) if answer is not None else None
            if response is not None:
                for name, value in _ALONE.items():
                    response.headers[name] = value
            return response

        return process_request

    def _watched(self, handler: Callable) -> Callable:
        async def watched(connection):
            uploads, receive = Uploads(self.largest_upload), connection.recv

            async def recv(*arguments, **options):
                while True:
                    message = await receive(*arguments, **options)
                    refused = uploads.refusal(message)
                    if refused is None:
                        return message
                    if refused:
                        self.tell(connection, refused)

            connection.recv = recv
            try:
                await handler(connection)
            except NotUnderstood as error:
                await connection.close(1008, str(error))
            except Exception:  # viser could not make anything of it; it does not catch that
                connection.logger.debug("a message that viser does not understand", exc_info=True)
                await connection.close(1008, "not understood")

        return watched


class NotUnderstood(Exception):
    """A message that the page of viser does not send."""


class Uploads:
    """What one visitor is sending: so much as it said, and no more than is allowed."""

    def __init__(self, largest: int) -> None:
        self.largest = largest
        self._left: dict[str, int] = {}  # bytes still to come, by transfer
        self._parts: dict[str, int] = {}

    def refusal(self, message: object) -> str | None:
        """None: a message goes on. Else it is dropped; a text, if not empty, is for the visitor.

        Raises:
            NotUnderstood: it is none of viser's page.
        """
        content = _decoded(message)
        kind, transfer = content["type"], str(content.get("transfer_uuid"))[:100]
        if kind == "FileTransferStartUpload":
            return self._start(transfer, content)
        if kind == "FileTransferPart":
            return self._part(transfer, content)
        return None

    def _start(self, transfer: str, content: dict) -> str | None:
        size, parts = content.get("size_bytes"), content.get("part_count")
        if not all(isinstance(number, int) and number >= 0 for number in (size, parts)):
            raise NotUnderstood("an upload without a size")
        if not self.largest:
            return "this page takes no files"
        if size > self.largest:
            return f"expected at most {self.largest / (1 << 20):.4g} MB, found {size / (1 << 20):.4g}; cut it"
        if transfer in self._left or size + sum(self._left.values()) > self.largest:
            return "another file is arriving; wait until it is here"
        if parts > 1 + size // _SMALLEST_PART:
            raise NotUnderstood("an upload in too many parts")
        if parts:
            self._left[transfer], self._parts[transfer] = size, parts
        return None

    def _part(self, transfer: str, content: dict) -> str | None:
        if transfer not in self._left:
            return ""  # of an upload that was refused
        part = content.get("content")
        if not isinstance(part, bytes):
            raise NotUnderstood("an upload's part without content")
        self._left[transfer] -= len(part)
        self._parts[transfer] -= 1
        if self._left[transfer] < 0 or self._parts[transfer] < 0:
            raise NotUnderstood("an upload larger than it said")
        if self._parts[transfer] == 0:
            del self._left[transfer], self._parts[transfer]
        return None


def _decoded(message: object) -> dict:
    import msgspec  # comes with viser

    try:
        content = msgspec.msgpack.decode(message)
    except (msgspec.MsgspecError, TypeError, RecursionError) as error:
        raise NotUnderstood("a message that cannot be read") from error
    if not isinstance(content, dict) or not isinstance(content.get("type"), str):
        raise NotUnderstood("a message without a type")
    return content


_starting = threading.Lock()


def _no_handshakes(record: logging.LogRecord) -> bool:
    """Whoever knocks and goes away is no news: scanners, and browsers that open connections ahead."""
    return record.getMessage().partition(" (")[0] not in ("opening handshake failed", "connection rejected")
