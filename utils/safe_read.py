"""Reading files from strangers without running anything that they contain.

Understood: plain containers, numbers and strings, NumPy arrays and scalars, SciPy's compressed sparse
matrices and the two chumpy classes of the distributed MANO files (turned to NumPy without chumpy), written by
Python 2 or 3; ``.npy``, ``.npz``; and checkpoints of PyTorch Lightning 1.7 to 2.x. Anything else is refused
by name.
"""

from __future__ import annotations

import errno
import io
import math
import mmap as memory_map
import os
import pathlib
import pickle
import re
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from utils.errors import InputError
from utils.plain_pickle import Refused, check_letters, unpickle

_DAMAGE = (
    pickle.UnpicklingError, EOFError, RuntimeError, ValueError, TypeError, IndexError, KeyError,
    AttributeError, OverflowError, MemoryError, RecursionError, UnicodeError, ImportError,
    NotImplementedError, SyntaxError, tokenize.TokenError, struct.error, zlib.error, zipfile.BadZipFile,
)  # fmt: skip
"""What a truncated or malicious file can provoke in the readers of the standard library and NumPy."""
_LARGEST_ARCHIVE = 1 << 29
"""Bytes that an ``.npz`` may hold unpacked: far more than a mesh or a hand model, and less than does harm. A few
kilobytes of zeros can be packed so that they would fill any memory."""


_PIECE = 1 << 20


