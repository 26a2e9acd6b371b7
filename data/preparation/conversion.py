"""Many characters at once: which file becomes what, and what is done already."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data.character.gltf import read_gltf_character
from data.dataset import MixHandFolder
from data.formats.character_files import SUFFIXES, Request, Result, check_kind, write_character
from data.formats.skeleton import file_name
from utils.errors import InputError
from utils.files import atomic_write, content_hash

VERSION = 1
"""Raised when files that were converted before should be converted again."""


@dataclass(frozen=True)
class Job:
    """One file to convert, and where it is written down that it was."""

    request: Request
    record: Path
    """``finger_data/<Name>_source.json``: for each file converted to this character, its content and what was made."""
    state: str
    """Fingerprint of the file and the settings."""


@dataclass(frozen=True)
class Settings:
    """What files are made into."""

    character: str | None = None
    """The character that all files belong to; None: each its own."""
    recursive: bool = False
    """Whether folders inside folders are looked into."""
    fps: float = 60.0
    """Frames a second of the motions."""
    armature: str | None = None
    """Which one to take where a file has several."""
    adjust_bone: bool = False
    """Whether joints move into the middle of the skin."""


def jobs_for(inputs: Sequence[Path], output: Path, settings: Settings) -> tuple[list[Job], list[Result]]:
    """What is to be done with files and folders of them, and the files that are refused at first sight.

    Args:
        inputs: files or folders.
        output: the folder of the data set.
        settings: for all of them.

    Raises:
        InputError: an input does not exist, or a folder holds nothing to convert.
    """
    files = _files(inputs, settings.recursive)
    wanted = file_name(settings.character) if settings.character else None
    jobs, refused, names = [], [], {}
    for path in files:
        try:
            check_kind(path)
        except InputError as error:
            refused.append(Result(str(path), error=str(error)))
            continue
        name = wanted or file_name(path.stem, "character")
        other = names.setdefault((name, path.stem.lower()) if wanted else name.lower(), path)
        if other != path:
            reason = f"{path}: expected another name than {other} has; rename one, or convert into two folders"
            refused.append(Result(str(path), error=reason))
            continue
        jobs.append(_job(path, name, output, settings))
    return jobs, refused


def _files(inputs: Sequence[Path], recursive: bool) -> list[Path]:
    files = []
    for path in inputs:
        if not path.is_dir():
            if not path.exists():
                raise InputError(f"{path}: expected a file or folder, found nothing; check the path")
            files.append(path)
            continue
        inside = sorted(path.rglob("*") if recursive else path.iterdir())
        visible = [file for file in inside if not file.name.startswith(".")]
        found = [file for file in visible if file.suffix.lower() in SUFFIXES and file.is_file()]
        if not found:
            hint = "" if recursive else "; `recursive` looks deeper"
            raise InputError(f"{path}: expected files {', '.join(SUFFIXES)} in this folder, found none{hint}")
        files += found
    return list({file.resolve(): file for file in files}.values())


def _job(path: Path, name: str, output: Path, own: Settings) -> Job:
    folder = MixHandFolder(output)
    request = Request(
        source=str(path.resolve()),
        mesh=str(folder.mesh(name).resolve()),
        folder=str((output / name).resolve()),
        clip=file_name(path.stem),
        prefix=f"{file_name(path.stem)}_" if own.character else "",
        fps=own.fps,
        armature=own.armature,
        adjust_bone=own.adjust_bone,
    )
    kept = replace(request, source=path.name, mesh="", folder="")
    beside = sorted(p for p in path.parent.glob("*.bin") if p.is_file()) if path.suffix.lower() == ".gltf" else []
    state = f"{VERSION} {content_hash(path, *beside)} {json.dumps(kept.__dict__, sort_keys=True)}"
    return Job(request, folder.source(name), state)


def convert_gltf(request: Request) -> Result:
    """Convert a glTF file without Blender; what is wrong with it is told in the result."""
    try:
        return write_character(read_gltf_character(request.source, request.armature), request)
    except (InputError, OSError) as error:
        text = str(error)
        return Result(request.source, error=text if request.source in text else f"{request.source}: {text}")


def done_before(job: Job) -> bool:
    """This very file was converted with these settings, and what was made of it is still there."""
    own = _records(job.record).get(Path(job.request.source).name, {})
    if not isinstance(own, dict) or own.get("state") != job.state or not isinstance(own.get("made"), list):
        return False
    root = job.record.parent.parent
    return all(isinstance(path, str) and (root / path).is_file() for path in own["made"])


def remember(job: Job, result: Result) -> None:
    """Write down what was made of a file."""
    root = job.record.parent.parent.resolve()
    made = [str(Path(path).relative_to(root)) for path in [result.mesh, *result.clips] if path]
    records = _records(job.record)
    records[Path(job.request.source).name] = {"state": job.state, "made": made, "notes": result.notes}
    with atomic_write(job.record) as temporary:
        temporary.write_text(json.dumps(records, indent=1), encoding="utf-8")


def _records(path: Path) -> dict:
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return records if isinstance(records, dict) else {}
