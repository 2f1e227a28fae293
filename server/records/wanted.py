"""Which entries are wanted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from server.records.entry import Disposition, Entry, EntryKind
from server.words import PartVerdict

Said = Disposition | Literal["none", "any"]


@dataclass(frozen=True)
class Wanted:
    """What a list is filtered by; what is None filters nothing.

    Attributes:
        since: first moment, ``until``: the first one past it; milliseconds since 1970, UTC.
        least_score: on the scale of ``score``, 0..1 with the threshold at 0.5; ``most_score`` is included.
        disposition: ``none``: nothing was said of it; ``any``: something was.
        part: id of the part, as the line says it; several entries may have the same.
        with_picture: only those of which there is a picture in the archive.
    """

    since: int | None = None
    until: int | None = None
    stream: str | None = None
    recipe: str | None = None
    verdict: PartVerdict | None = None
    kind: EntryKind | None = None
    least_score: float | None = None
    most_score: float | None = None
    disposition: Said | None = None
    part: str | None = None
    with_picture: bool = False


@dataclass(frozen=True)
class Page:
    """Entries, newest first, by the order they were stored in.

    Attributes:
        next: what ``find`` is given as ``before`` for those that follow; None where there are none. A page
            may be short, even empty, and have one: so much was looked through in its time.
    """

    entries: list[Entry] = field(default_factory=list)
    next: int | None = None


@dataclass(frozen=True)
class Span:
    """A stretch of time: an hour, a shift. Milliseconds since 1970, UTC; whole quarters of an hour."""

    since: int
    until: int
