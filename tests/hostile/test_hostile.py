"""Damaged and malicious files: a result or one InputError, within 5 seconds and 1 GB, and nothing else happens.

What is damaged, how, and the rules are in `tests.hostile.corpus` and `tests.hostile.readers`. A seed that fails is run
again with ``python -m tests.hostile.readers FOLDER SEED SEED+1``.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.corpus import bombs, make

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="limits of memory are set as Linux knows them"
)


def read_damaged(folder, *arguments, timeout):
    """Run the readers in a process of their own; gives the counts of what became of the files."""
    command = [sys.executable, "-m", "tests.hostile.readers", str(folder), *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    broken = [line for line in lines if "broken" in line]
    assert not broken, "\n\n".join(f"{one['name']}, seed {one['seed']}: {one['broken']}" for one in broken[:5])
    # A process that ended early was ended by its own limits: of time, or by a crash.
    assert done.returncode == 0, f"{lines[-1:]} ended the process ({done.returncode}): {done.stderr[-1500:]}"
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr, done.stderr[-1500:]
    return lines[-1]["counts"]


def total(counts, outcome):
    return sum(count for name, count in counts.items() if name.endswith(outcome))


def test_damaged_files(tmp_path):
    counts = read_damaged(tmp_path / "files", 0, 450, timeout=300)
    assert sum(counts.values()) == 450
    # Damage is neither always fatal nor always harmless: the mutator reaches past the first checks.
    assert total(counts, "refused") > 100 and total(counts, "result") > 30
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files"]


@pytest.mark.slow
def test_ten_thousand_damaged_files(tmp_path):
    counts = read_damaged(tmp_path / "files", 1000, 11_000, timeout=3600)
    assert sum(counts.values()) == 10_000


def test_bombs(tmp_path):
    counts = read_damaged(tmp_path / "files", 0, 0, "bombs", timeout=300)
    assert sum(counts.values()) == len(bombs(make(tmp_path / "again")))
    assert not list(tmp_path.rglob("started")) and not (ROOT / "started").exists()
    anew = ("Aj_source.json", "open_hands.json")  # damaged notes of earlier work, which is then done again
    assert all("result" not in name or name.startswith(("mixamo.bvh", *anew)) for name in counts)


def test_the_watch_sees_what_it_should(tmp_path):
    """The rules above can fail: a reader that breaks one is caught."""
    script = f"""
import os, sys
from pathlib import Path
from tests.hostile.readers import Watch, attempt
folder = Path({str(tmp_path)!r})
(folder / "out").mkdir()
watch = Watch(folder)
print(attempt(lambda: os.system("true"), watch)[0])
print(attempt(lambda: (folder / "beside").write_text("x"), watch)[0])
print(attempt(lambda: (folder / "out" / "x").write_text("x"), watch)[0])
print(attempt(lambda: [][1], watch)[0])
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["broken", "broken", "result", "broken"]
