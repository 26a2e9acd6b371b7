"""The page: controls on the right, figures on the left, hands between them, and the threads that keep them moving."""

from __future__ import annotations

import sys
import threading
import time as clock
import traceback

import numpy as np

from model.methods import MAIN, METHODS, OPTIMUM, title_of
from model.proportions import Proportions
from model.topology import FINGERS, N_SHAPE
from run.drawing.render import color_of
from run.viewing.export import FORMATS, formats
from run.viewing.pictures import heat_map, marked, timeline
from run.viewing.stage import Stage, rgb_of
from run.viewing.studio import DROPPED, Studio, shown_name
from run.viewing.take import SOURCE, Take
from utils.errors import InputError
from utils.web import guarded_callback, tell, text

FRAMES_PER_SECOND = 30.0
"""How often hands are drawn while they play."""
_SLOW = 0.2  # seconds between changes of pictures and figures while playing; nobody reads faster
_SPEEDS = {"¼": 0.25, "½": 0.5, "1": 1.0, "2": 2.0, "4": 4.0}
_VIEWS = {"three-quarter": "three_quarter", "palm": "palm", "back": "back", "thumb side": "side"}
_MATRICES = {"cosine of directions": "cosine", "difference of places": "difference", "distances alone": "distance"}
_DROP_HINT = "A motion (.bvh, glTF, MANO .npz) becomes the source, a character without motion (glTF) the target"


