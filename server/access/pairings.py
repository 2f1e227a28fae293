"""Phones are paired by a QR code: a secret that is good once, for ten minutes, to become a device that may send and
watch one stream.

Once, because a photograph of the screen is then worth nothing as soon as the right phone is in; and it is used up by a
button, not by opening its address, because phones fetch what they scan to show a preview. Pairings that wait are kept
in memory: a restart ends them.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from server.access.kept import digest_of, make_secret

PREFIX = "dvp_"
GOOD_FOR_S = 600.0
MOST = 50


@dataclass(frozen=True)
class Pairing:
    """Attributes:
    stream: that the device may send and watch; ``device``: what it is called in lists.
    by: who made it; ``still_good``: whether that one may still make one.
    ends: of the clock that runs on.
    """

    id: str
    stream: str
    device: str
    by: str
    still_good: Callable[[], bool]
    ends: float


class Pairings:
    """Those that wait for their phone; the oldest makes room. Used from one thread at a time.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: dict[str, Pairing] = {}

    def make(self, stream: str, device: str, by: str, still_good: Callable[[], bool]) -> tuple[Pairing, str]:
        """A new one, and its secret."""
        self._sweep()
        while len(self._waiting) >= MOST:
            del self._waiting[next(iter(self._waiting))]
        secret = make_secret(PREFIX)
        pairing = Pairing(secrets.token_hex(6), stream, device, by, still_good, self._clock() + GOOD_FOR_S)
        self._waiting[digest_of(secret)] = pairing
        return pairing, secret

    def look(self, secret: str) -> Pairing | None:
        """What a secret is good for; it stays so."""
        self._sweep()
        return self._waiting.get(digest_of(secret))

    def use(self, secret: str) -> Pairing | None:
        """What a secret was good for: it is no more."""
        self._sweep()
        return self._waiting.pop(digest_of(secret), None)

    def waits(self, id: str) -> bool:
        """Whether the one of this id still waits for its phone."""
        self._sweep()
        return any(one.id == id for one in self._waiting.values())

    def _sweep(self) -> None:
        now = self._clock()
        for digest in [digest for digest, one in self._waiting.items() if one.ends <= now]:
            del self._waiting[digest]
