"""What a class can be built with, where its ``__init__`` hands ``**kwargs`` on to its bases."""

from __future__ import annotations

import inspect

_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def init_parameters(cls: type) -> dict[str, inspect.Parameter]:
    """Parameters by name: the class's own, and those of its bases as far as ``**kwargs`` reaches them.

    Positional-only ones, which a class gives to its bases itself, are left out.
    """
    found: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        _, *parameters = inspect.signature(base.__init__).parameters.values()  # the first one is `self`
        found = {**{each.name: each for each in parameters if each.kind in _BY_NAME}, **found}
        if all(each.kind is not inspect.Parameter.VAR_KEYWORD for each in parameters):
            break
    return found
