"""What is chosen by name, apart from the code that does it: command lines tell it before anything heavy is loaded."""

from __future__ import annotations

FILM_FORMATS = ("mp4", "gif", "png")
BACKENDS = ("loky", "dask", "ray")
"""Who works side by side: processes of this machine, or workers of a cluster."""
