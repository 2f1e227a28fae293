"""What time it is for what goes by age: a clock that is wrong for a night must not cost what is kept for a year, nor
leave behind that nothing becomes old any more."""

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
FIRST, LAST = 1_735_689_600.0, 1e11
"""2025-01-01: no data directory is older; a clock that says less was not set since it had no power. And the year 5138,
which is none that was lived."""
SURE_S = 86_400.0
"""Of a server's life; what was believed for as long is not what a clock said before it was set."""
_LARGEST = 1000


class _Kept(msgspec.Struct):
    believed: float
    lived: float = 0.0


class Calendar:
    """Follows the wall's clock back at once, and forward at most twice as fast as time passes, but for what it came to
    before; kept over restarts. From any thread, but on none that may not wait for a disk.

    What it came to stays when the wall's clock goes back, as many a machine's does until it is set after a start: it is
    there again as soon as that clock is. It is given up once the server has lived longer before it than after it: a
    clock had been ahead when the calendar began.

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
        self._lived = 0.0
        """Seconds that the server was on since that was believed, less those in which the wall's clock said less."""
        self._begun = False
        self._at = self._written_at = clock()

    def now(self) -> float:
        """Seconds since 1970; never later than the wall's clock."""
        with self._lock:
            wall = self._look()
            return wall if self._believed is None else min(wall, self._believed)

    def reached(self) -> float | None:
        """Seconds since 1970 that it was already, whatever the wall's clock says now; None where nobody knows yet."""
        with self._lock:
            self._look()
            return self._believed if self._lived >= SURE_S else None

    def latest(self) -> float:
        """Seconds since 1970; what says a later time was written while a clock ran ahead."""
        with self._lock:
            return max(self._look(), self._believed or 0.0)

    def _look(self) -> float:
        """Follow the wall's clock, and return what it says."""
        wall, at = self._wall(), self._clock()
        is_first, self._begun = not self._begun, True
        if is_first:
            self._believed, self._lived = self._kept()
        passed = 0.0 if is_first else max(at - self._at, 0.0)
        self._at = at
        if wall >= FIRST:
            self._follow(wall, passed)
        if is_first or at - self._written_at >= WRITTEN_EVERY_S:
            self._keep(at)
        return wall

    def _follow(self, wall: float, passed: float) -> None:
        if self._believed is None:
            self._believed = wall
        elif wall >= self._believed:
            self._believed = min(wall, self._believed + FASTER * passed)
            self._lived += passed
        else:
            self._lived -= passed
            if self._lived < 0:
                self._believed, self._lived = wall, 0.0

    def _kept(self) -> tuple[float | None, float]:
        """As an earlier run left it; without one, or where it is damaged or cannot be, nothing is known."""
        if self._path is None:
            return None, 0.0
        with contextlib.suppress(OSError, msgspec.MsgspecError, ValueError):
            found = msgspec.json.decode(read_at_most(self._path, _LARGEST), type=_Kept)
            if FIRST <= found.believed < LAST and 0 <= found.lived < LAST:
                return found.believed, found.lived
        return None, 0.0

    def _keep(self, at: float) -> None:
        self._written_at = at
        if self._path is not None and self._believed is not None:
            kept = _Kept(round(self._believed, 1), round(self._lived, 1))
            with contextlib.suppress(OSError):  # a disk that can only be read keeps all there is on it anyway
                write_atomically(self._path, msgspec.json.encode(kept))
