"""For each file of the corpus, what the project does with such a file; run in a child process with limits.

`python -m tests.hostile.readers FOLDER FIRST LAST [NAME]`: damage files (or that file) with the seeds FIRST … LAST − 1
and read them; NAME ``bombs``: read the bombs instead. Prints a JSON line before each file, one for each that broke a
rule, and one with counts at the end. The rules: a result or one InputError; 5 seconds; 1 GB; no program started, no
connection; nothing written outside ``out``; inputs untouched.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from data.axes.annotation import Annotation
from data.axes.files import read_finger_axes
from data.character.reading import Reading, read_annotated, read_character
from data.features.file import check_rows, open_features
from data.features.windows import WindowGroup, read_statistics, window_statistics
from data.formats.bvh import read_bvh, write_bvh
from data.formats.character_files import Request, Result
from data.formats.fbx_check import check_fbx
from data.motion.reading import read_motions
from data.open_hands.build import read_manifest
from data.preparation import conversion
from data.preparation.check import check_folder
from data.preparation.conversion import convert_gltf
from data.preparation.interhand_conversion import read_subjects
from data.preparation.preprocess import Preprocessor, check_motion
from data.rig.rig_map import read_rig_map
from data.splits import expand_characters, read_splits
from model.mano import ManoHand
from model.mano_file import ManoAxes
from run.training.command_line import translate_arguments
from run.training.trained import load_network
from tests.hostile.corpus import bombs, convert_annotations, damage, make
from utils.errors import InputError
from utils.safe_read import load_checkpoint

SECONDS = 5
MEMORY = 1 << 30


def read_motion(folder: Path, name: str) -> None:
    bvh = read_bvh(folder / name)
    bvh.rotations()
    check_motion(folder / name)
    write_bvh(folder / "out" / "again.bvh", bvh)


def read_shapes(folder: Path, name: str) -> None:
    shutil.copyfile(folder / name, folder / "out" / "mano.npy")
    shutil.copyfile(folder / "mano.bvh", folder / "out" / "mano.bvh")
    check_motion(folder / "out" / "mano.bvh")


def read_mesh(folder: Path, name: str) -> None:
    character = read_annotated(folder / "Aj_mesh_data.npz", folder / "Aj_finger_axis.pkl")
    assert character.hand("right").surface is not None


def read_axes(folder: Path, name: str) -> None:
    read_finger_axes(folder / name)


def read_mano_axes(folder: Path, name: str) -> None:
    ManoAxes.read(folder / name, "left")
    read_mano(folder, name)


def read_mano(folder: Path, name: str) -> None:
    hand = ManoHand.load(folder / "MANO_RIGHT.pkl", folder / "mano_finger_axis.pkl", "right")
    hand.with_shape(torch.zeros(10)).at_rest().semantic_matrix()


def read_features(folder: Path, name: str) -> None:
    file = open_features(folder, name.partition(".")[0])
    check_rows(file)
    window_statistics(file, 8)
    WindowGroup([file], 4).gather(np.array([0]))


def read_moments(folder: Path, name: str) -> None:
    (folder / "out" / "mean_var").mkdir()
    for ending in ("mean", "var"):
        shutil.copyfile(folder / name, folder / "out" / "mean_var" / f"Ours_{ending}.npy")
    for ending in ("npy", "json"):
        shutil.copy2(folder / f"Ours.{ending}", folder / "out" / f"Ours.{ending}")
    read_statistics(open_features(folder / "out", "Ours"))


def convert(folder: Path, name: str) -> None:
    subjects = folder / "subjects.csv"
    read_subjects(subjects)
    convert_annotations(folder, folder / "out" / "clips")


def go_on_converting(folder: Path, name: str) -> None:
    (folder / "out" / "clips").mkdir()
    shutil.copyfile(folder / name, folder / "out" / "clips" / name)
    convert_annotations(folder, folder / "out" / "clips")


def read_moves(folder: Path, name: str) -> None:
    """By whoever's door a motion of hands comes in."""
    model, axes = folder / "MANO_RIGHT.pkl", folder / "mano_finger_axis.pkl"
    for motion in read_motions(folder / name, Reading(folder / "none", model, axes, side="right")):
        assert motion.frames > 0
        for track in motion.tracks.values():
            assert torch.isfinite(track.local).all()


