"""Small valid files of every kind that the project reads, made from nothing, and a mutator that damages them."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import scipy.sparse
import torch

from data.features.file import writing_features
from data.formats.bvh import Bvh, write_bvh
from data.preparation.interhand_conversion import STATE, Conversion
from model.feedback.module import Feedback
from model.topology import PARENTS, hand_joint_names
from run.training.open_weights import write_weights
from tests.data.formats.test_fbx_check import fbx
from tests.helpers import plausible_offsets
from tests.hostile.kinds import write_kinds

VERTICES = 30


def turns(frames, joints, rng):
    """Rotations of small angle, (frames, joints, 3, 3)."""
    angles = rng.normal(size=(frames, joints)) * 0.4
    cos, sin, zero, one = np.cos(angles), np.sin(angles), np.zeros_like(angles), np.ones_like(angles)
    return np.stack([cos, zero, sin, zero, one, zero, -sin, zero, cos], -1).reshape(frames, joints, 3, 3)


def motion(domain: str, frames: int, rng) -> Bvh:
    """A hand's motion with either domain's names."""
    names = [f"mixamorig:{name}" if domain == "mixamo" else name for name in hand_joint_names(domain, "right")]
    offsets = np.round(rng.normal(size=(21, 3)) + [-3, 0, 0], 6)
    return Bvh.from_rotations(names, PARENTS, offsets, turns(frames, 21, rng), frame_time=1 / 60)


def mesh(rng) -> dict:
    """A character's mesh file: one hand, some triangles."""
    names = np.array([f"mixamorig:{name}" for name in hand_joint_names("mixamo", "right")])
    heads = np.cumsum(rng.normal(size=(21, 3)) + [-2, 0, 0], axis=0).astype(np.float32)
    weight = rng.random((VERTICES, 21)).astype(np.float32)
    faces = rng.integers(0, VERTICES, (20, 3))
    bones = {"names": names, "cors": heads, "parents": np.array(PARENTS)}
    return {
        "verts": rng.normal(size=(VERTICES, 3)).astype(np.float32), "edges": faces[:, :2], "faces": faces,
        "weight": weight, "vgrp_label": names, "vgrp_cors": heads, "vgrp_parents": np.array(PARENTS),
        **{f"bone_{key}": value for key, value in bones.items()},
    }  # fmt: skip


def mano(rng) -> dict:
    """A hand model in MANO's layout, as small as it may be."""
    parents = [-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14]
    regressor = rng.random((16, VERTICES))
    weights = rng.random((VERTICES, 16))
    return {
        "v_template": rng.normal(size=(VERTICES, 3)), "f": rng.integers(0, VERTICES, (40, 3)).astype(np.uint32),
        "shapedirs": rng.normal(size=(VERTICES, 3, 10)), "posedirs": rng.normal(size=(VERTICES, 3, 135)),
        "J_regressor": scipy.sparse.csc_matrix(regressor / regressor.sum(1, keepdims=True)),
        "weights": weights / weights.sum(1, keepdims=True), "hands_mean": np.zeros(45),
        "kintree_table": np.array([parents, range(16)]), "hands_components": np.eye(45),
        "tip_vertices": np.arange(5),
    }  # fmt: skip


def annotations(rng) -> dict:
    """Two captures of a few frames."""

    def hand():
        return {"pose": np.round(rng.normal(size=48), 4).tolist(), "shape": np.round(rng.normal(size=10), 4).tolist()}

    return {str(c): {str(3 * n): {"right": hand(), "left": hand()} for n in range(4)} for c in range(2)}


def points() -> dict[str, object]:
    """Positions of a hand's joints, one frame an object and all frames of a hand in one array."""
    hand = plausible_offsets(seed=1)
    for joint, parent in enumerate(PARENTS):
        hand[joint] += hand[max(parent, 0)] if joint else 0
    frames = np.round(hand.numpy() / 100, 5)
    order = [0, *range(17, 21), *range(13, 17), *range(1, 13)]  # the thumb first, as MediaPipe has it
    seen = [dict(zip("xyz", place.tolist(), strict=True)) for place in frames[order]]
    return {
        "landmarks.json": [{"timestamp": 33 * n, "handedness": "Right", "landmarks": seen} for n in range(3)],
        "positions.json": {"fps": 30, "right": {"joints": np.tile(frames, (3, 1, 1)).tolist()}},
    }


