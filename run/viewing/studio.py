"""What is chosen on the page, and what follows from it. Knows nothing of the page."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from model.proportions import Proportions
from run.viewing.export import motion_file
from run.viewing.hands import Shelf
from run.viewing.methods import Methods
from run.viewing.motions import Motion, read_motion
from run.viewing.take import LONGEST, SOURCE, SourceTake, Take
from utils.errors import InputError

LARGEST_FILE = 256 << 20
"""Bytes of a motion file that the page takes."""


@dataclass(frozen=True)
class Choice:
    """What is chosen: a motion of a source hand, and a target hand with its proportions."""

    source: str
    clip: str
    target: str
    proportions: Proportions = field(default_factory=Proportions)
    """Of a character."""
    shape: tuple[float, ...] | None = None
    """Shape components of a subject; None: its own."""


class Studio:
    """The state behind the page.

    Args:
        shelf: the hands.
        methods: the ways of retargeting.

    Raises:
        InputError: no hand has a motion, or the first motion cannot be read.
    """

    def __init__(self, shelf: Shelf, methods: Methods) -> None:
        self.shelf, self.methods = shelf, methods
        self._dropped: dict[tuple[str, str], Motion] = {}
        self._source: SourceTake | None = None
        self.failures: dict[str, str] = {}
        """Column → why it could not be worked out."""
        source = next((name for name in shelf.names if shelf.clips(name)), None)
        if source is None:
            raise InputError(f"{shelf.folder}: expected a motion (.bvh) in the folder of a hand, found none")
        other = "mano" if shelf.domain(source) == "mixamo" else "mixamo"
        targets = [name for name in shelf.names if shelf.domain(name) == other] or shelf.names
        # Methods differ most between unlike hands: the open data set's first source has long fingers.
        target = next((name for name in targets if "Short" in name), targets[0])
        self.choice = Choice(source, shelf.clips(source)[0], target)
        self.take = self._make(self.choice)

    # -- choosing --------------------------------------------------------------------------------------------------

    @property
    def sources(self) -> list[str]:
        """Hands that have a motion."""
        return [name for name in self.shelf.names if self.clips(name)]

    @property
    def targets(self) -> list[str]:
        """All hands."""
        return self.shelf.names

    def clips(self, source: str) -> list[str]:
        """Motions of a hand, those that were dropped in first."""
        return [clip for name, clip in reversed(self._dropped) if name == source] + self.shelf.clips(source)

    def choose(self, **changes) -> Take:
        """Change some of the fields of the choice; returns what is to be shown now.

        Another source starts with its first motion, another target with its own proportions. If this fails, the
        earlier choice stays.

        Raises:
            InputError: a file of the new choice cannot be used.
        """
        if "source" in changes and changes["source"] != self.choice.source and "clip" not in changes:
            changes["clip"] = (self.clips(changes["source"]) or [""])[0]
        if "target" in changes and changes["target"] != self.choice.target:
            changes = {"proportions": Proportions(), "shape": None, **changes}
        choice = replace(self.choice, **changes)
        if choice != self.choice:
            take = self._make(choice)
            self.choice, self.take, self.failures = choice, take, {}
        return self.take

    def _make(self, choice: Choice) -> Take:
        source = self._source
        if source is None or (choice.source, choice.clip) != (self.choice.source, self.choice.clip):
            motion = self._dropped.get((choice.source, choice.clip))
            motion = motion or self.shelf.motion(choice.source, choice.clip)
            source = SourceTake(self.shelf.hand(choice.source), motion, choice.clip)
        original = self.shelf.hand(choice.target)
        target = self.shelf.hand(choice.target, choice.proportions, choice.shape)
        take = Take(source, target, self.methods, original.palm_length)
        self._source = source
        return take

    def drop(self, file_name: str, content: bytes) -> str:
        """Take a motion file, show it, and say what was found in it.

        It moves the source hand that is chosen or, if it is of the other kind, the first one of its kind.

        Raises:
            InputError: the file is no motion of such a hand.
        """
        name = PurePath(file_name.replace("\\", "/")).name or "motion"
        if len(content) > LARGEST_FILE:
            raise InputError(f"{name}: expected at most {LARGEST_FILE >> 20} MB, found {len(content) >> 20}; cut it")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "motion.bvh"  # never the name that came with it
            path.write_bytes(content)
            try:
                motion = read_motion(path, self.shelf.side)
            except InputError as error:
                raise InputError(str(error).replace(str(path), name)) from None
        source = self.choice.source
        if self.shelf.domain(source) != motion.domain:
            source = self.shelf.first(motion.domain)
            if source is None:
                raise InputError(f"{name}: holds the motion of a {motion.domain} hand, but this data set has none")
        clip, number = name, 2
        while clip in self.clips(source):
            clip, number = f"{name} ({number})", number + 1
        self._dropped[source, clip] = motion
        try:
            self.choose(source=source, clip=clip)
        except Exception:
            del self._dropped[source, clip]
            raise
        cut = f"; the first {LONGEST / 60:.0f} minutes are shown" if motion.duration > LONGEST else ""
        count, rate = len(motion.local), 1 / motion.frame_time
        return f"{count} frames at {rate:.4g} per second, {self.shelf.side} hand, moving {source}{cut}"

    # -- work ------------------------------------------------------------------------------------------------------

    def work(self, take: Take, time: float, columns: list[str]) -> bool:
        """Do the most urgent piece of work for showing `columns` around `time` seconds; False if there is none left.

        First what is seen now, then what comes next, then the rest of the motion for its means.
        """
        now = take.piece_at(time)
        following = (now + 1) % take.n_pieces
        for urgent in (True, False):
            numbers = (now, following) if urgent else range(take.n_pieces)
            for number in numbers:
                for column in columns:
                    if column in self.failures or take.ready(column, number, surface=urgent):
                        continue
                    try:
                        take.work_out(column, number, surface=urgent)
                    except (ValueError, ArithmeticError, RuntimeError) as error:
                        self.failures[column] = f"{type(error).__name__}: {error}"
                    return True
        return False

    # -- results ---------------------------------------------------------------------------------------------------

    def download(self, column: str) -> tuple[str, bytes]:
        """Name and content of a BVH file of a column, all frames at the source's own rate.

        Raises:
            InputError: the result cannot be written.
        """
        take = self.take
        name = (
            f"{take.hand(column).name}_{PurePath(take.source.name).stem}_{column if column != SOURCE else 'own'}.bvh"
        )
        return name.replace(" ", "_"), motion_file(take, column)
