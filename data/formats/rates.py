"""Which frame rates are believed: a motion at 0.001 frames per second would last for hours and fill the memory."""

from __future__ import annotations

from utils.errors import InputError

SLOWEST, FASTEST = 0.1, 10000.0
"""Frames per second."""
_ROUNDING = 1e-6
_WRITTEN = 5e-5
"""Exporters write a frame time with four digits or more."""


def is_rate(rate: float) -> bool:
    """Whether motions run at such a rate. False for what is no number."""
    return SLOWEST * (1 - _ROUNDING) <= rate <= FASTEST * (1 + _ROUNDING)


def check_rate(rate: float, where: str, remedy: str = "correct it") -> float:
    """Give back a rate, frames per second.

    Raises:
        InputError: motions do not run at such a rate; `where` and `remedy` are part of the message.
    """
    if not is_rate(rate):
        raise InputError(f"{where}: expected {SLOWEST:g} to {FASTEST:g} frames per second, found {rate:g}; {remedy}")
    return rate


def check_frame_time(seconds: float, where: str, remedy: str = "correct it") -> float:
    """Give back the seconds from frame to frame; 0, where a file does not tell them, too.

    Raises:
        InputError: as :func:`check_rate`.
    """
    if seconds != 0 and not (seconds > 0 and is_rate(1 / seconds)):
        least, most = 1 / FASTEST, 1 / SLOWEST
        raise InputError(
            f"{where}: expected a frame time of {least:g} to {most:g} seconds, found {seconds:g}; {remedy}"
        )
    return seconds


def rate_of(frame_time: float) -> float | None:
    """Frames per second; 30 for a frame time of 0.033333, as exporters round it. None if there is none."""
    if not frame_time > 0:
        return None
    rate = 1 / frame_time
    whole = round(rate)
    return float(whole) if abs(rate - whole) < _WRITTEN * rate else rate
