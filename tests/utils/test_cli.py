"""Entry points fail in one line and with the right exit code."""

import os
import signal
import time

import pytest

from utils.cli import CommandLine, guarded
from utils.errors import InputError
from utils.files import atomic_write


def test_result_is_returned():
    assert guarded(lambda: 42) == 42


def test_input_error_becomes_one_line_and_exit_code_2(capsys):
    def main():
        raise InputError("a.bvh, line 3: expected X, found Y; do Z")

    with pytest.raises(SystemExit) as stop:
        guarded(main)
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert captured.err == "error: a.bvh, line 3: expected X, found Y; do Z\n"
    assert captured.out == ""


def test_missing_file_is_named(capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        guarded((tmp_path / "none.txt").read_text)
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'none.txt'}: No such file or directory\n"


def test_interrupt_exits_with_130(capsys):
    def main():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stop:
        guarded(main)
    assert stop.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_terminated_programs_leave_nothing_half_written(tmp_path):
    before = signal.getsignal(signal.SIGTERM)

    def main():
        with atomic_write(tmp_path / "film.mp4") as temporary:
            temporary.touch()
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)

    try:
        with pytest.raises(SystemExit) as stop:
            guarded(main)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert stop.value.code == 143 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [ValueError("a defect"), OSError("no file involved")])
def test_defects_keep_their_traceback(error):
    def main():
        raise error

    with pytest.raises(type(error), match=str(error)):
        guarded(main)


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ([], False),
        (["--force"], True),
        (["--force", "true"], True),
        (["--force", "No"], False),
        (["--force=false"], False),
        (["--no_force"], False),
        (["--force", "--other", "true"], True),
    ],
)
def test_yes_and_no_have_one_spelling(words, value):
    parser = CommandLine("run.some", "Does some.")
    parser.add_argument("--other")
    parser.flag("force", "again")
    assert parser.parse_args(words).force is value


def test_a_flag_leaves_the_file_behind_it_alone(capsys):
    parser = CommandLine("run.some", "Does some.")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--size", type=int, default=3, help="of it")
    parser.flag("force", "again")
    parser.flag("side", "which", default=None)
    options = parser.parse_args(["--force", "a.fbx", "b.fbx"])
    assert options.force and options.files == ["a.fbx", "b.fbx"] and options.side is None
    with pytest.raises(SystemExit):
        parser.parse_args(["--force=maybe", "a.fbx"])
    assert "expected true or false, found 'maybe'" in capsys.readouterr().err
    assert "of it (default: 3)" in parser.format_help() and "python -m run.some" in parser.format_usage()
