"""Helpers of pages: without a browser."""

import builtins
from types import SimpleNamespace

import pytest

from utils.errors import InputError
from utils.web import address, guarded_callback, import_viser, serve, tell, text


class Client:
    """Remembers what it was told."""

    def __init__(self):
        self.notes = []

    def add_notification(self, title, body, **kind):
        self.notes.append((title, body, kind["color"]))


def test_failures_of_callbacks_are_told_and_swallowed(capsys):
    client = Client()

    @guarded_callback(None, "No")
    def callback(event):
        raise event.error

    callback(SimpleNamespace(client=client, error=InputError("file: broken")))
    assert client.notes == [("No", "file: broken", "red")]
    assert capsys.readouterr().err == ""
    callback(SimpleNamespace(client=client, error=KeyError("x")))
    assert "KeyError" in client.notes[1][1]
    assert "Traceback" in capsys.readouterr().err  # a defect keeps its traceback


def test_a_server_tells_all_its_clients():
    clients = {1: Client(), 2: Client()}
    tell(SimpleNamespace(get_clients=lambda: clients), "Done", "all of it")
    assert all(client.notes == [("Done", "all of it", "teal")] for client in clients.values())


def test_names_cannot_become_markup():
    assert text("<img src=x onerror=alert(1)>") == "&lt;img src=x onerror=alert(1)&gt;"


def test_ports_out_of_range_are_refused():
    pytest.importorskip("viser", reason="viser is not installed")
    with pytest.raises(InputError, match="0 to 65535"):
        serve("t", "127.0.0.1", -1)


def test_the_address_tells_how_to_get_there_from_elsewhere():
    server = SimpleNamespace(get_port=lambda: 8123)
    assert address(server, "127.0.0.1").startswith("http://localhost:8123 ")
    assert "ssh -L 8123:localhost:8123" in address(server, "0.0.0.0")
    assert address(server, "10.0.0.7").startswith("http://10.0.0.7:8123 ")


def test_a_missing_viser_is_one_clear_error(monkeypatch):
    original = builtins.__import__

    def without(name, *rest):
        if name == "viser":
            raise ImportError("No module named 'viser'", name="viser")
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match="pip install"):
        import_viser()
