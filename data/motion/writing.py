"""Which files a retargeted motion becomes, and writing them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from data.character.character import Character, CharacterHand
from data.character.mano import mano_skin
from data.choices import MOTION_FORMATS as FORMATS
from data.formats.bvh import Bvh, decimals, resized, write_bvh
from data.formats.gltf import SUFFIXES as GLTF_SUFFIXES
from data.motion.body import WholeMotion, hung, whole_motion
from data.motion.fbx import write_fbx
from data.motion.glb import write_glb, write_into_gltf
from data.motion.keep import Kept
from data.motion.mano_file import ManoMotion, write_mano_motion
from data.motion.readback import ReadBack, check_written
from data.motion.reading import Motion
from data.motion.together import BothHands, brought_together, gaps, moving, touch_report
from data.motion.vrma import human_bones, write_vrma
from utils.errors import InputError
from utils.files import atomic_write

_ENDINGS = {"mano": "npz"}


@dataclass(frozen=True)
class Job:
    """A motion and its result."""

    motion: Motion
    target: Character
    poses: Mapping[str, np.ndarray]
    """Side → (F, 5, 3, 3, 3) local rotations in the canonical frame, in single or double precision."""
    blender: str | None = None
    scale: float = 1.0
    """How much larger the target is taken than its file has it."""
    body: str | Kept | None = None
    """``"follow"``, ``"rest"``, an animation that is kept; None: followed where that can be."""
    hands_together: bool = False
    """Arms bend so that hands touch each other where the source's do."""

    @cached_property
    def read_back(self) -> dict[str, ReadBack]:
        """Side → what the first file of it holds."""
        return {}

    @cached_property
    def stays(self) -> dict[Path, list[str]]:
        """File → names of the animations that are in it beside the new one, which comes first."""
        return {}

    @cached_property
    def _whole(self) -> dict[tuple[str, ...], WholeMotion]:
        return {}

    def whole(self, sides: tuple[str, ...]) -> WholeMotion:
        """The motion of all joints of the skeleton that these hands hang on; worked out once."""
        if sides not in self._whole:
            hands = {side: self.target.hands[side] for side in sides}
            made = whole_motion(hands, {side: self.poses[side] for side in sides}, self.motion, self.body)
            if self.hands_together and made.body_kept and not isinstance(self.body, Kept):
                made = self._brought_together(made, hands)
            self._whole[sides] = made
        return self._whole[sides]

    def both_hands(self, whole: WholeMotion, hands: Mapping[str, CharacterHand]) -> tuple[BothHands, BothHands] | None:
        """The two hands of source and target; None where one of them has not both, on one body."""
        motion = self.motion
        if motion.skeleton is None or motion.bvh is None:
            return None
        target = hung(self.target.skeleton, hands)
        pair = moving(motion.skeleton, motion.own_hands, motion.bvh), moving(target, hands, whole.bvh)
        return None if pair[0] is None or pair[1] is None else (pair[0], pair[1])

    def hands_touch(self, sides: tuple[str, ...]) -> dict[str, float | int] | None:
        """What became of the touches of two hands (`data.motion.together.touch_report`); None where there are none."""
        whole, hands = self.whole(sides), {side: self.target.hands[side] for side in sides}
        pair = self.both_hands(whole, hands) if whole.body_kept else None
        return None if pair is None else touch_report(*map(gaps, pair))

    def _brought_together(self, whole: WholeMotion, hands: Mapping[str, CharacterHand]) -> WholeMotion:
        pair = self.both_hands(whole, hands)
        if pair is None:
            return whole
        skeleton = hung(self.target.skeleton, hands)
        wrists = {side: hand.map.wrist for side, hand in hands.items()}
        return replace(whole, bvh=brought_together(*pair, whole.bvh, skeleton, wrists))


@dataclass(frozen=True)
class Output:
    """One file to write."""

    path: Path
    kind: str
    sides: tuple[str, ...]


def check_target(target: Character, formats: Sequence[str]) -> None:
    """Refuse formats that this target cannot be written in.

    Raises:
        InputError: MANO parameters of a character, an animation of a human's bones of a hand alone, or a mesh of bare
            bones or of one that its hands do not move.
    """
    if "mano" in formats and target.kind != "mano":
        raise InputError(f"`format` mano: expected a MANO target, found {target.name}; use `target` mano")
    if "vrma" in formats:
        human_bones(target.path, target.hands)
    lacks = skin_missing(target)
    for kind in ("glb", "fbx"):
        if kind in formats and lacks:
            raise InputError(
                f"{target.path}: expected a target with a mesh and skinning weights for `format` {kind}, found "
                f"{lacks}; give the character's own file with its skin, or `format` bvh"
            )


def skin_missing(target: Character) -> str:
    """What a target shows in place of skin that its hands move, such as "bones alone"; empty if it has such skin."""
    if target.kind == "mano":
        return ""
    if target.kind == "skeleton" or target.skin is None or not len(target.skin.faces):
        return "bones alone"
    if any(hand.surface is not None and len(hand.surface.faces) for hand in target.hands.values()):
        return ""
    return "a mesh without skinning weights (JOINTS_0 and WEIGHTS_0 in glTF, weight in .npz) on its hands"


