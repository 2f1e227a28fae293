"""The way back from an upgrade: a file of an older version is kept as it was, before it is written in today's."""

from __future__ import annotations

from pathlib import Path

from detector import VERSION
from detector.files import write_atomically
from server.ground import private_file


def before_upgrade(data: Path, version: str = VERSION) -> Path:
    """Where the upgrade to a version kept what it wrote anew."""
    return data / f"before-upgrade-{version}"


def keep_before_upgrade(path: Path, data: bytes) -> None:
    """Keep what a file of the data directory said, in ``before-upgrade-VERSION`` beside it. It takes the place of what
    lies there: whoever went back and comes again comes from what he has now.

    Raises:
        OSError: it cannot be kept.
    """
    folder = before_upgrade(path.parent)
    private_file.make_folder(folder)
    write_atomically(folder / path.name, data, mode=0o600)
