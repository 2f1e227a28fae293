"""What a number of good parts can promise about the next ones.

Logarithms of the scores of good parts are taken for a Student distribution of unknown place and width. Every pair of
the two that could be is weighed by how well it explains what was seen and by what is known of widths from other
products; the share of good parts beyond a threshold is then known as a distribution: its mean is what is to be
expected, its 95th percentile what may be promised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
MIN_PARTS = 10
"""Independent parts below which nothing is promised."""

_FREEDOM = 8
"""Degrees of freedom: even, :func:`_beyond` counts on it."""
_USUAL_WIDTH, _WIDTH_VARIES = 0.06, 0.6
"""Of logarithms of scores: the middle, and by how much its own logarithm varies from product to product."""
_FLOOR = 1e-3
"""Of the median: scores are not taken for smaller than that."""
_STEPS = 41
_WIDEST = 4.0
"""Of the grid of widths, in :data:`_WIDTH_VARIES`."""

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


def _percent(share: float) -> str:
    per_cent = 100 * share
    return f"{per_cent:.1f} %" if per_cent >= 0.095 else f"{per_cent:.2f} %" if per_cent >= 0.0095 else "0.01 %"


class Outlook:
    """What is known of the scores of good parts after some were seen.

    Args:
        scores: raw, N float64, some of them positive.
        independent: how many independent parts they are worth.
    """

    def __init__(self, scores: Numbers, independent: float) -> None:
        logs = np.log(np.maximum(scores, _FLOOR * np.median(scores[scores > 0])))
        self._spread = float(logs.std())
        low = min(math.log(_USUAL_WIDTH), math.log(max(self._spread, 1e-6))) - _WIDEST * _WIDTH_VARIES
        high = max(math.log(_USUAL_WIDTH), math.log(max(self._spread, 1e-6))) + _WIDEST * _WIDTH_VARIES
        widths = np.exp(np.linspace(low, high, _STEPS))
        reach = np.linspace(-_WIDEST, _WIDEST, _STEPS) / math.sqrt(max(independent, 1.0))
        middle = float(np.median(logs)) if len(logs) > 2 else float(logs.mean())
        width, place = np.meshgrid(widths, reach, indexing="ij")
        place = middle + place * np.maximum(width, self._spread)
        distances = (logs - place[..., None]) / width[..., None]
        each = -np.log(width[..., None]) - (_FREEDOM + 1) / 2 * np.log1p(distances**2 / _FREEDOM)
        usual = -0.5 * (np.log(width / _USUAL_WIDTH) / _WIDTH_VARIES) ** 2
        cell = np.log(np.maximum(width, self._spread))  # places are farther apart for the wider ones
        weight = each.mean(-1) * independent + usual + cell
        self._weight = np.exp(weight - weight.max()).ravel()
        self._weight /= self._weight.sum()
        self._place, self._width = place.ravel(), width.ravel()
        self._middle = middle

    def rejected(self, threshold: float) -> tuple[float, float]:
        """Share of good parts above a threshold: the one expected, and the one not exceeded with 95 % confidence."""
        share = _beyond((math.log(threshold) - self._place) / self._width)
        order = np.argsort(share)
        sure = int(np.searchsorted(np.cumsum(self._weight[order]), CONFIDENCE))
        return float(share @ self._weight), float(share[order[min(sure, len(order) - 1)]])

    def threshold_for(self, share: float) -> float:
        """The threshold above which this share of good parts is expected."""
        low = high = self._middle
        step = max(self._spread, _USUAL_WIDTH)
        while self.rejected(math.exp(high))[0] > share and high < self._middle + 700:
            low, high, step = high, high + step, 2 * step
        for _ in range(50):
            between = (low + high) / 2
            low, high = (between, high) if self.rejected(math.exp(between))[0] > share else (low, between)
        return math.exp(high)


def promise(scores: Numbers, threshold: float, independent: float) -> Promise | None:
    """What this threshold promises; nothing where there are too few independent parts.

    Args:
        scores: raw scores of good parts, N float64.
        threshold: raw.
        independent: how many independent parts the scores are worth.
    """
    if independent < MIN_PARTS or not (scores > 0).any():
        return None
    expected, at_most = Outlook(scores, independent).rejected(threshold)
    return Promise(expected, max(expected, at_most), CONFIDENCE, len(scores), independent)


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
    return False if _at_least(rejected, seen, promised.at_most) < 1 - promised.confidence else None


def _at_least(rejected: int, seen: int, share: float) -> float:
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


def _beyond(distance: Numbers) -> Numbers:
    """Probability of more than so many widths, for a Student distribution of an even number of degrees of freedom."""
    angle = np.arctan(distance / math.sqrt(_FREEDOM))
    term, total = np.ones_like(angle), np.ones_like(angle)
    for power in range(2, _FREEDOM - 1, 2):
        term = term * np.cos(angle) ** 2 * (power - 1) / power
        total = total + term
    return np.asarray(np.clip(0.5 * (1 - np.sin(angle) * total), 0.0, 1.0))
