"""What converters share: skeletons, skins, motions and their files."""

from dataclasses import replace

import numpy as np
import pytest

from data.formats.bvh import read_bvh, rotations_from_euler, write_bvh
from data.formats.skeleton import (
    Skeleton,
    Skin,
    bone_tails,
    centred,
    edges_of,
    file_name,
    merged,
    mesh_arrays,
    motion,
    nearest_rotations,
    size_warning,
    unique_names,
    welded,
    write_mesh,
)
from utils.errors import InputError


def rotation(*degrees):
    return rotations_from_euler(np.radians(np.array(degrees, dtype=float)), "XYZ")


def chain(rotations=None):
    """Wrist, two bones of a finger and one of another, 10 cm each; axes turned so that nothing is the identity."""
    rest = np.tile(np.eye(4), (4, 1, 1))
    rest[:, :3, 3] = [[-50, 100, 0], [-60, 100, 0], [-64, 100, 0], [-60, 100, 5]]
    rest[:, :3, :3] = rotation(10, 20, 30) if rotations is None else rotations
    return Skeleton.of_rest(("Hand", "Index1", "Index2", "Thumb1"), np.array([-1, 0, 1, 0]), rest)


def test_motion_inverts_forward_kinematics(tmp_path):
    random = np.random.default_rng(0)
    skeleton = chain()
    local = rotation(*random.uniform(-80, 80, 3)), rotation(50, 0, 0), rotation(0, 70, 5), rotation(1, 2, 3)
    turned = [local[0], local[0] @ local[1], local[0] @ local[1] @ local[2], local[0] @ local[3]]
    posed = skeleton.rest.copy()
    posed[:, :3, :3] = (
        np.array(turned) @ skeleton.rest[:, :3, :3] * [[[2.0]], [[1]], [[0.5]], [[1]]]
    )  # scale is ignored
    posed[0, :3, 3] = 1, 2, 3
    bvh = motion(skeleton, lambda first, last: np.tile(posed, (last - first, 1, 1, 1)), 600, 0.01)
    np.testing.assert_allclose(bvh.rotations()[[0, 599]], np.tile(np.array(local), (2, 1, 1, 1)), atol=1e-12)
    np.testing.assert_array_equal(bvh.values[:, :3], np.tile([1, 2, 3], (600, 1)))
    np.testing.assert_array_equal(bvh.offsets, [[-50, 100, 0], [-10, 0, 0], [-4, 0, 0], [-10, 0, 5]])
    assert [leaf for leaf, _ in bvh.end_sites] == [2, 3]
    write_bvh(tmp_path / "a.bvh", bvh)
    again = read_bvh(tmp_path / "a.bvh")  # in the order of the tree, which these bones have
    assert again.joint_names == skeleton.names
    np.testing.assert_allclose(again.values, bvh.values, atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_poses_that_are_not_finite(bad):
    posed = np.tile(chain().rest, (3, 1, 1, 1))
    posed[2, 1, 0, 3] = bad
    with pytest.raises(InputError, match="frame 2, joint Index1"):
        motion(chain(), lambda first, last: posed[first:last], 3, 0.01)


def test_nearest_rotations():
    turn = rotation(10, 200, -40)
    np.testing.assert_allclose(nearest_rotations(turn * [3.0, 0.1, 1]), turn, atol=1e-12)
    np.testing.assert_allclose(nearest_rotations(-turn), turn, atol=1e-12)
    sheared = turn @ (np.eye(3) + 0.1 * np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]]))
    np.testing.assert_allclose(nearest_rotations(sheared), turn, atol=1e-2)
    random = nearest_rotations(np.random.default_rng(0).normal(size=(50, 3, 3)))
    np.testing.assert_allclose(random @ np.swapaxes(random, 1, 2), np.broadcast_to(np.eye(3), (50, 3, 3)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(random), 1, atol=1e-12)
    assert np.isfinite(nearest_rotations(np.zeros((3, 3)))).all()


def test_tails():
    skeleton = chain(np.eye(3))
    tails = bone_tails(skeleton)
    np.testing.assert_array_equal(tails[0], skeleton.heads[1])  # the child along its own axis
    np.testing.assert_array_equal(tails[1], skeleton.heads[2])
    np.testing.assert_allclose(tails[2], [-67.4, 100, 0])  # on, a little shorter than its parent
    skin = Skin(
        np.array([[-66.5, 101, 0], [-80, 100, 0]]), np.zeros((0, 3), int), np.float32([[0, 0, 1, 0], [0, 1, 0, 0]])
    )
    np.testing.assert_allclose(bone_tails(skeleton, skin)[2], [-66.5, 101, 0])  # where its own skin ends
    told = np.full((4, 3), np.nan)
    told[2] = -70, 99, 0
    np.testing.assert_array_equal(bone_tails(replace(skeleton, tails=told), skin)[2], told[2])


def ring(center, radius=1.0):
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    return np.array(center) + radius * np.stack([0 * angles, np.cos(angles), np.sin(angles)], axis=1)


def test_adjusted_joints_lie_in_the_middle_of_the_skin():
    skeleton = chain(np.eye(3))
    vertices = ring([-63, 100.8, 0.3])  # round the second joint, whose bone lies low, and a little beside the crease
    weights = np.tile(np.float32([0, 0.5, 0.5, 0]), (12, 1))
    moved = centred(skeleton, Skin(vertices, np.zeros((0, 3), int), weights))
    np.testing.assert_allclose(moved.heads[2], [-64, 100.8, 0.3], atol=1e-9)
    np.testing.assert_array_equal(moved.heads[[0, 1, 3]], skeleton.heads[[0, 1, 3]])
    np.testing.assert_array_equal(moved.axes, skeleton.axes)


def test_merging_and_welding():
    one = Skin(np.eye(3), np.array([[0, 1, 2]]), np.float32([[2, 0], [1, 1], [0, 0]]))
    other = Skin(np.eye(3), np.array([[2, 1, 0]]), np.float32([[1, 0], [0, 1], [0, 0]]))
    both = merged([one, other], 2)
    np.testing.assert_array_equal(both.faces, [[0, 1, 2], [5, 4, 3]])
    np.testing.assert_array_equal(both.weights, [[1, 0], [0.5, 0.5], [0, 0], [1, 0], [0, 1], [0, 0]])
    whole = welded(both)
    np.testing.assert_array_equal(whole.vertices, [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0]])
    np.testing.assert_array_equal(whole.faces, [[0, 1, 2], [2, 3, 0]])


