"""What a number of good parts can promise about the next ones.

An image score is the largest of many distances, so the logarithms of good parts' scores are taken for a Gumbel
distribution of unknown place and width. Every pair of the two that could be is weighed by how well it explains what was
seen and by what is known of widths from other products; of the lower half only its number counts, because what an odd
quiet part says about the loud ones misleads. The mean of all pairs is what is to be expected beyond a threshold. What
may be promised is the 95th percentile of the same with a heavier tail: a few dozen parts cannot tell how heavy it is,
and with the heaviest seen on twelve products the promise is kept (docs/calibration.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
MIN_PARTS = 10
"""Independent parts below which nothing is promised."""

_BOUNDS = (0.05, 0.02, 0.01, 0.005, 0.002, 0.001)
_USUAL_WIDTH, _WIDTH_VARIES = 0.05, 0.6
"""Of logarithms of scores: the middle, and by how much its own logarithm varies from product to product."""
HEAVY = 0.3
"""Shape of the tail that promises are made with; 0 would be the Gumbel distribution's own."""
_STEPS = 25
_NEGLIGIBLE = 1e-7
"""Weight of a pair, relative to the best, below which it is left out."""
_LARGEST = 700.0
"""Logarithm beyond which a score is taken for larger than every number."""
_MEDIAN = -math.log(math.log(2))
"""Of a Gumbel distribution, in widths from its place."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Promise:
    """What may be said of good parts to come: shares of them that will be rejected, 0 to 1.

    ``expected``: on average. ``at_most``: with this ``confidence``. ``parts``: good parts it comes from, of which
    ``independent`` are as good as independent of one another.
    """

    expected: float
    at_most: float
    confidence: float
    parts: int
    independent: float

    @property
    def sentence(self) -> str:
        return (
            f"good parts rejected: about {_percent(self.expected)}, at most {_percent(self.at_most)} "
            f"({100 * self.confidence:g} % sure), from {self.parts} parts"
        )

    @property
    def stronger(self) -> str:
        """What the next stronger promise takes, whatever the scores: so many parts without one above the threshold."""
        bound = next((bound for bound in _BOUNDS if bound < 0.9 * self.at_most), self.at_most / 2)
        parts = math.ceil(math.log(1 - self.confidence) / math.log1p(-bound))
        return f"at most {_percent(bound)} takes {parts} independent parts, none of them above the threshold"


def _percent(share: float) -> str:
    per_cent = 100 * share
    return f"{per_cent:.1f} %" if per_cent >= 0.095 else f"{per_cent:.2f} %" if per_cent >= 0.0095 else "0.01 %"


class Outlook:
    """What is known of the scores of good parts after some were seen.

    Args:
        scores: raw, N float64, not all 0.
        independent: how many independent parts they are worth.
    """

    def __init__(self, scores: Numbers, independent: float) -> None:
        self._scores, self._independent = scores, independent
        # Near 1 a number is 1 more than its logarithm: scores that may be negative, of other people's models, are taken
        # as they are, in units of their usual size.
        self._unit = float(np.abs(scores).mean()) if (scores <= 0).any() else 0.0
        logs = scores / self._unit if self._unit else np.log(scores)
        self._middle, spread = float(np.median(logs)), max(float(logs.std()), 1e-4)
        self._reach = max(spread, _USUAL_WIDTH)
        widths = np.exp(
            np.linspace(
                max(math.log(spread) - 2, min(math.log(_USUAL_WIDTH) - 3 * _WIDTH_VARIES, math.log(spread) - 1.2)),
                min(math.log(spread) + 2.5, max(math.log(_USUAL_WIDTH) + 3 * _WIDTH_VARIES, math.log(spread) + 1.2)),
                _STEPS,
            )
        )
        shifts = np.linspace(-5, 5, _STEPS) / math.sqrt(max(independent, 1.0))
        width, shift = np.meshgrid(widths, shifts, indexing="ij")
        step = np.maximum(width, spread)
        place = self._middle - _MEDIAN * width + shift * step
        upper = logs[logs >= self._middle]
        distances = (upper - place[..., None]) / width[..., None]
        seen = -np.log(width) * len(upper) - (distances + np.exp(-np.maximum(distances, -30))).sum(-1)
        below = np.maximum(1 - _beyond((self._middle - place) / width), 1e-300)
        seen += (len(logs) - len(upper)) * np.log(below)
        usual = -0.5 * (np.log(width / _USUAL_WIDTH) / _WIDTH_VARIES) ** 2
        weight = seen * independent / len(logs) + usual + np.log(step)  # places lie farther apart for the wider ones
        weight = np.exp(weight - weight.max())
        kept = weight > _NEGLIGIBLE
        self._weight = weight[kept] / weight[kept].sum()
        self._place, self._width = place[kept], width[kept]

    def _logarithm(self, score: float) -> float:
        return score / self._unit if self._unit else math.log(score) if score > 0 else -math.inf

    def _score(self, logarithm: float) -> float:
        return logarithm * self._unit if self._unit else math.exp(min(logarithm, _LARGEST))

    def expected(self, threshold: float) -> float:
        """Share of good parts to come that will lie above a threshold, on average."""
        return float(_beyond((self._logarithm(threshold) - self._place) / self._width) @ self._weight)

    def at_most(self, threshold: float, shape: float = HEAVY) -> float:
        """Share of good parts above a threshold that is not exceeded, with 95 % confidence, if the tail is no heavier
        than this."""
        share = _beyond((self._logarithm(threshold) - self._place) / self._width, shape)
        order = np.argsort(share)
        sure = int(np.searchsorted(np.cumsum(self._weight[order]), CONFIDENCE))
        heavy = float(share[order[min(sure, len(order) - 1)]])
        counted = int(self._independent)
        above = math.ceil(float((self._scores > threshold).mean()) * counted)
        return min(heavy, _upper_limit(above, counted))  # many parts need no guess about their tail

    def threshold_for(self, share: float) -> float:
        """The threshold above which this share of good parts is expected."""
        low, high = self._middle, self._middle + 4 * self._reach
        while self.expected(self._score(high)) > share:
            low, high = high, high + 2 * (high - self._middle)
            if high > _LARGEST:
                return math.inf
        for _ in range(40):
            between = (low + high) / 2
            low, high = (between, high) if self.expected(self._score(between)) > share else (low, between)
        return self._score(high)


def promise(scores: Numbers, threshold: float, independent: float) -> Promise | None:
    """What this threshold promises; nothing where there are too few independent parts.

    Args:
        scores: raw scores of good parts, N float64.
        threshold: raw.
        independent: how many independent parts the scores are worth.
    """
    if independent < MIN_PARTS:
        return None
    outlook = Outlook(scores, independent)
    expected = outlook.expected(threshold)
    return Promise(expected, max(expected, outlook.at_most(threshold)), CONFIDENCE, len(scores), independent)


def kept(promised: Promise, accepted: int, rejected: int) -> bool | None:
    """Whether what came true is within what was promised.

    Returns:
        ``False``: so many rejects would come by chance less than once in twenty times, were the promised bound true;
        ``True``: the share rejected is not above the bound; ``None``: it is, but too few parts have come to tell.
    """
    seen = accepted + rejected
    if not seen:
        return None
    if rejected <= promised.at_most * seen:
        return True
    return False if at_least(rejected, seen, promised.at_most) < 1 - promised.confidence else None


def at_least(rejected: int, seen: int, share: float) -> float:
    """Probability of so many rejects or more among so many parts."""
    if share <= 0:
        return 0.0
    logs = (
        math.lgamma(seen + 1)
        - math.lgamma(count + 1)
        - math.lgamma(seen - count + 1)
        + count * math.log(share)
        + (seen - count) * math.log1p(-min(share, 1 - 1e-12))
        for count in range(rejected)
    )
    return max(0.0, 1.0 - math.fsum(map(math.exp, logs)))


def _upper_limit(rejected: int, seen: int) -> float:
    """The share that would still give so few rejects among so many parts once in twenty times (Clopper, Pearson)."""
    if rejected >= seen:
        return 1.0
    low, high = rejected / seen, 1.0
    for _ in range(40):
        between = (low + high) / 2
        low, high = (between, high) if at_least(rejected + 1, seen, between) < CONFIDENCE else (low, between)
    return high


def _beyond(distance: Numbers, shape: float = 0.0) -> Numbers:
    """Probability of more than so many widths from the place of a Gumbel distribution, its tail made heavier by a
    shape as of extreme values."""
    if shape:
        distance = np.where(distance > 0, np.log1p(shape * np.maximum(distance, 0)) / shape, distance)
    return np.asarray(-np.expm1(-np.exp(-np.clip(distance, -30.0, 700.0))))
