"""How many independent parts a number of frames is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_CHANCE = 1.645
"""One-sided 95 % point of a normal distribution: below it a correlation may be one of chance."""
_SAME = 1e-9
"""Relative to the largest: scores that differ no more are one score."""


def independent_parts(scores: Sequence[float]) -> float:
    """The number of independent parts that so many scores, in the order they were taken, are worth.

    n / (1 + 2·Σρ), with the autocorrelations ρ summed as long as pairs of neighbours are positive (Geyer 1992), each
    freed of the bias a short series gives it. Where the first is no larger than independent parts would show by chance,
    all count.

    Returns:
        from 1, for one part that does not move, to their number.
    """
    values = np.asarray(scores, np.float64)
    count = len(values)
    if count < 2:
        return float(count)
    values = values / max(float(np.abs(values).max()), 1e-300)
    centred = values - values.mean()
    power = float(centred @ centred)
    if power <= count * _SAME**2:
        return 1.0
    found = [float(centred[lag:] @ centred[:-lag]) / power for lag in range(1, count)]
    if count < 4 or found[0] <= -1 / count + _CHANCE / math.sqrt(count):
        return float(count)
    first = min(0.99, (found[0] + 1 / count) / max(1 - 3 / count, 0.25))
    total = 0.0
    for lag in range(0, len(found) // 2, 2):
        pair = found[lag] + found[lag + 1] + 2 / count
        if pair <= 0:
            break
        total += pair
    worth = min(count / (1 + 2 * total), count * (1 - first) / (1 + first))
    return float(min(max(1.0, worth), count))
