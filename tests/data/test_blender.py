"""Finding Blender and talking to it, with stand-ins for it."""

import stat
import sys

import pytest

from data import blender
from data.blender import BlenderWorker, find_blender
from data.formats.character_files import Request
from utils.errors import InputError


def stand_in(path, body):
    """A program that is run like Blender."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{sys.executable}\nimport json, sys, time\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def nothing(monkeypatch, tmp_path):
    """A system without Blender."""
    monkeypatch.delenv(blender.ENVIRONMENT, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(blender.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(blender, "ROOT", tmp_path)
    return monkeypatch


def test_the_order_of_search(nothing, tmp_path):
    assert find_blender() is None
    own = stand_in(tmp_path / ".venv-blender" / "bin" / "python", "")
    assert find_blender() == [str(own)]
    nothing.setattr(blender.importlib.util, "find_spec", lambda name: name)
    assert find_blender()[0] in (sys.executable,) or find_blender()[1] == "--background"
    on_path = stand_in(tmp_path / "bin" / "blender", "")
    assert find_blender()[:2] == [str(on_path), "--background"]
    variable = stand_in(tmp_path / "python-with-bpy", "")
    nothing.setenv(blender.ENVIRONMENT, str(variable))
    assert find_blender() == [str(variable)]
    named = stand_in(tmp_path / "blender-4.2", "")
    assert find_blender(named)[0] == str(named)
    with pytest.raises(InputError, match="`blender`: expected Blender or a Python with bpy, found no program"):
        find_blender(tmp_path / "nowhere")


SERVING = """
print("noise", flush=True)
print('@s2h {"ready": true}', flush=True)
for line in sys.stdin:
    source = json.loads(line)["source"]
    if source == "crash":
        sys.exit(3)
    if source == "sleep":
        time.sleep(60)
    print("more noise", flush=True)
    print("@s2h " + json.dumps({"source": source, "frames": 7}), flush=True)
"""


def request(name):
    return Request(name, "m.npz", "clips", "clip")


def test_a_worker_survives_crashes_and_waits_no_longer_than_asked(tmp_path):
    program = stand_in(tmp_path / "blender", SERVING)
    with BlenderWorker([str(program)], timeout=20, memory_gb=1) as worker:
        assert worker.convert(request("a.fbx")).frames == 7
        assert "crash: Blender broke down over it (exit code 3)" in worker.convert(request("crash")).error
        assert worker.convert(request("b.fbx")).frames == 7
        worker.timeout = 0.2
        assert "sleep: Blender was not done after 0.2 s" in worker.convert(request("sleep")).error
        worker.timeout = 20
        assert worker.convert(request("c.fbx")).error is None
        process = worker.process
    assert process.poll() is not None


def test_a_blender_that_does_not_start(tmp_path):
    program = stand_in(tmp_path / "blender", "print('no such library'); sys.exit(1)")
    with pytest.raises(
        InputError, match="expected a Blender that starts, but: no such library; FBX files need Blender"
    ):
        BlenderWorker([str(program)], timeout=5, memory_gb=1).convert(request("a.fbx"))
