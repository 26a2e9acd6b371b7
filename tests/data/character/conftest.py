import pytest

from tests.capsule_hand import capsule_hand


@pytest.fixture(scope="module")
def known():
    """A hand of capsules, thicker than usual, and its flesh."""
    return capsule_hand()
