"""Where files of before are put when others take their place."""

from __future__ import annotations

import time
from pathlib import Path


def made_aside(data: Path, before: str) -> Path:
    """A new folder in the data directory, ``before-WHAT-TIME``, that only this user may enter.

    Raises:
        OSError: it cannot be made.
    """
    path = data / f"before-{before}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    number, free = 1, path
    while free.exists():  # twice in a second
        number, free = number + 1, path.with_name(f"{path.name}-{number}")
    free.mkdir(mode=0o700)
    return free
