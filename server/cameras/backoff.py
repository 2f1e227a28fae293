"""How long to wait before the next try at something that is away."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Backoff:
    """Waits of 1, 2, 4 … 30 seconds, from the start again after a success.

    Args:
        first: the first wait, seconds.
        longest: no wait is longer than this, seconds.
    """

    first: float = 1.0
    longest: float = 30.0
    _failures: int = field(default=0, init=False)

    def next(self) -> float:
        """Count one more failure and return the seconds to wait after it."""
        wait = min(self.first * 2.0 ** min(self._failures, 32), self.longest)
        self._failures += 1
        return wait

    def reset(self) -> None:
        """Call on success: the next failure waits ``first`` seconds."""
        self._failures = 0
