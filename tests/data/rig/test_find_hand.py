"""Bone names and hierarchy of any rig → the 21 joints of a hand."""

import json
import os
import random
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.formats.bvh import read_bvh
from data.rig import find_hand, hand_sides, print_map, read_rig_map
from data.rig.hand_map import chains_between
from data.rig.words import parse
from model.topology import FINGERS, INDEX, MIDDLE, PARENTS, PINKY, ROOTS, THUMB, hand_joint_names
from tests.data.rig.schemes import SCHEMES, WEBXR, MadeRig, made
from tests.helpers import plausible_offsets
from utils.errors import InputError


def rig(prefix="mixamorig:", sides=("right", "left")):
    names = [f"{prefix}Hips", f"{prefix}RightForeArm", f"{prefix}LeftForeArm"]
    for side in sides:
        names += [prefix + name for name in hand_joint_names("mixamo", side)]
    return names


def named(names, found):
    return [None if index is None else names[index] for index in found.indices]


def shuffled(rig: MadeRig, seed: int) -> tuple[list[str], list[int]]:
    """Names and parents in another order."""
    order = list(range(len(rig.names)))
    random.Random(seed).shuffle(order)
    place = {old: new for new, old in enumerate(order)}
    parents = [place.get(rig.parents[old], -1) for old in order]
    return [rig.names[old] for old in order], parents


# -- published names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["mixamorig:", "mixamorig6:", "mixamorig_", "", "my rig|mixamorig:"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_mixamo_with_any_prefix_in_any_order(prefix, side):
    names = rig(prefix)
    random.Random(0).shuffle(names)
    found = find_hand(names, side)
    assert (found.domain, found.side, found.scheme, found.complete) == ("mixamo", side, "mixamo", True)
    assert named(names, found) == [prefix + name for name in hand_joint_names("mixamo", side)]


@pytest.mark.parametrize("side", ["right", "left"])
def test_mano(side):
    names = hand_joint_names("mano", side)[::-1]
    found = find_hand(names)
    assert (found.domain, found.side, found.indices) == ("mano", side, tuple(range(20, -1, -1)))


def test_right_hand_is_preferred_and_left_taken_otherwise():
    assert find_hand(rig()).side == "right"
    assert find_hand(rig(sides=("left",))).side == "left"
    assert hand_sides(rig()) == ("right", "left")
    assert hand_sides(["a", "b"]) == ()


def test_first_of_two_characters():
    names = rig("a:") + rig("b:")
    assert named(names, find_hand(names, "left"))[0] == "a:LeftHand"


