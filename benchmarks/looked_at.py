"""``defectvision`` with a window: at SIGUSR2 it writes down what lives in its process. For ``benchmarks.soak`` alone.

    LOOK=FILE python -m benchmarks.looked_at serve

The file is JSON: ``tasks`` of the event loop and ``threads`` by name, ``objects`` by type, ``heap``: what glibc says of
its arenas, and, with ``LOOK_ALLOCATIONS=1``, ``allocated``: bytes by line of Python (tracemalloc), which makes all of
it slower.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import re
import signal
import sys
import threading
import tracemalloc
from collections import Counter
from pathlib import Path
from types import FrameType

import msgspec

from detector.files import write_atomically
from server.ground.freed_memory import trimming

FEWEST = 50
"""Objects of a type; fewer are left out."""
MOST_LINES = 400
INTERNED = 90_000
"""Texts at once, by which CPython's table of interned ones gets the size that it comes to in half an hour anyway, since
each that goes leaves its place used: 3.8 MB in place of 1.9. It has no other from then on."""


class Look(msgspec.Struct):
    """What lives in a process. ``heap``: bytes in arenas of glibc, in use and free, and mapped ones; ``allocated``:
    bytes by file and line."""

    tasks: dict[str, int]
    threads: dict[str, int]
    objects: dict[str, int]
    heap: dict[str, int]
    allocated: dict[str, int]


_MALLINFO = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


class _Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in _MALLINFO]


def look() -> Look:
    """On the event loop's thread; what nobody needs any more is collected and given back before."""
    gc.collect()
    trim = trimming()
    if trim is not None:
        trim()
    try:
        tasks = asyncio.all_tasks()
    except RuntimeError:
        tasks = set()
    objects = Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.get_objects())
    return Look(
        tasks=dict(Counter(_plain(one.get_name(), one.get_coro()) for one in tasks)),
        threads=dict(Counter(_plain(one.name) for one in threading.enumerate())),
        objects={name: count for name, count in objects.items() if count >= FEWEST},
        heap=_heap(),
        allocated=_allocated(),
    )


def _plain(name: str, work: object = None) -> str:
    """A name without its number; a task that has none of its own is called after what it runs."""
    if work is not None and re.fullmatch(r"Task-\d+", name):
        name = getattr(work, "__qualname__", name)
    return re.sub(r"\d+", "N", name)


def _heap() -> dict[str, int]:
    try:
        ask = ctypes.CDLL("libc.so.6").mallinfo2
    except (OSError, AttributeError):
        return {}
    ask.restype = _Mallinfo2
    found = ask()
    told = {"arenas": found.arena, "used": found.uordblks, "free": found.fordblks, "mapped": found.hblkhd}
    return told | {"sqlite": _sqlite()}


def _sqlite() -> int:
    """Bytes that SQLite has, by its own count: the pages of the history that its connections keep, above all."""
    try:
        ask = ctypes.CDLL("libsqlite3.so.0").sqlite3_memory_used
    except (OSError, AttributeError):
        return 0
    ask.restype = ctypes.c_int64
    return int(ask())


def _allocated() -> dict[str, int]:
    if not tracemalloc.is_tracing():
        return {}
    lines = tracemalloc.take_snapshot().statistics("lineno")
    return {f"{one.traceback[0].filename}:{one.traceback[0].lineno}": one.size for one in lines[:MOST_LINES]}


def _fill_interned() -> None:
    kept = [sys.intern(f"interned once {number}") for number in range(INTERNED)]
    del kept


def main() -> int:
    place = Path(os.environ["LOOK"])

    def write(number: int, frame: FrameType | None) -> None:
        write_atomically(place, msgspec.json.encode(look()))

    signal.signal(signal.SIGUSR2, write)
    _fill_interned()
    if os.environ.get("LOOK_ALLOCATIONS"):
        tracemalloc.start()
    from server import cli

    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
