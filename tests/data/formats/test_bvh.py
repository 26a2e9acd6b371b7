"""BVH: what is read equals what was written, and every kind of damage is explained with its line."""

import itertools
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytorch3d.transforms import euler_angles_to_matrix, quaternion_to_matrix

from data.formats import bvh as bvh_module
from data.formats.bvh import (
    CHANNEL_NAMES,
    Bvh,
    euler_from_rotations,
    format_rows,
    read_bvh,
    resized,
    rotations_from_euler,
    write_bvh,
)
from data.rig import find_hand
from utils.errors import InputError

GOLDEN = Path(__file__).parents[2] / "golden"
CLIPS = sorted((GOLDEN / "bvh").glob("*.bvh")) + sorted((GOLDEN / "interhand" / "expected").glob("*.bvh"))
ORDERS = ["".join(order) for order in itertools.permutations("XYZ")]

SMALL = """HIERARCHY
ROOT Hips
{
  OFFSET 0 1.5 -2e0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT left arm: upper {2}
  {
    OFFSET +.5 0. 0
    CHANNELS 3 Yrotation Xrotation Zrotation
    End Site
    {
      OFFSET 1 2 3
    }
  }
  JOINT rigid
  {
    OFFSET 0 0 0
  }
}
MOTION
Frames: 2
Frame Time: 0.033333
1 2 3 10 20 30 -40 50 60
1.5e1 -2E-1 .5 0 0 0 1 2 3
"""


def save(folder, text, name="a.bvh"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def same(one: Bvh, other: Bvh) -> bool:
    return (
        one.joint_names == other.joint_names
        and one.channels == other.channels
        and one.end_sites == other.end_sites
        and one.frame_time == other.frame_time
        and all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("parents", "offsets", "values"))
    )


# ----------------------------------------------------------------------------------------------------
# Reading
# ----------------------------------------------------------------------------------------------------


def check_small(bvh):
    assert bvh.joint_names == ("Hips", "left arm: upper {2}", "rigid")
    np.testing.assert_array_equal(bvh.parents, [-1, 0, 0])
    np.testing.assert_array_equal(bvh.offsets, [[0, 1.5, -2], [0.5, 0, 0], [0, 0, 0]])
    assert [len(names) for names in bvh.channels] == [6, 3, 0]
    assert bvh.channels[1] == ("Yrotation", "Xrotation", "Zrotation")
    assert bvh.end_sites == ((1, (1.0, 2.0, 3.0)),)
    assert (bvh.n_frames, bvh.frame_time) == (2, 0.033333)
    np.testing.assert_array_equal(bvh.values, [[1, 2, 3, 10, 20, 30, -40, 50, 60], [15, -0.2, 0.5, 0, 0, 0, 1, 2, 3]])


