"""Foreign pickles, arrays and checkpoints are read as data; whatever else they ask for is refused by name."""

import argparse
import io
import os
import pathlib
import pickle
import struct
import sys
import tracemalloc
import types
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonargparse import Namespace
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.utilities.parsing import AttributeDict

from utils.errors import InputError
from utils.safe_read import load_checkpoint, read_npy, read_npz, read_pickle


class Malicious:
    """Creates a file when unpickled by the ordinary means."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


def write_pickle(path, value, protocol=2):
    path.write_bytes(pickle.dumps(value, protocol))
    return path


@contextmanager
def fake_modules(**classes: dict) -> Iterator[dict]:
    """Modules that exist only while a test writes its pickle, e.g. chumpy's."""
    made = {}
    for path, names in classes.items():
        module = types.ModuleType(path.replace("__", "."))
        for name in names:
            made[name] = type(name, (), {"__module__": module.__name__, "__qualname__": name})
            setattr(module, name, made[name])
        sys.modules[module.__name__] = module
        parent, _, child = module.__name__.rpartition(".")
        if parent:
            sys.modules.setdefault(parent, types.ModuleType(parent))
            setattr(sys.modules[parent], child, module)
    try:
        yield made
    finally:
        for path in classes:
            name = path.replace("__", ".")
            sys.modules.pop(name, None)
            sys.modules.pop(name.partition(".")[0], None)


def instance(kind, **state):
    result = kind()
    result.__dict__.update(state)
    return result


def python2(pickled: bytes) -> bytes:
    """Old module paths, as Python 2 and the SciPy and NumPy of its time wrote them."""
    renamed = {b"scipy.sparse._csc": b"scipy.sparse.csc", b"numpy._core.multiarray": b"numpy.core.multiarray"}
    for new, old in renamed.items():
        pickled = pickled.replace(b"c" + new + b"\n", b"c" + old + b"\n")
    return pickled


# ----------------------------------------------------------------------------------------------------
# Pickles
# ----------------------------------------------------------------------------------------------------

PLAIN = {
    "matrix": np.arange(6.0).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4)),
    "big_endian": np.arange(3, dtype=">i4"),
    "strings": np.array(["wrist", "ring"]),
    "bytes": np.array([b"ab", b"c"]),
    "empty": np.zeros((0, 3)),
    "bool": np.array([True, False]),
}


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_of_every_protocol(tmp_path, protocol):
    back = read_pickle(write_pickle(tmp_path / "a.pkl", PLAIN, protocol))
    assert list(back) == list(PLAIN)
    for name, value in PLAIN.items():
        np.testing.assert_array_equal(back[name], value)
        assert back[name].dtype == value.dtype.newbyteorder("=")
        assert back[name].flags.writeable


@pytest.mark.parametrize("protocol", range(6))
def test_containers_of_every_protocol(tmp_path, protocol):
    value = {
        "list": [1, 2.5, None, True, 1 << 80],
        "tuple": (1, ("a", b"b\xff", b"")),
        "set": {1, 2},
        "ordered": OrderedDict(b=1, a=2),
        "scalar": np.float32(1.5),
        "complex": 1 + 2j,
        (1, "key"): bytearray(b"xy"),
    }
    value["itself"] = value["list"]
    back = read_pickle(write_pickle(tmp_path / "a.pkl", value, protocol))
    assert back == value
    assert back["itself"] is back["list"]


def test_cycles_end(tmp_path):
    value = [1]
    value.append(value)
    back = read_pickle(write_pickle(tmp_path / "a.pkl", value))
    assert back[1] is back


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_object_arrays(tmp_path, protocol):
    value = np.empty((2, 1), dtype=object)
    value[0, 0], value[1, 0] = np.arange(3.0), [np.ones((2, 2), np.float32)]
    back = read_pickle(write_pickle(tmp_path / "a.pkl", value, protocol))
    assert back.shape == (2, 1) and back.dtype == object
    np.testing.assert_array_equal(back[0, 0], [0, 1, 2])
    np.testing.assert_array_equal(back[1, 0][0], np.ones((2, 2)))


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("kind", [scipy.sparse.csc_matrix, scipy.sparse.csr_matrix, scipy.sparse.csc_array])
def test_sparse_matrices(tmp_path, protocol, kind):
    dense = np.array([[0, 1.5, 0], [2, 0, 0]])
    path = tmp_path / "a.pkl"
    path.write_bytes(python2(pickle.dumps({"m": kind(dense)}, protocol)))
    np.testing.assert_array_equal(read_pickle(path)["m"].toarray(), dense)


