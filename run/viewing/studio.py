"""What is chosen on the page, and what follows from it. Knows nothing of the page."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from data.character.gltf import read_gltf_character
from data.character.reading import read_character
from data.formats.gltf import SUFFIXES as GLTF_SUFFIXES
from data.motion.reading import read_motions
from model.proportions import Proportions
from run.viewing.export import FORMATS, motion_file
from run.viewing.hands import Shelf, hand_motion
from run.viewing.methods import Methods
from run.viewing.motions import HandMotion
from run.viewing.take import LONGEST, SOURCE, SourceTake, Take
from utils.errors import InputError, spoken
from utils.files import private_folder

LARGEST_FILE = 256 << 20
"""Bytes of a file that the page takes."""
LARGEST_FOLDER = 1 << 30
"""Bytes of all the files of one visitor."""
_LONGEST_NAME = 60
DROPPED = (".bvh", *GLTF_SUFFIXES, ".npz")
"""Files that the page takes: motions, characters with or without one, MANO parameters."""


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
        self._dropped: dict[tuple[str, str], HandMotion] = {}
        self._source: SourceTake | None = None
        self._folder = private_folder("s2h_view_")  # for its owner's eyes alone
        self._count = 0
        source = next((name for name in shelf.names if shelf.clips(name)), None)
        if source is None:
            raise InputError(f"{shelf.folder}: expected a motion (.bvh) in the folder of a hand, found none")
        other = "mano" if shelf.domain(source) == "mixamo" else "mixamo"
        targets = [name for name in shelf.names if shelf.domain(name) == other] or shelf.names
        # Methods differ most between unlike hands: the open data set's first source has long fingers.
        target = next((name for name in targets if "Short" in name), targets[0])
        self.choice = Choice(source, shelf.clips(source)[0], target)
        self.take = self._make(self.choice)

    def close(self) -> None:
        """Forget everything, and remove the files that were dropped in."""
        self._folder.cleanup()

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
            self.choice, self.take = choice, take
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
        """Take a file with a motion or a character, choose it, and say what was found in it.

        A motion brings a hand of its own, which moves as the source; a character without motion becomes the target.

        Raises:
            InputError: the file cannot be read, or has no such hand.
        """
        name = shown_name(file_name)
        if len(content) > LARGEST_FILE:
            raise InputError(f"{name}: expected at most {LARGEST_FILE >> 20} MB, found {len(content) >> 20}; cut it")
        suffix = PurePath(name).suffix.lower()
        held = sum(path.stat().st_size for path in Path(self._folder.name).iterdir())
        if held + len(content) > LARGEST_FOLDER:
            raise InputError(f"{name}: expected at most {LARGEST_FOLDER >> 20} MB in all; load the page anew")
        if suffix not in DROPPED:
            raise InputError(f"{name}: expected one of {', '.join(DROPPED)}, found {suffix or 'no suffix'}")
        # The name that came with a file never becomes a path. Files stay: results are written into glTF characters.
        self._count += 1
        path = Path(self._folder.name) / f"{self._count}{suffix}"
        path.write_bytes(content)
        try:
            return self._take_in(path, PurePath(name).stem)
        except InputError as error:
            path.unlink()
            raise InputError(spoken(error, {"scale": "by"}).replace(str(path), name)) from None
        except Exception:
            path.unlink()
            raise

    def _take_in(self, path: Path, name: str) -> str:
        if path.suffix in GLTF_SUFFIXES and not read_gltf_character(path).clips:
            added = self.shelf.add(name, read_character(str(path), self.shelf.reading))
            self._choose_added(added, target=added)
            return f"a character with a {self.shelf.side} hand; it is the target now"
        motions = list(read_motions(path, self.shelf.reading))
        tracks = [hand_motion(motion, self.shelf.side) for motion in motions]
        added = self.shelf.add(name, motions[0].character)
        clips = [name] if len(motions) == 1 else [motion.name for motion in motions]
        for clip, track in zip(clips, tracks, strict=True):
            self._dropped[added, clip] = track
        self._choose_added(added, source=added, clip=clips[0])
        first = tracks[0]
        cut = f"; the first {LONGEST / 60:.0f} minutes are shown" if first.duration > LONGEST else ""
        return f"{len(first.local)} frames at {first.frame_rate:.4g} per second, {self.shelf.side} hand{cut}"

    def _choose_added(self, name: str, **changes) -> None:
        try:
            self.choose(**changes)
        except Exception:
            self.shelf.discard(name)
            self._dropped = {key: motion for key, motion in self._dropped.items() if key[0] != name}
            raise

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
                    if column in take.failures or take.ready(column, number, surface=urgent):
                        continue
                    try:
                        take.work_out(column, number, surface=urgent)
                    except (ValueError, ArithmeticError, RuntimeError) as error:
                        take.failures[column] = f"{type(error).__name__}: {error}"
                    return True
        return False

    # -- results ---------------------------------------------------------------------------------------------------

    def download(self, column: str, wanted: str) -> tuple[str, bytes]:
        """Name and content of a file of a column, all frames at the source's own rate.

        Args:
            column: a method, or the source.
            wanted: one of `run.viewing.export.FORMATS`.

        Raises:
            InputError: such a hand cannot be written in this form.
        """
        take, how = self.take, "own" if column == SOURCE else column
        kind, ending = FORMATS[wanted]
        name = f"{take.hand(column).name}_{PurePath(take.source.name).stem}_{how}{ending}"
        return name.replace(" ", "_"), motion_file(take, column, kind)


def shown_name(file_name: str) -> str:
    """What a file that came with any name is called here: its last part, short, of characters that can be seen."""
    name = PurePath(file_name.replace("\\", "/")).name
    seen = "".join(sign for sign in name if sign.isprintable())
    stem, suffix = PurePath(f"_{seen}").stem[1:], PurePath(f"_{seen}").suffix
    return (stem.strip(" .")[:_LONGEST_NAME].strip() or "file") + suffix[:_LONGEST_NAME]
