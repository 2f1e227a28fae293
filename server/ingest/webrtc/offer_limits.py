"""How many offers are answered. Each costs the event loop 5 to 10 ms, its handshake included. No I/O."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

PER_S, BURST = 8.0, 40
"""Offers answered in all: a hall of cameras that comes back at once after a restart is served within seconds."""

ADDRESS_PER_S, ADDRESS_BURST = 2.0, 16
MAX_ADDRESSES = 256


@dataclass
class _Bucket:
    """Tokens that come back with time."""

    tokens: float
    since: float

    def refill(self, now: float, per_s: float, most: float) -> None:
        self.tokens = min(most, self.tokens + (now - self.since) * per_s)
        self.since = now


class OfferLimits:
    """A rate for each address, and one for all of them together.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._all = _Bucket(BURST, clock())
        self._addresses: dict[str, _Bucket] = {}

    def wait_s(self, address: str) -> float:
        """Count an offer from an address; 0 if it may be answered, else the seconds until one may."""
        now = self._clock()
        own = self._addresses.pop(address, None) or _Bucket(ADDRESS_BURST, now)
        own.refill(now, ADDRESS_PER_S, ADDRESS_BURST)
        self._all.refill(now, PER_S, BURST)
        while len(self._addresses) >= MAX_ADDRESSES:
            del self._addresses[next(iter(self._addresses))]
        self._addresses[address] = own
        wait_s = max((1 - own.tokens) / ADDRESS_PER_S, (1 - self._all.tokens) / PER_S, 0.0)
        if wait_s == 0:
            own.tokens -= 1
            self._all.tokens -= 1
        return wait_s
