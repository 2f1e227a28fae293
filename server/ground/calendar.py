"""What time it is for what goes by age: a clock that runs ahead for a night must not cost what is kept for a year."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from detector.files import read_at_most, write_atomically

FILE = "calendar.json"
FASTER = 2.0
"""What was missed while the server was off is caught up at this speed: a year ahead for a night costs another night."""
WRITTEN_EVERY_S = 600.0
_LARGEST = 1000


class _Believed(msgspec.Struct):
    believed: float


class Calendar:
    """Follows the wall's clock back at once, and forward at most twice as fast as time passes; kept over restarts. From
    any thread, but on none that may not wait for a disk.

    Args:
        folder: the data directory; None: nothing is kept.
        wall: seconds since 1970, by a clock that may be set; ``clock``: seconds, monotonic.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = None if folder is None else folder / FILE
        self._wall, self._clock = wall, clock
        self._lock = threading.Lock()
        self._believed: float | None = None
        self._at = self._written_at = clock()

    def now(self) -> float:
        """Seconds since 1970; never later than the wall's clock."""
        with self._lock:
            wall, at = self._wall(), self._clock()
            if self._believed is None:
                self._believed = min(wall, self._kept() or wall)
                self._keep(at)
            else:
                self._believed = min(wall, self._believed + FASTER * max(at - self._at, 0.0))
            self._at = at
            if at - self._written_at >= WRITTEN_EVERY_S:
                self._keep(at)
            return self._believed

    def _kept(self) -> float | None:
        """As an earlier run left it; without one, or where it is damaged, nothing is known."""
        if self._path is None:
            return None
        with contextlib.suppress(OSError, msgspec.MsgspecError, ValueError):
            found = msgspec.json.decode(read_at_most(self._path, _LARGEST), type=_Believed).believed
            return found if 0 < found < 1e12 else None
        return None

    def _keep(self, at: float) -> None:
        self._written_at = at
        if self._path is not None and self._believed is not None:
            with contextlib.suppress(OSError):  # a disk that can only be read keeps all there is on it anyway
                write_atomically(self._path, msgspec.json.encode(_Believed(round(self._believed, 1))))