def make(folder: Path) -> dict[str, bytes]:
    """Write the corpus; gives name → content. Names say the kind of file, see `tests.hostile.readers`."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for domain in ("mixamo", "mano"):
        write_bvh(folder / f"{domain}.bvh", motion(domain, 5, rng))
    np.save(folder / "shapes.npy", rng.normal(size=(5, 10)))
    np.savez_compressed(folder / "Aj_mesh_data.npz", **mesh(rng))
    frames = np.tile(np.eye(3), (5, 4, 1, 1))
    axes = {"rhand": frames, "lhand": frames}
    (folder / "Aj_finger_axis.pkl").write_bytes(pickle.dumps(axes, 2))
    bary = {f"{h}hand_bend_bary": np.full((5, 2, 3), 1 / 3) for h in "rl"}
    triangles = {f"{h}hand_bend_index_tri": np.arange(10).reshape(5, 2) for h in "rl"}
    mano_axes = {"rhand": frames[:, 0], "lhand": frames[:, 0], **bary, **triangles}
    (folder / "mano_finger_axis.pkl").write_bytes(pickle.dumps(mano_axes, 4))
    (folder / "MANO_RIGHT.pkl").write_bytes(pickle.dumps(mano(rng), 2))
    for name, clips in (("Ours", None), ("Published", 2)):
        with writing_features(folder, name, "mano", "right", "", published_clips=clips) as writer:
            for clip in range(2):
                writer.add_clip(f"clip {clip}", rng.normal(size=(9, 2074)).astype(np.float32), 0.2)
    np.save(folder / "Ours_mean.npy", np.zeros((2074, 1), np.float32))
    (folder / "annotations.json").write_text(json.dumps(annotations(rng)))
    (folder / "subjects.csv").write_text("capture,subject\nCapture0,4\nCapture1,7\n")
    (folder / "body.fbx").write_bytes(fbx())
    for name, content in points().items():
        (folder / name).write_text(json.dumps(content))
    settings = {"hidden_channel": 8, "norm_type": "none"}
    weights = {"recon_nets.0.weight": torch.zeros(4, 3), "recon_nets.1.bias": torch.ones(3)}
    torch.save({"state_dict": weights, "hyper_parameters": settings, "epoch": 3}, folder / "model.ckpt")
    torch.manual_seed(0)
    network = Feedback(hidden_channel=4, row_channel=1, n_blocks=1)
    whole = {"state_dict": network.state_dict(), "hyper_parameters": dict(network.hparams)}
    torch.save({**whole, "epoch": 3}, folder / "network.ckpt")
    write_weights(folder / "network.safetensors", "feedback", whole, eight_bits=True)
    np.savez(folder / "MANO_RIGHT.npz", **{**mano(rng), "J_regressor": rng.random((16, VERTICES)) / VERTICES})
    np.savez(folder / "Aj_axes.npz", **axes)
    write_kinds(folder, rng)
    convert_annotations(folder, folder / "out")
    shutil.copyfile(folder / "out" / STATE, folder / STATE)
    shutil.rmtree(folder / "out")
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def convert_annotations(folder: Path, output: Path) -> None:
    """The conversion of the annotations of a folder of these files; one in `output` goes on."""
    model = folder / "MANO_RIGHT.pkl"  # of either side: only the layout matters here
    subjects = folder / "subjects.csv"
    Conversion(folder / "annotations.json", model, output, ("right",), subjects).run()


def safetensors(about: dict, tensors: dict | None = None, content: bytes = b"") -> bytes:
    """Such a file, whatever its header says."""
    header = json.dumps({"__metadata__": about, **(tensors or {})}).encode()
    return len(header).to_bytes(8, "little") + header + content


def archive(name: str, shape: tuple[int, ...], megabytes: int) -> bytes:
    """An ``.npz`` of zeros, small itself, whatever the header of its array says."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as made, made.open(name, "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False, "shape": shape})
        for _ in range(megabytes):
            member.write(bytes(1 << 20))
    return packed.getvalue()


SETTINGS = ("rig.yaml", "splits.yaml", "config.yaml", "axes.pkl.annotation.json", "Aj_source.json", "open_hands.json",
            STATE)  # fmt: skip
YAML_BOMB = b"a: &a [x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (letter, letter, b",".join([b"*%c" % (letter - 1)] * 8)) for letter in range(98, 110)
)
BYTE = {"row_bias": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}


class Program:
    """Starts a program when it is unpickled by the ordinary means."""

    def __reduce__(self):
        return os.system, ("touch started",)