def read_body(folder: Path, name: str) -> None:
    """A character, converted, and its motion."""
    read_moves(folder, name)
    out = folder / "out"
    result = convert_gltf(Request(str(folder / name), str(out / "a_mesh_data.npz"), str(out / "clips"), "c", fps=30))
    if result.error is not None:
        raise InputError(result.error)
    read_character(str(folder / name), Reading(folder / "none"))


def read_npz_mano(folder: Path, name: str) -> None:
    hand = ManoHand.load(folder / name, folder / "mano_finger_axis.pkl", "right")
    hand.with_shape(torch.zeros(10)).at_rest().semantic_matrix()


def read_rig(folder: Path, name: str) -> None:
    list(read_motions(folder / "mixamo.bvh", Reading(folder / "none", rig_map=read_rig_map(folder / name))))


def read_lists(folder: Path, name: str) -> None:
    for characters in read_splits(folder).values():
        expand_characters(characters)


def read_configuration(folder: Path, name: str) -> None:
    with contextlib.redirect_stderr(io.StringIO()):  # notes
        translate_arguments(["fit", "--config", str(folder / name)])


def read_annotation(folder: Path, name: str) -> None:
    hand = SimpleNamespace(side="right", present=np.ones(5, bool))
    axes = np.broadcast_to(np.eye(3), (5, 4, 3, 3))
    shutil.copyfile(folder / name, folder / "out" / name)
    made = Annotation([SimpleNamespace(hand=hand, axes=axes)], folder / "out" / "axes.pkl", dict, "mesh 1")  # type: ignore[list-item]
    assert made.progress[1] == 5


def read_source(folder: Path, name: str) -> None:
    (folder / "out" / "finger_data").mkdir()
    record = folder / "out" / "finger_data" / name
    shutil.copyfile(folder / name, record)
    job = conversion.Job(Request("Aj.glb", "", "", ""), record, "1 abc")
    conversion.done_before(job)
    conversion.remember(job, Result("Aj.glb"))


def read_build(folder: Path, name: str) -> None:
    read_manifest(folder)


def read_fbx(folder: Path, name: str) -> None:
    """As far as it goes before Blender gets the file."""
    check_fbx(folder / name)


def read_checkpoint(folder: Path, name: str) -> None:
    load_checkpoint(folder / name)


def read_network(folder: Path, name: str) -> None:
    load_network(folder / name)


_FINGER_DATA = ("Aj_mesh_data.npz", "Aj_finger_axis.pkl", "mano_finger_axis.pkl")


def whole_folder(folder: Path) -> None:
    """The ways through a whole data set: check, then preprocess."""
    data = folder / "out" / "data"
    places = {"Aj/a.bvh": "mixamo.bvh", "Mano0/a.bvh": "mano.bvh", "Mano0/a.npy": "shapes.npy",
              **{f"finger_data/{name}": name for name in _FINGER_DATA},
              **{name: name for name in ("Ours.npy", "Ours.json", "Published.npy", "Published.json")}}  # fmt: skip
    for place, name in places.items():
        (data / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, data / place)
    check_folder(data, folder / "MANO_RIGHT.pkl")
    worker = Preprocessor(data, folder / "MANO_RIGHT.pkl", window_size=2)
    for character in worker.characters():
        worker.run(character)


READERS = {
    "mixamo.bvh": read_motion, "mano.bvh": read_motion, "shapes.npy": read_shapes, "Aj_mesh_data.npz": read_mesh,
    "Aj_finger_axis.pkl": read_axes, "mano_finger_axis.pkl": read_mano_axes, "MANO_RIGHT.pkl": read_mano,
    "Ours.npy": read_features, "Ours.json": read_features, "Published.npy": read_features,
    "Published.json": read_features, "Ours_mean.npy": read_moments, "annotations.json": convert,
    "subjects.csv": convert, "model.ckpt": read_checkpoint, "body.fbx": read_fbx,
    "network.safetensors": read_network, "network.ckpt": read_network, "MANO_RIGHT.npz": read_npz_mano,
    "Aj_axes.npz": read_axes, "conversion.json": go_on_converting, "rig.yaml": read_rig, "splits.yaml": read_lists,
    "config.yaml": read_configuration, "axes.pkl.annotation.json": read_annotation, "Aj_source.json": read_source,
    "open_hands.json": read_build,
    **dict.fromkeys(("body.glb", "body.gltf", "avatar.vrm"), read_body),
    **dict.fromkeys(("landmarks.json", "positions.json", "openxr.json", "points.csv", "joints.csv", "points.npy",
                     "points.npz", "smplx.npz", "parts.npz", "amass.npz", "grab.npz", "dexycb.npz", "hamer.npz",
                     "ours.npz", "poses.json", "moves.vrma"), read_moves),
}  # fmt: skip

