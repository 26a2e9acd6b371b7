"""The compiled optimiser, called from Python: tensors in, angles and poses out, blocks of frames on all threads."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import ceil, prod
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import torch
from torch import Tensor

from model import presence
from model.flesh import N_CAPSULE_PAIRS, Flesh
from model.hands import PosedHand, ShapedHand
from model.kinematics import fingers_of, tbs_from_angles
from model.layout import common_shape
from model.limits import TWIST
from model.losses import finger_weights
from model.optimizer.kernel import layout, touching
from model.optimizer.settings import OptimizerSettings
from model.semantics import SemanticMatrix, palm_length
from model.skin import SkinPoints
from model.topology import BONES_PER_FINGER, N_ANCHORS, N_FINGER_JOINTS, N_FINGERS, N_JOINTS, TIPS
from model.touch import TouchGoals, margin
from utils.compiled import Compiled

_log = logging.getLogger(__name__)
_SHORT = 20_000
"""Frames that are sooner solved by the torch form than the program is compiled."""
_SHARE = 8 * layout.LANES
"""Frames that a thread takes at a time."""
_TIPS = [tip - 1 for tip in TIPS]
SEGMENT = 1024
"""Frames of a sequence that are made smooth at a time, without what overlaps."""
_REACH = 24.0
_ROUNDS = 3
"""How often the bones are taken anew from a surface whose joints its pose moves (MANO's)."""
_waited_for = 0


def _text() -> str:
    from model.optimizer.kernel.entries import ENTRIES  # needs LLVM, of which only the compiler has need
    from utils.vectors import program

    return program(ENTRIES)


_FOLDER = Path(__file__).parent
_KNOWN = ("topology.py", "flesh.py", "skin.py", "touch.py", "optimizer/touches.py")
"""Files of `model/` whose numbers are written into the program."""
PROGRAM = Compiled(
    "semantics2hands",
    [
        _FOLDER.parents[2] / "utils" / "vectors.py",
        *(_FOLDER.parents[1] / name for name in _KNOWN),
        *sorted(_FOLDER.glob("*.py")),
    ],
    _text,
    ("search", "search_few", "follow", "touched", "smooth"),
)


def covers(hand: ShapedHand, matrix: SemanticMatrix, start: Tensor, present: Tensor | None) -> bool:
    """Whether the program can solve this: numbers in single precision on a processor."""
    tensors = (*matrix, start, hand.offsets, hand.axes)
    plain = all(tensor.dtype == torch.float32 and tensor.device.type == "cpu" for tensor in tensors)
    return plain and (hand.present is None or present is not None) and start.numel() > 0


def ready(frames: int) -> bool:
    """Whether the program is there; it is compiled if so many frames, with those before, are worth the wait."""
    global _waited_for
    if PROGRAM.functions(compile=False) is not None:
        return True
    _waited_for += frames
    if _waited_for < _SHORT or PROGRAM.failed:
        return False
    _log.info("compiling the optimiser, once for this machine (about 20 s)")
    return PROGRAM.functions() is not None


def solve(
    hand: ShapedHand,
    matrix: SemanticMatrix,
    begin: Tensor,
    batch: torch.Size,
    settings: OptimizerSettings,
    present: Tensor | None = None,
    touches: TouchGoals | None = None,
) -> PosedHand:
    """What :func:`model.optimizer.optimise` does, by the compiled program.

    Args:
        hand: as there, and covered (:func:`covers`).
        matrix: ``(F, …)``; begin: ``(F, 5, 3, 3)`` angles to begin with; batch: leading dimensions of the result.
        touches: ``(F, …)``, if any.
    """
    if hand.surface is None:
        return _solved(hand, matrix, begin, batch, settings, present, touches)[0]
    posed = hand.with_tbs(tbs_from_angles(begin).reshape(*batch, *begin.shape[1:-1], 3, 3))
    found, rounds = begin, min(_ROUNDS, settings.iterations)
    for number in range(rounds):
        share = settings.iterations * (number + 1) // rounds - settings.iterations * number // rounds
        last = number == rounds - 1 and touches is None
        now = replace(settings, iterations=share, smoothness=settings.smoothness if last else 0.0)
        stiff, found = _solved(_bones(posed), matrix, begin, batch, now, present, None, found)
        posed = hand.with_local_rotations(stiff.local)
    for number in range(_ROUNDS - 1 if touches is not None else 0):
        now = replace(settings, iterations=1, smoothness=settings.smoothness if number else 0.0)
        stiff, found = _solved(_bones(posed), matrix, begin, batch, now, present, touches, found)
        posed = hand.with_local_rotations(stiff.local)
    return posed


def _bones(posed: PosedHand) -> ShapedHand:
    """A hand of bones, one for each pose, whose joints are in this pose where those of the surface are."""
    joints, hand = fingers_of(posed.joints), posed.shaped
    inner = posed.fingers.mT @ (joints[..., 1:, :] - joints[..., :-1, :]).unsqueeze(-1)
    bones = torch.cat([joints[..., :1, :], inner.squeeze(-1)], dim=-2).flatten(-3, -2)
    offsets = torch.cat([torch.zeros_like(bones[..., :1, :]), bones], dim=-2)
    result = ShapedHand(hand.side, offsets, hand.axes, present=hand.present)
    result.__dict__["rest"] = hand.rest  # of the shape, not of the pose
    return result


def _solved(
    hand: ShapedHand,
    matrix: SemanticMatrix,
    begin: Tensor,
    batch: torch.Size,
    settings: OptimizerSettings,
    present: Tensor | None,
    touches: TouchGoals | None,
    searched: Tensor | None = None,
) -> tuple[PosedHand, Tensor]:
    """The same for a hand of bones, and its angles; ``searched``: angles from which the search goes on."""
    call = Call(hand, batch, settings, present)
    call.give(matrix, begin, settings)
    if touches is not None:
        call.give_touches(touches, hand, batch, present)
    if searched is not None:
        call.point(layout.SEARCHED, searched.numpy())
    frames, tied = len(begin), settings.smoothness > 0 and len(batch) > 0 and batch[-1] > 2
    if tied:
        angles = call.output(layout.ANGLES, frames, layout.N_ANGLES)
        call.run("search", layout.LANES, _shares(frames))
        call.point(layout.SEARCHED, angles)
    rotations = (frames, N_FINGERS, BONES_PER_FINGER, 3, 3)
    angles = call.output(layout.ANGLES, frames, layout.N_ANGLES)
    outputs = [
        call.output(layout.LOCAL, *rotations),
        call.output(layout.FINGERS, *rotations),
        call.output(layout.JOINTS, frames, N_JOINTS, 3),
    ]
    if tied:
        ties, overlap = _segments(frames, batch[-1], settings)
        unknowns = int(call.kept(layout.FORM)[layout.PER_HAND])
        call.run("smooth", layout.LANES, ties, layout.tied_size(unknowns, SEGMENT + 2 * overlap))
    else:
        call.run("search", layout.LANES, _shares(frames))
    local, fingers, joints = (torch.from_numpy(part).reshape(*batch, *part.shape[1:]) for part in outputs)
    return PosedHand(hand, local, fingers, joints), torch.from_numpy(angles).view_as(begin)


def _segments(frames: int, time: int, settings: OptimizerSettings) -> tuple[list[dict[int, int]], int]:
    """Parts of sequences that are made smooth at a time, and by how many frames they reach into each other.

    What is far away does not matter: the influence of a frame falls off within a length that grows with the fourth
    root of what accelerations cost.
    """
    overlap = _overlap(settings)
    result = []
    for sequence in range(0, frames, time):
        for begin in range(0, time, SEGMENT):
            end = min(begin + SEGMENT, time)
            first, last = max(begin - overlap, 0), min(end + overlap, time)
            places = (layout.FIRST, first), (layout.LAST, last), (layout.BEGIN, begin), (layout.END, end)
            result.append({argument: sequence + place for argument, place in places})
    return result, overlap


def _overlap(settings: OptimizerSettings) -> int:
    weight = settings.smoothness * (settings.frame_rate / 60) ** 4
    return max(8, ceil(_REACH * weight**0.25))


def padding(settings: OptimizerSettings) -> int:
    """By how many frames blocks of a sequence, whose size is a multiple of `SEGMENT`, have to reach into each other
    so that they are solved as the whole sequence is, to the last bit."""
    return SEGMENT * ceil(_overlap(settings) / SEGMENT) if settings.smoothness else 0


def touch_goals(
    source: PosedHand, flesh: Flesh, target: Flesh, skin: SkinPoints | None, target_skin: SkinPoints | None
) -> TouchGoals:
    """What :func:`model.touch.touch_goals` gives, by the program; the hand must have no mask and be covered."""
    batch = source.local.shape[:-4]
    frames = prod(batch)
    call = Call(source.shaped, batch, OptimizerSettings(), None)
    call.give_flesh(flesh, skin, source.shaped, batch, margin(flesh, target).squeeze(-1))
    for argument, array in zip((layout.POINTS, layout.FRAMES), touching.points_and_frames(source), strict=True):
        call.point(argument, array)
    goals = call.output(layout.GOALS, frames, N_CAPSULE_PAIRS, layout.GOAL)
    call.run("touched", layout.LANES, _shares(frames))
    goals = torch.from_numpy(goals).view(*batch, *goals.shape[1:])
    along, around = (
        goals[..., begin:end].mT
        for begin, end in ((layout.G_ALONG, layout.G_AROUND), (layout.G_AROUND, layout.G_EXCESS))
    )
    gap, aim = goals[..., layout.G_GAP], goals[..., layout.G_AIM]
    return TouchGoals(target, gap, aim, along, around.unflatten(-2, (2, 3)), target_skin)


def _shares(frames: int) -> list[dict[int, int]]:
    """What threads take at a time."""
    return [{layout.FIRST: first, layout.LAST: min(first + _SHARE, frames)} for first in range(0, frames, _SHARE)]


class Call:
    """Arguments of the program; what they point at is kept."""

    def __init__(
        self, hand: ShapedHand, batch: torch.Size, settings: OptimizerSettings, present: Tensor | None
    ) -> None:
        self.arguments = np.zeros(layout.N_ARGUMENTS, np.int64)
        self._kept: dict[int, np.ndarray] = {}
        rows, number = hand_rows(hand)
        self.point(layout.HANDS, rows)
        if number is not None:
            self.point(layout.HAND_OF, number.expand(batch).flatten().numpy())
        self.arguments[layout.ITERATIONS] = settings.iterations
        self.arguments[layout.COUPLED_STEPS] = settings.coupled_steps
        self.point(layout.FORM, _form(settings))
        self.point(layout.NUMBERS, _numbers(settings))
        self.point(layout.LIMITS, torch.stack(settings.limits.like(torch.zeros(1))).numpy())
        shares, touches = _weights(settings, present)
        self.point(layout.SHARES, shares)
        if settings.contact_weight:
            self.point(layout.TOUCHES, touches)

    def point(self, argument: int, array: np.ndarray) -> None:
        """Let an argument be the address of an array."""
        array = np.ascontiguousarray(array)
        self._kept[argument] = array
        self.arguments[argument] = array.ctypes.data

    def kept(self, argument: int) -> np.ndarray:
        """The array that an argument points at."""
        return self._kept[argument]

    def output(self, argument: int, *shape: int) -> np.ndarray:
        """An array that the program fills."""
        array = np.empty(shape, np.float32)
        self.point(argument, array)
        return array

    def give(self, matrix: SemanticMatrix, begin: Tensor, settings: OptimizerSettings) -> None:
        """What is wanted, ``(F, …)``."""
        self.point(layout.FINGER, matrix.finger.detach().numpy())
        self.point(layout.PALM_COORDS, matrix.palm.detach().numpy())
        self.point(layout.START, begin.numpy())
        if settings.distance_weighted:
            near = finger_weights(matrix.finger.norm(dim=-1), True, settings.unweighted_share) * N_FINGER_JOINTS
            self.point(layout.NEARNESS, near.numpy())

    def give_touches(self, touches: TouchGoals, hand: ShapedHand, batch: torch.Size, present: Tensor | None) -> None:
        """What is asked of touches, ``(F, …)``."""
        self.give_flesh(touches.flesh, touches.skin, hand, batch)
        self.point(layout.GOALS, touching.goal_rows(touches))
        self.point(layout.PAIR_SHARES, touching.pair_shares(present))

    def give_flesh(
        self,
        flesh: Flesh,
        skin: SkinPoints | None,
        hand: ShapedHand,
        batch: torch.Size,
        margin: Tensor | float = 0.0,
    ) -> None:
        """Flesh and skin of the hand that is posed."""
        rows, number = touching.flesh_rows(flesh, hand, margin)
        self.point(layout.FLESHES, rows)
        if number is not None:
            self.point(layout.FLESH_OF, number.expand(batch).flatten().numpy())
        self.point(layout.PAIRS, touching.table())
        if skin is not None:
            self.point(layout.SKINS, touching.skin_rows(skin))

    def run(self, name: str, lanes: int, shares: list[dict[int, int]], memory: int = 0) -> None:
        """Call a function for each of ``shares``, the arguments that differ, on as many threads as torch has.

        Which thread takes what makes no difference to the result. ``memory``: numbers beside the rows of a block.
        """
        function = (PROGRAM.functions() or {})[name]  # there are: who solves with them has asked
        threads = min(torch.get_num_threads(), len(shares))
        free: SimpleQueue = SimpleQueue()
        for _ in range(threads):
            free.put((self.arguments.copy(), aligned(layout.ROWS * lanes + memory)))

        def work(share: dict[int, int]) -> None:
            arguments, rows = own = free.get()
            arguments[layout.WORK] = rows.ctypes.data
            for argument, value in share.items():
                arguments[argument] = value
            function(arguments.ctypes.data)
            free.put(own)

        if threads == 1:
            for share in shares:
                work(share)
            return
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, shares))