def mano_like(chumpy, rng) -> tuple[dict, dict]:
    """A dictionary laid out like the distributed MANO files, and the arrays that it means."""
    directions = rng.normal(size=(7, 3, 20)).astype(np.float32)
    indices = np.arange(directions.size).reshape(directions.shape)[:, :, :10].ravel()
    source = instance(chumpy["Ch"], x=directions, _dirty_vars={"x"}, _itr=None)
    content = {
        "shapedirs": instance(chumpy["Select"], a=source, idxs=indices, preferred_shape=(7, 3, 10)),
        "v_template": instance(chumpy["Ch"], x=rng.normal(size=(7, 3))),
        "J_regressor": scipy.sparse.csc_matrix(np.eye(4, 7)),
        "kintree_table": np.array([[2**32 - 1, 0, 1, 2]]),
        "bs_style": "lbs",
    }
    return content, {"shapedirs": directions[..., :10], "v_template": content["v_template"].x}


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_mano_layout_with_chumpy(tmp_path, protocol):
    path = tmp_path / "MANO_RIGHT.pkl"
    with fake_modules(chumpy__ch=["Ch"], chumpy__reordering=["Select"]) as chumpy:
        content, meant = mano_like(chumpy, np.random.default_rng(0))
        path.write_bytes(python2(pickle.dumps(content, protocol)))
    assert "chumpy" not in sys.modules
    back = read_pickle(path)
    for name, value in meant.items():
        assert back[name].dtype == np.float64
        np.testing.assert_array_equal(back[name], value)
    np.testing.assert_array_equal(back["J_regressor"].toarray(), np.eye(4, 7))
    assert back["bs_style"] == "lbs"


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"x": np.arange(4.0)}, "lacks 'a'"),
        ({"a": np.arange(4.0)}, "lacks 'idxs'"),
        ({"a": np.arange(4.0), "idxs": np.array([0, 4])}, "out of bounds"),
        ({"a": np.arange(4.0), "idxs": np.array([0.5])}, "not whole numbers"),
        ({"a": np.arange(4.0), "idxs": np.array([0, 1]), "preferred_shape": (3,)}, "does not fill its shape"),
        ({"a": np.array(["x"]), "idxs": np.array([0])}, "not an array of numbers"),
    ],
)
def test_odd_chumpy_selections_are_refused(tmp_path, state, reason):
    with fake_modules(chumpy__reordering=["Select"]) as chumpy:
        path = write_pickle(tmp_path / "a.pkl", [instance(chumpy["Select"], **state)])
    with pytest.raises(InputError, match=reason):
        read_pickle(path)


def test_other_chumpy_classes_are_refused_by_name(tmp_path):
    with fake_modules(chumpy__ch_ops=["add"]) as chumpy:
        path = write_pickle(tmp_path / "a.pkl", {"v": instance(chumpy["add"], a=1, b=2)})
    with pytest.raises(InputError, match=r"a\.pkl: .*chumpy\.ch_ops\.add"):
        read_pickle(path)