class Page:
    """Controls and their effect, for one visitor. :meth:`start` runs it, :meth:`close` ends its threads.

    Args:
        client: the visitor, a `viser.ClientHandle`.
        studio: what is chosen and what follows; closed with the page.
    """

    def __init__(self, client, studio: Studio) -> None:
        self.client, self.studio = client, studio
        self.stage = Stage(client, studio.shelf.side)
        self.time, self.playing, self.updates = 0.0, False, 0
        """Seconds into the motion; whether it runs; how often hands have been drawn."""
        self._lock = threading.RLock()
        self._wake, self._stopped = threading.Event(), threading.Event()
        self._dirty, self._slow_at, self._known, self._before = True, 0.0, -1, 0.0
        self._timeline: tuple[np.ndarray, tuple[int, int]] | None = None
        self._sliders: list = []
        self._threads: list[threading.Thread] = []
        self._guard = guarded_callback(client, "This did not work")
        self._build_controls()
        self._build_figures()
        self._show_take()
        self._greet()

    # -- building --------------------------------------------------------------------------------------------------

    def _build_controls(self) -> None:
        gui, studio = self.client.gui, self.studio
        gui.main_panel.dock_right()
        gui.main_panel.set_width(320)
        with gui.add_folder("Hands"):
            self._source = gui.add_dropdown("source", studio.sources, initial_value=studio.choice.source)
            self._clip = gui.add_dropdown("motion", self._clips(), initial_value=studio.choice.clip)
            self._upload = gui.add_upload_button("Drop in a file", mime_type=",".join(DROPPED), hint=_DROP_HINT)
            self._target = gui.add_dropdown("target", studio.targets, initial_value=studio.choice.target)
            self._view = gui.add_dropdown("seen from", list(_VIEWS), initial_value="three-quarter")
        with gui.add_folder("Playback"):
            self._play = gui.add_button("Play")
            self._slider = gui.add_slider("seconds", 0.0, 1.0, 0.01, 0.0)
            self._jump = gui.add_button_group("touches", ["previous", "next"])
            self._speed = gui.add_dropdown("speed", list(_SPEEDS), initial_value="1")
            self._loop = gui.add_checkbox("loop", True)
        self._proportions = gui.add_folder("Target's proportions")
        with gui.add_folder("Download"):
            names = [self._title(name) for name in studio.take.columns]
            self._wanted = gui.add_dropdown("hand", names, initial_value=self._title(self._best()))
            self._format = gui.add_dropdown("as", list(FORMATS))
            self._download = gui.add_button("Download")
        with gui.add_folder("Shown", expand_by_default=False):
            self._shown = {name: gui.add_checkbox(title_of(name), name != OPTIMUM) for name in studio.methods.names}
        self._connect()

    def _connect(self) -> None:
        on = self._guard
        self._source.on_update(on(self._only_user(lambda e: self._choose(source=e.target.value))))
        self._clip.on_update(on(self._only_user(lambda e: self._choose(clip=e.target.value))))
        self._target.on_update(on(self._only_user(lambda e: self._choose(target=e.target.value))))
        self._upload.on_upload(on(self._drop))
        self._view.on_update(on(lambda e: self.stage.turn(_VIEWS[e.target.value])))
        self._play.on_click(on(lambda e: self.play(not self.playing)))
        self._slider.on_update(on(self._only_user(lambda e: self.seek(e.target.value))))
        self._jump.on_click(on(lambda e: self._jump_to(e.target.value == "next")))
        self._download.on_click(on(self._send))
        self._wanted.on_update(on(lambda e: self._offer_formats()))
        for box in self._shown.values():
            box.on_update(on(lambda e: self._show_take()))

    @staticmethod
    def _only_user(callback):
        """Changes that the program itself makes to a control are no wishes."""
        return lambda event: callback(event) if event.client is not None else None

    def _build_figures(self) -> None:
        gui = self.client.gui
        panel = gui.add_panel()
        with panel.add_tab("Figures"):
            self._table = gui.add_html("")
            self._curves = gui.add_image(
                np.full((220, 680, 3), 255, np.uint8), label="S_finger over time", format="png"
            )
            names = [self._title(name) for name in self.studio.methods.names]
            self._compared = gui.add_dropdown("matrix of", names, initial_value=self._title(self._best()))
            self._matrix = gui.add_dropdown("shows", list(_MATRICES))
            blank = heat_map(np.full((20, 20), np.nan), "cosine")
            self._heat = gui.add_image(blank, label="Semantic matrix against the source's", format="png")
        for control in (self._compared, self._matrix):
            control.on_update(self._guard(lambda e: self._refresh()))
        panel.dock_left()
        panel.set_width(370)

    def _build_sliders(self) -> None:
        """Sliders that fit the kind of the target, at its values."""
        for slider in self._sliders:
            slider.remove()
        gui, choice, on = self.client.gui, self.studio.choice, self._guard
        with self._proportions:
            if self.studio.shelf.domain(choice.target) == "mano":
                values = choice.shape or self.studio.shelf.shape(choice.target)
                bound = max(3.0, *map(abs, values))
                names = [f"shape {number + 1}" for number in range(N_SHAPE)]
                parts = [
                    gui.add_slider(n, -bound, bound, 0.01, round(v, 2)) for n, v in zip(names, values, strict=True)
                ]
            else:
                p = choice.proportions
                parts = [gui.add_slider("all fingers", 0.6, 1.6, 0.01, p.finger_length),
                         gui.add_slider("palm length", 0.6, 1.6, 0.01, p.palm_length),
                         gui.add_slider("palm width", 0.6, 1.6, 0.01, p.palm_width)]  # fmt: skip
                parts += [gui.add_slider(n, 0.5, 1.8, 0.01, v) for n, v in zip(FINGERS, p.fingers, strict=True)]
            reset = gui.add_button("Its own proportions")
        for slider in parts:
            slider.on_update(on(self._only_user(lambda e: self._reshape(parts))))
        reset.on_click(on(lambda e: self._choose(proportions=Proportions(), shape=None, rebuild=True)))
        self._sliders = [*parts, reset]

    # -- wishes ----------------------------------------------------------------------------------------------------

    def _choose(self, rebuild: bool = False, **changes) -> None:
        with self._lock:
            before = self.studio.choice
            try:
                self.studio.choose(**changes)
            finally:  # of a choice that failed, controls show the earlier one again
                self._show_take(rebuild or self.studio.choice.target != before.target)

    def _reshape(self, sliders: list) -> None:
        # What is typed beside a slider may lie outside of it, "0" of "0.7" for example.
        values = [min(max(slider.value, slider.min), slider.max) for slider in sliders]
        with self._lock:
            if self.studio.shelf.domain(self.studio.choice.target) == "mano":
                self.studio.choose(shape=tuple(values))
            else:
                self.studio.choose(proportions=Proportions(*values[:3], fingers=tuple(values[3:])))
            self._refresh(new_take=True)

    def _drop(self, event) -> None:
        file = event.target.value
        with self._lock:
            found = self.studio.drop(file.name, file.content)
            self._show_take()
        tell(self.client, shown_name(file.name), found)

    def _send(self, event) -> None:
        name, content = self.studio.download(self._column(self._wanted.value), self._format.value)
        self.client.send_file_download(name, content, save_immediately=True)
        tell(self.client, name, f"{len(content) / 1e6:.1f} MB, every frame at the source's own rate")

    def play(self, on: bool) -> None:
        """Run or pause. At the end, playing begins anew."""
        with self._lock:
            if on and self.time >= self.studio.take.duration:
                self.time = 0.0
            self.playing = on
            self._play.label = "Pause" if on else "Play"
            self._refresh()

    def seek(self, seconds: float) -> None:
        """Go to a time of the motion."""
        with self._lock:
            self.time = min(max(float(seconds), 0.0), self.studio.take.duration)
            self._refresh()

    def _jump_to(self, forward: bool) -> None:
        times = self.studio.take.source.contact_times()
        if not times:
            raise InputError(f"{self.studio.take.source.name}: no fingertips touch in this motion")
        if forward:
            goal = next((t for t in times if t > self.time + 1e-3), times[0])
        else:
            goal = next((t for t in reversed(times) if t < self.time - 1e-3), times[-1])
        self.play(False)
        self.seek(goal)
        self._slider.value = round(goal, 2)

    # -- showing ---------------------------------------------------------------------------------------------------

    def _title(self, column: str) -> str:
        return "Source" if column == SOURCE else title_of(column)

    def _best(self) -> str:
        """The method that one most likely wants."""
        return MAIN if MAIN in self.studio.methods.names else self.studio.methods.names[-1]

    def _column(self, title: str) -> str:
        return next(name for name in self.studio.take.columns if self._title(name) == title)

    def _clips(self) -> list[str]:
        return self.studio.clips(self.studio.choice.source)

    def columns(self) -> list[str]:
        """Hands that are shown."""
        return [SOURCE, *(name for name, box in self._shown.items() if box.value)]

    def _greet(self) -> None:
        """Fit the hands into the window, and again whenever the room between the panels changes its form."""
        fitted = 0.0

        def fit(camera) -> None:
            nonlocal fitted
            if abs(camera.aspect - fitted) > 0.02 * camera.aspect:
                fitted = camera.aspect
                self.stage.aim(camera, fitted)

        self.client.camera.on_update(fit)
        fit(self.client.camera)

    def _show_take(self, new_target: bool = True) -> None:
        """Put up everything that depends on which hands and which motion are chosen."""
        with self._lock, self.client.atomic():
            choice, take = self.studio.choice, self.studio.take
            self._source.options = self.studio.sources
            self._source.value = choice.source
            self._clip.options = self._clips()
            self._target.options = self.studio.targets
            self._clip.value, self._target.value = choice.clip, choice.target
            self._slider.max = max(round(take.duration, 2), 0.01)
            self.time = min(self.time, take.duration)
            self._slider.value = round(self.time, 2)
            titles = {SOURCE: f"{choice.source} (source)"}
            self.stage.arrange([
                (name, titles.get(name, title_of(name)), take.hand(name).faces) for name in self.columns()
            ])  # fmt: skip
            self._offer_formats()
            if new_target:
                self._build_sliders()
            self._refresh(new_take=True)

    def _offer_formats(self) -> None:
        """Only what the chosen hand can be written as."""
        self._format.options = formats(self.studio.take.hand(self._column(self._wanted.value)))

    def _refresh(self, new_take: bool = False) -> None:
        self._dirty, self._slow_at = True, 0.0
        if new_take:
            self._known = -1
        self._wake.set()

    def _draw(self, now: float) -> None:
        """Hands at the present time, and now and then the figures."""
        with self._lock:
            take, time, self._dirty = self.studio.take, self.time, False
            slow = not self.playing or now >= self._slow_at
            moments = {name: take.moment(name, time) for name in self.columns()}
            with self.client.atomic():
                for name, moment in moments.items():
                    if name in take.failures:
                        self.stage.say(name, f"failed: {take.failures[name][:60]}")
                    else:
                        self.stage.draw(name, moment, caption=slow)
                if slow:
                    self._slow_at = now + _SLOW
                    self._slider.value = round(time, 2)
                    self._draw_figures(take, time, moments)
            self.client.flush()
            self.updates += 1

    def _draw_figures(self, take: Take, time: float, moments: dict) -> None:
        self._table.content = _table(take, {name: m for name, m in moments.items() if name != SOURCE})
        if self._known != take.known:
            self._known = take.known
            names = [name for name in moments if name != SOURCE and name != "rotation_copy"] or list(moments)
            curves = {name: take.s_finger(name) for name in names}
            colors = {name: color_of(name) for name in names}
            self._timeline = timeline(curves, colors, take.source.contacts.any(-1).numpy())
        if self._timeline is not None:
            self._curves.image = marked(*self._timeline, time / take.duration if take.duration else 0.0)
        kind = _MATRICES[self._matrix.value]
        matrix = take.matrix(self._column(self._compared.value), time, kind)
        if matrix is not None:
            self._heat.image = heat_map(matrix, kind)

    # -- threads ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to work and to draw."""
        self._before = clock.monotonic()
        for step in (self._work, self._tick):
            self._threads.append(threading.Thread(target=self._forever, args=(step,), daemon=True))
            self._threads[-1].start()

    def close(self) -> None:
        """End both threads, and forget what the visitor has brought."""
        self._stopped.set()
        self._wake.set()
        for thread in self._threads:
            thread.join()
        self.studio.close()

    def _forever(self, step) -> None:
        """Repeat a step. What goes wrong in one is a defect: it is shown, and the page lives on."""
        shown = ""
        while not self._stopped.is_set():
            try:
                step()
            except Exception as error:
                message = f"{type(error).__name__}: {error}"
                if message != shown:  # or it would fill the screen
                    traceback.print_exc(file=sys.stderr)
                    tell(self.client, "This failed inside the program", message, good=False)
                shown = message
                self._stopped.wait(0.5)

    def _work(self) -> None:
        """Work out a piece of what is shown, of what comes next, or of all the rest."""
        self._wake.clear()
        # A matrix may be asked of a hand that is not shown.
        columns = list(dict.fromkeys([*self.columns(), self._column(self._compared.value)]))
        if self.studio.work(self.studio.take, self.time, columns):
            self._dirty = True
        else:
            self._wake.wait(0.25)

    def _tick(self) -> None:
        """Move the time on, and draw if anything has changed."""
        now = clock.monotonic()
        if self.playing:
            with self._lock:
                self._advance((now - self._before) * _SPEEDS[self._speed.value])
        self._before = now
        if self.playing or self._dirty:
            self._draw(now)
        self._stopped.wait(max(0.002, 1 / FRAMES_PER_SECOND - (clock.monotonic() - now)))

    def _advance(self, seconds: float) -> None:
        take = self.studio.take
        self.time += seconds
        if self.time >= take.duration:
            if self._loop.value and take.duration > 0:
                self.time %= take.duration
            else:
                self.time = take.duration
                self.play(False)


