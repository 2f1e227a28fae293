"""How many replicas there should be: more while frames wait for a free one, fewer once some have nothing to do. No I/O,
no clock."""

from __future__ import annotations

import math

WAIT_S = 2.0
"""Seconds for which sources waited for a replica without a break, before there is one more."""
IDLE_S = 60.0
"""Seconds for which one replica fewer would have done, before there is."""
AT_MOST = 0.7
"""Share of the time for which the replicas that are left would be at work."""


MEAN_S = 5.0
"""Seconds over which is averaged how many are at work: of one moment to the next it is all or none of them."""


class Scaling:
    """Told several times a second how busy all are."""

    def __init__(self, least: int, most: int) -> None:
        self._least, self._most = least, most
        self.wanted = least
        self._waited_since: float | None = None
        self._idle_since: float | None = None
        self._seen, self._mean = -math.inf, 0.0

    def see(self, now: float, *, ready: int, busy: float, waiting: int) -> int:
        """How many there should be.

        Args:
            now: seconds, monotonic.
            ready: replicas that take frames, ``busy`` of them at work, on average since the last time; ``waiting``:
                sources that wait for one.
        """
        self._mean += (busy - self._mean) * (1.0 - math.exp((self._seen - now) / MEAN_S))
        self._seen = now
        # Where one is on its way already, what it is worth is seen when it is there.
        crowded = ready >= self.wanted and waiting > 0 and busy > ready - 0.5
        self._waited_since = (self._waited_since if self._waited_since is not None else now) if crowded else None
        # Where fewer are there than should be, they may have had to do with less than is needed.
        spare = self.wanted > self._least and self._mean < AT_MOST * min(ready, self.wanted - 1)
        self._idle_since = (self._idle_since if self._idle_since is not None else now) if spare else None
        if self._waited_since is not None and now - self._waited_since >= WAIT_S and self.wanted < self._most:
            self.wanted += 1
            self._waited_since = None
        elif self._idle_since is not None and now - self._idle_since >= IDLE_S:
            self.wanted -= 1
            self._idle_since = None
        return self.wanted
