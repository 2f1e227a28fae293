"""A task that is to live as long as the server: run anew after every fault, with growing pauses, and said aloud."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

log = logging.getLogger("defectvision.supervised")

FIRST_S, LONGEST_S = 0.5, 30.0
SETTLED_S = 60.0
"""A run that stood for so long counts as well: the next fault is a first one."""
LONGEST_WORDS = 200


@dataclass
class Noted:
    """What went wrong for good, as one who warns of it: one sentence, or nothing."""

    warning: str | None = None


class Supervised:
    """Runs one piece of work until it returns or is stopped. On the event loop.

    A fault (any exception that nobody expected) is told by :attr:`warning` until a run has stood for a minute, in one
    line of the log at the first fault, and one when it stands again.

    Args:
        what: it is, as a sentence begins with it: ``the archive's writer``.
        work: begins it anew each time.
        first_s, longest_s: seconds before the next run, doubled at each fault in a row.
        settled_s: seconds after which a run stands.
    """

    def __init__(
        self,
        what: str,
        work: Callable[[], Awaitable[None]],
        *,
        first_s: float = FIRST_S,
        longest_s: float = LONGEST_S,
        settled_s: float = SETTLED_S,
    ) -> None:
        self.what, self._work = what, work
        self._first_s, self._longest_s, self._settled_s = first_s, longest_s, settled_s
        self._task: asyncio.Task[None] | None = None
        self._faults = 0
        self.restarts = 0
        self._why = ""

    def start(self) -> None:
        """Begin; does nothing while it runs."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._live(), name=self.what)

    @property
    def task(self) -> asyncio.Task[None] | None:
        """What runs it; done once the work has returned."""
        return self._task

    @property
    def warning(self) -> str | None:
        """One sentence for the operator, or nothing."""
        if not self._faults:
            return None
        times = f"{self._faults} times in a row" if self._faults > 1 else "once"
        return f"{self.what} failed {times} ({self._why}) and is begun anew by itself: the server's log says more"

    async def stop(self, within_s: float = 1.0) -> None:
        """End it; what does not end in time is left behind."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=within_s)

    async def _live(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            settling = loop.call_later(self._settled_s, self._stands)
            try:
                return await self._work()
            except Exception as error:
                self._note(error)
            finally:
                settling.cancel()
            await asyncio.sleep(min(self._longest_s, self._first_s * 2 ** min(self._faults - 1, 16)))
            self.restarts += 1

    def _note(self, error: Exception) -> None:
        self._faults += 1
        words = " ".join(f"{type(error).__name__}: {error}".split())
        self._why = words if len(words) <= LONGEST_WORDS else f"{words[:LONGEST_WORDS]}…"
        if self._faults == 1:
            log.error("part=%r state=failed then=begun anew", self.what, exc_info=error)

    def _stands(self) -> None:
        if self._faults:
            log.warning("part=%r state=well faults=%d", self.what, self._faults)
            self._faults = 0
