"""Small files that only this user may read (keys, the access code), written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path


def make_folder(path: Path) -> None:
    """Make a folder only this user may enter (mode 0700), or close an existing one to others.

    Raises:
        OSError: It cannot be made, or belongs to someone else.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_mode & 0o077:
        path.chmod(0o700)


def write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file by `data` in one step: after a power cut it holds the old bytes or the new ones.

    Raises:
        OSError: The disk is full, or the folder may not be written; the old file is untouched.
    """
    # mkstemp makes the file 0600, so the bytes are never readable by others, not even for a moment.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def close_to_others(path: Path) -> bool:
    """Take reading rights from everyone but the owner; True when there were any to take."""
    if os.name != "posix" or not path.stat().st_mode & 0o077:
        return False
    path.chmod(0o600)
    return True


def set_aside(path: Path) -> Path:
    """Rename a damaged file so that it can be looked at later; returns its new path."""
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    path.rename(aside)
    return aside


def _sync_folder(folder: Path) -> None:
    # Windows cannot open a folder, some network disks cannot sync one: the rename itself has happened.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
