"""Files are complete or absent; fingerprints follow the contents."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from utils.errors import InputError
from utils.files import _owner, atomic_write, check_writable, content_hash, private_folder, remove_leftovers

ROOT = Path(__file__).resolve().parents[2]


def test_file_appears_complete_and_nothing_else_stays(tmp_path):
    target = tmp_path / "new" / "folder" / "a.txt"
    with atomic_write(target) as temporary:
        temporary.write_text("content")
        assert not target.exists()
        assert temporary.parent == target.parent
    assert target.read_text() == "content"
    assert os.listdir(target.parent) == ["a.txt"]


def test_failure_keeps_the_old_file(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_write(target) as temporary:
        temporary.write_text("half of the n")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_suffix_is_kept_for_libraries_that_append_one(tmp_path):
    with atomic_write(tmp_path / "a.npy") as temporary:
        np.save(temporary, np.arange(3))
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), [0, 1, 2])


def test_permissions_are_those_of_an_ordinary_new_file(tmp_path):
    (tmp_path / "ordinary").write_text("")
    with atomic_write(tmp_path / "a") as temporary:
        temporary.write_text("")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ordinary", "a")]
    assert modes[0] == modes[1]


def test_longest_legal_name(tmp_path):
    name = "x" * 251 + ".npy"
    with atomic_write(tmp_path / name) as temporary:
        temporary.write_text("")
    assert os.listdir(tmp_path) == [name]


def test_folder_and_file_in_the_way_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="found a folder"), atomic_write(tmp_path):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot create this folder"), atomic_write(tmp_path / "file" / "a"):
        pass


def test_a_file_that_cannot_be_made_is_named_without_the_temporary_one(tmp_path):
    path = tmp_path / ("x" * 300 + ".txt")
    with pytest.raises(InputError, match="cannot write this file") as caught, atomic_write(path) as temporary:
        temporary.write_text("text")
    assert str(caught.value).startswith(str(path)) and "-" not in str(caught.value).removeprefix(str(tmp_path))
    with pytest.raises(OSError, match="another file"), atomic_write(tmp_path / "a") as temporary:
        raise OSError(5, "another file", str(tmp_path / "b"))
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs the virtual file system /proc")
def test_folders_that_take_no_files_are_found_out_before_work():
    with pytest.raises(InputError, match="/proc: (cannot write in|no permission)"):
        check_writable("/proc/made/up")


def test_content_hash_follows_contents_not_names(tmp_path):
    for name, content in {"a": "12", "b": "12", "c": "1", "d": "2", "e": ""}.items():
        (tmp_path / name).write_text(content)
    paths = {name: tmp_path / name for name in "abcde"}
    assert content_hash(paths["a"]) == content_hash(paths["b"])
    different = [("a",), ("c", "d"), ("d", "c"), ("a", "e"), ("e", "a"), ("e",)]
    assert len({content_hash(*(paths[name] for name in names)) for names in different}) == len(different)
    with pytest.raises(InputError, match="found nothing"):
        content_hash(tmp_path / "none")


def test_leftovers_of_killed_programs_go(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    machine, gone, here = _owner()[:4], f"{ended.pid:08x}", f"{os.getpid():08x}"
    other = f"{int(machine, 16) ^ 1:04x}"
    names = {
        "abandoned": ".Aj-0123456789ab.npy",
        "of a process that has ended": f".last-{machine}{gone}01234567.ckpt",
        "of one without suffix": f".a b-{machine}{gone}01234567",
        "old, of another machine": f".Bj-{other}{gone}0123abcd.npy",
        "at work": ".Aj-ba9876543210.npy",
        "at work, known": f".Aj-{machine}{here}01234567.npy",
        "at work elsewhere": f".Aj-{other}{gone}01234567.npy",
        "no temporary file": ".Aj-notes.npy",
        "a user's": ".config-0123.yaml",
        "the file itself": "Aj.npy",
    }
    for what, name in names.items():
        (tmp_path / name).write_text(what)
        if what.startswith(("abandoned", "old", "no", "the")):
            os.utime(tmp_path / name, (0, 0))
    kept = {"at work", "at work, known", "at work elsewhere", "no temporary file", "a user's", "the file itself"}
    with atomic_write(tmp_path / "new.txt") as temporary:
        temporary.write_text("new")
    assert {file.read_text() for file in tmp_path.iterdir()} == {*kept, "new"}
    remove_leftovers(tmp_path)
    assert {file.read_text() for file in tmp_path.iterdir()} == {*kept, "new"}
    remove_leftovers(tmp_path / "nowhere")


def test_private_folders_of_killed_programs_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code = """
import os, signal, sys
from utils.files import private_folder
folder = private_folder("a_")
open(os.path.join(folder.name, "x"), "w").close()
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}, check=False
    )
    (left,) = tmp_path.iterdir()
    other = private_folder("b_")  # of another kind, and alive
    assert left.is_dir() and left.stat().st_mode & 0o077 == 0
    own = private_folder("a_")
    assert {str(path) for path in tmp_path.iterdir()} == {own.name, other.name}
    again = private_folder("a_")
    assert os.path.isdir(own.name) and os.path.isdir(again.name)


def test_a_full_disk_is_told_with_the_file_and_a_way_out(tmp_path):
    """As the writers of Python, NumPy and PyTorch meet it."""
    for error in (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), OSError("4096 requested and 512 written")):
        said = pytest.raises(InputError, match=r"a\.txt: cannot write this file .*free some space")
        with said, atomic_write(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise error
        assert not list(tmp_path.iterdir())
    with pytest.raises(ConnectionResetError), atomic_write(tmp_path / "a.txt"):
        raise ConnectionResetError("not about files")


def test_content_is_on_the_disk_before_its_name(tmp_path, monkeypatch):
    done = []
    original = os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append(os.fstat(descriptor).st_size))
    monkeypatch.setattr(os, "replace", lambda *paths: (done.append("renamed"), original(*paths)))
    with atomic_write(tmp_path / "a.txt") as temporary:
        temporary.write_text("12345")
    assert done == [5, "renamed"]
