"""What every entry point does around its own work."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

from rich.console import Console

from utils.errors import InputError

Result = TypeVar("Result")

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
EXIT_TERMINATED = 143  # 128 + SIGTERM


def guarded(main: Callable[[], Result]) -> Result:
    """Run `main()` and return its result; turn foreseeable failures into one line and an exit code.

    `InputError` and `OSError` (missing file, full disk, no permission) print `error: …` on stderr and exit
    with code 2, Ctrl-C exits with 130, SIGTERM with 143 after temporary files are removed, a closed output
    pipe (`… | head`) exits quietly. Everything else is a defect of the program and keeps its traceback.

    Raises:
        SystemExit: in the cases above.
    """
    if threading.current_thread() is threading.main_thread():  # signals are handled nowhere else
        signal.signal(signal.SIGTERM, _terminated)
    try:
        return main()
    except InputError as error:
        _fail(str(error))
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


def processors() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def wide_console() -> Console:
    """Where to print, as wide as the terminal, or 160 characters where there is none, so that tables stay whole."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


def _terminated(number: int, frame: object) -> None:
    """Leave as Ctrl-C does, so that what is half-written is removed on the way out."""
    raise SystemExit(EXIT_TERMINATED)


def _fail(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(EXIT_BAD_INPUT) from None
