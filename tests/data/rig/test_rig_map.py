"""Rig maps: written, read back, used, refused."""

from dataclasses import replace

import numpy as np
import pytest

from data.character.reading import Reading, read_character
from data.character.recognised import recognised
from data.formats.bvh import Bvh, write_bvh
from data.formats.skeleton import Skin, write_mesh
from data.motion.glb import write_glb
from data.rig import find_hand, hand_sides, print_map, read_rig_map
from data.rig.rig_map import as_yaml
from model.topology import PINKY, ROOTS
from tests.data.rig.rigs import skeleton
from tests.data.rig.schemes import SCHEMES, WEBXR, made
from utils.errors import InputError


def strange() -> tuple[list[str], list[int], str]:
    """A rig whose names tell nothing, and the map of its right hand: a thumb of two bones, no pinky."""
    names, parents = ["node 0", "node 1"], [-1, 0]
    for _ in range(4):
        for bone in range(3):
            parents.append(1 if bone == 0 else len(names) - 1)
            names.append(f"node {len(names)}")
    text = (
        "right:\n  wrist: node 1\n  thumb: [node 2, node 3, null, node 4]\n  index: [node 5, node 6, node 7]\n"
        "  middle: [node 8, node 9, node 10]\n  ring: [node 11, node 12, node 13]\n  pinky: []\n"
    )
    return names, parents, text


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "map.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_is_printed_reads_back_as_the_same_hand(scheme, write):
    rig = made(SCHEMES[scheme], without=("pinky",))
    text = print_map(rig.names, rig.parents, "rig: of {all}\nkinds.bvh")
    rig_map = read_rig_map(write(text))
    for side in ("right", "left"):
        recognised = find_hand(rig.names, side, parents=rig.parents)
        assert find_hand(rig.names, side, parents=rig.parents, rig_map=rig_map) == recognised


def test_a_rig_that_is_not_recognised(write):
    names, parents, text = strange()
    with pytest.raises(InputError, match="`rig_map`"):
        find_hand(names, "right", parents=parents)
    rig_map = read_rig_map(write(text))
    found = find_hand(names, parents=parents, rig_map=rig_map)
    assert found.indices == (1, 8, 9, 10, None, 11, 12, 13, None, *[None] * 4, 5, 6, 7, None, 2, 3, None, 4)
    assert [f for f, root in enumerate(ROOTS) if found.indices[root] is None] == [PINKY]
    assert hand_sides(names, parents, rig_map) == ("right",)
    assert find_hand(["x" + name for name in made(SCHEMES["mixamo"]).names], rig_map=rig_map).scheme == "mixamo"


def test_names_need_no_care(write):
    names = ["# no: comment", "[x]", "a\tb", "'", '"', "null", "1.5", "é\u2028", "- y"]
    text = print_map(names, None)  # nothing is recognised
    assert "wrist: null" in text and "thumb: []" in text
    indices = [0, 1, 2, 3, None, 4, 5, 6, 7, *[None] * 12]
    rig_map = read_rig_map(write(as_yaml(names, {"right": indices})))
    assert find_hand(names, "right", rig_map=rig_map).indices == tuple(indices)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected the keys right and left, found nothing"),
        ("hand: {}", "found hand"),
        ("right: 3", "right: expected the keys wrist, middle, ring, pinky, index, thumb, found int '3'"),
        ("right: {wrist: a, fingers: []}", "right: expected the keys"),
        ("right: {index: [a]}", "the name of a joint as the wrist, found nothing"),
        ("right: {wrist: 7}", "the name of a joint as the wrist, found int '7'"),
        ("right: {wrist: a, index: b}", "right, index: expected a list of names, found str 'b'"),
        ("right: {wrist: a, index: [1]}", "right, index: expected a list of names"),
        ("right: {wrist: a, index: [b, c, d, e, f]}", "at most three bones that bend and a tip, found 5"),
        ("right: {wrist: a, index: [b, null, d]}", "found a gap"),
        ("right: {wrist: a, index: [a]}", "each joint once, found a several times"),
        ("right: {wrist: a, index: [b]}", "at least 2 fingers beside the thumb for the right hand, found index"),
        ("right: {wrist: a, index: [b], ring: [zz, yy]}", "none called zz, yy"),
        ("[" * 5000, "at most 50 levels"),
        ("right: !!python/object/apply:os.system [ls]", "not valid YAML"),
        ("a: &a [x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nright: {wrist: w, index: [*b,*b]}", "keys right and left"),
        ("right: {wrist: \x00}", "not valid YAML"),
    ],
)
def test_bad_maps_are_explained(write, text, reason):
    with pytest.raises(InputError, match=reason) as error:
        rig_map = read_rig_map(write(text))
        find_hand(["a", "b", "c", "d"], "right", rig_map=rig_map)
    assert str(error.value).isprintable()


