"""Pictures beside the hands."""

import numpy as np

from run.viewing.pictures import SCALES, heat_map, marked, timeline


def test_heat_map_is_pale_where_all_agrees():
    for kind, (best, worst, _) in SCALES.items():
        pale, dark = (heat_map(np.full((20, 20), value), kind) for value in (best, worst))
        assert pale.shape == dark.shape and pale.dtype == np.uint8
        field = (slice(60, 500), slice(120, 500))
        assert pale[field].mean() > 235 and dark[field].mean() < 90


def test_one_cell_is_where_it_belongs():
    matrix = np.ones((20, 20))
    plain = heat_map(matrix, "cosine")
    matrix[2, 17] = 0.0
    changed = np.argwhere((heat_map(matrix, "cosine") != plain).any(-1))
    low, high = changed.min(0), changed.max(0)
    centre = (low + high) / 2
    assert np.allclose((centre - [34, 96]) / 28, [2.5, 17.5], atol=0.1)


def test_unknown_values_are_grey_not_extreme():
    grey = heat_map(np.full((20, 20), np.nan), "cosine")[100, 150]
    assert np.ptp(grey.astype(int)) < 10 and 200 < grey.mean() < 250


def test_timeline_draws_what_is_known_and_marks_the_present():
    values = np.linspace(0.8, 0.95, 100)
    values[50:] = np.nan
    page, ends = timeline({"asrn": values}, {"asrn": "#FF0000"}, np.arange(100) > 90)
    red = np.argwhere((page == [255, 0, 0]).all(-1))
    assert len(red) and red[:, 1].max() <= (ends[0] + ends[1]) / 2 + 3
    assert red[red[:, 1].argmin(), 0] > red[red[:, 1].argmax(), 0]  # it rises
    now = marked(page, ends, 0.5)
    columns = np.unique(np.argwhere((now != page).any(-1))[:, 1])
    assert len(columns) == 3 and abs(columns.mean() - sum(ends) / 2) <= 1


def test_one_frame_alone():
    page, ends = timeline({"dm": np.array([0.9])}, {"dm": "#00FF00"}, np.array([True]))
    assert marked(page, ends, 0.0).shape == page.shape
