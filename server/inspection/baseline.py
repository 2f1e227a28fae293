"""What good parts looked like when a calibration was made: what later ones are compared with."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from server.inspection.condition import NAMES, Condition
from server.inspection.lying import SIDE, Edges, Lying

MOST_SCORES = 100
"""That are kept of a calibration, spread evenly over its frames."""


class Span(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One figure of :class:`Condition` over all frames: the lowest, the median and the highest."""

    low: float
    typical: float
    high: float


class Baseline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of the frames that a calibration was made from.

    Attributes:
        worth: how many independent parts they are worth.
        scores: raw, in the order they were taken, at most :data:`MOST_SCORES`.
        spans: of each figure of how they were taken, by its name.
        edges: mean of theirs, SIDE×SIDE int8, against which they lie.
    """

    worth: float
    scores: tuple[float, ...]
    spans: dict[str, Span]
    edges: bytes

    @property
    def lying(self) -> Lying:
        """What frames are compared with."""
        return Lying(np.frombuffer(self.edges, np.int8).reshape(SIDE, SIDE))

    @property
    def fault(self) -> str | None:
        """Why it cannot be one; or nothing."""
        numbers = [self.worth, *self.scores]
        for span in self.spans.values():
            numbers += [span.low, span.typical, span.high]
            if not span.low <= span.typical <= span.high:
                return "a span of its baseline cannot be"
        if not all(map(math.isfinite, numbers)) or not 0 < self.worth <= 1000:
            return "a number of its baseline cannot be"
        if len(self.scores) > MOST_SCORES or set(self.spans) != set(NAMES) or len(self.edges) != SIDE * SIDE:
            return "its baseline has more or less than a baseline has"
        return None


class Learning:
    """Makes a baseline, one frame at a time: each costs half a millisecond.

    How a frame lies is told against the mean of the other half of the frames, which it has no part in: against a mean
    with itself in it every frame lies straight, and the next one does not.

    Args:
        conditions: of frames, two or more.
    """

    def __init__(self, conditions: Sequence[Condition]) -> None:
        self._conditions = conditions
        self._halves = [Lying(_mean(conditions[1::2])), Lying(_mean(conditions[::2]))]
        self._figures: list[NDArray[np.float64]] = []

    def step(self) -> bool:
        """Look at the next frame; says whether it was the last."""
        number = len(self._figures)
        self._figures.append(self._conditions[number].figures(self._halves[number % 2]))
        return len(self._figures) == len(self._conditions)

    def baseline(self, scores: Sequence[float], worth: float) -> Baseline:
        """What was learned.

        Args:
            scores: raw, of the frames, or none.
            worth: of the frames, in independent parts.
        """
        figures = np.array(self._figures)
        low, typical, high = figures.min(0), np.median(figures, 0), figures.max(0)
        spans = {
            name: Span(*(_short(values[number]) for values in (low, typical, high)))
            for number, name in enumerate(NAMES)
        }
        kept = np.unique(np.linspace(0, len(scores) - 1, min(len(scores), MOST_SCORES)).astype(int)).tolist()
        worth = min(max(worth, 1.0), 1000.0)
        edges = _mean(self._conditions).tobytes()
        return Baseline(_short(worth), tuple(_short(scores[number]) for number in kept), spans, edges)


def baseline_of(scores: Sequence[float], conditions: Sequence[Condition], worth: float) -> Baseline | None:
    """Of frames in the order they were taken; None where it is not known how they were taken. For a thread.

    Args:
        worth: of all of them, in independent parts.
    """
    if len(scores) < 2 or len(conditions) != len(scores):
        return None
    learning = Learning(conditions)
    while not learning.step():
        pass
    return learning.baseline(scores, worth)


def _mean(conditions: Sequence[Condition]) -> Edges:
    mean = np.mean([condition.edges for condition in conditions], 0)
    return np.asarray(np.clip(np.rint(mean), -127, 127), np.int8)


def _short(value: float) -> float:
    """With six digits: the file has a bound."""
    return float(f"{value:.6g}")
