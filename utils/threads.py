"""How many threads of this process compute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """As many threads for what is computed inside; as many as before afterwards.

    Many small products are slower on several threads, and much slower where other processes compute as well: threads
    then wait for each other (measured: 10 times).
    """
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
