"""Blender as a helper process: finding it, and converting files with it one after the other."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from pathlib import Path

from data.formats.character_files import Request, Result
from utils.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "blender_scripts"
ENVIRONMENT = "S2H_BLENDER"
"""Environment variable that names a Blender, or a Python with the bpy wheel."""
ADVICE = (
    "FBX files need Blender: `make blender` sets up the bpy module in .venv-blender (1 to 1.6 GB, Python 3.11), "
    "or install Blender 2.82 or newer and put it on PATH or name it with `blender`; glTF files need none"
)
_ANSWER = "@s2h "
_START_SECONDS = 180.0


def find_blender(wanted: str | os.PathLike | None = None) -> list[str] | None:
    """The beginning of a command line that runs a script with Blender; None if there is no Blender.

    Looked for in this order: `wanted`, the environment variable S2H_BLENDER, ``blender`` on PATH, the module bpy in
    this Python, ``.venv-blender`` in the project's folder.

    Args:
        wanted: a Blender, or a Python that has the bpy wheel (its name begins with ``python``).

    Raises:
        InputError: `wanted` (or what the environment variable names) is not a program.
    """
    named = wanted or os.environ.get(ENVIRONMENT)
    if named:
        program = shutil.which(str(named))
        if program is None:
            where = "`blender`" if wanted else ENVIRONMENT
            raise InputError(
                f"{where}: expected Blender or a Python with bpy, found no program {named}; check the path"
            )
        return _command(program)
    on_path = shutil.which("blender")
    if on_path:
        return _command(on_path)
    if importlib.util.find_spec("bpy") is not None:
        return _command(sys.executable)
    for own in (ROOT / ".venv-blender" / "bin" / "python", ROOT / ".venv-blender" / "Scripts" / "python.exe"):
        if own.is_file():
            return _command(str(own))
    return None


def _command(program: str) -> list[str]:
    if Path(program).name.lower().startswith("python"):
        return [program]
    return [program, "--background", "--factory-startup", "--python-exit-code", "1", "--python"]


class BlenderWorker:
    """One Blender that converts files; started when first needed and again after a file that broke it.

    Use it as a context manager: leaving ends the process.
    """

    def __init__(self, command: list[str], timeout: float, memory_gb: float):
        self.command, self.timeout, self.memory_gb = command, timeout, memory_gb
        self.process: subprocess.Popen | None = None
        self.lines: queue.Queue[str | None] = queue.Queue()
        self.last_words: list[str] = []

    def __enter__(self) -> BlenderWorker:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(patience=5.0)  # then it clears up its temporary folder

    def convert(self, request: Request) -> Result:
        """Convert one file; whatever goes wrong with it is told in the result.

        Raises:
            InputError: Blender itself cannot be started.
        """
        process = self.process or self._start()
        try:
            assert process.stdin is not None  # it is a pipe
            process.stdin.write(json.dumps(request.__dict__) + "\n")
            process.stdin.flush()
            answer = self._answer(self.timeout)
        except (BrokenPipeError, EOFError):
            code = process.wait()
            self.stop()
            return Result(request.source, error=f"{request.source}: Blender broke down over it (exit code {code}); "
                                                f"it is damaged or too big, export it again")  # fmt: skip
        except TimeoutError:
            self.stop()
            return Result(request.source, error=f"{request.source}: Blender was not done after {self.timeout:g} s; "
                                                f"it is damaged or needs a higher `timeout`")  # fmt: skip
        return Result(**answer)

    def stop(self, patience: float = 0.0) -> None:
        """End the process, after as many seconds as it may take to end by itself."""
        if self.process is not None:
            with contextlib.suppress(OSError):  # what it did not read any more
                assert self.process.stdin is not None
                self.process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(patience)
            self.process.kill()
            self.process.wait()
            self.process = None

    def _start(self) -> subprocess.Popen:
        self.lines, self.last_words = queue.Queue(), []
        # A fresh list of variables: settings of this Python must not reach Blender's own.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        script = str(SCRIPTS / "convert_worker.py")
        self.process = process = subprocess.Popen(
            [*self.command, script, "--", str(self.memory_gb)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, encoding="utf-8", errors="replace", env=environment,
        )  # fmt: skip
        threading.Thread(target=self._listen, args=(process.stdout, self.lines), daemon=True).start()
        try:
            self._answer(_START_SECONDS)
        except (EOFError, TimeoutError):
            self.stop()
            said = next((line for line in reversed(self.last_words) if line.strip()), "it says nothing").strip()
            raise InputError(
                f"{self.command[0]}: expected a Blender that starts, but: {said[:200]}; {ADVICE}"
            ) from None
        return process

    def _listen(self, stream, lines: queue.Queue[str | None]) -> None:
        with stream:
            for line in stream:
                if line.startswith(_ANSWER):
                    lines.put(line[len(_ANSWER) :])
                else:
                    self.last_words = [*self.last_words[-9:], line]
        lines.put(None)

    def _answer(self, seconds: float) -> dict:
        try:
            line = self.lines.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError from None
        if line is None:
            raise EOFError
        return json.loads(line)
