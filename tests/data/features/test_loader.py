"""How windows are shared among processes."""

from __future__ import annotations

import numpy as np
import pytest

from data.features.loader import BatchOrder
from utils.errors import InputError


def orders(size, batch_size, shuffle, world_size):
    return [list(BatchOrder(size, batch_size, shuffle, 3, rank, world_size)) for rank in range(world_size)]


@pytest.mark.parametrize("size", [5, 8, 35, 64, 65])
@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_shared_windows(size, world_size, batch_size):
    """Every window once in order, without doubles; equally many batches; shuffled, the batches of one process."""
    shares = orders(size, batch_size, False, world_size)
    assert np.concatenate([request.indices for share in shares for request in share]).tolist() == list(range(size))
    assert {len(share) for share in shares} == {len(BatchOrder(size, batch_size, False, 3, 0, world_size))}
    assert all(len(request.indices) for share in shares for request in share)

    (whole,) = orders(size, batch_size * world_size, True, 1)
    shares = orders(size, batch_size, True, world_size)
    assert {len(share) for share in shares} == {len(whole)}
    for number, request in enumerate(whole):
        parts = [share[number] for share in shares]
        present = np.concatenate([part.indices for part in parts if part.share])
        assert sorted(present) == sorted(request.indices)
        # The mean over processes of share-weighted means is the mean over the windows.
        mean = np.mean([part.share * part.indices.mean() for part in parts])
        assert mean == pytest.approx(request.indices.mean())


def test_fewer_windows_than_processes():
    with pytest.raises(InputError, match="each of 3 processes, found 2"):
        BatchOrder(2, 4, False, 0, 0, 3)
