"""Give hand motions to another hand: `python -m run.retarget motion.bvh --target YBot --output moved.bvh`.

Sources are BVH, FBX, glTF, MANO parameters (.npz, .json) or positions of joints, one file or a folder of them, of any
length and frame rate. The hand that moves is that of the file itself, or --source_hand. Positions alone (MediaPipe,
OpenXR: .json, .csv, .npy, .npz) become poses of a hand with bones of their lengths first; without --target that hand
is written as BVH. Targets are characters of a data set by name, their mesh files, FBX, glTF, BVH skeletons, or `mano`
(the MANO or open hand) with a --shape. Both hands are done where both have them; a network of right hands serves left
ones by way of their mirror images.

Written is what --output ends in or --format says: BVH (the target's whole skeleton; the body moves as the source's
where both are humanoid, see --body), glb (with skin and materials, opens in Blender and browsers), fbx (by way of
Blender), vrma (an animation for any VRM avatar), mano (.npz, pose and shape), mp4 (source, copy and result side by
side).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.choices import BODIES, FOLLOW, KEEP, REST
from data.choices import MOTION_FORMATS as FORMATS
from data.formats.rates import check_rate
from model.methods import CLOSING, OPTIMUM, described, named, names, of_kind
from model.topology import N_SHAPE, SIDES
from run.retargeting.kinds import FILMS
from utils.cli import CommandLine, aligned, guarded, options_first, say
from utils.errors import InputError, some, spoken

DEFAULT = named(CLOSING).aliases[0]
"""The method unless one is named: it needs to have seen nothing, joints turn as real ones do, touches close."""


def argument_parser() -> CommandLine:
    """The options."""
    parser = CommandLine(
        "run.retarget",
        __doc__,
        epilog=f"methods:\n{aligned(described())}\n\n"
        "examples:\n"
        "  python -m run.retarget dance.fbx --target me.glb --output dance.glb --report\n"
        "  python -m run.retarget motions/ --target HandLong0 --ckpt_path last.ckpt --refine 3 \\\n"
        "      --data_path artifact/MixHandOpen --output retargeted --format bvh mp4\n"
        "  python -m run.retarget poses.npz --target mano --shape 1.5 0 0 0 0 0 0 0 0 0 --output p.npz\n"
        "  python -m run.retarget mediapipe.json --target me.glb --method feedback --output me_moves.glb\n"
        "  python -m run.retarget quest.json --output hands.bvh",
    )
    add = parser.add_argument
    add("source", type=Path, help="a motion (.bvh .fbx .glb .gltf .npz .json .csv .npy), or a folder of them")
    add(
        "--target",
        metavar="WHO",
        help="name in the data set, mesh .npz, .fbx, .glb, .gltf, .bvh, or mano; without it the source's own skeleton "
        "is written as BVH, such as the one that is fitted to points",
    )
    add("--output", type=Path, metavar="PATH", default=Path("artifact/retargeted"), help="a file, or a folder")
    add("--format", nargs="+", choices=(*FORMATS, *FILMS), metavar="F", help=f"of {', '.join((*FORMATS, *FILMS))}; "
        "default: what --output ends in, else bvh")  # fmt: skip
    add("--method", choices=names(), metavar="NAME", help="one of those below; default: that of --ckpt_path; without "
        f"one {DEFAULT}, which serves rigs of any kind")  # fmt: skip
    add(
        "--ckpt_path",
        type=Path,
        metavar="FILE",
        help="checkpoint of the network (default: the open weights that come with the program)",
    )
    add("--refine", type=int, default=0, metavar="N", help="steps of the optimiser after the network")
    parser.flag("no_contacts", "let the optimiser leave touches open")
    parser.flag("skin", "the optimiser keeps touches of skin, and keeps out of flesh; --no_skin: it keeps those of "
                "fingertips' joints, which is faster", default=True)  # fmt: skip
    add("--hands", choices=("both", *SIDES), default="both", help="which hands; default: all that both have")
    add("--source_hand", metavar="WHO", help="whose hands the source's are, as --target; default: the file's own")
    add("--source_scale", type=float, default=1.0, metavar="X", help="multiply lengths of the source (100: metres)")
    add("--target_scale", type=float, default=1.0, metavar="X", help="multiply lengths of the target")
    add("--shape", nargs="+", metavar="B", help="of a MANO target: ten numbers, or a .npy or .npz file")
    add("--source_shape", nargs="+", metavar="B", help="the same of a MANO source")
    add("--fps", type=float, metavar="X", help="frame rate of the source, in place of the file's own")
    add("--data_path", type=Path, default=Path("artifact/MixHandOpen"), help="data set with finger_data and models")
    add("--smplx_path", type=Path, metavar="PATH", help="MANO model; default: models in the data set")
    add("--mano_axes", type=Path, metavar="FILE", help="axes of the MANO hand; default: those of the data set")
    add("--body", metavar="WAY", help="keep: the animation of the target's own file stays, only fingers are replaced "
        "(default where it has one of the source's length), or that of a file given in place of WAY; follow: the "
        "body moves as the source's, feet where they are planted (default where both are humanoid); rest: it stands "
        "still")  # fmt: skip
    parser.flag("hands_together", "where the source's hands touch each other, arms bend so that the target's do, "
                "by up to 2 cm a hand")  # fmt: skip
    add("--rig_map", type=Path, metavar="FILE", help="which joints are which, where names do not tell")
    parser.flag(
        "print_map", "print which joints of source and characters are recognised, as --rig_map takes it, and stop"
    )
    add("--blender", metavar="PATH", help="Blender, or a Python with bpy, for FBX; default: found by itself")
    parser.flag("report", "measure the result: a table, and <name>_report.json")
    add("--film_size", type=int, default=320, metavar="PIXELS", help="height of a hand in mp4 and gif")
    return parser


options_first(__name__, argument_parser)

import numpy as np
import torch
from rich.console import Console

from data.blender import ADVICE, find_blender
from data.character.character import Character
from data.character.mesh_file import is_mesh
from data.character.reading import Reading, read_character
from data.character.recognised import RIGS, recognised
from data.dataset import MixHandFolder
from data.formats.bvh import write_bvh
from data.motion.keep import Kept
from data.motion.reading import MANO_FPS, Motion, find_motions, read_motions
from data.motion.writing import Job, check_target, output_paths, skin_missing, write_motion
from data.rig import read_rig_map
from model.motion import SourceMotion
from model.network import TrainedNetwork
from run.retargeting.body import body_of
from run.retargeting.plan import Plan, formats_of, inputs_of, plan_of
from run.retargeting.remarks import body_remark, remarks
from run.retargeting.report import hand_report, print_reports, write_report
from run.retargeting.retargeter import Retargeter
from run.training.open_weights import open_weights
from run.training.trained import load_network
from utils.progress import progress
from utils.safe_read import read_npy, read_npz

OPTIONS = {"scale": "--source_scale"}
"""What settings are called here, where that is not ``--setting``."""


def retarget(options: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Retarget what the options say; of a folder, a motion that fails does not stop the others.

    Returns:
        The reports, if they were asked for.

    Raises:
        InputError: something is missing or does not fit together, or some motions failed, after the others were done.
    """
    config = argument_parser().parse_args(options)
    files = find_motions(config.source)
    if config.print_map:
        print(recognised(_rigs(config, files), config.blender))
        return []
    formats, into_file = formats_of(config.output, config.format, len(files))
    network = None
    if config.target is None:
        _check_without_target(config, formats)
    else:
        network = _network(config)
        _check_options(config, formats)
    reading = Reading(
        config.data_path,
        config.smplx_path,
        config.mano_axes,
        None if config.rig_map is None else read_rig_map(config.rig_map),
        config.fps,
        config.blender,
        None if config.hands == "both" else config.hands,
    )
    plan = plan_of(config, files, formats, into_file)
    plan.check(inputs_of(config, files, reading))
    retargeter = None if config.target is None else _retargeter(config, network, reading, formats)
    shape, own_hand = _shape(config.source_shape, "--source_shape"), None
    if retargeter is not None and config.source_hand is not None:
        own_hand = _character("by", config.source_hand, reading, shape)
    batch = _Batch(files)
    for file in batch.files():
        with batch.attempt(file):
            for motion in read_motions(file, reading, own_hand, config.source_scale, config.fps, shape):
                _say_rate(motion)
                base = plan.claim(file, motion.name)
                if retargeter is None:
                    batch.reports.append(_as_it_is(motion, base, plan))
                else:
                    batch.reports.append(_one(motion, retargeter, base, plan, config))
    batch.say(config.report)
    return batch.reports


