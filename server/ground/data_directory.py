"""The data directory belongs to one server at a time: two would erase each other's calibrations and models."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from detector.files import give_to_owner, remove_leftovers
from detector.folder_lock import FILE, FolderInUse, FolderLock, hold

log = logging.getLogger("defectvision.data")


class DataDirectoryError(Exception):
    """The data directory is another server's; one sentence for the operator."""


RESTORING = "restoring"
"""A file that is there while a backup is being put back, and after a crash in the middle of that."""


@contextlib.contextmanager
def data_directory(folder: Path, address: str, *, to_restore: bool = False) -> Iterator[FolderLock | None]:
    """Have the data directory (made where it is missing) for this server, under its address, until the end. What
    crashes left unfinished in it goes.

    Nothing is held (None, and a line in the log) where the disk can be neither written nor locked: a server inspects
    from a read-only disk too, and what two can write there they cannot spoil.

    Args:
        to_restore: whether a backup is put back now; otherwise one that was put back by half is in the way.

    Raises:
        DataDirectoryError: another server has it, or it is half of one.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = hold(folder, address)
        give_to_owner(folder, folder / FILE)
    except FolderInUse as error:
        raise DataDirectoryError(
            f"the data directory {folder.absolute()} is used by another server ({error}): "
            "stop that one, or give this one another DATA_DIR"
        ) from None
    except OSError as error:
        log.warning("the data directory %s cannot be locked (%s): let no other server use it", folder, error.strerror)
        yield None
        return
    if (folder / RESTORING).exists() and not to_restore:
        lock.release()
        raise DataDirectoryError(
            f"a backup was being put back into {folder.absolute()} when that was cut off: run `defectvision restore` "
            f"again; what was there before lies in its before-restore folder"
        )
    for place in (folder, *(entry for entry in folder.iterdir() if entry.is_dir())):
        remove_leftovers(place, older_than_s=0.0)  # nobody else can be writing them
    try:
        yield lock
    finally:
        lock.release()