_PROGRAMS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "pty.spawn",
             "socket.connect", "socket.bind", "ctypes.dlopen", "os.kill", "os.putenv", "webbrowser.open")  # fmt: skip
_CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod")


class Watch:
    """Notes what the program does that it should not; Python tells it of every such step, of C code too."""

    def __init__(self, folder: Path):
        self.allowed = str(folder / "out")
        self.broken: list[str] = []
        self.active = False
        sys.addaudithook(self._see)

    def _see(self, event: str, arguments: tuple) -> None:
        if not self.active:
            return
        if event in _PROGRAMS:
            self.broken.append(f"{event} {arguments}")
        elif event in _CHANGES:
            paths = arguments[:2] if event in ("os.rename", "os.link") else arguments[:1]
            self._inside(event, [path for path in paths if isinstance(path, str | bytes | os.PathLike)])
        elif event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            mode, flags = arguments[1], arguments[2] or 0
            if (mode and set(mode) & set("wax+")) or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self._inside(event, [arguments[0]])

    def _inside(self, event: str, paths: list) -> None:
        for path in paths:
            full = os.path.realpath(os.fsdecode(path))
            if not full.startswith(self.allowed + os.sep) and full not in (self.allowed, "/dev/null"):
                self.broken.append(f"{event} {full}")


def attempt(read: Callable[[], None], watch: Watch) -> tuple[str, str]:
    """(what became of it, details): ``result``, ``refused``, or ``broken``."""
    try:
        watch.active = True
        with contextlib.redirect_stdout(io.StringIO()):
            read()
        outcome, detail = "result", ""
    except InputError as error:
        outcome, detail = "refused", str(error)
        if "\n" in detail:
            outcome = "broken"
    except BaseException:
        outcome, detail = "broken", "".join(traceback.format_exc().splitlines(True)[-7:])
    finally:
        watch.active = False
    if watch.broken:
        outcome, detail = "broken", "; ".join(watch.broken)
        watch.broken.clear()
    return outcome, detail


def listing(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def limit() -> None:
    """From now on, at most a gigabyte more; a hang ends the process."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)


def main(folder: Path, first: int, last: int, only: str = "") -> None:
    torch.set_num_threads(1)
    corpus = make(folder)
    (folder / "out").mkdir(exist_ok=True)
    for name, read in READERS.items():  # whatever is loaded late is loaded now
        read(folder, name)
        fresh(folder, corpus, name)
    whole_folder(folder)
    limit()
    watch, counts = Watch(folder), Counter()
    for seed, name, content, whole in cases(corpus, first, last, only):
        fresh(folder, corpus, name)
        (folder / name).write_bytes(content)
        before = listing(folder)
        print(json.dumps({"seed": seed, "name": name}), flush=True)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        read = partial(whole_folder, folder) if whole else partial(READERS[name], folder, name)
        outcome, detail = attempt(read, watch)
        signal.setitimer(signal.ITIMER_PROF, 0)
        if listing(folder) != before:
            outcome, detail = "broken", "an input was changed, or a file was written beside it"
        counts[f"{name} {outcome}"] += 1
        if outcome == "broken":
            print(json.dumps({"seed": seed, "name": name, "broken": detail}), flush=True)
    print(json.dumps({"counts": counts}), flush=True)


def cases(corpus: dict[str, bytes], first: int, last: int, only: str) -> Iterator[tuple[int, str, bytes, bool]]:
    """(seed, file, content, whether to go the way of a whole data set)."""
    if only == "bombs":
        for number, (name, content) in enumerate(bombs(corpus)):
            yield number, name, content, False
        return
    names = [only] if only else list(READERS)
    for seed in range(first, last):
        dice = random.Random(seed)
        name = names[seed % len(names)]
        yield seed, name, damage(corpus[name], dice, list(corpus.values())), dice.random() < 0.1


def fresh(folder: Path, corpus: dict[str, bytes], name: str) -> None:
    """Every file as it was, and an empty folder ``out``."""
    for path in folder.iterdir():
        if path.is_file() and path.name not in corpus:
            path.unlink()
    for each, content in corpus.items():
        path = folder / each
        if not path.is_file() or path.read_bytes() != content:
            path.write_bytes(content)
    shutil.rmtree(folder / "out")
    (folder / "out").mkdir()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
