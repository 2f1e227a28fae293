"""The pictures of a teaching: which there are, what is known of them, and which are learned from. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from server.teaching.words import Coverage, Seen

MOST_PICTURES = 300
MOST_BYTES = 512_000_000
"""Of them on disk."""
FEWEST = 5
"""Different parts that something can be learned from."""


@dataclass(frozen=True)
class Kept:
    """One picture.

    Attributes:
        number: never given twice.
        at: when it was taken, ISO 8601.
        path: of its file, ``size`` bytes.
        thumbnail: JPEG.
        seen: what it brought.
        decision: a person's, whether it is learned from, or that it was before; None where nobody decided.
    """

    number: int
    at: str
    path: Path
    size: int
    thumbnail: bytes
    seen: Seen = field(default_factory=Seen)
    decision: bool | None = None

    @property
    def used(self) -> bool:
        """Whether it is learned from."""
        return self.decision if self.decision is not None else not self.seen.outlier


class Album:
    """Pictures by number, in the order they were taken.

    Attributes:
        coverage: what they show of good parts, all in all.
    """

    def __init__(self) -> None:
        self.coverage = Coverage()
        self._kept: dict[int, Kept] = {}
        self._given = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def pictures(self) -> list[Kept]:
        return [*self._kept.values()]

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(kept.size for kept in self._kept.values())

    @property
    def to_learn(self) -> list[Kept]:
        return [kept for kept in self._kept.values() if kept.used]

    @property
    def undecided(self) -> list[Kept]:
        """Those that look unlike the others and of which nobody said whether they are good."""
        return [kept for kept in self._kept.values() if kept.seen.outlier and kept.decision is None]

    @property
    def to_cover(self) -> list[Kept]:
        """Those that count in the coverage: all but those that a person left out, and copies."""
        return [kept for kept in self._kept.values() if kept.decision is not False and not kept.seen.copy]

    @property
    def can_finish(self) -> bool:
        return sum(not kept.seen.copy for kept in self.to_learn) >= FEWEST

    def number(self) -> int:
        """The next one that is free."""
        self._given += 1
        return self._given

    def get(self, number: int) -> Kept | None:
        return self._kept.get(number)

    @property
    def room(self) -> int:
        """Bytes that another picture may have; 0 where there are as many pictures as may be."""
        return max(0, MOST_BYTES - self.size) if len(self._kept) < MOST_PICTURES else 0

    @property
    def why_no_room(self) -> str:
        """What is said where there is no room for another picture."""
        much = f"take {MOST_BYTES // 1_000_000} MB" if len(self._kept) < MOST_PICTURES else f"are {MOST_PICTURES}"
        return f"the pictures {much} already, more are not taken: press Done, or remove some"

    def put(self, kept: Kept) -> None:
        self._kept[kept.number] = kept

    def remove(self, number: int) -> None:
        self._kept.pop(number, None)

    def decide(self, number: int, keep: bool) -> None:
        """A person's decision; it stays."""
        self._kept[number] = replace(self._kept[number], decision=keep)

    def learn_of(self, seen: dict[int, Seen], coverage: Coverage) -> None:
        """What the pictures brought, by number, as it is known now; of those that are not named nothing new is."""
        self.coverage = coverage
        for number, now in seen.items():
            if (kept := self._kept.get(number)) is not None:
                self._kept[number] = replace(kept, seen=now)
