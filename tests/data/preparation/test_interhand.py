"""Annotations: runs are cut where they should be, streams need little memory, and damage is named."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.formats.bvh import read_bvh
from data.preparation.interhand import AnnotatedHand, find_runs, read_captures, write_runs
from utils.errors import InputError

ROOT = Path(__file__).parents[3]


def hand(seed=0):
    rng = np.random.default_rng(seed)
    return {"pose": (0.3 * rng.normal(size=48)).tolist(), "shape": rng.normal(size=10).tolist(), "trans": [0, 0, 1]}


def save(folder, content, name="annotations.json"):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def cut(frames, seen=None):
    frames = np.array(frames)
    return find_runs(frames, np.ones(len(frames), bool) if seen is None else np.array(seen, dtype=bool))


def numbers(frames, runs):
    return [np.array(frames)[run].tolist() for run in runs.runs]


@pytest.mark.parametrize(
    ("frames", "seen", "expected", "counts"),
    [
        ([3, 6, 9, 12], "1111", [[3, 6, 9, 12]], {"step": 3}),
        ([3, 6, 9, 20, 23], "11111", [[3, 6, 9], [20, 23]], {"step": 3, "gaps": 1}),
        ([3, 6, 9, 12, 15], "11011", [[3, 6], [12, 15]], {"missing": 1}),
        ([3, 6, 9, 12, 15], "01111", [[6, 9, 12, 15]], {"missing": 1}),  # a first frame without the hand
        ([3, 6, 9, 12, 15], "10100", [], {"missing": 3, "single": 2}),
        ([7], "1", [], {"step": 0, "single": 1}),  # one frame
        ([7, 11], "11", [[7, 11]], {"step": 4}),  # two frames
        ([7, 11], "10", [], {"step": 4, "single": 1, "missing": 1}),
        ([], "", [], {"step": 0}),
        # Uneven: the second spacing is not the first, so the most frequent one is the step.
        ([0, 1, 4, 7, 10, 20], "111111", [[0, 1, 4, 7, 10]], {"step": 3, "uneven": 1, "gaps": 1, "single": 1}),
        ([0, 100, 200, 300], "1111", [], {"sparse": True}),
        ([0, 50, 100], "111", [[0, 50, 100]], {"step": 50, "sparse": False}),
        ([12, 3, 9, 6], "1111", [[3, 6, 9, 12]], {"step": 3}),  # the order of the file does not matter
    ],
)
def test_runs(frames, seen, expected, counts):
    runs = cut(frames, [int(c) for c in seen])
    assert numbers(frames, runs) == expected
    counts = {"gaps": 0, "missing": 0, "single": 0, "uneven": 0, **counts}
    assert {name: getattr(runs, name) for name in counts} == counts


def test_frames_are_accounted_for():
    """In every capture, each frame is in a run, alone, or without the hand."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        frames = np.unique(rng.integers(0, 90, rng.integers(1, 40)))
        seen = rng.random(len(frames)) < 0.8
        runs = find_runs(frames, seen)
        in_runs = sum(map(len, runs.runs))
        assert runs.sparse == (len(frames) > 1 and np.diff(frames).mean() > 50)
        assert runs.sparse or in_runs + runs.single + runs.missing == len(frames)
        for run in runs.runs:
            assert seen[run].all() and (np.diff(frames[run]) <= runs.step).all() and (np.diff(frames[run]) > 0).all()


def test_captures_come_one_by_one(tmp_path):
    content = {"0": {"5": {"right": hand(1), "left": None}, "8": {"left": hand(2), "other": [1, {}]}}, "Two": {}}
    first, second = read_captures(save(tmp_path, content))
    assert (first.name, first.frames, second.name, second.frames) == ("0", [5, 8], "Two", [])
    assert first.hands["right"].present == [0] and first.hands["left"].present == [1]
    assert first.hands["right"].poses.tolist() == hand(1)["pose"]
    assert first.hands["left"].shapes.tolist() == hand(2)["shape"]


def test_captures_are_passed_over(tmp_path):
    path = save(tmp_path, {"0": {"5": {"right": hand()}}, "1": {"broken": "but not looked at"}, "2": {}})
    assert [capture.name for capture in read_captures(path, lambda name: name != "1")] == ["0", "2"]


def test_bytes_are_counted(tmp_path):
    path = save(tmp_path, {"0": {str(n): {"right": hand(n)} for n in range(300)}})
    counts = []
    list(read_captures(path, report=counts.append))
    assert sum(counts) == path.stat().st_size and len(counts) > 2


