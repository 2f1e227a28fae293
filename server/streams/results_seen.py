"""What came of a stream's frames since its threshold is in force, beside what was promised."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime

from detector.counted import counted
from detector.thresholds import MIN_PARTS, in_parts, independent_parts, kept
from server.inspection import Inspected, ScoredBy, Threshold
from server.streams.in_force import InForce
from server.words import SinceCalibration

RECENT = 200
ENOUGH = 20
"""Recent results from which it can be told how many parts frames are worth."""
FRESH = 10
"""New results after which that is looked at again: it costs the event loop a third of a millisecond."""
MOST_WEIGHED = 2000
"""Parts that a promise is held against: of more, as many in proportion, which is certain enough and soon computed."""


class ResultsSeen:
    """The results of one stream over one transport, whichever connection brought them. The event loop owns it."""

    def __init__(self) -> None:
        self._scored_by: ScoredBy | None = None
        self._threshold: Threshold | None = None
        self._scores: deque[float] = deque(maxlen=RECENT)
        self._since = ""
        self._accepted = self._rejected = 0
        self._worth, self._fresh = 1.0, FRESH

    @property
    def scores(self) -> tuple[float, ...]:
        """Raw scores of the latest results, all of one model, recipe and regions, oldest first."""
        return tuple(self._scores)

    def count(self, inspected: Inspected) -> None:
        """Count a result; from the beginning where another threshold, model or recipe, or other regions came into
        force."""
        scored_by = inspected.scored_by
        if scored_by != self._scored_by:
            self._scores.clear()
        if scored_by != self._scored_by or inspected.threshold != self._threshold:
            self._scored_by, self._threshold = scored_by, inspected.threshold
            self._since = datetime.now(UTC).isoformat(timespec="seconds")
            self._accepted = self._rejected = 0
        self._scores.append(inspected.raw_score)
        self._fresh += 1
        self._rejected += inspected.is_anomaly
        self._accepted += not inspected.is_anomaly

    def since(self, in_force: InForce) -> SinceCalibration | None:
        """What came true of the calibration in force; nothing where none is, or no frame was inspected with it, and
        with the model, recipe and regions in force."""
        stored = in_force.threshold.calibration
        if stored is None or (in_force.threshold, in_force.scored_by) != (self._threshold, self._scored_by):
            return None
        seen = self._accepted + self._rejected
        share = f"{self._rejected} of {counted(seen, 'frame')} rejected since ({100 * self._rejected / seen:.1f} %)"
        promise = stored.promise
        if promise is None:
            return SinceCalibration(self._since, self._accepted, self._rejected, None, None, f"{share}; no promise")
        promised = f"at most {100 * promise.at_most:.1f} % of good parts were promised"
        if len(self._scores) < ENOUGH:
            return self._said(promise.at_most, None, f"{share}; {promised}")
        worth = self._parts_a_frame()
        parts = max(1, round(seen * worth))
        weighed = min(worth, MOST_WEIGHED / seen)
        bad = round(self._rejected * weighed)
        is_kept = kept(promise, max(1, round(seen * weighed)) - bad, bad)
        if parts < MIN_PARTS:
            is_kept = None
        if is_kept is False:
            then = "more than that: if these were good parts, calibrate again"
        else:
            then = "within it" if is_kept else "too few parts yet to say"
        return self._said(promise.at_most, is_kept, f"{share}, worth about {in_parts(parts)}; {promised}: {then}")

    def _parts_a_frame(self) -> float:
        """Frames of one part are no more than one part: how many parts one of the latest frames is worth."""
        if self._fresh >= FRESH:
            self._fresh = 0
            self._worth = independent_parts(tuple(self._scores)) / len(self._scores)
        return self._worth

    def _said(self, at_most: float, is_kept: bool | None, sentence: str) -> SinceCalibration:
        return SinceCalibration(self._since, self._accepted, self._rejected, at_most, is_kept, sentence)
