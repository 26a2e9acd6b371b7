"""Feature files: written and read, published ones, and every way in which a file can be wrong."""

import json
import pickle

import numpy as np
import pytest

from data.features.file import available_characters, is_up_to_date, open_features, writing_features
from data.features.row import channels
from utils.errors import InputError

LENGTHS = (30, 5, 14)


def some_clips(domain="mixamo", lengths=LENGTHS, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(length, channels(domain))).astype(np.float32) for length in lengths]


def write(folder, name="Aj", domain="mixamo", side="right", inputs="abc", clips=None):
    clips = some_clips(domain) if clips is None else clips
    with writing_features(folder, name, domain, side, inputs) as writer:
        for number, clip in enumerate(clips):
            writer.add_clip(f"clip {number}", clip, 1 / 60)
    return clips


def publish(path, clips):
    """Write clips as published: an object array of arrays."""
    content = np.empty(len(clips), dtype=object)
    content[:] = clips
    np.save(path, content, allow_pickle=True)


def test_what_is_written_is_read_again(tmp_path):
    clips = write(tmp_path, side="left")
    file = open_features(tmp_path, "Aj", mixamo_stride=12)
    assert (file.character, file.domain, file.side, file.stride) == ("Aj", "mixamo", "left", 12)
    assert [(clip.name, clip.frames) for clip in file.clips] == [("clip 0", 30), ("clip 1", 5), ("clip 2", 14)]
    assert file.kept_per_clip == [3, 1, 2]
    assert file.rates == pytest.approx([5] * len(file.clips))
    assert np.array_equal(file.rows, np.concatenate(clips))


def test_mano_is_used_at_full_rate(tmp_path):
    write(tmp_path, "Mano0", "mano")
    file = open_features(tmp_path, "Mano0", mixamo_stride=12)
    assert (file.domain, file.stride, file.kept_per_clip) == ("mano", 1, list(LENGTHS))


def test_the_file_is_a_plain_array_that_numpy_maps(tmp_path):
    clips = write(tmp_path)
    rows = np.load(tmp_path / "Aj.npy", mmap_mode="r", allow_pickle=False)
    assert rows.dtype == np.float32
    assert np.array_equal(rows, np.concatenate(clips))


def test_rows_stay_on_the_disk(tmp_path):
    write(tmp_path)
    rows = open_features(tmp_path, "Aj").rows
    assert isinstance(rows.base, np.memmap)
    assert not rows.flags.writeable


def test_a_copy_for_another_process_carries_no_rows(tmp_path):
    clips = write(tmp_path)
    text = pickle.dumps(open_features(tmp_path, "Aj"))
    assert len(text) < 2000
    assert np.array_equal(pickle.loads(text).rows, np.concatenate(clips))


def test_published_files_are_read_and_thinned(tmp_path):
    clips = some_clips()
    publish(tmp_path / "Aj.npy", clips)
    file = open_features(tmp_path, "Aj", mixamo_stride=12)
    assert (file.domain, file.side, file.stride) == ("mixamo", "right", 1)
    assert file.kept_per_clip == [3, 1, 2]
    assert np.array_equal(file.rows, np.concatenate([clip[::12] for clip in clips]))
    assert np.array_equal(pickle.loads(pickle.dumps(file)).rows, file.rows)


@pytest.mark.parametrize("lengths", [(30,), (6, 6, 6)])
def test_published_clips_of_one_length(tmp_path, lengths):
    """NumPy makes one array of three dimensions out of clips of the same length, of objects or of numbers."""
    clips = some_clips("mano", lengths)
    for content in (np.array(clips, dtype=object), np.array(clips)):
        np.save(tmp_path / "Mano0.npy", content, allow_pickle=True)
        file = open_features(tmp_path, "Mano0")
        assert (file.domain, file.kept_per_clip) == ("mano", list(lengths))
        assert np.array_equal(file.rows, np.concatenate(clips))


def test_nothing_is_left_of_a_file_that_fails(tmp_path):
    with pytest.raises(RuntimeError, match="stop"), writing_features(tmp_path, "Aj", "mixamo", "right", "") as writer:
        writer.add_clip("a", some_clips()[0], None)
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_rewrite_keeps_the_old_file(tmp_path):
    clips = write(tmp_path)
    with pytest.raises(InputError), writing_features(tmp_path, "Aj", "mixamo", "right", "") as writer:
        writer.add_clip("a", np.zeros((3, 7), np.float32), None)
    assert np.array_equal(open_features(tmp_path, "Aj").rows, np.concatenate(clips))


def test_up_to_date_means_same_inputs_and_a_whole_file(tmp_path):
    assert not is_up_to_date(tmp_path, "Aj", "abc")
    write(tmp_path)
    assert is_up_to_date(tmp_path, "Aj", "abc")
    assert not is_up_to_date(tmp_path, "Aj", "other")
    with (tmp_path / "Aj.npy").open("ab") as stream:
        stream.write(b"more")
    assert not is_up_to_date(tmp_path, "Aj", "abc")
    (tmp_path / "Aj.json").write_text("[1, 2]")
    assert not is_up_to_date(tmp_path, "Aj", "abc")


