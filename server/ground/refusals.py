"""What strangers are refused, in the log: one line a minute for each kind, however many they are."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger("defectvision.limits")

EVERY_S = 60.0


class Refusals:
    """Counts refusals by kind, a sentence of ours with nothing of the peer's in it, so that there are few kinds.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: dict[str, _Kind] = {}

    def note(self, kind: str, source: str) -> None:
        """Count one more of a kind, and log it unless that was done within the last minute."""
        seen = self._kinds.setdefault(kind, _Kind())
        seen.unlogged += 1
        if (now := self._clock()) >= seen.next_line:
            log.warning("%s times=%d last=%s", kind, seen.unlogged, source)
            seen.unlogged, seen.next_line = 0, now + EVERY_S


@dataclass
class _Kind:
    unlogged: int = 0
    next_line: float = float("-inf")
