"""The layout of the published feature files: an object array of clips, written without holding it (mathematics §5).

Such a ``.npy`` is a pickle behind a header. The published program lets NumPy unpickle it (mathematics §5),
under NumPy 1; what NumPy 2 pickles names modules that the former lacks. So the few instructions are written here one
by one, with the names that every NumPy knows, and each clip goes to the disk as it is computed. Reading is the
business of `utils.safe_read`, which runs nothing.
"""

from __future__ import annotations

import pickle
from typing import BinaryIO

import numpy as np

_ROWS = np.dtype("<f4")
_BEGIN = b"\x80\x04"  # protocol 4: the first that holds more than 4 GiB in one piece
_RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
_OBJECTS = b"cnumpy\ndtype\n\x8c\x02O8\x89\x88\x87R(K\x03\x8c\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb"
_FLOATS = b"cnumpy\ndtype\n\x8c\x02f4\x89\x88\x87R(K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


class ObjectArrayWriter:
    """Writes a one-dimensional object array of ``(frames, channels)`` float32 arrays.

    Args:
        stream: an empty file, opened for writing in binary.
        clips: how many arrays will follow.
        channels: numbers in a row of each.
    """

    def __init__(self, stream: BinaryIO, clips: int, channels: int):
        self._stream, self._channels, self._left = stream, channels, clips
        np.lib.format.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": (clips,)})
        stream.write(_BEGIN + _RECONSTRUCT + b"(K\x01" + _whole(clips) + b"\x85" + _OBJECTS + b"\x89](")

    def begin_clip(self, frames: int) -> None:
        """Announce the next array; its rows follow through the stream, ``frames`` of them."""
        self._end_clip()
        size = frames * self._channels * _ROWS.itemsize
        shape = _whole(frames) + _whole(self._channels) + b"\x86"
        self._stream.write(_RECONSTRUCT + b"(K\x01" + shape + _FLOATS + b"\x89\x8e" + size.to_bytes(8, "little"))
        self._open, self._left = True, self._left - 1

    def finish(self) -> None:
        """Close the array. Raises ValueError if another number of clips came than was announced."""
        self._end_clip()
        if self._left:
            raise ValueError(f"`clips` must be the number of clips; {self._left} are left to write")
        self._stream.write(b"etb.")

    _open = False

    def _end_clip(self) -> None:
        if self._open:
            self._stream.write(b"tb")
        self._open = False


def _whole(number: int) -> bytes:
    """The instruction that gives a whole number."""
    return pickle.dumps(number, protocol=2)[2:-1]