def bombs(corpus: dict[str, bytes]) -> list[tuple[str, bytes]]:
    """(name of the file of the corpus to replace, content) made to eat time or memory, or to run something."""
    head, _, rows = corpus["mixamo.bvh"].partition(b"MOTION")
    joint = b"JOINT a\n{\nOFFSET 0 0 0\nCHANNELS 0\n"
    many = b"HIERARCHY\nROOT r\n{\nOFFSET 0 0 0\nCHANNELS 3 Xrotation Yrotation Zrotation\n"
    tail = b"}\nMOTION\nFrames: 1\nFrame Time: 1\n0 0 0\n"
    promise = io.BytesIO()
    np.lib.format.write_array_header_1_0(promise, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 2074)})
    pickled = pickle.dumps({"rhand": Program()})
    return [
        ("mixamo.bvh", head + b"MOTION\nFrames: 999999999999999\nFrame Time: 1\n"),
        ("mixamo.bvh", head + b"MOTION" + rows[:40] + b"1" * (20 << 20)),
        ("mixamo.bvh", many + joint * 50_000 + b"}\n" * 50_000 + tail),
        ("mixamo.bvh", many + (joint + b"}\n") * 100_000 + tail),
        ("mixamo.bvh", many.replace(b" r\n", b" " + b"RightHand" * 100_000 + b"\n") + tail),
        ("mixamo.bvh", b"HIERARCHY\n" + b" \t" * (8 << 20)),
        ("Aj_mesh_data.npz", archive("verts.npy", (75 << 20,), 600)),
        ("Ours.npy", promise.getvalue()),
        ("Ours.npy", promise.getvalue() + bytes(1000)),
        ("Ours.json", b"[" * 200_000),
        ("Ours.json", b'{"clips": [{"name": "a", "frames": ' + b"9" * 5000 + b', "frame_time": 1}]}'),
        ("Published.npy", corpus["Published.npy"][:128] + pickled),
        ("Aj_finger_axis.pkl", pickled),
        ("MANO_RIGHT.pkl", pickled),
        ("model.ckpt", pickled),
        ("network.safetensors", pickled),
        ("network.safetensors", b"\xff" * 7 + b"\x7f" + b"{" * (20 << 20)),
        ("network.safetensors", safetensors({"hyper_parameters": "[" * 200_000})),
        ("network.safetensors", safetensors({"hyper_parameters": '{"row_channel": ' + "9" * 100_000 + "}"})),
        ("network.safetensors", safetensors({"hyper_parameters": '{"row_channel": 1e308}'}, BYTE, b"1")),
        (
            "network.safetensors",
            safetensors(
                {"hyper_parameters": '{"row_channel": 4096, "hidden_channel": 4096, "n_blocks": 64, "passes": 64}'},
                BYTE,
                b"1",
            ),
        ),
        (
            "network.safetensors",
            safetensors(
                {"hyper_parameters": '{"tbs_input_normalization": true, "n_layers": 99999, "hidden_channel": 99999}'},
                BYTE,
                b"1",
            ),
        ),
        (
            "network.safetensors",
            safetensors(
                {"hyper_parameters": "{}"},
                {str(n): {"dtype": "U8", "shape": [1 << 60, 0], "data_offsets": [0, 0]} for n in range(100_000)},
            ),
        ),
        ("annotations.json", b'{"0": ' * 100_000),
        ("annotations.json", b'{"0": {"1": {"right": {"pose": [' + b"0," * (10 << 20)),
        ("annotations.json", b'{"0": {"1": {"note": ' + b"[" * (5 << 20)),
        ("annotations.json", b'{"' + b"0" * (30 << 20) + b'": {}}'),
        ("landmarks.json", b"[" * (5 << 20)),
        ("landmarks.json", b'[{"landmarks": [' + b'{"x": 0, "y": 0, "z": 0},' * (1 << 20)),
        ("positions.json", b'{"right": {"joints": [[[' + b"0," * (10 << 20) + b"0]]]}}"),
        *((name, b"[" * 200_000) for name in SETTINGS if name.endswith(".json")),
        *((name, (b"{" if name.endswith(".json") else b"") + b'"a": ' * 100_000) for name in SETTINGS),
        *((name, YAML_BOMB) for name in SETTINGS if name.endswith(".yaml")),
        ("openxr.json", b'{"frames": [' + b'{"joints": [' * 200_000),
        ("poses.json", b'{"right": ' * 200_000),
        ("poses.json", b'{"pose": [' + b"[]," * (5 << 20) + b"[]]}"),
        ("smplx.npz", archive("poses.npy", (75 << 20,), 600)),
        ("points.npz", archive("right_joints.npy", (1 << 40, 21, 3), 1)),
        ("points.npy", promise.getvalue()),
        ("points.csv", b"," * (30 << 20)),
        ("points.csv", b"x0,y0\n" + b"1,1\n" * (8 << 20)),
        ("joints.csv", b"frame,hand,joint,x,y,z\n0,Right,0,0,0,0\n99999999999999,Right,0,0,0,0\n"),
        ("joints.csv", b'frame,hand,joint,x,y,z\n"' + b"a" * (20 << 20)),
        ("body.gltf", b'{"asset": {"version": "2.0"}, "nodes": [' + b"{}," * (3 << 20) + b"{}]}"),
        ("body.gltf", b'{"asset": {"version": "2.0"}, "buffers": [{"byteLength": 999999999999, "uri": "/dev/zero"}]}'),
        ("body.glb", corpus["body.glb"][:12] + b"\xff\xff\xff\x7fJSON" + b"[" * (20 << 20)),
        ("avatar.vrm", corpus["body.glb"][:12] + (20 << 20).to_bytes(4, "little") + b"JSON" + b"[" * (20 << 20)),
        ("network.ckpt", pickled),
        ("MANO_RIGHT.npz", archive("shapedirs.npy", (75 << 20,), 600)),
        ("body.fbx", corpus["body.fbx"][:27] + bytes(20 << 20)),
        ("subjects.csv", b"1 2\n" + b"x" * (20 << 20)),
    ]


