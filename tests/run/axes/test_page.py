"""The annotation page in a browser, from the command line to the saved file."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from data.axes.annotation import Annotation
from data.axes.estimate import estimate_axes
from data.axes.evidence import degrees_between
from data.axes.files import read_finger_axes
from data.character.reading import read_mesh_character
from model.topology import MIDDLE, RING
from run.axes.page import AnnotationPage
from run.calculate_mixamo_axis import calculate
from utils.errors import InputError

pytest.importorskip("viser", reason="viser is not installed (pip install 'viser>=1.1,<2')")
ROOT = Path(__file__).parents[3]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--window-size=1300,900",
)  # fmt: skip
PATIENCE = 60
"""Seconds after which a page or a file that has not come will not come."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def mesh(golden, tmp_path):
    return shutil.copy(golden / "inputs" / "Aj_mesh_data.npz", tmp_path)


@pytest.fixture
def browser(tmp_path):
    """A headless Chromium."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    if not (CHROMIUM and DRIVER):
        pytest.skip("no chromium and chromedriver found (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@contextmanager
def served(mesh, output):
    """The tool with its page; gives the process and the page's address."""
    command = [sys.executable, "-u", "-m", "run.calculate_mixamo_axis", "--mesh_data", str(mesh), "--output",
               str(output), "--annotate", "--port", str(free_port())]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if found := re.search(r"open (http://\S+) in a browser", line):
                break
        else:
            pytest.fail("the tool printed no address:\n" + "".join(lines))
        yield process, found[1]
    finally:
        process.terminate()
        process.wait(PATIENCE)


class Page:
    """The page, as a user sees it."""

    def __init__(self, driver, url):
        self.driver = driver
        driver.get(url)
        self.until("Accept (y)")

    @property
    def text(self) -> str:
        return self.driver.execute_script("return document.body.innerText")

    def until(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while text not in self.text:
            assert time.monotonic() < deadline, f"expected {text!r} on the page, found {self.text!r}"
            time.sleep(0.1)

    def press(self, key: str) -> None:
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(key).perform()

    def click(self, label: str) -> None:
        buttons = self.driver.find_elements("tag name", "button")
        next(button for button in buttons if button.text == label).click()
        self.driver.execute_script("document.activeElement.blur()")


@pytest.mark.slow
def test_keys_and_buttons_annotate_save_and_resume(mesh, browser, tmp_path):
    output = tmp_path / "Aj_finger_axis.pkl"
    start = estimate_axes(read_mesh_character(mesh).hand("right").bare).axes
    with served(mesh, output) as (process, url):
        page = Page(browser, url)
        page.until("Aj: right middle")
        for key, shown in ((".", "+1°"), (".", "+2°"), (".", "+3°"), (",", "+2°")):
            page.press(key)
            page.until(f"turned {shown}")
        page.press("y")
        page.until("1 of 10 accepted")
        page.until("Aj: right ring")
        stored = read_finger_axes(output)["right"]
        assert degrees_between(stored[MIDDLE, 2, 2], start[MIDDLE, 2, 2]) == pytest.approx(2, abs=1e-6)
        page.click("Next finger (n)")
        page.until("Aj: right pinky")
        page.press("b")
        page.until("Aj: right ring")
        page.press(",")
        page.until("turned -1°")
        page.click("Accept (y)")
        page.until("2 of 10 accepted")
        process.kill()
    with served(mesh, output) as (process, url):
        page = Page(browser, url)
        page.until("2 of 10 accepted")
        page.until("Aj: right pinky")
        page.press("q")
        assert process.wait(PATIENCE) == 0
        assert "2 of 10 fingers accepted; the other 8 keep the estimate" in " ".join(process.stdout.read().split())
    stored = read_finger_axes(output)["right"]
    for finger, degrees in ((MIDDLE, 2), (RING, 1)):
        assert degrees_between(stored[finger, 2, 2], start[finger, 2, 2]) == pytest.approx(degrees, abs=1e-6)
    np.testing.assert_allclose(stored[2:], start[2:], atol=1e-9)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".Aj")]


@pytest.fixture
def page(mesh, tmp_path):
    """The page's server in this process."""
    estimates = [estimate_axes(read_mesh_character(mesh).hand(side).bare) for side in ("right", "left")]
    session = Annotation(
        estimates, tmp_path / "axes.npz", lambda axes: {f"{s[0]}hand": a for s, a in axes.items()}, ""
    )
    page = AnnotationPage(session, "Aj", "127.0.0.1", free_port())
    yield page
    page.close()


def test_a_slider_turns_its_finger_and_chooses_it(page):
    task = page.session.tasks[7]
    page._sliders[task].value = 12.5
    deadline = time.monotonic() + PATIENCE
    while page.session.degrees(task) != 12.5 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert page.session.degrees(task) == 12.5 and page.session.current == task


def test_a_failed_save_is_shown_and_nothing_is_accepted(page, monkeypatch):
    def full():
        raise OSError("no space left on device")

    told = []
    monkeypatch.setattr(page.session, "save", full)
    monkeypatch.setattr(page, "_notify", told.append)
    page._do(page._accept)
    page._do(page._finish)
    assert told == ["no space left on device"] * 2
    assert page.session.progress[0] == 0 and not page.finished.is_set()


def test_ports(page, mesh, tmp_path):
    for host, port, option in (("127.0.0.1", 99999, "`port`"), ("192.0.2.1", 8080, "`host`")):
        with pytest.raises(InputError, match=option):
            AnnotationPage(page.session, "Aj", host, port)
    other = AnnotationPage(page.session, "Aj", "127.0.0.1", page.port)
    assert other.port != page.port
    other.close()


def test_one_character_at_a_time(golden):
    with pytest.raises(InputError, match="expected one mesh file"):
        calculate(["--mesh_data", str(golden / "inputs"), "--annotate"])
