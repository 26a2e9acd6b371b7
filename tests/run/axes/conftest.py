"""Hands of MixHand-Open, as the tests of axes have them."""

from tests.data.axes.conftest import open_hands, rest_hand, write_mesh  # noqa: F401
