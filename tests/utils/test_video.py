"""Films: read back and compared in size, number, colours and format."""

from __future__ import annotations

import os

import av
import numpy as np
import pytest
from PIL import Image

from utils import video
from utils.errors import InputError
from utils.video import read_mp4, write_film

COLORS = [(250, 127, 111), (30, 158, 90), (214, 40, 57), (255, 255, 255), (20, 30, 200)]


def frames(count: int = 5, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Pictures with a field of another colour each, and a black corner."""
    made = []
    for number in range(count):
        picture = np.full((height, width, 3), COLORS[number % len(COLORS)], dtype=np.uint8)
        picture[:16, :16] = 0
        made.append(picture)
    return made


def test_mp4_is_what_browsers_play(tmp_path):
    path, given = tmp_path / "film.mp4", frames()
    write_film(path, iter(given), 5)
    found = read_mp4(path)
    assert found.shape == (5, 48, 64, 3)
    # Away from edges, H.264 at this quality keeps colours within a few levels.
    difference = np.abs(found[:, 24:, 32:].astype(int) - np.stack(given)[:, 24:, 32:])
    assert difference.max() <= 6
    assert found[:, 2:12, 2:12].max() <= 6
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, float(stream.average_rate)) == ("h264", "yuv420p", 5.0)
        assert stream.codec_context.colorspace == 1 and stream.codec_context.color_range == 1
        assert float(container.duration / av.time_base) == pytest.approx(1.0)
    content = path.read_bytes()
    assert 0 < content.find(b"moov") < content.find(b"mdat"), "the index comes first, so that playing starts at once"


@pytest.mark.parametrize("fps", [0.5, 23.976, 120])
def test_any_rate(tmp_path, fps):
    write_film(tmp_path / "film.mp4", frames(3), fps)
    with av.open(str(tmp_path / "film.mp4")) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(fps, rel=1e-3)


def test_gif_repeats_and_keeps_colours(tmp_path):
    write_film(tmp_path / "film.gif", frames(), 5)
    with Image.open(tmp_path / "film.gif") as film:
        assert (film.n_frames, film.size, film.info["duration"], film.info["loop"]) == (5, (64, 48), 200, 0)
        for number in range(5):
            film.seek(number)
            assert np.abs(np.array(film.convert("RGB").getpixel((50, 40))) - COLORS[number]).max() <= 8


@pytest.mark.parametrize(("height", "width", "shape"), [(48, 64, (6 * 48, 64)), (64, 48, (64, 6 * 48))])
def test_png_shows_six_frames_spread_evenly(tmp_path, height, width, shape):
    given = [np.full((height, width, 3), 10 * number, dtype=np.uint8) for number in range(21)]
    write_film(tmp_path / "film.png", given, 5)
    with Image.open(tmp_path / "film.png") as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape == (*shape, 3)
    along = pixels[::height, 0, 0] if height < width else pixels[0, ::width, 0]
    assert along.tolist() == [0, 40, 80, 120, 160, 200]


def test_bad_requests_leave_nothing_behind(tmp_path):
    with pytest.raises(InputError, match="expected one of mp4, gif, png, found 'avi'"):
        write_film(tmp_path / "film.avi", frames(), 5)
    with pytest.raises(ValueError, match="even width"):
        write_film(tmp_path / "film.mp4", frames(1, 47, 64), 5)
    for kind in video.FORMATS:
        with pytest.raises(ValueError, match="at least one frame"):
            write_film(tmp_path / f"film.{kind}", [], 5)

    def broken():
        yield frames(1)[0]
        raise RuntimeError("drawing failed")

    for kind in video.FORMATS:
        with pytest.raises(RuntimeError, match="drawing failed"):
            write_film(tmp_path / f"film.{kind}", broken(), 5)
    assert os.listdir(tmp_path) == []


def test_without_the_package_one_line_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "av", None)
    with pytest.raises(InputError, match="pip install 'av"):
        write_film(tmp_path / "film.mp4", frames(), 5)
    write_film(tmp_path / "film.gif", frames(), 5)
