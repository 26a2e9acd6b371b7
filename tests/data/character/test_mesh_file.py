"""Characters: bones found by name, offsets, axes and the skin of a hand."""

import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from data.axes.files import read_finger_axes
from data.character.character import Character
from data.character.mesh_file import is_mesh
from data.character.reading import read_annotated, read_mesh_character
from data.dataset import character_files
from model.topology import hand_joint_names
from utils.errors import InputError

GOLDEN = Path(__file__).parents[2] / "golden"
INPUTS = GOLDEN / "inputs"
NAMES = ("Aj", "BigVegas", "Kaya", "SportyGranny")


@pytest.fixture(scope="module")
def aj_arrays():
    with np.load(INPUTS / "Aj_mesh_data.npz") as data:
        return dict(data)


def write_mesh(folder, arrays, name="Aj"):
    path = folder / f"{name}_mesh_data.npz"
    np.savez(path, **arrays)
    return path


def reorder(arrays, order):
    """The same mesh with its bones in another order."""
    new_number = np.argsort(order)
    result = dict(arrays)
    for prefix in ("vgrp", "bone"):
        parents = arrays[f"{prefix}_parents"][order]
        result[f"{prefix}_parents"] = np.where(parents < 0, -1, new_number[parents])
        for suffix in ("cors", "label", "names"):
            if f"{prefix}_{suffix}" in arrays:
                result[f"{prefix}_{suffix}"] = arrays[f"{prefix}_{suffix}"][order]
    result["weight"] = arrays["weight"][:, order]
    return result


@pytest.mark.parametrize("name", NAMES)
def test_golden_characters(name):
    character = read_annotated(*character_files(INPUTS, name))
    assert (character.name, character.sides) == (name, ("right", "left"))
    with np.load(INPUTS / f"{name}_mesh_data.npz") as data:
        heads = {bone.split(":")[1]: head for bone, head in zip(data["bone_names"], data["bone_cors"], strict=True)}
    for side in character.sides:
        assert character.hands[side].rest.offsets.shape == (21, 3)
        names = hand_joint_names("mixamo", side)
        position = np.float64(heads[names[17]]) + character.hands[side].rest.offsets[18:21].sum(axis=0)
        np.testing.assert_allclose(position, heads[names[20]], atol=1e-12)
        np.testing.assert_array_equal(character.hands[side].rest.offsets[0], 0)
        assert character.hands[side].axes.shape == (5, 4, 3, 3)


@pytest.mark.parametrize("clip", "abc")
def test_offsets_and_axes_equal_the_golden_features(clip):
    with np.load(GOLDEN / "bvh" / f"mixamo_clip_{clip}_features.npz") as data:
        features, name = data["features"], str(data["character"])
    character = read_annotated(*character_files(INPUTS, name))
    hand = character.hand("right")
    np.testing.assert_allclose(features[0, :63].reshape(21, 3), hand.rest.offsets, rtol=1e-6, atol=1e-6)
    transposed = np.swapaxes(hand.axes, -1, -2)
    np.testing.assert_allclose(features[0, 63:243].reshape(5, 4, 3, 3), transposed, atol=1e-7)


def test_order_of_bones_does_not_matter(tmp_path, aj_arrays):
    order = np.random.default_rng(0).permutation(len(aj_arrays["bone_names"]))
    path = write_mesh(tmp_path, reorder(aj_arrays, order))
    shuffled = read_annotated(path, INPUTS / "Aj_finger_axis.npz")
    original = read_annotated(*character_files(INPUTS, "Aj"))
    for side in original.sides:
        np.testing.assert_array_equal(shuffled.hands[side].rest.offsets, original.hands[side].rest.offsets)
        one, other = shuffled.hand(side).surface, original.hand(side).surface
        np.testing.assert_array_equal(one.weights, other.weights)
        np.testing.assert_array_equal(one.vertices, other.vertices)


@pytest.mark.parametrize("side", ["right", "left"])
def test_hand_mesh_equals_the_golden_one(side):
    with np.load(GOLDEN / "skinning.npz") as data:
        golden = {key.removeprefix(f"{side}_"): data[key] for key in data if key.startswith(side)}
    mesh = read_annotated(*character_files(INPUTS, str(golden["character"]))).hand(side).surface
    np.testing.assert_array_equal(mesh.vertices, golden["rest_verts"])
    np.testing.assert_array_equal(mesh.faces, golden["faces"])
    np.testing.assert_allclose(mesh.weights, golden["weights"], atol=1e-7)
    np.testing.assert_array_equal(mesh.joints, golden["joint_positions"])


