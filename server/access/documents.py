"""Files that this server shares with the commands on the same machine.

Whoever changes one says what it is to become of what it is now, and nobody comes in between; what others changed is
noticed by asking. With several gateways, the plant's documents take their place.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from detector.files import in_turn
from server.ground import Form, KeptFile, SharedDocument, SharedShelf, private_file

T = TypeVar("T")

Signature = tuple[int, int, int] | None


class FileDocument(Generic[T]):
    """A document in a file that only this user may read.

    Args:
        path: in a folder of its own, which is made when something is first written.
    """

    def __init__(self, path: Path, form: Form[T]) -> None:
        self._path, self._form = path, form
        self._lock = threading.RLock()
        self._seen: Signature = None
        with contextlib.suppress(OSError):  # it is said below that it cannot be read
            self._seen = _signature(path)
        self._file = KeptFile(path, self._form)
        self._warning = self._file.warning

    @property
    def contents(self) -> T:
        return self._file.contents

    @property
    def warning(self) -> str | None:
        return self._warning or self._file.warning

    @property
    def is_unread(self) -> bool:
        return self._file.is_unread

    @property
    def is_whole(self) -> bool:
        return self._file.is_whole

    def recover(self) -> bool:
        return self.refresh() or self._file.recover()

    def change(self, step: Callable[[T], T]) -> None:
        with self._lock:
            private_file.make_folder(self._path.parent)
            with in_turn(self._path.parent):
                self.refresh()
                self._file.recover()
                contents = step(self._file.contents)
                if contents != self._file.contents:
                    self._file.replace(contents)
                    self._seen, self._warning = _signature(self._path), None

    def refresh(self) -> bool:
        with self._lock:
            try:
                seen = _signature(self._path)
            except OSError:
                return False  # no file descriptor is left, or the disk is away: what is known goes on holding
            if seen == self._seen:
                return False
            self._seen = seen
            file = KeptFile(self._path, self._form)
            if file.warning is not None:  # damaged, or not to be read now: nobody is thrown out for that
                self._warning = file.warning
                with contextlib.suppress(OSError):
                    self._seen = _signature(self._path)  # it was set aside: that it is gone is no news, either
                return False
            self._file, self._warning = file, None
            return True


class SharedFiles:
    """A shelf of them."""

    def keep(self, path: Path, form: Form[T]) -> SharedDocument[T]:
        return FileDocument(path, form)


SHARED_FILES: SharedShelf = SharedFiles()


def _signature(path: Path) -> Signature:
    """What tells one state of a file from another.

    Raises:
        OSError: it cannot be told.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