def aligned(count: int) -> np.ndarray:
    """Uninitialised float32 numbers whose address suits any vector."""
    raw = np.empty(count + 16, np.float32)
    offset = -raw.ctypes.data % 64 // 4
    return raw[offset : offset + count]


def hand_rows(hand: ShapedHand) -> tuple[np.ndarray, Tensor | None]:
    """What :mod:`layout` keeps of hands, ``(n, HAND)``, and, if they are several, their numbers."""
    own = hand.offsets.ndim - 2, hand.axes.ndim - 4
    lead = common_shape(hand.offsets.shape[: own[0]], hand.axes.shape[: own[1]])
    if "kernel_rows" not in hand.__dict__:
        offsets, axes = hand.offsets.detach().double(), hand.axes.detach().double()
        rest = hand.rest.detach().double()
        offsets = offsets.expand(*lead, N_JOINTS, 3).reshape(-1, N_JOINTS, 3)
        axes = axes.expand(*lead, *axes.shape[-4:]).reshape(-1, *axes.shape[-4:])
        rest = rest.expand(*lead, *rest.shape[-4:]).reshape(-1, *rest.shape[-4:])
        columns = axes.mT
        turns = rest @ columns[:, :, :BONES_PER_FINGER]
        if hand.present is not None:  # what does not exist does not turn
            missing = ~fingers_of(hand.present.unsqueeze(-1))[..., :BONES_PER_FINGER, 0]
            missing = missing.expand(*lead, N_FINGERS, BONES_PER_FINGER).reshape(turns.shape[:3])
            turns = torch.where(missing[..., None, None], columns[:, :, :BONES_PER_FINGER], turns)
        turns = torch.cat([turns[:, :, :1], axes[:, :, : BONES_PER_FINGER - 1] @ turns[:, :, 1:]], dim=2)
        tips = axes[:, :, BONES_PER_FINGER - 1] @ columns[:, :, BONES_PER_FINGER]
        scale = palm_length(offsets)  # at rest, as in all poses, the middle finger's root is where its offset says
        bones = fingers_of(offsets) / scale[:, None, None, None]
        inner = (axes[:, :, :BONES_PER_FINGER] @ bones[:, :, 1:, :, None]).squeeze(-1)
        bones = torch.cat([bones[:, :, :1], inner], dim=2)
        parts = (turns, tips, bones, axes[:, :, :BONES_PER_FINGER], scale.unsqueeze(-1))
        hand.__dict__["kernel_rows"] = torch.cat([part.flatten(1) for part in parts], dim=1).float().numpy()
    number = None if prod(lead) == 1 else torch.arange(prod(lead)).view(lead)
    return hand.__dict__["kernel_rows"], number


