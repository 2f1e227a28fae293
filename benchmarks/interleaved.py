"""Timing that is fair on a busy machine: the candidates take turns, and the median of each counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Milliseconds:
    """Median, and the 10th and 90th percentile."""

    median: float
    low: float
    high: float


def take_turns(
    candidates: Mapping[str, Callable[[], object]], *, rounds: int, warm_up: int = 2
) -> dict[str, Milliseconds]:
    """Run each candidate once a round, another one first each time."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    names = list(candidates)
    for number in range(warm_up + rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            start = time.perf_counter()
            candidates[name]()
            if number >= warm_up:
                times[name].append((time.perf_counter() - start) * 1000)
    return {
        name: Milliseconds(*(float(value) for value in np.percentile(values, (50, 10, 90))))
        for name, values in times.items()
    }
