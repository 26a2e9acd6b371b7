"""Training and testing on a disk that is really full: one line that names the file (or folder) and the way out.

The disk is a small one in memory, which a process may mount for itself where user namespaces are allowed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
import torch

from tests.run import published
from tests.run.conftest import ROOT, SMALL

MOUNT = 'mkdir -p out && mount -t tmpfs -o size="$0"k tmpfs out && '


def namespaces() -> bool:
    """Whether a disk can be mounted here."""
    probe = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs tmpfs /tmp"]
    return shutil.which("unshare") is not None and subprocess.run(probe, capture_output=True).returncode == 0


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not namespaces(), reason="no file system can be mounted without being root"),
]
COMMON = ["--trainer.accelerator", "cpu", "--trainer.default_root_dir", "out", "--data.num_workers", "0"]
FIT = [
    "fit", "--config", str(ROOT / "config/ASRN.yaml"), *COMMON, *SMALL, "--data.batch_size", "8",
    "--trainer.max_epochs", "2", "--pictures.every_n_epochs", "1", "--trainer.limit_val_batches", "1",
    "--resume_points.every_n_steps", "1", "--resume_points.at_most_each", "0",
]  # fmt: skip
TEST = ["test", "--config", "asrn.yaml", "--ckpt_path", "asrn.ckpt", *COMMON]
RUN = "lightning_logs/version_0"


@pytest.mark.parametrize(
    ("kilobytes", "words", "named"),
    [
        (4, FIT, f"out/{RUN}/config.yaml: cannot write this file"),
        (8, FIT, f"out/{RUN}: cannot write in this folder"),
        (500, FIT, f"out/{RUN}/checkpoints/last.ckpt: cannot write this file"),
        (5000, FIT, f"out/{RUN}/checkpoints/"),
        (4, TEST, f"out/{RUN}/config.yaml: cannot write this file"),
        (12, TEST, f"out/{RUN}/results.json: cannot write this file"),
        (16, TEST, f"out/{RUN}/results.csv: cannot write this file"),
    ],
)
def test_a_full_disk_is_one_line(kilobytes, words, named, tmp_path):
    published.write_world(tmp_path)
    torch.save(published.checkpoint("asrn"), tmp_path / "asrn.ckpt")
    (tmp_path / "asrn.yaml").write_text(published.config_text("asrn"))
    (tmp_path / "left").mkdir()
    keep = '"$@"; code=$?; find out -type f -size +0 > left/files; cp $(find out -name "*.ckpt") left; exit $code'
    command = [
        "unshare",
        "-rm",
        "sh",
        "-c",
        MOUNT + keep,
        str(kilobytes),
        sys.executable,
        "-m",
        "run.train_mixhand",
        *words,
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2 and len(errors) == 1 and "Traceback" not in done.stderr, done.stderr[-2000:]
    assert named in errors[0] and "free some space, or choose another folder" in errors[0]
    assert not any("/." in name for name in (tmp_path / "left/files").read_text().split())  # nothing half-written
    for path in (tmp_path / "left").glob("*.ckpt"):
        assert torch.load(path, weights_only=True)["state_dict"]
