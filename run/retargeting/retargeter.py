"""A target and a method, ready for one motion after the other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import torch

from data.character.character import Character
from data.motion.reading import Motion
from model.motion import MotionRetargeting, SourceMotion
from model.network import TrainedNetwork
from model.streaming import streamed
from utils.cli import say
from utils.errors import InputError


@dataclass(frozen=True)
class Retargeter:
    """Everything that stays the same from motion to motion."""

    target: Character
    method: str
    network: TrainedNetwork | None
    refine: int
    contacts: bool
    sides: tuple[str, ...]
    skin: bool = False
    """Touches are those of skin, not of fingertips' joints."""
    _said: set[str] = field(default_factory=set)

    def say_once(self, lines: Iterable[str]) -> None:
        """Notes for the user; what is true of the target is said of the first motion alone."""
        for line in lines:
            if line not in self._said:
                self._said.add(line)
                say(f"note: {line}")

    def retargetings(self, motion: Motion) -> dict[str, tuple[SourceMotion, MotionRetargeting]]:
        """Side → what is to be done, for the hands that source and target both have.

        Raises:
            InputError: they have none in common.
        """
        sides = [side for side in self.sides if side in motion.tracks and side in self.target.hands]
        if not sides:
            raise InputError(
                f"{motion.path}: expected a {' or '.join(self.sides)} hand that {self.target.name} has too, found "
                f"the {' and '.join(motion.tracks)} hand here and the {' and '.join(self.target.sides)} hand there; "
                f"change --hands"
            )
        result = {}
        for side in sides:
            track, hand = motion.tracks[side], self.target.hands[side]
            mask = torch.from_numpy(track.present & hand.present)
            network = None if self.network is None else streamed(self.network, hand.shaped, hand.shape, mask)
            source = SourceMotion(track.hand.shaped, track.local, motion.frame_rate)
            retargeting = MotionRetargeting(
                self.method, hand.shaped, mask, network, refine=self.refine, contacts=self.contacts
            )
            if self.skin and self.contacts:
                source = replace(source, flesh=track.hand.flesh, skin=track.hand.skin_points)
                retargeting = replace(retargeting, flesh=hand.flesh, skin=hand.skin_points)
            result[side] = source, retargeting
        return result
