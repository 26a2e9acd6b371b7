"""Arrays as long as a motion, without the memory: what is large lies in a file that has no name.

Up to `IN_MEMORY` bytes an array is an ordinary one. A larger one is mapped from a temporary file that is deleted at
once, so nothing is left of it however the program ends. Who walks over frames by `blocks` holds the pages of one
block: the others are handed back to the system, which keeps them on disk, or in memory that nobody else asks for.

Blender's own Python imports this module too.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from collections.abc import Iterator

import numpy as np

from utils.errors import InputError

IN_MEMORY = 1 << 22
"""Bytes up to which an array is kept in memory."""
FRAMES = 4096
"""Frames of a motion that are worked on at once, where nothing else says how many."""
_maps = weakref.WeakSet()  # type: weakref.WeakSet


def empty(shape: tuple[int, ...], dtype: np.typing.DTypeLike = np.float64) -> np.ndarray:
    """An array whose numbers are still to be written.

    Raises:
        InputError: the disk has no room for it.
    """
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if size <= IN_MEMORY:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(prefix="s2h_") as file:
        try:
            if hasattr(os, "posix_fallocate"):  # a full disk shows here, not as a signal when pages are written
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            pages = mmap.mmap(file.fileno(), size)
        except OSError as error:
            raise InputError(
                f"{tempfile.gettempdir()}: expected room for {size / 1e6:.0f} MB that a long motion takes for a "
                f"while, found none ({error.strerror}); free some space, or set TMPDIR to another folder"
            ) from error
    _maps.add(pages)
    return np.frombuffer(pages, dtype).reshape(shape)


def blocks(frames: int, size: int | None = None) -> Iterator[slice]:
    """Frames in blocks of ``size`` (None: `FRAMES`); between two of them pages are handed back."""
    size = size or FRAMES
    for first in range(0, frames, size):
        yield slice(first, min(first + size, frames))
        release()


def release() -> None:
    """Hand the pages of all large arrays back to the system; they are read again when they are needed."""
    if hasattr(mmap, "MADV_DONTNEED"):
        for pages in list(_maps):
            pages.madvise(mmap.MADV_DONTNEED)  # pages are shared with the file: nothing is lost
