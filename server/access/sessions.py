"""Sessions as they are known: what is stored, what could not be yet, and when each was seen."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial

from server.access import changes, kept
from server.access.kept import Session
from server.ground import SharedDocument

log = logging.getLogger("defectvision.access")

Do = Callable[[Callable[[], None]], Awaitable[None]]
"""Runs what blocks."""


class KnownSessions:
    """By what tells their cookies. The event loop owns it; one that begins or ends does so at once, whether or not that
    can be stored.

    Args:
        document: that they are kept in.
    """

    def __init__(self, document: SharedDocument[tuple[Session, ...]]) -> None:
        self.document = document
        self._stored: dict[str, Session] = {}
        self._unstored: dict[str, Session | None] = {}
        """Those that could not be written, by digest; None for those that ended and could not be taken out."""
        self._used: dict[str, float] = {}
        """When they were used since they were last written."""
        self._being_written: list[dict[str, Session | None]] = []
        self._fault: str | None = None
        self.index()

    def index(self) -> None:
        """The document says something else."""
        self._stored = {one.digest: one for one in self.document.contents}

    @property
    def warning(self) -> str | None:
        """What the operator should see to, or nothing."""
        found = [self.document.warning]
        if self._fault is not None:
            found.append(f"sessions cannot be stored ({self._fault}): who logs in now is logged out by a restart")
        return "; ".join(one for one in found if one) or None

    def get(self, digest: str) -> Session | None:
        if digest in self._unstored:
            return self._unstored[digest]
        return self._stored.get(digest)

    def __iter__(self) -> Iterator[Session]:
        return iter([one for one in {**self._stored, **self._unstored}.values() if one is not None])

    def use(self, digest: str, now: float) -> None:
        """A cookie was shown."""
        self._used[digest] = now

    def seen(self, session: Session) -> float:
        """When it was shown last."""
        return max(session.seen, self._used.get(session.digest, 0.0))

    def put(self, session: Session, instead_of: str | None = None) -> None:
        """One begins, or is another.

        Args:
            instead_of: digest of one that ends with this.
        """
        self._unstored[session.digest] = session
        if instead_of is not None and self.get(instead_of) is not None:
            self._unstored[instead_of] = None
        self._make_room()

    def end(self, digests: Iterable[str]) -> None:
        """Some are over."""
        self._unstored.update(dict.fromkeys(digests))

    def _make_room(self) -> None:
        """Forget but the newest that began, and that ended. What would come back is never forgotten: there is no more
        of it than fits into the document."""
        new = [digest for digest, one in self._unstored.items() if one is not None]
        gone = [digest for digest, one in self._unstored.items() if one is None and not self._may_come_back(digest)]
        for digest in new[: -kept.MOST_SESSIONS] + gone[: -kept.MOST_SESSIONS]:
            del self._unstored[digest]

    def _may_come_back(self, digest: str) -> bool:
        """Whether it is in the document, or may be once what is being written is."""
        return digest in self._stored or any(one.get(digest) is not None for one in self._being_written)

    def is_behind(self, late_s: float) -> bool:
        """Whether what is stored lacks something, or says of a use that is longer ago."""
        old = {one.digest: one.seen for one in self.document.contents}
        return bool(self._unstored) or any(at - old.get(digest, at) > late_s for digest, at in self._used.items())

    async def store(self, do: Do, now: float) -> None:
        """Write what is not written yet.

        Raises:
            OSError: it cannot be stored.
        """
        waiting, seen = dict(self._unstored), dict(self._used)

        def step(sessions: tuple[Session, ...]) -> tuple[Session, ...]:
            found = {one.digest: one for one in sessions}
            for digest, one in waiting.items():
                found.pop(digest, None)
                if one is not None:
                    found[digest] = one
            return changes.fewest(found, seen, now)

        self._being_written.append(waiting)
        try:
            await do(partial(self.document.change, step))
        except OSError as error:
            if self._fault is None:
                log.error("sessions cannot be stored reason=%s", error.strerror or error)
            self._fault = error.strerror or str(error)
            raise
        finally:
            self._being_written.remove(waiting)
        self._fault = None
        for digest, one in waiting.items():
            if self._unstored.get(digest, waiting) is one:
                del self._unstored[digest]
        if len(self._used) > 2 * kept.MOST_SESSIONS:
            self._used.clear()
