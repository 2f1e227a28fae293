"""Numbers of things in sentences."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """``1 part``, ``2 parts``, ``1,204 parts``.

    Args:
        one: the noun, with what comes before it; ``many``: of more than one, where an s at its end is not enough.
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
