"""Bytes held for peers that are not done: unfinished messages and uploads, bounded for each address and in all."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from server.ground import Refusals


class Held:
    """A budget of bytes. Where it is used up, the share that has been unfinished for longest is let go: who sends at a
    good pace is never the oldest for long.

    Args:
        in_all: bytes held at once.
        per_address: of these, from one address.
        what: of what, for the log.
    """

    def __init__(self, in_all: int, per_address: int, what: str, refusals: Refusals) -> None:
        self._per_address, self._what, self._refusals = per_address, what, refusals
        self._all = _Budget(in_all)
        self._sources: dict[str, _Budget] = {}

    def share(self, source: str) -> Share:
        """A share of nothing yet."""
        return Share(self, source)

    def resize(self, share: Share, size: int) -> None:
        budget = self._sources.setdefault(share.source, _Budget(self._per_address))
        grows = size > share.size
        for some in (budget, self._all):
            some.size += size - share.size
            if size and not share.finished:
                some.unfinished.setdefault(share)
            else:
                some.unfinished.pop(share, None)
        share.size = size
        if not budget.size:
            self._sources.pop(share.source, None)
        for some in (budget, self._all) if grows else ():
            while some.size > some.limit and not share.let_go_of:
                victim = next(iter(some.unfinished), share)
                self._refusals.note(f"too many bytes of {self._what} at once", victim.source)
                victim.release()
                victim.let_go_of = True
                victim.let_go()


@dataclass
class _Budget:
    limit: int
    size: int = 0
    unfinished: OrderedDict[Share, None] = field(default_factory=OrderedDict)


class Share:
    """The bytes held for one peer; as a context manager, until its end.

    Attributes:
        let_go: called when it is given up for others.
        let_go_of: that has happened.
    """

    let_go: Callable[[], None]

    def __init__(self, held: Held, source: str) -> None:
        self._held = held
        self.source = source
        self.size, self.finished, self.let_go_of = 0, False, False

    def resize(self, size: int) -> None:
        """So many bytes are held now; nothing changes for a share that was let go."""
        if size != self.size and not self.let_go_of:
            self._held.resize(self, size)

    def finish(self) -> None:
        """All of it is here: it is not let go any more."""
        self.finished = True
        self._held.resize(self, self.size)

    def release(self) -> None:
        """Nothing is held any more."""
        self.resize(0)

    def __enter__(self) -> Share:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()
