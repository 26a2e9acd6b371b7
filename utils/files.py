"""Files that are either complete or absent, and fingerprints of their contents.

Blender's own Python, which may be as old as 3.7, imports this module too.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from utils.errors import InputError

_HASH_CHUNK = 1 << 20
ABANDONED = 600.0
"""Seconds after which a temporary file that does not grow belongs to nobody."""


def check_writable(folder: str | os.PathLike) -> None:
    """Say before long work that its results could not be kept. Creates nothing.

    Raises:
        InputError: `folder` is a file, or it (or the folder above that it would be made in) cannot be written to.
    """
    folder = Path(folder)
    there = next((path for path in (folder, *folder.absolute().parents) if os.path.exists(str(path))), folder)
    if not there.is_dir():
        raise InputError(f"{there}: expected a folder to write to, found a file; choose another one")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{there}: no permission to write in this folder; choose another one")
    try:  # permissions are not all: read-only and virtual file systems refuse as well
        tempfile.TemporaryFile(dir=str(there)).close()
    except OSError as error:
        raise InputError(f"{there}: cannot write in this folder ({error.strerror}); choose another one") from error


@contextmanager
def atomic_write(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path to write to; rename it to `path` when the block succeeds, remove it when it
    fails.

    The temporary file lies in the same folder (a rename is atomic only within one file system), is hidden,
    and keeps the suffix, because `numpy.save` and others append one that they miss. Missing parent folders
    are created. An existing `path` stays untouched until the new one is complete.

    Raises:
        InputError: `path` is a folder, its folder cannot be created or written to, or cannot hold such a file.
        OSError: writing itself failed, e.g. the disk is full.
    """
    path = Path(path)
    if os.path.isdir(str(path)):
        raise InputError(f"{path}: expected the name of a file to write, found a folder; give a file name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path.parent}: cannot create this folder ({error.strerror}); choose another one") from error
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f"{path.parent}: no permission to write in this folder; choose another one")
    # The stem is cut so that a legal long name does not become an illegal longer one.
    temporary = path.with_name(f".{path.stem[:100]}-{secrets.token_hex(6)}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.filename is None or os.fspath(error.filename) != str(temporary):
            raise
        reason = error.strerror or str(error)
        raise InputError(f"{path}: cannot write this file ({reason}); choose another name or folder") from error
    finally:
        with suppress(OSError):  # a name that cannot be written cannot be removed either
            temporary.unlink()


def remove_leftovers(path: str | os.PathLike, age: float = ABANDONED) -> None:
    """Remove what killed programs left of :func:`atomic_write` to ``path``: temporary files that nobody has written to
    for ``age`` seconds, so that a program at work beside this one keeps its own."""
    path = Path(path)
    pattern = re.compile(rf"\.{re.escape(path.stem[:100])}-[0-9a-f]{{12}}{re.escape(path.suffix)}")
    for entry in path.parent.iterdir() if path.parent.is_dir() else ():
        if pattern.fullmatch(entry.name) and entry.is_file() and time.time() - entry.stat().st_mtime > age:
            entry.unlink(missing_ok=True)


def content_hash(*paths: str | os.PathLike) -> str:
    """SHA-256 (hexadecimal) of the contents of the given files, in the given order; names do not matter.

    The length of each file is part of the hash, so moving bytes from one file to the next changes it.

    Raises:
        InputError: a file is missing or is a folder.
    """
    digest = hashlib.sha256()
    for path in map(Path, paths):
        if not path.is_file():
            raise InputError(f"{path}: expected a file, found {'a folder' if path.is_dir() else 'nothing'}")
        digest.update(path.stat().st_size.to_bytes(8, "little"))
        with path.open("rb") as stream:
            for chunk in iter(lambda: stream.read(_HASH_CHUNK), b""):
                digest.update(chunk)
    return digest.hexdigest()
