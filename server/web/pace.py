"""How slowly and how fast peers may go, and that they take turns."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

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


class Rate:
    """So many a second, and so many at once after a pause."""

    def __init__(self, a_second: float, at_once: float, now: float) -> None:
        self._a_second, self._at_once = a_second, at_once
        self._left, self._looked = at_once, now

    def take(self, now: float) -> float:
        """Take one; returns seconds to wait for it, 0 when there was one."""
        self._left = min(self._at_once, self._left + (now - self._looked) * self._a_second)
        self._looked = now
        if self._left < 1:
            return (1 - self._left) / self._a_second
        self._left -= 1
        return 0.0


class Turns:
    """Those who ask for more than their share get one turn each in a round, one on each turn of the event loop."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()

    def wait(self, go_on: Callable[[], None]) -> None:
        """Call this after those who wait already."""
        self._waiting.append(go_on)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        go_on = self._waiting[0]
        try:
            go_on()
        finally:
            self._waiting.popleft()
            if self._waiting:
                asyncio.get_running_loop().call_soon(self._next)
