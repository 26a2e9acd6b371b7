"""A page that shows whether axes are right: the hand with its axes from both sides, and the fist that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data.axes.estimate import HandEstimate, fist_angles
from data.axes.hand import BareHand
from model.methods import MAIN
from model.topology import BONES_PER_FINGER, FINGERS, ROOTS, WRIST
from run.drawing.figure import printable
from run.drawing.render import color_of, fit_box, render_mesh

AXIS_COLORS = ("#D62839", "#1E9E5A", "#2563EB")
"""Twist, bend, splay; red, green, blue as x, y, z usually are."""
_WORDS = {"sure": "#1E9E5A", "fair": "#B7791F", "doubtful": "#D62839", "missing": "#9CA3AF"}
_CELL, _DENSITY, _HEAD, _FOOT = 280, 2, 54, 66
_VIEWS = (("palm", "palm"), ("back", "back of the hand"), ("palm", "fist, palm side"), ("side", "fist, thumb side"))


def hand_camera(hand: BareHand, view: str = "palm") -> np.ndarray:
    """Rotation (3, 3) to a camera that sees the hand upright, however it is turned in its character's frame.

    view: ``"palm"``, ``"back"`` or ``"side"`` (from the thumb's side).
    """
    up = hand.forward
    across = np.cross(hand.palm_normal, up) * (1 if hand.side == "right" else -1)  # towards the thumb
    viewer = {"palm": -hand.palm_normal, "back": hand.palm_normal, "side": across}[view]
    return np.stack([np.cross(up, viewer), up, viewer])


@dataclass(frozen=True)
class AxisLine:
    """One axis of one joint, ready to be drawn."""

    finger: int
    ends: tuple[np.ndarray, np.ndarray]
    """Two points (3,): the joint, and where the axis ends."""
    color: str


def axis_lines(hand: BareHand, axes: np.ndarray, length: float, joints: np.ndarray | None = None) -> list[AxisLine]:
    """The three axes at each rotating joint that is there.

    axes (5, 4, 3, 3) rows twist, bend, splay; length in the hand's unit; joints (5, 4, 3) if not those at rest.
    """
    joints = hand.fingers if joints is None else joints
    return [
        AxisLine(int(finger), (joints[finger, k], joints[finger, k] + length * axes[finger, k, row]), color)
        for finger in np.flatnonzero(hand.present)
        for k in range(BONES_PER_FINGER)
        for row, color in enumerate(AXIS_COLORS)
        if np.isfinite(joints[finger, k]).all()
    ]


def palm_size(hand: BareHand) -> float:
    """Distance from the wrist to the nearest of the fingers' roots that are there, thumb left out; sizes marks."""
    roots = hand.joints[list(ROOTS[:4])]
    return float(np.nanmin(np.linalg.norm(roots - hand.joints[WRIST], axis=-1)))


def axes_page(estimates: Sequence[HandEstimate], title: str) -> np.ndarray:
    """One row a hand: palm and back with the axes, the closed fist from two sides; (height, width, 3) uint8."""
    size = _CELL * _DENSITY
    width, row = len(_VIEWS) * size, size + _FOOT * _DENSITY
    page = Image.new("RGB", (width, _HEAD * _DENSITY + row * len(estimates)), "white")
    draw = ImageDraw.Draw(page)
    font, small = (ImageFont.load_default(points * _DENSITY) for points in (15, 11))
    draw.text((10 * _DENSITY, 6 * _DENSITY), printable(title), fill="#1F2328", font=font)
    x = 10 * _DENSITY
    for name, color in zip(("twist", "bend", "splay"), AXIS_COLORS, strict=True):
        draw.text((x, 30 * _DENSITY), name, fill=color, font=small)
        x += 44 * _DENSITY
    note = "a positive turn about bend closes the finger; ± is the expected error, in degrees"
    draw.text((x + 10 * _DENSITY, 30 * _DENSITY), note, fill="#6B7280", font=small)
    for number, estimate in enumerate(estimates):
        top = _HEAD * _DENSITY + number * row
        for column, (picture, (_, caption)) in enumerate(zip(_row(estimate, size), _VIEWS, strict=True)):
            page.paste(Image.fromarray(picture), (column * size, top))
            place = (column * size + size // 2, top + size)
            draw.text(place, f"{estimate.hand.side} hand, {caption}", fill="#1F2328", font=small, anchor="ma")
        x = 10 * _DENSITY
        for name, finger in zip(FINGERS, estimate.fingers, strict=True):
            error = "" if finger.word == "missing" else f" ±{finger.error:.0f}°"
            text = f"{name}: {finger.word}{error}"
            draw.text((x, top + size + 24 * _DENSITY), text, fill=_WORDS[finger.word], font=small)
            x += 140 * _DENSITY
        if estimate.opening:
            text = f"a positive bend opens: {', '.join(estimate.opening)}"
            draw.text((10 * _DENSITY, top + size + 42 * _DENSITY), text, fill=_WORDS["doubtful"], font=small)
    return np.asarray(page)


def _row(estimate: HandEstimate, size: int) -> list[np.ndarray]:
    hand, axes = estimate.hand, estimate.axes
    fist, _ = hand.bent_straight(axes, fist_angles())
    length = 0.28 * palm_size(hand)
    lines = [(*line.ends, line.color, 1.2 * _DENSITY) for line in axis_lines(hand, axes, length)]
    pictures = []
    for column, (view, _) in enumerate(_VIEWS):
        turn = hand_camera(hand, view)
        vertices = np.asarray(hand.skin.vertices, np.float64) if column < 2 else fist
        box = fit_box(vertices, view=turn, size=(size, size))
        pictures.append(
            render_mesh(
                vertices,
                hand.skin.faces,
                color=color_of("source") if column < 2 else color_of(MAIN),
                lines=lines if column < 2 else (),
                view=turn,
                box=box,
                size=(size, size),
                samples=1,
            )
        )
    return pictures
