"""What a motion becomes besides files of motion."""

from __future__ import annotations

FILMS = ("mp4", "gif")
