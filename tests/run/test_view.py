"""`python -m run.view`: its options, and the page itself in headless Chromium (skipped where there is none)."""

from __future__ import annotations

import colorsys
import http.server
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageColor

from data.formats.bvh import read_bvh
from data.open_hands.build import Plan, build
from model.asrn import ASRN
from model.dm import DM
from run.drawing.render import color_of
from tests.run.conftest import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--use-gl=angle", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--window-size=1100,700",
)  # fmt: skip
PATIENCE = 60.0  # seconds; graphics are computed in software here


@pytest.fixture(scope="session")
def view_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a small data set and a checkpoint of each method."""
    folder = tmp_path_factory.mktemp("view")
    seconds = {"train": (3.0, 3.0), "val": (3.0, 3.0), "test_inside": (3.0, 3.0), "test_outside": (6.0, 6.0)}
    build(folder / "open", Plan("right", 7, seconds, most=1))
    torch.manual_seed(0)
    for cls in (ASRN, DM):
        network = cls(hidden_channel=8, static_hidden_channel=8)
        content = {"state_dict": network.state_dict(), "hyper_parameters": dict(network.hparams)}
        torch.save(content, folder / f"{cls.method}.ckpt")
    return folder


@pytest.mark.parametrize(
    "words, message",
    [
        (["--data_path", "nowhere"], "run.build_open_hands"),
        (["--data_path", "open", "--asrn", "nowhere.ckpt"], "nowhere.ckpt"),
        (["--data_path", "open", "--asrn", "dm.ckpt"], "expected a checkpoint of ASRN, found one of DM"),
        (["--data_path", "open", "--asrn", "asrn.ckpt", "--side", "left"], "expected a checkpoint of the left hand"),
        (["--data_path", "open", "--demo"], "make demo"),
        (["--data_path", "open", "--port", "70000"], "--port 70000"),
        (["--data_path", "open", "--side", "left"], "left hand"),
    ],
)
def test_what_cannot_be_shown_is_told_in_a_line(view_world, program, monkeypatch, words, message):
    monkeypatch.chdir(view_world)
    outcome = program("run.view", *words)
    assert outcome.code == 2 and message in outcome.err and "Traceback" not in outcome.err


def test_a_taken_port_is_told(view_world, program, monkeypatch):
    monkeypatch.chdir(view_world)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        outcome = program("run.view", "--data_path", "open", "--port", str(port))
    assert outcome.code == 2 and f"127.0.0.1:{port}: cannot listen there" in outcome.err


class Browser:
    """A headless Chromium on the page; looks things up by the texts that people see."""

    def __init__(self, url: str, downloads: Path, profile: Path) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        self.driver.get(url)

    def until(self, what, message: str):
        """Wait for something true."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = what()
            if found:
                return found
            time.sleep(0.2)
        raise AssertionError(f"waited for {message} in vain; the page says: {self.text()[:2000]}")

    def text(self) -> str:
        return self.driver.execute_script("return document.body ? document.body.innerText : ''")

    def sees(self, text: str) -> None:
        self.until(lambda: text in self.text(), repr(text))

    def press(self, text: str) -> None:
        script = "const b=[...document.querySelectorAll('button')].find(b=>b.innerText.trim()===arguments[0]);" \
                 "if(b)b.click();return !!b"  # fmt: skip
        self.until(lambda: self.driver.execute_script(script, text), f"the button {text!r}")

    def value(self, label: str) -> str:
        """Of the text field in the row of a label."""
        return self.driver.execute_script(_FIELD + "return field.value", label)

    def pick(self, label: str, option: str) -> None:
        """Choose from a drop-down list as a user does."""
        self.driver.execute_script(_FIELD + "field.click();", label)
        script = "const o=[...document.querySelectorAll('[role=option]')].find(o=>o.innerText.trim()===arguments[0]" \
                 "&&o.offsetParent);if(o)o.click();return !!o"  # fmt: skip
        self.until(lambda: self.driver.execute_script(script, option), f"the option {option!r}")

    def hand_over(self, path: Path) -> None:
        self.driver.find_element("css selector", "input[type=file]").send_keys(str(path))

    def stands(self, left: str, right: str) -> bool:
        """Whether hands of the colours of two methods are seen beside each other: the picture is upright."""
        with Image.open(io.BytesIO(self.driver.get_screenshot_as_png())) as picture:
            hue, saturation, _ = np.moveaxis(np.asarray(picture.convert("HSV"), dtype=float), -1, 0)
        scene = np.arange(hue.shape[1]) / hue.shape[1]  # between the panels
        places = []
        for name in (left, right):
            wanted = colorsys.rgb_to_hsv(*np.divide(ImageColor.getrgb(color_of(name)), 255))[0] * 255
            seen = (abs(hue - wanted) < 8) & (saturation > 50) & (scene > 0.25) & (scene < 0.78)
            if seen.sum() < 200:
                return False
            places.append(np.median(np.nonzero(seen), axis=1))
        (y1, x1), (y2, x2) = places
        return x2 - x1 > 4 * abs(y2 - y1)

    def requests(self) -> set[str]:
        """Where the page has fetched anything from since it was asked last."""
        found = set()
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                found.add(message["params"]["request"]["url"])
        return found


# The label's element and the field share a small ancestor.
_FIELD = """
let node=[...document.querySelectorAll('label, div')].find(e=>e.children.length===0 && e.innerText===arguments[0]);
let field=null; while(node && !(field=node.querySelector('input:not([type=hidden]):not([type=file])')))
  node=node.parentElement;
"""