def _rigs(config: argparse.Namespace, files: Sequence[Path]) -> list[Path]:
    """The files of a command line that have a rig: its motions, and its characters."""
    folder = MixHandFolder(config.data_path)
    meshes = folder.meshes() if folder.finger_data.is_dir() else {}
    named = [meshes.get(name, Path(name)) for name in (config.target, config.source_hand) if name is not None]
    paths = [path for path in (*files, *named) if path.suffix.lower() in RIGS and path.is_file()]
    paths = [path for path in paths if path.suffix.lower() != ".npz" or is_mesh(path)]
    if not paths:
        raise InputError(
            f"{config.source}: expected a file with a rig ({', '.join(RIGS)}) for `print_map`, found none; poses of "
            "MANO and positions have no bones"
        )
    return list(dict.fromkeys(paths))


def _network(config: argparse.Namespace) -> TrainedNetwork | None:
    """The network asked for, by name or by its checkpoint, which settles `config.method` where none is named."""
    if config.method is None and config.ckpt_path is None:
        config.method = DEFAULT
    if config.method is not None and named(config.method).kind != "network":
        return None
    path = config.ckpt_path or open_weights(config.method)
    if path is None:
        raise InputError(
            f"--method {config.method}: expected its checkpoint, found none; give --ckpt_path, or take "
            f"--method {DEFAULT}, which needs none"
        )
    network = load_network(path, config.method)
    config.method = config.method or network.method
    return network


