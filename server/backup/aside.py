"""Where files of before are put when others take their place."""

from __future__ import annotations

import time
from pathlib import Path

from server.ground import private_file


def made_aside(data: Path, before: str) -> Path:
    """A new folder in the data directory, ``before-WHAT-TIME``, that only the directory's owner may enter.

    Raises:
        OSError: it cannot be made.
    """
    path = data / f"before-{before}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    number, free = 1, path
    while free.exists():  # twice in a second
        number, free = number + 1, path.with_name(f"{path.name}-{number}")
    private_file.make_folder(free)
    return free
