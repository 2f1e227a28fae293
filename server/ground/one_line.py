"""What an error of somebody else's code says, as a part of a sentence of ours."""

from __future__ import annotations

MOST = 200


def one_line(error: BaseException) -> str:
    """Its words in one line, no more than :data:`MOST` characters of them; its kind where it has none."""
    return " ".join(str(error).split())[:MOST] or type(error).__name__
