"""Rows of numbers as text, read and written in compiled code wherever that is exact."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from utils.errors import InputError

try:
    import orjson
except ImportError:  # in Blender's own Python, which has only NumPy
    orjson = None

_EXACT = 2.0**50
"""Scaled values below this are rounded to the right whole number in double precision."""
_DIGITS = 15
"""Whole numbers of so many digits are exact in double precision."""
_READ_BLOCK = 1 << 18
"""Bytes of numbers read at once: what is made of them on the way fits in the processor's cache."""


def parse_rows(body: bytes, n_channels: int, path: Path, line: int, frame: int = 0) -> np.ndarray:
    """Text → (F, n_channels) finite numbers, one row a line; blank lines do not count.

    Args:
        body: the text, with ``\\n`` at the ends of lines.
        n_channels: numbers in a row, at least 1.
        path: the file that the text is from, for the error message.
        line: number of the line of that file in which the text begins, for the error message.
        frame: number of the first row, for the error message.

    Raises:
        InputError: a word is not a finite number, or a row has another count of them; the message names the line.
    """
    if not body or body.isspace():
        return np.empty((0, n_channels))
    values = _parse_fixed(body, n_channels)
    if values is None and orjson is not None:
        values = _parse_quickly(orjson.loads, body, n_channels)
    if values is None:
        try:
            # NumPy's own reader splits, counts columns and converts in compiled code.
            values = np.loadtxt(io.BytesIO(body), dtype=np.float64, comments=None, ndmin=2)
        except ValueError as error:
            raise _explain_values(path, body, line, n_channels, frame) from error
    if values.shape[1] != n_channels or not np.isfinite(values).all():
        raise _explain_values(path, body, line, n_channels, frame)
    return values


def _parse_fixed(body: bytes, n_channels: int) -> np.ndarray | None:
    """(F, n_channels) numbers that all have as many decimals, as `format_rows` writes them: each is the whole number
    of its digits, divided by a power of ten, which is the double nearest to the text.

    None if the text is anything else: other blanks, other numbers, more digits than a double holds.
    """
    first = re.match(rb"-?[0-9]+\.([0-9]+)[ \n]", body)
    decimals = len(first[1]) if first else _DIGITS
    if decimals >= _DIGITS:
        return None
    if body[-1:] != b"\n" or body[-2:] == b"\n\n":
        body = body.rstrip(b"\n") + b"\n"
    blocks, start = [], 0
    while start < len(body):
        end = body.find(b"\n", start + _READ_BLOCK) + 1 or len(body)
        block = _fixed_block(np.frombuffer(body, np.uint8, end - start, start), decimals, n_channels)
        if block is None:
            return None
        blocks.append(block)
        start = end
    return np.concatenate(blocks)


def _fixed_block(text: np.ndarray, decimals: int, n_channels: int) -> np.ndarray | None:
    points = np.flatnonzero(text == ord("."))
    ends = points + decimals + 1
    if len(points) == 0 or len(points) % n_channels or ends[-1] != len(text) - 1:
        return None
    begins = np.concatenate([[0], ends[:-1] + 1])
    negative = text[begins] == ord("-")
    whole = points - begins - negative
    digits = text - np.uint8(ord("0"))  # what is no digit becomes more than 9
    blanks = text[ends].reshape(-1, n_channels)
    plain = (digits > 9).sum() == 2 * len(points) + negative.sum() and (begins <= points).all()
    if not (plain and (blanks[:, :-1] == ord(" ")).all() and (blanks[:, -1] == ord("\n")).all()):
        return None
    longest = int(whole.max())
    if longest + decimals > _DIGITS or whole.min() < 1:
        return None
    kind = np.int32 if longest + decimals < 10 else np.int64
    number = np.zeros(len(points), kind)
    for place in range(longest, -decimals - 1, -1):  # the point itself is place 0
        if place:
            digit = digits.take(points - place, mode="clip")
            number *= kind(10)
            number += digit if place <= 1 else np.where(whole >= place, digit, 0).astype(np.uint8)
    values = number / 10.0**decimals
    return np.where(negative, -values, values).reshape(-1, n_channels)