def test_a_missing_character_lists_who_is_there(tmp_path):
    write(tmp_path, "Kaya")
    write(tmp_path, "Mano3", "mano")
    assert available_characters(tmp_path) == ["Kaya", "Mano3"]
    with pytest.raises(InputError, match=r"Aj\.npy.*Kaya, Mano3.*preprocess.*run.preprocess_mixhand"):
        open_features(tmp_path, "Aj")


def test_a_missing_character_with_motions_wants_preprocessing(tmp_path):
    (tmp_path / "Aj").mkdir()
    (tmp_path / "Aj" / "walk.bvh").write_text("")
    with pytest.raises(InputError, match="motions are there.*run.preprocess_mixhand"):
        open_features(tmp_path, "Aj")


def test_a_missing_folder(tmp_path):
    with pytest.raises(InputError, match="no folder.*`data_path`"):
        open_features(tmp_path / "nowhere", "Aj")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_writer_refuses_what_is_not_finite(tmp_path, bad):
    clips = some_clips()
    clips[1][3, 100] = bad
    with pytest.raises(InputError, match="clip 1.*frame 3"):
        write(tmp_path, clips=clips)


def test_the_writer_refuses_other_widths(tmp_path):
    with pytest.raises(InputError, match="2127.*2074"):
        write(tmp_path, clips=some_clips("mano"))


def test_large_finite_numbers_pass(tmp_path):
    clips = some_clips(lengths=(3,))
    clips[0][:] = np.finfo(np.float32).max
    write(tmp_path, clips=clips)


def test_nan_put_into_a_written_file_is_found(tmp_path):
    write(tmp_path)
    rows = np.load(tmp_path / "Aj.npy")
    rows[30 + 2, 5] = np.nan
    np.save(tmp_path / "Aj.npy", rows)
    with pytest.raises(InputError, match=r"Aj\.npy.*frame 2 of 'clip 1'"):
        open_features(tmp_path, "Aj")


def test_an_unchanged_file_is_not_read_through(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.setattr("data.features.file._check_finite", lambda *_: pytest.fail("read through"))
    open_features(tmp_path, "Aj")


def test_nan_in_a_published_file_is_found(tmp_path):
    clips = some_clips()
    clips[2][13, 0] = np.nan
    publish(tmp_path / "Aj.npy", clips)
    with pytest.raises(InputError, match=r"Aj\.npy.*frame 13 of 'clip 2'"):
        open_features(tmp_path, "Aj")


@pytest.mark.parametrize(
    "clips",
    [
        [np.zeros((4, 100), np.float32)],
        [np.zeros((4, 2127), np.float32), np.zeros((4, 2074), np.float32)],
        [np.zeros(2127, np.float32)],
        [["text"]],
        [],
    ],
)
def test_published_files_with_other_content(tmp_path, clips):
    publish(tmp_path / "Aj.npy", clips)
    with pytest.raises(InputError, match=r"Aj\.npy: expected"):
        open_features(tmp_path, "Aj")


class Danger:
    def __reduce__(self):
        return (print, ("executed",))


def test_nothing_in_a_published_file_is_executed(tmp_path, capsys):
    publish(tmp_path / "Aj.npy", [Danger()])
    with pytest.raises(InputError, match=r"Aj\.npy.*print"):
        open_features(tmp_path, "Aj")
    assert capsys.readouterr().out == ""


def test_an_array_without_description(tmp_path):
    write(tmp_path)
    (tmp_path / "Aj.json").unlink()
    with pytest.raises(InputError, match=r"Aj\.json.*preprocess_mixhand.*`force`"):
        open_features(tmp_path, "Aj")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "version 1"),
        ({"domain": "robot"}, "robot"),
        ({"side": "upper"}, "upper"),
        ({"domain": "mano"}, "2074 channels"),
        ({"clips": [{"name": "a", "frames": 7, "frame_time": None}]}, "expected 7 frames"),
        ({"clips": [{"name": "a", "frames": 7, "frame_time": 1000}]}, "frame time of 1000 seconds"),
        ({"clips": 3}, "not a description"),
    ],
)
def test_descriptions_that_do_not_fit(tmp_path, change, message):
    write(tmp_path)
    path = tmp_path / "Aj.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=message):
        open_features(tmp_path, "Aj")


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00"])
def test_files_that_are_no_arrays(tmp_path, content):
    (tmp_path / "Aj.npy").write_bytes(content)
    with pytest.raises(InputError, match=r"Aj\.npy"):
        open_features(tmp_path, "Aj")


def test_a_file_cut_short(tmp_path):
    write(tmp_path)
    path = tmp_path / "Aj.npy"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"Aj\.npy.*damaged"):
        open_features(tmp_path, "Aj")
