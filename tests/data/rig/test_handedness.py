"""Right or left, from the joints of a hand alone."""

import numpy as np
import pytest

from data.rig.handedness import palm_lean, side_of
from model.topology import PARENTS
from tests.helpers import plausible_offsets

ALL = tuple(range(21))


def joints(side: str, curl: float = 0.5) -> np.ndarray:
    """(21, 3) of a hand with its palm down, fingers a little closed."""
    steps, places = plausible_offsets(side=side).numpy(), np.zeros((21, 3))
    for joint, parent in enumerate(PARENTS):
        if parent >= 0:
            places[joint] = places[parent] + steps[joint] - [0, curl * (parent > 0), 0]
    return places


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0])
def test_curl_and_thumb_tell_the_side(side, scale):
    assert side_of(scale * joints(side), ALL) == side
    assert side_of(scale * joints(side) * [-1, 1, 1], ALL) == ("left" if side == "right" else "right")


def test_a_hand_without_a_palm_tells_nothing():
    line = np.arange(21.0)[:, None] * [1.0, 0.2, 0.0]
    assert palm_lean(line, ALL) is None and side_of(line, ALL) is None
    assert palm_lean(np.zeros((21, 3)), ALL) is None
    assert palm_lean(joints("right"), (None, *ALL[1:])) is None
