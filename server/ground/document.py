"""What is kept in one piece: read whole, changed by steps, stored before it counts.

A document is a file of this server alone (:class:`server.ground.KeptFile`), a file that other programs of this machine
change too, or one that all gateways of a plant share (``server.plant``). Who keeps something is handed a shelf, and
does not know which.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from server.ground.kept_file import Form, KeptFile

T = TypeVar("T")


class Document(Protocol[T]):
    """One of them."""

    @property
    def contents(self) -> T:
        """As it was when it was read or changed last; never changed in place."""
        ...

    @property
    def warning(self) -> str | None:
        """What was wrong with it, for the operator; or nothing."""
        ...

    @property
    def is_unread(self) -> bool:
        """Whether there is one that could not be read: what it says is not known to be nothing."""
        ...

    @property
    def is_whole(self) -> bool:
        """Whether what is known is all there is."""
        ...

    def recover(self) -> bool:
        """Read what could not be read before, or what others changed since. Blocks.

        Returns:
            whether it says something else now.

        Raises:
            OSError: it cannot be read; nothing may be changed until it can.
        """
        ...

    def change(self, step: Callable[[T], T]) -> None:
        """Make it what ``step`` makes of it. Blocks; the step may run again where somebody came in between.

        Raises:
            OSError: it cannot be stored; nothing has changed then.
        """
        ...


class SharedDocument(Document[T], Protocol[T]):
    """One that others change, too."""

    def refresh(self) -> bool:
        """Read it again if somebody else changed it; whether that was so. Blocks. What cannot be read now goes on
        holding as it was known."""
        ...


class Shelf(Protocol):
    """Where documents are kept."""

    def keep(self, path: Path, form: Form[T]) -> Document[T]:
        """A document.

        Args:
            path: of its file; where it is shared by a plant, of the copy here, and its name is the file's.
        """
        ...


class SharedShelf(Protocol):
    """Where documents are kept that others change, too."""

    def keep(self, path: Path, form: Form[T]) -> SharedDocument[T]:
        """A document; as :meth:`Shelf.keep`."""
        ...


class OwnFiles:
    """In files of this server alone."""

    def keep(self, path: Path, form: Form[T]) -> Document[T]:
        return KeptFile(path, form)


OWN_FILES: Shelf = OwnFiles()
