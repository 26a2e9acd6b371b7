"""The one exception that means "the input is wrong", as opposed to "the program is wrong"."""

from __future__ import annotations


class InputError(Exception):
    """A file, an option or a value given by the user cannot be used.

    The message is one clear sentence: the file (and line or frame), what was expected, what was found and
    what to do about it. Entry points print it without a traceback (see `utils.cli.guarded`).
    """
