import pytest

from model.topology import (
    FINGERS,
    MANO_BONES,
    MANO_TO_HAND,
    N_JOINTS,
    PALM_ANCHORS,
    PARENTS,
    ROOTS,
    TIPS,
    check_side,
    hand_joint_names,
)


def test_the_tree():
    assert PARENTS == (-1, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19)
    assert ROOTS == (1, 5, 9, 13, 17) and TIPS == (4, 8, 12, 16, 20)


def test_joint_names():
    mixamo = hand_joint_names("mixamo", "left")
    assert mixamo[:6] == (
        "LeftHand", "LeftHandMiddle1", "LeftHandMiddle2", "LeftHandMiddle3", "LeftHandMiddle4", "LeftHandRing1",
    )  # fmt: skip
    mano = hand_joint_names("mano", "right")
    assert mano[0] == "right_wrist" and mano[9] == "right_pinky1" and mano[20] == "right_thumb4"
    for domain in ("mixamo", "mano"):
        assert len(set(hand_joint_names(domain, "right"))) == N_JOINTS


def test_mano_order():
    """MANO's joints come as index, middle, pinky, ring, thumb, and so do its tips after them."""
    fingers = ("index", "middle", "pinky", "ring", "thumb")
    mano = ["wrist", *(f"{f}{k}" for f in fingers for k in (1, 2, 3)), *(f"{f}4" for f in fingers)]
    ours = ["wrist", *(f"{f}{k}" for f in FINGERS for k in (1, 2, 3, 4))]
    assert [mano[i] for i in MANO_TO_HAND] == ours
    assert [mano[i] for i in MANO_BONES] == [name for name in ours[1:] if not name.endswith("4")]


def test_anchors():
    thirds = [(root, share / 3) for share in (1, 2) for root in (1, 5, 9, 13)]
    assert list(PALM_ANCHORS) == [*thirds, (17, 0.5)]


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="side.*'both'"):
        check_side("both")
    with pytest.raises(ValueError, match="domain.*'smpl'"):
        hand_joint_names("smpl", "right")
