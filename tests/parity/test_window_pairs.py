"""Windows, statistics and pairs of reference motions. Their rows have 5 channels, so files are made in memory."""

import numpy as np
import pytest
import torch

from data.features import windows
from data.features.file import Clip, FeatureFile
from data.features.row import HandFeatures
from data.features.windows import PairedWindows, WindowGroup, window_statistics

CHARACTERS = ("Kaya", "Aj", "Mano0", "Mano1")
STRIDE = 12


@pytest.fixture(scope="module")
def reference(golden):
    return np.load(golden / "windows.npz")


def file_of(reference, name):
    """The motions of a character as an opened feature file."""
    clips = tuple(Clip(f"clip {n}", int(length)) for n, length in enumerate(reference[f"{name}_lengths"]))
    domain = "mano" if name.startswith("Mano") else "mixamo"
    stride = STRIDE if domain == "mixamo" else 1
    return FeatureFile(f"{name}.npy", name, domain, "right", clips, stride, reference[f"{name}_motions"], False)


@pytest.mark.parametrize("window_size", [8, 7, 20])
@pytest.mark.parametrize("name", CHARACTERS)
def test_windows(reference, name, window_size):
    group = WindowGroup([file_of(reference, name)], window_size)
    rows = group.gather(np.arange(len(group)))
    assert np.array_equal(rows.transpose(0, 2, 1), reference[f"{name}_windows_{window_size}"])


@pytest.mark.parametrize("name", CHARACTERS)
def test_statistics(reference, name):
    mean, deviation = window_statistics(file_of(reference, name), 8)
    np.testing.assert_allclose(mean[:, None], reference[f"{name}_mean_8"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(deviation[:, None], reference[f"{name}_std_8"], rtol=1e-5)


@pytest.fixture
def any_channels(monkeypatch):
    """Let rows of 5 channels pass for features."""
    monkeypatch.setattr(windows, "split", lambda domain, rows, side: HandFeatures(domain, side, rows))


@pytest.mark.parametrize("name", CHARACTERS)
def test_normalised_windows(reference, name, any_channels):
    file = file_of(reference, name)
    group = WindowGroup([file], 8)
    statistics = [[window_statistics(file, 8)]] * 2
    batch = PairedWindows(group, group, statistics=statistics).batch(windows.BatchRequest(0, np.arange(len(group))))
    expected = torch.from_numpy(reference[f"{name}_normalised_8"]).mT
    torch.testing.assert_close(batch.first.rows, expected, rtol=1e-5, atol=1e-5)


def test_pairs(reference, any_channels):
    files = {name: file_of(reference, name) for name in CHARACTERS}
    groups = [
        WindowGroup([files[name] for name in names], 8) for names in (("Aj", "Kaya", "Aj", "Kaya"), ("Mano0", "Mano1"))
    ]
    assert [len(group) for group in groups] == reference["paired_group_lens"].tolist()
    pairs = PairedWindows(*groups)
    assert len(pairs) == reference["paired_len"]
    batch = pairs.batch(windows.BatchRequest(0, np.arange(len(pairs))))
    for number, features in enumerate((batch.first, batch.second)):
        assert np.array_equal(features.rows.mT.numpy(), reference[f"paired_group{number}_items"])
        assert np.array_equal(batch.positions[:, number].numpy(), reference[f"paired_group{number}_character"])
