"""Looking through binary FBX files before Blender gets them."""

import random
import struct
import zlib

import numpy as np
import pytest

from data.formats.fbx_check import MAGIC, check_fbx
from tests.data.formats.test_gltf_fuzz import mutated_bytes
from utils.errors import InputError


def array(values, kind="d", packed=True, count=None, cut=0):
    data = np.asarray(values, {"d": "<f8", "i": "<i4"}[kind]).tobytes()
    body = zlib.compress(data) if packed else data
    body = body[: len(body) - cut]
    return kind.encode() + struct.pack("<III", len(values) if count is None else count, packed, len(body)) + body


def record(name, properties=b"", count=1, children=(), at=27):
    start = at + 13 + len(name) + len(properties)
    body = b""
    for child in children:
        body += child(start + len(body))
    body += bytes(13) if children else b""
    return struct.pack("<IIIB", start + len(body), count, len(properties), len(name)) + name + properties + body


def fbx(vertices=None, corners=None, version=7400):
    vertices = array(np.arange(12.0)) if vertices is None else vertices
    corners = array([0, 1, -3, 0, 2, -4], "i") if corners is None else corners

    def geometry(at):
        children = [
            lambda here: record(b"Vertices", vertices, at=here),
            lambda here: record(b"PolygonVertexIndex", corners, at=here),
        ]
        return record(b"Geometry", b"L" + bytes(8) + b"S" + struct.pack("<I", 4) + b"Mesh", 2, children, at)

    head = MAGIC + b"\x1a\x00" + struct.pack("<I", version)
    return head + record(b"Objects", b"", 0, [geometry]) + bytes(13)


def check(tmp_path, data):
    path = tmp_path / "a.fbx"
    path.write_bytes(data)
    check_fbx(path)


@pytest.mark.parametrize("packed", [True, False])
def test_whole_files_pass(tmp_path, packed):
    check(tmp_path, fbx(vertices=array(np.arange(12.0), packed=packed)))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"; FBX 7.3.0 project file", "found an ASCII FBX file, which Blender cannot import; export it as binary"),
        (b"PK\x03\x04 something", "expected a binary FBX file, found something else"),
        (MAGIC, "damaged"),
        (fbx()[:27], "found none; it is empty or cut short"),
        (fbx()[:-60], "leaves them|damaged"),
        (fbx(version=5000), "FBX version 6100 or newer, found 5000"),
        (fbx(vertices=array(np.arange(12.0), count=2**31)), "at most 1 GB together"),
        (fbx(vertices=array(np.arange(12.0), count=13)), "array of 104 bytes, found another length"),
        (fbx(vertices=array(np.arange(12.0), cut=20)), "another length|damaged"),
        (fbx(vertices=array([0, np.nan, 1.0] * 4)), "finite numbers in Vertices"),
        (fbx(corners=array([0, 1, -6], "i")), "polygons of vertices below 4, found 5"),
        (fbx(vertices=b"q123"), "known kind of property"),
        (fbx(vertices=b"S" + struct.pack("<I", 2**31)), "leaves it"),
    ],
)
def test_damage_is_explained(tmp_path, data, reason):
    with pytest.raises(InputError, match=f"a.fbx: .*({reason})"):
        check(tmp_path, data)


def test_zip_bombs_are_not_unpacked(tmp_path):
    body = zlib.compress(bytes(50_000_000), 9)
    bomb = b"d" + struct.pack("<III", 12, 1, len(body)) + body
    with pytest.raises(InputError, match="array of 96 bytes"):
        check(tmp_path, fbx(vertices=bomb))


def test_damaged_files(tmp_path):
    rng, refused = random.Random(0), 0
    for _ in range(500):
        try:
            check(tmp_path, mutated_bytes(fbx(), rng))
        except InputError as error:
            refused += 1
            assert "a.fbx: expected" in str(error) and "\n" not in str(error)
    assert refused > 100
