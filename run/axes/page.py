"""The annotation page: the hand with its axes in a browser, one finger after the other. Works over SSH, no desktop.

All decisions are taken in `data.axes.annotation`; here are only the scene, the controls and the keys (viser).
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from PIL import ImageColor
from rich.console import Console

from data.axes.annotation import Annotation, Task
from data.axes.estimate import fist_angles
from data.axes.hand import BareHand
from model.topology import BONES_PER_FINGER, FINGERS, JOINTS_PER_FINGER, N_FINGERS, WRIST
from run.axes.pictures import axis_lines, hand_camera, palm_size
from utils.errors import InputError, spoken
from utils.web import close, serve

# The page's own camera already listens to w, a, s, d, e and the arrows, and a focused button to space and enter.
KEYS = (
    (",", "Turn splay 1° back"),
    (".", "Turn splay 1° forward"),
    ("Y", "Accept this finger"),
    ("N", "Next finger"),
    ("B", "Finger before"),
    ("Q", "Finish"),
)
_SKIN = (214, 208, 200)
_AXIS_LENGTH = 0.32
_FADED = 0.4


def annotate(session: Annotation, title: str, host: str, port: int, console: Console) -> None:
    """Serve the page until someone finishes (button or `q`) or presses Ctrl-C; what was accepted is saved either way.

    Raises:
        InputError: viser is not installed, or no port is free.
    """
    page = AnnotationPage(session, title, host, port)
    console.print(f"open {page.url} in a browser", highlight=False, soft_wrap=True)
    console.print(
        f"from another machine: ssh -L {page.port}:localhost:{page.port} <this machine>, then the same address; "
        f"Ctrl-C here or q there ends",
        style="dim",
        highlight=False,
        soft_wrap=True,
    )
    if session.note:
        console.print(session.note, style="yellow", highlight=False, soft_wrap=True)
    try:
        page.finished.wait()
    finally:
        page.close()
    done, total = session.progress
    rest = "" if done == total else f"; the other {total - done} keep the estimate"
    console.print(f"{session.output}: written, {done} of {total} fingers accepted{rest}", highlight=False)


class AnnotationPage:
    """A viser server that shows one `Annotation`.

    Args:
        session: what is annotated.
        title: name of the character.
        host, port: where to listen; a taken port gives way to the next free one.

    Raises:
        InputError: viser is not installed, or the port cannot be opened.
    """

    def __init__(self, session: Annotation, title: str, host: str, port: int) -> None:
        self._server = serve(f"{title}: axes", host, port, or_next=True)
        self.session, self.title = session, title
        self.finished = threading.Event()
        self._lock = threading.RLock()
        self._shown: tuple | None = None
        self._faces: dict[str, np.ndarray] = {}
        self._server.scene.set_up_direction("+y")
        self._server.gui.main_panel.dock_right()
        self._add_controls()
        self._add_keys()
        camera = self._server.initial_camera
        camera.position, camera.look_at, camera.up = (1.2, 1.6, 2.2), (0.1, 0.85, 0.0), (0.0, 1.0, 0.0)
        self.refresh()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._server.get_port()

    @property
    def url(self) -> str:
        """Address of the page on this machine."""
        return f"http://localhost:{self.port}"

    def close(self) -> None:
        """Stop serving."""
        close(self._server)

    # -- controls ----------------------------------------------------------------------------------------

    def _add_controls(self) -> None:
        gui, session = self._server.gui, self.session
        self._status = gui.add_markdown("")
        self._bar = gui.add_progress_bar(0.0)
        self._choice = gui.add_dropdown(
            "finger", [str(task) for task in session.tasks], initial_value=str(session.current)
        )
        self._choice.on_update(lambda _: self._do(self._choose))
        for label, action, color in (
            ("Accept (y)", self._accept, "green"),
            ("Next finger (n)", lambda: session.step(1), None),
            ("Finger before (b)", lambda: session.step(-1), None),
        ):
            self._button(label, action, color)
        with gui.add_folder("preview"):
            self._bend = gui.add_slider("bend", min=0, max=100, step=1, initial_value=0, hint="closes; percent")
            self._whole = gui.add_checkbox("whole hand", initial_value=False)
        for control in (self._bend, self._whole):
            control.on_update(lambda _: self._do(lambda: None))
        self._sliders = {}
        for side in session.estimates:
            with gui.add_folder(f"splay, {side} hand: degrees from the estimate"):
                for task in session.tasks:
                    if task.side == side:
                        self._sliders[task] = self._splay_slider(task)
        self._button("Finish (q)", self._finish, "gray")

    def _button(self, label: str, action: Callable[[], None], color: str | None) -> None:
        self._server.gui.add_button(label, color=color).on_click(lambda _: self._do(action))

    def _splay_slider(self, task: Task):
        # A step of 0.1: estimates of a human who resumes are not whole degrees away from the machine's.
        slider = self._server.gui.add_slider(FINGERS[task.finger], min=-180.0, max=180.0, step=0.1, initial_value=0.0)

        def moved(_) -> None:
            self._do(lambda: self._moved(task, slider.value))

        slider.on_update(moved)
        return slider

    def _add_keys(self) -> None:
        session = self.session
        actions = (
            lambda: session.turn(-1.0),
            lambda: session.turn(1.0),
            self._accept,
            lambda: session.step(1),
            lambda: session.step(-1),
            self._finish,
        )
        for (key, label), action in zip(KEYS, actions, strict=True):
            command = self._server.gui.add_command(label, hotkey=key)
            command.on_trigger(lambda _, action=action: self._do(action))

    # -- actions -----------------------------------------------------------------------------------------

    def _do(self, action: Callable[[], None]) -> None:
        """Run an action alone, show its outcome; a failure is shown and changes nothing."""
        with self._lock:
            try:
                action()
            except (InputError, OSError) as error:
                self._notify(spoken(error))
            if not self.finished.is_set():
                self.refresh()

    def _notify(self, text: str) -> None:
        for client in self._server.get_clients().values():
            client.add_notification("not saved", text, color="red")

    def _choose(self) -> None:
        task = next((each for each in self.session.tasks if str(each) == self._choice.value), None)
        if task is not None:
            self.session.choose(task)

    def _moved(self, task: Task, degrees: float) -> None:
        # The slider also reports what the page itself wrote to it, rounded to its step.
        if abs(degrees - self.session.degrees(task)) > 0.051:
            self.session.choose(task)
            self.session.set_degrees(task, degrees)

    def _accept(self) -> None:
        self.session.accept()

    def _finish(self) -> None:
        self.session.save()
        self.finished.set()

    # -- scene -------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Bring controls and scene to the session's state."""
        session = self.session
        done, total = session.progress
        self._status.content = self._text()
        self._bar.value = 100.0 * done / total
        if self._choice.value != str(session.current):
            self._choice.value = str(session.current)
        for task, slider in self._sliders.items():
            if abs(slider.value - session.degrees(task)) > 0.051:
                slider.value = round(session.degrees(task), 1)
        state = (session.current, self._bend.value, self._whole.value, *map(session.degrees, session.tasks))
        if state != self._shown:
            self._shown = state
            self._draw()

    def _text(self) -> str:
        session, task = self.session, self.session.current
        done, total = session.progress
        finger = session.estimates[task.side].fingers[task.finger]
        mark = "accepted" if task in session.accepted else "not accepted yet"
        last = "\n\n**All fingers are accepted and saved.** Finish with `q`." if session.finished else ""
        return (
            f"### {self.title}: {task}\n{mark}; {done} of {total} accepted\n\n"
            f"turned **{session.degrees():+.0f}°** from the estimate, which is {finger.word} (±{finger.error:.0f}°)"
            f"\n\n"
            f"Keys: `,` `.` turn splay (blue) by 1°, `y` accept, `n` next, `b` before, `q` finish. Green is the bend "
            f"axis; move *bend*: the finger must close towards the palm.{last}"
        )

    def _draw(self) -> None:
        task, scene = self.session.current, self._server.scene
        hand, axes = self.session.estimates[task.side].hand, self.session.axes(task.side)
        angles = np.zeros((N_FINGERS, BONES_PER_FINGER))
        moving = slice(None) if self._whole.value else task.finger
        angles[moving] = fist_angles()[moving] * self._bend.value / 100
        vertices, joints = hand.bent(axes, angles)
        place = _into_view(hand)
        # The axes go along with the joints but do not turn: they are those of the rest pose, which are being chosen.
        there = joints[1:].reshape(N_FINGERS, JOINTS_PER_FINGER, 3)
        lines = axis_lines(hand, axes, _AXIS_LENGTH * palm_size(hand), there)
        points = place(np.array([line.ends for line in lines]))
        colors = np.array([ImageColor.getrgb(line.color) for line in lines], float)
        fingers = np.array([line.finger for line in lines])
        current = fingers == task.finger
        colors[~current] = 255 - _FADED * (255 - colors[~current])
        with self._server.atomic():
            shape = place(vertices).astype(np.float32)
            scene.add_mesh_simple("/hand", shape, hand.skin.faces, color=_SKIN, opacity=0.5)
            for name, chosen, thickness in (("/axes/others", ~current, 0.006), ("/axes/current", current, 0.022)):
                scene.add_line_segments(
                    name,
                    points[chosen].astype(np.float32),
                    np.repeat(colors[chosen][:, None], 2, axis=1).astype(np.uint8),
                    thickness=thickness,
                )


def _into_view(hand: BareHand) -> Callable[[np.ndarray], np.ndarray]:
    """From the hand's frame to the page's: wrist at the origin, fingers up, palm towards the viewer, palm length 1."""
    turn, scale, origin = hand_camera(hand, "palm"), palm_size(hand), hand.joints[WRIST]
    return lambda points: (points - origin) @ turn.T / scale
