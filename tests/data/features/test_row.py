"""Feature rows: columns, views, packing, and the rows of simple motions."""

import numpy as np
import pytest
import torch
from pytorch3d.transforms import axis_angle_to_matrix, quaternion_to_matrix

from data.features.row import CHUNK, HandFeatures, channels, compute_features, domain_of, pack, split
from model.hands import offset_hand
from model.kinematics import tbs_angles
from model.mano import ManoHand
from utils.errors import InputError

PARTS = ("axes_t", "local_rotations", "tbs", "finger_coords", "palm_coords")


def a_hand(side="right"):
    """A flat hand of 9 cm palm and 3 cm bones; fingers along −x (right), bend axes across them."""
    sign = -1.0 if side == "right" else 1.0
    offsets = torch.zeros(21, 3, dtype=torch.float64)
    offsets[[1, 5, 9, 13], 0] = 9 * sign
    offsets[[1, 5, 9, 13], 2] = torch.tensor([0.0, -1.5, -3.5, 2.5], dtype=torch.float64)
    offsets[17] = torch.tensor([3 * sign, -1.0, 3.0])
    for root in (1, 5, 9, 13, 17):
        offsets[root + 1 : root + 4, 0] = 3 * sign
    twist = torch.tensor([sign, 0.0, 0.0], dtype=torch.float64)
    splay = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    axes = torch.stack([twist, torch.linalg.cross(splay, twist), splay]).expand(5, 4, 3, 3)
    return offset_hand(offsets, axes, side)


def a_motion(frames, angle=0.5, joint=2):
    """Bends one joint by ``angle`` rad at every frame."""
    local = torch.eye(3, dtype=torch.float64).repeat(frames, 21, 1, 1)
    local[:, joint] = axis_angle_to_matrix(torch.tensor([0.0, 0.0, 1.0]).double() * angle)
    return local.numpy()


def test_channels_are_those_of_the_published_rows():
    assert (channels("mixamo"), channels("mano")) == (2127, 2074)
    assert (domain_of(2127), domain_of(2074), domain_of(2100)) == ("mixamo", "mano", None)


@pytest.mark.parametrize(
    ("domain", "part", "first", "last", "shape"),
    [
        ("mixamo", "offsets", 0, 62, (21, 3)),
        ("mixamo", "axes_t", 63, 242, (5, 4, 3, 3)),
        ("mixamo", "local_rotations", 243, 326, (21, 4)),
        ("mixamo", "tbs", 327, 386, (5, 3, 4)),
        ("mixamo", "finger_coords", 387, 1586, (20, 20, 3)),
        ("mixamo", "palm_coords", 1587, 2126, (20, 9, 3)),
        ("mano", "shape", 0, 9, (10,)),
        ("mano", "axes_t", 10, 189, (5, 4, 3, 3)),
        ("mano", "local_rotations", 190, 273, (21, 4)),
        ("mano", "tbs", 274, 333, (5, 3, 4)),
        ("mano", "finger_coords", 334, 1533, (20, 20, 3)),
        ("mano", "palm_coords", 1534, 2073, (20, 9, 3)),
    ],
)
def test_parts_lie_where_published_files_have_them(domain, part, first, last, shape):
    rows = torch.arange(2 * 3 * channels(domain), dtype=torch.float32).reshape(2, 3, -1)
    values = split(domain, rows).part(part)
    assert values.shape == (2, 3, *shape)
    assert values[0, 0].flatten()[0] == first
    assert values[0, 0].flatten()[-1] == last
    assert values.data_ptr() == rows[0, 0, first:].data_ptr(), "a view, not a copy"


def test_a_domain_has_only_its_own_static_part():
    with pytest.raises(AttributeError, match="mano.*offsets"):
        _ = split("mano", torch.zeros(1, 2074)).offsets
    with pytest.raises(AttributeError, match="mixamo.*shape"):
        _ = split("mixamo", torch.zeros(1, 2127)).shape


def test_split_refuses_other_widths():
    with pytest.raises(ValueError, match="2127"):
        split("mixamo", torch.zeros(4, 2074))


@pytest.mark.parametrize(("domain", "static"), [("mixamo", "offsets"), ("mano", "shape")])
def test_pack_undoes_split(domain, static):
    rows = torch.rand(2, 3, channels(domain))
    features = split(domain, rows, "left")
    packed = pack(domain, "left", **{name: features.part(name) for name in (static, *PARTS)})
    assert torch.equal(packed.rows, rows)
    assert (packed.domain, packed.side) == (domain, "left")


def test_pack_broadcasts_what_does_not_change():
    features = split("mixamo", torch.rand(4, 2127))
    parts = {name: features.part(name) for name in PARTS}
    packed = pack("mixamo", offsets=torch.ones(21, 3), **parts)
    assert packed.batch_shape == (4,)
    assert (packed.offsets == 1).all()


