"""Contact sheets: every hand of MixHand-Open in one picture, and every hand shape in another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from data.open_hands import anatomy
from data.open_hands.contacts import posed, solve
from data.open_hands.library import OpenHands
from data.open_hands.shapes import HandShapes
from model.mano import ManoHand
from model.topology import ROOTS, THUMB, TIPS
from run.drawing.render import fit_box, render_mesh
from utils.files import atomic_write

SHOWN_POSE = "pinch_index_open"
_SKIN, _PLASTER, _OUTSIDE = "#E8C4A8", "#DAD7D2", "#F0A58F"
_DOT = "#1E9E5A"
_COLOURS = 160  # of the palette: pictures must stay small


def all_hands(hands: OpenHands, mano: ManoHand, path: Path, columns: int = 20) -> None:
    """Draw every character and every subject in the same pinch, solved for each; outside test hands are reddish."""
    cells, pinching = [], list(_pinching(hands, mano))
    box = fit_box(np.concatenate([vertices for _, _, vertices, _ in pinching]), view="three_quarter", size=(84, 108))
    for name, split, vertices, touch in pinching:
        usual = _SKIN if name in hands.characters else _PLASTER
        color = _OUTSIDE if split == "test_outside" else usual
        options = {"size": (84, 108), "view": "three_quarter", "box": box, "markers": [(touch, _DOT, 2)]}
        cells.append((name, render_mesh(vertices, hands.faces, color=color, **options)))
    _save_sheet(cells, columns, path)


def all_shapes(hands: OpenHands, shapes: HandShapes, path: Path, name: str = "Hand00", columns: int = 11) -> None:
    """Draw every hand shape on one character, with a dot where fingertips touch."""
    count = len(shapes.names)
    everyone = hands.characters_hand([name] * count)
    angles = solve(everyone, shapes.angles, shapes.contacts).angles
    vertices, joints = _skinned(hands, name, angles)
    cells = []
    for i, shape in enumerate(shapes.names):
        touches = [
            (joints[i, int(a)], _DOT, 3)
            for (a, b), d, w in zip(
                shapes.contacts.pairs[i], shapes.contacts.distance[i], shapes.contacts.weight[i], strict=True
            )
            if w > 0 and d == 0
        ]
        options = {"size": (128, 160), "view": "three_quarter", "markers": touches}
        picture = render_mesh(vertices[i], hands.faces, color=_SKIN, **options)
        cells.append((shape.replace("_", " "), picture))
    _save_sheet(cells, columns, path)


def _pinching(hands: OpenHands, mano: ManoHand) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Name, split, posed vertices and the thumb's tip of every hand, in palm lengths."""
    shapes = HandShapes.load()
    number = torch.tensor([shapes.names.index(SHOWN_POSE)])
    wanted, contacts = shapes.angles[number], shapes.contacts_of(number)
    for name, split in hands.characters.items():
        angles = solve(hands.characters_hand([name]), wanted, contacts).angles
        vertices, joints = _skinned(hands, name, angles)
        palm = np.linalg.norm(joints[0, ROOTS[0]])
        yield name, split, vertices[0] / palm, joints[0, TIPS[THUMB]] / palm
    for name, split in hands.subjects.items():
        shaped = mano.with_shape(torch.as_tensor(hands.betas(name))[None])
        state = posed(shaped, solve(shaped, wanted, contacts).angles)
        palm = state.palm_length
        yield name, split, (state.vertices()[0] / palm).numpy(), (state.joints[0, TIPS[THUMB]] / palm).numpy()


def _skinned(hands: OpenHands, name: str, angles: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    tbs = anatomy.tbs_of(angles[..., :-1], angles[..., -1])
    vertices, joints = anatomy.reposed(
        torch.as_tensor(hands.character_vertices(name)),
        torch.as_tensor(hands.character_joints(name)),
        torch.as_tensor(hands.weights),
        hands.character_hand(name),
        tbs,
    )
    return vertices.numpy(), joints.numpy()


def _save_sheet(cells: list[tuple[str, np.ndarray]], columns: int, path: Path) -> None:
    height, width = cells[0][1].shape[:2]
    label = 13
    rows = -(-len(cells) // columns)
    sheet = Image.new("RGB", (columns * width, rows * (height + label)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(9)
    for i, (text, picture) in enumerate(cells):
        x, y = i % columns * width, i // columns * (height + label)
        sheet.paste(Image.fromarray(picture), (x, y))
        draw.text((x + width / 2, y + height), text, fill="#22262B", font=font, anchor="ma")
    with atomic_write(path) as temporary:
        sheet.quantize(_COLOURS, method=Image.Quantize.FASTOCTREE).save(temporary, optimize=True)