VARIANTS = {
    "plain": SMALL,
    "windows": SMALL.replace("\n", "\r\n"),
    "old_mac": SMALL.replace("\n", "\r"),
    "tabs": SMALL.replace("  ", "\t").replace("10 20", "10\t20").replace("Frame Time: ", "Frame\tTime:\t"),
    "blank_lines": SMALL.replace("\n", "\n\n \t\n"),
    "trailing_blanks": SMALL.replace("\n", " \t\n"),
    "no_final_newline": SMALL.rstrip(),
    "byte_order_mark": b"\xef\xbb\xbf" + SMALL.encode(),
    "brace_on_same_line": SMALL.replace("Hips\n{", "Hips {").replace("End Site\n    {", "End Site {"),
    "closing_braces_together": SMALL.replace("    }\n  }\n", "    } }\n"),
    "channel_case": SMALL.replace("Xrotation", "XROTATION"),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_of_layout(tmp_path, variant):
    check_small(read_bvh(save(tmp_path, VARIANTS[variant])))


def test_names_that_are_not_utf8(tmp_path):
    bvh = read_bvh(save(tmp_path, SMALL.replace("Hips", "Hüfte").encode("latin-1")))
    assert bvh.joint_names[0] == "Hüfte"


def test_file_without_frames(tmp_path):
    bvh = read_bvh(save(tmp_path, SMALL[: SMALL.index("Frames")] + "Frames: 0\nFrame Time: 0.1\n"))
    assert bvh.values.shape == (0, 9)
    assert bvh.rotations().shape == (0, 3, 3, 3)
    write_bvh(tmp_path / "b.bvh", bvh)
    assert same(bvh, read_bvh(tmp_path / "b.bvh"))


@pytest.mark.parametrize("path", CLIPS, ids=lambda path: path.stem)
def test_golden_files_are_rewritten_word_for_word(tmp_path, path):
    bvh = read_bvh(path)
    write_bvh(tmp_path / "b.bvh", bvh)
    words = [file.read_text().split() for file in (path, tmp_path / "b.bvh")]
    assert words[0] == words[1]
    assert same(bvh, read_bvh(tmp_path / "b.bvh"))
    assert find_hand(bvh.joint_names).side == "right"


@pytest.mark.parametrize("clip", "abc")
def test_golden_rotations(clip):
    bvh = read_bvh(GOLDEN / "bvh" / f"mixamo_clip_{clip}.bvh")
    with np.load(GOLDEN / "bvh" / f"mixamo_clip_{clip}_features.npz") as golden:
        assert bvh.joint_names == tuple(golden["joint_names"])
        np.testing.assert_array_equal(bvh.parents, golden["parents"])
        np.testing.assert_array_equal(bvh.offsets, golden["offsets"])
        assert bvh.frame_time == golden["frame_time"]
        # The golden angles went through a conversion that costs rounding (1e-8 degrees).
        expected = rotations_from_euler(np.radians(golden["rotations_xyz_degrees"]), "XYZ")
        np.testing.assert_allclose(bvh.rotations()[:4], expected, atol=1e-9)
        angles = np.degrees(euler_from_rotations(bvh.rotations()[:4], "XYZ"))
        np.testing.assert_allclose(angles, golden["rotations_xyz_degrees"], atol=1e-7)


def test_golden_annotation_files():
    with np.load(GOLDEN / "interhand" / "expected.npz") as golden:
        for key in golden:
            name, part = key.split("|")
            bvh = read_bvh(GOLDEN / "interhand" / "expected" / f"{name}.bvh")
            if part == "quaternions":
                expected = quaternion_to_matrix(torch.from_numpy(golden[key])).numpy()
                np.testing.assert_allclose(bvh.rotations(), expected, atol=1e-9)
            elif part == "offsets":
                np.testing.assert_allclose(bvh.offsets, golden[key], atol=1e-12)


@pytest.mark.skipif("S2H_REAL_DATA" not in os.environ, reason="S2H_REAL_DATA (a folder of real files) is not set")
def test_real_files(tmp_path):
    paths = sorted(Path(os.environ["S2H_REAL_DATA"]).rglob("*.bvh"))
    assert paths
    for path in paths:
        first = read_bvh(path)
        write_bvh(tmp_path / "b.bvh", first)
        second = read_bvh(tmp_path / "b.bvh")
        np.testing.assert_allclose(second.values, first.values, atol=0.5000001e-6)
        write_bvh(tmp_path / "c.bvh", second)
        assert (tmp_path / "c.bvh").read_bytes() == (tmp_path / "b.bvh").read_bytes()


# ----------------------------------------------------------------------------------------------------
# Rotations
# ----------------------------------------------------------------------------------------------------


def random_rotations(*shape, seed=0):
    quaternions = np.random.default_rng(seed).normal(size=(*shape, 4))
    return quaternion_to_matrix(torch.from_numpy(quaternions)).numpy()


@pytest.mark.parametrize("order", ORDERS)
def test_product_of_elementary_rotations(order):
    angles = np.random.default_rng(0).uniform(-4, 4, size=(5, 7, 3))
    expected = euler_angles_to_matrix(torch.from_numpy(angles), order).numpy()
    np.testing.assert_allclose(rotations_from_euler(angles, order), expected, atol=1e-15)


@pytest.mark.parametrize("order", ORDERS)
def test_angles_give_the_rotation_back(order):
    rotations = random_rotations(200)
    angles = euler_from_rotations(rotations, order)
    np.testing.assert_allclose(rotations_from_euler(angles, order), rotations, atol=1e-14)
    assert np.abs(angles[:, 1]).max() <= np.pi / 2 + 1e-12


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("distance", [0.0, 1e-12, 1e-8, 1e-4])
def test_angles_near_gimbal_lock_give_the_rotation_back(order, distance):
    angles = np.random.default_rng(0).uniform(-3, 3, size=(100, 3))
    angles[:, 1] = np.where(np.arange(100) % 2, 1, -1) * (np.pi / 2 - distance)
    rotations = rotations_from_euler(angles, order)
    np.testing.assert_allclose(
        rotations_from_euler(euler_from_rotations(rotations, order), order), rotations, atol=1e-14
    )


def test_each_joint_has_its_own_channel_order(tmp_path):
    bvh = read_bvh(save(tmp_path, SMALL))
    rotations = bvh.rotations()
    for joint, order, columns in ((0, "ZXY", [3, 4, 5]), (1, "YXZ", [6, 7, 8])):
        expected = euler_angles_to_matrix(torch.from_numpy(np.radians(bvh.values[:, columns])), order).numpy()
        np.testing.assert_allclose(rotations[:, joint], expected, atol=1e-15)
    np.testing.assert_array_equal(rotations[:, 2], np.broadcast_to(np.eye(3), (2, 3, 3)))
    np.testing.assert_array_equal(bvh.rotations([1, 0]), rotations[:, [1, 0]])
    assert bvh.rotations([]).shape == (2, 0, 3, 3)


def test_nine_channels_and_repeated_axes(tmp_path):
    text = SMALL.replace("CHANNELS 3 Yrotation Xrotation Zrotation", f"CHANNELS 9 {' '.join(CHANNEL_NAMES)}")
    text = text.replace("-40 50 60", "7 8 9 -40 50 60 1 1 1").replace("1 2 3\n", "7 8 9 1 2 3 1 1 1\n")
    text = text.replace("OFFSET 7 8 9 1 2 3 1 1 1", "OFFSET 1 2 3")
    text = text.replace("Zrotation Xrotation Yrotation", "Zrotation Xrotation Zrotation")
    bvh = read_bvh(save(tmp_path, text))
    angles = torch.from_numpy(np.radians(bvh.values))
    np.testing.assert_allclose(bvh.rotations([1])[:, 0], euler_angles_to_matrix(angles[:, 9:12], "XYZ"), atol=1e-15)
    np.testing.assert_allclose(bvh.rotations([0])[:, 0], euler_angles_to_matrix(angles[:, 3:6], "ZXZ"), atol=1e-15)


@pytest.mark.parametrize("order", ORDERS)
def test_every_rotation_is_exported(tmp_path, order):
    rotations = random_rotations(11, 4)
    positions = np.random.default_rng(1).normal(size=(11, 3))
    bvh = Bvh.from_rotations(
        ["a", "b", "c", "d"],
        [-1, 0, 1, 0],
        np.ones((4, 3)),
        rotations,
        frame_time=1 / 60,
        order=order,
        root_positions=positions,
        end_sites=[(2, (0, 0, 1))],
    )
    np.testing.assert_allclose(bvh.rotations(), rotations, atol=1e-14)
    np.testing.assert_array_equal(bvh.values[:, :3], positions)
    write_bvh(tmp_path / "a.bvh", bvh, digits=9)
    back = read_bvh(tmp_path / "a.bvh")
    np.testing.assert_allclose(back.rotations(), rotations, atol=1e-10)
    assert back.frame_time == 1 / 60
    assert back.end_sites == ((2, (0.0, 0.0, 1.0)),)


def test_rotation_that_is_not_finite_is_named():
    rotations = random_rotations(3, 2)
    rotations[2, 1, 0, 0] = np.nan
    with pytest.raises(InputError, match="frame 2, joint b"):
        Bvh.from_rotations(["a", "b"], [-1, 0], np.zeros((2, 3)), rotations, frame_time=1)
    with pytest.raises(ValueError, match=r"shape \(F, 1, 3, 3\); got \(3, 2, 3, 3\)"):
        Bvh.from_rotations(["a"], [-1], np.zeros((1, 3)), rotations, frame_time=1)
    with pytest.raises(ValueError, match="permutation"):
        Bvh.from_rotations(["a", "b"], [-1, 0], np.zeros((2, 3)), rotations[:2], frame_time=1, order="XYX")


# ----------------------------------------------------------------------------------------------------
# Writing
# ----------------------------------------------------------------------------------------------------

names = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" {}:\"'#"), min_size=1, max_size=12)
names = names.filter(lambda name: name == name.strip() and name.isprintable())
decimals = st.integers(-(10**9), 10**9).map(lambda n: n / 10**6)
axes = st.lists(st.sampled_from(CHANNEL_NAMES), max_size=9)


