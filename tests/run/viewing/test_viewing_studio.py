"""What is chosen, and what follows."""

from pathlib import Path

import numpy as np
import pytest

from data.character.gltf import read_gltf_character
from data.formats.bvh import read_bvh
from data.motion.mano_file import read_mano_motion
from model.proportions import Proportions
from run.viewing.export import FORMATS, formats
from run.viewing.hands import Shelf
from run.viewing.methods import Methods
from run.viewing.studio import LARGEST_FILE, Studio, shown_name
from run.viewing.take import SOURCE
from utils.errors import InputError


def test_it_begins_with_unlike_hands_of_both_kinds(studio):
    choice = studio.choice
    assert (choice.source, choice.clip, choice.target) == ("HandLong0", "clip", "ManoShort0")
    assert studio.take.columns == ["source", "rotation_copy", "tbs_copy", "asrn", "optimizer", "optimizer_contacts"]


def test_without_checkpoints_the_other_methods_are_offered(shelf):
    assert Studio(shelf, Methods({})).methods.names == ["rotation_copy", "tbs_copy", "optimizer", "optimizer_contacts"]


def test_choosing_keeps_what_it_can(studio):
    first = studio.take
    assert studio.choose(target="ManoShort0") is first  # nothing changed
    take = studio.choose(target="HandShort0")
    assert take is not first and take.source is first.source  # not read again
    studio.choose(proportions=Proportions(palm_width=1.2))
    assert studio.take.source is first.source
    studio.choose(source="ManoLong0")
    assert studio.choice.clip == "clip" and studio.choice.proportions.palm_width == 1.2
    studio.choose(target="HandLong0")
    assert studio.choice.proportions == Proportions()  # another target has its own


def test_within_a_domain_too(studio):
    for source, target in (("HandLong0", "HandShort0"), ("ManoLong0", "ManoShort0")):
        take = studio.choose(source=source, target=target)
        assert studio.work(take, 0.0, ["source", "tbs_copy"])
        assert take.hand("tbs_copy").name == target


def test_a_choice_that_fails_leaves_the_earlier_one(studio):
    before = studio.choice, studio.take
    with pytest.raises(InputError, match="nothing"):
        studio.choose(clip="no such clip")
    assert (studio.choice, studio.take) == before


def test_proportions_change_the_drawn_hand_but_not_its_scale(studio):
    take = studio.choose(target="HandShort0")
    take.work_out("tbs_copy", 0)
    before = np.ptp(take.moment("tbs_copy", 0.0).vertices, axis=0).max()
    take = studio.choose(proportions=Proportions(palm_length=1.5, finger_length=1.5))
    take.work_out("tbs_copy", 0)
    assert np.ptp(take.moment("tbs_copy", 0.0).vertices, axis=0).max() > 1.2 * before


def test_work_comes_in_order_of_need_and_ends(studio):
    take, columns = studio.take, ["source", "tbs_copy"]
    time = (take.n_pieces - 1) * 48 / 15.0 + 0.1  # in the last piece: what comes next is the first
    done = []
    original = take.work_out
    take.work_out = lambda column, number, surface=False: (
        done.append((column, number, surface)), original(column, number, surface)
    )  # fmt: skip
    while studio.work(take, time, columns):
        assert len(done) < 100
    last = take.n_pieces - 1
    assert done[:4] == [("source", last, True), ("tbs_copy", last, True), ("source", 0, True), ("tbs_copy", 0, True)]
    assert all(take.means(column) is not None for column in columns)


def test_a_method_that_fails_is_told_and_left_out(studio, monkeypatch):
    def broken(self, method, *rest):
        raise ValueError("cannot")

    monkeypatch.setattr(Methods, "pose", broken)
    while studio.work(studio.take, 0.0, ["source", "tbs_copy"]):
        pass
    assert studio.take.failures == {"tbs_copy": "ValueError: cannot"} and studio.take.means("source") is not None


