"""The hands on the page: meshes side by side with captions, and marks where fingertips should touch."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan, radians, tan

import numpy as np
from PIL import ImageColor

from model.topology import N_FINGERS
from run.drawing.render import CLOSED, OPEN, camera, color_of
from run.viewing.take import Moment

CELL_WIDTH, CELL_HEIGHT = 2.35, 3.2
"""Room for a hand, palm lengths."""
_MIDDLE = 1.12  # of a hand above its wrist, palm lengths
_TIP_RADIUS = 0.09
_FIELD_OF_VIEW = radians(24.0)
_HIDDEN = np.zeros((1, 2, 3), dtype=np.float32)


def rgb_of(column: str) -> tuple[int, int, int]:
    """RGB of a column's hands."""
    return ImageColor.getrgb(color_of(column))[:3]


def set_the_stage(server) -> None:
    """Light, and a camera that stands upright. Before anybody comes: turned under a visitor's eyes, the world and the
    camera may not turn together."""
    server.scene.set_up_direction("+y")
    server.scene.configure_default_lights(True, cast_shadow=False)
    camera = server.initial_camera
    camera.up, camera.position, camera.look_at = (0.0, 1.0, 0.0), (0.0, 0.0, 10.0), (0.0, 0.0, 0.0)
    camera.fov = _FIELD_OF_VIEW