@st.composite
def motions(draw):
    """Any skeleton in tree order with any channels, and values of six decimals."""
    parents = [-1]
    for joint in range(1, draw(st.integers(1, 6))):
        ancestors = [joint - 1]
        while parents[ancestors[-1]] >= 0:
            ancestors.append(parents[ancestors[-1]])
        parents.append(draw(st.sampled_from([*ancestors, -1])))
    count = len(parents)
    channels = [draw(axes) for _ in range(count)]
    channels[0] = channels[0] or ["Xrotation"]
    frames, columns = draw(st.integers(0, 4)), sum(map(len, channels))
    rows = [[draw(decimals) for _ in range(columns)] for _ in range(frames)]
    vectors = st.tuples(decimals, decimals, decimals)
    ends = sorted(draw(st.lists(st.integers(0, count - 1), max_size=3)))
    return Bvh(
        joint_names=tuple(draw(names) for _ in range(count)),
        parents=np.array(parents),
        offsets=np.array([draw(vectors) for _ in range(count)]),
        channels=tuple(map(tuple, channels)),
        values=np.array(rows, dtype=np.float64).reshape(frames, columns),
        frame_time=draw(st.just(0.0) | st.floats(1e-4, 10)),
        end_sites=tuple((joint, draw(vectors)) for joint in ends),
    )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bvh=motions())
