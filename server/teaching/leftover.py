"""Computing in the time that others leave, where they leave enough.

A nice process still doubles the latency of frames: Linux lets it finish its slice before a thread that woke up. One
that is scheduled as idle steps aside at once (docs/benchmarks.md), but where cameras keep all cores busy it would never
be done. So it is one where others leave enough, and a nice one elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

NICE = 10
LOOK_S = 1.0
ENOUGH = 0.4
"""Share of all cores that the others must leave."""
FOR_GOOD = 0.7
"""And where the system would not take it back: that is for processes of root, and of whom an RLIMIT_NICE allows it."""
STARVED = 0.25
"""Of which so little is too little, where nothing is left: from then on it is a nice process again."""
_NOTHING_LEFT = 0.9


@dataclass(frozen=True)
class Load:
    """Processor time since some moment, seconds of one core: of all cores together, of what was used, and of what this
    process used."""

    there: float
    used: float
    own: float

    @classmethod
    def now(cls, stat: str | None = None) -> Load:
        """From the text of ``/proc/stat``.

        Raises:
            OSError, ValueError: this system does not tell.
        """
        first = (Path("/proc/stat").read_text() if stat is None else stat).split("\n", 1)[0].split()
        if first[:1] != ["cpu"] or len(first) < 6:
            raise ValueError("the first line of /proc/stat is another one")
        tick = os.sysconf("SC_CLK_TCK")
        numbers = [int(one) / tick for one in first[1:9]]
        return cls(sum(numbers), sum(numbers) - numbers[3] - numbers[4], time.process_time())

    def since(self, before: Load) -> Shares:
        """What was used in between."""
        there = max(self.there - before.there, 1e-6)
        own = (self.own - before.own) / there
        return Shares(min(1.0, max(0.0, (self.used - before.used) / there - own)), own)


@dataclass(frozen=True)
class Shares:
    """Of all cores, 0..1."""

    others: float
    own: float

    def wants_idle(self, is_idle: bool, enough: float = ENOUGH) -> bool:
        """Whether to be scheduled as idle from now on."""
        if is_idle:
            return not (self.own < STARVED and self.others + self.own > _NOTHING_LEFT)
        return self.others <= 1 - enough


def use_what_is_left() -> None:
    """Be nice at once; from then on, in a thread, look how much the others leave, where the system tells."""
    if hasattr(os, "nice"):
        os.nice(NICE)
    if sys.platform == "linux":
        threading.Thread(target=_go_on, name="leftover", daemon=True).start()


def _go_on() -> None:
    is_idle = False
    with contextlib.suppress(OSError, ValueError):  # it does not tell, or does not let a process change its mind
        before, enough = Load.now(), ENOUGH if _may_return() else FOR_GOOD
        while True:
            time.sleep(LOOK_S)
            now = Load.now()
            if (wanted := now.since(before).wants_idle(is_idle, enough)) != is_idle:
                _schedule(wanted)
                is_idle = wanted
            before = now


def _may_return() -> bool:
    """Whether a thread that is scheduled as idle may be as it was before; tried by one of its own."""
    found: list[bool] = []

    def try_() -> None:
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
                found.append(True)

    trying = threading.Thread(target=try_)
    trying.start()
    trying.join()
    return bool(found)


def _schedule(as_idle: bool) -> None:
    """All threads of this process; those they start are scheduled as they are."""
    if sys.platform != "linux":
        return
    policy = os.SCHED_IDLE if as_idle else os.SCHED_OTHER
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # ended a moment ago
            os.sched_setscheduler(int(thread.name), policy, os.sched_param(0))
