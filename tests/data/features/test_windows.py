"""Windows, their statistics, batches and pairs, on small motions whose rows are numbered."""

import logging
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data.features.file import Clip, FeatureFile
from data.features.row import channels
from data.features.windows import (
    BatchRequest,
    PairedWindows,
    Statistics,
    WindowGroup,
    read_statistics,
    window_length,
    window_starts,
    window_statistics,
    write_statistics,
)
from utils.errors import InputError


def a_file(name="Aj", lengths=(30,), stride=1, domain="mixamo", side="right", frame_time=None, path=None):
    """A file in memory whose row n is filled with n."""
    rows = np.repeat(np.arange(sum(lengths), dtype=np.float32)[:, None], channels(domain), axis=1)
    clips = tuple(Clip(f"clip {number}", length, frame_time) for number, length in enumerate(lengths))
    return FeatureFile(path or f"{name}.npy", name, domain, side, clips, stride, rows, False)


def row_numbers(rows):
    return rows[..., 0].tolist()


@given(st.integers(0, 300), st.integers(2, 30))
def test_windows_overlap_by_half_and_stay_within_the_clip(frames, window_size):
    half = window_size // 2
    starts = window_starts(frames, window_size)
    assert len(starts) == max(0, frames // half - 1)
    assert (np.diff(starts) == half).all()
    assert all(0 <= start <= frames - window_length(window_size) for start in starts)


def test_window_length_is_even():
    assert [window_length(size) for size in (2, 3, 7, 8, 20)] == [2, 2, 6, 8, 20]
    with pytest.raises(InputError, match="at least 2"):
        window_length(1)


def test_windows_do_not_cross_clips():
    group = WindowGroup([a_file(lengths=(9, 6))], 4)
    assert row_numbers(group.gather(np.arange(len(group)))) == [
        [0, 1, 2, 3],
        [2, 3, 4, 5],
        [4, 5, 6, 7],
        [9, 10, 11, 12],
        [11, 12, 13, 14],
    ]


def test_the_stride_steps_over_rows_within_a_clip():
    # 26 frames at every 12th: 0, 12, 24; the second clip begins at row 26.
    group = WindowGroup([a_file(lengths=(26, 48), stride=12)], 2)
    assert row_numbers(group.gather(np.arange(len(group)))) == [
        [0, 12],
        [12, 24],
        [26, 38],
        [38, 50],
        [50, 62],
    ]


def test_windows_can_run_backwards():
    group = WindowGroup([a_file(lengths=(30,), stride=3)], 4)
    rows = group.gather(np.array([0, 1, 1]), reverse=np.array([False, True, False]))
    assert row_numbers(rows) == [[0, 3, 6, 9], [15, 12, 9, 6], [6, 9, 12, 15]]


def test_a_character_listed_again_is_held_once():
    aj, kaya = a_file("Aj", (8,)), a_file("Kaya", (12,))
    group = WindowGroup([aj, kaya, aj, kaya], 4)
    assert group.files == [aj, kaya]
    assert group.names == ("Aj", "Kaya", "Aj", "Kaya")
    assert group.position.tolist() == [0] * 3 + [1] * 5 + [2] * 3 + [3] * 5
    rows = group.gather(np.arange(len(group)))
    assert np.array_equal(rows[:8], rows[8:])


def test_clips_shorter_than_a_window_are_counted_in_one_line(caplog):
    with caplog.at_level(logging.INFO):
        group = WindowGroup([a_file("Aj", (30, 3)), a_file("Kaya", (2, 8, 1))], 8)
    assert len(group) == 7
    assert [record.getMessage() for record in caplog.records] == [
        "3 of 5 clips are shorter than a window and were left out (Aj, Kaya)."
    ]


def test_no_clip_long_enough_is_an_error():
    with pytest.raises(InputError, match="Aj: expected clips of at least 8 frames, keeping each 12th.*at most 4"):
        WindowGroup([a_file(lengths=(48, 12), stride=12)], 8)


@pytest.mark.parametrize("other", [{"domain": "mano"}, {"side": "left"}])
def test_a_group_is_of_one_kind(other):
    with pytest.raises(InputError, match=f"one {next(iter(other))}"):
        WindowGroup([a_file(), a_file("Kaya", **other)], 4)


def pairs(lengths=(30, 22), **options):
    first = WindowGroup([a_file("Aj", (lengths[0],))], 4)
    second = WindowGroup([a_file("Mano0", (lengths[1],), domain="mano")], 4)
    return PairedWindows(first, second, **options)


def test_the_shorter_group_sets_the_length():
    assert (len(pairs((30, 22))), pairs((30, 22)).surplus) == (10, (4, 0))
    assert (len(pairs((22, 30))), pairs((22, 30)).surplus) == (10, (0, 4))


def test_a_batch_pairs_windows_by_number():
    batch = pairs().batch(BatchRequest(0, np.array([7, 2])))
    assert row_numbers(batch.first.rows) == row_numbers(batch.second.rows) == [[14, 15, 16, 17], [4, 5, 6, 7]]
    assert (batch.first.domain, batch.second.domain) == ("mixamo", "mano")
    assert batch.first.tbs.shape == (2, 4, 5, 3, 4)
    assert batch.second.shape.shape == (2, 4, 10)
    assert batch.index.tolist() == [7, 2]
    assert batch.positions.tolist() == [[0, 0], [0, 0]]
    assert len(batch) == 2


def test_batches_are_cast_copied_and_pickled():
    batch = pairs().batch(BatchRequest(0, np.arange(3)))
    copy = pickle.loads(pickle.dumps(batch))
    assert torch.equal(copy.second.rows, batch.second.rows)
    moved = batch.to("meta")
    assert moved.first.rows.device.type == moved.index.device.type == "meta"


def test_a_single_item():
    item = pairs()[3]
    assert row_numbers(item.first.rows) == [6, 7, 8, 9]
    assert pairs()[-1].index == 9
    with pytest.raises(IndexError):
        pairs()[10]


def test_hands_of_different_sides_do_not_pair():
    with pytest.raises(InputError, match="right hands.*left hands.*`is_rhand`"):
        PairedWindows(WindowGroup([a_file()], 4), WindowGroup([a_file("Mano0", side="left", domain="mano")], 4))


def directions(windows, epoch, indices):
    batch = windows.batch(BatchRequest(epoch, indices))
    return np.stack([np.sign(side.rows[:, 1, 0] - side.rows[:, 0, 0]) for side in (batch.first, batch.second)])


def test_augmentation_reverses_half_of_the_windows():
    windows = pairs((2000, 2000), augment=True, seed=4)
    order = directions(windows, 0, np.arange(len(windows)))
    backwards = (order < 0).mean(axis=1)
    assert ((backwards > 0.45) & (backwards < 0.55)).all()
    assert not np.array_equal(order[0], order[1]), "the sides are reversed independently"
    batch = windows.batch(BatchRequest(0, np.arange(len(windows))))
    assert np.array_equal(np.sort(batch.first.rows[..., 0]), np.sort(pairs((2000, 2000)).batch(
        BatchRequest(0, np.arange(len(windows)))).first.rows[..., 0]))  # fmt: skip


def test_augmentation_depends_on_seed_epoch_and_window_only():
    windows = pairs((200, 200), augment=True, seed=4)
    everything = np.arange(len(windows))
    order = directions(windows, 3, everything)
    assert not np.array_equal(order, directions(windows, 4, everything))
    assert np.array_equal(order[:, [50, 7]], directions(windows, 3, np.array([50, 7])))
    again = pairs((200, 200), augment=True, seed=4)
    assert np.array_equal(order, directions(again, 3, everything))
    assert not np.array_equal(order, directions(pairs((200, 200), augment=True, seed=5), 3, everything))


def test_without_augmentation_time_runs_forwards():
    assert (directions(pairs(), 0, np.arange(10)) == 1).all()


def test_statistics_count_frames_once_per_window():
    # Windows 0…3, 2…5: frames 2 and 3 count twice. Row 6 is in no window.
    mean, deviation = window_statistics(a_file(lengths=(7,)), 4)
    values = [0, 1, 2, 3, 2, 3, 4, 5]
    np.testing.assert_allclose(mean, np.full(2127, np.mean(values)), rtol=1e-6)
    np.testing.assert_allclose(deviation, np.full(2127, np.std(values, ddof=1)), rtol=1e-6)


def test_statistics_of_constant_channels_do_not_scale():
    file = a_file()
    file.rows[:] = 1e4
    assert window_statistics(file, 4).deviation.tolist() == [1.0] * 2127


def test_statistics_do_not_depend_on_the_chunks(monkeypatch):
    file = a_file(lengths=(100, 40), stride=3)
    expected = window_statistics(file, 8)
    monkeypatch.setattr("data.features.windows._STATISTICS_ROWS", 7)
    for ours, theirs in zip(window_statistics(file, 8), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_no_windows_no_statistics():
    assert window_statistics(a_file(lengths=(3, 3)), 8) is None


def test_statistics_are_files_of_one_column(tmp_path):
    statistics = window_statistics(a_file(), 4)
    write_statistics(tmp_path, "Aj", statistics)
    assert np.load(tmp_path / "mean_var" / "Aj_mean.npy").shape == (2127, 1)
    assert np.load(tmp_path / "mean_var" / "Aj_var.npy").dtype == np.float32
    read = read_statistics(a_file(path=tmp_path / "Aj.npy"))
    assert all(np.array_equal(*pair) for pair in zip(read, statistics, strict=True))


def test_missing_statistics(tmp_path):
    with pytest.raises(InputError, match="Aj_mean.npy.*preprocess_mixhand"):
        read_statistics(a_file(path=tmp_path / "Aj.npy"))
    write_statistics(tmp_path, "Aj", Statistics(np.zeros(5), np.ones(5)))
    with pytest.raises(InputError, match="Aj_mean.npy.*2127"):
        read_statistics(a_file(path=tmp_path / "Aj.npy"))


def test_normalised_windows_have_mean_0_and_deviation_1():
    aj, kaya, mano = a_file("Aj", (30,)), a_file("Kaya", (50,)), a_file("Mano0", (200,), domain="mano")
    kaya.rows[:] *= 5
    groups = [WindowGroup([aj, kaya], 4), WindowGroup([mano], 4)]
    statistics = [[window_statistics(file, 4) for file in group.files] for group in groups]
    windows = PairedWindows(*groups, statistics=statistics)
    rows = windows.batch(BatchRequest(0, np.arange(len(windows)))).first.rows
    for of_one in (rows[:14], rows[14:]):
        assert of_one.mean().abs() < 1e-6
        assert (of_one.flatten(0, 1).std(dim=0) - 1).abs().max() < 1e-5


def test_new_pairs_change_with_the_epoch_and_use_the_surplus():
    first, second = WindowGroup([a_file(lengths=(96,))], 4), WindowGroup([a_file("Mano0", (30,), domain="mano")], 4)
    windows = PairedWindows(first, second, seed=5, new_pairs=True)
    request = np.arange(len(windows))
    rows = [windows.batch(BatchRequest(epoch, request)) for epoch in (0, 0, 1)]
    assert torch.equal(rows[0].first.rows, rows[1].first.rows)
    assert torch.equal(rows[0].second.rows, rows[1].second.rows)
    assert not torch.equal(rows[0].second.rows, rows[2].second.rows)
    other_seed = PairedWindows(first, second, seed=6, new_pairs=True).batch(BatchRequest(0, request))
    assert not torch.equal(rows[0].second.rows, other_seed.second.rows)
    shorter = min((first, second), key=len)
    number = windows.groups.index(shorter)
    seen = [windows._windows_of(epoch, request, number) for epoch in range(3)]
    assert all(sorted(each) == list(range(len(shorter))) for each in seen)
    longer = max((first, second), key=len)
    assert len(longer) > len(shorter)
    used = {int(n) for epoch in range(40) for n in windows._windows_of(epoch, request, 1 - number)}
    assert used == set(range(len(longer)))