def test_round_trip_is_exact(tmp_path, bvh):
    path = tmp_path / "a.bvh"
    write_bvh(path, bvh)
    back = read_bvh(path)
    assert same(bvh, back)
    first = path.read_bytes()
    write_bvh(path, back)
    assert path.read_bytes() == first


@settings(max_examples=300, deadline=None)
@given(
    values=st.lists(st.floats(-1e12, 1e12) | st.floats(-400, 400) | decimals, min_size=1, max_size=8),
    digits=st.integers(1, 15),
)
def test_numbers_are_rounded_to_the_digits(values, digits):
    text = format_rows(np.array([values, values]), digits).decode()
    lines = text.splitlines()
    assert text.endswith("\n") and len(lines) == 2 and lines[0] == lines[1]
    words = lines[0].split(" ")
    assert len(words) == len(values)
    for word, value in zip(words, values, strict=True):
        expected = f"{value:.{digits}f}"
        if word != expected:  # ties may go the other way, by one unit of the last digit
            assert len(word.partition(".")[2]) == digits
            assert abs(float(word) - value) <= 0.5 * 10.0**-digits * (1 + 1e-9) + 4e-16 * abs(value)
            assert word.startswith("-") == expected.startswith("-")


def test_numbers_equal_ordinary_formatting():
    values = np.random.default_rng(0).normal(size=(300, 66)) * np.logspace(-8, 4, 66)
    expected = "".join(" ".join(f"{x:.6f}" for x in row) + "\n" for row in values.tolist())
    assert format_rows(values, 6).decode() == expected


def test_long_motion_is_written_in_blocks(tmp_path):
    values = np.round(np.random.default_rng(0).normal(size=(40_000, 3)) * 90, 6)
    bvh = Bvh(("a",), np.array([-1]), np.zeros((1, 3)), (CHANNEL_NAMES[3:6],), values, 0.01)
    write_bvh(tmp_path / "a.bvh", bvh)
    np.testing.assert_array_equal(read_bvh(tmp_path / "a.bvh").values, values)


def test_joints_are_written_in_tree_order(tmp_path):
    """Breadth-first order a, b, c, b2, c2 becomes a, b, b2, c, c2; each joint keeps its rotation."""
    rotations = random_rotations(2, 5)
    bvh = Bvh.from_rotations(
        ["a", "b", "c", "b2", "c2"], [-1, 0, 0, 1, 2], np.arange(15).reshape(5, 3), rotations, frame_time=0.1
    )
    write_bvh(tmp_path / "a.bvh", bvh)
    back = read_bvh(tmp_path / "a.bvh")
    assert back.joint_names == ("a", "b", "b2", "c", "c2")
    np.testing.assert_array_equal(back.parents, [-1, 0, 1, 0, 3])
    np.testing.assert_array_equal(back.offsets, bvh.offsets[[0, 1, 3, 2, 4]])
    np.testing.assert_allclose(back.rotations(), rotations[:, [0, 1, 3, 2, 4]], atol=1e-7)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"values": np.full((2, 9), np.nan)}, "found NaN or infinity in frame 0"),
        ({"offsets": np.full((3, 3), np.inf)}, "finite offsets"),
        ({"joint_names": ("a", "b\nJOINT c", "d")}, "printable joint names"),
        ({"joint_names": ("a", " b", "d")}, "without blanks at the ends"),
        ({"joint_names": ("a", "", "d")}, "printable joint names"),
        ({"frame_time": float("nan")}, "frame time"),
        ({"channels": ((), (), ()), "values": np.zeros((2, 0))}, "at least one channel"),
    ],
)
def test_what_cannot_be_written_leaves_the_old_file(tmp_path, change, reason):
    bvh = read_bvh(save(tmp_path, SMALL))
    old = (tmp_path / "a.bvh").read_bytes()
    with pytest.raises(InputError, match=f"a.bvh: expected .*{reason}"):
        write_bvh(tmp_path / "a.bvh", replace(bvh, **change))
    assert (tmp_path / "a.bvh").read_bytes() == old
    assert os.listdir(tmp_path) == ["a.bvh"]


