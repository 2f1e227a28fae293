"""The frames of one part, and the one verdict they make. No I/O and no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from server.words import PartSource, PartVerdict


class Judged(Protocol):
    """What was found in a frame."""

    @property
    def raw_score(self) -> float: ...

    @property
    def is_anomaly(self) -> bool: ...


J = TypeVar("J", bound=Judged)


@dataclass
class Passage(Generic[J]):
    """One part, from its beginning to its verdict.

    Attributes:
        number: of the part on its stream, from 1.
        began: seconds, on the clock that frames arrive by.
        source: what said that there is a part.
        part: its id, as the line says it; the first that is said holds.
        trigger: number of the trigger; ``trigger_id``: what whoever triggered calls it; ``triggered_by``: which way.
        frames: that were inspected; ``anomalous``: of them.
        worst: of them, the one with the highest raw score among the anomalous ones, else among all.
        last_arrived: when the last of them did.
        trouble: why a frame of it could not be inspected, the last time.
    """

    number: int
    began: float
    source: PartSource
    part: str | None = None
    trigger: int | None = None
    trigger_id: str | None = None
    triggered_by: str | None = None
    frames: int = 0
    anomalous: int = 0
    worst: J | None = None
    last_arrived: float | None = None
    trouble: str | None = field(default=None)

    def see(self, found: J, arrived: float) -> None:
        """A frame of it was inspected."""
        self.frames += 1
        self.anomalous += found.is_anomaly
        self.last_arrived = arrived
        # Thresholds may change within a passage: what was an anomaly is worse than what was none, whatever it scored.
        if self.worst is None or self.rank(found) > self.rank(self.worst):
            self.worst = found

    @staticmethod
    def rank(found: Judged) -> tuple[bool, float]:
        """What makes one frame worse than another."""
        return found.is_anomaly, found.raw_score

    def is_worse(self, raw_score: float, is_anomaly: bool) -> bool:
        """Whether a frame would be the worst so far: only then its pictures are worth a worker's time."""
        return self.worst is None or (is_anomaly, raw_score) > self.rank(self.worst)

    def verdict(self, n: int) -> PartVerdict:
        """ANOMALY where at least ``n`` of its frames are, or all there are, if those are fewer."""
        if self.frames == 0:
            return "FAILED"
        return "ANOMALY" if self.anomalous >= min(n, self.frames) else "NORMAL"


@dataclass(frozen=True)
class Done(Generic[J]):
    """A part with its verdict. ``why``: it FAILED; ``ended``: seconds, on the clock of its beginning; ``overruns``:
    triggers that were refused since the part before had its verdict."""

    passage: Passage[J]
    verdict: PartVerdict
    why: str | None
    ended: float
    overruns: int = 0
