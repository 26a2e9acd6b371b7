"""A progress bar with the time that is left, on stderr; where no terminal is, a line now and then."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

EVERY = 10.0
"""Seconds between two lines where no terminal is."""


@contextmanager
def progress(title: str, total: int, unit: str) -> Iterator[Callable[..., None]]:
    """Show a bar within the block; give a function that counts on, by one or by the number it is called with."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn()
    )  # fmt: skip
    if not console.is_terminal:
        yield _lines(title, total, unit)
        return
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda amount=1: bar.advance(task, amount)


def _lines(title: str, total: int, unit: str) -> Callable[..., None]:
    """Like the bar, in lines for logs, `EVERY` seconds apart; short work prints none. Threads may share it."""
    start = said = time.monotonic()
    done, lock = 0, threading.Lock()

    def advance(amount: int = 1) -> None:
        nonlocal done, said
        with lock:
            done, now = done + amount, time.monotonic()
            if now - said >= EVERY and done:
                said, left = now, (now - start) * (total - done) / done
                print(f"{title}: {done} of {total} {unit}, about {left:.0f} s left", file=sys.stderr, flush=True)

    return advance
