"""Each command that README.md and DATA.md print: the program takes it (quick), and run as printed it works (slow)."""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from data.blender import find_blender
from run.training import command_line
from tests.blender_scripts.conftest import run as run_with_blender
from tests.data.points.hands import angles, hand_points, listed
from tests.data.preparation.test_interhand import hand
from tests.run import published
from tests.run.conftest import SMALL
from utils.cli import CommandLine

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "DATA.md")

ELSEWHERE = {
    "make ": "continuous integration runs `make lint` and `make test`; the demo: tests/run/test_demo.py",
    "source ": "a word of the shell",
    "torchrun ": "tests/run/test_processes.py",
    "sbatch ": "tests/run/test_processes.py",
    ".venv/bin/tensorboard ": "a server of another project",
    ".venv/bin/python -m run.view": "tests/run/test_view.py",
    "python -m run.view": "tests/run/test_view.py",
    ".venv-blender/bin/python ": "tests/blender_scripts/test_scripts.py",
    "blender -b ": "tests/blender_scripts/test_scripts.py",
}
"""How commands begin that are not run here, and where they are."""

SHORTER = {
    "fit": [*SMALL, "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "3",
            "--trainer.check_val_every_n_epoch", "1", "--trainer.limit_val_batches", "1",
            "--pictures.every_n_epochs", "0", "--trainer.accelerator", "cpu", "--data.num_workers", "0"],
    "test": ["--trainer.limit_test_batches", "1", "--trainer.accelerator", "cpu", "--data.num_workers", "0"],
    "run.evaluate": ["--max_windows", "2"],
    "run.visualize_mixhand": ["--max_windows", "1", "--trainer.accelerator", "cpu"],
}  # fmt: skip
"""Words behind the printed ones, so that a long command ends soon; by its program or subcommand."""
STATIC = "--model.static_hidden_channel"


def printed(document: str) -> list[str]:
    """The commands in a document's blocks of shell, one line each, without comments."""
    blocks = re.findall(r"^```bash\n(.*?)^```", (ROOT / document).read_text(encoding="utf-8"), re.M | re.S)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    bare = (re.sub(r"\s+#.*", "", line).strip() for line in lines)
    return [re.sub(r" +", " ", line) for line in bare if line]


COMMANDS = [command for document in DOCUMENTS for command in printed(document)]
HERE = [command for command in COMMANDS if not command.startswith(tuple(ELSEWHERE))]
PROGRAMS = [command for command in COMMANDS if re.match(r"(\.venv/bin/)?python -m run\.", command)]


def test_all_are_known():
    """Nothing is printed that no test runs; nothing is excused that is not printed."""
    assert len(COMMANDS) > 25 and set(HERE) <= set(PROGRAMS)
    for beginning in ELSEWHERE:
        assert any(command.startswith(beginning) for command in COMMANDS), beginning


class Taken(Exception):
    """The words were understood."""