def test_a_dropped_motion_becomes_the_source(studio, open_small):
    content = (open_small / "ManoLong0" / "clip.bvh").read_bytes()
    told = studio.drop("C:\\Users\\me\\my clip.bvh", content)
    assert "45 frames at 5 per second" in told
    assert studio.choice.source == studio.choice.clip == "my clip"
    assert studio.take.source.hand.character.kind == "mano"
    studio.drop("my clip.bvh", content)
    assert studio.choice.source == "my clip (2)" and studio.sources[:2] == ["my clip (2)", "my clip"]
    assert studio.work(studio.take, 0.0, ["source", "tbs_copy"])


def test_a_dropped_character_becomes_the_target(studio):
    studio.choose(target="HandShort0")
    name, content = studio.download("tbs_copy", "GLB (skinned)")
    assert name == "HandShort0_clip_tbs_copy.glb"
    studio.drop("hero.glb", content)  # it has a motion too, so it is a source
    assert studio.choice.source == "hero" and studio.take.source.hand.own.surface is not None
    studio.choose(target="hero", proportions=Proportions(finger_length=1.3))
    assert studio.take.target.name == "hero"
    assert studio.work(studio.take, 0.0, ["tbs_copy"])


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("bad.bvh", b"", "bad.bvh: expected a BVH file"),
        ("bad.bvh", b"HIERARCHY\nROOT x\n{\nOFFSET 0 0\n", "bad.bvh"),
        ("bad.bvh", bytes(range(256)) * 40, "bad.bvh"),
        ("x.exe", b"MZ", "expected one of .bvh"),
        ("none", b"", "no suffix"),
        ("../../etc/passwd.bvh", b"root", "passwd.bvh: expected a BVH"),
        ("bad.glb", b"glTF" + bytes(100), "bad.glb"),
        ("bad.npz", b"PK" + bytes(100), "bad.npz"),
    ],
)
def test_bad_files_are_refused_by_their_own_name(studio, name, content, message):
    before = studio.choice, list(studio.sources), list(studio.targets)
    with pytest.raises(InputError) as error:
        studio.drop(name, content)
    assert message in str(error.value) and "s2h_view" not in str(error.value)
    assert (studio.choice, list(studio.sources), list(studio.targets)) == before
    assert not list(Path(studio._folder.name).iterdir())


@pytest.mark.parametrize(
    "name, shown",
    [
        ("...bvh", "file.bvh"),
        (".bvh", "file.bvh"),
        ("..\\..\\up.bvh", "up.bvh"),
        ("a/../../etc/x.BVH", "x.BVH"),
        ("x" * 300 + ".bvh", "x" * 60 + ".bvh"),
        ("\u202e\0\n\u2028evil.bvh", "evil.bvh"),
        ("  . mine . .bvh", "mine.bvh"),
        ("手.glb", "手.glb"),
        ("", "file"),
    ],
)
def test_names_are_made_harmless(name, shown):
    assert shown_name(name) == shown


def test_names_of_files_are_never_paths(studio, open_small, tmp_path):
    """Whatever it is called, a file is a number in a private folder, and a hand of a harmless name."""
    content = (open_small / "ManoLong0" / "clip.bvh").read_bytes()
    folder = Path(studio._folder.name)
    assert folder.stat().st_mode & 0o77 == 0
    names = ["...bvh", "/etc/passwd.bvh", "n" * 255 + ".bvh", f"{tmp_path}/planted.bvh", "..\\..\\..\\planted.bvh"]
    for name in names:
        studio.drop(name, content)
        assert studio.choice.source.strip(". ") and "/" not in studio.choice.source
        download, written = studio.download("tbs_copy", "BVH")
        assert len(download.encode()) < 200 and "/" not in download and written
    assert sorted(path.name for path in folder.iterdir()) == [f"{n}.bvh" for n in range(1, len(names) + 1)]
    assert not list(tmp_path.iterdir())
    studio.close()
    assert not folder.exists()


