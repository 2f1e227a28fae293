"""Memory that was freed goes back to the system, which C libraries leave out where anything above it is in use."""

from __future__ import annotations

import asyncio
import ctypes
import sys
from collections.abc import Callable

EVERY_S = 60.0


def trimming() -> Callable[[], object] | None:
    """What gives back all that is free: glibc's; other libraries give back by themselves, or cannot."""
    if sys.platform != "linux":
        return None
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # musl has none
        return None
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    return lambda: trim(0)


async def give_back(every_s: float = EVERY_S) -> None:
    """Give back what is free, again and again, in a thread, until cancelled; returns where there is nothing to do.

    A model that is loaded, corrected or taught takes tens of megabytes for a moment, each time in another thread. What
    glibc keeps of them is used again in the end, but until every thread's heap had its turn the server seems to grow.
    """
    trim = trimming()
    while trim is not None:
        await asyncio.sleep(every_s)
        await asyncio.to_thread(trim)
