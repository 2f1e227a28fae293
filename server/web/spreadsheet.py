"""What comes from outside, as a cell that no spreadsheet runs."""

from __future__ import annotations

_FORMULA = tuple("=+-@＝＋－＠")
"""What a spreadsheet takes a cell for a formula by, whatever blanks stand before it."""


def cell(text: str) -> str:
    """The text itself, or with an apostrophe before it where a spreadsheet would take it for a formula, or where it
    begins with a sign that is not shown."""
    seen = next((place for place, sign in enumerate(text) if sign.isprintable() and not sign.isspace()), len(text))
    shown = text[seen:]
    hidden = any(not sign.isprintable() for sign in text[:seen])
    return f"'{text}" if hidden or shown.startswith(_FORMULA) else text
