"""Files that are either the old ones or the new ones, never half of each."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

KEPT_ASIDE = 9
"""Damaged files of one name that are kept: enough to see what happened, and no disk is filled with them."""
_ABANDONED_S = 3600.0
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.tmp(-journal)?")
"""SQLite has a journal beside what it copies into."""


def temporary_beside(path: Path) -> Path:
    """A free name beside a file or folder, by which :func:`remove_leftovers` knows what was never finished."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


@contextlib.contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """A new folder beside a file or folder, for its owner alone, which is gone afterwards, whatever lies in it.

    Raises:
        OSError: it cannot be made.
    """
    folder = temporary_beside(path)
    folder.mkdir(mode=0o700, parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file through a temporary one beside it: write, fsync, rename, fsync the folder. Written by root, it
    belongs to whom the folder belongs to.

    What a crash left of this file an hour ago or more is removed.

    Raises:
        OSError: the folder is missing or cannot be written; the old file is untouched then.
    """
    remove_leftovers(path.parent, of=path.name)
    temporary = temporary_beside(path)
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            give_to_owner(path.parent, temporary)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def give_to_owner(folder: Path, *paths: Path) -> None:
    """Give what root wrote into somebody's folder to him: the server, which runs as him, could not read it otherwise.
    A file that has another name elsewhere stays whose it is. Best effort where a disk knows no owners."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return
    with contextlib.suppress(OSError):
        owner = folder.stat()
        if owner.st_uid != 0:
            for path in paths:
                found = path.lstat()
                if stat.S_ISDIR(found.st_mode) or found.st_nlink == 1:
                    os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def read_whole(path: Path) -> bytes:
    """A file that lies where anything may lie; otherwise as :func:`read_at_most`."""
    return read_at_most(path, -1)


def read_at_most(path: Path, most: int) -> bytes:
    """The first bytes of a file; all of them, if ``most`` is negative.

    Raises:
        OSError: it cannot be read, or is something else: a pipe would be waited for, for ever.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no file", str(path))
        return file.read(most)


def sync_folder(folder: Path) -> None:
    """Make renames inside a folder survive a power cut."""
    # Windows cannot open a folder, some network disks cannot sync one: the rename itself has happened.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_leftovers(folder: Path, *, of: str | None = None, older_than_s: float = _ABANDONED_S) -> None:
    """Remove temporary files and folders that a crash left in a folder.

    Args:
        of: only those of this name; otherwise all.
        older_than_s: what is younger may be somebody's who is writing it right now.
    """
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            found = _TEMPORARY.fullmatch(entry.name)
            if found is None or of not in (None, found["name"]):
                continue
            with contextlib.suppress(OSError):
                if time.time() - entry.stat(follow_symlinks=False).st_mtime >= older_than_s:
                    if entry.is_dir(follow_symlinks=False):
                        shutil.rmtree(entry.path, ignore_errors=True)
                    else:
                        Path(entry.path).unlink()


@contextlib.contextmanager
def in_turn(folder: Path) -> Iterator[None]:
    """Wait until nobody else is in here with the same folder, which must be there; best effort where a disk or system
    has no locks."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            held.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def set_aside(path: Path) -> Path:
    """Rename a damaged file to a free name beside it (``NAME.damaged-1``, …) and return that name.

    Of more than nine of a name the oldest go.
    """
    aside = re.compile(re.escape(path.name) + r"\.damaged-([0-9]{1,9})")
    found = (aside.fullmatch(entry.name) for entry in path.parent.iterdir())
    numbers = sorted(int(match[1]) for match in found if match)
    target = path.with_name(f"{path.name}.damaged-{numbers[-1] + 1 if numbers else 1}")
    renamed = path.rename(target)
    for number in numbers[: max(0, len(numbers) + 1 - KEPT_ASIDE)]:
        with contextlib.suppress(OSError):
            path.with_name(f"{path.name}.damaged-{number}").unlink()
    return renamed