@pytest.fixture
def page(view_world: Path, tmp_path: Path):
    """The program running, and a browser on its page."""
    pytest.importorskip("viser", reason="viser is not installed")
    pytest.importorskip("selenium", reason="selenium is not installed")
    if not CHROMIUM or not DRIVER:
        pytest.skip("no Chromium with its driver here (Debian: apt-get install chromium chromium-driver)")
    words = ["--data_path", "open", "--asrn", "asrn.ckpt", "--dm", "dm.ckpt", "--port", "0"]
    command = [sys.executable, "-u", "-m", "run.view", *words]
    private = tmp_path / "private"
    private.mkdir()
    with subprocess.Popen(
        command,
        cwd=view_world,
        env=_environment() | {"TMPDIR": str(private)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        browser = None
        try:
            lines = iter(process.stdout.readline, "")
            url = next(line for line in lines if "http://" in line).split()[1]
            browser = Browser(url, tmp_path, tmp_path / "profile")
            yield browser, process
        finally:
            if browser is not None:
                browser.driver.quit()
            process.terminate()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def test_the_page_from_loading_to_a_bad_file(page, view_world, tmp_path):
    browser, process = page
    browser.sees("whole motion")
    for name in ("Rotation copy", "DM", "ASRN"):
        browser.sees(name)
    # Every method is worked out for the whole motion: no dots are left in the table.
    browser.until(lambda: "…" not in browser.text(), "all figures")
    canvas = browser.driver.find_element("css selector", "canvas")
    assert canvas.size["width"] > 100 and canvas.size["height"] > 100
    browser.until(lambda: browser.stands("rotation_copy", "tbs_copy"), "the copies to stand side by side")

    # It plays: the time goes on, and stops.
    assert float(browser.value("seconds")) == 0
    browser.press("Play")
    browser.until(lambda: float(browser.value("seconds")) > 0.3, "the time to go on")
    browser.press("Pause")
    browser.press("next")
    time.sleep(1.0)
    standing = browser.value("seconds")
    assert 0 < float(standing) <= 6
    time.sleep(1.0)
    assert browser.value("seconds") == standing

    # Another target, of the other kind: other sliders.
    browser.sees("shape 10")
    browser.pick("target", "HandInside0")
    browser.sees("palm width")
    browser.until(lambda: "shape 10" not in browser.text(), "the sliders to change")

    # A download is the target's motion, read back.
    browser.press("Download")
    written = tmp_path / "HandInside0_clip_asrn.bvh"
    browser.until(written.is_file, "the file")
    source = read_bvh(view_world / "open" / "HandLong0" / "clip.bvh")
    assert read_bvh(written).n_frames == source.n_frames

    # A bad file is told of, and all goes on; a good one becomes the source.
    bad = tmp_path / "broken.bvh"
    bad.write_text("HIERARCHY\nROOT hips\n{\n")
    browser.hand_over(bad)
    browser.sees("broken.bvh: expected a line MOTION")
    good = tmp_path / "mine.bvh"
    shutil.copy(view_world / "open" / "ManoLong0" / "clip.bvh", good)
    browser.hand_over(good)
    browser.sees("frames at 5 per second")
    browser.until(lambda: browser.value("source") == "mine", "the new source")
    browser.press("Play")
    browser.until(lambda: float(browser.value("seconds")) > 0.3, "the time to go on")

    elsewhere = {url for url in browser.requests() if url.startswith("http") and "//localhost:" not in url}
    assert not elsewhere  # no network is needed
    assert process.poll() is None


# A page of another program on this machine tries to get at ours, as any page on the web could.
_THIEF = """
<body>waiting<script>
const s = new WebSocket("ws://localhost:PORT", "viser-vVERSION");
s.binaryType = "arraybuffer";
s.onmessage = () => { document.body.innerText = "robbed"; };
s.onclose = s.onerror = () => { if (document.body.innerText != "robbed") document.body.innerText = "turned away"; };
</script>
"""


def test_another_page_gets_nothing_and_visitors_are_alone(page, tmp_path, view_world):
    import viser

    browser, process = page
    browser.sees("whole motion")
    own = browser.driver.current_url
    port = own.split(":")[-1].strip("/")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(_THIEF.replace("PORT", port).replace("VERSION", viser.__version__).encode())

        def log_message(self, *_) -> None:
            """Quietly."""

    shutil.copy(view_world / "open" / "ManoLong0" / "clip.bvh", tmp_path / "secret.bvh")
    browser.hand_over(tmp_path / "secret.bvh")
    browser.until(lambda: browser.value("source") == "secret", "the new source")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as thief:
        threading.Thread(target=thief.serve_forever, daemon=True).start()
        browser.driver.switch_to.new_window("tab")
        browser.driver.get(f"http://localhost:{thief.server_port}/")
        browser.sees("turned away")
        assert "robbed" not in browser.text()
        thief.shutdown()
    # A second visitor has the data set's hands, and nothing of the first one's.
    browser.driver.get(own)
    browser.sees("whole motion")
    browser.until(lambda: browser.value("source"), "a source")
    assert browser.value("source") == "HandLong0"
    (file,) = (tmp_path / "private").glob("s2h_view_*/*.bvh")
    browser.driver.close()
    browser.driver.switch_to.window(browser.driver.window_handles[0])
    assert browser.value("source") == "secret"
    browser.driver.switch_to.new_window("tab")
    browser.driver.switch_to.window(browser.driver.window_handles[0])
    browser.driver.close()  # the first visitor leaves
    browser.driver.switch_to.window(browser.driver.window_handles[0])
    browser.until(lambda: not file.exists(), "its file to go")
    assert process.poll() is None
