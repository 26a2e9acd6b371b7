"""A glTF 2.0 file under construction: JSON and one buffer, written as ``.glb``."""

from __future__ import annotations

import json
import os
import struct
from typing import Any

import numpy as np

from utils.files import atomic_write

_JSON_CHUNK, _BINARY_CHUNK = 0x4E4F534A, 0x004E4942
_COMPONENTS = {"float32": 5126, "uint8": 5121, "uint16": 5123, "uint32": 5125}
_KINDS = {(): "SCALAR", (2,): "VEC2", (3,): "VEC3", (4,): "VEC4", (4, 4): "MAT4"}
VERTICES, INDICES = 34962, 34963
"""What a bufferView of vertices and of indices says it is for."""


class GltfFile:
    """JSON and buffer; accessors are appended, nothing that is there changes.

    Args:
        content: JSON to begin with; None: an empty scene.
        buffers: its buffers, which become one.
    """

    def __init__(self, content: dict | None = None, buffers: list[bytes] | None = None) -> None:
        self.json: dict[str, Any] = {"asset": {"version": "2.0"}} if content is None else content
        self.data = bytearray()
        starts = []
        for each in buffers or []:
            starts.append(self._append(each))
        for view in self.json.get("bufferViews", []):
            view["byteOffset"] = view.get("byteOffset", 0) + starts[view["buffer"]]
            view["buffer"] = 0

    def append(self, kind: str, item: dict) -> int:
        """Add an item to one of the lists (``nodes``, ``meshes``, …); its number."""
        items = self.json.setdefault(kind, [])
        items.append(item)
        return len(items) - 1

    def view(self, data: bytes, target: int | None = None) -> int:
        """Add bytes as a bufferView; its number."""
        start = self._append(data)
        view = {"buffer": 0, "byteOffset": start, "byteLength": len(data)}
        return self.append("bufferViews", view if target is None else {**view, "target": target})

    def accessor(self, values: np.ndarray, target: int | None = None, bounds: bool = False) -> int:
        """Add numbers (n, …); ``bounds``: with their least and greatest, as positions and times must have."""
        values = np.ascontiguousarray(values)
        kind = _KINDS[values.shape[1:]]
        stored = values.swapaxes(-1, -2) if kind == "MAT4" else values  # column by column
        accessor = {
            "bufferView": self.view(np.ascontiguousarray(stored).tobytes(), target),
            "componentType": _COMPONENTS[values.dtype.name],
            "count": len(values),
            "type": kind,
        }
        if bounds:
            accessor["min"] = np.atleast_1d(values.min(axis=0)).tolist()
            accessor["max"] = np.atleast_1d(values.max(axis=0)).tolist()
        return self.append("accessors", accessor)

    def _append(self, data: bytes) -> int:
        self.data += b"\0" * (-len(self.data) % 4)
        start = len(self.data)
        self.data += data
        return start

    def write(self, path: str | os.PathLike) -> None:
        """Write ``.glb``, complete or not at all."""
        self.data += b"\0" * (-len(self.data) % 4)
        self.json["buffers"] = [{"byteLength": len(self.data)}]
        text = json.dumps(self.json, separators=(",", ":"), allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        length = 12 + 8 + len(text) + 8 + len(self.data)
        with atomic_write(path) as temporary, temporary.open("wb") as stream:
            stream.write(struct.pack("<4sII", b"glTF", 2, length))
            stream.write(struct.pack("<II", len(text), _JSON_CHUNK) + text)
            stream.write(struct.pack("<II", len(self.data), _BINARY_CHUNK))
            stream.write(self.data)
