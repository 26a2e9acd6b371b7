"""Understanding pickles of plain data without running them: the machinery behind `utils.safe_read`.

A pickle is a program: it names functions and calls them. Nothing that a file names is imported here. Each
name is looked up in a fixed table; a name that is not there is refused, and most that are there lead to
stand-ins defined below, which only keep data. The arrays are built afterwards, from checked parts.
"""

from __future__ import annotations

import math
import pickle
import pickletools
import re
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

# ----------------------------------------------------------------------------------------------------
# Stand-ins: what the names in a pickle lead to
# ----------------------------------------------------------------------------------------------------


class Refused(Exception):
    """The content of a file is not understood; the message becomes the second half of an InputError."""


class _Sealed(type):
    """Metaclass of the stand-ins: a pickle may assign attributes to what it holds; these classes refuse
    it."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise Refused("it tries to change the program")


class _Marker:
    """A name that may only be handed to one of the functions below, e.g. ``numpy.ndarray``."""

    __slots__ = ("name",)

    def __init__(self, name: str):
        object.__setattr__(self, "name", name)

    def __setattr__(self, name: str, value: Any) -> None:
        raise Refused("it tries to change the program")


class _Function(_Marker):
    """A function that a pickle may call."""

    __slots__ = ("function",)

    def __init__(self, function: Callable):
        super().__init__(function.__name__)
        object.__setattr__(self, "function", function)

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


_NDARRAY = _Marker("numpy.ndarray")
_OBJECT = _Marker("object")

_FIXED_SIZE = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"}


class _DType(metaclass=_Sealed):
    """``numpy.dtype`` for numbers, strings and objects; structured and other types are refused."""

    __slots__ = ("value",)

    def __init__(self, code: Any, align: Any = False, copy: Any = False):
        code = code.decode("ascii") if isinstance(code, bytes) else code
        if not isinstance(code, str) or not (
            code in _FIXED_SIZE or code in ("O", "O4", "O8") or re.fullmatch(r"[SU]\d{0,7}", code)
        ):
            raise Refused(f"it holds arrays of the unsupported type {code!r}")
        self.value = np.dtype("O" if code.startswith("O") else code)

    def __setstate__(self, state: tuple) -> None:
        _version, byte_order, sub_dtype, names, fields, size = state[:6]
        if sub_dtype is not None or names is not None or fields is not None:
            raise Refused("it holds structured arrays")
        kind = self.value.kind
        if kind in "SU" and isinstance(size, int) and 0 <= size < 1 << 24:
            self.value = np.dtype(f"{kind}{size if kind == 'S' else size // 4}")
        if byte_order in ("<", ">", b"<", b">"):
            order = byte_order if isinstance(byte_order, str) else byte_order.decode()
            self.value = self.value.newbyteorder(order)


def _numbers(raw: Any, dtype: np.dtype, shape: Any, order: str) -> np.ndarray:
    """A writable array from raw bytes, whose length is checked before anything is allocated."""
    if isinstance(raw, str):
        raw = raw.encode("latin1")  # Python 2 had no bytes
    shape = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    if not all(isinstance(n, int) and n >= 0 for n in shape) or len(shape) > 32:
        raise Refused(f"it holds an array of impossible shape {shape}")
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(raw):
        raise Refused(f"it holds an array whose data do not fill its shape {shape}")
    if dtype.itemsize == 0:
        return np.zeros(shape, dtype)
    array = np.frombuffer(raw, dtype)
    check_letters(array)
    return array.reshape(shape, order=order).astype(dtype.newbyteorder("="), order="K")


def check_letters(array: np.ndarray) -> None:
    """Raise Refused if an array of text holds what is no letter: Python ends where it meets one later."""
    if array.dtype.kind == "U" and array.size and array.dtype.itemsize:
        codes = np.ascontiguousarray(array).view(array.dtype.byteorder.replace("|", "=") + "u4")
        if codes.max() > sys.maxunicode:
            raise Refused("it holds text that is damaged")


class _Array(metaclass=_Sealed):
    """``numpy.ndarray``: an array of numbers or strings, or (`items` is a list) of objects."""

    __slots__ = ("items", "shape", "value")

    def __init__(self) -> None:
        self.value = self.items = None
        self.shape = (0,)

    def __setstate__(self, state: tuple) -> None:
        _version, shape, dtype, fortran_order, raw = state
        if dtype.value.hasobject:
            if fortran_order or not isinstance(raw, list) or math.prod(shape) != len(raw):
                raise Refused(f"it holds an object array that does not fill its shape {shape}")
            self.items, self.shape = raw, shape
        else:
            self.value = _numbers(raw, dtype.value, shape, "F" if fortran_order else "C")


class _WithState(metaclass=_Sealed):
    """An instance of which only the attribute dictionary is kept."""

    __slots__ = ("state",)

    def __setstate__(self, state: dict) -> None:
        if not isinstance(state, dict):
            raise Refused(f"a {type(self).__name__.strip('_')} in it has no attribute dictionary")
        self.state = state

    def attribute(self, *names: str) -> Any:
        state = getattr(self, "state", {})
        for name in names:
            if name in state:
                return state[name]
        raise Refused(f"a {type(self).__name__.strip('_')} in it lacks {names[0]!r}")


class _Csc(_WithState):
    """SciPy's compressed sparse columns."""

    __slots__ = ()
    build = "csc_matrix"


