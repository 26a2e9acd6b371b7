"""Thousands of damaged glTF files: a result or one clear error, fast, in little memory."""

import copy
import json
import random
import resource
import struct
import time
import warnings

import pytest

from data.formats.character_files import Request
from data.preparation.conversion import convert_gltf
from tests.gltf_files import animate, glb, small_arm

VALUES = (
    0, -1, 1, 3, 2**31, 2**63, 10**30, 1e308, -1e308, 1e-300, 0.5, "x", "", None, True, [], {}, [0], [[]], [0, 1, 2],
    "data:,", "data:;base64,AA", "../../etc/passwd", 5126, 5121, "MAT4", "VEC3", "SCALAR", 100_000_000,
)  # fmt: skip
MAX_SECONDS, MAX_MEGABYTES = 5.0, 500


def paths(content, path=()):
    """Every place in the JSON."""
    yield path
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield from paths(value, (*path, key))


def at(content, path):
    for key in path:
        content = content[key]
    return content


def mutated_json(content, rng):
    """The content with one to four places dropped, replaced, or copied from elsewhere."""
    content = copy.deepcopy(content)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        places = list(paths(content))[1:]
        path, other = rng.choice(places), rng.choice(places)
        parent, kind = at(content, path[:-1]), rng.random()
        if kind < 0.2:
            del parent[path[-1]]
        else:
            value = at(content, other) if kind < 0.5 else rng.choice(VALUES)
            parent[path[-1]] = copy.deepcopy(value)
    return content


def mutated_bytes(data, rng):
    """The data with bytes changed, dropped or added, numbers replaced, or its end cut off."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        place, kind = rng.randrange(len(data)), rng.random()
        if kind < 0.5:
            data[place] = rng.randrange(256)
        elif kind < 0.7:
            numbers = [0, 2**31, 2**32 - 1, 0x7FC00000, 0x7F800000, rng.randrange(2**32)]
            data[place : place + 4] = struct.pack("<I", rng.choice(numbers))[: len(data) - place]
        elif kind < 0.8:
            del data[place : place + rng.randrange(1, 50)]
        elif kind < 0.9:
            data[place:place] = rng.randbytes(5)
        else:
            del data[max(1, place) :]
        data = data or bytearray(b"x")
    return bytes(data)


def damaged(number, rng):
    file = small_arm()
    animate(file, "wave", 1, "translation", [0.0, 0.5], [[0, 0, 0]] * 6, "CUBICSPLINE")
    content, binary = file.content(), bytes(file.binary)
    if number % 3 == 0:
        return mutated_bytes(glb(content, binary), rng)
    return glb(mutated_json(content, rng), mutated_bytes(binary, rng) if number % 3 == 1 else binary)


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.parametrize("count", [400, pytest.param(10_000, marks=pytest.mark.slow)])
def test_damaged_files(tmp_path, count):
    rng = random.Random(count)
    path = tmp_path / "in" / "a.glb"
    path.parent.mkdir()
    made, before = 0, peak_megabytes()
    for number in range(count):
        data = damaged(number, rng)
        path.write_bytes(data)
        request = Request(str(path), str(tmp_path / "out" / "m.npz"), str(tmp_path / "out" / "clips"), "c", fps=30)
        started = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a warning would stand on the terminal like a traceback
            result = convert_gltf(request)
        assert time.perf_counter() - started < MAX_SECONDS, f"mutation {number}"
        assert result.error is None or (result.error.count(str(path)) == 1 and "\n" not in result.error), result.error
        made += result.error is None
        assert path.read_bytes() == data
    assert {item.name for item in tmp_path.iterdir()} <= {"in", "out"}
    assert [item.name for item in path.parent.iterdir()] == ["a.glb"]
    assert 0 < made < count  # some mutations are harmless, some are not
    assert peak_megabytes() - before < MAX_MEGABYTES  # what earlier tests took is not this one's


def test_text_files_are_mutated_too(tmp_path):
    rng = random.Random(0)
    whole = small_arm().write(tmp_path / "whole.gltf").read_bytes()
    path = tmp_path / "a.gltf"
    for _ in range(100):
        path.write_bytes(mutated_bytes(whole, rng))
        result = convert_gltf(Request(str(path), str(tmp_path / "m.npz"), str(tmp_path / "clips"), "c", fps=30))
        assert result.error is None or "a.gltf: " in result.error


@pytest.mark.parametrize("depth", [100, 5000])
def test_deep_json(tmp_path, depth):
    path = tmp_path / "a.gltf"
    path.write_text('{"asset": {"version": "2.0"}, "extras": ' + "[" * depth + "]" * depth + "}")
    result = convert_gltf(Request(str(path), str(tmp_path / "m.npz"), str(tmp_path), "c"))
    assert "a.gltf: expected" in result.error


def test_long_chains_of_nodes(tmp_path):
    content = small_arm().content()
    content["nodes"] = [{"children": [number + 1]} for number in range(9999)] + [{}]
    content["skins"] = [{"joints": list(range(10000))}]
    content["meshes"], content["animations"] = [], []
    path = tmp_path / "a.gltf"
    path.write_text(json.dumps({**content, "buffers": []}))
    result = convert_gltf(Request(str(path), str(tmp_path / "m.npz"), str(tmp_path), "c"))
    assert "expected at most 2000 bones, found 10000" in result.error
