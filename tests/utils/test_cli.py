"""Entry points fail in one line and with the right exit code."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from utils.cli import CommandLine, guarded
from utils.errors import InputError
from utils.files import atomic_write

ROOT = Path(__file__).resolve().parents[2]


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


def test_a_flag_leaves_the_file_behind_it_alone():
    parser = CommandLine("run.some", "Does some.")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--size", type=int, default=3, help="of it")
    parser.flag("force", "again")
    parser.flag("side", "which", default=None)
    options = parser.parse_args(["--force", "a.fbx", "b.fbx"])
    assert options.force and options.files == ["a.fbx", "b.fbx"] and options.side is None
    assert parser.parse_args(["force", "side"]).files == ["force", "side"]  # files may be called as flags are
    with pytest.raises(InputError, match="--no_fource: there is no such option"):
        parser.parse_args(["a.fbx", "--no_fource"])
    with pytest.raises(InputError, match="--force: expected true or false, found 'maybe'"):
        parser.parse_args(["--force=maybe", "a.fbx"])
    assert "of it (default: 3)" in parser.format_help() and "python -m run.some" in parser.format_usage()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a", "--sise", "3"], "--sise: there is no such option (did you mean --size?)"),
        (["a", "--siz", "3"], "--siz: there is no such option (did you mean --size?)"),
        (["a", "--x (choose from y)"], "--x: there is no such option"),
        (["a", "--size", "x"], "--size: expected a whole number, found 'x'"),
        (["a", "--share", "x"], "--share: expected a number, found 'x'"),
        (["a", "--size"], "--size: expected one word behind it, found none"),
        (["a", "--pair", "1"], "--pair: expected 2 words behind it, found fewer"),
        (["a", "--method", "optimise"], "found optimise (did you mean optimize?)"),
        (["a", "--method", "nothing"], "found nothing; python -m"),
        ([], "expected file, found none"),
    ],
)
def test_words_that_do_not_suit_are_one_line(words, said):
    parser = CommandLine("run.some", "Does some.")
    parser.add_argument("file")
    parser.add_argument("--size", type=int)
    parser.add_argument("--share", type=float)
    parser.add_argument("--pair", nargs=2)
    parser.add_argument("--method", choices=("copy", "optimize"))
    with pytest.raises(InputError) as refused:
        parser.parse_args(words)
    message = str(refused.value)
    assert said in message and message.endswith("; python -m run.some --help says more") and "\n" not in message


def test_what_is_interrupted_while_it_is_imported_ends_at_once():
    """No traceback, whatever is being imported, and the exit code of an interruption."""
    code = (
        "import os, signal, utils.cli as cli\n"
        "cli.options_first('__main__', lambda: cli.CommandLine('run.some', ''))\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "print('still here')"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "interrupted\n")


def test_rubbish_is_looked_for_while_the_program_works_and_not_before_or_after():
    code = (
        "import atexit, gc, utils.cli as cli\n"
        "atexit.register(lambda: print(gc.get_freeze_count() > kept > 1000))\n"
        "cli.options_first('__main__', lambda: cli.CommandLine('run.some', ''))\n"
        "importing, kept = gc.isenabled(), 0\n"
        "print(importing, cli.guarded(gc.isenabled))\n"
        "kept, more = gc.get_freeze_count(), [[] for _ in range(9)]"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert ended.stdout.split() == ["False", "True", "True"], ended.stderr
