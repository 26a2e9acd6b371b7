"""A data loader that can be interrupted after any batch and resumed as if nothing had happened.

The order of an epoch depends on the seed and the epoch alone, and where to start is asked for when the first batch
is fetched, not when the loader is built. Batches that were prepared but not used are therefore simply prepared again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader

from data.features.windows import Batch, BatchRequest, PairedWindows
from utils.errors import InputError


class BatchOrder:
    """Splits the windows of an epoch into batches.

    Args:
        size: number of windows.
        batch_size: windows per batch; the last batch may be shorter.
        shuffle: a new order in every epoch, or the order of the data.
        seed: of the shuffling.
        rank: number of this process among those that share the work.
        world_size: how many they are. All have equally many batches, and no window is used twice. Shuffled, the
            processes' n-th batches together are the n-th batch of one process with ``world_size`` times the batch
            size; in order, each process has the windows of one stretch of the data, and only those rows are read.

    Raises:
        InputError: there are fewer windows than processes.
    """

    def __init__(self, size: int, batch_size: int, shuffle: bool, seed: int = 0, rank: int = 0, world_size: int = 1):
        self.size, self.batch_size, self.shuffle, self.seed = size, batch_size, shuffle, seed
        self.rank, self.world_size = rank, world_size
        if size < world_size:
            raise InputError(
                f"expected at least one window for each of {world_size} processes, found {size}; use fewer processes "
                f"(`devices`), or more clips"
            )
        self.epoch, self.start = 0, 0
        """Where the next iteration begins: epoch and number of the batch."""

    def __len__(self) -> int:
        """Batches of a whole epoch, in this process."""
        batches = -(-self.size // (self.batch_size * self.world_size))
        # In order, every process needs a window for each batch, also where batches are of one window.
        return batches if self.shuffle else min(batches, self.size // self.world_size)

    def __iter__(self) -> Iterator[BatchRequest]:
        yield from (self._shuffled() if self.shuffle else self._in_order())

    def _shuffled(self) -> Iterator[BatchRequest]:
        order = np.random.default_rng([self.seed, self.epoch, 0]).permutation(self.size)
        together = self.batch_size * self.world_size
        for batch in range(self.start, len(self)):
            whole = order[batch * together : (batch + 1) * together]
            own = whole[self.rank :: self.world_size]
            # Processes' gradients are averaged: one with fewer windows than others counts less. One without any
            # takes part all the same, with a window that does not count.
            share = len(own) * self.world_size / len(whole)
            yield BatchRequest(self.epoch, own if len(own) else whole[:1], share)

    def _in_order(self) -> Iterator[BatchRequest]:
        first, last = (self.size * rank // self.world_size for rank in (self.rank, self.rank + 1))
        own, size = np.arange(first, last), self.batch_size
        if self.world_size == 1:
            parts = [own[start : start + size] for start in range(0, self.size, size)]
        else:  # as evenly as possible, so that all have the same number of them
            parts = np.array_split(own, len(self))
        for part in parts[self.start :]:
            yield BatchRequest(self.epoch, part)


class PairLoader:
    """Iterates over the batches of an epoch, in this process or with workers.

    Lightning takes it as any iterable with a length. It is no ``DataLoader`` itself, because Lightning rebuilds those
    around samplers of its own.

    Args:
        windows: the pairs.
        order: their order; shares of several processes are its business.
        num_workers: processes that gather batches; 0: this one.
        position: gives the epoch and the number of batches of it that were already used, asked when an iteration
            starts. None: count epochs here.
    """

    def __init__(
        self,
        windows: PairedWindows,
        order: BatchOrder,
        num_workers: int = 0,
        position: Callable[[], tuple[int, int]] | None = None,
    ):
        self.dataset = windows
        self.order = order
        self._position = position
        self._next_epoch = 0
        self._loader = DataLoader(
            windows,
            batch_sampler=order,  # pyright: ignore[reportArgumentType] (it orders whole batches)
            collate_fn=_as_is,  # pyright: ignore[reportArgumentType]
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            # Without a generator of its own every iteration would draw from the global one.
            generator=torch.Generator(),
        )

    @property
    def batch_size(self) -> int:
        """Windows per batch."""
        return self.order.batch_size

    @property
    def num_workers(self) -> int:
        """Processes that gather batches."""
        return self._loader.num_workers

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Batch]:
        # A generator: nothing below runs before the first batch is asked for. Lightning creates iterators early, even
        # before it has restored the progress of a run that is resumed.
        if self._position is None:
            position = (self._next_epoch, 0)
            self._next_epoch += 1
        else:
            position = self._position()
        self.order.epoch, self.order.start = position
        yield from self._loader

    @property
    def _iterator(self) -> Iterator | None:
        # The attribute of a DataLoader through which Lightning stops the workers at once when a run ends, killed or
        # not. Left to the garbage collector they would be waited for, 5 seconds each.
        return self._loader._iterator

    @_iterator.setter
    def _iterator(self, iterator: Iterator | None) -> None:
        self._loader._iterator = iterator  # pyright: ignore[reportAttributeAccessIssue]

    def state_dict(self) -> dict[str, int]:
        """Tells Lightning that this loader resumes within an epoch. The position is the trainer's to keep."""
        return {}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """See :meth:`state_dict`."""


def _as_is(batch: Batch) -> Batch:
    return batch