def test_weights_between_listed_joints_go_to_the_listed_ancestor(tmp_path, aj_arrays):
    """A helper bone between RightHandIndex1 and 2 takes half of joint 1's weights: nothing may change."""
    arrays, names = dict(aj_arrays), list(aj_arrays["bone_names"])
    first, second = names.index("mixamorig:RightHandIndex1"), names.index("mixamorig:RightHandIndex2")
    arrays["weight"] = np.concatenate([arrays["weight"], arrays["weight"][:, [first]] / 2], axis=1)
    arrays["weight"][:, first] /= 2
    for prefix, label in (("bone", "bone_names"), ("vgrp", "vgrp_label")):
        arrays[label] = np.array([*names, "helper"])
        arrays[f"{prefix}_cors"] = np.concatenate([arrays[f"{prefix}_cors"], np.zeros((1, 3), np.float32)])
        parents = np.append(arrays[f"{prefix}_parents"], first)
        parents[second] = len(names)
        arrays[f"{prefix}_parents"] = parents
    changed = read_annotated(write_mesh(tmp_path, arrays), INPUTS / "Aj_finger_axis.npz")
    original = read_annotated(*character_files(INPUTS, "Aj"))
    ours, theirs = (each.hand("right").surface.weights for each in (changed, original))
    np.testing.assert_allclose(ours, theirs, atol=1e-7)


def test_bone_without_weights_may_be_missing_from_the_weight_table(tmp_path, aj_arrays):
    arrays = dict(aj_arrays)
    listed = np.array([not label.endswith("4") for label in arrays["vgrp_label"]])
    arrays["weight"] = arrays["weight"][:, listed]
    for key in ("vgrp_label", "vgrp_cors", "vgrp_parents"):
        arrays[key] = arrays[key][listed]
    character = read_annotated(write_mesh(tmp_path, arrays), INPUTS / "Aj_finger_axis.npz")
    whole = read_annotated(*character_files(INPUTS, "Aj"))
    np.testing.assert_array_equal(character.hand("right").rest.offsets, whole.hand("right").rest.offsets)
    assert not character.hand("right").surface.weights[:, [4, 8, 12, 16, 20]].any()


def test_one_handed_character(tmp_path, aj_arrays):
    keep = np.array(["RightHand" not in name for name in aj_arrays["bone_names"]])
    order = np.concatenate([np.flatnonzero(keep), np.flatnonzero(~keep)])
    arrays, count = reorder(aj_arrays, order), keep.sum()
    for key in ("vgrp_label", "vgrp_cors", "vgrp_parents", "bone_names", "bone_cors", "bone_parents"):
        arrays[key] = arrays[key][:count]
    arrays["weight"] = arrays["weight"][:, :count]
    path = write_mesh(tmp_path, arrays)
    character = read_annotated(path, INPUTS / "Aj_finger_axis.npz")
    assert character.sides == ("left",)
    with pytest.raises(InputError, match="expected a right hand, found only the left"):
        character.hand("right")
    with np.load(INPUTS / "Aj_finger_axis.npz") as data:
        np.savez(tmp_path / "Aj_finger_axis.npz", rhand=data["rhand"])
    with pytest.raises(InputError, match="expected axes of the left hand.*found axes of the right hand"):
        read_annotated(*character_files(tmp_path, "Aj"))
    assert read_mesh_character(path).hand("left").given_axes is None


def test_axes_of_a_pickle_are_repeated_over_the_joints(tmp_path):
    with np.load(INPUTS / "mano_finger_axis.npz") as data:
        content = {key: data[key] for key in ("rhand", "lhand")}
    (tmp_path / "axis.pkl").write_bytes(pickle.dumps(content))
    axes = read_finger_axes(tmp_path / "axis.pkl")
    assert list(axes) == ["right", "left"]
    for side, key in (("right", "rhand"), ("left", "lhand")):
        np.testing.assert_array_equal(axes[side], np.repeat(content[key][:, None], 4, axis=1))


