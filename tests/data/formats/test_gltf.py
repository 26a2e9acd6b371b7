"""glTF files: packaging, accessors, and what is refused."""

import json

import numpy as np
import pytest

from data.formats.gltf import MAX_NUMBERS, read_gltf
from tests.gltf_files import GltfFile, glb, small_arm
from utils.errors import InputError


def triangle(file: GltfFile, positions: int, **primitive) -> None:
    """One mesh with one primitive at one node."""
    mesh = file.append("meshes", {"primitives": [{"attributes": {"POSITION": positions}, **primitive}]})
    file.node("mesh", mesh=mesh)


CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]], dtype=np.float64)


@pytest.mark.parametrize("name", ["a.glb", "a.gltf", "a.bin.gltf"])
def test_packagings_hold_the_same(tmp_path, name):
    gltf = read_gltf(small_arm().write(tmp_path / name))
    assert gltf.node_names == ("Root", "Arm", "Hand", "Finger", "Body")
    np.testing.assert_array_equal(gltf.parents, [-1, 0, 1, 2, -1])
    np.testing.assert_array_equal(gltf.translations[2], [-0.3, 0, 0])
    surface = gltf.surfaces[0]
    assert (surface.node, surface.skin, surface.vertices.shape, surface.faces.shape) == (4, 0, (32, 3), (48, 3))
    np.testing.assert_array_equal(surface.joints[:, 0], np.repeat(np.arange(4), 8))
    np.testing.assert_allclose(gltf.skins[0].inverse_bind[3][:3, 3], [0.6, -1, -0.02], atol=1e-7)
    (animation,) = gltf.animations
    assert (animation.name, animation.tracks[0].node, animation.tracks[0].path) == ("wave", 2, "rotation")


@pytest.mark.parametrize(
    ("kind", "more"),
    [("f4", {}), ("f4", {"stride": 20}), ("f4", {"sparse": True}), ("i2", {}), ("u1", {}), ("i1", {"stride": 4})],
)
def test_positions_of_every_kind(tmp_path, kind, more):
    file = GltfFile()
    triangle(file, file.add(CORNERS, kind, **more))
    (surface,) = read_gltf(file.write(tmp_path / "a.glb")).surfaces
    np.testing.assert_array_equal(surface.vertices, CORNERS[:3])
    np.testing.assert_array_equal(surface.faces, [[0, 1, 2]])


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("u1", [[255, 0, 51]], [[1, 0, 0.2]]),
        ("i1", [[127, -127, -128]], [[1, -1, -1]]),
        ("u2", [[65535, 0, 13107]], [[1, 0, 0.2]]),
        ("i2", [[32767, -32767, -32768]], [[1, -1, -1]]),
    ],
)
def test_normalised_integers(tmp_path, kind, values, expected):
    file = GltfFile()
    triangle(file, file.add(np.repeat(values, 3, axis=0), kind, normalized=True))
    (surface,) = read_gltf(file.write(tmp_path / "a.glb")).surfaces
    np.testing.assert_allclose(surface.vertices[0], expected[0], atol=1e-15)


@pytest.mark.parametrize(
    ("mode", "order", "faces"),
    [
        (4, [0, 1, 2, 2, 1, 3, 0], [[0, 1, 2], [2, 1, 3]]),
        (5, [0, 1, 2, 3], [[0, 1, 2], [1, 3, 2]]),
        (6, [0, 1, 2, 3], [[1, 2, 0], [2, 3, 0]]),
    ],
)
def test_triangles_strips_and_fans(tmp_path, mode, order, faces):
    file = GltfFile()
    triangle(file, file.add(CORNERS), indices=file.add(np.reshape(order, (-1, 1)), "u1"), mode=mode)
    (surface,) = read_gltf(file.write(tmp_path / "a.glb")).surfaces
    np.testing.assert_array_equal(surface.faces, faces)


def test_points_and_unused_vertices_are_left_out(tmp_path):
    file = GltfFile()
    positions = file.add(CORNERS)
    triangle(file, positions, mode=0)
    triangle(file, positions, indices=file.add([[3], [1], [0]], "u2"))
    (surface,) = read_gltf(file.write(tmp_path / "a.glb")).surfaces
    np.testing.assert_array_equal(surface.vertices[surface.faces[0]], CORNERS[[3, 1, 0]])
    assert len(surface.vertices) == 3


def test_matrices_of_nodes_are_stored_by_columns(tmp_path):
    file = GltfFile()
    file.node("a", matrix=[0, 1, 0, 0, -1, 0, 0, 0, 0, 0, 1, 0, 5, 6, 7, 1])
    gltf = read_gltf(file.write(tmp_path / "a.glb"))
    np.testing.assert_array_equal(gltf.matrices[0] @ [1, 0, 0, 1], [5, 7, 7, 1])


@pytest.mark.parametrize(
    "uri",
    [
        "../secret.bin",
        "%2e%2e/secret.bin",
        "sub/../../secret.bin",
        "link.bin",
        "http://host/a.bin",
        "file:///etc/passwd",
    ],
)
def test_nothing_outside_the_folder_is_read(tmp_path, uri):
    inside = tmp_path / "inside"
    inside.mkdir()
    file = small_arm()
    (tmp_path / "secret.bin").write_bytes(file.binary)
    (inside / "link.bin").symlink_to(tmp_path / "secret.bin")
    content = file.content()
    content["buffers"][0]["uri"] = uri
    (inside / "a.gltf").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"a.gltf: expected (buffers inside its own folder|a file beside it)"):
        read_gltf(inside / "a.gltf")