def test_mesh_file(tmp_path):
    skeleton = chain()
    skin = Skin(ring([-62, 100, 0]), np.array([[0, 1, 2], [2, 1, 3]]), np.tile(np.float32([0, 1, 0, 0]), (12, 1)))
    write_mesh(tmp_path / "a_mesh_data.npz", skeleton, skin)
    with np.load(tmp_path / "a_mesh_data.npz", allow_pickle=False) as data:
        assert data["verts"].dtype == data["weight"].dtype == data["bone_axes"].dtype == np.float32
        np.testing.assert_array_equal(data["edges"], [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]])
        np.testing.assert_allclose(data["bone_axes"][0], rotation(10, 20, 30).T, atol=1e-7)
        np.testing.assert_array_equal(data["vgrp_cors"], skeleton.heads.astype(np.float32))
    vertices = skin.vertices.copy()
    vertices[3, 1] = np.nan
    with pytest.raises(InputError, match="finite numbers in verts"):
        mesh_arrays(skeleton, Skin(vertices, skin.faces, skin.weights))


def test_edges():
    np.testing.assert_array_equal(edges_of(np.array([[2, 1, 0]])), [[0, 1], [0, 2], [1, 2]])


def test_names():
    assert unique_names(["a", "a", "", "b\n", " c "]) == ("a", "a.001", "joint_2", "b_", "c")
    assert unique_names(["a.001", "a", "a"]) == ("a.001", "a", "a.002")
    assert file_name("../../etc/passwd") == "_.._etc_passwd"
    assert file_name("Take 001|Base:Layer") == "Take 001_Base_Layer"
    assert [file_name(name) for name in ("", "..", "nul", "a" * 300)] == ["clip", "clip", "clip", "a" * 100]


def test_sizes_in_another_unit_are_told():
    skeleton = chain()
    assert size_warning(skeleton, None) is None
    rest = skeleton.rest.copy()
    rest[:, :3, 3] *= 100
    assert "1.4e+03 cm" in size_warning(Skeleton.of_rest(skeleton.names, skeleton.parents, rest), None)