@pytest.mark.parametrize("protocol", range(6))
def test_malicious_pickle_does_not_run_and_is_named(tmp_path, protocol):
    path = write_pickle(tmp_path / "a.pkl", {"v_template": [Malicious(tmp_path / "made")]}, protocol)
    with pytest.raises(InputError, match=r"asks for posix\.mkdir"):
        read_pickle(path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("pickled", "reason"),
    [
        (b"cbuiltins\neval\n(S'1'\ntR.", r"builtins\.eval"),
        (b"\x80\x04\x8c\x08builtins\x8c\x07getattr\x93.", r"builtins\.getattr"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0aload.dtype\x93.", r"numpy\.load\.dtype"),
        (b"c__builtin__\nbytearray\n(I1000000000000\ntR.", "bytearray in an unexpected way"),
        (b"c__builtin__\nbytes\n(I1000000000000\ntR.", "takes 0 positional"),
        (b"cnumpy\nndarray\n.", "numpy.ndarray itself"),
        (
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I9999999999\ntS'b'\ntR.",
            "NumPy does not",
        ),
        (b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR.", "without data"),
        (b"cnumpy\ndtype\n(S'V8'\ntR.", "unsupported type 'V8'"),
        (b"cnumpy.core.multiarray\n_reconstruct\n}S'function'\nI1\nsb.", "."),
        (b"cnumpy\ndtype\nN}S'__init__'\nI1\ns\x86b.", "."),
        (b"\x80\x02]r\xff\xff\xff\xff.", "memo numbers"),  # would reserve 64 GiB
        (b"]p99999999999\n.", "memo numbers"),
        (b"\x80\x04B\xff\xff\xff\x7fabc.", "damaged"),
        (b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7fabc.", "damaged"),
        (b"\x80\x02Qabc.", "damaged"),
        (b"not a pickle", "damaged"),
        (b"\x80\xff.", "damaged"),
        (b"PK\x03\x04broken", "damaged"),
    ],
)
def test_hand_made_hostile_pickles(tmp_path, pickled, reason):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickled)
    with pytest.raises(InputError, match=f"a.pkl: .*{reason}"):
        read_pickle(path)


def test_the_program_cannot_be_changed(tmp_path):
    """BUILD on a stand-in class or function must not alter it for the next file."""
    hostile = b"cnumpy\ndtype\n(N}S'__setstate__'\nc__builtin__\nset\nstb."
    (tmp_path / "a.pkl").write_bytes(hostile)
    with pytest.raises(InputError):
        read_pickle(tmp_path / "a.pkl")
    np.testing.assert_array_equal(read_pickle(write_pickle(tmp_path / "b.pkl", np.arange(3))), [0, 1, 2])


def test_sparse_matrix_with_foreign_indices_is_refused(tmp_path):
    matrix = scipy.sparse.csc_matrix(np.eye(3))
    matrix.indices[1] = 1 << 30
    with pytest.raises(InputError, match="indices must be < 3|index values must be < 3"):
        read_pickle(write_pickle(tmp_path / "a.pkl", matrix))


def test_deep_nesting_is_refused(tmp_path):
    (tmp_path / "a.pkl").write_bytes(b"(l" * 100_000 + b"a" * 99_999 + b".")
    with pytest.raises(InputError):
        read_pickle(tmp_path / "a.pkl")


def test_names_in_messages_cannot_break_the_line(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x04\x8c\x05a\n\x1b[1\x8c\x01b\x93.")
    with pytest.raises(InputError, match=r"asks for a\\n\\x1b\[1\.b") as error:
        read_pickle(path)
    assert str(error.value).isprintable()


def test_truncated_anywhere_is_an_input_error(tmp_path):
    whole = pickle.dumps(PLAIN, 2)
    path = tmp_path / "a.pkl"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="a.pkl"):
            read_pickle(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_damage_never_escapes(tmp_path, data):
    """A damaged file is either refused or still plain data; no other exception, no crash."""
    whole = bytearray(pickle.dumps({"m": scipy.sparse.csc_matrix(np.eye(3)), "a": np.arange(4.0)}, 2))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "a.pkl"
    path.write_bytes(bytes(whole))
    try:
        read_pickle(path)
    except InputError as error:
        assert "a.pkl" in str(error)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(InputError, match="found nothing"):
        read_pickle(tmp_path / "none.pkl")
    with pytest.raises(InputError, match="found a folder"):
        read_npz(tmp_path)


# ----------------------------------------------------------------------------------------------------
# .npy and .npz
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("mapped", [False, True])
def test_npy_round_trip(tmp_path, name, mapped):
    np.save(tmp_path / "a.npy", PLAIN[name])
    back = read_npy(tmp_path / "a.npy", mmap=mapped)
    np.testing.assert_array_equal(back, PLAIN[name])
    assert back.dtype == PLAIN[name].dtype
    assert isinstance(back, np.memmap) == (mapped and PLAIN[name].size > 0)


@pytest.mark.parametrize("mapped", [False, True])
def test_npy_of_objects(tmp_path, mapped):
    clips = np.empty(2, dtype=object)
    clips[:] = [np.ones((2, 5), np.float32), np.zeros((3, 5), np.float32)]
    np.save(tmp_path / "Aj.npy", clips, allow_pickle=True)
    back = read_npy(tmp_path / "Aj.npy", mmap=mapped)
    assert [clip.shape for clip in back] == [(2, 5), (3, 5)]
    assert back[0].dtype == np.float32


def test_malicious_npy_does_not_run(tmp_path):
    np.save(tmp_path / "a.npy", np.array([Malicious(tmp_path / "made")]), allow_pickle=True)
    for read in (read_npy, lambda path: read_npy(path, mmap=True)):
        with pytest.raises(InputError, match=r"posix\.mkdir"):
            read(tmp_path / "a.npy")
    assert not (tmp_path / "made").exists()


def hostile_npy(shape) -> bytes:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(118 - 11) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


@pytest.mark.parametrize("shape", ["(1 << 40,)", "(1099511627776,)", "(-1,)", "(2, 3)", "'x'"])
def test_header_that_promises_too_much(tmp_path, shape):
    (tmp_path / "a.npy").write_bytes(hostile_npy(shape) + b"12345678")
    for mapped in (False, True):
        with pytest.raises(InputError, match="a.npy"):
            read_npy(tmp_path / "a.npy", mmap=mapped)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", hostile_npy(shape) + b"12345678")
    with pytest.raises(InputError, match="a.npz"):
        read_npz(tmp_path / "a.npz")


def test_npz_round_trip_also_through_read_pickle(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", **PLAIN, objects=np.array([None, "x"], dtype=object))
    for read in (read_npz, read_pickle):
        back = read(tmp_path / "a.npz")
        assert list(back) == [*PLAIN, "objects"]
        for name, value in PLAIN.items():
            np.testing.assert_array_equal(back[name], value)
        assert back["objects"].tolist() == [None, "x"]


def test_npz_with_something_else_inside(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(InputError, match="'notes.txt', which is not an array"):
        read_npz(tmp_path / "a.npz")


def test_truncated_npz(tmp_path):
    np.savez(tmp_path / "a.npz", **PLAIN)
    whole = (tmp_path / "a.npz").read_bytes()
    for length in range(0, len(whole), 101):
        (tmp_path / "a.npz").write_bytes(whole[:length])
        with pytest.raises(InputError, match="a.npz"):
            read_npz(tmp_path / "a.npz")


# ----------------------------------------------------------------------------------------------------
# Checkpoints
# ----------------------------------------------------------------------------------------------------


def save_checkpoint(path, **extra):
    weights = OrderedDict({"net.weight": torch.arange(6.0).reshape(2, 3)})
    torch.save({"state_dict": weights, "epoch": 3, "pytorch-lightning_version": "1.7.7", **extra}, path)
    return path


def test_checkpoint_with_what_lightning_stores(tmp_path):
    settings_ = Namespace(class_path="torch.optim.Adam", init_args=Namespace(lr=1e-4, betas=(0.9, 0.999)))
    path = save_checkpoint(
        tmp_path / "a.ckpt",
        hyper_parameters={"optim_init": settings_, "path": pathlib.Path("a/b"), "mask": [0, 1]},
        callbacks={"ModelCheckpoint{'monitor': 'x'}": {"best_model_score": torch.tensor(-1.8)}},
        optimizer_states=[{"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": np.float64(1e-4)}]}],
        arguments=argparse.Namespace(gpus=1),
        device=torch.device("cpu"),
    )
    back = load_checkpoint(path)
    torch.testing.assert_close(back["state_dict"]["net.weight"], torch.arange(6.0).reshape(2, 3))
    assert back["hyper_parameters"] == {
        "optim_init": {"class_path": "torch.optim.Adam", "init_args": {"lr": 1e-4, "betas": (0.9, 0.999)}},
        "path": "a/b",
        "mask": [0, 1],
    }
    assert type(back["optimizer_states"][0]["param_groups"][0]["lr"]) is float
    assert back["arguments"] == {"gpus": 1}
    assert back["device"] == torch.device("cpu")


def test_settings_class_of_old_jsonargparse(tmp_path, monkeypatch):
    kind = type("Namespace", (), {"__module__": "jsonargparse.namespace", "__qualname__": "Namespace"})
    monkeypatch.setitem(sys.modules, "jsonargparse.namespace", types.SimpleNamespace(Namespace=kind))
    path = save_checkpoint(tmp_path / "a.ckpt", hyper_parameters=instance(kind, lr=0.5))
    assert load_checkpoint(path)["hyper_parameters"] == {"lr": 0.5}


def test_attribute_dictionary_of_lightning(tmp_path):
    path = save_checkpoint(tmp_path / "a.ckpt", hyper_parameters=AttributeDict(lr=0.5, inner=AttributeDict(a=[1])))
    back = load_checkpoint(path)["hyper_parameters"]
    assert back == {"lr": 0.5, "inner": {"a": [1]}}
    assert type(back) is dict and type(back["inner"]) is dict


def test_callback_classes_as_keys_stay_apart(tmp_path):
    path = save_checkpoint(tmp_path / "a.ckpt", callbacks={ModelCheckpoint: {"best": 1}, EarlyStopping: {"wait": 2}})
    back = load_checkpoint(path)["callbacks"]
    assert {key.__name__: value for key, value in back.items()} == {
        "ModelCheckpoint": {"best": 1},
        "EarlyStopping": {"wait": 2},
    }


def test_malicious_checkpoint_does_not_run_and_is_named(tmp_path):
    path = save_checkpoint(tmp_path / "a.ckpt", hyper_parameters=Malicious(tmp_path / "made"))
    with pytest.raises(InputError, match=r"a\.ckpt: .*asks for posix\.mkdir"):
        load_checkpoint(path)
    assert not (tmp_path / "made").exists()


def test_whole_module_in_a_checkpoint_is_refused_by_name(tmp_path):
    path = save_checkpoint(tmp_path / "a.ckpt", model=torch.nn.Linear(2, 2))
    with pytest.raises(InputError, match=r"torch\.nn\.modules\.linear\.Linear"):
        load_checkpoint(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_bytes_that_have_changed_are_found(tmp_path):
    """A disk's block of zeros amid the numbers: PyTorch itself reads it without a word."""
    whole = save_checkpoint(tmp_path / "whole.ckpt", state_dict={"w": torch.ones(4096)}).read_bytes()
    place = whole.index(torch.ones(64).numpy().tobytes())
    path = tmp_path / "zeroed.ckpt"
    path.write_bytes(whole[: place + 1024] + bytes(512) + whole[place + 1536 :])
    assert (torch.load(path, weights_only=True)["state_dict"]["w"] == 0).sum() == 128
    with pytest.raises(InputError, match="zeroed.ckpt: expected a checkpoint as it was written"):
        load_checkpoint(path)


def test_packed_checkpoints_are_not_unpacked(tmp_path):
    whole = save_checkpoint(tmp_path / "whole.ckpt", state_dict={"w": torch.zeros(4096)})
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(tmp_path / "p.ckpt", "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))
    with pytest.raises(InputError, match="packed"):
        load_checkpoint(tmp_path / "p.ckpt")


def test_damaged_and_foreign_checkpoints(tmp_path):
    whole = save_checkpoint(tmp_path / "whole.ckpt").read_bytes()
    stream = io.BytesIO()
    torch.save([1, 2], stream)
    path = tmp_path / "a.ckpt"
    for content in (whole[:300], whole[:-20], b"hello", pickle.dumps({"a": 1}), stream.getvalue(), b""):
        path.write_bytes(content)
        with pytest.raises(InputError, match="a.ckpt"):
            load_checkpoint(path)


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize("packing", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("told", [None, 1000])
def test_small_archives_that_would_unpack_to_a_lot(tmp_path, packing, told):
    """However they are packed, and whatever size their table of contents tells."""
    path = tmp_path / "x.npz"
    content = npy(np.zeros(1000, np.float32))
    with zipfile.ZipFile(path, "w", packing) as archive, archive.open("a.npy", "w", force_zip64=True) as member:
        member.write(content)
        for _ in range(600 if told is None and packing == zipfile.ZIP_DEFLATED else 100):
            member.write(bytes(1 << 20))
    if told:
        whole = bytearray(path.read_bytes())
        at = whole.rindex(b"PK\x01\x02") + 24  # size unpacked, in the central directory
        whole[at : at + 4] = struct.pack("<I", len(content))
        path.write_bytes(whole)
    assert path.stat().st_size < 2 << 20
    tracemalloc.start()
    with pytest.raises(InputError, match=r"x\.npz"):
        read_npz(path)
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("shape", ["(10**9,)", "(100000, 100000, 100000)", "(-1,)", "(2,)"])
def test_archives_whose_headers_lie(tmp_path, shape):
    good = npy(np.zeros(7))
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".replace("10**9", "1000000000")
    head = (header + " " * (len(good) - 56 - 10 - len(header) - 1) + "\n").encode()
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", good[:10] + head + good[-56:])
    tracemalloc.start()
    with pytest.raises(InputError, match=r"x\.npz"):
        read_npz(tmp_path / "x.npz")
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("array", [np.arange(5), np.zeros((0, 3)), np.float32(2), np.array([[1], "a"], object),
                                   np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.zeros((700, 700))])  # fmt: skip
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archives_come_back(tmp_path, array, save):
    save(tmp_path / "x.npz", a=array, b=np.ones(2))
    back = read_npz(tmp_path / "x.npz")
    assert list(back) == ["a", "b"] and back["a"].dtype == np.asarray(array).dtype
    assert np.array_equal(back["a"], array)


def test_honest_archives_are_limited_too(tmp_path, monkeypatch):
    """A few kilobytes that hold what they say: zeros without end."""
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros(1 << 20))
    assert (tmp_path / "x.npz").stat().st_size < 20_000
    assert read_npz(tmp_path / "x.npz")["a"].shape == (1 << 20,)
    monkeypatch.setattr("utils.safe_read._LARGEST_ARCHIVE", 1 << 22)
    with pytest.raises(InputError, match="would unpack to 8 MiB"):
        read_npz(tmp_path / "x.npz")
