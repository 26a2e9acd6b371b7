"""A server that lets one character's hands follow another's, live: `python examples/follow_a_hand.py [SOURCE TARGET PORT]`.

Whoever connects to the port on this machine sends frames and gets one back for each: float32 rotation matrices (hands,
5, 3, 3, 3), right before left, as `semantics2hands.Retargeter` says. Without arguments: two characters of the project's
own tests, a client of 90 frames, and the end.
"""  # noqa: E501

import socket
import sys
import threading
import time
from pathlib import Path

import numpy as np

import semantics2hands as s2h

INPUTS = Path(__file__).parents[1] / "tests" / "golden" / "inputs"
given = len(sys.argv) > 2
source, target = sys.argv[1:3] if given else (INPUTS / "Aj_mesh_data.npz", INPUTS / "Kaya_mesh_data.npz")
port = int(sys.argv[3]) if len(sys.argv) > 3 else 0
retargeter = s2h.Retargeter(source, target)
frame = np.zeros((len(retargeter.sides), 5, 3, 3, 3), np.float32)


def serve(server: socket.socket) -> None:
    """Answer one client until it leaves."""
    connection, _ = server.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    retargeter.forget()
    with connection, connection.makefile("rb") as stream:
        while stream.readinto(frame) == frame.nbytes:
            connection.sendall(retargeter(frame))


def client(port: int) -> None:
    """A fist that opens and closes."""
    seconds = []
    with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rb") as stream:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        for number in range(90):
            bend = 0.6 * (1 - np.cos(number / 15))
            pose = np.broadcast_to(np.eye(3, dtype=np.float32), frame.shape).copy()
            pose[..., 0, 0] = pose[..., 1, 1] = np.cos(bend)
            pose[..., 0, 1], pose[..., 1, 0] = np.sin(bend), -np.sin(bend)
            pose[1:] = pose[1:].swapaxes(-1, -2)  # the left hand closes the other way round
            start = time.perf_counter()
            connection.sendall(pose)
            answer = np.frombuffer(stream.read(frame.nbytes), np.float32).reshape(frame.shape)
            seconds.append(time.perf_counter() - start)
    print(f"{len(seconds)} answers of shape {answer.shape}, each after {np.median(seconds) * 1e3:.2f} ms (median)")


with socket.create_server(("127.0.0.1", port)) as server:
    port = server.getsockname()[1]
    print(f"listening on 127.0.0.1:{port} for {', '.join(retargeter.sides)} hands of {frame.nbytes} bytes in all")
    if given:
        while True:
            serve(server)
    threading.Thread(target=serve, args=(server,)).start()
    client(port)