@pytest.mark.filterwarnings("ignore:.*found in sys.modules after import:RuntimeWarning")  # as `runpy` says of tests
@pytest.mark.parametrize("command", PROGRAMS)
def test_is_understood(command, tmp_path, monkeypatch):
    """All options are there, under these names, and take these values."""
    _, _, module, *words = shlex.split(command)
    monkeypatch.chdir(tmp_path)
    for folder in ("config", "weights"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.setattr(sys, "argv", [module, *words])

    def understood(parser, *arguments, **options):
        values, unknown = parser.parse_known_args(*arguments, **options)
        assert not unknown, unknown
        raise Taken

    def built(self, *arguments, **options):
        raise Taken

    monkeypatch.setattr(CommandLine, "parse_args", understood)
    monkeypatch.setattr(command_line.RetargetingCLI, "_parse_ckpt_path", built)
    for word in words:  # what an earlier command has left
        path = tmp_path / word
        if word.startswith("artifact/") and path.suffix in {".yaml", ".ckpt"}:
            method = "dm" if path.stem == "DM" else "asrn"
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".ckpt":
                torch.save(published.checkpoint(method), path)
            else:
                path.write_text(published.config_text(method))
    with pytest.raises((Taken, SystemExit)) as ended:
        runpy.run_module(module, run_name="__main__")
    assert ended.type is Taken or not ended.value.code


def shorter(command: str) -> str:
    """A command with the words behind it that make it end soon."""
    given = command.split()
    behind = [word for key, more in SHORTER.items() if key in given for word in more]
    if "test" in given and "config/open/" in command:  # what `fit` has left is as small
        behind += SMALL
    if "run.train_feedback" in given and STATIC in behind:  # it has none of the published networks' settings
        at = behind.index(STATIC)
        del behind[at : at + 2]
    return " ".join([command, shlex.join(behind)])


class Folder:
    """A working folder with what the documents' readers have: the program, the data set, characters and motions."""

    def __init__(self, path: Path) -> None:
        self.path = published.write_world(path)
        for folder in ("config", "weights"):
            (path / folder).symlink_to(ROOT / folder)
        tools = path / "tools"
        tools.mkdir()
        (tools / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        (tools / "python").chmod(0o755)
        self.environment = {
            **os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        }  # fmt: skip
        (path / ".venv/bin").mkdir(parents=True)
        (path / ".venv/bin/python").symlink_to(tools / "python")
        for mesh in (published.GOLDEN / "inputs").glob("*_mesh_data.npz"):
            shutil.copy(mesh, path / "artifact/MixHand/finger_data")
        log = path / "artifact/ASRN/lightning_logs/version_0"
        (log / "checkpoints").mkdir(parents=True)
        (log / "config.yaml").write_text(published.config_text("asrn", accelerator="cpu"))
        name = "best_mixamo-epoch=58-mixamo_semi_rf=-1.80.ckpt"
        torch.save(published.checkpoint("asrn"), log / "checkpoints" / name)
        captures = {
            str(number): {str(frame): {"right": hand(frame), "left": hand(frame + 1)} for frame in range(0, 40, 3)}
            for number in range(2)
        }
        (path / "InterHand2.6M_train_MANO_NeuralAnnot.json").write_text(json.dumps(captures))
        seen = listed(hand_points(angles(20, share=0.3)) / 100, "MediaPipe, OpenPose")
        frames = [{"handedness": "Right", "landmarks": points} for points in seen.tolist()]
        (path / "mediapipe.json").write_text(json.dumps(frames))
        (path / "subjects.csv").write_text("capture,subject\n0,12\n1,3\n")

    def run(self, command: str) -> None:
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.path, env=self.environment, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"

    def make_characters(self, blender: list[str]) -> None:
        """``me.glb`` and ``dance.fbx`` are open hands; ``XBot.fbx`` and its motions, too."""
        self.run(
            "python -m run.retarget artifact/MixHandOpen/HandLong0/clip.bvh --source_hand HandLong0"
            " --target HandShort0 --output made --format glb --method tbs_copy"
        )
        (made,) = (self.path / "made").glob("*.glb")
        shutil.copy(made, self.path / "me.glb")
        script = self.path / "to_fbx.py"
        script.write_text(
            "import bpy, sys\n"
            "bpy.ops.wm.read_factory_settings(use_empty=True)\n"
            "bpy.ops.import_scene.gltf(filepath=sys.argv[-2])\n"
            "bpy.ops.export_scene.fbx(filepath=sys.argv[-1])\n"
        )
        done = run_with_blender(blender, script, self.path / "me.glb", self.path / "dance.fbx")
        assert (self.path / "dance.fbx").is_file(), done.stderr[-2000:]
        for folder in ("characters", "motions", "more"):
            (self.path / folder).mkdir()
        shutil.copy(self.path / "me.glb", self.path / "characters")
        shutil.copy(self.path / "dance.fbx", self.path / "XBot.fbx")
        shutil.copy(self.path / "dance.fbx", self.path / "motions")
        shutil.copy(self.path / "artifact/MixHandOpen/HandLong0/clip.bvh", self.path / "more")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the commands are run, one after another as they are printed."""
    made = Folder(tmp_path_factory.mktemp("reader"))
    made.run("python -m run.demo --small")
    return made


@pytest.mark.slow
@pytest.mark.parametrize("command", HERE)
def test_runs_as_printed(command, folder):
    if ".fbx" in command or "characters/" in command or "me.glb" in command:
        blender = find_blender()
        if blender is None:
            pytest.skip("no Blender: `make blender` makes one")
        if not (folder.path / "me.glb").exists():
            folder.make_characters(blender)
    folder.run(shorter(command))
