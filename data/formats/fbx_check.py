"""Looking through a binary FBX file before Blender imports it.

Blender's importer trusts lengths and counts: a damaged file can make it take all memory or crash. Here the records of
the file are walked once, without building anything, so that such a file gets one clear sentence instead. Used inside
Blender too, so the syntax is that of Python 3.7.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np

from utils.errors import InputError

MAGIC = b"Kaydara FBX Binary  \x00"
MAX_BYTES = 1 << 30
"""Bytes that the arrays of a file may unpack to together, and those of the file."""
_DEPTH, _RECORDS = 64, 2000000
_SCALARS = {b"Y": 2, b"C": 1, b"B": 1, b"Z": 1, b"I": 4, b"F": 4, b"D": 8, b"L": 8}
_ARRAYS = {b"f": "<f4", b"d": "<f8", b"l": "<i8", b"i": "<i4", b"b": "u1", b"c": "u1"}
_KEPT = (b"Vertices", b"PolygonVertexIndex")
_FINITE = (b"Vertices", b"KeyValueFloat", b"Weights", b"Transform", b"TransformLink", b"Matrix")
"""Other arrays of floats may hold whole numbers in disguise."""


def check_fbx(path: str | os.PathLike) -> None:
    """Do nothing if the file is a whole binary FBX file.

    Raises:
        InputError: it is an ASCII file, something else, cut short or damaged.
    """
    path = Path(path)
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path}: expected at most 1 GB, found {path.stat().st_size} bytes; export the body alone")
    data = path.read_bytes()
    if not data.startswith(MAGIC):
        text = data[:64].lstrip().startswith(b";") or b"FBX" in data[:256]
        found = "an ASCII FBX file, which Blender cannot import" if text else "something else"
        raise InputError(f"{path}: expected a binary FBX file, found {found}; export it as binary FBX")
    try:
        _Walk(data).file()
    except InputError as error:
        raise InputError(f"{path}: {error}; export it again") from None
    except (struct.error, zlib.error, ValueError, OverflowError, MemoryError) as error:
        raise InputError(f"{path}: expected a whole FBX file, but it is damaged ({error}); export it again") from None


class _Walk:
    """A way through the records of a file."""

    def __init__(self, data: bytes):
        self.data = data
        self.unpacked = self.records = 0
        version = struct.unpack_from("<I", data, 23)[0]
        if not 6100 <= version <= 9999:
            raise InputError(f"expected FBX version 6100 or newer, found {version}")
        self.head = struct.Struct("<QQQB" if version >= 7500 else "<IIIB")

    def file(self) -> None:
        """All records of the file."""
        at, names = 27, set()
        while at + self.head.size <= len(self.data):
            name, at = self._record(at, len(self.data), 0, {})
            if name is None:
                break
            names.add(name)
        if b"Objects" not in names:
            raise InputError("expected objects in it, found none; it is empty or cut short")

    def _record(self, at: int, limit: int, depth: int, kept: dict):
        """(name, place after it) of the record at `at`; the name is None for the empty one that ends a list."""
        end, count, size, length = self.head.unpack_from(self.data, at)
        if end == 0:
            return None, at + self.head.size
        self.records += 1
        start = at + self.head.size + length
        if not start + size <= end <= limit or depth > _DEPTH or self.records > _RECORDS:
            raise InputError(f"expected a record within {limit} bytes at byte {at}, found one that leaves them")
        name = self.data[at + self.head.size : start]
        place = start
        for _ in range(count):
            place = self._property(place, start + size, name, kept)
        if place != start + size:
            raise InputError(f"expected {size} bytes of properties at byte {start}, found {place - start}")
        inside = {}
        while place < end:
            child, place = self._record(place, end, depth + 1, inside)
            if child is None:
                break
        self._check_faces(inside)
        return name, end

    def _property(self, at: int, limit: int, name: bytes, kept: dict) -> int:
        """Place after the property at `at`."""
        kind = self.data[at : at + 1]
        after = at + 1
        if kind in _SCALARS:
            after += _SCALARS[kind]
        elif kind in (b"S", b"R"):
            after += 4 + struct.unpack_from("<I", self.data, after)[0]
        elif kind in _ARRAYS:
            count, packed, size = struct.unpack_from("<III", self.data, after)
            after += 12 + size
            if after <= limit:
                values = self._array(kind, count, packed, self.data[after - size : after])
                if name in _FINITE and values.dtype.kind == "f" and not np.isfinite(values).all():
                    raise InputError(f"expected finite numbers in {name.decode()}, found NaN or infinity")
                if name in _KEPT:
                    kept[name] = values
        else:
            raise InputError(f"expected a known kind of property at byte {at}, found {kind!r}")
        if after > limit:
            raise InputError(f"expected a property within its record at byte {at}, found one that leaves it")
        return after

    def _array(self, kind: bytes, count: int, packed: int, data: bytes) -> np.ndarray:
        dtype = np.dtype(_ARRAYS[kind])
        size = count * dtype.itemsize
        self.unpacked += size
        if self.unpacked > MAX_BYTES or packed not in (0, 1):
            raise InputError("expected arrays of at most 1 GB together, found more or damaged ones")
        if packed:
            unpacking = zlib.decompressobj()
            data = unpacking.decompress(data, size + 1)
        if len(data) != size:
            raise InputError(f"expected an array of {size} bytes, found another length")
        return np.frombuffer(data, dtype)

    @staticmethod
    def _check_faces(kept: dict) -> None:
        """The polygons of a mesh use vertices that it has; the last corner of each is stored as −1 − number."""
        corners, vertices = kept.get(b"PolygonVertexIndex"), kept.get(b"Vertices")
        if corners is None or vertices is None or not len(corners):
            return
        numbers = np.where(corners < 0, -1 - corners, corners)
        if numbers.max() * 3 + 2 >= len(vertices):
            raise InputError(f"expected polygons of vertices below {len(vertices) // 3}, found {numbers.max()}")
