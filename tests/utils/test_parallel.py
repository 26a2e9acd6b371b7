"""Work spread over processes: every item is accounted for, and one that fails does not stop the others."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from utils.cli import processors
from utils.errors import InputError
from utils.parallel import map_unordered


def work(item):
    if item == 3:
        raise InputError("three: expected something else")
    if item == 50:
        raise RuntimeError("a defect")
    if item == 60:
        os.kill(os.getpid(), signal.SIGKILL)
    return item**2, os.getpid()


@pytest.mark.parametrize("jobs", [1, 2])
def test_each_item_once(jobs):
    done = list(map_unordered(work, range(8), jobs))
    assert sorted(one.item for one in done) == list(range(8))
    assert {one.item: one.result[0] for one in done if one.failure is None} == {n: n**2 for n in range(8) if n != 3}
    assert [one.failure for one in done if one.item == 3] == ["three: expected something else"]
    processes = {one.result[1] for one in done if one.failure is None}
    assert (processes == {os.getpid()}) == (jobs == 1)


def test_defects_are_not_hidden():
    with pytest.raises(RuntimeError, match="a defect"):
        list(map_unordered(work, [1, 50], 2))


def test_a_worker_that_is_killed():
    with pytest.raises(InputError, match="worker process was killed.*fewer `jobs`"):
        list(map_unordered(work, [1, 60, 2, 4], 2))


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"jobs": 0}, "`jobs`"), ({"jobs": 2, "backend": "smoke"}, "`backend`: expected one of loky, dask, ray")],
)
def test_options(options, reason):
    with pytest.raises(InputError, match=reason):
        list(map_unordered(work, [1], **options))


@pytest.mark.parametrize(("backend", "module"), [("dask", "distributed"), ("ray", "ray")])
def test_a_backend_that_is_not_installed(backend, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=f"`backend` {backend}: {backend.capitalize()} is not installed.*pip install"):
        list(map_unordered(work, [1], 2, backend))


@pytest.fixture
def ray():
    """Ray, which is not among what the tests install: 260 MB."""
    return pytest.importorskip("ray", reason="Ray is not installed (pip install 'ray>=2.40,<3')")


@pytest.mark.slow
def test_two_workers_of_ray(ray):
    done = list(map_unordered(work, range(8), 2, "ray"))
    assert sorted(one.item for one in done) == list(range(8))
    assert {one.item: one.result[0] for one in done if one.failure is None} == {n: n**2 for n in range(8) if n != 3}
    assert [one.failure for one in done if one.item == 3] == ["three: expected something else"]
    assert os.getpid() not in {one.result[1] for one in done if one.failure is None}
    with pytest.raises(RuntimeError, match="a defect"):
        list(map_unordered(work, [1, 50], 2, "ray"))
    with pytest.raises(InputError, match="worker process was killed.*fewer --jobs"):
        list(map_unordered(work, [1, 60, 2, 4], 2, "ray"))
    assert not ray.is_initialized()


def rest(path):
    path.write_text(str(os.getpid()))
    time.sleep(120)


@pytest.mark.skipif(os.name != "posix", reason="needs signals that cannot be caught")
def test_workers_end_with_their_parent(tmp_path):
    code = (
        "from pathlib import Path; from utils.parallel import map_unordered\n"
        "from tests.utils.test_parallel import rest\n"
        f"list(map_unordered(rest, [Path({str(tmp_path)!r}) / name for name in 'ab'], 2))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    files = [tmp_path / "a", tmp_path / "b"]
    end = time.monotonic() + 60
    while not all(file.exists() and file.read_text() for file in files):
        assert time.monotonic() < end and parent.poll() is None
        time.sleep(0.1)
    parent.kill()
    parent.wait()
    workers = [int(file.read_text()) for file in files]
    while any(Path(f"/proc/{worker}").exists() and running(worker) for worker in workers):
        assert time.monotonic() < end
        time.sleep(0.1)


def running(process):
    """A zombie that nobody has fetched is not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_processors():
    assert processors() >= 1
