"""What is unusual about the clips of a character: another frame rate, another skeleton (mathematics §5)."""

from __future__ import annotations

import numpy as np

from data.preparation.resampling import ASSUMED, difference, is_assumed, round_frame_time

_NAMED = 4  # clips that a note lists


class UnusualClips:
    """Looks at clip after clip, and says in a line for each kind what is unusual.

    Args:
        domain: ``mixamo`` or ``mano``.
        bones: ``(21,)`` lengths of the character's hand; None: those of its first clip.
    """

    def __init__(self, character: str, domain: str, bones: np.ndarray | None = None) -> None:
        self.character, self.domain = character, domain
        self._bones, self._whose = bones, f"{character}'s mesh"
        self._rates: dict[float, list[str]] = {}
        self._skeletons: dict[str, list[str]] = {}
        self._clips = 0

    def saw(self, name: str, frame_time: float, bones: np.ndarray) -> bool:
        """Look at a clip: its name, seconds between its frames, and ``(21,)`` lengths of its bones.

        Returns:
            Whether its rate is not the one that windows assume.
        """
        self._clips += 1
        if self._bones is None:
            self._bones, self._whose = bones, name
        if (how := difference(bones, self._bones)) is not None:
            self._skeletons.setdefault(how, []).append(name)
        if is_assumed(frame_time, self.domain):
            return False
        self._rates.setdefault(frame_time, []).append(name)
        return True

    def notes(self, resample: bool) -> list[str]:
        """A line for each kind of clip that is unusual. ``resample``: whether such rates are changed."""
        return [*self._notes_of_rates(resample), *self._notes_of_skeletons()]

    def _notes_of_rates(self, resample: bool) -> list[str]:
        lines, assumed = [], f"{ASSUMED[self.domain]:g}"
        for frame_time, names in sorted(self._rates.items()):
            who = f"{self.character}: {self._named(names)}"
            rate = 1 / round_frame_time(frame_time) if frame_time > 0 else 0.0
            if not rate:
                lines.append(f"{who} without a frame rate, taken for the {assumed} per second that windows assume")
            elif resample:
                changed = f"which preprocessing changes to the {assumed} assumed"
                lines.append(f"{who} at {rate:.5g} frames per second, {changed}")
            else:
                lines.append(
                    f"{who} at {rate:.5g} frames per second where windows assume {assumed}: kept as they are; "
                    "`resample` changes the rate"
                )
        return lines

    def _notes_of_skeletons(self) -> list[str]:
        return [
            f"{self.character}: {self._named(names)} of another skeleton than {self._whose}: {how}"
            for how, names in self._skeletons.items()
        ]

    def _named(self, names: list[str]) -> str:
        shown = ", ".join([*names[:_NAMED], *(["…"] if len(names) > _NAMED else [])])
        return f"{len(names)} of {self._clips} clips ({shown})"