# -- every scheme ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("side", ["right", "left"])
def test_every_scheme(scheme, side):
    rig = made(SCHEMES[scheme])
    assert named(rig.names, find_hand(rig.names, side, parents=rig.parents)) == rig.answer[side]
    assert hand_sides(rig.names, rig.parents) == ("right", "left")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_most_schemes_by_names_alone(scheme):
    rig = made(SCHEMES[scheme])
    if scheme in ("auto-rig pro", "3ds max cat"):  # the first bones are named otherwise; the wrist is no hand by name
        with pytest.raises(InputError, match="missing: c_middle1.r, c_ring1.r|no wrist above them"):
            find_hand(rig.names, "right")
        return
    found = named(rig.names, find_hand(rig.names, "right"))
    if scheme == "smplx with tips":  # `right_index` is a tip or a metacarpal: only the hierarchy tells
        assert found[1:4] == rig.answer["right"][1:4]
    elif scheme == "copies of one name":  # so may those of two skeletons be called
        assert found[1:3] == ["R_middle", None]
    else:
        assert found == rig.answer["right"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_bone_renamed_to_nonsense_is_found_by_its_chain(scheme):
    rig = made(SCHEMES[scheme])
    for renamed in filter(None, rig.answer["right"]):
        names, answer = (["xyzzy" if name == renamed else name for name in given]
                         for given in (rig.names, rig.answer["right"]))  # fmt: skip
        assert named(names, find_hand(names, "right", parents=rig.parents)) == answer, renamed


@pytest.mark.parametrize(
    ("scheme", "missing"),
    # Only a thumb tells whether four counted bones are a metacarpal and three, or three and a tip, and whether four
    # counted fingers begin with the thumb.
    [(scheme, missing) for scheme in SCHEMES for missing in (("pinky",), ("thumb",), ("ring", "pinky"), ("middle",))
     if missing != ("thumb",) or scheme not in ("metacarpals counted", "mgear", "numbers from the index")],
)  # fmt: skip
def test_missing_fingers_stay_missing(scheme, missing):
    rig = made(SCHEMES[scheme], without=missing)
    found = find_hand(rig.names, "right", parents=rig.parents)
    assert named(rig.names, found) == rig.answer["right"]
    assert {FINGERS[f] for f, root in enumerate(ROOTS) if found.indices[root] is None} == set(missing)
    assert found.present.count(False) == 4 * len(missing)


@pytest.mark.parametrize(
    ("scheme", "name", "domain"),
    [("mixamo 6", "mixamo", "mixamo"), ("smplx", "mano", "mano"), ("mano", "mano", "mano"),
     ("biped", "biped", "mixamo"), ("unreal 5", "unreal", "mixamo"), ("vrm 1", "vrm", "mixamo"),
     ("rokoko", "rokoko", "mixamo"), ("makehuman", "makehuman", "mixamo"), ("daz genesis 9", "daz", "mixamo"),
     ("auto-rig pro", "auto-rig pro", "mixamo"), ("xsens", "xsens", "mixamo"), ("manus", "manus", "mixamo"),
     ("mediapipe", "mediapipe", "mixamo"), ("blendarmocap", "mediapipe", "mixamo"), ("arkit", "arkit", "mixamo"),
     ("visionos", "visionos", "mixamo"), ("mmd english", "mmd", "mixamo"), ("mrtk", "mrtk", "mixamo"),
     ("mgear", "mgear", "mixamo"), ("3ds max cat", "3ds max cat", "mixamo"), ("source engine", "", "mixamo")],
)  # fmt: skip
def test_schemes_are_known_by_name(scheme, name, domain):
    for side in ("right", "left"):
        rig = made(SCHEMES[scheme])
        found = find_hand(rig.names, side, parents=rig.parents)
        assert (found.scheme, found.domain) == (name, domain)


def test_names_that_do_not_tell_the_side_serve_as_either():
    rig = made(WEBXR, sides=("right",))
    for side in ("right", "left"):
        found = find_hand(rig.names, side, parents=rig.parents)
        assert named(rig.names, found) == rig.answer["right"]
        assert (found.side, found.scheme) == (side, "webxr")
    assert hand_sides(rig.names, rig.parents) == ("right", "left")
    with pytest.raises(InputError, match="do not say whether it is right or left"):
        find_hand(rig.names, parents=rig.parents)


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_hand_whose_names_do_not_tell_the_side_is_told_by_its_joints(side):
    rig = made(WEBXR, sides=("right",))
    found = find_hand(rig.names, "right", parents=rig.parents)
    heads = np.zeros((len(rig.names), 3))
    offsets = plausible_offsets(side=side).numpy()
    offsets[4::4] += [0, -0.5, 0]  # bent towards the palm
    for joint, number in enumerate(found.indices):
        heads[number] = offsets[joint] + (heads[found.indices[PARENTS[joint]]] if joint else 0)
    assert hand_sides(rig.names, rig.parents, heads=heads) == (side,)
    other = "left" if side == "right" else "right"
    assert hand_sides(rig.names, rig.parents, heads=heads, source=f"hand_{side}.bvh", side=other) == (side,)
    with pytest.raises(InputError, match=f"expected a {other} hand .* found the joints of a {side} hand"):
        hand_sides(rig.names, rig.parents, heads=heads, source=f"hand_{other}.bvh")
    heads[:, 1] = 0  # as flat as a leaf
    assert hand_sides(rig.names, rig.parents, heads=heads, source="hand_R.bvh") == ("right",)
    assert hand_sides(rig.names, rig.parents, heads=heads, source="hand.bvh", side="left") == ("left",)
    with pytest.raises(InputError, match="neither names nor joints say .* `hands`"):
        hand_sides(rig.names, rig.parents, heads=heads, source="hand.bvh")


def test_a_side_may_stand_above():
    names = ["Hand_L", "Hand_R"] + [
        f"{f}{n}{copy}" for copy in ("", ".001") for f in ("Index", "Ring") for n in (1, 2, 3)
    ]
    parents = [-1, -1, 0, 2, 3, 0, 5, 6, 1, 8, 9, 1, 11, 12]
    found = find_hand(names, "right", parents=parents)
    assert (found.indices[0], found.indices[13:16], found.indices[5:8]) == (1, (8, 9, 10), (11, 12, 13))
    assert find_hand(names, "left", parents=parents).indices[13:16] == (2, 3, 4)


def test_numbers_that_count_all_nodes_of_a_file_are_no_bones():
    """Some exporters append a running number to every name."""
    for scheme in ("mixamo", "biped underscore", "makehuman", "unreal 4"):
        rig = made(SCHEMES[scheme])
        names = [f"{name}_{number:03d}" for number, name in enumerate(rig.names)]
        found = find_hand(names, "left", parents=rig.parents)
        answer = [None if name is None else rig.names.index(name) for name in rig.answer["left"]]
        assert list(found.indices) == answer


def test_a_wrist_without_a_name_is_where_the_fingers_meet():
    rig = made(SCHEMES["unreal 4"])
    names = ["bone_17" if name == "hand_r" else name for name in rig.names]
    assert find_hand(names, "right", parents=rig.parents).indices[0] == names.index("bone_17")
    with pytest.raises(InputError, match="no wrist above them; .*`rig_map`"):
        find_hand(names, "right")


def test_the_fingers_of_an_arm_do_not_make_it_a_wrist():
    rig = made(SCHEMES["unreal 4"])
    hand = rig.names.index("hand_r")
    parents = [rig.parents[hand] if parent == hand else parent for parent in rig.parents]
    names = ["unused" if name == "hand_r" else name for name in rig.names]
    with pytest.raises(InputError, match="no wrist above them"):
        find_hand(names, "right", parents=parents)


def test_two_bones_a_finger():
    names = ["RightHand"] + [f"RightHand{f}{n}" for f in ("Thumb", "Index", "Middle") for n in (1, 2)]
    found = find_hand(names, "right", parents=[-1, 0, 1, 0, 3, 0, 5])
    assert found.indices[1:5] == (5, 6, None, None)
    assert found.present[1:5] == (True, True, False, True)
    assert found.last_bone(MIDDLE) == 2


# -- hierarchy -------------------------------------------------------------------------------------------------------


def test_what_lies_between_is_noted():
    rig = made(SCHEMES["beat"])
    found = find_hand(rig.names, "right", parents=rig.parents)
    number = rig.names.index
    assert found.chains[1] == ((), (number("RightHandMiddle1"),))
    assert found.chains[13] == ((), (number("RightHandIndex"), number("RightHandIndex1")))
    assert found.chains[14] == ((), (number("RightHandIndex2"),))


def test_a_flat_hierarchy_has_paths_up_and_down():
    rig = made(WEBXR, sides=("right",))
    parents = [-1] + [0] * (len(rig.names) - 1)
    found = find_hand(rig.names, "right", parents=parents)
    number = rig.names.index
    assert named(rig.names, found) == rig.answer["right"]
    assert found.chains[13] == ((number("wrist"),), (number("index-finger-phalanx-proximal"),))


def test_parents_in_a_circle_do_not_hang():
    rig = made(SCHEMES["mixamo"])
    parents = list(range(1, len(rig.names))) + [0]
    with pytest.raises(InputError):
        find_hand([f"bone{n}" for n in range(len(parents))], "right", parents=parents)
    find_hand(rig.names, "right", parents=parents)


# -- refusals --------------------------------------------------------------------------------------------------------


def test_one_prefix_for_all_joints():
    names = [name.replace("mixamorig:RightHandRing3", "other:RightHandRing3") for name in rig()]
    with pytest.raises(InputError, match="missing: mixamorig:RightHandRing3;"):
        find_hand(names, "right")


def test_fingers_without_a_hand_are_named():
    with pytest.raises(InputError) as error:
        find_hand(["RightHand", "RightHandThumb1", "RightHandThumb2", "RightHandIndex1"], "right", source="clip.bvh")
    message = str(error.value)
    assert message.startswith(
        "clip.bvh: expected a right hand, found its wrist RightHand and the index, thumb of the "
    )
    assert (
        "but fewer than 2 fingers beside the thumb; complete the rig, or say which joints they are with `rig_map`"
        in (message)
    )


def test_a_joint_that_occurs_twice_is_named():
    names = [name.replace("RightHandMiddle1", "RightHandIndex1") for name in rig(sides=("right",))]
    with pytest.raises(InputError, match="RightHandIndex1 several times"):
        find_hand(names, "right")


def test_the_start_of_a_map_lists_the_joints_of_a_rig_that_tells_nothing():
    text = print_map([f"Bone_{n:02d}" for n in range(30)], [*range(-1, 29)])
    assert "wrist: null" in text and '#     "Bone_01"' in text and '"Bone_29"' in text


def test_a_map_that_fits_nothing_is_named(tmp_path):
    (tmp_path / "map.yaml").write_text("right: {wrist: Nope, thumb: [X], index: [A], middle: [B]}")
    with pytest.raises(InputError, match="map.yaml is one of this file's joints"):
        find_hand(["Bone_0", "Bone_1"], "right", rig_map=read_rig_map(tmp_path / "map.yaml"))


def test_absent_hand_names_what_is_expected_and_the_other_side():
    with pytest.raises(InputError, match="RightHandIndex1, .*found mixamorig:Hips.*the file has a right hand"):
        find_hand(rig(sides=("right",)), "left")
    with pytest.raises(InputError, match="found no joints"):
        find_hand([])
    with pytest.raises(InputError, match="found the wrist RightHand without fingers among RightArm, RightHand;"):
        find_hand(["RightArm", "RightHand"], "right")


def test_unknown_side():
    with pytest.raises(ValueError, match="both"):
        find_hand(rig(), "both")


# -- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "side", "finger", "numbers"),
    [("RIndex1", "right", INDEX, ("1",)), ("Lring_02", "left", 1, ("02",)), ("thumb.01.L", "left", THUMB, ("01",)),
     ("hand_pinky_a_r", "right", PINKY, ("1",)), ("Spine1", None, None, ()), ("EarringLeft", "left", None, ()),
     ("RightForeArm", "right", None, ()), ("GunPoint_R", "right", INDEX, ()), ("Meñique1.R", "right", PINKY, ("1",)),
     ("J_Bip_L_Ring1.R", "right", 1, ("1",)), ("CC_Base_R_Mid2", "right", MIDDLE, ("2",)),
     ("lip_r", "right", None, ()),
     ("String_r", "right", None, ()), ("Stringer", None, None, ()), ("ThumbstickR", "right", None, ())],
)  # fmt: skip
def test_words(name, side, finger, numbers):
    found = parse(name)
    assert (found.side, found.finger, found.numbers) == (side, finger, numbers)


