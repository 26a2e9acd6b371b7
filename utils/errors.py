"""The one exception that means "the input is wrong", as opposed to "the program is wrong"."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence


class InputError(Exception):
    """A file, an option or a value given by the user cannot be used.

    The message is one clear sentence: the file (and line or frame), what was expected, what was found and
    what to do about it. Where that is a setting, it is named in backquotes, as in "give `fps`": entry points print the
    message without a traceback and in the words of their own options (see `utils.cli.guarded` and `spoken`).
    """


def some(names: Sequence[str], most: int = 6) -> str:
    """``a, b and 3 more``: a list that stays readable however long it is."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def spoken(text: object, options: Mapping[str, str] | None = None) -> str:
    """A message in the words of a command line: settings in backquotes become its options.

    Args:
        text: the message, or the exception.
        options: setting → option, of those that are not called ``--setting``.
    """
    known = options or {}
    return re.sub(r"`([a-z_]+)`", lambda found: known.get(found.group(1), "--" + found.group(1)), str(text))
