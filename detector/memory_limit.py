"""How much memory this process takes, and may take, as far as the system knows such."""

from __future__ import annotations

import contextlib
import mmap
from pathlib import Path
from typing import Literal

Kind = Literal["AS", "DATA"]
"""As ``RLIMIT_AS`` and ``RLIMIT_DATA`` count: all of the address space, or what of it may be written by this process
alone. Threads reserve much of the first that they never use."""

_PLACES: dict[Kind, int] = {"AS": 0, "DATA": 5}
"""In ``/proc/self/statm``."""
_UNKNOWN = 1_000_000_000


def taken(kind: Kind) -> int:
    """Bytes that this process takes; a gigabyte where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[_PLACES[kind]]) * mmap.PAGESIZE
    except OSError:
        return _UNKNOWN


def limit(kind: Kind, bytes_: int | None) -> None:
    """Take no more than that; None: as much as there is."""
    try:
        import resource
    except ImportError:  # Windows
        return
    which = {"AS": resource.RLIMIT_AS, "DATA": resource.RLIMIT_DATA}[kind]
    most = resource.getrlimit(which)[1]
    soft = most if bytes_ is None else bytes_ if most == resource.RLIM_INFINITY else min(bytes_, most)
    with contextlib.suppress(OSError, ValueError):  # macOS takes no such limit
        resource.setrlimit(which, (soft, most))
