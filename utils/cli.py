"""What every entry point does around its own work."""

from __future__ import annotations

import argparse
import atexit
import gc
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NoReturn, TypeVar

from rich.console import Console

from utils.errors import InputError, spoken

Result = TypeVar("Result")

YES, NO = ("true", "yes"), ("false", "no")
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
EXIT_TERMINATED = 143  # 128 + SIGTERM


class CommandLine(argparse.ArgumentParser):
    """The command line of a program; every option of yes or no is spelled as those of the training programs, and
    whole: a beginning of its name is not enough.

    Args:
        program: the module, as ``python -m`` takes it.
        description: of the program; its lines stay as they are.
        options: as `argparse.ArgumentParser` takes them.
    """

    def __init__(self, program: str, description: str, **options) -> None:
        self._flags: list[str] = []
        super().__init__(
            f"python -m {program}", description=description, formatter_class=_Help, allow_abbrev=False, **options
        )

    def flag(self, name: str, help: str, default: bool | None = False) -> None:
        """Add ``--name``, which also takes ``true`` or ``false`` (``yes`` or ``no``); ``--no_name`` is false."""
        self._flags.append(name)
        self.add_argument(
            f"--{name}", nargs="?", type=_boolean, const=True, default=default, metavar="true|false", help=help
        )

    def error(self, message: str) -> NoReturn:
        """What argparse calls where words do not suit. Raises InputError: one line, in the house's form."""
        raise InputError(f"{self._in_our_words(message)}; {self.prog} --help says more")

    def _in_our_words(self, message: str) -> str:
        if found := re.fullmatch(r"argument (.+?): invalid choice: '(.*)' \(choose from (.*)\)", message, re.DOTALL):
            option, word, choices = found.groups()
            meant = did_you_mean(word, re.findall(r"[\w.+-]+", choices))
            return f"{option}: expected one of {choices}, found {word}{meant}"
        if found := re.match(r"unrecognized arguments: (\S+)", message):
            meant = did_you_mean(found[1].split("=")[0], self._option_string_actions)
            return f"{found[1]}: there is no such option{meant}"
        for pattern, answer in _ARGPARSE.items():
            if found := re.fullmatch(pattern, message, re.DOTALL):
                return answer.format(*found.groups())
        return message.removeprefix("argument ")

    def parse_known_args(self, args: Sequence[str] | None = None, namespace=None):
        """As always, but a flag takes the word behind it only if that says yes or no."""
        return super().parse_known_args(self._joined(sys.argv[1:] if args is None else args), namespace)

    def _joined(self, words: Sequence[str]) -> list[str]:
        joined, following = [], ""
        for word in map(str, words):
            if following and word.lower() in (*YES, *NO):
                joined[-1] = f"{following}={word}"
                following = ""
                continue
            name = word.removeprefix("--")
            following = word if word != name and name in self._flags else ""
            if following:
                word = f"{word}=true"
            elif word.startswith("--no_") and name.removeprefix("no_") in self._flags:
                word = f"--{name.removeprefix('no_')}=false"
            joined.append(word)
        return joined


def options_first(module: str, parser: Callable[[], CommandLine]) -> None:
    """Where a module is run as a program, look at its words now: ``--help``, and what is misspelt or missing, are
    answered before what the work needs is imported, which takes seconds.

    Args:
        module: ``__name__`` of the module.
        parser: makes its command line.
    """
    if module == "__main__":
        guarded(lambda: parser().parse_known_args())
        leave_at_once()


def leave_at_once() -> None:
    """Until `guarded` begins, Ctrl-C ends the program there and then: nothing is written yet, and what is being
    imported may answer an exception with a traceback or an abort of its own.

    Until then nobody looks for rubbish either, of which imports make none, nor when Python ends and the system takes
    all memory back anyway: each looks at a million objects, 0.1 and 0.2 seconds.
    """
    gc.disable()
    atexit.register(gc.freeze)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _at_once)


def _at_once(number: int, frame: object) -> None:
    os.write(2, b"interrupted\n")
    os._exit(EXIT_INTERRUPTED)


_ARGPARSE = {
    r"argument (.+?): invalid int value: (.*)": "{0}: expected a whole number, found {1}",
    r"argument (.+?): invalid float value: (.*)": "{0}: expected a number, found {1}",
    r"argument (.+?): expected (one|at least one) argument": "{0}: expected {1} word behind it, found none",
    r"argument (.+?): expected (\d+) arguments?": "{0}: expected {1} words behind it, found fewer",
    r"the following arguments are required: (.*)": "expected {0}, found none",
}
"""What argparse says → what is said here; it is the same from Python 3.11 to 3.13."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` (did you mean X?)`` where something known is spelled nearly as a word is, else nothing."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), 1)
    return f" (did you mean {near[0]}?)" if near else ""


def aligned(lines: Mapping[str, str]) -> str:
    """Names and what is said of each, one below the other."""
    width = max(map(len, lines))
    return "\n".join(f"  {name:{width}}  {line}" for name, line in lines.items())


class _Help(argparse.RawDescriptionHelpFormatter):
    """Help that tells the default of an option whose text does not."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        named = action.default in (None, False, argparse.SUPPRESS) or "default" in text or action.required
        return text if named else f"{text} (default: %(default)s)"


def _boolean(text: str) -> bool:
    if text.lower() not in (*YES, *NO):
        raise argparse.ArgumentTypeError(f"expected true or false, found {text!r}")
    return text.lower() in YES


def guarded(main: Callable[[], Result], options: Mapping[str, str] | None = None) -> Result:
    """Run `main()` and return its result; turn foreseeable failures into one line and an exit code.

    `InputError` and `OSError` (missing file, full disk, no permission) print `error: …` on stderr and exit
    with code 2, Ctrl-C exits with 130, SIGTERM with 143 after temporary files are removed, a closed output
    pipe (`… | head`) exits quietly. Everything else is a defect of the program and keeps its traceback.

    Args:
        main: the program.
        options: what settings are called on its command line, for `utils.errors.spoken`.

    Raises:
        SystemExit: in the cases above.
    """
    if threading.current_thread() is threading.main_thread():  # signals are handled nowhere else
        signal.signal(signal.SIGTERM, _terminated)
        if signal.getsignal(signal.SIGINT) is _at_once:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    if not gc.isenabled():
        gc.freeze()  # what is imported stays
        gc.enable()
    try:
        return main()
    except InputError as error:
        _fail(spoken(error, options))
    except BrokenPipeError:
        # Python would complain again when it flushes stdout at exit; give it somewhere to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(EXIT_INTERRUPTED) from None
    except OSError as error:
        if error.filename is None and error.strerror is None:
            raise  # not about a file: keep the traceback
        where = f"{error.filename}: " if error.filename is not None else ""
        _fail(f"{where}{error.strerror or error}")


def say(line: str) -> None:
    """One line for the user, beside the program's own output."""
    print(line, file=sys.stderr, flush=True)


def processors() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def wide_console(console: Console | None = None, needed: int = 160) -> Console:
    """Where to print, in the file of a given console: as wide as the terminal or, where there is none, as needed and
    160 characters at least, so that tables stay whole."""
    console = console or Console()
    return console if console.is_terminal else Console(file=console.file, width=max(160, needed))


def _terminated(number: int, frame: object) -> None:
    """Leave as Ctrl-C does, so that what is half-written is removed on the way out."""
    raise SystemExit(EXIT_TERMINATED)


def _fail(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(EXIT_BAD_INPUT) from None
