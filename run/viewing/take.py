"""A source's motion on a target by every method: poses, figures and surfaces, worked out in pieces when needed.

All of it is immutable but for what has been worked out so far. A piece is a batch of frames, so that whatever the
length of a motion, the first hands show at once and memory stays bounded.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from model.measures import CLOSED, TIP_PAIRS, fingertip_contacts, fingertip_gaps, measure
from model.motion import SourceMotion
from model.topology import TIPS
from run.viewing.hands import Hand
from run.viewing.methods import Methods
from run.viewing.motions import HandMotion

RATE = 15.0
"""Frames per second that are worked out; surfaces in between are blended."""
LONGEST = 600.0
"""Seconds of a motion that are shown."""
PIECE = 48
"""Frames of a piece. Networks see windows that begin every 12 frames, in a piece as in the whole motion."""
SOURCE = "source"
_CACHE_BYTES = 256 << 20


class SourceTake:
    """A motion on its own hand: what is to be retargeted.

    Args:
        hand: of the source.
        track: the motion at its own rate.
        name: for the page and for file names.
    """

    def __init__(self, hand: Hand, track: HandMotion, name: str) -> None:
        self.hand, self.track, self.name = hand, track, name
        self.shown = SourceMotion(hand.shaped, track.at_rate(RATE, LONGEST).local, RATE)
        self.contacts = fingertip_contacts(self.shown.directions.distance, torch.from_numpy(hand.own.present))
        """``(frames, 10)`` bool: which fingertips touch."""

    @property
    def original(self) -> SourceMotion:
        """The whole motion at its own rate."""
        return SourceMotion(self.hand.shaped, self.track.local, self.track.frame_rate)

    @property
    def frames(self) -> int:
        """Frames that are shown."""
        return len(self.shown.local)

    def contact_times(self) -> list[float]:
        """Seconds at which fingertips touch: the middle of every touch."""
        touching = self.contacts.any(-1).int()
        edges = torch.diff(touching, prepend=touching.new_zeros(1), append=touching.new_zeros(1))
        starts, ends = (edges == 1).nonzero()[:, 0], (edges == -1).nonzero()[:, 0]
        return [float(middle) / RATE for middle in (starts + ends - 1) // 2]


@dataclass(frozen=True)
class Piece:
    """Some frames of one method."""

    local: Tensor  # (n, 5, 3, 3, 3)
    joints: Tensor  # (n, 21, 3) hand's own unit
    s_finger: Tensor  # (n,)
    s_palm: Tensor  # (n,)
    gap: Tensor  # (n,) mean distance of fingertips that should touch, palm lengths; NaN where none should


@dataclass(frozen=True)
class Moment:
    """One hand at one time, to be drawn. Lengths are palm lengths of the target before it was changed."""

    vertices: np.ndarray  # (V, 3) float32, wrist at the origin
    tips: np.ndarray  # (5, 3) fingertips
    s_finger: float
    s_palm: float
    gap: float  # NaN where no fingertips should touch
    touches: tuple[tuple[int, int, bool], ...]  # (finger, finger, closed) of those that should


class Take:
    """A source on a target. Work is done by :meth:`work_out`, everything else only looks at what is there.

    Args:
        source: the motion.
        target: the hand that follows.
        methods: how.
        scale: length, in the target's unit, that is drawn as 1 (its palm before any change).
    """

    def __init__(self, source: SourceTake, target: Hand, methods: Methods, scale: float) -> None:
        self.source, self.target, self.methods = source, target, methods
        self.columns = [SOURCE, *methods.names]
        self._scale = scale
        self.present = torch.from_numpy(source.hand.own.present & target.own.present)
        """``(21,)`` bool: joints that both hands have."""
        self.failures: dict[str, str] = {}
        """Column → why it could not be worked out."""
        self._pieces: dict[tuple[str, int], Piece] = {}
        self._surfaces: OrderedDict[tuple[str, int], np.ndarray] = OrderedDict()
        self._lock = Lock()

    @property
    def n_pieces(self) -> int:
        """Pieces of the whole motion."""
        return -(-self.source.frames // PIECE)

    @property
    def duration(self) -> float:
        """Seconds from the first shown frame to the last."""
        return (self.source.frames - 1) / RATE

    def hand(self, column: str) -> Hand:
        """The hand of a column."""
        return self.source.hand if column == SOURCE else self.target

    def piece_at(self, time: float) -> int:
        """Number of the piece that a time (seconds) lies in."""
        return self._frame(time)[0] // PIECE

    def ready(self, column: str, number: int, surface: bool = False) -> bool:
        """Whether the poses of a piece (and its surface) are known."""
        return (column, number) in (self._surfaces if surface else self._pieces)

    def work_out(self, column: str, number: int, surface: bool = False) -> None:
        """Find the poses and figures of a piece (and its surface), unless they are known."""
        if not self.ready(column, number):
            self._solve(column, number)
        if surface:
            self._surface(column, number)

    def _solve(self, column: str, number: int) -> None:
        first, last = number * PIECE, min((number + 1) * PIECE, self.source.frames)
        margin = self.methods.reach(column)
        start, end = max(0, first - margin), min(self.source.frames, last + margin)
        around = self.source.shown.at(torch.arange(start, end))
        with torch.inference_mode():
            if column == SOURCE:
                posed = around.posed
            else:
                posed = self.methods.pose(column, self.target, around, self.present)
            posed = posed[first - start : last - start]
            source = around.at(torch.arange(first - start, last - start))
            found = measure(source.directions, posed, self.present)
        piece = Piece(posed.local, posed.joints, found.s_finger, found.s_palm, found.pinch)
        with self._lock:
            self._pieces[column, number] = piece

    def moment(self, column: str, time: float) -> Moment | None:
        """A hand at a time in seconds; None while its piece is not known. Surfaces are made here, a piece at once."""
        frame, share = self._frame(time)
        number, place = divmod(frame, PIECE)
        piece = self._pieces.get((column, number))
        if piece is None:
            return None
        surface, scale = self._surface(column, number), self._length(column)
        vertices, tips = surface[place], piece.joints[place, list(TIPS)]
        if share > 0:
            following = self._pieces.get((column, (frame + 1) // PIECE))
            if following is not None:
                other = self._surface(column, (frame + 1) // PIECE)[(frame + 1) % PIECE]
                vertices = vertices + np.float32(share) * (other - vertices)
                tips = tips.lerp(following.joints[(frame + 1) % PIECE, list(TIPS)], share)
        nearest = frame + (share >= 0.5)
        if (column, nearest // PIECE) not in self._pieces:
            nearest = frame
        piece, place = self._pieces[column, nearest // PIECE], nearest % PIECE
        gaps = fingertip_gaps(piece.joints[place]).tolist()
        touching = (self.source.contacts[nearest] & ~piece.gap[place].isnan()).tolist()
        touches = tuple((*pair, gap < CLOSED) for pair, gap, on in zip(TIP_PAIRS, gaps, touching, strict=True) if on)
        figures = (float(part[place]) for part in (piece.s_finger, piece.s_palm, piece.gap))
        return Moment(vertices, tips.numpy() / scale, *figures, touches)

    def _frame(self, time: float) -> tuple[int, float]:
        """The frame before a time, and how far it is to the next, 0 to 1."""
        place = min(max(time * RATE, 0.0), self.source.frames - 1)
        frame = min(int(place + 1e-6), self.source.frames - 1)
        share = place - frame
        return (frame, share) if share > 1e-3 and frame + 1 < self.source.frames else (frame, 0.0)

    def _length(self, column: str) -> float:
        return self.source.hand.palm_length if column == SOURCE else self._scale

    def _surface(self, column: str, number: int) -> np.ndarray:
        """``(n, V, 3)`` float32, scaled for drawing. The ones not used for longest are forgotten."""
        with self._lock:
            if (column, number) in self._surfaces:
                self._surfaces.move_to_end((column, number))
                return self._surfaces[column, number]
        hand = self.hand(column)
        with torch.inference_mode():
            posed = hand.shaped.with_local_rotations(self._pieces[column, number].local)
            vertices = hand.vertices(posed) / self._length(column)
        with self._lock:
            self._surfaces[column, number] = vertices.numpy()
            while len(self._surfaces) > 2 and sum(part.nbytes for part in self._surfaces.values()) > _CACHE_BYTES:
                self._surfaces.popitem(last=False)
        return vertices.numpy()

    def means(self, column: str) -> tuple[float, float, float] | None:
        """S_finger, S_palm and gap over the whole motion; None until all of it is known."""
        pieces = [self._pieces.get((column, number)) for number in range(self.n_pieces)]
        if any(piece is None for piece in pieces):
            return None
        joined = [torch.cat([getattr(piece, name) for piece in pieces]) for name in ("s_finger", "s_palm", "gap")]
        return float(joined[0].mean()), float(joined[1].mean()), float(joined[2].nanmean())

    def s_finger(self, column: str) -> np.ndarray:
        """S_finger ``(frames,)`` of the whole motion, NaN where it is not known yet."""
        values = np.full(self.source.frames, np.nan, dtype=np.float32)
        for number in range(self.n_pieces):
            if (column, number) in self._pieces:
                piece = self._pieces[column, number].s_finger.numpy()
                values[number * PIECE : number * PIECE + len(piece)] = piece
        return values

    @property
    def known(self) -> int:
        """How many pieces of all columns are known."""
        return len(self._pieces)

    def matrix(self, column: str, time: float, kind: str) -> np.ndarray | None:
        """The semantic matrix of a column against the source's, ``(20, 20)``, at the frame before a time.

        Args:
            column: a method, or the source.
            time: seconds.
            kind: ``"cosine"`` between directions (the diagonal is NaN), ``"difference"`` in palm lengths between where
                joints lie, or ``"distance"``, how far apart joints are (of this column alone).
        """
        frame, _ = self._frame(time)
        piece = self._pieces.get((column, frame // PIECE))
        if piece is None:
            return None
        source = self.source.shown.at(torch.tensor([frame]))
        with torch.inference_mode():
            place = frame % PIECE
            posed = self.hand(column).shaped.with_local_rotations(piece.local[place : place + 1])
            if kind == "cosine":
                values = source.directions.cosines(posed.joints, posed.frames)[0][0].fill_diagonal_(float("nan"))
            else:
                coords = posed.semantic_matrix().finger
                values = (coords if kind == "distance" else coords - source.semantic_matrix.finger)[0].norm(dim=-1)
        missing = ~self.present[1:].numpy()
        values = values.numpy()
        values[missing], values[:, missing] = np.nan, np.nan
        return values
