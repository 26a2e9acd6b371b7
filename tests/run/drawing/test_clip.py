"""Frames of clips: one scale, even sizes, captions, marks on fingertips."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageColor

from run.drawing.clip import Clip, Track
from run.drawing.figure import HandCell
from run.drawing.render import CLOSED, OPEN

BOX = np.array([[x, y, z] for x in (-2.0, 0.0) for y in (-0.2, 0.2) for z in (-0.5, 0.5)])
FACES = np.array([[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
                  [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]])  # fmt: skip


def track(
    frames: int = 2, scale: float = 1.0, title: str = "ASRN", caption: str = "S 0.9", touches=(), color="#3060C0"
):
    """A hand that is a box, two palm lengths long."""
    cell = HandCell(scale * BOX, FACES, scale, caption, touches, color=color)
    return Track([cell] * frames, title, "Somebody" if title else "")


def count(picture: np.ndarray, color: str) -> int:
    """Pixels of exactly this colour."""
    return int((picture == np.array(ImageColor.getrgb(color))).all(-1).sum())


def test_every_frame_has_the_shape_that_is_said_and_even_sides():
    clip = Clip([track(3), track(3, title="Source")], size=95, title="a title")
    pictures = list(clip)
    assert len(clip) == len(pictures) == 3
    for picture in pictures:
        assert picture.shape == clip.shape and picture.dtype == np.uint8
        assert clip.shape[0] % 2 == clip.shape[1] % 2 == 0
    # Only the clock and the bar of the title move, in a hand that does not.
    changed = (pictures[0] != pictures[2]).any(-1).any(1).nonzero()[0]
    assert changed.max() < 40


def test_hands_have_equal_palms_and_nothing_is_cut_off():
    clip = Clip([track(1, 1.0, "", ""), track(1, 9.0, "", "")], size=128, views=("palm",))
    picture = clip.frame(0)
    half = picture.shape[1] // 2
    small, large = picture[:, :half], picture[:, half:]
    np.testing.assert_array_equal(small, large)
    dark = (small < 250).any(-1)
    assert dark.any(0).sum() > 20 and dark.any(1).sum() > 60
    assert not dark[:2].any() and not dark[-2:].any() and not dark[:, :2].any() and not dark[:, -2:].any()


def test_one_scale_over_time():
    moving = Track([HandCell(BOX, FACES), HandCell(0.5 * BOX, FACES)])
    tall, short = ((Clip([moving], size=128, views=("palm",)).frame(i) < 250).any(-1).any(1).sum() for i in (0, 1))
    assert short == pytest.approx(tall / 2, abs=2)


def test_films_that_are_compared_have_one_size():
    small, large = track(1, caption=""), Track([HandCell(1.7 * BOX, FACES, caption="S 0.9")], "ASRN")
    one, other = (Clip([single], size=96, fit=[small, large]) for single in (small, large))
    assert one.shape == other.shape == one.frame(0).shape
    heights = [(clip.frame(0)[40:] < 200).any(-1).any(1).sum() for clip in (one, other)]
    assert heights[0] < heights[1]


def test_clips_above_each_other_line_up_at_the_same_scale():
    clip = Clip([track(1), track(1)], size=96, views=("palm",))
    wide = clip.widened(clip.panel_width + 31)
    assert wide.shape == (clip.shape[0], clip.shape[1] + 64, 3) == wide.frame(0).shape
    assert count(wide.frame(0), "#FFFFFF") > count(clip.frame(0), "#FFFFFF")
    rows = [(one.frame(0)[40:90] < 200).any(-1).any(1).sum() for one in (clip, wide)]
    assert rows[0] == rows[1] and clip.widened(2).shape == clip.shape


def test_a_note_stands_below_all_and_finds_room():
    plain, noted = (Clip([track(1)], size=96, note=note) for note in ("", "a long note " * 5))
    more = noted.shape[0] - plain.shape[0]
    assert more > 10 and more % 2 == 0
    np.testing.assert_array_equal(noted.frame(0)[:-more], plain.frame(0))
    below = (noted.frame(0)[-more:] < 200).any(-1)
    assert below.any() and not below[:, :2].any() and not below[:, -2:].any()


def test_fingertips_that_meet_are_green_and_others_red_with_a_line():
    tips = np.array([-1.9, 0.0, 0.3]), np.array([-1.9, 0.0, -0.3])
    seen = {}
    for closed in (True, False):
        picture = Clip([track(1, touches=[(*tips, closed)])], size=320, views=("palm", "back")).frame(0)
        seen[closed] = count(picture, CLOSED), count(picture, OPEN)
    assert seen[True][0] > 40 and seen[True][1] == 0
    assert seen[False][0] == 0 and seen[False][1] > seen[True][0], "the line comes on top"


def test_long_titles_are_cut_and_odd_letters_do_no_harm():
    clip = Clip([track(1, title="An extraordinarily long name of a method → §☃")], size=96, title="⚑ " + 30 * "long ")
    assert clip.frame(0).shape == clip.shape


def test_parts_that_are_not_finite_are_left_out():
    broken = np.where(np.arange(8)[:, None] == 0, np.nan, BOX)
    clip = Clip([Track([HandCell(broken, FACES)])], size=96)
    assert (clip.frame(0) < 250).any()


@pytest.mark.parametrize("tracks", [[], [Track([])], [track(2), track(3)]])
def test_tracks_must_be_equally_long(tracks):
    with pytest.raises(ValueError, match="equally many frames"):
        Clip(tracks)
