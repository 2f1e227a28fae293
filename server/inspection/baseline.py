"""What good parts looked like when a calibration was made: what later ones are compared with."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from server.inspection.condition import NAMES, Condition

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
    """

    worth: float
    scores: tuple[float, ...]
    spans: dict[str, Span]

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
        if len(self.scores) > MOST_SCORES or not set(self.spans) <= set(NAMES):
            return "its baseline has more than a baseline has"
        return None


def baseline_of(scores: Sequence[float], conditions: Sequence[Condition], worth: float) -> Baseline | None:
    """Of frames in the order they were taken; None where it is not known how they were taken.

    Args:
        worth: of all of them, in independent parts.
    """
    if not scores or len(conditions) != len(scores):
        return None
    kept = np.unique(np.linspace(0, len(scores) - 1, min(len(scores), MOST_SCORES)).astype(int))
    figures = np.array([condition.figures for condition in conditions])
    low, typical, high = figures.min(0), np.median(figures, 0), figures.max(0)
    spans = {
        name: Span(*(_short(values[number]) for values in (low, typical, high))) for number, name in enumerate(NAMES)
    }
    worth = min(max(worth, 1.0), 1000.0)
    return Baseline(_short(worth), tuple(_short(scores[number]) for number in kept.tolist()), spans)


def _short(value: float) -> float:
    """With six digits: the file has a bound."""
    return float(f"{value:.6g}")