def test_pack_names_what_is_wrong():
    with pytest.raises(ValueError, match="parts"):
        pack("mixamo", offsets=torch.zeros(21, 3))
    features = split("mixamo", torch.rand(4, 2127))
    parts = {name: features.part(name) for name in PARTS}
    with pytest.raises(ValueError, match="offsets must end with"):
        pack("mixamo", offsets=torch.zeros(3, 21), **parts)


def test_features_are_indexed_moved_and_transposed_together():
    features = split("mixamo", torch.rand(4, 8, 2127))
    assert torch.equal(features[1:3, 0].tbs, features.tbs[1:3, 0])
    assert features[2].batch_shape == (8,)
    assert features.to(torch.float64).semantic_matrix.palm.dtype == torch.float64
    assert torch.equal(features.axes, features.axes_t.transpose(-1, -2))
    assert isinstance(features[0], HandFeatures)


@pytest.mark.parametrize("side", ["right", "left"])
def test_rows_of_a_bent_finger(side):
    sign = -1.0 if side == "right" else 1.0
    # A right hand points to −x, so that a positive turn about +z closes its fingers (towards −y).
    rows = compute_features(a_hand(side), a_motion(3, angle=-sign * 0.5))
    assert rows.shape == (3, 2127) and rows.dtype == np.float32
    features = split("mixamo", torch.from_numpy(rows).double(), side)
    angles = tbs_angles(quaternion_to_matrix(features.tbs))
    expected = torch.zeros(3, 5, 3, 3, dtype=torch.float64)
    expected[:, 0, 1, 1] = 0.5  # middle finger, second joint, bend
    torch.testing.assert_close(angles, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(features.offsets[0], a_hand(side).offsets, atol=1e-6, rtol=0)
    torch.testing.assert_close(features.axes[0], a_hand(side).axes.contiguous())
    # From the bent joint (i = 1) its tip lies 6 cm down the twist axis.
    palm = 9.0
    straight = torch.tensor([6 / palm, 0, 0], dtype=torch.float64)
    torch.testing.assert_close(features.semantic_matrix.finger[0, 1, 3], straight, atol=1e-6, rtol=0)
    # From the root (i = 0) the tip is 3 + 6 cos 0.5 ahead and 6 sin 0.5 below the splay axis.
    bent = torch.tensor([3 + 6 * np.cos(0.5), 0, -6 * np.sin(0.5)], dtype=torch.float64) / palm
    torch.testing.assert_close(features.semantic_matrix.finger[0, 0, 3], bent, atol=1e-6, rtol=0)
    # The first palm anchor is 2/3 of the palm behind the middle root.
    anchor = torch.tensor([-2 / 3 * 9, 0, 0], dtype=torch.float64) / palm
    assert features.semantic_matrix.palm[0, 0, 0, 0].item() == pytest.approx(anchor[0].item(), abs=1e-6)


def test_the_wrist_is_dropped_and_quaternions_of_tbs_are_standardised():
    local = a_motion(1, angle=3.0)
    turned = local.copy()
    turned[:, 0] = axis_angle_to_matrix(torch.tensor([0.3, 1.0, -2.0])).numpy()
    rows = compute_features(a_hand(), turned)
    assert np.array_equal(rows, compute_features(a_hand(), local))
    features = split("mixamo", torch.from_numpy(rows))
    assert features.local_rotations[0, 0].tolist() == [1, 0, 0, 0]
    assert (features.tbs[..., 0] >= 0).all()


def test_chunks_do_not_show():
    rng = np.random.default_rng(0)
    axis_angles = torch.from_numpy(rng.normal(size=(CHUNK + 3, 21, 3))) * 0.3
    local = axis_angle_to_matrix(axis_angles).numpy()
    rows = compute_features(a_hand(), local)
    again = compute_features(a_hand(), local[CHUNK - 2 :])
    np.testing.assert_allclose(rows[CHUNK - 2 :], again, atol=1e-6)


def test_no_frames_give_no_rows():
    assert compute_features(a_hand(), np.zeros((0, 21, 3, 3))).shape == (0, 2127)


def test_shapes_must_match_the_frames(golden_mano):
    with pytest.raises(InputError, match="5 frames"):
        compute_features(golden_mano, a_motion(5), np.zeros((4, 10)))


def test_one_shape_for_all_frames_is_the_same_as_one_each(golden_mano):
    shapes = np.random.default_rng(1).normal(size=(1, 10)).repeat(6, axis=0)
    together = compute_features(golden_mano, a_motion(6), shapes)
    different = shapes.copy()
    different[5] += 1
    apart = compute_features(golden_mano, a_motion(6), different)
    np.testing.assert_allclose(together[:5], apart[:5], atol=1e-6)
    assert np.abs(together[5] - apart[5]).max() > 1e-3


@pytest.fixture(scope="module")
def golden_mano(golden):
    """The synthetic hand model of the reference vectors."""
    return ManoHand.load(golden / "inputs" / "mano_right.npz", golden / "inputs" / "mano_finger_axis.npz", "right")
