"""Programs of :mod:`utils.vectors` as machine code, compiled once and kept in the user's cache for this processor.

The name of a file in the cache is a hash of the program's sources, of LLVM and of the processor, so nothing old is
ever loaded, and machines of several kinds may share a home. Files appear by renaming: processes do not see each
other's halves. Only what belongs to the user is loaded, because loading it is running it.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path

from utils.errors import InputError
from utils.files import atomic_write

_log = logging.getLogger(__name__)
_DIGEST = hashlib.sha256().digest_size


def cache_folder(name: str) -> Path:
    """Where this system keeps what a program can make again: a folder for each user."""
    if os.name == "nt":
        above = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        above = Path.home() / "Library" / "Caches"
    else:
        above = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(above) / name


class Compiled:
    """Functions of one address, compiled when they are first needed.

    Args:
        name: of the cache folder.
        sources: files that the program is made of.
        text: writes the program down (see :func:`utils.vectors.program`); called only if nothing is kept.
        entries: names of its functions.
    """

    def __init__(self, name: str, sources: Iterable[Path], text: Callable[[], str], entries: Iterable[str]) -> None:
        self._name, self._sources, self._text, self._entries = name, tuple(sources), text, tuple(entries)
        self._functions: dict[str, Callable[[int], None]] | None = None
        self._failure: str | None = None
        self._lock = threading.Lock()

    @cached_property
    def _machine(self):
        """LLVM's binding and this processor. ImportError or RuntimeError where there is none."""
        import llvmlite.binding as llvm  # 0.1 s, which only those wait for who need it

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        features = llvm.get_host_cpu_features().flatten()
        target = llvm.Target.from_default_triple()
        options = {"cpu": llvm.get_host_cpu_name(), "features": features, "opt": 3, "jit": True}
        return llvm, target, options

    def _path(self) -> Path:
        llvm, target, options = self._machine
        digest = hashlib.sha256()
        for part in (target.triple, options["cpu"], options["features"], ".".join(map(str, llvm.llvm_version_info))):
            digest.update(part.encode() + b"\0")
        for source in self._sources:
            digest.update(source.read_bytes() + b"\0")
        return cache_folder(self._name) / f"{digest.hexdigest()[:32]}.o"

    def _kept(self) -> bytes | None:
        """Machine code from the cache, if it is whole and nobody else could have written it."""
        try:
            path = self._path()
            if os.name != "nt":
                for owned in (path.parent, path):
                    status = owned.stat()
                    if status.st_uid != os.getuid() or status.st_mode & 0o022:
                        return None
            content = path.read_bytes()
        except (OSError, RuntimeError):  # no such file, no home, no permission
            return None
        digest, code = content[:_DIGEST], content[_DIGEST:]
        return code if hashlib.sha256(code).digest() == digest else None

    def _compile(self) -> bytes:
        llvm, target, options = self._machine
        module = llvm.parse_assembly(self._text())
        machine = target.create_target_machine(**options)
        module.triple, module.data_layout = target.triple, str(machine.target_data)
        tuning = llvm.create_pipeline_tuning_options(speed_level=3)
        tuning.loop_vectorization = tuning.slp_vectorization = False  # vectors are there already
        passes = llvm.create_pass_builder(machine, tuning)
        passes.getModulePassManager().run(module, passes)
        return machine.emit_object(module)

    def _keep(self, code: bytes) -> None:
        try:
            folder = self._path().parent
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with atomic_write(self._path()) as temporary:
                temporary.write_bytes(hashlib.sha256(code).digest() + code)
                temporary.chmod(0o600)
        except (OSError, InputError, RuntimeError) as error:
            _log.warning("compiled code cannot be kept and will be compiled each time: %s", error)

    def _load(self, code: bytes) -> dict[str, Callable[[int], None]]:
        llvm, target, options = self._machine
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target.create_target_machine(**options))
        self._engine.add_object_file(llvm.object_file.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        kind = ctypes.CFUNCTYPE(None, ctypes.c_int64)
        return {name: kind(self._engine.get_function_address(name)) for name in self._entries}

    @property
    def loaded(self) -> bool:
        """Whether they can be called at once."""
        return self._functions is not None

    @property
    def failed(self) -> bool:
        """Whether this machine cannot have them."""
        return self._failure is not None

    def functions(self, compile: bool = True) -> dict[str, Callable[[int], None]] | None:
        """The functions; None where they cannot be had, or would have to be compiled and ``compile`` is false.

        Threads may ask at the same time: of two programs loaded at once the first would be freed under its callers.
        """
        if self._functions is None and self._failure is None:
            with self._lock:
                self._look_for(compile)
        return self._functions

    def _look_for(self, compile: bool) -> None:
        if self._functions is None and self._failure is None:
            try:
                code = self._kept()
                if code is None and compile:
                    code = self._compile()
                    self._keep(code)
                if code is not None:
                    self._functions = self._load(code)
            except (ImportError, OSError, RuntimeError) as error:  # no LLVM, or none for this processor
                self._failure = str(error)
                _log.warning("nothing is compiled on this machine, which is slower: %s", error)
