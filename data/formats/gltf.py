"""Reading glTF 2.0 files (``.gltf``, ``.glb``, ``.vrm``, ``.vrma``): accessors, nodes, skins, meshes, animations.

A small reader of our own: of the libraries, pygltflib gives the JSON as classes but neither reads accessors (sparse,
normalised, strided) nor keeps external files inside the file's folder, and trimesh drops skins and animations. What is
left to write either way is this module. It reads nothing outside the file's own folder, and whatever is wrong with a
file becomes one InputError.

Lengths are metres, y up, quaternions (x, y, z, w) as in the file.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from utils.errors import InputError

SUFFIXES = (".gltf", ".glb", ".vrm", ".vrma")
_FAR = 1e15
"""What places, turns and scales of nodes cannot be: products of such numbers come near the end of precision."""
MOST_ANIMATIONS, MOST_KEYS = 1000, 50_000_000
"""Animations of a file, and the numbers of their keys: 400 MB."""
_HUMANOIDS = ("VRMC_vrm", "VRM", "VRMC_vrm_animation")
"""Extensions that say which node is which bone of a human: VRM 1.0, VRM 0.x, VRM animations."""
MAX_NUMBERS = 12_000_000
"""Numbers that the accessors of a file may hold together, and its surfaces: enough for 500,000 vertices. A few lines
of JSON could ask for any amount of memory."""
MAX_NODES, MAX_SURFACES = 20_000, 10_000
MAX_FILE_BYTES = 1 << 30
_GLB_MAGIC, _JSON_CHUNK, _BINARY_CHUNK = 0x46546C67, 0x4E4F534A, 0x004E4942
_TYPES = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_COMPONENTS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_UNREADABLE = {"KHR_draco_mesh_compression": "Draco", "EXT_meshopt_compression": "meshopt"}
_DAMAGE = (
    KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, MemoryError,
    struct.error, binascii.Error, UnicodeError,
)  # fmt: skip
"""What JSON of the wrong shape can provoke; the messages of the checks below are more to the point."""


@dataclass(frozen=True)
class Skinning:
    """A skin: which nodes move it."""

    joints: np.ndarray
    """(J,) node numbers."""
    inverse_bind: np.ndarray
    """(J, 4, 4) float64: from the mesh's space to each joint's own."""


@dataclass(frozen=True)
class Surface:
    """One primitive of a mesh at a node."""

    node: int
    """The node that the mesh is attached to."""
    skin: int
    """Number of its skin; −1: none, the mesh is rigid."""
    vertices: np.ndarray
    """(V, 3) float64, in the mesh's own space."""
    faces: np.ndarray
    """(F, 3) int64."""
    joints: np.ndarray
    """(V, K) int64, places in the list of the skin's joints; K = 0 without skin."""
    weights: np.ndarray
    """(V, K) float64."""


@dataclass(frozen=True)
class Track:
    """One channel of an animation."""

    node: int
    path: str
    """``translation``, ``rotation`` or ``scale``."""
    times: np.ndarray
    """(N,) float64 seconds, increasing."""
    values: np.ndarray
    """(N, 3 or 4) float64; for CUBICSPLINE (N, 3, 3 or 4): in-tangent, value, out-tangent."""
    interpolation: str
    """``LINEAR``, ``STEP`` or ``CUBICSPLINE``."""


@dataclass(frozen=True)
class Animation:
    """A named animation; tracks of other targets (morph weights) are left out."""

    name: str
    tracks: tuple[Track, ...]


