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


class BatchOrder:
    """Splits the windows of an epoch into batches.

    Args:
        size: number of windows.
        batch_size: windows per batch; the last batch may be shorter.
        shuffle: a new order in every epoch, or the order of the data.
        seed: of the shuffling.
        rank: number of this process among those that share the work.
        world_size: how many they are. When shuffling, all get equally many windows (a few are then seen twice).
    """

    def __init__(self, size: int, batch_size: int, shuffle: bool, seed: int = 0, rank: int = 0, world_size: int = 1):
        self.size, self.batch_size, self.shuffle, self.seed = size, batch_size, shuffle, seed
        self.rank, self.world_size = rank, world_size
        self.epoch, self.start = 0, 0
        """Where the next iteration begins: epoch and number of the batch."""

    def __len__(self) -> int:
        """Batches of a whole epoch, in this process."""
        share = -(-self.size // self.world_size) if self.shuffle else len(range(self.rank, self.size, self.world_size))
        return -(-share // self.batch_size)

    def __iter__(self) -> Iterator[BatchRequest]:
        order = np.arange(self.size)
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch, 0]).permutation(self.size)
            order = np.resize(order, -(-self.size // self.world_size) * self.world_size)
        order = order[self.rank :: self.world_size]
        for batch in range(self.start, len(self)):
            yield BatchRequest(self.epoch, order[batch * self.batch_size : (batch + 1) * self.batch_size])


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
            batch_sampler=order,
            collate_fn=_as_is,
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
        self._loader._iterator = iterator

    def state_dict(self) -> dict[str, int]:
        """Tells Lightning that this loader resumes within an epoch. The position is the trainer's to keep."""
        return {}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """See :meth:`state_dict`."""


def _as_is(batch: Batch) -> Batch:
    return batch
