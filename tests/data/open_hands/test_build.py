"""The built tree: what a reader finds in it, and that building is repeatable."""

import hashlib

import numpy as np
import pytest
import torch
import yaml

from data.character.reading import read_annotated
from data.dataset import character_files
from data.formats.bvh import read_bvh
from data.open_hands.build import Plan, build
from data.open_hands.library import SPLITS, OpenHands
from data.rig import find_hand
from model.hands import offset_hand
from model.kinematics import finger_part, fingers_of
from model.limits import JointLimits
from model.mano import ManoHand
from model.topology import TIPS
from run import build_open_hands
from utils.errors import InputError


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("open") / "MixHandOpen"
    report, built = build(root, Plan.small("both"))
    assert built
    return root, report


def motion(root, name, side):
    """Posed hand of a clip, through the readers that everybody uses."""
    bvh = read_bvh(root / name / "clip.bvh")
    indices = find_hand(bvh.joint_names, side).indices
    local = finger_part(torch.as_tensor(bvh.rotations(indices)))
    if name.startswith("Mano"):
        betas = np.load(root / name / "clip.npy")
        assert betas.shape == (bvh.n_frames, 10) and betas.dtype == np.float32
        mano = ManoHand.load(root / "models", root / "finger_data" / "mano_finger_axis.pkl", side, torch.float64)
        hand = mano.with_shape(torch.as_tensor(betas[:1]).double())
    else:
        own = read_annotated(*character_files(root / "finger_data", name)).hand(side)
        offsets, axes = (torch.as_tensor(part).double() for part in (own.rest.offsets, own.axes))
        hand = offset_hand(offsets, axes, side)
    return bvh, hand.with_local_rotations(local)


def names_of(root):
    splits = yaml.safe_load((root / "splits.yaml").read_text())
    assert tuple(splits) == SPLITS
    return splits, [name for split in splits.values() for names in split.values() for name in names]


def test_tree_is_complete_and_splits_are_disjoint(tree):
    root, report = tree
    splits, names = names_of(root)
    assert len(names) == len(set(names))
    assert all(split["mixamo"] and split["mano"] for split in splits.values())
    outside = splits["test_outside"]["mixamo"] + splits["test_outside"]["mano"]
    assert all("Long" in name or "Short" in name for name in outside)
    for kind in ("Long", "Short"):
        assert any(kind in name for name in splits["test_outside"]["mixamo"])
    assert {p.name for p in root.iterdir() if p.is_dir()} == {*names, "finger_data", "models"}
    assert report["touch_error"] <= 0.01


@pytest.mark.parametrize("side", ["right", "left"])
def test_motion_holds_contacts_and_limits(tree, side):
    root, _ = tree
    _, names = names_of(root)
    touching = []
    for name in names:
        bvh, posed = motion(root, name, side)
        assert bvh.frame_time == pytest.approx(0.2 if name.startswith("Mano") else 1 / 60)
        tips = posed.joints[:, TIPS]
        apart = torch.cdist(tips, tips) / posed.palm_length[:, None, None] + torch.eye(5)
        touching.append(float((apart.flatten(1).amin(1) < 0.02).double().mean()))
        twist, bend, splay = JointLimits().angles(posed.tbs).rad2deg().unbind(-1)
        # Roots turn a little where skin would be in skin; other joints only bend.
        assert twist[:, :4, 0].abs().max() < 15.1 and twist[:, 4, 0].abs().max() < 45.1
        assert twist[..., 1:].abs().max() < 0.2 and splay[..., 1:].abs().max() < 0.2  # more where a bend nears 90
        assert bend[:, :4, 0].min() > -35.01 and bend[:, :4, 1:].min() > -20.01 and bend.max() < 115.01
        assert splay[:, :4, 0].abs().max() < 30.1 and splay[:, 4, 0].abs().max() < 60.1
    assert np.mean(touching) > 0.3


