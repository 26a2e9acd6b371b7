"""Retargeted motions as FBX, by way of Blender."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Collection
from pathlib import Path

import numpy as np

from data.blender import ADVICE, SCRIPTS, find_blender
from data.formats.bvh import Bvh
from data.formats.skeleton import Skeleton
from data.motion.glb import posed, quaternions, root_positions, seen_from
from data.motion.keep import Kept
from utils.errors import InputError
from utils.files import atomic_write
from utils.safe_read import read_npz

_SECONDS = 600.0


def write_fbx(
    path: str | os.PathLike,
    character: str | os.PathLike,
    bvh: Bvh,
    name: str,
    blender: str | None = None,
    skeleton: Skeleton | None = None,
    kept: Kept | None = None,
    fingers: Collection[int] = (),
) -> None:
    """The user's character with an animation, through Blender.

    Args:
        path: to write.
        character: ``.fbx`` or ``.glb`` whose bones have the names of the motion's joints.
        bvh: the motion.
        name: of the animation.
        blender: Blender, or a Python with bpy; None: found by itself.
        skeleton: of the file, where bones hang otherwise than the motion's joints: they are placed too.
        kept: an animation of the character's file, in which only ``fingers`` are keyed anew.
        fingers: joints.

    Raises:
        InputError: there is no Blender, or it fails.
    """
    command = find_blender(blender)
    if command is None:
        raise InputError(f"{path}: {ADVICE}")
    rotations = bvh.rotations()
    joints = len(bvh.joint_names)
    turned = np.stack([quaternions(rotations[:, joint]) for joint in range(joints)], axis=1)[..., [3, 0, 1, 2]]
    moved = np.zeros((bvh.n_frames, joints, 3))
    for joint, parent in enumerate(bvh.parents):
        if parent < 0:
            moved[:, joint] = root_positions(bvh, joint) - bvh.offsets[joint]
    elsewhere = [] if skeleton is None else np.flatnonzero(bvh.parents != skeleton.parents).tolist()
    if skeleton is not None and elsewhere:
        poses = posed(bvh)
        for joint in elsewhere:
            seen, place = seen_from(poses, joint, int(skeleton.parents[joint]))
            turned[:, joint] = quaternions(seen)[:, [3, 0, 1, 2]]
            moved[:, joint] = place - skeleton.offsets[joint]
    with tempfile.TemporaryDirectory() as folder, atomic_write(path) as temporary:
        motion = Path(folder) / "motion.npz"
        some = list(range(joints)) if kept is None else sorted(fingers)
        np.savez(
            motion,
            names=np.array(bvh.joint_names)[some],
            rotations=turned[:, some],
            moves=moved[:, some],
            fps=1 / bvh.frame_time,
            kept=-1 if kept is None else kept.clip,
        )
        options = ["--character", str(Path(character).resolve()), "--motion", str(motion)]
        options += ["--output_fbx", str(temporary.resolve()), "--name", name]
        _run([*command, str(SCRIPTS / "animate.py"), "--", *options], path)
        if not temporary.is_file():
            raise InputError(f"{path}: Blender wrote nothing; {ADVICE}")


def read_back_fbx(path: str | os.PathLike, blender: str | None = None) -> dict[str, np.ndarray]:
    """Where the bones of a file are, as a Blender of its own reads them.

    Returns:
        ``names`` (J,), ``places`` (F, J, 3) centimetres and ``turns`` (F, J, 3, 3) since the rest pose, in the
        character's frame.

    Raises:
        InputError: there is no Blender, or it cannot read the file.
    """
    command = find_blender(blender)
    if command is None:
        raise InputError(f"{path}: {ADVICE}")
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "places.npz"
        options = ["--character", str(Path(path).resolve()), "--output_places", str(found)]
        _run([*command, str(SCRIPTS / "animate.py"), "--", *options], path)
        return dict(read_npz(found))


def _run(command: list[str], path: str | os.PathLike) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, errors="replace", timeout=_SECONDS
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise InputError(f"{path}: Blender was not done after {_SECONDS:g} s; cut the motion") from None
    if done.returncode:
        said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        errors = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
        raise InputError((errors or [f"{path}: Blender failed: {(said or ['it says nothing'])[-1][:200]}"])[-1])
