"""Messages that stay short."""

from utils.errors import some


def test_long_lists_are_cut():
    assert some(["a"], 2) == "a" and some(["a", "b"], 2) == "a, b" and some([]) == ""
    assert some(list("abcde"), 2) == "a, b and 3 more"