@dataclass(frozen=True)
class Gltf:
    """A glTF file, decoded."""

    node_names: tuple[str, ...]
    """N names; empty where the file has none."""
    parents: np.ndarray
    """(N,) int64 node numbers, −1 for a root."""
    translations: np.ndarray
    """(N, 3)"""
    rotations: np.ndarray
    """(N, 4) unit quaternions (x, y, z, w)."""
    scales: np.ndarray
    """(N, 3)"""
    matrices: dict[int, np.ndarray]
    """Node → (4, 4) local matrix, for those nodes that have one in place of the three above."""
    has_mesh: np.ndarray
    """(N,) bool"""
    skins: tuple[Skinning, ...]
    surfaces: tuple[Surface, ...]
    animations: tuple[Animation, ...]
    humanoid: dict[str, int]
    """Bone of a human → node, as the table of a VRM file says (``rightIndexProximal``); empty in other files."""


def read_gltf(path: str | os.PathLike) -> Gltf:
    """Read a glTF or GLB file with its buffers.

    Raises:
        InputError: the file is missing, damaged, compressed in a way that needs a decoder (Draco, meshopt), or asks
            for a file outside its own folder.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: expected a glTF file, found {'a folder' if path.is_dir() else 'nothing'}")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InputError(f"{path}: expected at most 1 GB, found {path.stat().st_size} bytes; export the body alone")
    with explained(path):
        return _Reader(path).read()


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn whatever a bad file provokes into one InputError that names the file."""
    try:
        yield
    except InputError as error:
        raise error if str(error).startswith(str(path)) else InputError(f"{path}: {error}") from None
    except _DAMAGE as error:
        detail = (str(error).splitlines() or [""])[0][:120] or type(error).__name__
        raise InputError(
            f"{path}: expected a glTF 2.0 file, but it is damaged ({type(error).__name__}: {detail}); export it again"
        ) from error


def require(good: bool, message: str) -> None:
    """Raise an InputError with `message` unless `good`."""
    if not good:
        raise InputError(f"{message}; export it again")


