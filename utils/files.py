"""Files that are either complete or absent, and fingerprints of their contents.

Blender's own Python, which may be as old as 3.7, imports this module too.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import secrets
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from utils.errors import InputError

_HASH_CHUNK = 1 << 20
_TEMPORARY = re.compile(r"\..{1,100}-(?P<owner>[0-9a-f]{12})?(?:[0-9a-f]{8}|[0-9a-f]{12})(?:\.[^.]*)?")
"""Earlier versions wrote twelve digits, and no owner."""
_tidied = set()  # type: set
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
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
    are created. An existing `path` stays untouched until the new one is complete and on the disk. What killed
    programs have left in the folder is removed when this one first writes there.

    Raises:
        InputError: `path` is a folder, its folder cannot be created or written to, or cannot hold such a file; writing
            failed, e.g. the disk is full.
        OSError: something failed that is not about this file.
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
    if path.parent not in _tidied:
        _tidied.add(path.parent)
        remove_leftovers(path.parent)
    # The stem is cut so that a legal long name does not become an illegal longer one.
    temporary = path.with_name(f".{path.stem[:100]}-{_owner()}{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        _to_disk(temporary)
        os.replace(temporary, path)
    except OSError as error:
        elsewhere = error.filename is not None and os.fspath(error.filename) != str(temporary)
        if elsewhere or isinstance(error, (ConnectionError, InterruptedError, TimeoutError)):
            raise
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):  # a name that cannot be written cannot be removed either
            temporary.unlink()


def unwritable(path: str | os.PathLike, error: OSError) -> InputError:
    """What to say where ``path`` could not be written: the file or folder, why, and what to do."""
    # Writing to an open file that fails tells no name, and NumPy and PyTorch not even a reason.
    full = error.errno in DISK_FULL or (error.errno is None and error.filename is None)
    way_out = "free some space, or choose another folder" if full else "choose another name or folder"
    where = "in this folder" if os.path.isdir(path) else "this file"
    return InputError(f"{path}: cannot write {where} ({error.strerror or error}); {way_out}")


def remove_leftovers(folder: str | os.PathLike, age: float = ABANDONED) -> None:
    """Remove what killed programs left of :func:`atomic_write` in ``folder``.

    These are temporary files of processes of this machine that have ended, and others that nobody has written to for
    ``age`` seconds, so that a program at work beside this one, or on another machine, keeps its own.
    """
    with suppress(OSError):  # not ours to list, or already gone
        for entry in os.scandir(str(folder)):
            match = _TEMPORARY.fullmatch(entry.name)
            if match is None or not entry.is_file(follow_symlinks=False):
                continue
            if _has_ended(match["owner"] or "") or time.time() - entry.stat().st_mtime > age:
                with suppress(OSError):
                    os.unlink(entry.path)


def private_folder(prefix: str) -> tempfile.TemporaryDirectory:
    """A temporary folder for its owner's eyes alone, which goes when it is cleaned up or forgotten.

    Those of this prefix that killed programs of the same user have left on this machine are removed first.
    """
    name = re.compile(re.escape(prefix) + "(?P<owner>[0-9a-f]{12})_.+")
    with suppress(OSError):
        for entry in os.scandir(tempfile.gettempdir()):
            match = name.fullmatch(entry.name)
            if match is not None and entry.is_dir(follow_symlinks=False) and _has_ended(match["owner"]):
                shutil.rmtree(entry.path, ignore_errors=True)  # what is another user's stays
    return tempfile.TemporaryDirectory(prefix=f"{prefix}{_owner()}_")


def _owner() -> str:
    """This machine and process, as 12 hexadecimal digits."""
    return f"{_machine():04x}{os.getpid():08x}"


def _machine() -> int:
    """Of processes that see each other's numbers."""
    try:
        space = str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        space = ""
    return zlib.crc32(f"{platform.node()} {space}".encode()) & 0xFFFF


def _has_ended(owner: str) -> bool:
    """Whether the process that owns a temporary file has; False if that cannot be told."""
    if os.name != "posix" or not owner or int(owner[:4], 16) != _machine():
        return False
    try:
        os.kill(int(owner[4:], 16), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _to_disk(path: Path) -> None:
    """Until then a machine that loses its power could keep the name without the content."""
    if not path.is_file():
        return  # the block made a folder, or nothing: the rename will tell
    descriptor = os.open(str(path), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