def test_helpers_are_no_joints():
    for name in ("ik_hand_r", "RightHandThumb1_twist", "CTRL_index_01_r", "weapon_hand_r", "hand_r_ik"):
        assert not parse(name).is_finger and not parse(name).is_wrist


# -- any rig ---------------------------------------------------------------------------------------------------------

PREFIXES = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12).map(lambda s: s + ":")


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(SCHEMES)), PREFIXES, st.integers(0, 1 << 16), st.data())
def test_prefix_order_and_extra_bones_do_not_matter(scheme, prefix, seed, data):
    rig = made(SCHEMES[scheme])
    known = set(rig.names)
    extra = data.draw(st.lists(st.sampled_from(
        ["prop", "sleeve", "Hair_L", "eye_r", "Earring.L", "watch_r", "RightToe1", "tail_01", "finger", "hand"]),
        max_size=4, unique=True))  # fmt: skip
    names, parents = list(rig.names), list(rig.parents)
    for name in extra:
        if name not in known:
            above = data.draw(st.integers(0, len(names) - 1))
            if names[above] in ("thumb_03_r", "thumb_03_l"):
                above = 0  # a fourth bone of the thumb says that fingers of four have tips
            parents.append(above)
            names.append(name)
    names, parents = shuffled(MadeRig([prefix + name for name in names], parents, {}), seed)
    for side in ("right", "left"):
        answer = [None if name is None else prefix + name for name in rig.answer[side]]
        assert named(names, find_hand(names, side, parents=parents)) == answer


