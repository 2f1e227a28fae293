"""The way back from an upgrade: a file of an older version is kept as it was, before it is written in today's."""

from __future__ import annotations

import os
from pathlib import Path

from detector import VERSION
from detector.files import write_atomically

FOLDER = "before-upgrade-"


def keep_before_upgrade(path: Path, data: bytes) -> None:
    """Keep what a file of the data directory said, in ``before-upgrade-VERSION`` beside it; what lies there stays.

    Raises:
        OSError: it cannot be kept.
    """
    folder = path.parent / f"{FOLDER}{VERSION}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if not os.path.lexists(folder / path.name):
        write_atomically(folder / path.name, data, mode=0o600)