GOOD_AXES = np.broadcast_to(np.eye(3), (5, 4, 3, 3))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (GOOD_AXES * 1.01, "length 1 at right angles, found finger 0 joint 0 off by 0.02"),
        (GOOD_AXES * [1, 1, -1], "bend = splay × twist"),
        (GOOD_AXES * np.nan, "finite numbers"),
        (np.full((5, 4, 3, 3), 1e200) * [[1, -1, 1], [1, 1, 1], [1, 1, -1]], "length 1 at right angles"),
        (GOOD_AXES[:4], r"shape \(5, 4, 3, 3\) or \(5, 3, 3\), found float64 of shape \(4, 4, 3, 3\)"),
        (np.array("text"), "found <U4"),
    ],
)
def test_bad_axes_are_explained(tmp_path, value, reason):
    np.savez(tmp_path / "a.npz", rhand=value)
    with pytest.raises(InputError, match=f"a.npz: rhand: expected .*{reason}"):
        read_finger_axes(tmp_path / "a.npz")


def test_axes_file_without_hands(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"hand": 1}))
    with pytest.raises(InputError, match="expected axes under the keys rhand and lhand, found keys hand"):
        read_finger_axes(tmp_path / "a.pkl")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"verts": None}, "lacks verts"),
        ({"bone_cors": None}, "lacks bone_cors"),
        (
            {"weight": np.zeros((3, 67))},
            r"expected weight to be numbers of shape \(1266, 67\), found float64",
        ),
        ({"faces": np.array([[0, 1, 5000]])}, "faces name vertices outside 0…1265"),
        ({"faces": np.array([[0.0, 1, 2]])}, "expected faces to be whole numbers"),
        ({"bone_parents": np.full(67, 99)}, "parents name bones outside"),
        ({"bone_parents": np.arange(1, 68) % 67}, "run in a circle"),
        ({"bone_cors": np.full((67, 3), np.nan)}, "finite numbers in bone_cors"),
    ],
)
def test_bad_meshes_are_explained(tmp_path, aj_arrays, change, reason):
    arrays = {key: value for key, value in {**aj_arrays, **change}.items() if value is not None}
    with pytest.raises(InputError, match=f"Aj_mesh_data.npz: .*{reason}"):
        read_annotated(write_mesh(tmp_path, arrays), INPUTS / "Aj_finger_axis.npz")


def test_mesh_without_a_whole_hand_names_the_joints(tmp_path, aj_arrays):
    arrays = dict(aj_arrays)
    for key in ("bone_names", "vgrp_label"):
        arrays[key] = np.array([re.sub("Hand(Ring|Index|Pinky)", "Hand_x", name) for name in arrays[key]])
    with pytest.raises(InputError, match="Aj_mesh_data.npz: .*fewer than 2 fingers beside the thumb;"):
        read_annotated(write_mesh(tmp_path, arrays), INPUTS / "Aj_finger_axis.npz")


def test_missing_files_are_named(tmp_path):
    with pytest.raises(InputError, match="Nobody_mesh_data.npz: expected this file of the character Nobody"):
        read_annotated(*character_files(tmp_path, "Nobody"))


@pytest.mark.skipif("S2H_REAL_DATA" not in os.environ, reason="S2H_REAL_DATA (a folder of real files) is not set")
@pytest.mark.parametrize("name", ["XBot", "YBot"])
def test_real_characters(name):
    character: Character = read_annotated(
        *character_files(Path(os.environ["S2H_REAL_DATA"]) / "MixHand" / "finger_data", name)
    )
    assert character.sides == ("right", "left")
    for side, sign in (("right", -1), ("left", 1)):
        lengths = np.linalg.norm(character.hands[side].rest.offsets[1:], axis=-1)
        assert lengths.min() > 1 and lengths.max() < 20
        assert sign * character.hands[side].rest.offsets[1, 0] > 5  # the hand points sideways
        mesh = character.hand(side).surface
        np.testing.assert_allclose(mesh.weights.sum(axis=1), 1, atol=1e-6)
        assert not mesh.weights[:, [4, 8, 12, 16, 20]].any()


def test_names_that_are_no_text(tmp_path, aj_arrays):
    names = aj_arrays["bone_names"].copy()
    names.view(np.uint32)[3] = 0x7FFFFFFF
    with pytest.raises(InputError, match="it holds text that is damaged"):
        read_mesh_character(write_mesh(tmp_path, {**aj_arrays, "bone_names": names}))


def test_mesh_files_are_told_from_others_by_their_arrays(tmp_path):
    np.savez(tmp_path / "poses.npz", pose=np.zeros((3, 48)), verts=np.zeros(3))
    assert is_mesh(INPUTS / "Aj_mesh_data.npz") and not is_mesh(tmp_path / "poses.npz")