def test_absolute_paths_are_refused(tmp_path):
    content = small_arm().content()
    content["buffers"][0]["uri"] = "/etc/passwd"
    (tmp_path / "a.gltf").write_text(json.dumps(content))
    with pytest.raises(InputError, match="inside its own folder, found '/etc/passwd'; it is not read"):
        read_gltf(tmp_path / "a.gltf")


def change(path: list, value: object):
    """A change of one place in the JSON."""

    def apply(content: dict) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return apply


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (["asset", "version"], "1.0", "expected glTF version 2, found 1.0"),
        (["nodes"], [], "expected 1 to 20000 nodes, found 0"),
        (["nodes", 3, "children"], [0], "found a circle"),
        (["nodes", 4, "children"], [1], "one parent for node 1, found two"),
        (["nodes", 0, "children"], [99], "child of node 0, found 99"),
        (["nodes", 0, "rotation"], [0, 0, 1], "expected 4 numbers as rotation of node 0"),
        (["nodes", 0, "translation"], [0, 0, 10**400], "damaged"),
        (["buffers", 0, "byteLength"], 10**6, "bytes in buffer 0, found"),
        (["accessors", 1, "count"], 10**6, "bytes in a bufferView"),
        (["accessors", 1, "componentType"], 1234, "known component type"),
        (["accessors", 1, "type"], "VEC9", "of type VEC3, found VEC9"),
        (["bufferViews", 1, "byteStride"], 4, "byteStride of 12 or more"),
        (["skins", 0, "joints"], [0, 0, 1, 2], "different joints"),
        (["skins", 0, "joints", 0], "Hips", "joint of a skin, found Hips"),
        (["nodes", 4, "skin"], 3, "whole number from 0 to 0 as skin"),
        (["extensionsRequired"], ["KHR_draco_mesh_compression"], "found Draco compression; export without"),
        (["animations", 0, "samplers", 0, "interpolation"], "SPLINE", "known interpolation"),
        (["animations", 0, "samplers", 0, "input"], 3, "of type SCALAR"),
        (["meshes", 0, "primitives"], 5, "damaged"),
    ],
)
def test_damage_is_explained(tmp_path, path, value, reason):
    file = small_arm()
    content = file.content()
    change(path, value)(content)
    (tmp_path / "a.glb").write_bytes(glb(content, bytes(file.binary)))
    with pytest.raises(InputError, match=f"a.glb: .*{reason}"):
        read_gltf(tmp_path / "a.glb")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "found something else"),
        (b"glTF", "damaged"),
        (b"glTF\x01\0\0\0\x0c\0\0\0", "GLB version 2, found 1"),
        (b"glTF\x02\0\0\0\xff\0\0\0", "cut short"),
        (b"glTF\x02\0\0\0\x0c\0\0\0", "expected a JSON chunk"),
        (b"[" * 100000, "found something else"),
        (b'{"asset": {"version": NaN}}', "expected finite numbers, found NaN"),
        (b"[]", "expected a JSON object"),
    ],
)
def test_what_is_no_gltf_is_explained(tmp_path, data, reason):
    (tmp_path / "a.glb").write_bytes(data)
    with pytest.raises(InputError, match=f"a.glb: .*{reason}"):
        read_gltf(tmp_path / "a.glb")


def test_a_few_lines_cannot_ask_for_any_memory(tmp_path):
    file = GltfFile()
    huge = file.append("accessors", {"componentType": 5126, "count": MAX_NUMBERS // 3 + 1, "type": "VEC3"})
    triangle(file, huge)
    with pytest.raises(InputError, match="at most 12000000 numbers"):
        read_gltf(file.write(tmp_path / "a.glb"))
    file = small_arm()
    file.json["meshes"][0]["primitives"] *= 10001
    with pytest.raises(InputError, match="at most 10000 primitives"):
        read_gltf(file.write(tmp_path / "b.glb"))


def test_a_few_lines_cannot_ask_for_any_number_of_animations(tmp_path, monkeypatch):
    file = small_arm()
    file.json["animations"] *= 1001
    with pytest.raises(InputError, match="at most 1000 animations, found 1001; export them into several files"):
        read_gltf(file.write(tmp_path / "a.glb"))
    file.json["animations"] = file.json["animations"][:1000]
    assert len(read_gltf(file.write(tmp_path / "b.glb")).animations) == 1000
    # Few animations whose channels all share what the file holds once.
    track = read_gltf(tmp_path / "b.glb").animations[0].tracks[0]
    monkeypatch.setattr("data.formats.gltf.MOST_KEYS", 100 * (track.times.size + track.values.size))
    with pytest.raises(InputError, match="numbers in all animations, found more"):
        read_gltf(tmp_path / "b.glb")
    file.json["animations"] = file.json["animations"][:100]
    assert len(read_gltf(file.write(tmp_path / "c.glb")).animations) == 100


def test_missing_files_are_named(tmp_path):
    with pytest.raises(InputError, match="a.glb: expected a glTF file, found nothing"):
        read_gltf(tmp_path / "a.glb")
    path = small_arm().write(tmp_path / "a.bin.gltf")
    (tmp_path / "the buffer.bin").unlink()
    with pytest.raises(InputError, match="expected its buffer 'the buffer.bin' beside it, found none"):
        read_gltf(path)
