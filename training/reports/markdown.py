"""Markdown, the little of it that is written here."""

from __future__ import annotations

from collections.abc import Sequence


def table(heads: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """A table: headings, then a line for each row."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