def test_visitors_do_not_see_each_others_files(shelf, methods, open_small):
    content = (open_small / "ManoLong0" / "clip.bvh").read_bytes()
    one, two = (Studio(shelf.for_visitor(), methods) for _ in range(2))
    one.drop("mine.bvh", content)
    assert "mine" in one.sources and "mine" not in two.sources + shelf.names
    two.drop("mine.bvh", (open_small / "HandLong0" / "clip.bvh").read_bytes())
    assert (one.take.source.hand.character.kind, two.take.source.hand.character.kind) == ("mano", "skeleton")
    one.close()
    assert two.sources[0] == "mine"
    two.close()


def test_a_visitors_files_are_limited_together(studio, open_small, monkeypatch):
    content = (open_small / "ManoLong0" / "clip.bvh").read_bytes()
    monkeypatch.setattr("run.viewing.studio.LARGEST_FOLDER", int(1.5 * len(content)))
    studio.drop("one.bvh", content)
    with pytest.raises(InputError, match="in all"):
        studio.drop("two.bvh", content)


def test_too_large_a_file_is_refused(studio, monkeypatch):
    monkeypatch.setattr("run.viewing.studio.LARGEST_FILE", 1 << 20)
    assert LARGEST_FILE > 1 << 20
    with pytest.raises(InputError, match="at most 1 MB"):
        studio.drop("big.bvh", bytes((1 << 20) + 1))


def test_downloads_are_read_back(studio, tmp_path, open_small):
    take = studio.take
    source = read_bvh(open_small / "HandLong0" / "clip.bvh")
    for column in (SOURCE, "tbs_copy", "asrn"):
        for kind in formats(take.hand(column)):
            name, content = studio.download(column, kind)
            path = tmp_path / name
            path.write_bytes(content)
            if path.suffix == ".bvh":
                bvh = read_bvh(path)
                assert bvh.n_frames == source.n_frames and bvh.frame_time == pytest.approx(source.frame_time)
                if column == SOURCE:
                    numbers = [bvh.joint_names.index(joint) for joint in source.joint_names]
                    assert np.allclose(bvh.rotations(numbers), source.rotations(), atol=1e-5)
            elif path.suffix == ".glb":
                character = read_gltf_character(path)
                assert character.skin is not None and len(character.clips) == 1
            else:
                assert len(read_mano_motion(path, None).local) == source.n_frames
    assert formats(take.hand("asrn")) == list(FORMATS) and "MANO parameters" not in formats(take.hand(SOURCE))


def test_a_stretched_character_is_written_stretched(studio, tmp_path):
    studio.choose(target="HandShort0", proportions=Proportions(finger_length=1.5))
    (tmp_path / "long.glb").write_bytes(studio.download("tbs_copy", "GLB (skinned)")[1])
    (tmp_path / "long.bvh").write_bytes(studio.download("tbs_copy", "BVH")[1])
    bvh = read_bvh(tmp_path / "long.bvh")
    joint = bvh.joint_names.index("mixamorig:RightHandMiddle2")
    own = studio.shelf.hand("HandShort0").shaped.offsets[2].norm()
    assert np.linalg.norm(bvh.offsets[joint]) == pytest.approx(1.5 * float(own), rel=1e-4)
    armature = read_gltf_character(tmp_path / "long.glb").skeleton
    heads = armature.heads[[armature.names.index(f"mixamorig:RightHandMiddle{k}") for k in (1, 2)]]
    assert np.linalg.norm(heads[1] - heads[0]) == pytest.approx(1.5 * float(own), rel=1e-3)


def test_a_data_set_without_motion_is_refused(open_small, tmp_path):
    (tmp_path / "finger_data").symlink_to(open_small / "finger_data")
    (tmp_path / "models").symlink_to(open_small / "models")
    with pytest.raises(InputError, match="expected a motion"):
        Studio(Shelf(tmp_path), Methods({}))
