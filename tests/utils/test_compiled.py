import logging
import os
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from utils import compiled
from utils.compiled import Compiled
from utils.vectors import program


def double(arguments):
    arguments[1] = arguments[0] * 2


class Counting(Compiled):
    """A program that says how often it was written down."""

    def __init__(self, sources=()):
        self.written = 0
        super().__init__("tests", sources, self._write, ["double"])

    def _write(self):
        self.written += 1
        return program({"double": double})


def answer(made):
    arguments = np.array([21, 0])
    made.functions()["double"](arguments.ctypes.data)
    return arguments[1]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "tests"


def test_compiled_once(cache):
    first, second = Counting(), Counting()
    assert second.functions(compile=False) is None
    assert answer(first) == answer(first) == 42
    assert second.functions(compile=False) is not None
    assert answer(second) == 42
    assert (first.written, second.written) == (1, 0)
    (file,) = cache.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_again_when_a_source_changed(tmp_path):
    source = tmp_path / "source.py"
    source.write_text("a")
    assert answer(Counting([source])) == 42
    source.write_text("b")
    changed = Counting([source])
    assert answer(changed) == 42 and changed.written == 1


@pytest.mark.parametrize("damage", ["cut", "changed", "open"])
def test_what_is_damaged_or_not_ours_alone_is_not_run(cache, damage):
    answer(Counting())
    (file,) = cache.iterdir()
    content = file.read_bytes()
    if damage == "open":
        file.chmod(0o666)
    else:
        file.write_bytes(content[:-10] if damage == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    again = Counting()
    assert again.functions(compile=False) is None
    assert answer(again) == 42 and again.written == 1


def test_no_place_to_keep_it(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        assert answer(Counting()) == 42
    assert len(caplog.records) == 1 and "cannot be kept" in caplog.text


def test_no_compiler(monkeypatch, caplog):
    def missing(self):
        raise ImportError("no LLVM here")

    monkeypatch.setattr(compiled.Compiled, "_machine", property(missing))
    made = Counting()
    with caplog.at_level(logging.WARNING):
        assert made.functions() is None and made.functions() is None
    assert made.failed and len(caplog.records) == 1


def test_several_at_once(cache):
    many = [Counting() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(answer, many)) == [42] * 4
    assert len(list(cache.iterdir())) == 1


def test_threads_share_what_one_of_them_has_loaded(monkeypatch):
    """Loaded twice, the first code would be freed while another thread runs it."""
    made, loaded, all_here = Counting(), [], threading.Barrier(4, timeout=30)
    load = made._load

    def slowly(code):
        loaded.append(code)
        time.sleep(0.2)
        return load(code)

    monkeypatch.setattr(made, "_load", slowly)

    def together(_):
        all_here.wait()
        return answer(made)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(together, range(4))) == [42] * 4
    assert len(loaded) == 1


def test_folder_for_each_system(monkeypatch, tmp_path):
    assert compiled.cache_folder("a") == tmp_path / "a"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", os.fspath(tmp_path))
    monkeypatch.setattr(compiled.sys, "platform", "darwin")
    assert compiled.cache_folder("a") == tmp_path / "Library" / "Caches" / "a"