def _table(take: Take, moments: dict) -> str:
    """Figures of every method now and over the whole motion, as HTML; the best of a column in bold."""
    rows = [(name, moment, take.means(name)) for name, moment in moments.items()]
    now = [None if m is None else (m.s_finger, m.s_palm, m.gap) for _, m, _ in rows]
    whole = [means for _, _, means in rows]
    columns = [
        _ranked([None if row is None else row[place] for row in part], high=place < 2)
        for part in (now, whole)
        for place in range(3)
    ]
    head = "".join(f"<th class='n'>{name}</th>" for name in ("S<sub>f</sub>", "S<sub>p</sub>", "gap") * 2)
    body = ""
    for number, (name, _, _) in enumerate(rows):
        dot = f"<i style='background:rgb{rgb_of(name)}'></i>"
        values = "".join(f"<td class='n'>{column[number]}</td>" for column in columns)
        body += f"<tr><td>{dot}{text(METHODS[name].short or title_of(name))}</td>{values}</tr>"
    return (
        f"{_STYLE}<table class='s2h'><tr><th></th><th colspan=3>now</th><th colspan=3>whole motion</th></tr>"
        f"<tr class='h'><th></th>{head}</tr>{body}</table>"
    )


_STYLE = """<style>
.s2h{width:calc(100% - 26px);margin:4px 16px 4px 10px;border-collapse:collapse;font-size:11.5px;line-height:1.6;
  font-variant-numeric:tabular-nums}
.s2h th{font-weight:600;text-align:center} .s2h tr.h th{font-weight:400;opacity:.6}
.s2h td{white-space:nowrap;padding:1px 0} .s2h .n{text-align:right!important;padding-left:5px}
.s2h i{display:inline-block;width:9px;height:9px;border-radius:5px;margin-right:5px}
</style>"""


def _ranked(values: list[float | None], high: bool) -> list[str]:
    known = [value for value in values if value is not None and not np.isnan(value)]
    best = (max if high else min)(known) if known else None

    def shown(value: float | None) -> str:
        if value is None or np.isnan(value):
            return "…" if value is None else "–"
        digits = f"{value:.{3 if high else 2}f}"
        return f"<b>{digits}</b>" if value == best else digits

    return [shown(value) for value in values]
