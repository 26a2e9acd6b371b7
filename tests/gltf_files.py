"""Small glTF files for tests, written from scratch."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path

import numpy as np

_CODES = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
_KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


class GltfFile:
    """A glTF file in the making: `json` is its content, accessors are added with `add`."""

    def __init__(self) -> None:
        self.binary = bytearray()
        self.json: dict = {"asset": {"version": "2.0"}, "nodes": [], "accessors": [], "bufferViews": []}

    def view(self, data: bytes, **more: int) -> int:
        """A bufferView of its own; returns its number."""
        self.binary += b"\0" * (-len(self.binary) % 4)
        self.json["bufferViews"].append({"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(data), **more})
        self.binary += data
        return len(self.json["bufferViews"]) - 1

    def add(self, values, kind: str = "f4", normalized: bool = False, stride: int = 0, sparse: bool = False) -> int:
        """An accessor of (count, components) values; returns its number."""
        values = np.atleast_2d(np.asarray(values, dtype=f"<{kind}"))
        values = values.reshape(len(values), -1)
        accessor = {"componentType": _CODES[kind], "count": len(values), "type": _KINDS[values.shape[1]]}
        if normalized:
            accessor["normalized"] = True
        if sparse:
            rows = np.flatnonzero(values.any(axis=1))
            accessor["sparse"] = {
                "count": len(rows),
                "indices": {"bufferView": self.view(rows.astype("<u2").tobytes()), "componentType": 5123},
                "values": {"bufferView": self.view(values[rows].tobytes())},
            }
        elif stride:
            rows = [row.tobytes().ljust(stride, b"\xcc") for row in values]
            accessor["bufferView"] = self.view(b"".join(rows), byteStride=stride)
        else:
            accessor["bufferView"] = self.view(values.tobytes())
        self.json["accessors"].append(accessor)
        return len(self.json["accessors"]) - 1

    def matrices(self, matrices) -> int:
        """An accessor of (n, 4, 4) matrices."""
        return self.add(np.swapaxes(np.asarray(matrices), -1, -2).reshape(-1, 16))

    def node(self, name: str, parent: int | None = None, **more) -> int:
        """A node below `parent`; returns its number."""
        self.json["nodes"].append({"name": name, **more})
        number = len(self.json["nodes"]) - 1
        if parent is not None:
            self.json["nodes"][parent].setdefault("children", []).append(number)
        return number

    def append(self, key: str, item: dict) -> int:
        """One more item of a list of the file; returns its number."""
        self.json.setdefault(key, []).append(item)
        return len(self.json[key]) - 1

    def content(self) -> dict:
        """The JSON without the place of the buffer."""
        roots = set(range(len(self.json["nodes"])))
        roots -= {child for node in self.json["nodes"] for child in node.get("children", [])}
        scene = {"scene": 0, "scenes": [{"nodes": sorted(roots)}]}
        return {**self.json, **scene, "buffers": [{"byteLength": len(self.binary)}]}

    def write(self, path: Path) -> Path:
        """.glb; .gltf with the buffer inside; .bin.gltf with the buffer beside it."""
        content = self.content()
        if path.suffix == ".glb":
            path.write_bytes(glb(content, bytes(self.binary)))
            return path
        if path.name.endswith(".bin.gltf"):
            beside = path.with_name("the buffer.bin")
            beside.write_bytes(self.binary)
            content["buffers"][0]["uri"] = "the%20buffer.bin"
        else:
            text = base64.b64encode(self.binary).decode()
            content["buffers"][0]["uri"] = f"data:application/octet-stream;base64,{text}"
        path.write_text(json.dumps(content), encoding="utf-8")
        return path


def glb(content: dict, binary: bytes) -> bytes:
    """The two parts as one GLB file."""
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(binary), 0x004E4942) + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def translation(x: float, y: float, z: float) -> np.ndarray:
    """(4, 4)"""
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix


ARM = (("Root", -1, (0, 1, 0)), ("Arm", 0, (-0.2, 0, 0)), ("Hand", 1, (-0.3, 0, 0)), ("Finger", 2, (-0.1, 0, 0.02)))
"""A chain of bones: name, parent, offset in metres."""


def small_arm(animated: bool = True) -> GltfFile:
    """A chain of four bones, each with a box of skin, one metre up; `animated`: the hand turns 90° about z in 1 s."""
    file = GltfFile()
    heads = np.zeros((len(ARM), 3))
    bones = []
    for number, (name, parent, offset) in enumerate(ARM):
        heads[number] = offset if parent < 0 else heads[parent] + offset
        bones.append(file.node(name, bones[parent] if parent >= 0 else None, translation=list(map(float, offset))))
    corners = np.array([(x, y, z) for x in (-0.09, 0) for y in (-0.01, 0.01) for z in (-0.01, 0.01)])
    vertices = (heads[:, None] + corners).reshape(-1, 3)
    quads = np.array([(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)])
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    faces = (8 * np.arange(len(ARM))[:, None, None] + triangles).reshape(-1, 1)
    joints = np.zeros((len(vertices), 4))
    joints[:, 0] = np.repeat(np.arange(len(ARM)), 8)
    weights = np.tile([1.0, 0, 0, 0], (len(vertices), 1))
    skin = file.append(
        "skins",
        {"joints": bones, "inverseBindMatrices": file.matrices([translation(*-head) for head in heads])},
    )
    attributes = {"POSITION": file.add(vertices), "JOINTS_0": file.add(joints, "u1"), "WEIGHTS_0": file.add(weights)}
    mesh = file.append("meshes", {"primitives": [{"attributes": attributes, "indices": file.add(faces, "u2")}]})
    file.node("Body", mesh=mesh, skin=skin)
    if animated:
        half = np.sqrt(0.5)
        animate(file, "wave", bones[2], "rotation", [0.0, 1.0], [[0, 0, 0, 1], [0, 0, half, half]])
    return file


def animate(file: GltfFile, name: str, node: int, path: str, times, values, interpolation: str = "LINEAR") -> None:
    """A track; animations of the same name are one."""
    animations = file.json.setdefault("animations", [])
    animation = next((one for one in animations if one["name"] == name), None)
    if animation is None:
        animation = {"name": name, "channels": [], "samplers": []}
        animations.append(animation)
    times = np.reshape(times, (-1, 1))
    sampler = {"input": file.add(times), "output": file.add(values), "interpolation": interpolation}
    animation["samplers"].append(sampler)
    target = {"node": node, "path": path}
    animation["channels"].append({"sampler": len(animation["samplers"]) - 1, "target": target})
