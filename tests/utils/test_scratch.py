"""Arrays on disk hold what was written, are nobody's files, and a block is as good as the whole."""

from __future__ import annotations

import os

import numpy as np
import pytest

from utils import scratch
from utils.errors import InputError


@pytest.fixture
def on_disk(monkeypatch):
    monkeypatch.setattr(scratch, "IN_MEMORY", 1000)


def test_small_arrays_stay_in_memory(on_disk):
    before = len(scratch._maps)
    assert scratch.empty((10, 3)).shape == (10, 3) and len(scratch._maps) == before


def test_numbers_are_there_after_their_pages_were_given_back(on_disk, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    array = scratch.empty((500, 3, 3), np.float32)
    assert len(scratch._maps) and not os.listdir(tmp_path)
    wanted = np.arange(array.size, dtype=np.float32).reshape(array.shape)
    for part in scratch.blocks(len(array), 7):
        array[part] = wanted[part]
    scratch.release()
    np.testing.assert_array_equal(array, wanted)


def test_blocks_are_all_frames_once():
    parts = list(scratch.blocks(10, 4))
    assert parts == [slice(0, 4), slice(4, 8), slice(8, 10)]
    assert list(scratch.blocks(0)) == []


def test_a_full_disk_is_one_line(on_disk, monkeypatch):
    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InputError, match="expected room for 1 MB .* set TMPDIR"):
        scratch.empty((1000, 125))