def test_left_hands(tmp_path, mano_models):
    path = save(tmp_path, {"0": {str(n): {"left": hand(n)} for n in (1, 2, 3)}})
    (capture,) = read_captures(path)
    left = AnnotatedHand.load(mano_models, "left")
    runs, files = write_runs(capture, "left", left, tmp_path / "out")
    assert files == ["0_1_3.bvh"] and len(runs.runs) == 1
    motion = read_bvh(tmp_path / "out" / files[0])
    assert motion.joint_names[0] == "left_wrist" and motion.offsets[1, 0] > 0  # left fingers point to +x
    assert write_runs(capture, "right", left, tmp_path / "out")[1] == []


def test_the_mean_pose_is_added(tmp_path, mano_models):
    """A pose that undoes the model's mean leaves the flat hand."""
    right = AnnotatedHand.load(mano_models, "right")
    assert np.abs(right.mean_pose).max() > 0.1
    poses = np.concatenate([np.ones((2, 3)), -np.tile(right.mean_pose, (2, 1))], axis=1)
    np.testing.assert_allclose(right.motion(poses, np.zeros((2, 10))).rotations(), np.tile(np.eye(3), (2, 21, 1, 1)))


WRONG = {
    "no JSON": ("nothing", "expected JSON, but it is damaged or cut short near byte"),
    "empty": ("", "expected JSON"),
    "two values": ("{} {}", "trailing garbage"),
    "a list": ([], "expected an object of captures, found a list"),
    "a path as a name": ({"../x": {}}, "expected captures named by letters, digits"),
    "frames in a list": ({"0": []}, "capture 0: expected an object of frames, found a list"),
    "a frame without number": ({"0": {"x": {}}}, "capture 0: expected frame numbers, each once, found 'x'"),
    "a negative frame": ({"0": {"-3": {}}}, "expected frame numbers"),
    "the same frame twice": ('{"0": {"3": {}, "03": {}}}', "expected frame numbers, each once, found '03'"),
    "the same capture twice": ('{"0": {}, "0": {}}', "expected each capture once, found 0 twice"),
    "the same hand twice": (
        json.dumps({"0": {"3": {"right": hand(), "RIGHT": hand()}}}).replace("RIGHT", "right"),
        "capture 0, frame 3, right hand: expected each hand once",
    ),
    "no shape": (
        {"0": {"3": {"right": {"pose": [0] * 48}}}},
        "frame 3, right hand: expected pose and shape, found pose",
    ),
    "a short pose": (
        {"0": {"3": {"left": {"pose": [0] * 47, "shape": []}}}},
        "left hand: pose: expected 48 .* found 47",
    ),
    "a long pose": ({"0": {"3": {"left": {"pose": [0] * 10**5, "shape": []}}}}, "expected 48 numbers, found more"),
    "text in a pose": ({"0": {"3": {"left": {"pose": ["1"] * 48}}}}, "pose: expected numbers, found '1'"),
    "null in a pose": ({"0": {"3": {"left": {"pose": [None] * 48}}}}, "pose: expected numbers, found null"),
    "a pose that is a number": ({"0": {"3": {"left": {"pose": 4}}}}, "pose: expected a list of 48 numbers, found 4"),
    "a number too large": ('{"0": {"3": {"left": {"pose": [1e999]}}}}', "expected JSON"),
    "no hand but a number": ({"0": {"3": {"left": 5}}}, "left hand: expected an object of pose and shape, found 5"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(tmp_path, case):
    content, reason = WRONG[case]
    with pytest.raises(InputError, match=f"annotations.json: .*{reason}") as error:
        list(read_captures(save(tmp_path, content)))
    assert "\n" not in str(error.value)


def test_cut_anywhere(tmp_path):
    text = json.dumps({"0": {"5": {"right": hand(1), "left": None}}})
    for length in range(0, len(text), 7):
        with pytest.raises(InputError):
            list(read_captures(save(tmp_path, text[:length])))


def test_missing(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(InputError, match="expected the JSON file of MANO annotations, found"):
            list(read_captures(path))


CAPPED = """
import json, resource, sys
from data.preparation.interhand import read_captures
next(read_captures(sys.argv[2]))
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + (24 << 20),) * 2)
print(sum(len(capture.hands["right"].poses) for capture in read_captures(sys.argv[1])))
try:
    json.load(open(sys.argv[1]))
except MemoryError:
    print("the cap is real")
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the size of a process is read from Linux's /proc")
def test_a_large_file_needs_little_memory(tmp_path):
    """26 MB of annotations with 24 MB to spare; the same file does not fit whole."""
    frames = json.dumps({str(n): {"right": hand(n), "left": hand(n)} for n in range(100)})
    small = save(tmp_path, f'{{"0": {frames}}}', "small.json")
    large = save(tmp_path, "{" + ", ".join(f'"{n}": {frames}' for n in range(100)) + "}")
    assert large.stat().st_size > 25e6
    command = [sys.executable, "-c", CAPPED, str(large), str(small)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.split("\n")[:2] == [str(100 * 100 * 48), "the cap is real"], done.stderr