def _retargeter(
    config: argparse.Namespace, network: TrainedNetwork | None, reading: Reading, formats: list[str]
) -> Retargeter:
    """What gives motions to the target."""
    shape = _shape(config.shape, "--shape")
    target = _character("--target_scale", config.target, reading, shape, config.target_scale)
    check_target(target, formats)
    if (lacks := skin_missing(target)) and not set(FILMS).isdisjoint(formats):
        say(f"note: {target.name} is drawn as bones: {target.path} has {lacks}")
    sides = SIDES if config.hands == "both" else (config.hands,)
    open_touches = config.no_contacts and named(config.method).name == CLOSING
    method = OPTIMUM if open_touches else config.method
    return Retargeter(target, method, network, config.refine, not config.no_contacts, sides, config.skin)


class _Batch:
    """The motions of some files, one after the other; one that fails does not stop the others."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self.reports: list[dict[str, Any]] = []
        self.failures: list[str] = []

    def files(self) -> Iterator[Path]:
        """Its files, with a progress bar."""
        with progress("retargeting", len(self.paths), "motions") as advance:
            for file in self.paths:
                yield file
                advance()

    @contextmanager
    def attempt(self, file: Path) -> Iterator[None]:
        """Keep why a file fails, and go on; the only one's error is the batch's."""
        try:
            yield
        except InputError as error:
            if len(self.paths) == 1:
                raise
            self.failures.append(spoken(error, OPTIONS))

    def say(self, measured: bool) -> None:
        """Print what was written, and measured if it was; InputError if something failed."""
        console = Console()
        if measured and self.reports:
            print_reports(self.reports, console)
        files = [file for report in self.reports for file in report["files"]]
        if files:
            more = "" if len(files) <= 4 else f" and {len(files) - 4} more"
            console.print(f"written: {', '.join(files[:4])}{more}", markup=False, highlight=False, soft_wrap=True)
        for reason in self.failures:
            console.print(f"skipped {reason}", style="red", markup=False, highlight=False, soft_wrap=True)
        if self.failures:
            raise InputError(
                f"{len(self.failures)} of {len(self.paths)} motions could not be retargeted; the reasons are above"
            )


def _as_it_is(motion: Motion, base: Path, plan: Plan) -> dict[str, Any]:
    """Write a motion on its own skeleton; its report."""
    if motion.bvh is None:
        raise InputError(f"{motion.path}: expected `target`, since poses of MANO have no skeleton of their own; "
                         "give `target` mano")  # fmt: skip
    path = base if plan.into_file else base.with_name(f"{base.name}.bvh")
    write_bvh(path, motion.bvh)
    return {"motion": motion.name, "source": str(motion.path), "frames_per_second": motion.frame_rate,
            "files": [str(path)]}  # fmt: skip


def _say_rate(motion: Motion) -> None:
    if not motion.rate_told:
        say(f"note: {motion.path} tells no fps; taken as {MANO_FPS:g}, --fps says otherwise")


def _character(scale: str, *arguments: Any) -> Character:
    """`read_character`, whose messages say what scales this file."""
    try:
        return read_character(*arguments)
    except InputError as error:
        raise InputError(spoken(error, {"scale": scale})) from None


def _one(motion: Motion, retargeter: Retargeter, base: Path, plan: Plan, config) -> dict[str, Any]:
    """Retarget one motion and write its files; its report."""
    formats, into_file = plan.formats, plan.into_file
    work = retargeter.retargetings(motion)
    results = {side: retargeting.moving(source) for side, (source, retargeting) in work.items()}
    poses = {side: result.local.numpy() for side, result in results.items()}
    body = body_of(config.body, motion, retargeter.target, config.target_scale, config.blender)
    if isinstance(body, Kept) and config.body is None:
        say(f"note: {body.path}: its own animation is as long as {motion.path} and stays, only fingers are replaced; "
            "--body follow says otherwise")  # fmt: skip
    job = Job(motion, retargeter.target, poses, config.blender, config.target_scale, body, config.hands_together)
    written, kept = write_motion(job, output_paths(retargeter.target, tuple(poses), base, formats, into_file))
    lines = remarks(motion, retargeter.target.path, {side: retargeter.target.hands[side] for side in poses})
    still = None if kept else body_remark(motion, retargeter.target, config.body)
    retargeter.say_once([*lines, *([still] if still else [])])
    for path, stay in job.stays.items():
        say(f"note: {path}: the new animation is {motion.name!r}, the first; its own stay beside it: {some(stay)}")
    for kind in (kind for kind in formats if kind in FILMS):
        from run.retargeting.film import Shown, write_motion_film  # a quarter of a second

        path = base if into_file else base.with_name(f"{base.name}.{kind}")
        shown = {
            side: Shown(source, motion.tracks[side].hand, results[side], retargeter.target.hands[side], retargeting)
            for side, (source, retargeting) in work.items()
        }
        names = motion.character.name, retargeter.target.name
        write_motion_film(path, shown, motion.name, names, config.film_size)
        written.append(path)
    report: dict[str, Any] = {
        "motion": motion.name,
        "source": str(motion.path),
        "target": config.target,
        "method": config.method,
        "refine": retargeter.refine,
        "frames_per_second": motion.frame_rate,
        "body_kept": kept,
        "body": KEEP if isinstance(body, Kept) else FOLLOW if kept else REST,
        "files": [str(path) for path in written],
    }
    if config.report or config.hands_together:
        report["hands_together"] = job.hands_touch(tuple(poses)) if retargeter.target.kind != "mano" else None
        if (touch := report["hands_together"]) is not None:
            more = "" if config.hands_together or touch["kept"] == 1 else "; --hands_together bends the arms for it"
            say(f"note: {motion.path}: the hands touch each other in {touch['frames']} frames; in {touch['kept']:.0%} "
                f"of them on {retargeter.target.name} too{more}")  # fmt: skip
    if config.report:
        report["hands"] = {
            side: hand_report(
                source,
                _in_file(job, results, side),
                retargeting,
                (motion.tracks[side].hand.skin_gaps, retargeter.target.hands[side].skin_gaps),
            )
            for side, (source, retargeting) in work.items()
        }
        path = base.with_name(f"{base.stem if into_file else base.name}_report.json")
        write_report(path, report)
        report["files"].append(str(path))
    return report


def _in_file(job: Job, results: dict[str, SourceMotion], side: str) -> SourceMotion:
    """A result as the file that was written holds it; where only films are, the result itself."""
    if side not in job.read_back:
        return results[side]
    return replace(results[side], local=torch.from_numpy(job.read_back[side].pose(side)).float())


def _check_without_target(config: argparse.Namespace, formats: list[str]) -> None:
    if formats != ["bvh"] or config.report:
        what = "--report" if config.report else f"--format {' '.join(formats)}"
        raise InputError(f"{what}: expected --target, found none; without it the source's own skeleton becomes BVH")
    _check_numbers(config)


def _check_options(config: argparse.Namespace, formats: list[str]) -> None:
    if config.refine < 0:
        raise InputError(f"--refine: expected the number of steps, 0 or more, found {config.refine}")
    if config.ckpt_path is not None and named(config.method).kind != "network":
        raise InputError(
            f"--ckpt_path {config.ckpt_path}: expected none with --method {config.method}, which has no network; "
            f"leave out one of them, or give --method {' or '.join(of_kind('network'))}"
        )
    if config.refine and named(config.method).kind != "network":
        raise InputError(f"--refine: expected steps after a network ({', '.join(of_kind('network'))}), found "
                         f"{config.refine} with --method {config.method}")  # fmt: skip
    if config.body not in (None, *BODIES) and not Path(config.body).is_file():
        raise InputError(f"--body: expected {', '.join(BODIES)}, or the file of an animation, found {config.body}")
    _check_numbers(config)
    for kind in formats:
        if kind in FILMS:
            from utils.video import check_format

            check_format(kind)
    if "fbx" in formats and find_blender(config.blender) is None:
        raise InputError(f"--format fbx: {ADVICE}")


def _check_numbers(config: argparse.Namespace) -> None:
    for name in ("source_scale", "target_scale"):
        if not 0 < getattr(config, name) < np.inf:
            raise InputError(f"--{name}: expected a number above 0, found {getattr(config, name)}")
    if config.fps is not None:
        check_rate(config.fps, "--fps", "give another one")
    if not 64 <= config.film_size <= 2160:
        raise InputError(f"--film_size: expected 64 to 2160 pixels, found {config.film_size}")


def _shape(words: list[str] | None, option: str) -> np.ndarray | None:
    """Ten shape components from the command line or a file."""
    if words is None:
        return None
    path = Path(words[0])
    if len(words) == 1 and path.suffix == ".npy":
        values = read_npy(path)
    elif len(words) == 1 and path.suffix == ".npz":
        arrays = read_npz(path)
        values = next((arrays[key] for key in ("shape", "betas") if key in arrays), np.zeros(0))
    else:
        try:
            values = np.array([float(word) for word in words])
        except ValueError:
            raise InputError(
                f"{option}: expected {N_SHAPE} numbers or a .npy or .npz file, found {words[0]!r}"
            ) from None
    values = np.asarray(values, dtype=np.float64).reshape(-1)
    if values.size < N_SHAPE or values.size % N_SHAPE:
        raise InputError(f"{option}: expected {N_SHAPE} numbers, found {values.size}")
    if not np.isfinite(values).all():
        number = int(np.flatnonzero(~np.isfinite(values))[0])
        raise InputError(
            f"{option}: expected {N_SHAPE} finite numbers, found {values[number]} as number {number % N_SHAPE + 1}"
        )
    return values.reshape(-1, N_SHAPE).mean(axis=0)


if __name__ == "__main__":
    guarded(retarget, OPTIONS)
