"""Whose turn it is: fair by the time that jobs take, not by their number. No I/O, no clock, no threads.

Start-time fair queueing (Goyal, Vin and Cheng, 1996) says who is next. That alone is not enough: a job cannot be taken
off its thread, so a source whose frames cost a second would hold up one that sends ten in that time, whoever is next.
So there is one *express* place beside the workers that no slow job takes; the system shares the processor out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

S = TypeVar("S")

SLOW_S = 0.1
"""Seconds in work from which a job is slow: a camera at 10 frames/s loses frames to it."""
FADING = 0.9
"""What is left of a source's dearest job after each cheaper one: a single hiccup is forgotten after some frames, one
cheap frame in between hides nothing."""


@dataclass(eq=False)
class Account:
    """What a source has cost so far. Sources that share one are one source to everybody else.

    Attributes:
        spent: seconds of the workers' time, from where the others stood when it began to wait.
        dearest: seconds of its dearest job of late; None before the first, which could take any time.
    """

    spent: float = 0.0
    dearest: float | None = None


class Turns(Generic[S]):
    """Who waits, who is in work, who is next.

    Among those who wait, whoever has spent least is next. Who comes, or comes back from a pause, begins level with
    whoever was served last: time that was not used is not saved up.

    At most ``workers`` jobs are in work; one more while a slow one is among them, of a source at least twice as quick,
    unless there is no ``express`` place.

    Attributes:
        workers: may change.
    """

    def __init__(self, workers: int, *, express: bool = True) -> None:
        self.workers, self._express = workers, express
        self._waiting: dict[S, Account] = {}
        self._in_work: dict[S, float] = {}
        self._level = 0.0

    def wait(self, source: S, account: Account) -> None:
        """A source has something waiting. Harmless when said twice; a source in work does not wait."""
        if source not in self._in_work and source not in self._waiting:
            account.spent = max(account.spent, self._level)
            self._waiting[source] = account

    def withdraw(self, source: S) -> None:
        """A source has nothing waiting any more."""
        self._waiting.pop(source, None)

    @property
    def waiting(self) -> int:
        """How many sources wait."""
        return len(self._waiting)

    def next(self) -> S | None:
        """The source that may begin now; it waits no longer. Nothing when nobody waits who may."""
        allowed = (source for source, account in self._waiting.items() if self._may_begin(account))
        source = min(allowed, key=lambda one: self._waiting[one].spent, default=None)
        if source is not None:
            del self._waiting[source]
        return source

    def begin(self, source: S, account: Account) -> None:
        """A job of the source is in work."""
        self._in_work[source] = account.dearest or 0.0
        self._level = max(self._level, account.spent)

    def is_late(self, source: S, seconds: float) -> None:
        """The source's job has been in work for so long; it is expected to take as long again."""
        self._in_work[source] = max(self._in_work[source], 2 * seconds)

    def end(self, source: S, account: Account, seconds: float) -> None:
        """The source's job is done, or given up, after so long."""
        del self._in_work[source]
        account.spent += seconds
        account.dearest = max(seconds, FADING * (account.dearest or 0.0))

    def _may_begin(self, account: Account) -> bool:
        slowest = max(self._in_work.values(), default=0.0)
        # Compared with one another: on a busy or a small computer everything is slow, and nothing is to be kept free.
        express = account.dearest is not None and slowest > SLOW_S and account.dearest < slowest / 2
        return len(self._in_work) < self.workers + (express and self._express)
