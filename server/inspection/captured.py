"""What a calibration would be made from: scores of frames or pictures taken in one place, not in force yet."""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from detector.near_copies import Look
from detector.thresholds import Judgement, Rule
from server.inspection.condition import Condition
from server.inspection.threshold import Threshold
from server.recipes import Regions
from server.words import Way

MOST_DRAFTS = 8
MOST_BYTES = 32_000_000
KEPT_S = 600.0


@dataclass(frozen=True)
class Captured:
    """Frames of one connection, or uploaded pictures, in the order they were taken.

    Attributes:
        model: hash and runtime of the one that scored them; ``recipe``: id of the recipe in which it did; ``regions``:
            of the frames that it looked at, if that is known.
        scores: raw; ``looks`` and ``pictures`` (JPEG, up to 160 pixels) are of the same frames.
        known_defects: frames of simulated parts left out because the line says they are defective.
        recent: raw scores of the stream's latest results.
        defects: raw scores of parts known to be defective.
        conditions: how the frames were taken, each; empty where that is not known.
    """

    model: tuple[str, str]
    stream: str | None
    transport: Way
    scores: tuple[float, ...]
    looks: tuple[Look, ...]
    pictures: tuple[bytes, ...]
    known_defects: int = 0
    recent: tuple[float, ...] = ()
    defects: tuple[float, ...] = ()
    recipe: str | None = None
    conditions: tuple[Condition, ...] = ()
    regions: Regions | None = None

    @property
    def size(self) -> int:
        """Bytes it takes in memory, about."""
        of_looks = sum(look.grey.nbytes for look in self.looks) + sum(one.size for one in self.conditions)
        return sum(map(len, self.pictures)) + of_looks + 16 * len(self.scores)


@dataclass(frozen=True)
class Draft:
    """A calibration that was judged and waits for someone's decision.

    Attributes:
        left_out: numbers of the frames that someone left out, of those captured.
        judgement: of the frames that are not left out; their numbers in it are those among all captured.
        judged_against: what was in force then.
    """

    captured: Captured
    rule: Rule
    left_out: frozenset[int]
    judgement: Judgement
    judged_against: Threshold


@dataclass
class _Kept:
    draft: Draft
    until: float


class Drafts:
    """The drafts of all pages: a few, for ten minutes; of more, the one untouched for longest goes.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._drafts: dict[str, _Kept] = {}

    def keep(self, draft: Draft) -> str:
        """Keep a draft under a name that cannot be guessed."""
        name = secrets.token_urlsafe(12)
        self.put(name, draft)
        return name

    def put(self, name: str, draft: Draft) -> None:
        """Keep a draft under this name, in the place of the one that was there."""
        self._drafts.pop(name, None)
        self._drafts[name] = _Kept(draft, self._clock() + KEPT_S)
        self._tidy()
        while len(self._drafts) > 1 and (len(self._drafts) > MOST_DRAFTS or self._bytes() > MOST_BYTES):
            del self._drafts[next(iter(self._drafts))]

    def get(self, name: str) -> Draft | None:
        """The draft of this name, if it is kept still."""
        self._tidy()
        kept = self._drafts.get(name)
        return kept.draft if kept else None

    def take(self, name: str) -> Draft | None:
        """The draft of this name, which is kept no more."""
        self._tidy()
        kept = self._drafts.pop(name, None)
        return kept.draft if kept else None

    def _tidy(self) -> None:
        now = self._clock()
        self._drafts = {name: kept for name, kept in self._drafts.items() if kept.until > now}

    def _bytes(self) -> int:
        return sum(kept.draft.captured.size for kept in self._drafts.values())


def among_all(judgement: Judgement, kept: list[int]) -> Judgement:
    """A judgement of some of the frames captured, with its suspects numbered as they were captured."""
    suspects = tuple(dataclasses.replace(one, index=kept[one.index]) for one in judgement.suspects)
    highest = tuple(kept[place] for place in judgement.highest)
    return dataclasses.replace(judgement, suspects=suspects, highest=highest)
