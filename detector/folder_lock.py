"""A folder that one process has for itself, by a lock that ends with it, however it ends, and says who holds it.

The system keeps the lock, not the file's being there: what a crash leaves behind is in nobody's way.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

FILE = "server.lock"
_LONGEST_WORDS = 400
_TRIES, _TRY_S = 10, 0.1
_LOCKED_BYTE = 1 << 20
"""Where Windows locks a byte: far behind the words, which others could not read otherwise."""


class FolderInUse(Exception):
    """Another process has the folder; the message says which, as far as it can be read."""


@dataclass
class FolderLock:
    """Held until :meth:`release`, or the end of this process."""

    _descriptor: int
    _writable: bool
    _since: datetime = field(default_factory=lambda: datetime.now(UTC))

    def say(self, what: str) -> None:
        """Let those who find the folder in use know by whom: process, machine, what it is, since when."""
        since = f"{self._since:%Y-%m-%d %H:%M} UTC"
        words = f"process {os.getpid()} on {platform.node()}, {what}, since {since}\n".encode()[:_LONGEST_WORDS]
        if self._writable:
            with contextlib.suppress(OSError):  # a full disk: it is held all the same
                os.ftruncate(self._descriptor, 0)
                os.lseek(self._descriptor, 0, os.SEEK_SET)
                os.write(self._descriptor, words)

    def release(self) -> None:
        os.close(self._descriptor)


def hold(folder: Path, what: str) -> FolderLock:
    """Take a folder for this process.

    Args:
        folder: an existing one.
        what: this process is, for those who come later; :meth:`FolderLock.say` corrects it.

    Raises:
        FolderInUse: another process has it.
        OSError: it cannot be locked: the lock's file can be neither made nor read, or its disk knows no locks.
    """
    path, writable = folder / FILE, True
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:
        descriptor, writable = os.open(path, os.O_RDONLY), False
    try:
        # Not at once: the one before may be on its way out, and who only asks takes the lock for an instant.
        for _ in range(_TRIES):
            if _lock(descriptor):
                break
            time.sleep(_TRY_S)
        else:
            raise FolderInUse(_words(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    lock = FolderLock(descriptor, writable)
    lock.say(what)
    return lock


def holder(folder: Path) -> str | None:
    """Who has a folder, or one that it lies in; None where nobody has, or it cannot be told."""
    for place in (folder := folder.resolve(), *folder.parents):
        with contextlib.suppress(OSError):
            descriptor = os.open(place / FILE, os.O_RDONLY)
            try:
                if not _lock(descriptor):
                    return _words(descriptor)
            finally:
                os.close(descriptor)
    return None


def _words(descriptor: int) -> str:
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        text = os.read(descriptor, _LONGEST_WORDS).decode("utf-8", "replace")
    except OSError:
        text = ""
    return "".join(sign for sign in text if sign.isprintable()).strip() or "another process"


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> bool:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        """Lock an open file; whether nobody else has."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
