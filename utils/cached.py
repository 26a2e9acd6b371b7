"""Properties worked out once: as :class:`functools.cached_property`, but ``torch.compile`` traces through them.

Before Python 3.12 that one takes a lock, which ends a compiled graph wherever a property is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    cached_property = property  # to who reads it, it is one
else:

    class cached_property:  # noqa: N801 (as the one of the library)
        """An attribute that is computed when it is first asked for, and then kept in the object's ``__dict__``."""

        def __init__(self, compute: Callable[[Any], Any]) -> None:
            self.compute = compute
            self.__doc__ = compute.__doc__

        def __set_name__(self, owner: type, name: str) -> None:
            self.name = name

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is None:
                return self
            value = instance.__dict__[self.name] = self.compute(instance)
            return value