class _Reader:
    """One file while it is read."""

    def __init__(self, path: Path):
        self.path = path
        self.json, self.binary = self._split(path.read_bytes())
        require(isinstance(self.json, dict), "expected a JSON object")
        version = str(self.json.get("asset", {}).get("version", "none"))
        require(version.startswith("2."), f"expected glTF version 2, found {version[:20]}")
        for extension in self.json.get("extensionsRequired", []):
            if extension in _UNREADABLE:
                raise InputError(f"expected plain buffers, found {_UNREADABLE[extension]} compression; export without")
        self.buffers: dict[int, memoryview] = {}
        self.accessors: dict[tuple[int, bool], np.ndarray] = {}
        self.numbers = 0

    def _split(self, data: bytes) -> tuple[dict, memoryview | None]:
        """JSON and binary chunk of the file."""
        if data[:4] != b"glTF":
            return _parse(data), None
        magic, version, length = struct.unpack_from("<III", data)
        require(magic == _GLB_MAGIC and version == 2, f"expected GLB version 2, found {version}")
        require(length <= len(data), f"expected {length} bytes as the header says, found {len(data)}; it is cut short")
        chunks: dict[int, memoryview] = {}
        start, view = 12, memoryview(data)
        while start + 8 <= length:
            size, kind = struct.unpack_from("<II", data, start)
            require(start + 8 + size <= length, "expected a whole chunk, found its end missing; it is cut short")
            chunks.setdefault(kind, view[start + 8 : start + 8 + size])
            start += 8 + size
        require(_JSON_CHUNK in chunks, "expected a JSON chunk, found none")
        return _parse(bytes(chunks[_JSON_CHUNK])), chunks.get(_BINARY_CHUNK)

    def read(self) -> Gltf:
        nodes = self._list("nodes")
        require(0 < len(nodes) <= MAX_NODES, f"expected 1 to {MAX_NODES} nodes, found {len(nodes)}")
        parents = self._parents(nodes)
        translations, rotations, scales = (
            np.zeros((len(nodes), 3)),
            np.zeros((len(nodes), 4)),
            np.ones((len(nodes), 3)),
        )
        rotations[:, 3] = 1
        matrices = {}
        for number, node in enumerate(nodes):
            for key, target in (("translation", translations), ("rotation", rotations), ("scale", scales)):
                if key in node:
                    target[number] = _floats(node[key], target.shape[1], f"{key} of node {number}")
            if "matrix" in node:
                matrices[number] = _floats(node["matrix"], 16, f"matrix of node {number}").reshape(4, 4).T
        length = np.linalg.norm(rotations, axis=1, keepdims=True)
        rotations = np.where(length > 1e-9, rotations / np.maximum(length, 1e-9), [0.0, 0, 0, 1])
        skins = tuple(self._skin(skin, len(nodes)) for skin in self._list("skins"))
        return Gltf(
            node_names=tuple(str(node.get("name", "")) for node in nodes),
            parents=parents,
            translations=translations,
            rotations=rotations,
            scales=scales,
            matrices=matrices,
            has_mesh=np.array(["mesh" in node or "camera" in node for node in nodes]),
            skins=skins,
            surfaces=tuple(self._surfaces(nodes, skins)),
            animations=tuple(self._animations(len(nodes))),
            humanoid=self._humanoid(len(nodes)),
        )

    def _humanoid(self, n_nodes: int) -> dict[str, int]:
        """The table of human bones: a list of {bone, node} in VRM 0.x, an object of {node} later."""
        extensions = self.json.get("extensions", {})
        table = next((extensions[name]["humanoid"]["humanBones"] for name in _HUMANOIDS if name in extensions), {})
        if isinstance(table, list):
            table = {str(item["bone"]): item for item in table}
        return {bone: _index(item["node"], n_nodes, f"node of the bone {bone[:40]}") for bone, item in table.items()}

    def _list(self, key: str) -> list[dict]:
        value = self.json.get(key, [])
        good = isinstance(value, list) and all(isinstance(item, dict) for item in value)
        require(good, f"expected a list of objects under {key}")
        return value

    def _parents(self, nodes: list[dict]) -> np.ndarray:
        parents = np.full(len(nodes), -1, np.int64)
        for number, node in enumerate(nodes):
            for child in node.get("children", []):
                child = _index(child, len(nodes), f"child of node {number}")
                require(parents[child] < 0, f"expected one parent for node {child}, found two")
                parents[child] = number
        reached = parents.copy()
        for _ in range(len(nodes).bit_length()):  # pointer doubling: after k rounds, 2ᵏ steps up
            reached = np.where(reached >= 0, reached[reached], -1)
        require(bool((reached < 0).all()), "expected nodes in trees, found a circle")
        return parents

    # ------------------------------------------------------------------------------------------------
    # Buffers and accessors
    # ------------------------------------------------------------------------------------------------

    def _buffer(self, number: int) -> memoryview:
        if number not in self.buffers:
            buffer = self._list("buffers")[_index(number, len(self._list("buffers")), "buffer")]
            uri = buffer.get("uri")
            if uri is None:
                if number != 0 or self.binary is None:
                    raise InputError(f"expected the data of buffer {number}, found none; export it again")
                data = self.binary
            elif str(uri).startswith("data:"):
                head, comma, text = str(uri).partition(",")
                require(bool(comma) and head.endswith(";base64"), f"expected base64 data in buffer {number}")
                data = memoryview(base64.b64decode(text, validate=True))
            else:
                data = memoryview(self._neighbour(str(uri)))
            size = _index(buffer["byteLength"], MAX_FILE_BYTES, f"byteLength of buffer {number}")
            require(size <= len(data), f"expected {size} bytes in buffer {number}, found {len(data)}; it is cut short")
            self.buffers[number] = data[:size]
        return self.buffers[number]

    def _neighbour(self, uri: str) -> bytes:
        """The content of a file beside this one; nothing else is opened."""
        folder = self.path.parent.resolve()
        name = unquote(uri)
        require("\0" not in name and "://" not in name, f"expected a file beside it, found {name[:80]!r}")
        target = (folder / name).resolve()
        if folder not in target.parents:
            raise InputError(f"expected buffers inside its own folder, found {name[:80]!r}; it is not read")
        if not target.is_file():
            raise InputError(f"expected its buffer {name[:80]!r} beside it, found none; put the file there")
        require(target.stat().st_size <= MAX_FILE_BYTES, f"expected at most 1 GB in {name[:80]!r}")
        return target.read_bytes()

    def accessor(self, number: object, kind: str, floats: bool = True) -> np.ndarray:
        """(count, components) float64 (normalised integers scaled) or int64 values of an accessor of type `kind`."""
        accessors = self._list("accessors")
        number = _index(number, len(accessors), "accessor")
        if (number, floats) in self.accessors:
            values = self.accessors[number, floats]
            require(accessors[number]["type"] == kind, f"expected accessor {number} of type {kind}")
            return values
        description = accessors[number]
        require(description["type"] == kind, f"expected accessor {number} of type {kind}, found {description['type']}")
        width, count = _TYPES[kind], _index(description["count"], MAX_NUMBERS + 1, f"count of accessor {number}")
        self.numbers += count * width
        require(self.numbers <= MAX_NUMBERS, f"expected at most {MAX_NUMBERS} numbers in all accessors, found more")
        code = description["componentType"]
        require(code in _COMPONENTS, f"expected a known component type in accessor {number}, found {code!r}")
        kind_of = np.dtype(_COMPONENTS[code])
        if "bufferView" in description:
            values = self._view(description, kind_of, count, width).copy()
        else:
            values = np.zeros((count, width), kind_of)
        if "sparse" in description:
            self._sparse(description["sparse"], values, number)
        self.accessors[number, floats] = _decoded(values, bool(description.get("normalized", False)), floats, number)
        return self.accessors[number, floats]

    def _view(self, where: dict, kind: np.dtype, count: int, width: int) -> np.ndarray:
        views = self._list("bufferViews")
        view = views[_index(where["bufferView"], len(views), "bufferView")]
        data = self._buffer(view["buffer"])
        start = _index(view.get("byteOffset", 0), len(data) + 1, "byteOffset of a bufferView")
        size = _index(view["byteLength"], len(data) - start + 1, "byteLength of a bufferView")
        data = data[start : start + size]
        offset = _index(where.get("byteOffset", 0), size + 1, "byteOffset of an accessor")
        item = kind.itemsize * width
        stride = _index(view.get("byteStride", item), 1 << 16, "byteStride")
        require(stride >= item, f"expected a byteStride of {item} or more, found {stride}")
        needed = offset + stride * (count - 1) + item if count else offset
        require(needed <= size, f"expected {needed} bytes in a bufferView, found {size}; it is cut short")
        return np.ndarray((count, width), kind, data, offset, (stride, kind.itemsize))

    def _sparse(self, sparse: dict, values: np.ndarray, number: int) -> None:
        count = _index(sparse["count"], len(values) + 1, f"sparse count of accessor {number}")
        code = sparse["indices"]["componentType"]
        require(code in (5121, 5123, 5125), f"expected unsigned sparse indices in accessor {number}")
        places = self._view(sparse["indices"], np.dtype(_COMPONENTS[code]), count, 1)[:, 0]
        require(
            bool((places < len(values)).all()), f"expected sparse indices below {len(values)} in accessor {number}"
        )
        values[places] = self._view(sparse["values"], values.dtype, count, values.shape[1])

    # ------------------------------------------------------------------------------------------------
    # Skins, meshes, animations
    # ------------------------------------------------------------------------------------------------

    def _skin(self, skin: dict, n_nodes: int) -> Skinning:
        joints = np.array([_index(joint, n_nodes, "joint of a skin") for joint in skin["joints"]], np.int64)
        require(len(joints) > 0 and len(set(joints.tolist())) == len(joints), "expected different joints in a skin")
        inverse = np.broadcast_to(np.eye(4), (len(joints), 4, 4))
        if "inverseBindMatrices" in skin:
            inverse = self.accessor(skin["inverseBindMatrices"], "MAT4").reshape(-1, 4, 4).swapaxes(-1, -2)
            require(len(inverse) >= len(joints), "expected an inverse bind matrix for every joint of a skin")
        return Skinning(joints, inverse[: len(joints)])

    def _surfaces(self, nodes: list[dict], skins: tuple[Skinning, ...]) -> Iterator[Surface]:
        meshes = self._list("meshes")
        total = count = 0
        for number, node in enumerate(nodes):
            if "mesh" not in node:
                continue
            skin = _index(node["skin"], len(skins), "skin") if "skin" in node else -1
            for primitive in meshes[_index(node["mesh"], len(meshes), "mesh")]["primitives"]:
                count += 1
                require(count <= MAX_SURFACES, f"expected at most {MAX_SURFACES} primitives, found more")
                if any(extension in _UNREADABLE for extension in primitive.get("extensions", {})):
                    raise InputError("expected plain buffers, found compressed meshes; export without compression")
                surface = self._surface(primitive, number, skin, skins)
                if surface is not None:
                    total += surface.vertices.size + surface.faces.size + surface.joints.size
                    require(total <= MAX_NUMBERS, "expected a character, found too many meshes")
                    yield surface

    def _surface(self, primitive: dict, node: int, skin: int, skins: tuple[Skinning, ...]) -> Surface | None:
        attributes = primitive["attributes"]
        mode = primitive.get("mode", 4)
        if mode not in (4, 5, 6) or "POSITION" not in attributes:
            return None  # points and lines are no skin
        vertices = self.accessor(attributes["POSITION"], "VEC3")
        if "indices" in primitive:
            order = self.accessor(primitive["indices"], "SCALAR", floats=False)[:, 0]
            require(not len(order) or order.max() < len(vertices), f"expected indices below {len(vertices)}")
        else:
            order = np.arange(len(vertices))
        faces = _triangles(order, mode)
        joints, weights = np.zeros((len(vertices), 0), np.int64), np.zeros((len(vertices), 0))
        layer = 0
        while skin >= 0 and f"JOINTS_{layer}" in attributes:
            places = self.accessor(attributes[f"JOINTS_{layer}"], "VEC4", floats=False)
            shares = self.accessor(attributes[f"WEIGHTS_{layer}"], "VEC4")
            require(len(places) == len(shares) == len(vertices), "expected joints and weights for every vertex")
            joints, weights = np.hstack([joints, places]), np.hstack([weights, shares])
            layer += 1
        used, faces = np.unique(faces, return_inverse=True)  # primitives may share one list of vertices
        faces = faces.reshape(-1, 3).astype(np.int64)
        vertices, joints, weights = vertices[used], joints[used], weights[used]
        if joints.size:
            weights = np.maximum(weights, 0)
            joints = np.where(weights > 0, joints, 0)
            limit = len(skins[skin].joints)
            require(joints.min() >= 0 and joints.max() < limit, f"expected joint numbers below {limit} in a mesh")
        return Surface(node, skin, vertices, faces, joints, weights)

    def _animations(self, n_nodes: int) -> Iterator[Animation]:
        listed = self._list("animations")
        require(
            len(listed) <= MOST_ANIMATIONS,
            f"expected at most {MOST_ANIMATIONS} animations, found {len(listed)}; export them into several files",
        )
        held = 0
        for number, animation in enumerate(listed):
            tracks, samplers = [], animation["samplers"]
            for channel in animation["channels"]:
                target = channel["target"]
                if "node" in target and target.get("path") in ("translation", "rotation", "scale"):
                    sampler = samplers[_index(channel["sampler"], len(samplers), "sampler")]
                    node = _index(target["node"], n_nodes, "target of an animation")
                    tracks.append(self._track(sampler, node, target["path"]))
                    held += tracks[-1].times.size + tracks[-1].values.size  # many may share what the file holds once
                    require(
                        held <= MOST_KEYS,
                        f"expected at most {MOST_KEYS} numbers in all animations, found more; export fewer of them",
                    )
            if tracks:
                yield Animation(str(animation.get("name", "")) or f"animation{number}", tuple(tracks))

    def _track(self, sampler: dict, node: int, path: str) -> Track:
        times = self.accessor(sampler["input"], "SCALAR")[:, 0]
        where = f"animation of {path} of node {node}"
        require(len(times) > 0 and bool((np.diff(times) >= 0).all()), f"expected times that increase in an {where}")
        values = self.accessor(sampler["output"], "VEC4" if path == "rotation" else "VEC3")
        interpolation = sampler.get("interpolation", "LINEAR")
        require(interpolation in ("LINEAR", "STEP", "CUBICSPLINE"), f"expected a known interpolation in an {where}")
        each = 3 if interpolation == "CUBICSPLINE" else 1
        require(len(values) == each * len(times), f"expected {each * len(times)} values in an {where}")
        if each == 3:
            values = values.reshape(len(times), 3, -1)
        return Track(node, path, times, values, interpolation)


