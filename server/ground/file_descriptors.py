"""How many files and sockets this process may have open at once."""

from __future__ import annotations

import contextlib

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

ON_WINDOWS = 512
"""Sockets that ``select`` takes there."""

ENOUGH = 65_536
"""Some systems let a process have a billion; select-like loops and tables are sized by it, so no more is asked for."""


def raise_limit() -> int:
    """Raise this process's limit of open files as far as the system lets it; returns what it is then."""
    if resource is None:
        return ON_WINDOWS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return ENOUGH if soft == resource.RLIM_INFINITY else soft