_EXTREMES = (
    b"0", b"-1", b"1e308", b"-1e999", b"nan", b"99999999999999999999", b"2147483648", b"", b".", b"\x00", b'"',
    b"{", b"}", b"[" * 300, b"\xff\xff\xff\xff", b"\xc3\x28", b"\x7f\xff\xff\xff\xff\xff\xff\xff",
    b"null", b"../../x", b"\r\n",
)  # fmt: skip


def damage(content: bytes, dice: random.Random, others: list[bytes]) -> bytes:
    """One to four random changes; those inside an archive or a GLB mostly keep it one."""
    if content[:4] == b"glTF" and dice.random() < 0.7:
        return _damage_chunk(content, dice, others)
    if content[:2] == b"PK" and dice.random() < 0.7:
        return _damage_member(content, dice, others)
    data = bytearray(content)
    for _ in range(dice.choice((1, 1, 1, 2, 3, 4))):
        _change(data, dice, others)
    return bytes(data)


def _damage_chunk(content: bytes, dice: random.Random, others: list[bytes]) -> bytes:
    """A GLB one of whose chunks is changed, with lengths that are right."""
    (length,) = struct.unpack_from("<I", content, 12)
    chunks = [bytearray(content[20 : 20 + length]), bytearray(content[28 + length :])]
    _change(chunks[dice.random() < 0.3], dice, others)
    whole = b"".join(
        struct.pack("<II", len(chunk), kind) + chunk
        for kind, chunk in zip((0x4E4F534A, 0x004E4942), chunks, strict=True)
    )
    return struct.pack("<4sII", b"glTF", 2, 12 + len(whole)) + whole


def _damage_member(content: bytes, dice: random.Random, others: list[bytes]) -> bytes:
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old:
        names = old.namelist()
        chosen = dice.choice(names)
        with zipfile.ZipFile(result, "w", dice.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as new:
            for name in names:
                data = old.read(name)
                if name == chosen:
                    if dice.random() < 0.1:
                        continue
                    data = bytearray(data)
                    _change(data, dice, others)
                    name = dice.choice((name, name, name, name, "../" + name, name + "x"))
                new.writestr(name, bytes(data))
    return result.getvalue()


def _change(data: bytearray, dice: random.Random, others: list[bytes]) -> None:
    # Headers are where most is decided, so half of the changes fall into the first bytes.
    size = min(len(data), 400) if dice.random() < 0.5 else len(data)
    start = dice.randrange(size + 1)
    length = min(dice.choice((1, 1, 2, 4, 8, 30, 300)), len(data) - start)
    what = dice.randrange(8)
    if what == 0 and start < len(data):
        data[start] ^= 1 << dice.randrange(8)
    elif what == 1 and start < len(data):
        data[start] = dice.randrange(256)
    elif what == 2:
        del data[start : start + length]
    elif what == 3:
        data[start:start] = data[start : start + length] * dice.choice((1, 2, 50))
    elif what == 4:
        del data[start:]
    elif what == 5:
        data[start : start + length] = dice.choice(_EXTREMES)
    elif what == 6:
        other = dice.choice(others)
        place = dice.randrange(len(other) + 1)
        data[start : start + length] = other[place : place + length]
    else:
        data[start : start + length] = bytes(dice.randrange(256) for _ in range(length))
