"""Windows over feature files, and their pairing across two groups of characters (mathematics §5).

A window is a row number and nothing else: a batch is gathered straight from the (memory-mapped) rows when it is
asked for, so neither overlapping windows nor characters listed several times cost memory.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from data.dataset import MixHandFolder
from data.features.file import FeatureFile
from data.features.row import HandFeatures, split
from model.topology import N_JOINTS
from utils.errors import InputError
from utils.files import atomic_write
from utils.safe_read import read_npy

log = logging.getLogger(__name__)

SMALLEST_DEVIATION = 1e-5
"""Channels that vary less than this are not scaled."""
_STATISTICS_ROWS = 128
"""Rows summed at once: in double precision they fit in the processor's cache."""


def window_starts(frames: int, window_size: int) -> np.ndarray:
    """First frames of the windows of a clip.

    With ``h = window_size // 2``, windows of ``2h`` frames start every ``h`` frames; there are
    ``max(0, frames // h − 1)`` of them.
    """
    half = window_size // 2
    return half * np.arange(max(0, frames // half - 1))


def window_length(window_size: int) -> int:
    """Frames of a window: ``window_size``, or one less if that is odd.

    Raises:
        InputError: ``window_size`` is below 2.
    """
    if window_size < 2:
        raise InputError(f"window_size: expected at least 2 frames, found {window_size}")
    return 2 * (window_size // 2)


class WindowGroup:
    """The windows of a list of characters of one domain, one after the other in the order of the list.

    Args:
        files: the opened feature file of each list entry; entries of the same character share one.
        window_size: frames; see :func:`window_length`.

    Raises:
        InputError: the files differ in domain or side, or no clip is long enough for a window.
    """

    def __init__(self, files: Sequence[FeatureFile], window_size: int):
        self.length = window_length(window_size)
        self.names = tuple(file.character for file in files)
        self.domain, self.side = _shared(files, "domain"), _shared(files, "side")
        self.files = list({id(file): file for file in files}.values())
        starts = {id(file): _start_rows(file, window_size) for file in self.files}
        order = [starts[id(file)] for file in files]
        counts = [len(rows) for rows in order]
        number = {id(file): n for n, file in enumerate(self.files)}
        self.start_row = np.concatenate(order)
        self.position = np.repeat(np.arange(len(files)), counts)
        """Place in the list of characters that each window comes from."""
        self.file_number = np.array([number[id(file)] for file in files])[self.position]
        self._present = np.ones((len(self.files), N_JOINTS), dtype=bool)
        for number, file in enumerate(self.files):
            self._present[number, list(file.missing)] = False
        self._complete = bool(self._present.all())
        self._report_short_clips(window_size)

    def __len__(self) -> int:
        return len(self.start_row)

    def gather(self, indices: np.ndarray, reverse: np.ndarray | None = None) -> np.ndarray:
        """Rows ``(batch, length, channels)`` of the windows ``indices (batch,)``, float32.

        Args:
            indices: numbers of the windows.
            reverse: ``(batch,)`` bool; True: that window runs backwards in time.
        """
        out = np.empty((len(indices), self.length, self.files[0].rows.shape[1]), dtype=np.float32)
        # Slices rather than one fancy index: no second copy, and pages are read in order.
        for item, window in enumerate(indices):
            file, start = self.files[self.file_number[window]], self.start_row[window]
            rows = file.rows[start : start + file.stride * self.length : file.stride]
            out[item] = rows[::-1] if reverse is not None and reverse[item] else rows
        return out

    def present(self, indices: np.ndarray) -> np.ndarray | None:
        """Which joints the hands of windows ``indices (batch,)`` have, ``(batch, 21)`` bool; None: all have all."""
        if self._complete:
            return None
        present = self._present[self.file_number[indices]]
        return None if present.all() else present

    def _report_short_clips(self, window_size: int) -> None:
        kept = [(file, frames) for file in self.files for frames in file.kept_per_clip]
        short = [file.character for file, frames in kept if len(window_starts(frames, window_size)) == 0]
        if len(short) == len(kept):
            strides = {file.stride for file in self.files}
            hint = f", keeping each {strides.pop()}th frame" if strides != {1} else ""
            raise InputError(
                f"{', '.join(dict.fromkeys(self.names))}: expected clips of at least {self.length} frames{hint}, "
                f"found {len(kept)} clips of at most {max((frames for _, frames in kept), default=0)}; use longer "
                f"clips, a smaller `window_size` or a smaller `frame_stride`"
            )
        if short:
            log.info("%d of %d clips are shorter than a window and were left out (%s).",
                     len(short), len(kept), ", ".join(dict.fromkeys(short)))  # fmt: skip


def _shared(files: Sequence[FeatureFile], attribute: str) -> str:
    values = {getattr(file, attribute): file for file in files}
    if len(values) != 1:
        found = "; ".join(f"{file.path} is {value}" for value, file in values.items())
        raise InputError(f"expected characters of one {attribute} in a group, found several: {found}")
    return next(iter(values))


def _start_rows(file: FeatureFile, window_size: int) -> np.ndarray:
    first_rows = np.concatenate([[0], file.clip_ends()[:-1]]).astype(np.int64)
    starts = [
        first + file.stride * window_starts(frames, window_size)
        for first, frames in zip(first_rows, file.kept_per_clip, strict=True)
    ]
    return np.concatenate([np.empty(0, dtype=np.int64), *starts])


class Statistics(NamedTuple):
    """Mean and standard deviation ``(channels,)`` over the windows of a character."""

    mean: np.ndarray
    deviation: np.ndarray


def window_weights(frames: int, window_size: int) -> np.ndarray:
    """``(frames,)`` float64: of how many windows each frame of a clip is part."""
    starts, length = window_starts(frames, window_size), window_length(window_size)
    steps = np.zeros(frames + 1)
    np.add.at(steps, starts, 1)
    np.add.at(steps, starts + length, -1)
    return steps[:-1].cumsum()


class WindowMoments:
    """Sums up rows for their mean and unbiased standard deviation over overlapping windows and time, in float64."""

    def __init__(self) -> None:
        self._count, self._shift, self._total, self._squares = 0.0, None, 0.0, 0.0

    def add(self, rows: np.ndarray, weights: np.ndarray) -> None:
        """Count ``rows (n, channels)`` ``weights (n,)`` times each (see :func:`window_weights`)."""
        for start in range(0, len(rows), _STATISTICS_ROWS):
            part = weights[start : start + _STATISTICS_ROWS]
            if not part.any():
                continue
            chunk = rows[start : start + _STATISTICS_ROWS].astype(np.float64)
            if self._shift is None:
                self._shift = chunk[0].copy()  # keeps the digits of channels that vary little about a large value
            chunk -= self._shift
            self._total = self._total + part @ chunk
            self._squares = self._squares + part @ np.square(chunk, out=chunk)
            self._count += part.sum()

    def result(self) -> Statistics | None:
        """The statistics; None if no row was in a window. Deviations below 1e-5 become 1."""
        if self._shift is None:
            return None
        mean = self._total / self._count
        deviation = np.sqrt(np.maximum(self._squares - self._count * mean**2, 0) / (self._count - 1))
        deviation[deviation < SMALLEST_DEVIATION] = 1
        return Statistics((self._shift + mean).astype(np.float32), deviation.astype(np.float32))


def window_statistics(file: FeatureFile, window_size: int) -> Statistics | None:
    """Mean and unbiased standard deviation over overlapping windows and time; None if there is no window.

    Frames count once for each window that they are part of. Deviations below 1e-5 become 1.
    """
    moments = WindowMoments()
    first_rows = np.concatenate([[0], file.clip_ends()[:-1]]).astype(np.int64)
    for first, frames in zip(first_rows, file.kept_per_clip, strict=True):
        rows = file.rows[first : first + file.stride * frames : file.stride]
        moments.add(rows, window_weights(frames, window_size))
    return moments.result()


def write_statistics(data_path: str | Path, character: str, statistics: Statistics) -> None:
    """Write ``mean_var/<character>_{mean,var}.npy``, each ``(channels, 1)``; "var" is a deviation (mathematics §5)."""
    for path, values in zip(MixHandFolder(data_path).statistics(character), statistics, strict=True):
        with atomic_write(path) as temporary:
            np.save(temporary, values[:, None])


def remove_statistics(data_path: str | Path, character: str) -> None:
    """Remove the statistics of a character that has no window any more."""
    for path in MixHandFolder(data_path).statistics(character):
        path.unlink(missing_ok=True)


def read_statistics(file: FeatureFile) -> Statistics:
    """Read the statistics of a character from the folder of its feature file.

    Raises:
        InputError: they are missing, or are not one number per channel.
    """
    values = []
    for path in MixHandFolder(file.path.parent).statistics(file.character):
        if not path.is_file():
            raise InputError(
                f"{path}: `normalization` true needs this file, found none; preprocess "
                f"{file.path.parent} again (run.preprocess_mixhand with `force`) or leave normalization off"
            )
        array = np.asarray(read_npy(path), dtype=np.float32)
        if array.shape != (file.rows.shape[1], 1) or not np.isfinite(array).all():
            raise InputError(
                f"{path}: expected {file.rows.shape[1]}×1 finite numbers, found {array.shape}; preprocess again"
            )
        values.append(array[:, 0])
    return Statistics(*values)


class BatchRequest(NamedTuple):
    """Which windows to put into a batch; ``epoch`` decides which of them are reversed by augmentation, ``share`` is
    :attr:`Batch.share`."""

    epoch: int
    indices: np.ndarray
    share: float = 1.0


@dataclass
class Batch:
    """Paired windows. Item b of both groups belong together only by their number.

    ``first`` and ``second`` are the features ``(batch, time, …)`` of the two groups: Mixamo and MANO across
    domains; target and source, both Mixamo, within one. ``index (batch,)`` numbers the pairs; ``positions
    (batch, 2)`` are the places of their characters in the lists of the groups.
    """

    first: HandFeatures
    second: HandFeatures
    index: Tensor
    positions: Tensor
    share: float = 1.0
    """Where several processes train together: how much their batches' losses count, 1 on average."""

    def __len__(self) -> int:
        return len(self.index)

    def to(self, *args, **kwargs) -> Batch:
        """Move to a device, as :meth:`torch.Tensor.to` does; without waiting if the memory is page-locked."""
        if self.index.is_pinned():
            kwargs = {"non_blocking": True, **kwargs}
        return self._each(lambda part: part.to(*args, **kwargs))

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory."""
        return self._each(lambda part: part.pin_memory())

    def __getitem__(self, which) -> Batch:
        """Some of its windows."""
        return self._each(lambda part: part[which])

    def _each(self, change: Callable[[Any], Any]) -> Batch:
        return Batch(change(self.first), change(self.second), change(self.index), change(self.positions), self.share)


class PairedWindows(Dataset):
    """Pairs of windows by number: pair i is window i of both groups; the shorter group sets the length.

    Args:
        first: the Mixamo group (or the target).
        second: the MANO group (or the source).
        augment: reverse each window in time with probability ½, anew in every epoch.
        seed: of the augmentation and of new pairs.
        statistics: for each group and each of its files, mean and deviation to normalise by; None: as stored.
        new_pairs: renumber the windows of both groups in every epoch, so that each motion meets ever other hands (and
            the surplus of the longer group is used too).
    """

    def __init__(
        self,
        first: WindowGroup,
        second: WindowGroup,
        augment: bool = False,
        seed: int = 0,
        statistics: Sequence[Sequence[Statistics]] | None = None,
        new_pairs: bool = False,
    ):
        if first.side != second.side:
            raise InputError(
                f"expected hands of one side, found {first.side} hands ({first.files[0].path}) and "
                f"{second.side} hands ({second.files[0].path}); preprocess both with the same `is_rhand`"
            )
        self.groups = (first, second)
        self.augment, self.seed, self.new_pairs = augment, seed, new_pairs
        self.statistics = statistics
        self._coins: tuple[int, np.ndarray] | None = None  # the epoch that was last drawn for, and its draw
        self._numbers: tuple[int, list[np.ndarray]] | None = None  # likewise

    def __len__(self) -> int:
        return min(len(group) for group in self.groups)

    @property
    def surplus(self) -> tuple[int, int]:
        """Windows of each group that have no partner."""
        first, second = (len(group) - len(self) for group in self.groups)
        return first, second

    @property
    def side(self) -> str:
        """``"right"`` or ``"left"``."""
        return self.groups[0].side

    def __getitem__(self, index: int) -> Batch:
        """Pair ``index`` as a batch without batch dimension (features ``(time, …)``)."""
        return self.batch(BatchRequest(0, np.array([range(len(self))[index]])))[0]

    def __getitems__(self, request: BatchRequest) -> Batch:
        """A whole batch at once, for :class:`torch.utils.data.DataLoader`."""
        return self.batch(request)

    def batch(self, request: BatchRequest) -> Batch:
        """Gather the windows of a request."""
        pairs = np.asarray(request.indices)
        sides, positions = [], []
        for number, group in enumerate(self.groups):
            indices = self._windows_of(request.epoch, pairs, number)
            rows = group.gather(indices, self._reversals(request.epoch, pairs, number))
            if self.statistics is not None:
                _normalise(rows, group.file_number[indices], self.statistics[number])
            hands = split(group.domain, torch.from_numpy(rows), group.side)
            present = group.present(indices)
            if present is not None:
                hands.present = torch.from_numpy(present)[:, None].expand(-1, group.length, -1)
            sides.append(hands)
            positions.append(group.position[indices])
        first, second = sides
        numbers, places = torch.from_numpy(pairs.astype(np.int64)), torch.from_numpy(np.stack(positions, axis=-1))
        return Batch(first, second, numbers, places, request.share)

    def _windows_of(self, epoch: int, pairs: np.ndarray, group: int) -> np.ndarray:
        """The windows of a group that belong to pairs, from seed and epoch only: a resumed run sees the same."""
        if not self.new_pairs:
            return pairs
        if self._numbers is None or self._numbers[0] != epoch:
            order = np.random.default_rng([self.seed, epoch, 2])
            self._numbers = epoch, [order.permutation(len(each)) for each in self.groups]
        return self._numbers[1][group][pairs]

    def _reversals(self, epoch: int, indices: np.ndarray, group: int) -> np.ndarray | None:
        """Which windows to reverse, from seed, epoch and window only, so that a resumed run sees the same."""
        if not self.augment:
            return None
        if self._coins is None or self._coins[0] != epoch:
            coins = np.random.default_rng([self.seed, epoch, 1])
            self._coins = epoch, coins.integers(0, 2, (len(self.groups), len(self)), dtype=np.int8)
        return self._coins[1][group, indices] == 1


def _normalise(rows: np.ndarray, files: np.ndarray, statistics: Sequence[Statistics]) -> None:
    """Normalise rows ``(N, …)`` in place, each by the statistics of its file, number ``files (N,)``."""
    for file in np.unique(files):
        mean, deviation = statistics[file]
        rows[files == file] = (rows[files == file] - mean) / deviation
