"""Frame rates that motions have, and those that nobody means."""

from __future__ import annotations

import math

import pytest

from data.formats.rates import check_frame_time, check_rate, is_rate
from utils.errors import InputError


@pytest.mark.parametrize("rate", [0.1, 1, 5, 24000 / 1001, 60, 10000])
def test_rates_of_motions(rate):
    assert is_rate(rate) and check_rate(rate, "x") == rate and check_frame_time(1 / rate, "x") == 1 / rate


@pytest.mark.parametrize("rate", [0, -5, 0.0999, 10001, math.inf, math.nan, 1e-300])
def test_other_rates_are_refused(rate):
    assert not is_rate(rate)
    with pytest.raises(InputError, match="x: expected 0.1 to 10000 frames per second"):
        check_rate(rate, "x")


@pytest.mark.parametrize("seconds", [-1, 10.1, 9.9e-5, 1e5, math.inf, math.nan, 1e-320])
def test_frame_times(seconds):
    assert check_frame_time(0, "x") == 0
    with pytest.raises(InputError, match="x: expected a frame time of 0.0001 to 10 seconds"):
        check_frame_time(seconds, "x")