def test_wrong_shapes_and_trees(tmp_path):
    bvh = read_bvh(save(tmp_path, SMALL))
    with pytest.raises(ValueError, match=r"`offsets` must have shape \(3, 3\); got \(2, 3\)"):
        replace(bvh, offsets=np.zeros((2, 3)))
    with pytest.raises(ValueError, match="`channels` must have 3 items"):
        replace(bvh, channels=bvh.channels[:2], values=bvh.values)
    with pytest.raises(ValueError, match="must form trees"):
        write_bvh(tmp_path / "b.bvh", replace(bvh, parents=np.array([-1, 2, 1])))
    with pytest.raises(ValueError, match="between 1 and 15"):
        write_bvh(tmp_path / "b.bvh", bvh, digits=0)


# ----------------------------------------------------------------------------------------------------
# Errors
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3])
def test_a_count_that_is_one_off_is_said(tmp_path, caplog, count):
    found = read_bvh(save(tmp_path, SMALL.replace("Frames: 2", f"Frames: {count}")))
    assert same(found, read_bvh(save(tmp_path, SMALL)))
    assert f"a.bvh: 'Frames:' says {count}, found 2 whole frames" in caplog.text


def test_offsets_from_position_channels(tmp_path, caplog):
    text = SMALL.replace(
        "OFFSET +.5 0. 0\n    CHANNELS 3", "OFFSET 0 0 0\n    CHANNELS 6 Xposition Zposition Yposition"
    )
    moved = text.replace("30 -40", "30 4 6 5 -40").replace("0 0 0 1 2", "0 0 0 4 6.2 5 1 2")
    found = read_bvh(save(tmp_path, moved))
    np.testing.assert_allclose(found.offsets, [[0, 1.5, -2], [4, 5, 6.1], [0, 0, 0]])
    assert "a.bvh: every OFFSET is 0" in caplog.text
    placed = read_bvh(save(tmp_path, moved.replace("OFFSET 0 0 0\n  }", "OFFSET 0 0 1\n  }")))
    np.testing.assert_allclose(placed.offsets, [[0, 1.5, -2], [0, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("HIERARCHY", "", "begins with HIERARCHY, found none"),
        ("MOTION\n", "", "expected a line MOTION after the hierarchy, found none"),
        ("10 20 30", "10 20", r"line 23 \(frame 0\): expected 9 numbers, one a channel, found 8"),
        ("1 2 3\n", "1 2 3 4\n", r"line 24 \(frame 1\): expected 9 numbers, one a channel, found 10"),
        ("1.5e1", "\n\n1.5e1 7", r"line 26 \(frame 1\): expected 9 numbers, one a channel, found 10"),
        ("1.5e1", "nan", r"line 24 \(frame 1\): expected finite numbers, found NaN or infinity"),
        ("1.5e1", "1e999", r"line 24 \(frame 1\): expected finite numbers, found NaN or infinity"),
        ("1.5e1", "1,5", r"line 24 \(frame 1\): expected a number, found '1,5'"),
        ("1.5e1", "1_5", r"line 24 \(frame 1\): expected a number, found '1_5'"),
        ("1.5e1", "0x1", r"line 24 \(frame 1\): expected a number, found '0x1'"),
        ("-40 50", "-40-50", r"line 23 \(frame 0\): expected a number, found '-40-50'"),
        ("-40 50", "1.5.5 50", r"line 23 \(frame 0\): expected a number, found '1.5.5'"),
        ("Frames: 2", "Frames: 4", "expected 4 frames as 'Frames:' says, found 2"),
        ("Frames: 2", "Frames: 0", "expected 0 frames as 'Frames:' says, found 2"),
        ("Frames: 2", "Frames: two", "line 21: expected 'Frames:' and a count, found 'Frames: two'"),
        ("Frames: 2", "Frames: -2", "line 21: expected 'Frames:' and a count"),
        ("Frames: 2\n", "", "line 21: expected 'Frames:' and a count, found 'Frame Time: 0.033333'"),
        (
            "Time: 0.033333",
            "Time: nan",
            "line 22: expected 'Frame Time:' and seconds, found 'Frame Time: nan'",
        ),
        ("Time: 0.033333", "Time: 1000", "line 22: expected a frame time of 0.0001 to 10 seconds, found 1000"),
        ("Time: 0.033333", "Time: 1e-5", "line 22: expected a frame time of 0.0001 to 10 seconds, found 1e-05"),
        ("Time: 0.033333", "Time: 1e-320", "line 22: expected a frame time"),
        (
            "  }\n}\nMOTION",
            "  }\nMOTION",
            "line 3: expected a '}' that closes the joint Hips, found MOTION first",
        ),
        (
            "}\nMOTION",
            "}\n}\nMOTION",
            "line 20: expected no further '}', all are closed; braces are unbalanced",
        ),
        (
            "CHANNELS 3 Y",
            "CHANNELS 4 Y",
            "line 9: expected CHANNELS, a number and as many names, found '4' and 3",
        ),
        ("CHANNELS 3 Y", "CHANNELS Y", "line 9: expected CHANNELS, a number and as many names"),
        ("CHANNELS 3 Yr", "CHANNELS 3 Wr", "line 9: expected channels of Xposition, .*, found 'Wrotation'"),
        ("OFFSET +.5 0. 0", "OFFSET +.5 0.", r"line 8: expected three numbers after OFFSET, found '\+.5 0.'"),
        ("OFFSET +.5 0. 0", "OFFSET 1 nan 0", "line 8: expected finite numbers after OFFSET"),
        ("    OFFSET +.5 0. 0\n", "", "expected an OFFSET for joint left arm: upper .2., found none"),
        ("ROOT Hips", "ROOT", "line 2: expected a name after ROOT, found none"),
        ("ROOT Hips", "JOINT Hips", "line 2: expected ROOT outside all braces, found JOINT"),
        ("JOINT rigid", "ROOT rigid", "line 15: expected a JOINT inside joint Hips, found ROOT"),
        ("OFFSET 1 2 3", "JOINT x", "line 12: expected only an OFFSET in an End Site, found JOINT"),
        ("OFFSET 1 2 3", "CHANNELS 0", "line 12: expected CHANNELS inside a joint"),
        ("Hips\n{", "Hips", "line 3: expected '{', found 'OFFSET 0 1.5 -2e0'"),
        ("JOINT rigid", "JIONT rigid", "line 15: expected ROOT, JOINT, .* or a brace, found 'JIONT rigid'"),
        ("HIERARCHY\n", "HIERARCHY\nOFFSET 1 2 3\n", "line 2: expected OFFSET inside a joint"),
    ],
)
def test_errors_name_the_line_and_the_cause(tmp_path, old, new, reason):
    assert old in SMALL
    # The last occurrence, since numbers also stand in the hierarchy.
    before, after = SMALL.rsplit(old, 1) if old == "1 2 3\n" else SMALL.split(old, 1)
    with pytest.raises(InputError, match=f"a.bvh.*{reason}") as error:
        read_bvh(save(tmp_path, before + new + after))
    assert "\n" not in str(error.value)


def test_lines_are_counted_the_same_with_windows_line_ends(tmp_path):
    text = SMALL.replace("1.5e1", "nan").replace("\n", "\r\n")
    with pytest.raises(InputError, match=r"line 24 \(frame 1\)"):
        read_bvh(save(tmp_path, text))


def test_numbers_that_make_up_for_each_other(tmp_path):
    """One number too few in a line and one too many in the next: the total is right, the file is not."""
    text = SMALL.replace("50 60\n", "50\n60 ")
    with pytest.raises(InputError, match=r"line 23 \(frame 0\): expected 9 numbers, one a channel, found 8"):
        read_bvh(save(tmp_path, text))


def test_file_cut_anywhere_is_an_input_error(tmp_path):
    whole = SMALL.encode()
    for length in range(len(whole) - 1):
        try:
            bvh = read_bvh(save(tmp_path, whole[:length]))
        except InputError as error:
            assert "a.bvh" in str(error)
        else:  # only the last number can lose digits unnoticed, and only the last line can be missing, which is said
            assert length >= len(whole) - 2 and bvh.n_frames == 2 or whole[:length].endswith(b" 60\n")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_damage_never_escapes(tmp_path, data):
    damaged = bytearray(SMALL.encode())
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        bvh = read_bvh(save(tmp_path, bytes(damaged)))
    except InputError as error:
        assert "a.bvh" in str(error)
    else:
        assert np.isfinite(bvh.values).all()


def test_deep_and_broad_hierarchies(tmp_path):
    depth = 3000
    parents = [-1, *range(depth - 1)]
    bvh = Bvh.from_rotations(
        [f"j{i}" for i in range(depth)],
        parents,
        np.zeros((depth, 3)),
        random_rotations(1, depth),
        frame_time=1,
    )
    write_bvh(tmp_path / "a.bvh", bvh)
    np.testing.assert_array_equal(read_bvh(tmp_path / "a.bvh").parents, parents)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(InputError, match="none.bvh: expected a BVH file, found nothing"):
        read_bvh(tmp_path / "none.bvh")
    with pytest.raises(InputError, match="found a folder"):
        read_bvh(tmp_path)


def test_another_unit_changes_lengths_and_nothing_else(golden):
    motion = read_bvh(golden / "bvh" / "mixamo_clip_a.bvh")
    inches = resized(motion, 1 / 2.54)
    names = [name for channels in motion.channels for name in channels]
    lengths = [name.endswith("position") for name in names]
    assert any(lengths)
    np.testing.assert_allclose(inches.values[:, lengths] * 2.54, motion.values[:, lengths])
    np.testing.assert_allclose(inches.offsets * 2.54, motion.offsets)
    assert np.array_equal(inches.rotations(), motion.rotations())
    assert resized(motion, 1) is motion


def test_floods_of_joints_are_refused_where_they_begin(tmp_path, monkeypatch):
    monkeypatch.setattr("data.formats.bvh._MOST_JOINTS", 2)
    joint = "JOINT j\n{\nOFFSET 0 0 0\nCHANNELS 0\n}\n"
    motion = "MOTION\nFrames: 1\nFrame Time: 0.1\n0 0 0\n"
    text = "HIERARCHY\nROOT r\n{\nOFFSET 0 0 0\nCHANNELS 3 Xrotation Yrotation Zrotation\n"
    path = tmp_path / "many.bvh"
    path.write_text(text + joint + "}\n" + motion)
    assert len(read_bvh(path).joint_names) == 2
    path.write_text(text + joint * 2 + "}\n" + motion)
    with pytest.raises(InputError, match="line 11: expected at most 2 joints"):
        read_bvh(path)


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"], ids=["unix", "windows", "old mac"])
def test_the_size_of_a_block_does_not_matter(tmp_path, monkeypatch, ends):
    """Files are read a block after the other; an error names the same line and frame."""
    values = np.random.default_rng(0).normal(size=(40, 6))
    head = "HIERARCHY\nROOT a\n{\nOFFSET 0 0 0\nCHANNELS 6 " + " ".join(CHANNEL_NAMES[:6]) + "\n}\nMOTION\n\n"
    rows = [" ".join(map(repr, row)) for row in values.tolist()]
    good = head + "Frames: 40\nFrame Time: 0.1\n" + "\n".join(rows) + "\n"
    bad = good.replace(rows[30], rows[30] + " x")
    paths = [save(tmp_path, text.replace("\n", ends), name) for text, name in ((good, "good.bvh"), (bad, "bad.bvh"))]
    said = set()
    for size in (1 << 22, 300, 7):
        monkeypatch.setattr(bvh_module, "_READ_BLOCK", size)
        np.testing.assert_array_equal(read_bvh(paths[0]).values, values)
        with pytest.raises(InputError, match=r"bad.bvh, line 41 \(frame 30\): expected a number, found 'x'") as error:
            read_bvh(paths[1])
        said.add(str(error.value))
    assert len(said) == 1
