"""Making the assets anew; needs `anny` (requirements-assets.txt)."""

import numpy as np
import pytest

from data.open_hands.library import OpenHands

pytestmark = pytest.mark.slow


def test_remade_assets_share_the_shipped_surface():
    pytest.importorskip("anny")
    from data.open_hands.making import TRAINING_RANGE, Groups, make_assets  # imports anny

    few = Groups(train=3, val=1, inside=1, long=1, short=1)
    made, again = make_assets(5, few, few), make_assets(5, few, few)
    shipped = OpenHands.load().arrays
    for key in made:
        np.testing.assert_array_equal(made[key], again[key], err_msg=key)
    for key in ("faces", "tips", "hinge_faces", "skin_vertices", "skin_bones"):
        np.testing.assert_array_equal(made[key], shipped[key], err_msg=key)
    joints = made["character_joints"].astype(np.float64)
    lengths = np.linalg.norm(np.diff(joints[:, 1:].reshape(-1, 5, 4, 3), axis=2), axis=-1).sum(2)
    ratios = lengths[:, :4].mean(1) / np.linalg.norm(joints[:, 1], axis=1)
    low, high = TRAINING_RANGE
    for split, ratio in zip(made["character_split"], ratios, strict=True):
        if split in ("long", "short"):
            assert (ratio > high) if split == "long" else (ratio < low)
        else:
            assert low - 1e-3 <= ratio <= high + 1e-3
