"""What the annotation page does, without the page: fingers one after the other, turned, accepted, saved, resumed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data.axes.estimate import HandEstimate
from data.axes.files import write_axes
from model.topology import FINGERS, SIDES
from utils.errors import InputError
from utils.files import atomic_write

_VERSION = 1
_SUFFIX = ".annotation.json"

Arrays = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
"""Side → (5, 4, 3, 3) axes, to what is written."""


@dataclass(frozen=True)
class Task:
    """One finger of one hand."""

    side: str
    finger: int

    def __str__(self) -> str:
        return f"{self.side} {FINGERS[self.finger]}"


class Annotation:
    """Someone's passage through the fingers of a character. Every `accept` saves; a new start goes on from there.

    Two files are written, each complete or not at all: the axes, with the estimate for fingers not looked at yet; and
    beside them ``<axes file>.annotation.json``, which remembers the accepted fingers. The latter only counts as long
    as `source` (a hash of the mesh) stays the same.

    Args:
        estimates: of each hand.
        output: axes file, ``.pkl`` or ``.npz``.
        arrays: what is written for some axes.
        source: fingerprint of what is annotated.

    Raises:
        InputError: there is no finger, or the file of an earlier start is damaged.
    """

    def __init__(
        self, estimates: Sequence[HandEstimate], output: str | os.PathLike, arrays: Arrays, source: str
    ) -> None:
        self.estimates = {estimate.hand.side: estimate for estimate in estimates}
        self.output, self._arrays, self._source = Path(output), arrays, source
        self.tasks = tuple(
            Task(side, int(finger))
            for side in SIDES
            if side in self.estimates
            for finger in np.flatnonzero(self.estimates[side].hand.present)
        )
        if not self.tasks:
            raise InputError(f"{output}: expected a hand with fingers of three joints to annotate, found none")
        self._degrees = dict.fromkeys(self.tasks, 0.0)
        self.accepted: set[Task] = set()
        self.note = self._resume()
        self.current = next((task for task in self.tasks if task not in self.accepted), self.tasks[0])

    @property
    def record(self) -> Path:
        """The file that remembers what was accepted."""
        return self.output.with_name(self.output.name + _SUFFIX)

    @property
    def finished(self) -> bool:
        """Whether every finger is accepted."""
        return len(self.accepted) == len(self.tasks)

    @property
    def progress(self) -> tuple[int, int]:
        """Accepted fingers, all fingers."""
        return len(self.accepted), len(self.tasks)

    def degrees(self, task: Task | None = None) -> float:
        """How far a finger (the current one) was turned from the estimate, in (−180, 180]."""
        return self._degrees[task or self.current]

    def turn(self, degrees: float) -> None:
        """Turn the splay axis of the current finger about its bone."""
        self.set_degrees(self.current, self._degrees[self.current] + degrees)

    def set_degrees(self, task: Task, degrees: float) -> None:
        """Turn a finger's splay axis to this angle from the estimate; the finger must then be accepted anew.

        Raises:
            ValueError: the angle is not finite, or there is no such finger.
        """
        if task not in self._degrees or not np.isfinite(degrees):
            raise ValueError(f"expected a finite angle for one of {len(self.tasks)} fingers; got {degrees} for {task}")
        wrapped = 180.0 - (180.0 - float(degrees)) % 360.0
        if wrapped != self._degrees[task]:
            self._degrees[task] = wrapped
            self.accepted.discard(task)

    def choose(self, task: Task) -> None:
        """Make a finger the current one."""
        if task not in self._degrees:
            raise ValueError(f"there is no {task}; there are {', '.join(map(str, self.tasks))}")
        self.current = task

    def step(self, by: int = 1) -> None:
        """Go to the next finger (or, by −1, the one before) without accepting; round and round."""
        self.current = self.tasks[(self.tasks.index(self.current) + by) % len(self.tasks)]

    def accept(self) -> None:
        """Accept the current finger, save, and go to the next one that is not accepted yet.

        Raises:
            InputError: the files cannot be written. The finger is then not accepted.
        """
        before = set(self.accepted)
        self.accepted.add(self.current)
        try:
            self.save()
        except BaseException:
            self.accepted = before
            raise
        place = self.tasks.index(self.current)
        following = self.tasks[place + 1 :] + self.tasks[:place]
        self.current = next((task for task in following if task not in self.accepted), self.current)

    def axes(self, side: str) -> np.ndarray:
        """``(5, 4, 3, 3)`` axes of a hand as they are turned now."""
        from scipy.spatial.transform import Rotation  # a twentieth of a second

        estimate = self.estimates[side]
        bend = np.stack([finger.bend for finger in estimate.fingers])
        for task in self.tasks:
            if task.side == side and self._degrees[task]:
                twist = estimate.hand.twist[task.finger, 2]
                straight = bend[task.finger] - (bend[task.finger] @ twist) * twist
                turn = Rotation.from_rotvec(np.radians(self._degrees[task]) * twist)
                bend[task.finger] = turn.apply(straight / np.linalg.norm(straight))
        return estimate.hand.rows(bend)

    def as_estimates(self) -> list[HandEstimate]:
        """The hands with their axes as they are now; accepted fingers are certain."""
        result = []
        for side, estimate in self.estimates.items():
            fingers = tuple(
                replace(finger, bend=self.axes(side)[number, 2, 1], error=0.0)
                if Task(side, number) in self.accepted
                else finger
                for number, finger in enumerate(estimate.fingers)
            )
            result.append(replace(estimate, axes=self.axes(side), fingers=fingers))
        return result

    def save(self) -> None:
        """Write both files, the axes first: a kill between the two loses one acceptance, never an axis."""
        write_axes(self.output, self._arrays({side: self.axes(side) for side in self.estimates}))
        fingers = [
            {"side": task.side, "finger": FINGERS[task.finger], "bend": self._bend(task)}
            for task in self.tasks
            if task in self.accepted
        ]
        record = {"version": _VERSION, "source": self._source, "accepted": fingers}
        with atomic_write(self.record) as temporary:
            temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    def _bend(self, task: Task) -> list[float]:
        return self.axes(task.side)[task.finger, 2, 1].tolist()

    def _resume(self) -> str:
        """Take over what was accepted earlier; returns a line for the user, possibly empty."""
        if not self.record.is_file():
            return ""
        try:
            record = json.loads(self.record.read_text(encoding="utf-8"))
            source = record["source"]
            known = {(each["side"], each["finger"]): np.array(each["bend"], float) for each in record["accepted"]}
            if not all(bend.shape == (3,) and 0.9 < np.linalg.norm(bend) < 1.1 for bend in known.values()):
                raise ValueError("a bend axis is no unit vector")
        except (ValueError, KeyError, TypeError, OSError, RecursionError) as error:
            raise InputError(
                f"{self.record}: expected what was accepted in an earlier session, but it is damaged ({error}); "
                f"remove it to begin anew"
            ) from None
        if source != self._source:
            return f"{self.record.name} is about another mesh and was left out of account"
        for task in self.tasks:
            bend = known.get((task.side, FINGERS[task.finger]))
            if bend is not None:
                self._degrees[task] = self._angle_to(task, bend)
                self.accepted.add(task)
        return f"{len(self.accepted)} of {len(self.tasks)} fingers were accepted earlier"

    def _angle_to(self, task: Task, bend: np.ndarray) -> float:
        """Degrees about the bone from the estimate's bend axis to another one."""
        twist, start, _ = self.estimates[task.side].axes[task.finger, 2]
        return float(np.degrees(np.arctan2(np.cross(start, bend) @ twist, start @ bend)))
