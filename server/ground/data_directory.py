"""The data directory belongs to one server at a time: two would erase each other's calibrations and models."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from detector.files import remove_leftovers
from detector.folder_lock import FolderInUse, FolderLock, hold

log = logging.getLogger("defectvision.data")


class DataDirectoryError(Exception):
    """The data directory is another server's; one sentence for the operator."""


@contextlib.contextmanager
def data_directory(folder: Path, address: str) -> Iterator[FolderLock | None]:
    """Have the data directory (made where it is missing) for this server, under its address, until the end. What
    crashes left unfinished in it goes.

    Nothing is held (None, and a line in the log) where the disk can be neither written nor locked: a server inspects
    from a read-only disk too, and what two can write there they cannot spoil.

    Raises:
        DataDirectoryError: another server has it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = hold(folder, address)
    except FolderInUse as error:
        raise DataDirectoryError(
            f"the data directory {folder.absolute()} is used by another server ({error}): "
            "stop that one, or give this one another DATA_DIR"
        ) from None
    except OSError as error:
        log.warning("the data directory %s cannot be locked (%s): let no other server use it", folder, error.strerror)
        yield None
        return
    for place in (folder, *(entry for entry in folder.iterdir() if entry.is_dir())):
        remove_leftovers(place, older_than_s=0.0)  # nobody else can be writing them
    try:
        yield lock
    finally:
        lock.release()