class _Csr(_WithState):
    """SciPy's compressed sparse rows."""

    __slots__ = ()
    build = "csr_matrix"


class _Ch(_WithState):
    """``chumpy.ch.Ch``: a free variable, whose value is its attribute ``x``."""

    __slots__ = ()


class _Select(_WithState):
    """``chumpy.reordering.Select``: elements ``idxs`` of the flattened ``a``, in shape
    ``preferred_shape``."""

    __slots__ = ()


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    if kind is not _NDARRAY or tuple(shape) != (0,):
        raise Refused("it makes an array in a way that NumPy does not")
    return _Array()


def _frombuffer(raw: Any, dtype: _DType, shape: Any, order: str) -> np.ndarray:
    return _numbers(bytes(raw), dtype.value, shape, "F" if order == "F" else "C")


def _scalar(dtype: _DType, raw: Any = b"") -> np.generic:
    return _numbers(raw, dtype.value, (1,), "C")[0]


def _reconstructor(kind: Any, base: Any, state: Any) -> _WithState:
    if not (isinstance(kind, type) and issubclass(kind, _WithState)) or base is not _OBJECT or state is not None:
        raise Refused("it makes an object in a way that Python does not")
    return kind()


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise Refused("it encodes text in an unexpected way")
    return text.encode("latin1")


def _empty_bytes() -> bytes:
    return b""


def _bytearray(value: Any = b"", encoding: Any = "latin1") -> bytearray:
    if isinstance(value, str):
        value = _encode(value, encoding)
    if not isinstance(value, bytes | bytearray):
        raise Refused("it makes a bytearray in an unexpected way")  # a bare number would allocate that many bytes
    return bytearray(value)


def _table() -> dict[tuple[str, str], Any]:
    """(module, name) as written in a pickle → what it leads to. Old and new homes of a name stand side by
    side."""
    table: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): _NDARRAY,
        ("numpy", "dtype"): _DType,
        ("_codecs", "encode"): _Function(_encode),
        ("collections", "OrderedDict"): OrderedDict,
        ("chumpy.ch", "Ch"): _Ch,
        ("chumpy.reordering", "Select"): _Select,
    }
    for package in ("numpy.core", "numpy._core"):
        table[f"{package}.multiarray", "_reconstruct"] = _Function(_reconstruct)
        table[f"{package}.multiarray", "scalar"] = _Function(_scalar)
        table[f"{package}.numeric", "_frombuffer"] = _Function(_frombuffer)
    for module in ("copyreg", "copy_reg"):
        table[module, "_reconstructor"] = _Function(_reconstructor)
    for module in ("builtins", "__builtin__"):
        table[module, "object"] = _OBJECT
        table[module, "bytearray"] = _Function(_bytearray)
        table[module, "bytes"] = _Function(_empty_bytes)  # the only use of this name that pickle makes
        for kind in (set, frozenset, complex):
            table[module, kind.__name__] = kind
    for kind, name in ((_Csc, "csc"), (_Csr, "csr")):
        for module in (f"scipy.sparse.{name}", f"scipy.sparse._{name}"):
            for suffix in ("matrix", "array"):
                table[module, f"{name}_{suffix}"] = kind
    return table


_TABLE = _table()