def output_paths(
    target: Character, sides: tuple[str, ...], base: Path, formats: Sequence[str], into_file: bool
) -> list[Output]:
    """The files of a motion: one for each format; of MANO hands, one for each hand too.

    Args:
        base: the file, or folder and name without ending.
    """
    groups = [tuple(side for side in group if side in sides) for group in target.groups]
    groups = [group for group in groups if group]
    result = []
    for kind in (kind for kind in formats if kind in FORMATS):
        for group in groups:
            which = f"_{group[0]}" if len(groups) > 1 else ""
            if into_file:
                path = base.with_name(f"{base.stem}{which}{base.suffix}")
            else:
                path = base.with_name(f"{base.name}{which}.{_ENDINGS.get(kind, kind)}")
            result.append(Output(path, kind, group))
    return result


def write_motion(job: Job, outputs: Sequence[Output]) -> tuple[list[Path], bool]:
    """Write files, each complete, read again and found right, or not at all.

    Returns:
        Their paths, and whether the body moves as the source's. What they hold is in `Job.read_back`.

    Raises:
        InputError: a file cannot be written, or does not hold the poses; what had its name before is left alone.
    """
    for output in outputs:
        with atomic_write(output.path) as temporary:
            try:
                found = _write(job, replace(output, path=temporary))
                if temporary in job.stays:
                    job.stays[output.path] = job.stays.pop(temporary)
            except InputError as error:
                raise InputError(str(error).replace(str(temporary), str(output.path))) from None
        for side in output.sides:
            job.read_back.setdefault(side, found)
    kept = all(job.whole(output.sides).body_kept for output in outputs if output.kind != "mano")
    return [output.path for output in outputs], kept


def _write(job: Job, output: Output) -> ReadBack:
    """One file; what it holds."""
    own = job.target.path.suffix.lower() in (".fbx", *GLTF_SUFFIXES)
    if output.kind == "mano":
        _write_mano(job, output)
    else:
        bvh = job.whole(output.sides).bvh
        if output.kind == "bvh":
            write_bvh(output.path, bvh, decimals(job.body.bvh.values) if isinstance(job.body, Kept) else 6)
        elif output.kind == "glb":
            if stays := _write_glb(job, output.path, output.sides, bvh):
                job.stays[output.path] = stays
        elif output.kind == "vrma":
            write_vrma(output.path, job.target.path, job.target.hands, bvh, job.motion.name)
        else:
            _write_fbx(job, output, bvh)
    hands = {side: (job.target.hands[side], job.poses[side]) for side in output.sides}
    scale = job.scale if own and output.kind in ("glb", "fbx") else 1.0
    kept = _kept(job, GLTF_SUFFIXES) if output.kind == "glb" else None
    return check_written(output.path, hands, scale, job.blender, None if kept is None else kept.times())


def _kept(job: Job, kinds: Sequence[str]) -> Kept | None:
    """The body's own animation where it stays key by key: in files of the same kind."""
    if isinstance(job.body, Kept) and {path.suffix.lower() for path in (job.target.path, job.body.path)} <= {*kinds}:
        return job.body
    return None


def _write_mano(job: Job, output: Output) -> None:
    (side,) = output.sides
    hand, track = job.target.hands[side], job.motion.tracks[side]
    assert hand.shape is not None  # it is a MANO hand
    motion = ManoMotion(job.poses[side], track.wrist, hand.shape.double().numpy(), job.motion.frame_rate, side)
    write_mano_motion(output.path, motion)


def _write_glb(job: Job, path: Path, sides: tuple[str, ...], bvh: Bvh) -> list[str]:
    """A file; the names of the animations that it has beside the new one."""
    if job.target.path.suffix.lower() in GLTF_SUFFIXES:
        kept, fingers = _kept(job, GLTF_SUFFIXES), job.whole(sides).fingers
        return write_into_gltf(path, job.target.path, resized(bvh, 1 / job.scale), job.motion.name, kept, fingers)
    hand = job.target.hands[sides[0]]
    skin = mano_skin(hand) if job.target.kind == "mano" else hand.skin
    write_glb(path, replace(hand.skeleton, parents=bvh.parents), skin, bvh, job.motion.name)
    return []


def _write_fbx(job: Job, output: Output, bvh: Bvh) -> None:
    """The user's own FBX or glTF goes through Blender; other characters as a glTF file of ours."""
    own = job.target.path
    if own.suffix.lower() in (".fbx", *GLTF_SUFFIXES):
        kept, fingers = _kept(job, (".fbx",)), job.whole(output.sides).fingers
        if kept is not None and kept.path.resolve() != own.resolve():
            kept = None
        write_fbx(
            output.path,
            own,
            resized(bvh, 1 / job.scale),
            job.motion.name,
            job.blender,
            job.target.skeleton,
            kept,
            fingers,
        )
        return
    with tempfile.TemporaryDirectory(prefix="s2h_glb_") as folder:
        character = Path(folder) / "character.glb"
        _write_glb(job, character, output.sides, bvh)
        write_fbx(output.path, character, bvh, job.motion.name, job.blender)
