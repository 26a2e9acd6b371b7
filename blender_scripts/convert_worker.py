"""Converts the files that it is told on its standard input, one JSON object a line, and answers each with one line.

Started by `python -m run.convert_character`; not meant to be used by hand.
"""

from __future__ import annotations

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from importing import InputError, Scene, arguments, finish  # noqa: E402

from data.formats.character_files import Request, Result, write_character  # noqa: E402

ANSWER = "@s2h "


def main() -> None:
    """Serve requests until the input ends."""
    _limit_memory(float((arguments() or ["0"])[0]))
    _answer({"ready": True})
    for line in sys.stdin:
        request = Request(**json.loads(line))
        try:
            result = write_character(Scene(request.source, request.armature), request)
        except (InputError, OSError) as error:
            result = Result(request.source, error=str(error))
        except MemoryError:
            result = Result(request.source, error=f"{request.source}: it needs too much memory; raise `memory_gb`")
        _answer(result.as_dict())
    finish(0)


def _answer(message: dict) -> None:
    print(ANSWER + json.dumps(message), flush=True)


def _limit_memory(gigabytes: float) -> None:
    if gigabytes > 0:
        try:
            import resource

            hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
            resource.setrlimit(resource.RLIMIT_DATA, (int(gigabytes * 2**30), hard))
        except (ImportError, ValueError, OSError):
            pass  # not on this system


if __name__ == "__main__":
    main()