class Stage:
    """Draws moments into a visitor's scene. One thread at a time.

    Args:
        client: the `viser.ClientHandle`.
        side: of the hands, ``"right"`` or ``"left"``.
    """

    def __init__(self, client, side: str) -> None:
        self._client, self._side, self._turn = client, side, camera("three_quarter", side)
        self._hands: dict[str, _HandNodes] = {}
        self._extent = (CELL_WIDTH, CELL_HEIGHT)

    def arrange(self, columns: Sequence[tuple[str, str, np.ndarray]]) -> None:
        """Put up hands, replacing all there were.

        Args:
            columns: (name, title, faces (F, 3)) of each, from left to right and top to bottom.
        """
        for nodes in self._hands.values():
            nodes.remove()
        across = len(columns) if len(columns) <= 3 else -(-len(columns) // 2)
        down = -(-len(columns) // max(across, 1))
        self._extent = (across * CELL_WIDTH, down * CELL_HEIGHT)
        self._hands = {}
        for number, (name, title, faces) in enumerate(columns):
            row, column = divmod(number, across)
            x = (column - (across - 1) / 2) * CELL_WIDTH
            y = ((down - 1) / 2 - row) * CELL_HEIGHT
            self._hands[name] = _HandNodes(self._client.scene, name, title, faces, (x, y, 0.0), self._turn)

    def aim(self, view, aspect: float) -> None:
        """Point a camera so that all hands fill its picture, which is `aspect` times as wide as high."""
        width, height = self._extent
        distance = max(height, width / max(aspect, 0.1)) / (2 * tan(_FIELD_OF_VIEW / 2)) + 1.0
        view.position = (0.0, 0.0, distance)
        view.look_at = (0.0, 0.0, 0.0)

    def turn(self, view: str) -> None:
        """Turn every hand in its place: ``"palm"``, ``"back"``, ``"side"`` or ``"three_quarter"``."""
        self._turn = camera(view, self._side)
        for nodes in self._hands.values():
            nodes.turn(self._turn)

    def draw(self, name: str, moment: Moment | None, caption: bool = True) -> None:
        """Show a hand as it is at a moment; None: still being worked out. With or without a new caption."""
        if name in self._hands:
            self._hands[name].draw(moment, caption)

    def say(self, name: str, text: str) -> None:
        """Put a text in the place of a hand's caption."""
        if name in self._hands:
            self._hands[name].say(text)


class _HandNodes:
    """The scene nodes of one hand."""

    def __init__(self, scene, name, title, faces, place, turn) -> None:
        self._scene, self._root, self._faces, self._color = scene, f"/hands/{name}", faces, rgb_of(name)
        self._place = np.asarray(place)
        self._frame = scene.add_frame(self._root, show_axes=False)
        self.turn(turn)
        self._mesh = None
        self._tips: list = []
        self._lines = None
        below = self._place - [0.0, CELL_HEIGHT / 2 - 0.55, 0.0]
        label = {"anchor": "top-center", "font_size_mode": "scene", "depth_test": False}
        self._title = scene.add_label(f"/titles/{name}", title, position=below, font_scene_height=0.17, **label)
        self._caption = scene.add_label(
            f"/captions/{name}", "…", position=below - [0.0, 0.22, 0.0], font_scene_height=0.125, **label
        )

    def remove(self) -> None:
        for node in (self._frame, self._title, self._caption):
            node.remove()

    def turn(self, turn: np.ndarray) -> None:
        self._frame.wxyz = _quaternion(turn)
        # Hands are turned about their middle, not about the wrist.
        self._frame.position = self._place + [0.0, 0.33 - _MIDDLE, 0.0]

    def say(self, text: str) -> None:
        if self._caption.text != text:
            self._caption.text = text

    def draw(self, moment: Moment | None, caption: bool) -> None:
        if moment is None:
            self.say("working …")
            return
        vertices = np.ascontiguousarray(moment.vertices, dtype=np.float32)
        if self._mesh is None:
            self._build(vertices)
        self._mesh.vertices = vertices
        self._mark(moment)
        if caption:
            self.say(describe(moment))

    def _build(self, vertices: np.ndarray) -> None:
        scene = self._scene
        self._mesh = scene.add_mesh_simple(
            f"{self._root}/skin", vertices, self._faces, color=self._color, side="double",
            cast_shadow=False, receive_shadow=False,
        )  # fmt: skip
        self._tips = [
            scene.add_icosphere(
                f"{self._root}/tip{finger}", radius=_TIP_RADIUS, color=(0, 0, 0), subdivisions=2, opacity=0.85,
                visible=False, cast_shadow=False, receive_shadow=False,
            )
            for finger in range(N_FINGERS)
        ]  # fmt: skip
        self._lines = scene.add_line_segments(
            f"{self._root}/gaps", _HIDDEN, ImageColor.getrgb(OPEN)[:3], thickness=0.035, visible=False
        )

    def _mark(self, moment: Moment) -> None:
        """Fingertips that touch in the source: green where they meet, red, with a line across, where they do not."""
        state: dict[int, bool] = {}
        for first, second, closed in moment.touches:
            for finger in (first, second):
                state[finger] = state.get(finger, True) and closed
        for finger, ball in enumerate(self._tips):
            if finger in state:
                ball.position = moment.tips[finger]
                _set(ball, "color", ImageColor.getrgb(CLOSED if state[finger] else OPEN)[:3])
            _set(ball, "visible", finger in state)
        gaps = [moment.tips[[first, second]] for first, second, closed in moment.touches if not closed]
        if gaps:
            self._lines.points = np.stack(gaps).astype(np.float32)
        _set(self._lines, "visible", bool(gaps))


def describe(moment: Moment) -> str:
    """The caption of a hand."""
    gap = "" if isnan(moment.gap) else f"   gap {moment.gap:.2f}"
    return f"S {moment.s_finger:.3f}   palm {moment.s_palm:.3f}{gap}"


def _set(node, name: str, value) -> None:
    """Nothing is sent for what is so already."""
    if not np.array_equal(getattr(node, name), value):
        setattr(node, name, value)


def _quaternion(turn: np.ndarray) -> np.ndarray:
    """(w, x, y, z) of a rotation (3, 3)."""
    values, vectors = np.linalg.eigh(_symmetric(turn))
    return vectors[:, values.argmax()]


def _symmetric(m: np.ndarray) -> np.ndarray:
    """The matrix (4, 4) whose leading eigenvector is the quaternion; sound for every rotation."""
    return np.array([
        [m[0, 0] + m[1, 1] + m[2, 2], m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]],
        [m[2, 1] - m[1, 2], m[0, 0] - m[1, 1] - m[2, 2], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0]],
        [m[0, 2] - m[2, 0], m[0, 1] + m[1, 0], m[1, 1] - m[0, 0] - m[2, 2], m[1, 2] + m[2, 1]],
        [m[1, 0] - m[0, 1], m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], m[2, 2] - m[0, 0] - m[1, 1]],
    ])  # fmt: skip
