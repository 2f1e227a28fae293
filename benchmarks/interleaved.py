"""Timing that is fair on a busy machine: the candidates take turns, and the median of each counts."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

PAUSE_S = 0.1
"""Before each turn. The threads of torch go on spinning for a while after a call, waiting for the next, and would take
half of the processor from whoever comes after it."""


@dataclass(frozen=True)
class Milliseconds:
    """Median, and the 10th and 90th percentile."""

    median: float
    low: float
    high: float


def take_turns(
    candidates: Mapping[str, Callable[[], object]], *, rounds: int, pause: float = PAUSE_S
) -> dict[str, Milliseconds]:
    """Run each candidate twice a round, in an order of chance, and time the second run; the first round does not
    count."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    order, chance = list(candidates), random.Random(0)
    for number in range(1 + rounds):
        chance.shuffle(order)
        for name in order:
            time.sleep(pause)
            candidates[name]()
            start = time.perf_counter()
            candidates[name]()
            if number:
                times[name].append((time.perf_counter() - start) * 1000)
    return {
        name: Milliseconds(*(float(value) for value in np.percentile(values, (50, 10, 90))))
        for name, values in times.items()
    }
