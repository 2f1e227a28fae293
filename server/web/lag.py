"""Slowness: a body or message that drips."""

from __future__ import annotations

MIN_RATE, MAX_LAG_S = 4096, 15.0
"""Bytes a second in which bodies and messages must come, and by how many seconds they may fall behind that."""


class Lag:
    """By how many seconds something falls behind :data:`MIN_RATE`; what came quicker counts for nothing later, so that
    silence in the middle is noticed as soon as a drip from the beginning."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._looked: float | None = None
        self._bytes = 0

    def came(self, size: int) -> None:
        """Count bytes."""
        self._bytes += size

    def too_slow(self, now: float, *, held_up: bool = False) -> bool:
        """Whether it is too far behind. Asked now and then; ``held_up``: since the last time it was the server that did
        not read."""
        passed = 0.0 if self._looked is None or held_up else now - self._looked
        self._seconds = max(0.0, self._seconds + passed - self._bytes / MIN_RATE)
        self._looked, self._bytes = now, 0
        return self._seconds > MAX_LAG_S