def test_skin_is_hardly_in_skin(tree):
    """Measured on the mesh, by nothing that the cleaning knows."""
    root, _ = tree
    splits, _ = names_of(root)
    gaps = []
    for name in splits["train"]["mixamo"]:
        posed = motion(root, name, "right")[1]
        own = read_annotated(*character_files(root / "finger_data", name)).hand("right")
        some = torch.arange(0, len(posed.local), 12)
        gaps.append(own.skin_gaps.gaps(own.shaped.with_local_rotations(posed.local[some].float())))
    gaps = torch.cat(gaps)
    assert len(gaps) > 60 and (gaps.amin(1) < -0.03).float().mean() < 0.06
    assert (gaps.amin(1) < 0.03).float().mean() > 0.6  # and yet it touches


def test_left_motion_mirrors_right(tree):
    root, _ = tree
    _, names = names_of(root)
    for name in (names[0], next(n for n in names if n.startswith("Mano"))):
        right, left = motion(root, name, "right")[1], motion(root, name, "left")[1]
        mirror = right.joints * torch.tensor([-1.0, 1.0, 1.0])
        assert (left.joints - mirror).abs().max() < 2e-6 * float(right.palm_length.max()) + 1e-7


def test_rest_hands_point_the_right_way_and_are_in_centimetres(tree):
    root, _ = tree
    splits, _ = names_of(root)
    for name in splits["train"]["mixamo"]:
        character = read_annotated(*character_files(root / "finger_data", name))
        for side, sign in (("right", -1), ("left", 1)):
            middle = character.hands[side].rest.offsets[1]
            assert 4 < sign * middle[0] < 16 and abs(middle[2]) < 1
            roots = fingers_of(torch.as_tensor(np.asarray(character.hands[side].rest.offsets)))[:, 0]
            assert roots[3, 2] > roots[2, 2], "the index's side is the thumb's side, +z"
            mesh = character.hand(side).surface
            np.testing.assert_allclose(np.asarray(mesh.weights).sum(1), 1, atol=1e-5)


def test_shape_outside_training_range():
    hands = OpenHands.load()
    ratios = {split: [] for split in SPLITS}
    for name, split in hands.characters.items():
        joints = hands.character_joints(name)
        lengths = np.linalg.norm(np.diff(joints[1:].reshape(5, 4, 3), axis=1), axis=-1).sum(1)
        ratios[split].append(lengths[:4].mean() / np.linalg.norm(joints[1]))
    low, high = min(ratios["train"]), max(ratios["train"])
    assert len(ratios["train"]) >= 24 and len(ratios["val"]) >= 4
    assert len(ratios["test_inside"]) >= 2 and len(ratios["test_outside"]) >= 4
    assert all(low <= r <= high for r in ratios["test_inside"])
    assert all(r < 0.92 * low or r > 1.05 * high for r in ratios["test_outside"])
    assert any(r < low for r in ratios["test_outside"]) and any(r > high for r in ratios["test_outside"])


def digests(root):
    return {
        p.relative_to(root): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in root.rglob("*")
        if p.suffix in (".bvh", ".npy", ".pkl", ".yaml")
    }


def test_build_is_repeatable_and_skips_what_is_there(tree, tmp_path):
    root, report = tree
    again, built = build(root, Plan.small("both"))
    assert not built and again == report
    other, built = build(tmp_path / "other", Plan.small("both"))
    assert built and other == report and digests(root) == digests(tmp_path / "other")


def test_rebuild_replaces_its_own_files_only(tmp_path):
    plan = Plan("left", 3, dict.fromkeys(SPLITS, (3.0, 3.0)), most=2)
    build(tmp_path, plan)
    kept = tmp_path / "Hand00.npy"
    kept.write_bytes(b"features of somebody else")
    stale = tmp_path / "Hand01" / "clip.bvh"
    assert stale.is_file()
    smaller = Plan("left", 3, dict.fromkeys(SPLITS, (3.0, 3.0)), most=1)
    build(tmp_path, smaller)
    assert kept.is_file() and not stale.exists()
    names = read_bvh(tmp_path / "Hand00" / "clip.bvh").joint_names
    assert names[0] == "mixamorig:LeftHand" and len(names) == 21


def test_output_that_is_a_file_is_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(InputError, match="folder"):
        build(file, Plan.small())


def test_command_line_builds_and_tells(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["build_open_hands", "--small", "--output", str(tmp_path / "open")])
    build_open_hands.main()
    assert "test_outside" in capsys.readouterr().out
    build_open_hands.main()
    assert "up to date" in capsys.readouterr().out
