"""Whoever asks, and being told when he may not go on with what he does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from server.access.audit import Audit
from server.access.identity import Identity
from server.words import Need, Role


class Watches:
    """What goes on, and may be lost. The event loop owns it."""

    def __init__(self) -> None:
        self._all: set[_Watch] = set()

    def __len__(self) -> int:
        return len(self._all)

    def look(self) -> None:
        """Something may have changed: those who may not go on are told."""
        for watch in list(self._all):
            if watch in self._all and not watch.look():
                self._all.discard(watch)

    @contextlib.contextmanager
    def kept(self, watch: _Watch) -> Iterator[None]:
        """As long as this goes on, it is looked after."""
        self._all.add(watch)
        try:
            yield
        finally:
            self._all.discard(watch)


@dataclass(frozen=True)
class Standing:
    """Whoever asks, by what he showed: what he may is looked up again each time, for it may have changed.

    Attributes:
        audit: where it is noted what he does.
        address: he comes from.
    """

    _watches: Watches
    _who: Callable[[], Identity]
    audit: Audit
    address: str = ""

    @property
    def identity(self) -> Identity:
        """Who that is now; nobody, once he is out."""
        return self._who()

    @contextlib.contextmanager
    def watched(self, need: Need, stream: str | None, lost: Callable[[str], None]) -> Iterator[None]:
        """As long as this goes on, tell (once, with one sentence) when he may not do it any more."""
        with self._watches.kept(_Watch(self, need, stream, lost)):
            yield

    async def until_lost(self, need: Need, stream: str | None) -> str:
        """Wait until he may not do something any more; one sentence that says why."""
        told: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def tell(words: str) -> None:
            if not told.done():
                told.set_result(words)

        with self.watched(need, stream, tell):
            return await told


@dataclass(eq=False)
class _Watch:
    standing: Standing
    need: Need
    stream: str | None
    lost: Callable[[str], None]

    def look(self) -> bool:
        """Whether he may go on; tells where he may not."""
        identity = self.standing.identity
        words = "you are no longer logged in here: log in again"
        if identity.role is not Role.NOBODY:
            refusal = identity.refusal(self.need, self.stream)
            if refusal is None:
                return True
            words = refusal
        self.lost(words)
        return False
