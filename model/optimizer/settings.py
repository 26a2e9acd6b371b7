"""What the optimiser looks for, and how long."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool
from torch import Tensor

from model.limits import BEND, JointLimits
from model.topology import BONES_PER_FINGER

CONTACT_WEIGHT = 1000.0
"""Closes touches to a few thousandths of a palm length."""
SMOOTHNESS = 1000.0
"""Keeps the jerk of motion at 24 frames/s and more near that of a twist-bend-splay copy."""
TOUCH_SMOOTHNESS, TOUCH_STEPS = 100_000.0, 6
"""The same where touches of flesh are closed, which each frame does in its own way, and the steps that it takes."""


@dataclass(frozen=True)
class OptimizerSettings:
    """What the optimiser looks for, and how long.

    Attributes:
        palm_weight: S_palm against S_finger.
        distance_weighted: weigh finger directions as in training (near joints count more) instead of as the metric.
        unweighted_share: λ_unweighted of that weighting.
        contact_weight: how much fingertips that touch in the source must touch; 0: not at all.
        contact_near: fingertips nearer than this in the source, in palm lengths, keep their distance in full,
        contact_far: beyond this not at all, and softly in between, so that motion does not jump.
        touch_weight: how much flesh that touches in the source must touch (with touches given; fingertips' own term
            then rests).
        place_weight: how much it must touch at the same places.
        apart_weight: how much flesh must not be deeper, nor nearer, than in the source.
        smoothness: how dear accelerations of what is changed of the start pose are, per (rad/frame²)² at 60 frames/s;
            0: every frame for itself.
        coupled_steps: steps of all frames together that make it smooth.
        frame_rate: of the motion, frames/s.
        iterations: Levenberg–Marquardt steps at most.
        tolerance: a frame is done when its step is under this many radians.
        stay_bend: pull to the start's bends and splays; weak, it only decides what the objective leaves open.
        stay_twist: the same for twists.
        softening: palm lengths under which the direction between two joints loses its meaning.
        keep_near: joints as near as the softening keep their distance too, so that the same hand in and out is
            unchanged to the last digit. False: their direction alone, which finds slightly higher cosines.
        limits: angles that joints may have; kept exactly.
        keep_start: an angle that the start has beyond its limit may stay there, but goes no further; so a motion
            that oversteps the limits comes back from the same hand unchanged. False: limits hold whatever the start.
        all_angles: move twist and splay of all joints, not of the finger roots only.
    """

    palm_weight: float = 0.5
    distance_weighted: bool = False
    unweighted_share: float = 0.05
    contact_weight: float = 0.0
    contact_near: float = 0.03
    contact_far: float = 0.15
    touch_weight: float = 8000.0
    place_weight: float = 2.0
    apart_weight: float = 50000.0
    smoothness: float = 0.0
    coupled_steps: int = 2
    frame_rate: float = 60.0
    iterations: int = 8
    tolerance: float = 1e-3
    stay_bend: float = 0.02
    stay_twist: float = 0.5
    softening: float = 0.01
    keep_near: bool = True
    limits: JointLimits = field(default_factory=JointLimits)
    keep_start: bool = False
    all_angles: bool = False

    def __post_init__(self) -> None:
        for name in (
            "palm_weight",
            "contact_weight",
            "smoothness",
            "tolerance",
            "stay_bend",
            "stay_twist",
            "touch_weight",
            "place_weight",
            "apart_weight",
        ):
            if not getattr(self, name) >= 0:
                raise ValueError(f"`{name}` must not be negative; got {getattr(self, name)}")
        for name in ("frame_rate", "softening"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be above zero; got {getattr(self, name)}")
        if not 0 <= self.contact_near < self.contact_far:
            raise ValueError(
                f"`contact_near` must be below `contact_far`; got {self.contact_near} and {self.contact_far}"
            )
        for name in ("iterations", "coupled_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` must not be negative; got {getattr(self, name)}")

    @staticmethod
    def converged(**changes) -> OptimizerSettings:
        """The upper bound of a table: all 45 angles, by directions alone, until nothing changes.

        ``changes`` are other settings. Long gradient descent (500 steps of Adam) reaches the same cosines to 1e-4.
        """
        settings = {
            "all_angles": True,
            "keep_near": False,
            "iterations": 30,
            "tolerance": 1e-4,
            "stay_twist": 0.02,
            "stay_bend": 0.002,
        }
        return OptimizerSettings(**{**settings, **changes})

    @property
    def moving(self) -> Bool[Tensor, "3 3"]:
        """``(3, 3)`` which of twist, bend and splay of a finger's three joints move."""
        moving = torch.full((BONES_PER_FINGER, 3), self.all_angles)
        moving[0], moving[:, BEND] = True, True
        return moving
