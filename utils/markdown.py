"""Tables for documents that are generated from the code's own tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def table_of_keys(heading: str, rows: Mapping[str, Iterable[str]]) -> str:
    """A Markdown table of two columns: what something is, and the keys (under ``heading``) that it is found by."""
    lines = [f"| {what} | {', '.join(f'`{key}`' for key in keys)} |" for what, keys in rows.items()]
    return "\n".join([f"| what | {heading} |", "|---|---|", *lines])
