"""Who gets to a page, and what: by raw requests and raw web sockets, as no browser would send them."""

from __future__ import annotations

import base64
import http.client
import os
import socket
import threading
import time

import pytest

from utils.errors import InputError
from utils.web import Visitors, close, serve
from utils.web_gate import LARGEST_MESSAGE, NotUnderstood, Uploads

viser = pytest.importorskip("viser", reason="viser is not installed")
msgspec = pytest.importorskip("msgspec", reason="viser is not installed")
LARGEST = 3 << 20
CAMERA = {
    "type": "ViewerCameraMessage", "wxyz": [1, 0, 0, 0], "position": [0, 0, 3], "fov": 0.5, "near": 0.1, "far": 100,
    "image_height": 100, "image_width": 100, "look_at": [0, 0, 0], "up_direction": [0, 1, 0],
}  # fmt: skip


@pytest.fixture
def server():
    server = serve("t", "127.0.0.1", 0, largest_upload=LARGEST)
    yield server
    close(server)


def handshake(port: int, **headers: str | list[str] | None) -> str:
    """The first line of the answer to a request for a web socket, with these headers instead of a browser's own."""
    given = {
        "Host": f"localhost:{port}", "Origin": f"http://localhost:{port}", "Upgrade": "websocket",
        "Connection": "Upgrade", "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Version": "13", "Sec-WebSocket-Protocol": f"viser-v{viser.__version__}", **headers,
    }  # fmt: skip
    lines = ["GET / HTTP/1.1"]
    for name, value in given.items():
        lines += [f"{name}: {each}" for each in (value if isinstance(value, list) else [value]) if each is not None]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        raw.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return raw.recv(4096).decode("latin-1").split("\r\n")[0]


def connected(port: int):
    """A web socket as viser's page opens it."""
    from websockets.sync.client import connect

    return connect(
        f"ws://localhost:{port}", origin=f"http://localhost:{port}", subprotocols=[f"viser-v{viser.__version__}"],
        max_size=None, proxy=None,
    )  # fmt: skip


def send(connection, **message) -> None:
    connection.send(msgspec.msgpack.encode(message))


def start(connection, button: str, transfer: str = "t", size: int = 10, parts: int = 1, name: str = "x.bvh") -> None:
    send(connection, type="FileTransferStartUpload", source_component_uuid=button, transfer_uuid=transfer,
         filename=name, mime_type="", part_count=parts, size_bytes=size)  # fmt: skip


def part(connection, button: str, content: bytes, index: int = 0, transfer: str = "t") -> None:
    send(connection, type="FileTransferPart", source_component_uuid=button, transfer_uuid=transfer,
         part_index=index, content=content)  # fmt: skip


def closed(connection) -> bool:
    """Whether the other end hangs up, as it should."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            connection.recv(timeout=1)
        except TimeoutError:
            continue
        except Exception:
            return True
    return False


def until(what) -> object:
    end = time.monotonic() + 10
    while not (found := what()) and time.monotonic() < end:
        time.sleep(0.01)
    return found


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:1"},  # another program's page on this machine
        {"Origin": "https://localhost.evil.example:{port}"},
        {"Origin": "null"},  # a frame in a sandbox, a file
        {"Origin": None},
        {"Origin": ["http://localhost:{port}", "http://evil.example"]},
        {"Origin": "http://evil.example:{port}", "Host": "evil.example:{port}"},  # DNS rebinding: both agree
        {"Host": "evil.example:{port}"},
        {"Host": None},
        {"Host": ["localhost:{port}", "evil.example"]},
        {"Host": "evil.example@localhost:{port}", "Origin": "http://evil.example@localhost:{port}"},
        {"Host": "localhost.evil.example:{port}", "Origin": "http://localhost.evil.example:{port}"},
    ],
)
def test_foreign_pages_and_names_are_turned_away(server, headers):
    port = server.get_port()

    def filled(value):
        return [filled(each) for each in value] if isinstance(value, list) else value and value.format(port=port)

    status = handshake(port, **{name: filled(value) for name, value in headers.items()})
    assert status.split()[1] in ("403", "400"), status


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "192.168.7.9", socket.gethostname()])
def test_own_names_and_tunnels_are_let_in(server, name):
    port = server.get_port()
    assert " 101 " in handshake(port, Host=f"{name}:{port}", Origin=f"http://{name}:{port}")
    assert " 101 " in handshake(port, Host=f"{name}:9999", Origin=f"http://{name}:9999")  # ssh -L 9999:…


def test_the_page_itself_is_for_own_names_and_stands_alone(server):
    for host, status in (("localhost:5", 200), ("evil.example", 403)):
        connection = http.client.HTTPConnection("127.0.0.1", server.get_port(), timeout=10)
        connection.request("GET", "/", headers={"Host": host})
        answer = connection.getresponse()
        assert answer.status == status
        assert answer.getheader("X-Frame-Options") == "DENY"
        assert "frame-ancestors 'none'" in answer.getheader("Content-Security-Policy")
        connection.close()


class Desk:
    """A visitor's room with a button for files."""

    def __init__(self, client) -> None:
        self.client, self.files, self.left = client, [], False
        self.button = client.gui.add_upload_button("file")
        self.button.on_upload(lambda event: self.files.append(event.target.value))
        self.uuid = self.button._impl.uuid

    def close(self) -> None:
        self.left = True


