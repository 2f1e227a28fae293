"""Small documents that this server shares with others: the command on the same machine, another gateway.

A document is a list of things that is read and written whole. Whoever changes it says what it is to become of what it
is now, and nobody comes in between; what others changed is noticed by asking. Files in a private folder do that here;
a row of a shared database would be the same two functions.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from detector.files import in_turn
from server.ground import KeptFile, ListFile, private_file

T = TypeVar("T")

LARGEST = 2_000_000
"""Bytes of a file."""

Signature = tuple[int, int, int] | None


class Document(Protocol[T]):
    """A list of things, the same for everybody."""

    @property
    def contents(self) -> tuple[T, ...]:
        """As it was when it was read or changed last; never changed in place."""
        ...

    @property
    def warning(self) -> str | None:
        """What was wrong with it, for the operator; or nothing."""
        ...

    def change(self, step: Callable[[tuple[T, ...]], tuple[T, ...]]) -> None:
        """Make it what `step` makes of it. Blocks; the step may run again where somebody came in between.

        Raises:
            OSError: it cannot be stored; nothing has changed then.
        """
        ...

    def refresh(self) -> bool:
        """Read it again if somebody else changed it; whether that was so. Blocks."""
        ...


class FileDocument(Generic[T]):
    """A document in a file that only this user may read.

    Args:
        path: in a folder of its own, which is made when something is first written.
        form: how the list lies in it.
        without: what is in force without it, one clause; ``then``: what to do once it was damaged.
    """

    def __init__(self, path: Path, form: ListFile[T], without: str, then: str) -> None:
        self._path = path
        self._form = form.form(largest=LARGEST, without=without, then=then)
        self._lock = threading.RLock()
        self._seen: Signature = None
        with contextlib.suppress(OSError):  # it is said below that it cannot be read
            self._seen = _signature(path)
        self._file = KeptFile(path, self._form)
        self._warning = self._file.warning

    @property
    def contents(self) -> tuple[T, ...]:
        return self._file.contents

    @property
    def warning(self) -> str | None:
        return self._warning or self._file.warning

    @property
    def is_unread(self) -> bool:
        """Whether there is a file that could not be read: what is in it is not known to be nothing."""
        return self._file.is_unread

    def change(self, step: Callable[[tuple[T, ...]], tuple[T, ...]]) -> None:
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