@contextmanager
def _explained(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a bad file provokes into an InputError that names the file."""
    try:
        yield
    except Refused as error:
        reason = _in_one_line(str(error))
        raise InputError(f"{path}: expected {kind} with plain data, but {reason}; use another file") from None
    except _DAMAGE as error:
        detail = _in_one_line(str(error).splitlines()[0] if str(error) else type(error).__name__)
        raise InputError(
            f"{path}: expected {kind}, but it is damaged or of another kind ({detail}); fetch or write it again"
        ) from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # A position in the file that cannot be: its own table of contents is wrong, not the disk.
        raise InputError(
            f"{path}: expected {kind}, but its table of contents is damaged; fetch or write it again"
        ) from error


def _in_one_line(text: str) -> str:
    """The text without what a file may have put into it to break or colour the line of an error message."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)[:400]


def _existing(path: str | os.PathLike) -> Path:
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing"
        raise InputError(f"{path}: expected a file, found {found}; check the path")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty; fetch or write it again")
    return path


def read_pickle(path: str | os.PathLike) -> Any:
    """Read a pickle (Python 2 or 3) of plain data without running it; a ``.npz`` is recognised and read too.

    Args:
        path: for example a distributed ``MANO_RIGHT.pkl``.

    Returns:
        What was pickled. NumPy arrays are writable; chumpy variables and selections are float64 arrays;
        sparse matrices are ``scipy.sparse.csc_matrix`` or ``csr_matrix``. Python-2 strings are decoded as
        Latin-1.

    Raises:
        InputError: the file is missing, damaged, or asks for anything outside the list of harmless names; the
            message tells the name. Nothing that the file contains has been run then.
    """
    path = _existing(path)
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            return read_npz(path)
        with _explained(path, "a pickle"), _map_file(file) as view:
            return unpickle(view)


# ----------------------------------------------------------------------------------------------------
# .npy and .npz
# ----------------------------------------------------------------------------------------------------


def _read_header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """(shape, Fortran order, dtype) of a ``.npy`` stream, which is left at the first byte of data."""
    version = np.lib.format.read_magic(stream)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # NumPy's remark on the headers that Python 2 wrote
        if version == (1, 0):
            return np.lib.format.read_array_header_1_0(stream)
        if version in ((2, 0), (3, 0)):  # they differ in the encoding of field names, which plain arrays have not
            return np.lib.format.read_array_header_2_0(stream)
    raise Refused(f"it has the unknown format version {version}")


def _read_array(stream: BinaryIO, size: int) -> np.ndarray:
    """One array from a ``.npy`` stream of `size` bytes in all."""
    shape, fortran_order, dtype = _read_header(stream)
    if dtype.hasobject:
        rest = bytearray(max(0, size - stream.tell()))
        _fill(stream, memoryview(rest))
        return _read_objects(io.BytesIO(rest), shape)
    left = size - stream.tell()
    needed = math.prod(shape) * dtype.itemsize
    if needed != left:
        raise ValueError(f"its header announces {needed} bytes of data, {left} are there")
    order = "F" if fortran_order else "C"
    result = np.empty(math.prod(shape), dtype)
    _fill(stream, memoryview(result.view(np.uint8)) if needed else memoryview(b""))
    check_letters(result)
    return result.reshape(shape, order=order)


def _fill(stream: BinaryIO, place: memoryview) -> None:
    """Read exactly so many bytes, and see that no more come: a packed stream may unpack to anything."""
    done = 0
    while done < len(place):
        part = stream.read(min(_PIECE, len(place) - done))
        if not part:
            raise EOFError("the data end early")
        place[done : done + len(part)] = part
        done += len(part)
    if stream.read(1):
        raise ValueError("more data come than announced")


def _read_objects(stream: BinaryIO, shape: tuple[int, ...]) -> np.ndarray:
    """The object array whose pickle begins where the stream stands."""
    value = unpickle(stream)
    if not isinstance(value, np.ndarray) or value.shape != shape:
        raise Refused("its header and its content disagree")
    return value


def _map_file(file: BinaryIO) -> memory_map.mmap:
    """A read-only view of an open file; unlike a file it reserves no more memory than there are bytes."""
    return memory_map.mmap(file.fileno(), 0, access=memory_map.ACCESS_READ)


def read_npz(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read all arrays of a ``.npz`` archive; object arrays go through the list of harmless names.

    Returns:
        Name → array, in the order of the archive.

    Raises:
        InputError: the file is missing, damaged, or holds something else than plain data.
    """
    path = _existing(path)
    arrays: dict[str, np.ndarray] = {}
    with _explained(path, "an .npz archive"), zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
        if size > _LARGEST_ARCHIVE:
            raise Refused(f"it would unpack to {size >> 20} MiB (at most {_LARGEST_ARCHIVE >> 20} are read)")
        for member in archive.infolist():
            if not member.filename.endswith(".npy"):
                raise Refused(f"it contains {member.filename!r}, which is not an array")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                # Others unpack all of a piece at once, however large it becomes.
                raise Refused(f"{member.filename!r} is packed in a way that NumPy does not use")
            with archive.open(member) as stream:
                arrays[member.filename.removesuffix(".npy")] = _read_array(stream, member.file_size)
    return arrays


def names_in_npz(path: str | os.PathLike) -> list[str]:
    """The names of the arrays of a ``.npz`` archive, of which nothing else is read. Raises as `read_npz` does."""
    path = _existing(path)
    with _explained(path, "an .npz archive"), zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def read_npy(path: str | os.PathLike, mmap: bool = False) -> np.ndarray:
    """Read a ``.npy`` file; an object array goes through the same list of harmless names as pickles.

    Args:
        path: the file.
        mmap: leave the numbers on disk and map them read-only (not possible for object arrays, which are
            read).

    Raises:
        InputError: the file is missing, damaged, or holds something else than plain data.
    """
    path = _existing(path)
    with _explained(path, "a .npy file"), path.open("rb") as file:
        size = path.stat().st_size
        shape, fortran_order, dtype = _read_header(file)
        offset = file.tell()
        if dtype.hasobject:
            with _map_file(file) as view:
                view.seek(offset)
                return _read_objects(view, shape)
        if not mmap:
            file.seek(0)
            return _read_array(file, size)
        needed = math.prod(shape) * dtype.itemsize
        if needed != size - offset:
            raise ValueError(f"its header announces {needed} bytes of data, {size - offset} are there")
        if needed == 0:
            return np.empty(shape, dtype)  # nothing can be mapped
        return np.memmap(file, dtype, "r", offset, shape, "F" if fortran_order else "C")


# ----------------------------------------------------------------------------------------------------
# Checkpoints
# ----------------------------------------------------------------------------------------------------


class _Attributes:
    """Stands for the attribute dictionaries and namespaces in which Lightning and jsonargparse keep settings.

    PyTorch's restricted unpickler fills exact dictionaries only, so making one of these gives a marked
    OrderedDict, which keeps items as such and attributes in its ``__dict__``; `_plain_settings` joins them.
    """

    def __new__(cls, *_args: Any) -> OrderedDict:
        result = OrderedDict()
        result._settings = True
        return result


class CallbackName:
    """Stands for a callback class that an old checkpoint uses as the key of that callback's state."""


_ATTRIBUTE_CLASSES = (
    "argparse.Namespace",
    "types.SimpleNamespace",
    "jsonargparse.namespace.Namespace",
    "jsonargparse._namespace.Namespace",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning.fabric.utilities.data.AttributeDict",
)
_CALLBACK_CLASSES = tuple(
    f"{package}.callbacks.{module}.{name}"
    for package in ("pytorch_lightning", "lightning.pytorch")
    for module, name in (
        ("model_checkpoint", "ModelCheckpoint"),
        ("early_stopping", "EarlyStopping"),
        ("timer", "Timer"),
        ("lr_monitor", "LearningRateMonitor"),
    )
)
_NUMPY_TYPES = [
    "Bool",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
    "Float16",
    "Float32",
    "Float64",
    "Str",
    "Bytes",
]


def _checkpoint_table() -> list[Any]:
    table: list[Any] = [(_Attributes, name) for name in _ATTRIBUTE_CLASSES]
    # A class of its own for each name: as dictionary keys they must stay apart.
    table += [(type(name.rpartition(".")[2], (CallbackName,), {}), name) for name in _CALLBACK_CLASSES]
    for name in ("PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath"):
        # A pure path does not touch the disk, and a Windows path cannot be made elsewhere.
        kind = pathlib.PureWindowsPath if "Windows" in name else pathlib.PurePosixPath
        table += [(kind, f"pathlib.{name}"), (kind, f"pathlib._local.{name}")]
    # The functions with which NumPy pickles scalars and arrays, asked for without naming a private module.
    scalar, reconstruct = np.float64(0).__reduce__()[0], np.zeros(1).__reduce__()[0]
    for package in ("numpy.core", "numpy._core"):
        table.append((scalar, f"{package}.multiarray.scalar"))
        table.append((reconstruct, f"{package}.multiarray._reconstruct"))
    table += [(np.dtype, "numpy.dtype"), (np.ndarray, "numpy.ndarray")]
    table += [getattr(np.dtypes, f"{name}DType") for name in _NUMPY_TYPES]
    return table


_CHECKPOINT_TABLE = _checkpoint_table()


@contextmanager
def checkpoint_globals() -> Iterator[None]:
    """Within this context `torch.load(…, weights_only=True)`, also inside Lightning, accepts what its
    checkpoints hold.

    These are settings (attribute dictionaries, namespaces), paths, NumPy scalars and callback classes as
    keys. All of them lead to stand-ins or harmless constructors.
    """
    with torch.serialization.safe_globals(_CHECKPOINT_TABLE):
        yield


def _plain_settings(value: Any) -> Any:
    """Replace namespaces by dictionaries, paths by strings and NumPy scalars by numbers, in all
    containers."""
    if isinstance(value, OrderedDict):
        attributes = dict(vars(value))
        if not attributes.pop("_settings", False):
            return value  # a state dict; keep its metadata
        value = {**value, **attributes}
    if isinstance(value, dict):
        return {key: _plain_settings(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain_settings(item) for item in value]
    if type(value) is tuple:
        return tuple(_plain_settings(item) for item in value)
    if isinstance(value, pathlib.PurePath):
        return str(value)
    if isinstance(value, np.generic):
        return value.item()
    return value


def _check_sums(path: Path) -> None:
    """Compare the parts of a checkpoint with their check sums, which PyTorch does not do.

    Raises:
        InputError: bytes have changed since it was written, or parts are packed, which PyTorch does not do either.
    """
    if not zipfile.is_zipfile(path):
        return  # of PyTorch before 1.6, or no checkpoint at all
    with _explained(path, "a checkpoint"), zipfile.ZipFile(path) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise Refused("its parts are packed, as PyTorch does not write them")
        damaged = archive.testzip()
    if damaged is not None:
        raise InputError(
            f"{path}: expected a checkpoint as it was written, but {_in_one_line(damaged)} in it has changed since; "
            f"use another copy"
        )


def load_checkpoint(path: str | os.PathLike, map_location: Any = "cpu") -> dict[str, Any]:
    """Load a checkpoint of Lightning 1.7 to 2.x, or any dictionary of tensors, without running anything from
    it.

    Namespaces and attribute dictionaries come back as dictionaries, paths as strings, NumPy scalars as
    numbers.

    Args:
        path: the ``.ckpt`` or ``.pt`` file.
        map_location: as for `torch.load`.

    Raises:
        InputError: the file is missing, damaged, no checkpoint, or asks for a name outside the list of
            harmless
            ones; the message tells the name.
    """
    path = _existing(path)
    _check_sums(path)
    try:
        with checkpoint_globals(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles of other protocols, which are refused or understood
            content = torch.load(path, map_location=map_location, weights_only=True)
        content = _plain_settings(content)
    except Exception as error:  # a damaged file provokes nearly every kind of exception in torch.load
        message = str(error)
        if refused := re.search(r"GLOBAL (\S+)", message):
            raise InputError(
                f"{path}: expected a checkpoint with plain data, but it asks for {refused[1]}, "
                "which is not on the list of harmless names; nothing was run; "
                "save the checkpoint without that object"
            ) from None
        detail = re.sub(r".*WeightsUnpickler error:\s*", "", message, flags=re.DOTALL)
        detail = re.split(r"\.\s|\n", detail)[0][:200] or type(error).__name__
        raise InputError(
            f"{path}: expected a checkpoint written by torch.save or Lightning, but it is damaged, "
            f"cut short or of another kind ({detail}); fetch or write it again"
        ) from error
    if not isinstance(content, dict):
        raise InputError(
            f"{path}: expected a checkpoint (a dictionary), found a {type(content).__name__}; "
            "give a file written by `fit`"
        )
    return content