def test_files_that_are_no_maps(tmp_path):
    with pytest.raises(InputError, match="found nothing"):
        read_rig_map(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="found a folder"):
        read_rig_map(tmp_path)
    (tmp_path / "large.yaml").write_bytes(b"a" * (1 << 20))
    with pytest.raises(InputError, match="1048576 bytes"):
        read_rig_map(tmp_path / "large.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"right: \xff")
    with pytest.raises(InputError, match="cannot be read"):
        read_rig_map(tmp_path / "latin.yaml")


def test_maps_of_several_rigs_stand_in_one_file(write):
    names, parents, text = strange()
    other, other_text = ["o " + name for name in names], text.replace("node", "o node")
    rig_map = read_rig_map(write(f"# two rigs\n{text}\n---\n# the other\n{other_text}"))
    for each in (names, other):
        assert find_hand(each, "right", parents=parents, rig_map=rig_map).indices[:4] == (1, 8, 9, 10)
    assert hand_sides(other, parents, rig_map) == ("right",)


KINDS = {
    "bvh": lambda bones, folder: folder / "made.bvh",
    "glb": lambda bones, folder: folder / "made.glb",
    "mesh": lambda bones, folder: folder / "made_mesh_data.npz",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("known", [True, False], ids=["recognised", "nonsense"])
def test_every_kind_of_file_gives_a_map_that_can_be_given_back(tmp_path, write, kind, known):
    bones = skeleton(without=("ring",))
    if not known:
        bones = replace(bones, names=tuple(f"b{k}" for k in range(len(bones.names))))
    turns = np.tile(np.eye(3), (2, len(bones.names), 1, 1))
    still = Bvh.from_rotations(bones.names, bones.parents, bones.offsets, turns, frame_time=1 / 30)
    path, corners = KINDS[kind](bones, tmp_path), np.eye(3) * 0.4
    skin = Skin((bones.heads[:, None] + corners).reshape(-1, 3), np.arange(3 * len(bones.names)).reshape(-1, 3),
                np.repeat(np.eye(len(bones.names), dtype=np.float32), 3, axis=0))  # fmt: skip
    if kind == "bvh":
        write_bvh(path, still)
    elif kind == "glb":
        write_glb(path, bones, skin, still, "still")
    else:
        write_mesh(path, replace(bones, bases=np.tile(np.eye(3), (len(bones.names), 1, 1))), skin)
    text = recognised([path])
    if known:
        expected = find_hand(bones.names, "left", parents=bones.parents)
        assert "ring: []" in text and "No whole hand" not in text
    else:  # the user fills the start in from the list of joints
        assert all(f'"b{k}"' in text for k in range(len(bones.names)))
        plain = skeleton(without=("ring",))
        expected = find_hand(plain.names, "left", parents=plain.parents)
        text = as_yaml(bones.names, {"left": expected.indices})
    found = read_character(str(path), Reading(tmp_path, rig_map=read_rig_map(write(text)))).hands["left"].map
    assert found.indices == expected.indices


def test_a_hand_without_a_side_is_printed_as_the_hand_that_it_is(tmp_path, write):
    rig = made(WEBXR)
    bones = skeleton()
    left = find_hand(bones.names, "left", parents=bones.parents)
    heads = np.zeros((len(rig.names), 3))
    for joint, name in enumerate(rig.answer["right"]):
        heads[rig.names.index(name)] = bones.heads[left.indices[joint]]
    sides = hand_sides(rig.names, rig.parents, None, heads, "hand.bvh")
    assert print_map(rig.names, rig.parents, "hand.bvh", heads).splitlines()[2] == f"{sides[0]}:"
