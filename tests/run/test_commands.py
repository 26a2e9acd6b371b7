"""The list of commands, and what holds for each of them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from run.__main__ import commands, main
from utils.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


def test_every_command_is_listed_with_a_line():
    code = "import runpy, sys; runpy.run_module('run', run_name='__main__'); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = dict(line.split(maxsplit=1) for line in done.stdout.splitlines()[2:])
    assert len(listed) == 18 and listed == commands()
    assert listed["check_mixhand"] == "Check a data set"


def test_a_command_is_run_by_its_name(capsys, monkeypatch):
    main(["--help"])
    assert "retarget" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["run"])
    with pytest.raises(SystemExit) as left:
        main(["check_mixhand", "--help"])
    assert left.value.code == 0 and "usage: python -m run.check_mixhand" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"retaget: there is no such command \(did you mean retarget\?\)"):
        main(["retaget", "a.bvh"])


@pytest.mark.parametrize("name", commands())
def test_yes_and_no_are_flags(name):
    """One spelling on all command lines: that of `utils.cli.CommandLine`, or of jsonargparse for the trainings."""
    text = (ROOT / "run" / f"{name}.py").read_text(encoding="utf-8")
    assert not re.search(r"store_true|store_false|ActionYesNo|type=bool|argparse\.ArgumentParser\(", text)
    assert ("CommandLine(" in text) != name.startswith("train_")


HEAVY = (
    "torch",
    "numpy",
    "scipy",
    "matplotlib",
    "viser",
    "pytorch_lightning",
    "PIL",
    "joblib",
    "jaxtyping",
    "llvmlite",
)


def test_help_imports_nothing_heavy():
    """One process asks all commands: what none of them imports for --help, each of them spares."""
    code = f"""
import contextlib, io, runpy, sys
for name in {list(commands())}:
    sys.argv, said = [name, "--help"], io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            runpy.run_module(f"run.{{name}}", run_name="__main__")
        except SystemExit as end:
            assert not end.code, name
    assert f"usage: python -m run.{{name}}" in said.getvalue(), (name, said.getvalue())
    heavy = [module for module in {HEAVY} if module in sys.modules]
    assert not heavy, f"run.{{name}} --help imports {{heavy}}"
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_motions_are_retargeted_without_what_few_of_them_need():
    """It takes longer to import than a short motion to retarget."""
    lazy = ["scipy", "matplotlib", "viser", "pytorch_lightning", "PIL", "joblib", "llvmlite", "igl"]
    code = f"import sys, run.retarget; print([name for name in {lazy} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert ended.stdout == "[]\n"