class _Unpickler(pickle.Unpickler):
    """An unpickler whose only names are those of the table above."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _TABLE[module, name]
        except KeyError:
            raise Refused(
                f"it asks for {module}.{name}, which is not on the list of harmless names; nothing was run"
            ) from None


# ----------------------------------------------------------------------------------------------------
# From stand-ins to arrays
# ----------------------------------------------------------------------------------------------------

_PLAIN = (type(None), bool, int, float, complex, str, bytes, bytearray, np.generic)


class _Resolver:
    """Replaces the stand-ins in a loaded object by arrays; shared parts are visited once, so cycles end."""

    def __init__(self) -> None:
        self.done: dict[int, Any] = {}
        self.alive: list[Any] = []  # keeps ids unique

    def __call__(self, value: Any) -> Any:
        if isinstance(value, _PLAIN) or type(value) is np.ndarray:
            return value
        if id(value) in self.done:
            return self.done[id(value)]
        self.alive.append(value)
        if type(value) is list:
            self.done[id(value)] = value
            value[:] = [self(item) for item in value]
        elif type(value) in (dict, OrderedDict):
            self.done[id(value)] = value
            for key in value:
                value[self._key(key)] = self(value[key])
        elif type(value) in (set, frozenset):
            self.done[id(value)] = value
            for item in value:
                self._key(item)
        else:
            self.done[id(value)] = self._leaf(value)
        return self.done[id(value)]

    def _key(self, key: Any) -> Any:
        if isinstance(key, tuple | frozenset):
            for item in key:
                self._key(item)
        elif not isinstance(key, _PLAIN):
            raise Refused(f"it uses a {type(key).__name__.strip('_')} as a key")
        return key

    def _leaf(self, value: Any) -> Any:
        if type(value) is tuple:
            return tuple(self(item) for item in value)
        if isinstance(value, _Array):
            return self._array(value)
        if isinstance(value, _Csc | _Csr):
            return self._sparse(value)
        if isinstance(value, _Ch):
            return self._float_array(value.attribute("x"), "chumpy variable")
        if isinstance(value, _Select):
            return self._select(value)
        name = getattr(value, "name", None) or getattr(value, "__name__", type(value).__name__)
        raise Refused(f"it holds {name.strip('_')} itself, where data were expected")

    def _array(self, value: _Array) -> np.ndarray:
        if value.items is None:
            if value.value is None:
                raise Refused("it holds an array without data")
            return value.value
        result = np.empty(len(value.items), dtype=object)
        for i, item in enumerate(value.items):
            result[i] = self(item)
        return result.reshape(value.shape)

    def _float_array(self, value: Any, what: str) -> np.ndarray:
        value = self(value)
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
            raise Refused(f"the content of a {what} in it is not an array of numbers")
        return value.astype(np.float64)

    def _sparse(self, value: _Csc | _Csr) -> Any:
        parts = [self(value.attribute(name)) for name in ("data", "indices", "indptr")]
        shape = self(value.attribute("_shape", "shape"))
        if not all(isinstance(part, np.ndarray) and part.ndim == 1 and part.dtype.kind in "fiu" for part in parts):
            raise Refused("the parts of a sparse matrix in it are not arrays of numbers")
        if any(part.dtype.kind == "f" for part in parts[1:]) or not (isinstance(shape, tuple) and len(shape) == 2):
            raise Refused("a sparse matrix in it has impossible indices or shape")
        import scipy.sparse  # a twentieth of a second, which hardly any file needs

        matrix = getattr(scipy.sparse, value.build)(tuple(parts), shape=tuple(int(n) for n in shape))
        matrix.check_format(full_check=True)  # indices out of bounds would read foreign memory later
        return matrix

    def _select(self, value: _Select) -> np.ndarray:
        source = self._float_array(value.attribute("a"), "chumpy selection").ravel()
        indices = self(value.attribute("idxs"))
        if not isinstance(indices, np.ndarray) or indices.dtype.kind not in "iu":
            raise Refused("the indices of a chumpy selection in it are not whole numbers")
        selected = source[indices.ravel()]
        shape = self(value.state.get("preferred_shape", indices.shape))
        if isinstance(shape, np.ndarray) and shape.dtype.kind in "iu":
            shape = tuple(shape.tolist())
        if not isinstance(shape, tuple | list) or math.prod(shape) != selected.size:
            raise Refused("a chumpy selection in it does not fill its shape")
        return selected.reshape([int(n) for n in shape])


def _check_opcodes(stream: Any) -> None:
    """Refuse memo numbers beyond the number of instructions: a few bytes would make the unpickler take
    gigabytes."""
    for count, (opcode, argument, _position) in enumerate(pickletools.genops(stream)):
        if opcode.name in ("PUT", "LONG_BINPUT") and not 0 <= argument <= count + 256:
            raise Refused("its memo numbers are out of range")


def unpickle(stream: Any) -> Any:
    """Read one pickle from `stream` (seekable, clamps reads at its end) with the table of harmless names."""
    start = stream.tell()
    _check_opcodes(stream)
    stream.seek(start)
    return _Resolver()(_Unpickler(stream, encoding="latin1").load())