def _parse(data: bytes) -> dict:
    """JSON without NaN and infinity."""

    def refuse(name: str) -> None:
        raise InputError(f"expected finite numbers, found {name}; export it again")

    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"expected glTF (JSON or GLB), found something else ({str(error)[:80]}); give another file"
        ) from None


def _index(value: object, limit: int, what: str) -> int:
    """A whole number of 0 … limit − 1."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < limit
    wish = f"a whole number from 0 to {limit - 1}" if limit > 0 else "none, because the file has none,"
    require(good, f"expected {wish} as {what}, found {str(value)[:40]}")
    return int(value)  # type: ignore[call-overload]


def _floats(value: object, count: int, what: str) -> np.ndarray:
    good = isinstance(value, list) and len(value) == count and all(isinstance(x, (int, float)) for x in value)
    require(good, f"expected {count} numbers as {what}")
    array = np.array(value, dtype=np.float64)
    require(bool((np.abs(array) <= _FAR).all()), f"expected numbers within {_FAR:g} as {what}")
    return array


def _decoded(values: np.ndarray, normalized: bool, floats: bool, number: int) -> np.ndarray:
    if not floats:
        require(values.dtype.kind in "iu", f"expected whole numbers in accessor {number}")
        return values.astype(np.int64)
    if values.dtype.kind == "f":
        require(
            bool(np.isfinite(values).all()), f"expected finite numbers in accessor {number}, found NaN or infinity"
        )
        return values.astype(np.float64)
    scale = float(np.iinfo(values.dtype).max) if normalized else 1.0
    return np.maximum(values / scale, -1.0) if normalized else values.astype(np.float64)


def _triangles(order: np.ndarray, mode: int) -> np.ndarray:
    """Vertex numbers in drawing order → (F, 3): 4 triangles, 5 a strip, 6 a fan."""
    count = len(order)
    if mode == 4:
        return order[: count - count % 3].reshape(-1, 3)
    first = np.arange(max(0, count - 2))
    if mode == 6:
        corners = np.stack([first + 1, first + 2, np.zeros_like(first)], axis=1)
    else:
        odd = first % 2
        corners = np.stack([first, first + 1 + odd, first + 2 - odd], axis=1)
    return order[corners]


def read_container(path: str | os.PathLike) -> tuple[dict, list[bytes]]:
    """The JSON of a glTF file as it stands, and the bytes of each of its buffers.

    Raises:
        InputError: as :func:`read_gltf` does.
    """
    path = Path(path)
    with explained(path):
        reader = _Reader(path)
        return reader.json, [bytes(reader._buffer(number)) for number in range(len(reader._list("buffers")))]
