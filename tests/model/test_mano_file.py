"""Reading MANO files: what is accepted, repaired and refused."""

import os
import pickle

import numpy as np
import pytest
import torch

from model.mano import ManoHand
from model.mano_file import ManoAxes, find_model_file, load_mano, read_mano_arrays
from model.topology import MANO_TIP_VERTICES, SIDES
from tests.helpers import assert_close, mano_arrays
from utils.errors import InputError


@pytest.fixture(scope="module")
def arrays(golden):
    """side → content of a model file; do not change it."""
    return {side: mano_arrays(golden / "inputs" / f"mano_{side}.npz") for side in ("right", "left")}


@pytest.fixture
def write(tmp_path):
    """``write(content, name)``: pickle it into the folder ``mano``; returns the file."""
    (tmp_path / "mano").mkdir()

    def put(content, name="MANO_RIGHT.pkl"):
        path = tmp_path / "mano" / name
        path.write_bytes(pickle.dumps(content, protocol=2))
        return path

    return put


class Harmful:
    """A pickle that would run a command when it is read."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch {self.trace}",)


class TestFindingTheFile:
    def test_file_folder_or_parent(self, arrays, write):
        file = write(arrays["right"])
        for given in (file, file.parent, file.parent.parent):
            assert find_model_file(given, "right") == file
        assert find_model_file(str(file), "right") == file

    def test_missing_file_says_what_was_looked_for(self, tmp_path):
        with pytest.raises(InputError, match="MANO_LEFT.pkl or MANO_LEFT.npz") as error:
            find_model_file(tmp_path, "left")
        assert str(tmp_path) in str(error.value)


class TestReading:
    def test_npz_and_pickle_are_the_same_model(self, arrays, golden, write):
        pickled = read_mano_arrays(write(arrays["right"]))
        plain = read_mano_arrays(golden / "inputs" / "mano_right.npz")
        assert pickled.keys() == plain.keys()
        for key, values in plain.items():
            assert np.array_equal(values, pickled[key]), key

    def test_tip_vertices(self, arrays, write):
        assert read_mano_arrays(write(arrays["right"]))["tip_vertices"].tolist() == list(MANO_TIP_VERTICES)
        own = read_mano_arrays(write({**arrays["right"], "tip_vertices": np.arange(5)}))
        assert own["tip_vertices"].tolist() == [0, 1, 2, 3, 4]

    def test_root_parent_may_be_the_largest_number(self, arrays, write):
        tree = np.array(arrays["right"]["kintree_table"])
        tree[0, 0] = 2**32 - 1
        assert read_mano_arrays(write({**arrays["right"], "kintree_table": tree}))["kintree_table"][0, 0] == -1

    def test_only_ten_shape_directions_are_used(self, arrays, write):
        more = np.concatenate([arrays["right"]["shapedirs"], np.ones((778, 3, 35))], axis=-1)
        read = read_mano_arrays(write({**arrays["right"], "shapedirs": more}))["shapedirs"]
        assert np.array_equal(read, arrays["right"]["shapedirs"])

    def test_a_command_in_the_file_is_refused_by_name_and_not_run(self, arrays, write, tmp_path):
        trace = tmp_path / "trace"
        file = write({**arrays["right"], "weights": Harmful(trace)})
        with pytest.raises(InputError, match="system"):
            read_mano_arrays(file)
        assert not trace.exists()

    @pytest.mark.parametrize(
        ("key", "shape"),
        [
            ("v_template", (778, 2)),
            ("shapedirs", (777, 3, 10)),
            ("shapedirs", (778, 3, 9)),
            ("posedirs", (778, 3, 134)),
            ("J_regressor", (15, 778)),
            ("weights", (778, 15)),
            ("kintree_table", (2, 15)),
            ("tip_vertices", (4,)),
            ("hands_mean", (44,)),
        ],
    )
    def test_wrong_shapes_are_named(self, arrays, write, key, shape):
        with pytest.raises(InputError, match=key):
            read_mano_arrays(write({**arrays["right"], key: np.zeros(shape)}))

    @pytest.mark.parametrize("key", ["v_template", "weights", "J_regressor", "posedirs"])
    def test_missing_arrays_are_named(self, arrays, write, key):
        with pytest.raises(InputError, match=key):
            read_mano_arrays(write({name: value for name, value in arrays["right"].items() if name != key}))

    @pytest.mark.parametrize("key", ["v_template", "shapedirs", "weights"])
    def test_nan_is_named(self, arrays, write, key):
        damaged = np.array(arrays["right"][key])
        damaged.flat[7] = np.nan
        with pytest.raises(InputError, match=f"{key}.*NaN"):
            read_mano_arrays(write({**arrays["right"], key: damaged}))

    @pytest.mark.parametrize("key", ["f", "tip_vertices"])
    def test_vertices_that_do_not_exist(self, arrays, write, key):
        damaged = np.array(arrays["right"].get(key, MANO_TIP_VERTICES))
        damaged.flat[1] = 778
        with pytest.raises(InputError, match=f"{key}.*777"):
            read_mano_arrays(write({**arrays["right"], key: damaged}))

    def test_bones_out_of_order(self, arrays, write):
        tree = np.array(arrays["right"]["kintree_table"])
        tree[0, 3] = 9
        with pytest.raises(InputError, match="kintree_table"):
            read_mano_arrays(write({**arrays["right"], "kintree_table": tree}))

    def test_something_else(self, write):
        with pytest.raises(InputError, match="list"):
            read_mano_arrays(write([1, 2]))

    def test_truncated_file(self, arrays, write):
        file = write(arrays["right"])
        file.write_bytes(file.read_bytes()[:5000])
        with pytest.raises(InputError, match="MANO_RIGHT.pkl"):
            read_mano_arrays(file)


class TestLeftModel:
    def test_shape_directions_that_were_not_mirrored_are_repaired(self, arrays, mano_models):
        """In the distributed left model they are those of the right model; their x-part has to be negated."""
        stored = arrays["left"]["shapedirs"]
        assert np.abs(stored[:, 0] - arrays["right"]["shapedirs"][:, 0]).sum() < 1  # the defect
        model, _ = load_mano(mano_models, "left")
        assert_close(model.shapedirs, stored * np.array([-1, 1, 1])[:, None], 1e-7)

    def test_mirrored_ones_are_left_alone(self, arrays, write, tmp_path):
        mirrored = arrays["left"]["shapedirs"] * np.array([-1, 1, 1])[:, None]
        write(arrays["right"])
        write({**arrays["left"], "shapedirs": mirrored}, "MANO_LEFT.pkl")
        model, _ = load_mano(tmp_path, "left")
        assert_close(model.shapedirs, mirrored, 1e-7)

    def test_the_right_model_is_never_touched(self, arrays, mano_models):
        model, _ = load_mano(mano_models, "right")
        assert_close(model.shapedirs, arrays["right"]["shapedirs"], 1e-7)


class TestManoAxes:
    @pytest.fixture
    def content(self, mano_axes):
        return dict(np.load(mano_axes))

    def test_mapping_and_file_are_the_same(self, mano_axes, content):
        for side in SIDES:
            ours, theirs = ManoAxes.read(content, side), ManoAxes.read(mano_axes, side)
            assert torch.equal(ours.rows, theirs.rows)
            assert torch.equal(ours.bend_barycentric, theirs.bend_barycentric)
            assert torch.equal(ours.bend_triangles, theirs.bend_triangles)

    def test_missing_side(self, content):
        del content["lhand"]
        with pytest.raises(InputError, match="lhand"):
            ManoAxes.read(content, "left")

    @pytest.mark.parametrize("shape", [(5, 4, 3, 3), (4, 3, 3)])
    def test_wrong_shape(self, content, shape):
        with pytest.raises(InputError, match="rhand.*5×3×3"):
            ManoAxes.read({**content, "rhand": np.zeros(shape)}, "right")

    def test_nan(self, content):
        content["rhand"] = np.full((5, 3, 3), np.nan)
        with pytest.raises(InputError, match="rhand"):
            ManoAxes.read(content, "right")

    def test_wrong_barycentrics(self, content):
        with pytest.raises(InputError, match="bend_bary"):
            ManoAxes.read({**content, "rhand_bend_bary": np.zeros((5, 2))}, "right")

    def test_faces_that_do_not_exist(self, content, mano_models):
        content["rhand_bend_index_tri"] = np.full((5, 2), 1538)
        with pytest.raises(InputError, match="1538"):
            ManoHand.load(mano_models, content, "right")