def test_a_circle_below_the_wrist_ends():
    """Joints whose parents run in a circle, apart from the wrist: the search for what lies between must end."""
    names = rig(sides=("right",))
    parents = [names.index("mixamorig:RightHand")] * len(names)
    for finger in ("Index", "Middle"):
        first, second = (names.index(f"mixamorig:RightHand{finger}{n}") for n in (1, 2))
        parents[first], parents[second] = second, first
    chains = chains_between(find_hand(names, "right").indices, parents)
    assert len(chains) == 21 and max(len(down) for _, down in chains) <= 2


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=40) | st.sampled_from(rig()), max_size=60), st.data())
def test_any_names_give_a_hand_or_an_explanation(names, data):
    parents = data.draw(st.lists(st.integers(-1, len(names) - 1), min_size=len(names), max_size=len(names)))
    for above in (None, parents):
        try:
            found = find_hand(names, parents=above)
        except InputError as error:
            assert str(error).isprintable()
        else:
            assert found.indices[0] is not None
            given_numbers = [index for index in found.indices if index is not None]
            assert len(set(given_numbers)) == len(given_numbers)


@pytest.mark.parametrize(
    "name", ["A" * 100_000, "a" * 199, "rl" * 99, "Aa1_" * 49, "ring" * 50, "r" * 32, "9" * 200, "٣" * 50]
)
def test_hostile_names_are_read_at_once(name):
    start = time.process_time()
    for number in range(20):
        parse(name + str(number))
    assert time.process_time() - start < 1