@pytest.fixture
def desks(server):
    desks = []

    def room(client):
        desks.append(Desk(client))
        return desks[-1]

    visitors = Visitors(server, room, most=2)
    yield desks
    visitors.close()


def test_each_visitor_has_a_room_that_goes_with_it(server, desks):
    with connected(server.get_port()) as first, connected(server.get_port()) as second:
        send(first, **CAMERA)
        assert until(lambda: len(desks) == 1)
        send(second, **CAMERA)
        assert until(lambda: len(desks) == 2)
        start(first, desks[0].uuid, size=3)
        part(first, desks[0].uuid, b"abc")
        assert until(lambda: desks[0].files)
        # Another visitor's button is nobody's business.
        start(second, desks[0].uuid, size=3)
        part(second, desks[0].uuid, b"def")
        start(second, desks[1].uuid, "u", size=3)
        part(second, desks[1].uuid, b"ghi", transfer="u")
        assert until(lambda: desks[1].files)
        assert [file.content for file in desks[0].files] == [b"abc"]
        assert [file.content for file in desks[1].files] == [b"ghi"]
        with connected(server.get_port()) as third:
            send(third, **CAMERA)
            time.sleep(0.3)
            assert len(desks) == 2  # no room left
        first.close()
        assert until(lambda: desks[0].left) and not desks[1].left
    with connected(server.get_port()) as fourth:
        send(fourth, **CAMERA)
        assert until(lambda: len(desks) == 3)


def test_sizes_are_held_to_while_files_arrive(server, desks):
    told = threading.Event()
    with connected(server.get_port()) as visitor:
        send(visitor, **CAMERA)
        assert until(lambda: desks)
        desks[0].client.add_notification = lambda *args, **kind: told.set()
        start(visitor, desks[0].uuid, size=LARGEST + 1, parts=7)  # too large: refused before anything came
        assert told.wait(10)
        for index in range(7):
            part(visitor, desks[0].uuid, bytes(1 << 19), index)
        states = desks[0].client.gui._current_file_upload_states
        assert not states
        start(visitor, desks[0].uuid, "ok", size=3)  # and the next one is taken
        part(visitor, desks[0].uuid, b"abc", transfer="ok")
        assert until(lambda: desks[0].files) and desks[0].files[0].content == b"abc"
        # More than was said: the connection ends, nothing is kept.
        start(visitor, desks[0].uuid, "more", size=10, parts=1)
        part(visitor, desks[0].uuid, bytes(11), transfer="more")
        assert closed(visitor)
    assert until(lambda: desks[0].left)
    assert len(desks[0].files) == 1


@pytest.mark.parametrize("message", ["text", b"", b"\xff\xfe", msgspec.msgpack.encode([1]), bytes(LARGEST_MESSAGE + 1),
                                     msgspec.msgpack.encode({"type": "NoSuchMessage"}),
                                     msgspec.msgpack.encode({"type": "ViewerCameraMessage", "wxyz": 3}),
                                     b"\x91" * 100_000])  # fmt: skip
def test_what_is_not_understood_ends_the_connection_alone(server, desks, message, capfd):
    with connected(server.get_port()) as visitor:
        visitor.send(message)
        assert closed(visitor)
    with connected(server.get_port()) as visitor:
        send(visitor, **CAMERA)
        assert until(lambda: desks)
    assert "Traceback" not in capfd.readouterr().err


def test_uploads_by_their_messages():
    def begin(uploads, transfer="t", size=100, parts=1):
        message = {
            "type": "FileTransferStartUpload",
            "transfer_uuid": transfer,
            "size_bytes": size,
            "part_count": parts,
        }
        return uploads.refusal(msgspec.msgpack.encode(message))

    def piece(uploads, content, transfer="t"):
        message = {"type": "FileTransferPart", "transfer_uuid": transfer, "content": content}
        return uploads.refusal(msgspec.msgpack.encode(message))

    uploads = Uploads(1000)
    assert begin(uploads) is None and piece(uploads, bytes(100)) is None
    assert piece(uploads, b"again") == ""  # it is over: dropped
    assert begin(uploads, size=1000) is None  # the earlier one counts no more
    assert "another file" in begin(uploads, "u", size=1)  # together they would be too large
    assert piece(uploads, b"x", "u") == ""
    for size, parts in ((-1, 1), (10, -1), (10, 5), (None, 1), (1.5, 1), ("9", 1)):
        with pytest.raises(NotUnderstood):
            begin(Uploads(1000), size=size, parts=parts)
    with pytest.raises(NotUnderstood):
        piece(uploads, "text")
    assert "no files" in begin(Uploads(0))


def test_the_next_port_is_taken_only_where_any_will_do(server):
    port = server.get_port()
    with pytest.raises(InputError, match="cannot listen there"):
        serve("t", "127.0.0.1", port)
    other = serve("t", "127.0.0.1", port, or_next=True)
    assert port < other.get_port() <= port + 100
    close(other)