def _parse_quickly(loads: Callable[[bytes], list], body: bytes, n_channels: int) -> np.ndarray | None:
    """(F, n_channels) numbers by way of a JSON reader, to the last digit as NumPy reads them but three times as fast.

    None if the text is not rows of n_channels JSON numbers with single blanks between. Numbers like ``.5``, ``+1``
    or ``007``, indented rows and blank lines are right in a BVH file all the same: NumPy reads those.
    """
    body = body.replace(b"\t", b" ").replace(b" \n", b"\n").strip(b" \n") + b"\n"
    blocks, start = [], 0
    while start < len(body):
        end = body.find(b"\n", start + _READ_BLOCK) + 1 or len(body)
        text = body[start:end]
        start = end
        characters = np.frombuffer(text, np.uint8)
        separators = np.flatnonzero(characters <= ord(" "))
        row_ends = characters[separators] == ord("\n")
        # Each n-th separator ends a row and no other does.
        if len(separators) % n_channels or row_ends.sum() * n_channels != len(separators):
            return None
        if b"-0 " in text or b"-0\n" in text:
            return None  # a whole number to JSON, which has no sign for 0
        # Only these characters: so the JSON below holds numbers, and no text, lists or null.
        if not row_ends[n_channels - 1 :: n_channels].all() or text.translate(None, b"0123456789+-.eE \n"):
            return None
        try:
            numbers = loads(b"[%b]" % text[:-1].replace(b"\n", b",").replace(b" ", b","))
        except ValueError:
            return None
        blocks.append(np.fromiter(numbers, np.float64, len(separators)).reshape(-1, n_channels))
    return np.concatenate(blocks)


def _explain_values(path: Path, body: bytes, line: int, n_channels: int, frame: int) -> InputError:
    """The first line of numbers that is wrong, and what is wrong with it; slow, as it is needed once."""
    for number, text in enumerate(body.decode("latin-1").split("\n"), start=line):
        words = text.split()
        if not words:
            continue
        where = f"{path}, line {number} (frame {frame})"
        for word in words:
            if not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(nan|inf|infinity)", word, re.IGNORECASE):
                return InputError(f"{where}: expected a number, found {word[:40]!r}; correct or export the file again")
        if len(words) != n_channels:
            return InputError(f"{where}: expected {n_channels} numbers, one a channel, found {len(words)}; "
                              "correct or export the file again")  # fmt: skip
        if not all(math.isfinite(float(word)) for word in words):
            return InputError(f"{where}: expected finite numbers, found NaN or infinity; export the file again")
        frame += 1
    return InputError(f"{path}: expected frames of {n_channels} numbers, found something else; export the file again")


def format_rows(values: np.ndarray, digits: int) -> bytes:
    """(F, C) finite numbers → text with `digits` decimals, one line a row, single spaces between.

    All numbers are laid out at once in a table of characters with the digits of the longest; then the
    characters that a number does not need are dropped.
    """
    scaled = np.rint(np.abs(values) * 10.0**digits).ravel()
    largest = scaled.max(initial=0.0)
    if largest >= _EXACT:
        return "".join(" ".join(f"{x:.{digits}f}" for x in row) + "\n" for row in values.tolist()).encode()
    # Division of short integers is several times faster.
    rest = scaled.astype(np.uint32 if largest < 2**32 else np.uint64)
    places = max(digits + 1, len(str(int(largest))))
    table = np.empty((len(rest), places + 3), np.uint8)  # sign, digits with the point, blank
    keep = np.ones(table.shape, bool)
    table[:, 0] = ord("-")
    keep[:, 0] = np.signbit(values).ravel()
    ten = rest.dtype.type(10)
    for place in range(places):
        column = places + 1 - place - (place >= digits)
        if place > digits:
            keep[:, column] = rest > 0  # leading zeros
        quotient = rest // ten
        table[:, column] = rest - quotient * ten
        table[:, column] += ord("0")
        rest = quotient
    table[:, places + 1 - digits] = ord(".")
    table[:, -1] = ord(" ")
    table[values.shape[1] - 1 :: values.shape[1], -1] = ord("\n")
    return table[keep].tobytes()
