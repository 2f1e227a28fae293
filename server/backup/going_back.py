"""``defectvision downgrade``: files that an upgrade wrote anew, as the older software wrote them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from detector.files import read_at_most, sync_folder, write_atomically
from server.backup.aside import made_aside
from server.backup.contents import BackupError
from server.ground import DataDirectoryError, data_directory

_KEPT = re.compile(r"before-upgrade-.+")
LARGEST = 200_000_000

TakeBack = Callable[[Path], str]
"""Brings the history back to an older version, what it was kept in a folder; says so in one clause, or raises
BackupError, and then nothing has changed."""


@dataclass(frozen=True)
class GoneBack:
    """What was done. ``files``: by name; ``aside``: where what they replaced lies now."""

    files: tuple[str, ...]
    kept_in: Path
    aside: Path


def go_back(data: Path, *, history: TakeBack | None = None) -> GoneBack:
    """Put the files that the last upgrade kept in the place of today's; no server may be using them.

    What was changed in them since is in none of them: it is kept aside, and is there again after the next upgrade only
    if it is put back by hand.

    Args:
        history: brings the history's tables back, too; before anything else is touched.

    Raises:
        BackupError: there is no way back, or it cannot be gone.
    """
    try:
        with data_directory(data, "where an upgrade is taken back") as lock:
            if lock is None:
                raise BackupError(f"{data} cannot be written: nothing can be put back there")
            folders = [path for path in data.iterdir() if _KEPT.fullmatch(path.name) and path.is_dir()]
            if not folders and history is None:
                raise BackupError(
                    f"no upgrade wrote anything anew in {data.absolute()}: the older software reads what is there, but "
                    "for a history that it calls newer (--history)"
                )
            aside = made_aside(data, "downgrade")
            done: list[str] = []
            if history is not None:
                try:
                    done.append(history(aside))
                except BackupError:
                    shutil.rmtree(aside)
                    raise
            newest = max(folders, key=lambda path: path.stat().st_mtime_ns, default=None)
            for older in sorted(newest.iterdir()) if newest is not None else []:
                if not older.is_file() or older.is_symlink():
                    continue
                kept = read_at_most(older, LARGEST)
                if os.path.lexists(data / older.name):
                    (data / older.name).rename(aside / older.name)
                write_atomically(data / older.name, kept, mode=0o600)
                done.append(older.name)
            sync_folder(data)
            if newest is not None:
                # The next upgrade keeps anew what it finds.
                newest.rename(aside / newest.name)
    except DataDirectoryError as error:
        raise BackupError(str(error)) from error
    except OSError as error:
        raise BackupError(f"{error.filename or data}: {error.strerror or error}") from error
    return GoneBack(tuple(done), newest if newest is not None else data, aside)