# -- real files ------------------------------------------------------------------------------------------------------

REAL = os.environ.get("S2H_REAL_DATA")
needs_real = pytest.mark.skipif(REAL is None, reason="S2H_REAL_DATA (a folder of real files) is not set")


def gltf_skeleton(path: Path) -> tuple[list[str], list[int]]:
    data = path.read_bytes()
    if data[:4] == b"glTF":
        data = data[20 : 20 + struct.unpack("<I", data[12:16])[0]]
    nodes = json.loads(data)["nodes"]
    parents = [-1] * len(nodes)
    for number, node in enumerate(nodes):
        for child in node.get("children", ()):
            parents[child] = number
    return [node.get("name", "") for node in nodes], parents


@needs_real
@pytest.mark.parametrize(
    ("file", "sides", "scheme", "tips", "folded"),
    [("Granny/granny.gltf", ("right", "left"), "mixamo", 0, 0), ("human-male.glb", ("right", "left"), "unreal", 5, 0),
     ("godot_hand_r.gltf", ("right",), "openxr", 5, 4)],
)  # fmt: skip
def test_real_rigs(file, sides, scheme, tips, folded):
    names, parents = gltf_skeleton(Path(REAL) / "rigs" / file)
    assert hand_sides(names, parents) == sides
    for side in sides:
        found = find_hand(names, side, parents=parents)
        assert (found.scheme, found.present) == (scheme, (True,) * 21)
        assert sum(found.indices[tip] is not None for tip in (4, 8, 12, 16, 20)) == tips
        assert sum(len(down) > 1 for _, down in found.chains) == folded


@needs_real
def test_a_real_hand_without_a_pinky():
    motion = read_bvh(Path(REAL) / "bvh" / "Mousey_Macarena.bvh")
    for side in ("right", "left"):
        found = find_hand(motion.joint_names, side, parents=motion.parents)
        assert [f for f, root in enumerate(ROOTS) if found.indices[root] is None] == [PINKY]
        assert found.present == tuple(joint not in (9, 10, 11, 12) for joint in range(21))
