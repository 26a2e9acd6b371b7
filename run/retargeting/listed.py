"""Which files `run.retarget` takes and makes, for DATA.md."""

from __future__ import annotations

from data.character.recognised import RIGS
from data.motion.reading import SOURCES
from run.retargeting.plan import ENDINGS

_WHAT = {
    "bvh": "a skeleton and its motion",
    "fbx": "by way of Blender",
    "gltf": "glTF with its buffers beside it",
    "glb": "glTF in one file",
    "vrm": "VRM 0.x and 1.0; its table of bones goes before any name",
    "vrma": "an animation for any VRM avatar",
    "npz": "poses of MANO, SMPL-X, SMPL+H; positions of joints; mesh files; written: poses of MANO",
    "json": "poses of hands; positions of joints",
    "csv": "positions of joints",
    "npy": "positions of joints",
    "mp4": "a film: source, copy and result side by side",
    "gif": "the same",
}


def listing() -> str:
    """What is read and written, by the ending of a file's name, as a table. Raises KeyError for one not described."""
    read, rigs = ([suffix.removeprefix(".") for suffix in suffixes] for suffixes in (SOURCES, RIGS))
    head = ("ending", "read as motion", "read as target", "written", "what")
    rows = [
        (f"`.{ending}`", *("yes" if ending in part else "" for part in (read, rigs, ENDINGS)), _WHAT[ending])
        for ending in dict.fromkeys([*read, *rigs, *ENDINGS])
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))
