"""Rows of numbers: the fast reader gives the very numbers that NumPy and Python give, or leaves the text to them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.formats import number_rows
from data.formats.number_rows import format_rows, parse_rows
from utils.errors import InputError

PATH = Path("a.bvh")


def parse(text, n_channels):
    return parse_rows(text if isinstance(text, bytes) else text.encode(), n_channels, PATH, 10)


@pytest.fixture
def without_numpy(monkeypatch):
    """The slow way is closed."""

    def closed(*_args, **_kwargs):
        raise AssertionError("read by NumPy")

    monkeypatch.setattr(number_rows.np, "loadtxt", closed)


numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(-360, 360).map(lambda x: f"{x:.6f}"),
    st.integers(-(10**40), 10**40).map(str),
    # Halfway between two doubles, and around the smallest ones: where careless readers round wrongly.
    st.integers(2**53, 2**60).map(lambda n: f"{2 * n + 1}e-5"),
    st.sampled_from(["9007199254740993", "2.2250738585072011e-308", "5e-324", "1e-400", "0", "-0.0", "-0", "1E+5"]),
    st.sampled_from([".5", "+1", "1.", "007", "-.5e-3", "1e05"]),
)
gaps = st.sampled_from([" ", "\t", "  "])


@settings(max_examples=300, deadline=None)
@given(data=st.data(), columns=st.integers(1, 5), rows=st.integers(1, 4))
def test_every_number_is_exact(data, columns, rows):
    words = [[data.draw(numbers) for _ in range(columns)] for _ in range(rows)]
    end = data.draw(st.sampled_from(["\n", " \n", "\n\n", "\n "]))
    text = end.join(data.draw(gaps).join(row) for row in words) + data.draw(st.sampled_from(["", "\n", " \n"]))
    found = parse(text, columns)
    expected = np.array([[float(word) for word in row] for row in words])
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


@pytest.mark.parametrize(
    "text", ["1 2.5\n-3e2 4\n", "1 2.5 \n-3e2 4 ", "1\t2.5\n-3e2\t4\t\n\n", " \n1 2.5\n-3e2 4", "1 2.5\n-3e+2 4.0"]
)
def test_usual_layouts_take_the_fast_way(text, without_numpy):
    np.testing.assert_array_equal(parse(text, 2), [[1, 2.5], [-300, 4]])


def test_blocks_of_rows(without_numpy):
    values = np.round(np.random.default_rng(0).normal(size=(30_000, 7)) * 50, 6)
    np.testing.assert_array_equal(parse(format_rows(values, 6), 7), values)


@pytest.mark.parametrize(
    "word", ["true", "null", "NaN", '"1"', "[1]", "{}", "1,2", "1e", "e", "--1", "1-1", "", "\x00"]
)
def test_what_json_knows_beside_numbers_is_no_number(word):
    with pytest.raises(InputError, match="a.bvh, line 10"):
        parse(f"1 {word}\n3 4\n", 2)


@pytest.mark.parametrize("text", ["1 2 3\n4\n", "1\n2 3 4\n", "1 2\n3 4 5 6\n", "1 2 3 4\n"])
def test_counts_that_make_up_for_each_other(text):
    with pytest.raises(InputError, match=r"a.bvh, line 10 \(frame 0\)|a.bvh, line 11 \(frame 1\)"):
        parse(text, 2)


def test_no_rows():
    assert parse(" \n\n", 3).shape == (0, 3)


@pytest.mark.parametrize("first", ["12345678901234567890.123456", "-.123456", ".123456", "900719925474099.100001"])
def test_numbers_of_one_form_that_no_whole_number_holds(first):
    """All with as many decimals, which is the quickest way in; these must not take it."""
    rows = [[first, "1.500000"], ["-2.250000", first]]
    found = parse("\n".join(" ".join(row) for row in rows) + "\n", 2)
    np.testing.assert_array_equal(found, [[float(word) for word in row] for row in rows])
