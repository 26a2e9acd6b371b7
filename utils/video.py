"""Films and picture sheets from frames (height, width, 3) uint8; each file appears complete or not at all.

MP4 holds H.264 with yuv420p pixels, its index in front: what every browser, editor and presentation plays. It is made
by PyAV, whose wheel brings its own FFmpeg (36 MB; imageio-ffmpeg's brings a whole program, 68 MB, and cannot read a
film back). GIF and PNG are Pillow's.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from utils.choices import FILM_FORMATS as FORMATS
from utils.errors import InputError
from utils.files import atomic_write

try:
    import av
except ImportError:  # said when a film is asked for: everything else works without it
    av = None

_BT709 = 1  # the number of this colour space, its primaries and its curve in H.264
_FULL_SHEET = 6  # frames in a picture sheet, at most
_COMMON, _RARE = 160, 64  # colours of a GIF for what is frequent, and for what that does not fit
_MISFIT = 20


def check_format(name: str) -> None:
    """Raise InputError if films of this format cannot be written."""
    if name not in FORMATS:
        raise InputError(f"`format`: expected one of {', '.join(FORMATS)}, found {name!r}")
    if name == "mp4" and av is None:
        raise InputError("`format` mp4 needs the package av: pip install 'av>=18,<19' (or choose `format` gif)")


def write_film(path: str | Path, frames: Iterable[np.ndarray], fps: float) -> None:
    """Write frames, all of one size, in the format of the path's suffix: .mp4, .gif or .png.

    Frames may come from a generator; MP4 keeps none of them. A PNG shows up to six frames, evenly spread, in a column
    if they are wide and in a row if they are tall.

    Raises:
        InputError: the format is unknown or the package for it is missing, or the folder cannot be written to.
        ValueError: there are no frames, or MP4 frames have an odd width or height.
    """
    path = Path(path)
    kind = path.suffix.removeprefix(".")
    check_format(kind)
    with atomic_write(path) as temporary:
        {"mp4": _write_mp4, "gif": _write_gif, "png": _write_sheet}[kind](temporary, frames, fps)


def read_mp4(path: str | Path) -> np.ndarray:
    """All frames of a film, (frames, height, width, 3) uint8."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def _write_mp4(path: Path, frames: Iterable[np.ndarray], fps: float) -> None:
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = None
        for picture in frames:
            if stream is None:
                stream = _h264_stream(container, picture, fps)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            # Untagged films are taken for one colour space or another by their size; so it is said.
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709")
            container.mux(stream.encode(frame))
        if stream is None:
            raise ValueError("a film needs at least one frame")
        container.mux(stream.encode())


def _h264_stream(container, picture: np.ndarray, fps: float):
    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        raise ValueError(f"frames of a film must have an even width and height; got {width} x {height}")
    stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.options = {"crf": "18", "preset": "veryfast", "tune": "animation"}
    context = stream.codec_context
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = 1  # limited, as yuv420p has it
    context.thread_count = 1  # films are written side by side
    return stream


def _write_gif(path: Path, frames: Iterable[np.ndarray], fps: float) -> None:
    pictures = [Image.fromarray(frame) for frame in frames]
    if not pictures:
        raise ValueError("a film needs at least one frame")
    # One palette for all frames, from some of them: colours do not flicker, and the file is small.
    some = pictures[:: max(1, len(pictures) // _FULL_SHEET)]
    palette = _palette(np.concatenate([np.asarray(picture).reshape(1, -1, 3) for picture in some], axis=1))
    drawn = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    delay = max(20, round(100 / fps) * 10)  # in hundredths of a second; browsers slow down what is faster than 20 ms
    drawn[0].save(
        path, format="GIF", save_all=True, append_images=drawn[1:], duration=delay, loop=0, optimize=True, disposal=1
    )


def _palette(pixels: np.ndarray) -> Image.Image:
    """A palette for pixels (1, N, 3): most of it by how often colours occur, the rest for those that fit worst, so
    that a few pixels of a strong colour (marks on fingertips) keep it."""
    common = Image.fromarray(pixels).quantize(_COMMON, dither=Image.Dither.NONE)
    colors = np.array(common.getpalette()[: 3 * _COMMON]).reshape(-1, 3)
    missed = np.abs(pixels.astype(int) - colors[np.asarray(common)]).max(-1)[0] > _MISFIT
    if missed.any():
        rare = Image.fromarray(pixels[:, missed]).quantize(_RARE, dither=Image.Dither.NONE)
        colors = np.concatenate([colors, np.array(rare.getpalette()[: 3 * _RARE]).reshape(-1, 3)])
    holder = Image.new("P", (1, 1))
    holder.putpalette(colors.astype(np.uint8).tobytes())
    return holder


def _write_sheet(path: Path, frames: Iterable[np.ndarray], fps: float) -> None:
    kept = list(frames)
    if not kept:
        raise ValueError("a picture needs at least one frame")
    chosen = np.unique(np.linspace(0, len(kept) - 1, min(len(kept), _FULL_SHEET)).round().astype(int))
    _sheet([kept[number] for number in chosen]).save(path, format="PNG", optimize=True)


def _sheet(pictures: list[np.ndarray]) -> Image.Image:
    height, width = pictures[0].shape[:2]
    return Image.fromarray(np.concatenate(pictures, axis=0 if width > height else 1))