def _form(settings: OptimizerSettings) -> np.ndarray:
    """Which angles move, see :mod:`layout`."""
    moving = settings.moving
    angles = moving.flatten().nonzero()[:, 0].tolist()
    first = np.cumsum([0, *moving.sum(1).tolist()])
    result = np.zeros(layout.FORM_SIZE, np.int64)
    result[layout.PER_FINGER], result[layout.PER_HAND] = len(angles), N_FINGERS * len(angles)
    result[layout.FIRST_OF : layout.FIRST_OF + len(first)] = first
    result[layout.ANGLE_OF : layout.ANGLE_OF + len(angles)] = angles
    result[layout.JOINT_OF : layout.JOINT_OF + len(angles)] = [angle // 3 for angle in angles]
    unknowns = [9 * finger + angle for finger in range(N_FINGERS) for angle in angles]
    result[layout.UNKNOWNS : layout.UNKNOWNS + len(unknowns)] = unknowns
    return result


def _numbers(settings: OptimizerSettings) -> np.ndarray:
    result = np.empty(layout.N_NUMBERS + layout.N_ANGLES, np.float32)
    result[layout.SOFTENING], result[layout.KEEP_NEAR] = settings.softening, settings.keep_near
    result[layout.TOUCH_NEAR], result[layout.TOUCH_FAR] = settings.contact_near, settings.contact_far
    result[layout.TOLERANCE] = settings.tolerance
    result[layout.TOUCH_WEIGHT], result[layout.APART_WEIGHT] = settings.touch_weight, settings.apart_weight
    result[layout.PLACE_RATIO] = settings.place_weight / max(settings.touch_weight, 1e-9) ** 2
    result[layout.SMOOTHNESS] = settings.smoothness * (settings.frame_rate / 60) ** 4
    stay = result[layout.N_NUMBERS :].reshape(-1, 3)
    stay[:] = settings.stay_bend
    stay[:, TWIST] = settings.stay_twist
    return result


def _weights(settings: OptimizerSettings, present: Tensor | None) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the pairs ``(20, 29)`` and of the fingertips ``(5, 5)``."""
    shares = np.ones((N_FINGER_JOINTS, layout.N_POINTS), np.float32)
    shares[:, N_FINGER_JOINTS:] = settings.palm_weight * N_FINGER_JOINTS / N_ANCHORS
    np.fill_diagonal(shares, 0)
    touches = np.full((N_FINGERS, N_FINGERS), settings.contact_weight, np.float32)
    np.fill_diagonal(touches, 0)
    if present is not None:
        rows = presence.finger_joints(present)
        mask = presence.pairs(rows, torch.cat([rows, presence.anchors(present)])).numpy()
        shares *= mask
        touches *= mask[np.ix_(_TIPS, _TIPS)]
    return shares, touches
