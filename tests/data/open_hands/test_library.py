"""The shipped hands: parametric model, axes, mirroring."""

import numpy as np
import pytest
import torch

from data.open_hands.contacts import posed
from data.open_hands.library import ASSETS, OpenHands, mirrored, mirrored_axes, mirrored_rotations
from data.open_hands.shapes import HandShapes
from data.open_hands.surface import shoot
from model.kinematics import finger_positions
from model.topology import ROOTS, TIPS


@pytest.fixture(scope="module")
def hands():
    return OpenHands.load()


@pytest.fixture(scope="module")
def models(hands, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    (folder / "mano").mkdir()
    for side in ("right", "left"):
        np.savez_compressed(folder / "mano" / f"MANO_{side.upper()}.npz", **hands.mano_arrays(side))
    return folder


def betas_of(hands):
    return torch.as_tensor(np.stack([hands.betas(name) for name in hands.subjects]))


def test_assets_are_small():
    assert ASSETS.stat().st_size < 3e6


def test_parametric_hand_has_manos_layout(hands):
    arrays = hands.mano_arrays("right")
    n = len(arrays["v_template"])
    assert arrays["shapedirs"].shape == (n, 3, 10) and arrays["posedirs"].shape == (n, 3, 135)
    np.testing.assert_allclose(arrays["weights"].sum(1), 1)
    np.testing.assert_allclose(arrays["J_regressor"].sum(1), 1)
    assert (arrays["J_regressor"] >= 0).all()
    assert np.linalg.norm(arrays["J"][4] - arrays["J"][0]) == pytest.approx(0.1, abs=0.03)  # metres


def test_parametric_hand_rests_curved_and_spread(hands, models):
    joints = hands.mano_hand(models).with_shape(torch.zeros(1, 10).double()).at_rest().joints[0]
    assert joints[1, 0] < -0.07 and joints[TIPS[3], 2] - joints[TIPS[2], 2] > 0.08
    drop = joints[list(ROOTS[:4]), 1] - joints[list(TIPS[:4]), 1]
    assert (drop > 0.015).all()


def test_both_sides_bend_inwards_and_are_mirror_images(hands, models):
    shapes, betas = HandShapes.load(), betas_of(hands)
    fist = shapes.angles[[shapes.names.index("fist")] * len(betas)]
    right, left = (hands.mano_hand(models, side).with_shape(betas) for side in ("right", "left"))
    closed = posed(right, fist)
    tips = closed.joints[:, TIPS[:4]]
    assert (tips[..., 1] < -0.03 * closed.palm_length[:, None]).all()
    np.testing.assert_allclose(left.axes.numpy(), mirrored_axes(right.axes.numpy()), atol=1e-9)
    turned = torch.as_tensor(mirrored_rotations(closed.local.numpy()))
    other = left.with_local_rotations(turned)
    np.testing.assert_allclose(other.joints.numpy(), mirrored(closed.joints.numpy()), atol=1e-9)


def test_axes_are_right_handed_and_splay_points_up(hands, models):
    axes = [hands.mano_hand(models).with_shape(betas_of(hands)).axes]
    axes.append(torch.as_tensor(np.stack([hands.character_axes(name) for name in hands.characters])))
    for rows in axes:
        torch.testing.assert_close(torch.linalg.det(rows), torch.ones(rows.shape[:-2]).double())
        assert (rows[..., 2, 1] > 0.1).all()  # far enough from the sign at which the splay would flip


def test_mano_axes_follow_from_their_barycentric_points(hands, models):
    stored = hands.mano_axes()
    mano = hands.mano_hand(models)
    rows = mano.with_shape(torch.zeros(1, 10).double()).axes[0, :, 2]  # at the last joint, where they are annotated
    np.testing.assert_allclose(rows.numpy(), stored["rhand"], atol=1e-6)


def test_first_hits_of_rays_from_inside_a_cube():
    corners = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
    quads = [[0, 1, 3, 2], [4, 5, 7, 6], [0, 1, 5, 4], [2, 3, 7, 6], [0, 2, 6, 4], [1, 3, 7, 5]]
    faces = np.array([[q[a] for a in t] for q in quads for t in ((0, 1, 2), (0, 2, 3))])
    hits = shoot(corners, faces, np.array([0.1, 0.2, 0.3]), np.array([[1.0, 0, 0], [0, 0, -1.0]]))
    np.testing.assert_allclose(hits.points, [[1, 0.2, 0.3], [0.1, 0.2, -1]], atol=1e-12)
    rebuilt = (hits.barycentric[..., None] * corners[faces[hits.faces]]).sum(1)
    np.testing.assert_allclose(rebuilt, hits.points, atol=1e-12)
    with pytest.raises(ValueError, match="without a hit"):
        shoot(corners, faces[:2], np.zeros(3), np.array([[1.0, 0, 0]]))


def test_regressed_joints_stay_near_the_skeleton(hands, models):
    """The joints of the posed surface differ from those of the bones by millimetres, as on MANO, in any shape."""
    shapes = HandShapes.load()
    for betas in betas_of(hands)[:: len(hands.subjects) // 4]:
        hand = hands.mano_hand(models).with_shape(betas.expand(len(shapes.names), -1))
        state = posed(hand, shapes.angles)
        apart = (finger_positions(state.fingers, hand.offsets) - state.joints).norm(dim=-1)
        assert apart.mean() < 0.002 and apart.max() < 0.012  # metres
