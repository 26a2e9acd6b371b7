"""Windows, statistics and pairs of reference motions. Their rows have 5 channels, so files are made in memory."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from data.features import windows
from data.features.file import Clip, FeatureFile
from data.features.row import HandFeatures
from data.features.windows import PairedWindows, WindowGroup, window_statistics
from model.topology import DOMAINS
from utils.errors import InputError

STRIDE = 12


def characters(golden, ending="_lengths"):
    """Names of the reference motions of which there is an array with this ending."""
    with np.load(golden / "windows.npz") as arrays:
        return sorted(key.removesuffix(ending) for key in arrays.files if key.endswith(ending))


def cases(golden):
    """(name, window size) of all reference windows, those that do not fit included."""
    with np.load(golden / "windows.npz") as arrays:
        found = (re.fullmatch(r"(\w+)_windows_(\d+)(_error)?", key) for key in arrays.files)
        return [(match[1], int(match[2])) for match in found if match]


def pytest_generate_tests(metafunc):
    golden = Path(metafunc.config.getoption("--golden"))
    if "window_size" in metafunc.fixturenames:
        metafunc.parametrize(("name", "window_size"), cases(golden))
    for fixture, ending in (("measured", "_std_8"), ("normalised", "_normalised_8")):
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, characters(golden, ending))


@pytest.fixture(scope="module")
def reference(golden):
    return np.load(golden / "windows.npz")


def file_of(reference, name):
    """The motions of a character as an opened feature file."""
    clips = tuple(Clip(f"clip {n}", int(length)) for n, length in enumerate(reference[f"{name}_lengths"]))
    domain = "mano" if name.startswith("Mano") else "mixamo"
    stride = STRIDE if domain == "mixamo" else 1
    return FeatureFile(f"{name}.npy", name, domain, "right", clips, stride, reference[f"{name}_motions"], False)


def test_windows(reference, name, window_size):
    if f"{name}_windows_{window_size}_error" in reference.files:
        with pytest.raises(InputError, match="at least"):
            WindowGroup([file_of(reference, name)], window_size)
        return
    group = WindowGroup([file_of(reference, name)], window_size)
    rows = group.gather(np.arange(len(group)))
    assert np.array_equal(rows.transpose(0, 2, 1), reference[f"{name}_windows_{window_size}"])


def test_statistics(reference, measured):
    mean, deviation = window_statistics(file_of(reference, measured), 8)
    np.testing.assert_allclose(mean[:, None], reference[f"{measured}_mean_8"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(deviation[:, None], reference[f"{measured}_std_8"], rtol=1e-5)


@pytest.fixture
def any_channels(monkeypatch):
    """Let rows of 5 channels pass for features."""
    monkeypatch.setattr(windows, "split", lambda domain, rows, side: HandFeatures(domain, side, rows))


def test_normalised_windows(reference, normalised, any_channels):
    file = file_of(reference, normalised)
    group = WindowGroup([file], 8)
    statistics = [[window_statistics(file, 8)]] * 2
    batch = PairedWindows(group, group, statistics=statistics).batch(windows.BatchRequest(0, np.arange(len(group))))
    expected = torch.from_numpy(reference[f"{normalised}_normalised_8"]).mT
    torch.testing.assert_close(batch.first.rows, expected, rtol=1e-5, atol=1e-5)


def test_pairs(golden, reference, any_channels):
    """Characters in the order of the alphabet, then again in that order as often as the group's size says."""
    files = {name: file_of(reference, name) for name in characters(golden)}
    groups = []
    for domain, length in zip(DOMAINS, reference["paired_group_lens"].tolist(), strict=True):
        listed = [file for file in files.values() if file.domain == domain]
        times, rest = divmod(length, len(WindowGroup(listed, 8)))
        assert times and not rest, f"{length} windows are no multiple of those of the {domain} characters"
        groups.append(WindowGroup(listed * times, 8))
    pairs = PairedWindows(*groups)
    assert len(pairs) == reference["paired_len"]
    batch = pairs.batch(windows.BatchRequest(0, np.arange(len(pairs))))
    for number, features in enumerate((batch.first, batch.second)):
        assert np.array_equal(features.rows.mT.numpy(), reference[f"paired_group{number}_items"])
        assert np.array_equal(batch.positions[:, number].numpy(), reference[f"paired_group{number}_character"])
