"""Who ends replicas, or has them hang: a sender whose pictures do, again and again, waits longer each time, so that the
replicas are left to the others. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass

FREE_STRIKES = 2
"""Replicas that may die or hang with a sender's picture before it has to wait: replicas die by themselves, too."""
FIRST_S, LONGEST_S = 4.0, 60.0
"""Seconds of the first wait, which doubles with each replica more, up to the longest."""
FORGOTTEN_S = 600.0
"""Seconds after the last one that a sender is as good as any."""
MAX_SENDERS = 256


@dataclass
class _Record:
    strikes: int
    last: float


class Strikes:
    """Told of each replica that dies or hangs with a picture, and by whom that was sent."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}

    def strike(self, sender: str, now: float) -> None:
        """A replica died, or hangs, with a picture of this sender; ``now`` in seconds, monotonic."""
        record = self._records.pop(sender, None)
        strikes = record.strikes if record is not None and now - record.last < FORGOTTEN_S else 0
        self._records[sender] = _Record(strikes + 1, now)  # the latest is the last
        if len(self._records) > MAX_SENDERS:
            del self._records[next(iter(self._records))]

    def take_back(self, sender: str) -> None:
        """A replica that hung with a picture of this sender is well."""
        record = self._records.get(sender)
        if record is not None:
            record.strikes = max(0, record.strikes - 1)

    def count(self, sender: str) -> int:
        """How many replicas died or hung with its pictures."""
        record = self._records.get(sender)
        return record.strikes if record is not None else 0

    def wait(self, sender: str, now: float) -> float:
        """Seconds for which no replica gets a picture of this sender; 0: one does."""
        record = self._records.get(sender)
        if record is None or record.strikes <= FREE_STRIKES:
            return 0.0
        lasts = min(LONGEST_S, FIRST_S * 2.0 ** min(16, record.strikes - FREE_STRIKES - 1))
        return max(0.0, record.last + lasts - now)
